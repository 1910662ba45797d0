/**
 * Many sources, one list of results.
 */
import { AsyncResource } from 'node:async_hooks';
import type { CancelledError } from '../base/errors.ts';
import { openNode } from './cancellation.ts';
import { currentFrame, withoutDestroy } from './frame.ts';
import { type Future, type FutureObserver, RESOLVED } from './future.ts';
import { ensureFuture, type Source, type SourceResult } from './sources.ts';
import { Waiter } from './waiter.ts';

export interface GatherOptions {
  /** Errors become results; cancellation of the caller still throws. Default false. */
  returnExceptions?: boolean;
  /** Most sources in work at once; needs functions. Default Infinity. */
  limit?: number;
}

class Slot implements FutureObserver {
  readonly gathering: Gathering;
  readonly index: number;

  constructor(gathering: Gathering, index: number) {
    this.gathering = gathering;
    this.index = index;
  }

  onFutureDone(future: Future<unknown>): void {
    this.gathering.slotDone(this.index, future);
  }
}

class Gathering extends Waiter<unknown[]> {
  readonly #sources: readonly Source[];
  readonly #results: unknown[];
  /** Those begun, by their place. */
  readonly #futures: Future<unknown>[] = [];
  #working = 0;
  readonly #returnExceptions: boolean;
  #next = 0;
  #left: number;
  /** No more sources are begun: one failed, or the caller was cancelled. */
  #stopped = false;
  #passedOn: CancelledError | null = null;
  #failure: { error: unknown } | null = null;
  /** The caller's context, where sources begin later: not in that of the one that ended. */
  #context: AsyncResource | null = null;

  constructor(sources: readonly Source[], returnExceptions: boolean) {
    super('gather');
    this.#sources = sources;
    this.#results = new Array(sources.length);
    this.#returnExceptions = returnExceptions;
    this.#left = sources.length;
  }

  /** Begins up to `count` sources, then waits. */
  go(count: number): Promise<unknown[]> {
    for (let i = Math.min(count, this.#sources.length); i > 0; i--) this.#startNext();
    if (this.#next < this.#sources.length) {
      this.#context = new AsyncResource('UVIO', withoutDestroy);
    }
    // What was done before needs no wait, and beats a cancellation.
    if (this.#failure !== null) return Promise.reject(this.#failure.error);
    if (this.#left === 0) return Promise.resolve(this.#results);
    return this.start();
  }

  slotDone(index: number, future: Future<unknown>): void {
    this.#working--;
    this.#left--;
    if (future.status === RESOLVED) this.#results[index] = future.outcome;
    else if (this.#returnExceptions) this.#results[index] = future.outcome;
    else this.#fail(future.outcome);
    if (!this.#stopped) this.#context?.runInAsyncScope(this.#startNext, this);
    this.#checkEnd();
  }

  /** The caller was cancelled before: it waits for the end of what runs all the same. */
  override refuse(error: CancelledError): Promise<unknown[]> {
    this.#cancelAll(error);
    const frame = currentFrame();
    if (this.#working === 0 || frame === undefined) return super.refuse(error);
    return this.begin(openNode(frame.scope));
  }

  /** Cancels what runs; the caller hears of it when all have ended. */
  override deliver(error: CancelledError): void {
    if (this.#passedOn === error) return;
    this.#cancelAll(error);
    this.#checkEnd();
  }

  #cancelAll(error: CancelledError): void {
    this.#passedOn = error;
    this.#stopped = true;
    for (const future of this.#futures.slice()) future.cancelWith(error);
  }

  #fail(error: unknown): void {
    this.#stopped = true;
    if (this.#passedOn !== null) return;
    this.#failure ??= { error };
    this.fail(error);
  }

  #checkEnd(): void {
    if (!this.active) return;
    if (this.#passedOn !== null) {
      if (this.#working === 0) this.fail(this.#passedOn);
    } else if (this.#left === 0) {
      this.wake(this.#results);
    }
  }

  #startNext(): void {
    const index = this.#next;
    if (index >= this.#sources.length) return;
    this.#next++;
    const future = ensureFuture(this.#sources[index] as Source);
    this.#futures.push(future);
    this.#working++;
    future.observe(new Slot(this, index));
  }
}

function isSourceList(value: unknown): value is Iterable<Source> {
  if (typeof value !== 'object' || value === null || Symbol.iterator in value === false)
    return false;
  return typeof (value as { then?: unknown }).then !== 'function';
}

/**
 * Results in the order of the sources. On the first error it rejects; the others go on, as in
 * asyncio (use a task group to stop them), but with `limit` no more are begun. Cancelling the
 * caller cancels all and waits for their end. (asyncio.gather)
 */
export function gather<const S extends readonly Source[]>(
  ...sources: S
): Promise<{ -readonly [K in keyof S]: SourceResult<S[K]> }>;
export function gather<const S extends readonly Source[]>(
  sources: S,
  options: GatherOptions & { returnExceptions: true },
): Promise<{ -readonly [K in keyof S]: SourceResult<S[K]> | Error }>;
export function gather<const S extends readonly Source[]>(
  sources: S,
  options?: GatherOptions,
): Promise<{ -readonly [K in keyof S]: SourceResult<S[K]> }>;
export function gather<T>(sources: Iterable<Source<T>>, options?: GatherOptions): Promise<T[]>;
export function gather(...args: unknown[]): Promise<unknown> {
  try {
    return gatherAll(args);
  } catch (error) {
    return Promise.reject(error);
  }
}

/** Not async: the promise is that of the wait, which `waitFor` ends. */
function gatherAll(args: readonly unknown[]): Promise<unknown> {
  const [first, second] = args;
  let sources = args as readonly Source[];
  let options: GatherOptions = {};
  if (isSourceList(first)) {
    sources = [...first];
    options = (second as GatherOptions | undefined) ?? {};
  }
  const { limit = Infinity, returnExceptions = false } = options;
  if (!(limit >= 1)) throw new RangeError(`limit must be at least 1. Received ${limit}`);
  if (limit !== Infinity && sources.some((source) => typeof source !== 'function')) {
    throw new TypeError('gather() with a limit takes functions: a promise runs already');
  }
  return new Gathering(sources, returnExceptions).go(limit);
}
