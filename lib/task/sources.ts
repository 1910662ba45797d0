/**
 * What combinators accept, made a future.
 *
 * In: functions, futures, promises. Out: futures. Never: a second task for what runs already.
 */
import { CancelledError } from '../base/errors.ts';
import { isThenable } from './enter.ts';
import { currentFrame, currentLoop } from './frame.ts';
import { CANCELLED, FAILED, Future, PENDING, RESOLVED } from './future.ts';
import { spawnTask } from './spawn.ts';
import type { AnyCoro, Coro } from './task.ts';

/**
 * What combinators accept: a function (becomes a task), a Task or Future, or a promise that
 * already runs (adopted: it is not stopped, but uvio waits inside it are cancelled).
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

/** Cancelling the future stops the waiting, not the promise. */
function adopt<T>(promise: PromiseLike<T>): Future<T> {
  const future = new Future<T>();
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
