/**
 * A semaphore that knows its borrowers and whose size can change.
 *
 * In: acquire, release, a new size. Out: tokens, first come, first served. Never: a token lost to
 * a cancelled wait.
 */
import { Deque } from '../base/deque.ts';
import {
  type Awaitable,
  argTypeError,
  rangeError,
  type WaitOptions,
  WouldBlock,
} from '../base/errors.ts';
import { currentTask } from '../task/task.ts';
import { cancelledPromise, takeCancellation, Waiter } from '../task/waiter.ts';

class TokenWaiter extends Waiter<Disposable> {
  readonly #queue: Deque<TokenWaiter>;
  readonly borrower: unknown;

  constructor(queue: Deque<TokenWaiter>, borrower: unknown) {
    super('limiter');
    this.#queue = queue;
    this.borrower = borrower;
  }

  override onCancel(): void {
    this.#queue.delete(this);
  }
}

/** (trio.CapacityLimiter) */
export class CapacityLimiter {
  #total = 0;
  readonly #borrowers: Set<unknown> = new Set();
  readonly #queue: Deque<TokenWaiter> = new Deque();

  /** @param tokens a whole number from 1 on, or Infinity. */
  constructor(tokens: number) {
    this.totalTokens = tokens;
  }

  get totalTokens(): number {
    return this.#total;
  }

  /** More tokens wake waiters at once; with less, nobody gets one until enough came back. */
  set totalTokens(tokens: number) {
    if (typeof tokens !== 'number') throw argTypeError('tokens', 'a number', tokens);
    if (tokens !== Infinity && (!Number.isInteger(tokens) || tokens < 1)) {
      throw rangeError('tokens', 'an integer >= 1 or Infinity', tokens);
    }
    this.#total = tokens;
    this.#serve();
  }

  get borrowedTokens(): number {
    return this.#borrowers.size;
  }

  get availableTokens(): number {
    return Math.max(0, this.#total - this.#borrowers.size);
  }

  /** @param options borrower: default the current task; Error when it holds a token already. */
  acquire(options?: WaitOptions & { borrower?: unknown }): Promise<Disposable> {
    const borrower = options?.borrower ?? currentTask();
    const error = takeCancellation();
    if (error !== null) return cancelledPromise(error);
    if (options?.signal?.aborted) return Promise.reject(options.signal.reason);
    if (this.#borrowers.has(borrower)) return Promise.reject(heldAlready());
    if (this.#queue.length === 0 && this.availableTokens > 0) {
      return Promise.resolve(this.#lend(borrower));
    }
    const waiter = new TokenWaiter(this.#queue, borrower);
    const promise = waiter.start(options);
    if (waiter.active) this.#queue.push(waiter);
    return promise;
  }

  /** WouldBlock when there is no token, or somebody waits for one. */
  acquireNowait(borrower: unknown = currentTask()): Disposable {
    if (this.#borrowers.has(borrower)) throw heldAlready();
    if (this.#queue.length > 0 || this.availableTokens === 0) throw new WouldBlock();
    return this.#lend(borrower);
  }

  release(borrower: unknown = currentTask()): void {
    if (!this.#borrowers.delete(borrower)) throw new Error('This borrower holds no token');
    this.#serve();
  }

  async with<T>(fn: () => Awaitable<T>): Promise<T> {
    const token = await this.acquire();
    try {
      return await fn();
    } finally {
      token[Symbol.dispose]();
    }
  }

  #lend(borrower: unknown): Disposable {
    this.#borrowers.add(borrower);
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.release(borrower);
        held = false;
      },
    };
  }

  #serve(): void {
    while (this.#queue.length > 0 && this.availableTokens > 0) {
      const waiter = this.#queue.shift() as TokenWaiter;
      waiter.wake(this.#lend(waiter.borrower));
    }
  }
}

function heldAlready(): Error {
  return new Error('This borrower holds a token already');
}
