/**
 * Running a user's function inside a region.
 *
 * In: a region and a function. Out: a promise of its result. Never: a call stack that grows with
 * the depth of scopes.
 */
import { frameStorage } from './frame.ts';
import type { Region } from './scope-node.ts';

/** Scopes entered inside one another without a wait between them, before the next one gets one. */
const maxSyncDepth = 50;
let syncDepth = 0;

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return false;
  return typeof (value as { then?: unknown }).then === 'function';
}

async function settle<T>(thenable: PromiseLike<T>): Promise<T> {
  return await thenable;
}

/** Awaits inside the region, so that its cancellation reaches a future that was returned. */
export function awaitInNode<T>(node: Region, thenable: PromiseLike<T>): Promise<T> {
  return frameStorage.run(node, settle<T>, thenable);
}

/** Runs `fn` in the region and waits for its end. */
export async function runInNode<T, A>(
  node: Region,
  fn: (arg: A) => T | PromiseLike<T>,
  arg: A,
): Promise<T> {
  // Scopes nested thousands deep would overflow the stack: each `fn` calls the next one.
  if (syncDepth >= maxSyncDepth) await null;
  syncDepth++;
  let result: T | PromiseLike<T>;
  try {
    result = frameStorage.run(node, fn, arg);
  } finally {
    syncDepth--;
  }
  if (!isThenable(result)) return result;
  return await (result instanceof Promise ? result : awaitInNode(node, result as PromiseLike<T>));
}

/** Refuses a promise where uvio must start the work itself. */
export function checkBody(caller: string, fn: unknown): void {
  if (typeof fn === 'function') return;
  const hint = isThenable(fn)
    ? `, not a promise, which runs already: write ${caller}(() => f(x)) instead of ${caller}(f(x))`
    : '';
  throw new TypeError(`${caller}() takes a function${hint}`);
}
