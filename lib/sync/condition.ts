/**
 * Waiting for a change of what a lock protects.
 *
 * In: wait, notify, by holders of the lock. Out: waits that end with the lock held again, however
 * they end. Never: a notification that is lost with a cancelled wait.
 *
 * A wait goes through two lists: of the condition until it is notified or cancelled, then of the
 * lock. So there is one promise for both, and notified waits get the lock in order.
 */
import {
  type Awaitable,
  argTypeError,
  type CancelledError,
  type WaitOptions,
} from '../base/errors.ts';
import { checkCount } from '../base/units.ts';
import { isThenable } from '../task/enter.ts';
import { wakeInPace } from '../task/pace.ts';
import { type Owner, refusedNow } from './entry.ts';
import { type Hold, Lock, LockWaiter } from './lock.ts';
import { WaiterList } from './waiter-list.ts';

class ConditionWaiter extends LockWaiter<void> {
  readonly #condition: Condition;
  /** What the waiting task held: several for a reentrant lock. */
  holds: Hold | null;
  #state: 'waiting' | 'notified' | 'failed';
  #error: unknown;

  constructor(condition: Condition, owner: Owner) {
    super('condition.wait', owner);
    this.#condition = condition;
    this.holds = null;
    this.#state = 'waiting';
    this.#error = undefined;
  }

  notify(): void {
    this.#state = 'notified';
    this.#condition.lock.admit(this);
  }

  override deliver(error: CancelledError): void {
    // The latest one, as in asyncio. A signal's reason gives way to it.
    this.#error = error;
    this.#interrupt();
  }

  /** Comes before `fail`, for a signal. The wait goes on until it has the lock. */
  override onCancel(): void {}

  /** A signal aborts. */
  override fail(reason: unknown): void {
    if (this.#state !== 'failed') this.#error = reason;
    this.#interrupt();
  }

  #interrupt(): void {
    const before = this.#state;
    this.#state = 'failed';
    if (before === 'waiting') {
      this.#condition.forget(this);
      this.#condition.lock.admit(this);
    } else if (before === 'notified') {
      // It does not act upon its notification: that is for another one.
      this.#condition.passOn(1);
    }
  }

  takeHolds(): Hold | null {
    return this.holds;
  }

  finish(): void {
    if (this.#state === 'failed') super.fail(this.#error);
    else wakeInPace(this, undefined);
  }
}

/** (asyncio.Condition, trio.Condition, curio.Condition) */
export class Condition {
  readonly lock: Lock;
  readonly #waiters: WaiterList<ConditionWaiter> = new WaiterList();

  /** @param lock default: its own. Several conditions may share one. TypeError for no Lock. */
  constructor(lock: Lock = new Lock()) {
    if (!(lock instanceof Lock)) throw argTypeError('lock', 'a Lock', lock);
    this.lock = lock;
  }

  /** That of the lock. */
  acquire(options?: WaitOptions): Promise<Disposable> {
    return this.lock.acquire(options);
  }

  /** That of the lock. */
  release(): void {
    this.lock.release();
  }

  /** That of the lock. */
  with<T>(fn: () => Awaitable<T>): Promise<T> {
    return this.lock.with(fn);
  }

  /**
   * Releases the lock, waits for a notify, holds the lock again: also when it throws. All holds of
   * a reentrant lock are released, and held again. Cancellable, but the error comes only when
   * the task has the lock. Whoever is cancelled after being notified passes the notification on.
   * InvalidStateError when the current task does not hold the lock.
   */
  wait(options?: WaitOptions): Promise<void> {
    let owner: Owner;
    try {
      owner = this.lock.checkHeld('wait()');
    } catch (error) {
      return Promise.reject(error);
    }
    const waiter = new ConditionWaiter(this, owner);
    const promise = waiter.start(options);
    if (waiter.active) {
      this.#waiters.push(waiter);
      waiter.holds = this.lock.putAside();
    }
    return promise;
  }

  /**
   * Until the predicate is truthy; gives its value. It is called with the lock held, at first and
   * after each notify. Errors as those of `wait()`; TypeError for a predicate that returns a
   * promise.
   */
  async waitFor<T>(predicate: () => T, options?: WaitOptions): Promise<T> {
    if (typeof predicate !== 'function') throw argTypeError('predicate', 'a function', predicate);
    const refused = refusedNow(options);
    if (refused !== null) return await refused;
    for (;;) {
      const value = predicate();
      if (isThenable(value)) {
        throw argTypeError('predicate()', 'a value, not a promise, which is always truthy', value);
      }
      if (value) return value;
      await this.wait(options);
    }
  }

  /**
   * Ends the waits of those that wait longest, once they get the lock.
   * @param count at most so many; Infinity for all. No whole number or negative: RangeError.
   * InvalidStateError when the current task does not hold the lock.
   */
  notify(count: number = 1): void {
    checkCount('count', count);
    this.lock.checkHeld('notify()');
    this.passOn(count);
  }

  /** InvalidStateError when the current task does not hold the lock. */
  notifyAll(): void {
    this.notify(Infinity);
  }

  /** @internal */
  passOn(count: number): void {
    for (let left = count; left > 0; left--) {
      const next = this.#waiters.shift();
      if (next === null) return;
      next.notify();
    }
  }

  /** @internal */
  forget(waiter: ConditionWaiter): void {
    this.#waiters.remove(waiter);
  }
}
