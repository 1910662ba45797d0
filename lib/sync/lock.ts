/**
 * Mutual exclusion.
 *
 * In: acquire, release. Out: the lock, handed from its owner straight to whoever waits longest.
 * Never: a newcomer that overtakes; a lock that a cancelled wait keeps or loses.
 *
 * Invariants, between calls:
 *  - `#owner`, `#holds` are both null (free; then nobody waits) or both set.
 *  - The holds of the owner are a chain, the latest first, longer than one for a reentrant lock.
 */
import { type Awaitable, InvalidStateError, type WaitOptions, WouldBlock } from '../base/errors.ts';
import { wakeInPace } from '../task/pace.ts';
import type { Task } from '../task/task.ts';
import { atOnce, currentOwner, noTask, type Owner, refusedNow, runHolding } from './entry.ts';
import { ListedWaiter, WaiterList } from './waiter-list.ts';

export interface LockStatistics {
  /** Null: nobody, or code outside of tasks. */
  readonly owner: Task | null;
  readonly waiting: number;
}

/** @internal What `acquire` gives. */
export class Hold implements Disposable {
  /** Null once released. */
  lock: Lock | null;
  /** The same owner's hold before this one. */
  outer: Hold | null;

  constructor(lock: Lock, outer: Hold | null) {
    this.lock = lock;
    this.outer = outer;
  }

  /** From anywhere: unlike `release()` it says which hold is meant. */
  [Symbol.dispose](): void {
    const { lock } = this;
    if (lock === null) return;
    this.lock = null;
    lock.drop(this);
  }
}

/** @internal A wait that ends with the lock. */
export abstract class LockWaiter<T> extends ListedWaiter<T> {
  readonly owner: Owner;

  constructor(label: string, owner: Owner) {
    super(label);
    this.owner = owner;
  }

  /** The holds that it gets; null if it has no use for the lock any more. */
  abstract takeHolds(lock: Lock): Hold | null;
  /** Ends the wait. */
  abstract finish(hold: Hold | null): void;
}

class Acquiring extends LockWaiter<Disposable> {
  takeHolds(lock: Lock): Hold {
    return new Hold(lock, null);
  }

  finish(hold: Hold): void {
    wakeInPace(this, hold);
  }
}

/**
 * Mutual exclusion between tasks. A lock that its task holds makes others wait, and other branches
 * of the same task too (as of `Promise.all`), unless it is reentrant: then all branches of one
 * task, and all code outside of tasks, count as one owner.
 * (asyncio.Lock, trio.Lock, trio.StrictFIFOLock; curio.RLock: `reentrant`)
 */
export class Lock {
  readonly #reentrant: boolean;
  #owner: Owner | null = null;
  #holds: Hold | null = null;
  readonly #waiters: WaiterList<LockWaiter<unknown>> = new WaiterList();

  /** @param options reentrant: the owning task may acquire again. Default false. */
  constructor(options: { reentrant?: boolean } = {}) {
    this.#reentrant = options.reentrant ?? false;
  }

  get locked(): boolean {
    return this.#owner !== null;
  }

  /**
   * `using _ = await lock.acquire()`; disposing releases this hold, once, in whatever task. Waits
   * in order of the calls. Cancellable; a lock that was handed over in the same turn before the
   * cancellation is held, and the next wait is the one that rejects.
   */
  acquire(options?: WaitOptions): Promise<Disposable> {
    const owner = currentOwner();
    if (this.#isFreeFor(owner)) {
      return refusedNow(options) ?? atOnce(this.#take(owner));
    }
    const waiter = new Acquiring('lock.acquire', owner);
    const promise = waiter.start(options);
    if (waiter.active) this.#waiters.push(waiter);
    return promise;
  }

  /** Throws WouldBlock. */
  acquireNowait(): Disposable {
    const owner = currentOwner();
    if (!this.#isFreeFor(owner)) throw new WouldBlock('The lock is held');
    return this.#take(owner);
  }

  /**
   * Releases the latest hold of the current task; with its last one, the lock goes to whoever waits
   * longest. InvalidStateError when the current task does not hold it.
   */
  release(): void {
    this.checkHeld('release()');
    this.#holds?.[Symbol.dispose]();
  }

  /** Runs `fn` with the lock, which is released on every way out. Cancellable while it waits. */
  with<T>(fn: () => Awaitable<T>): Promise<T> {
    return runHolding('Lock.with', this, fn);
  }

  statistics(): LockStatistics {
    const owner = this.#owner;
    return { owner: owner === noTask ? null : owner, waiting: this.#waiters.length };
  }

  /** @internal The owner, or an error. */
  checkHeld(what: string): Owner {
    const owner = this.#owner;
    if (owner !== null && owner === currentOwner()) return owner;
    const holder = owner === noTask ? 'code outside of tasks' : (owner?.describe() ?? 'nobody');
    throw new InvalidStateError(`${what} needs the lock, but ${holder} holds it`);
  }

  /** @internal A hold was released. It may be one that its owner has put aside. */
  drop(hold: Hold): void {
    let at = this.#holds;
    if (at === hold) {
      this.#holds = firstValid(hold.outer);
      if (this.#holds === null) this.#passOn();
      return;
    }
    while (at !== null && at.outer !== hold) at = at.outer;
    if (at !== null) at.outer = hold.outer;
  }

  /** @internal The owner lets go of the lock, and will want all its holds back. */
  putAside(): Hold | null {
    const holds = this.#holds;
    this.#holds = null;
    this.#passOn();
    return holds;
  }

  /** @internal The wait, which has begun, ends with the lock: at once if it is free. */
  admit(waiter: LockWaiter<unknown>): void {
    this.#waiters.push(waiter);
    if (this.#owner === null) this.#passOn();
  }

  #isFreeFor(owner: Owner): boolean {
    return this.#owner === null || (this.#reentrant && this.#owner === owner);
  }

  #take(owner: Owner): Hold {
    const hold = new Hold(this, this.#holds);
    this.#owner = owner;
    this.#holds = hold;
    return hold;
  }

  #passOn(): void {
    for (;;) {
      const next = this.#waiters.shift();
      this.#owner = next?.owner ?? null;
      if (next === null) return;
      // Before the wait ends, as an instrument may look at the lock then.
      this.#holds = firstValid(next.takeHolds(this));
      next.finish(this.#holds);
      if (this.#holds !== null) return;
    }
  }
}

/** Holds may be released while they are put aside. */
function firstValid(hold: Hold | null): Hold | null {
  while (hold !== null && hold.lock === null) hold = hold.outer;
  return hold;
}
