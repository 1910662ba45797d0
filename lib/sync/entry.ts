/**
 * What all objects that tasks acquire begin with: who asks, and whether the caller may go on.
 *
 * In: the current frame, the options of a wait. Out: an owner; the rejection that an operation
 * must end with even if it could complete at once. Never: state.
 */
import type { Awaitable, WaitOptions } from '../base/errors.ts';
import { checkBody } from '../task/enter.ts';
import { currentFrame, type Frame } from '../task/frame.ts';
import { paceOf } from '../task/pace.ts';
import { currentTask, type Task } from '../task/task.ts';
import { cancelledPromise, takeCancellationIn } from '../task/waiter.ts';

/** All code outside of tasks: nothing tells one piece of it from another. */
export const noTask: unique symbol = Symbol('no task');

export type Owner = Task | typeof noTask;

export function currentOwner(): Owner {
  return currentTask() ?? noTask;
}

/**
 * What an operation that could complete at once ends with instead: the current task or a scope
 * around is cancelled, or the signal has aborted. Null: it may go on.
 */
export function refused(
  frame: Frame | undefined,
  options: WaitOptions | undefined,
): Promise<never> | null {
  const error = takeCancellationIn(frame);
  if (error !== null) return cancelledPromise(error);
  const signal = options?.signal;
  return signal?.aborted ? paceOf(frame).rejected(signal.reason) : null;
}

/** The same for those who have not read the frame. */
export function refusedNow(options: WaitOptions | undefined): Promise<never> | null {
  return refused(currentFrame(), options);
}

/** For an operation that completes at once: a loop of them lets others run now and then. */
export function atOnce<T>(value: T): Promise<T> {
  return paceOf(currentFrame()).resolved(value);
}

/** Runs `fn` while holding what `acquire` gives; releases it on every way out. */
export async function runHolding<T>(
  caller: string,
  source: { acquire(): Promise<Disposable> },
  fn: () => Awaitable<T>,
): Promise<T> {
  checkBody(caller, fn);
  const hold = await source.acquire();
  try {
    return await fn();
  } finally {
    hold[Symbol.dispose]();
  }
}
