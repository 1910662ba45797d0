/**
 * Waiting for several things, for a limited time, or protected.
 *
 * In: sources. Out: results in the order asked for. Never: a task left behind without a word in the
 * comment of the function that leaves it.
 */
import { TimeoutError, type WaitOptions } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { awaitInNode } from './enter.ts';
import { trackFailure } from './failures.ts';
import { currentLoop } from './frame.ts';
import { FAILED, Future, type FutureObserver, PENDING } from './future.ts';
import { CancelScope, shielded } from './scope.ts';
import { ensureFuture, type Source } from './sources.ts';
import { type Coro, createTask, type Task } from './task.ts';
import { Waiter } from './waiter.ts';

export { type GatherOptions, gather } from './gather.ts';
export { map } from './map.ts';
export { ensureFuture, type Source, type SourceResult } from './sources.ts';

/**
 * At most `ms` milliseconds (null: no limit). On timeout the work is cancelled and awaited, then
 * TimeoutError is thrown. A source that is done wins, also with 0. NaN: TypeError.
 * Cancelling the caller cancels the work and waits for it. (asyncio.wait_for)
 */
export async function waitFor<T>(
  source: Source<T>,
  ms: number | null,
  options: WaitOptions = {},
): Promise<T> {
  const timeoutMs = ms === null ? Infinity : checkMs('ms', ms);
  const future = ensureFuture(source);
  if (future.done) return future.result();
  const { signal } = options;
  const scope = new CancelScope(signal === undefined ? { timeoutMs } : { timeoutMs, signal });
  const node = scope.enter();
  const expired = (): boolean => node.loop.time() >= scope.deadlineMs;
  try {
    return await awaitInNode(node, future);
  } catch (error) {
    scope.absorb(error);
    if (signal?.aborted && !expired()) throw signal.reason;
    throw new TimeoutError(`The time limit of ${ms} ms passed`, { cause: scope.own });
  } finally {
    scope.leave();
  }
}

export interface WaitResult<T> {
  done: Set<Future<T>>;
  pending: Set<Future<T>>;
}

type Until = 'all' | 'first' | 'first-error';

/** Counts futures down. It only looks: errors stay with the futures. */
class CountWaiter extends Waiter<void> implements FutureObserver {
  readonly takesError = false;
  readonly #loop: EventLoop;
  readonly #futures: readonly Future<unknown>[];
  readonly #until: Until;
  #left: number;
  #timer = -1;
  first: Future<unknown> | null = null;

  constructor(futures: readonly Future<unknown>[], until: Until) {
    super('wait');
    this.#loop = currentLoop();
    this.#futures = futures;
    this.#until = until;
    this.#left = futures.length;
  }

