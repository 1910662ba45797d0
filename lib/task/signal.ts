/**
 * Cancellation on its way out of uvio (AbortSignal), and foreign promises on their way in.
 *
 * In: a region or a promise. Out: one signal per region, made when asked for. Never: a listener
 * that stays behind; the signals listen to nothing, regions abort them.
 */
import { argTypeError, type CancelledError } from '../base/errors.ts';
import { edgeShielded, openNode } from './cancellation.ts';
import { isThenable } from './enter.ts';
import { currentFrame, currentLoop } from './frame.ts';
import { hasLeft, type Region } from './scope-node.ts';
import type { Task } from './task.ts';
import { Waiter } from './waiter.ts';

/** @internal The signal of a region: fresh again after an edge cancellation was delivered. */
export function nodeSignal(node: Region): AbortSignal {
  const pending = node.task?.pendingCancel ?? null;
  const error = pending !== null && !edgeShielded(node) ? pending : node.effective;
  if (node.controller === null || (node.controller.signal.aborted && error === null)) {
    node.controller = new AbortController();
  }
  if (error !== null && !node.controller.signal.aborted) node.controller.abort(error);
  return node.controller.signal;
}

/** @internal */
export function taskSignal(task: Task): AbortSignal {
  if (task.cancelled || (task.cancelling > 0 && !task.done)) {
    const signal = task.controller?.signal;
    if (signal?.aborted) return signal;
    return AbortSignal.abort(task.cancelled ? task.outcome : task.extra?.lastCancel);
  }
  if (!hasLeft(task)) return nodeSignal(task);
  return (task.controller ??= new AbortController()).signal;
}

/** The signal of the innermost scope or task: `fetch(url, { signal: currentSignal() })`. */
export function currentSignal(): AbortSignal {
  const frame = currentFrame();
  if (frame === undefined) return new AbortController().signal;
  return nodeSignal(openNode(frame.scope));
}

class AbortableWaiter<T> extends Waiter<T> {
  readonly #stop: (() => void) | undefined;

  constructor(stop: (() => void) | undefined) {
    super('promise');
    this.#stop = stop;
  }

  override refuse(error: CancelledError): Promise<T> {
    this.onCancel();
    return super.refuse(error);
  }

  override onCancel(): void {
    try {
      this.#stop?.();
    } catch (error) {
      currentLoop().callExceptionHandler({ message: 'onCancel of abortable() threw', error });
    }
  }
}

/**
 * Makes waiting for a foreign promise cancellable; `onCancel` may stop the work behind it.
 * TypeError for what is no promise.
 * (trio.lowlevel.wait_task_rescheduled)
 */
export function abortable<T>(promise: PromiseLike<T>, onCancel?: () => void): Promise<T> {
  if (!isThenable(promise)) throw argTypeError('promise', 'a promise', promise);
  const waiter = new AbortableWaiter<T>(onCancel);
  const waiting = waiter.start();
  // Also when refused: what the promise ends with is then nobody's unhandled rejection.
  promise.then(
    (value) => waiter.wake(value),
    (error: unknown) => waiter.fail(error),
  );
  return waiting;
}
