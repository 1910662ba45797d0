/**
 * What combinators accept, made a future.
 *
 * In: functions, futures, promises. Out: futures. Never: a second task for what runs already.
 */
import { CancelledError } from '../base/errors.ts';
import { isThenable } from './enter.ts';
import { currentFrame, currentLoop } from './frame.ts';
import { CANCELLED, FAILED, Future, PENDING, RESOLVED } from './future.ts';
import { waiterWith } from './scope-node.ts';
import { spawnTask } from './spawn.ts';
import type { AnyCoro, Coro } from './task.ts';
import type { Waiter } from './waiter.ts';

/**
 * What combinators accept: a function (becomes a task), a Task or Future, or a promise that
 * already runs (adopted: what runs is not stopped, but a wait of uvio that has just begun, as in
 * `waitFor(queue.get(), 100)`, is cancelled, and so is every wait when the caller is cancelled).
 */
export type Source<T = unknown> = Coro<T> | Future<T> | PromiseLike<T>;

/** The result type of a Source. */
export type SourceResult<S> =
  S extends PromiseLike<infer T> ? T : S extends () => infer R ? Awaited<R> : never;

/** Wraps a source; a Future is returned as it is (asyncio: ensure_future, wrap_future). */
export function ensureFuture<T>(source: Source<T>): Future<T> {
  if (source instanceof Future) return source;
  if (typeof source === 'function') {
    const frame = currentFrame();
    const loop = frame?.loop ?? currentLoop();
    return spawnTask<T>(frame, loop, null, null, null, source as AnyCoro, []);
  }
  if (isThenable(source)) return adopt(source);
  throw new TypeError('Expected a function, a Future, a Task or a promise');
}

/** For the promise of a wait of uvio itself, as of `queue.get()`: cancelling it ends the wait. */
class WaitFuture<T> extends Future<T> {
  readonly #waiter: Waiter<unknown>;
  readonly #promise: PromiseLike<T>;

  constructor(waiter: Waiter<unknown>, promise: PromiseLike<T>) {
    super();
    this.#waiter = waiter;
    this.#promise = promise;
  }

  override cancelWith(error: CancelledError): boolean {
    if (this.status !== PENDING) return false;
    // Its result is on its way already, and would be lost.
    if (this.#waiter.promise !== this.#promise) return false;
    this.#waiter.deliver(error);
    // One that passes it on ends later.
    return this.#waiter.promise === this.#promise || super.cancelWith(error);
  }
}

/** Cancelling the future stops the waiting; the promise only if it is that of a wait of uvio. */
function adopt<T>(promise: PromiseLike<T>): Future<T> {
  const frame = currentFrame();
  const waiter = frame === undefined ? null : waiterWith(frame.scope, promise);
  const future = waiter === null ? new Future<T>() : new WaitFuture(waiter, promise);
  promise.then(
    (value) => {
      if (future.status === PENDING) future.settle(RESOLVED, value);
    },
    (error: unknown) => {
      if (future.status !== PENDING) return;
      future.settle(error instanceof CancelledError ? CANCELLED : FAILED, error);
    },
  );
  return future;
}
