/**
 * A number of permits.
 *
 * In: acquire, release. Out: permits, first come, first served. Never: a permit that a newcomer
 * takes while somebody waits; one that is lost with a cancelled wait.
 */
import { type Awaitable, rangeError, type WaitOptions, WouldBlock } from '../base/errors.ts';
import { checkCount, checkInteger } from '../base/units.ts';
import { wakeInPace } from '../task/pace.ts';
import { atOnce, refusedNow, runHolding } from './entry.ts';
import { ListedWaiter, WaiterList } from './waiter-list.ts';

/**
 * `new Semaphore(n, { max: n })` is asyncio's BoundedSemaphore. It does not know who holds its
 * permits: any task may release. (asyncio.Semaphore, trio.Semaphore, curio.Semaphore)
 */
export class Semaphore {
  /** Permits that are free; 0 while somebody waits. */
  #value: number;
  readonly max: number;
  readonly #waiters: WaiterList<ListedWaiter<Disposable>> = new WaiterList();

  /**
   * @param value a whole number, 0 or more; RangeError, or TypeError for what is no number.
   * @param options max: at least `value`; default Infinity.
   */
  constructor(value: number = 1, options: { max?: number } = {}) {
    this.#value = checkInteger('value', value);
    this.max = checkCount('max', options.max ?? Infinity, value);
  }

  get value(): number {
    return this.#value;
  }

  /**
   * Takes a permit; waits for one if need be, in order of the calls. Disposing the result releases
   * it, once: instead of `release()`, not beside it. Cancellable; a permit that was given in the
   * same turn before the cancellation is held, and the next wait is the one that rejects.
   */
  acquire(options?: WaitOptions): Promise<Disposable> {
    if (this.#value > 0) {
      return refusedNow(options) ?? atOnce(this.acquireNowait());
    }
    const waiter = new ListedWaiter<Disposable>('semaphore.acquire');
    const promise = waiter.start(options);
    if (waiter.active) this.#waiters.push(waiter);
    return promise;
  }

  /** Throws WouldBlock. */
  acquireNowait(): Disposable {
    if (this.#value === 0) throw new WouldBlock('The semaphore has no permit left');
    this.#value--;
    return new Permit(this);
  }

  /** Gives the permit to whoever waits longest. RangeError when `value` is `max` already. */
  release(): void {
    if (this.#value >= this.max) {
      const wanted = `<= ${this.max}; the semaphore was released too often`;
      throw rangeError('value', wanted, this.#value + 1);
    }
    const next = this.#waiters.shift();
    if (next === null) this.#value++;
    else wakeInPace(next, new Permit(this));
  }

  /** Runs `fn` with a permit, which is released on every way out. Cancellable while it waits. */
  with<T>(fn: () => Awaitable<T>): Promise<T> {
    return runHolding('Semaphore.with', this, fn);
  }
}

class Permit implements Disposable {
  /** Null once released. */
  #semaphore: Semaphore | null;

  constructor(semaphore: Semaphore) {
    this.#semaphore = semaphore;
  }

  [Symbol.dispose](): void {
    const semaphore = this.#semaphore;
    this.#semaphore = null;
    semaphore?.release();
  }
}
