/**
 * Waiting for time, and the clock.
 *
 * In: milliseconds. Out: promises that end on the loop's timers or ready queue. Never: early.
 */
import { argTypeError, type CancelledError, type WaitOptions } from '../base/errors.ts';
import { noteSeconds } from '../base/units.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { currentFrame, currentLoop, type Frame } from './frame.ts';
import type { Region } from './scope-node.ts';
import { cancelledPromise, takeCancellation, takeCancellationIn, Waiter } from './waiter.ts';

/** Its place in the ready queue stays when it is cancelled: a turn is soon. */
class TurnWaiter<T> extends Waiter<T> {
  readonly value: T;

  constructor(value: T) {
    super('sleep');
    this.value = value;
  }

  runJob(): void {
    this.wake(this.value);
  }
}

/** `sleep(0)` where somebody observes it, or with a value: the rule is that of `yieldIn`. */
class YieldWaiter<T> extends TurnWaiter<T> {
  override deliver(error: CancelledError): void {
    const region = this.node as Region;
    // A level stays in the region; an edge is for the task's next wait.
    if (region.effective !== error && region.task !== null) region.task.pendingCancel ??= error;
  }
}

class SleepWaiter<T> extends Waiter<T> {
  readonly loop: EventLoop;
  readonly value: T;
  timer: number;

  constructor(loop: EventLoop, value: T) {
    super('sleep');
    this.loop = loop;
    this.value = value;
    this.timer = -1;
  }

  override get plain(): boolean {
    return this.value === undefined;
  }

  onTimer(): void {
    this.timer = -1;
    this.wake(this.value);
  }

  runJob(): void {
    this.wake(this.value);
  }

  override onCancel(): void {
    if (this.timer !== -1) this.loop.cancelTimer(this.timer);
    this.timer = -1;
  }
}

function notMs(name: string, value: unknown): Promise<never> {
  return Promise.reject(argTypeError(name, 'a number of milliseconds', value));
}

/**
 * Waits. Cancellable. `sleep(0)` lets every ready task and I/O event go first; it rejects when the
 * task is cancelled already, while what comes until its turn meets the next wait, unless it has a
 * signal. `checkpoint()` rejects then, too. (asyncio.sleep)
 * @param ms milliseconds; NaN or no number: rejects with TypeError.
 */
export function sleep<T = void>(ms: number, value?: T, options?: WaitOptions): Promise<T> {
  if (typeof ms !== 'number' || Number.isNaN(ms)) return notMs('ms', ms);
  const frame = currentFrame();
  const loop = frame?.loop ?? currentLoop();
  if (ms <= 0) return yieldIn(frame, loop, value as T, options);
  const waiter = new SleepWaiter<T>(loop, value as T);
  const promise = waiter.startIn(frame, options);
  if (!waiter.active) return promise;
  if (ms < 10 && loop.debug) noteSeconds('A sleep', ms);
  if (ms !== Infinity) waiter.timer = loop.armTimer(loop.time() + ms, waiter);
  return promise;
}

/**
 * A turn that has begun to come is not taken back: a cancellation meanwhile meets the next wait.
 * So nobody need know who waits, and all of one turn share a promise. (Decision 0024.)
 */
function yieldIn<T>(
  frame: Frame | undefined,
  loop: EventLoop,
  value: T,
  options: WaitOptions | undefined,
): Promise<T> {
  if (options?.signal !== undefined) return waitTurn(frame, loop, new TurnWaiter(value), options);
  if (value !== undefined || loop.watched) return waitTurn(frame, loop, new YieldWaiter(value));
  const error = takeCancellationIn(frame);
  return error === null ? (loop.nextTurn() as Promise<T>) : cancelledPromise(error);
}

function waitTurn<T>(
  frame: Frame | undefined,
  loop: EventLoop,
  waiter: TurnWaiter<T>,
  options?: WaitOptions,
): Promise<T> {
  const promise = waiter.startIn(frame, options);
  if (waiter.active) loop.enqueue(waiter);
  return promise;
}

/** @param deadlineMs on the clock of `currentTime()`. Cancellable. (trio.sleep_until) */
export function sleepUntil(deadlineMs: number, options?: WaitOptions): Promise<void> {
  if (typeof deadlineMs !== 'number' || Number.isNaN(deadlineMs)) {
    return notMs('deadlineMs', deadlineMs);
  }
  const loop = currentLoop();
  const waiter = new SleepWaiter<void>(loop, undefined);
  const promise = waiter.start(options);
  if (!waiter.active) return promise;
  if (deadlineMs <= loop.time()) loop.enqueue(waiter);
  else if (deadlineMs !== Infinity) waiter.timer = loop.armTimer(deadlineMs, waiter);
  return promise;
}

/** Until cancelled. (trio.sleep_forever) */
export function sleepForever(options?: WaitOptions): Promise<never> {
  return new Waiter<never>('sleepForever').start(options);
}

/**
 * Monotonic milliseconds of the loop's clock: `performance.now()`, or virtual time in tests.
 * (asyncio loop.time, trio.current_time)
 */
export function currentTime(): number {
  return currentLoop().time();
}

/**
 * A wait that is always ready: lets others run and delivers a cancellation, also one that comes
 * meanwhile. (trio.checkpoint)
 */
export function checkpoint(): Promise<void> {
  const frame = currentFrame();
  return waitTurn(frame, frame?.loop ?? currentLoop(), new TurnWaiter<void>(undefined));
}

/** Throws CancelledError now if the current task or a scope around it is cancelled. */
export function throwIfCancelled(): void {
  const error = takeCancellation();
  if (error !== null) throw error;
}