  go(timeoutMs: number, options?: WaitOptions): Promise<void> {
    for (const future of this.#futures) if (future.done) this.#count(future);
    if (this.#enough()) return Promise.resolve();
    const promise = this.start(options);
    if (!this.active) return promise;
    for (const future of this.#futures) if (!future.done) future.observe(this);
    if (timeoutMs !== Infinity) {
      this.#timer = this.#loop.armTimer(this.#loop.time() + timeoutMs, this);
    }
    return promise;
  }

  onFutureDone(future: Future<unknown>): void {
    this.#count(future);
    if (this.#enough()) this.#finish();
  }

  onTimer(): void {
    this.#timer = -1;
    this.#finish();
  }

  override onCancel(): void {
    if (this.#timer !== -1) this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
    for (const future of this.#futures) future.unobserve(this);
  }

  #finish(): void {
    this.onCancel();
    this.wake();
  }

  #count(future: Future<unknown>): void {
    this.#left--;
    if (this.#until === 'first' || (this.#until === 'first-error' && future.status === FAILED)) {
      this.first ??= future;
    }
  }

  #enough(): boolean {
    return this.#left === 0 || this.first !== null;
  }
}

/**
 * Waits for tasks without cancelling any of them; a timeout is no error here. Cancelling the wait
 * leaves the tasks alone. (asyncio.wait)
 */
export async function wait<T>(
  futures: Iterable<Future<T>>,
  options: WaitOptions & { timeoutMs?: number; until?: Until } = {},
): Promise<WaitResult<T>> {
  const { timeoutMs = Infinity, until = 'all' } = options;
  checkMs('timeoutMs', timeoutMs);
  if (until !== 'all' && until !== 'first' && until !== 'first-error') {
    throw new TypeError(`until must be 'all', 'first' or 'first-error'. Received ${until}`);
  }
  const all = new Set(futures);
  for (const future of all) {
    if (!(future instanceof Future)) throw new TypeError('wait() takes tasks and futures');
  }
  await new CountWaiter([...all] as Future<unknown>[], until).go(timeoutMs, options);
  const result: WaitResult<T> = { done: new Set(), pending: new Set() };
  for (const future of all) (future.done ? result.done : result.pending).add(future);
  return result;
}

/**
 * The queue between completions and `next()` calls. It only looks: an error that no `next()` gave
 * stays with its future. `for await` does not call `return()` after an error, so there is a timer
 * only while somebody waits.
 */
class Completions<T> implements AsyncIterableIterator<T>, FutureObserver {
  readonly takesError = false;
  readonly #loop: EventLoop = currentLoop();
  readonly #deadlineMs: number;
  readonly #waiters: Set<Waiter<void>> = new Set();
  readonly #futures: ReadonlySet<Future<T>>;
  readonly #done: Future<T>[] = [];
  #left: number;
  #timer = -1;
  #expired = false;

  constructor(futures: ReadonlySet<Future<T>>, timeoutMs: number) {
    this.#futures = futures;
    this.#left = futures.size;
    this.#deadlineMs = this.#loop.time() + timeoutMs;
    for (const future of futures) {
      if (future.done) this.#done.push(future);
      else future.observe(this as FutureObserver);
    }
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    for (;;) {
      const future = this.#done.shift();
      if (future !== undefined) {
        this.#left--;
        return { value: future.result(), done: false };
      }
      if (this.#left === 0) return { value: undefined, done: true };
      if (this.#expired) throw new TimeoutError('The time limit of asCompleted() passed');
      const waiter = new CompletionWaiter((left) => this.#forget(left));
      const promise = waiter.start();
      if (waiter.active) this.#add(waiter);
      await promise;
    }
  }

  /** Leaving early: the sources go on, as in asyncio. */
  return(): Promise<IteratorResult<T, undefined>> {
    this.#left = 0;
    this.#done.length = 0;
    this.#unobserve();
    this.#wakeAll();
    return Promise.resolve({ value: undefined, done: true });
  }

  onFutureDone(future: Future<unknown>): void {
    // While somebody waits, the timer says when it is over.
    if (this.#waiters.size === 0 && this.#loop.time() >= this.#deadlineMs) {
      this.#expire();
      return;
    }
    this.#done.push(future as Future<T>);
    this.#wakeAll();
  }

  onTimer(): void {
    this.#timer = -1;
    this.#expire();
    this.#wakeAll();
  }

  /** No source counts that is not done yet. */
  #expire(): void {
    this.#expired = true;
    this.#unobserve();
  }

  #unobserve(): void {
    for (const future of this.#futures) future.unobserve(this as FutureObserver);
  }

  #add(waiter: Waiter<void>): void {
    this.#waiters.add(waiter);
    if (this.#timer !== -1 || this.#deadlineMs === Infinity) return;
    this.#timer = this.#loop.armTimer(this.#deadlineMs, this);
  }

  #forget(waiter: Waiter<void>): void {
    this.#waiters.delete(waiter);
    if (this.#waiters.size === 0) this.#disarm();
  }

  #wakeAll(): void {
    this.#disarm();
    for (const waiter of this.#waiters) waiter.wake();
    this.#waiters.clear();
  }

  #disarm(): void {
    if (this.#timer !== -1) this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }
}

class CompletionWaiter extends Waiter<void> {
  readonly #forget: (waiter: Waiter<void>) => void;

  constructor(forget: (waiter: Waiter<void>) => void) {
    super('asCompleted');
    this.#forget = forget;
  }

  override onCancel(): void {
    this.#forget(this);
  }
}

/**
 * Results as they come; a source's error is thrown at its place. TimeoutError when `timeoutMs`
 * passes first. Leaving early or cancelling the loop over it leaves the sources alone.
 * (asyncio.as_completed)
 */
export function asCompleted<T>(
  sources: Iterable<Source<T>>,
  options: { timeoutMs?: number } = {},
): AsyncIterable<T> {
  const timeoutMs = checkMs('timeoutMs', options.timeoutMs ?? Infinity);
  const futures = new Set<Future<T>>();
  for (const source of sources) futures.add(ensureFuture(source));
  return new Completions(futures, timeoutMs);
}

/**
 * Waiting for it can be cancelled, the work behind it cannot. When the work fails after that, its
 * error goes to the loop's exception handler. (asyncio.shield)
 */
export function shield<T>(source: Source<T>): Future<T> {
  const inner = ensureFuture(source);
  if (inner.done) return inner;
  const outer = new Future<T>({ loop: inner.loop });
  inner.observe({
    onFutureDone(): void {
      if (outer.status === PENDING) outer.settle(inner.status, inner.outcome);
      else if (inner.status === FAILED) {
        trackFailure(inner, inner.loop, inner.outcome, inner.failureMessage());
      }
    },
  });
  return outer;
}

/** The first result or error wins; the others are cancelled and awaited (curio: wait=any). */
export async function race<T>(...fns: readonly Coro<T>[]): Promise<T> {
  if (fns.length === 0) throw new TypeError('race() takes at least one function');
  const tasks: Task<T>[] = fns.map((fn) => createTask(fn));
  const waiter = new CountWaiter(tasks as Future<unknown>[], 'first');
  try {
    await waiter.go(Infinity);
  } finally {
    for (const task of tasks) task.cancel('another one was first');
    await shielded(async () => {
      for (const task of tasks) await task.wait();
    });
  }
  return (waiter.first as Future<T>).result();
}
