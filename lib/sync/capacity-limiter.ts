/**
 * A semaphore that knows its borrowers and whose size can change.
 *
 * In: acquire, release, a new size. Out: tokens, first come, first served. Never: two tokens for
 * one borrower, who would wait for itself when the limiter is full.
 */
import { type Awaitable, InvalidStateError, type WaitOptions, WouldBlock } from '../base/errors.ts';
import { checkCount } from '../base/units.ts';
import { wakeInPace } from '../task/pace.ts';
import { atOnce, currentOwner, noTask, refusedNow, runHolding } from './entry.ts';
import { ListedWaiter, WaiterList } from './waiter-list.ts';

/**
 * At most `totalTokens` at once do what it guards. A borrower has at most one token; code outside
 * of tasks, which cannot be told apart, may have many. Of `Promise.all` in one task, give
 * each branch a borrower of its own: `acquire({ borrower: {} })`. (trio.CapacityLimiter)
 */
export class CapacityLimiter {
  #total: number;
  #borrowed = 0;
  /** The token of each, or its wait for one. */
  readonly #borrowers: Map<unknown, Token | TokenWaiter> = new Map();
  /** Those of code outside of tasks, from the oldest on. */
  readonly #outside: Set<Token> = new Set();
  readonly #waiters: WaiterList<TokenWaiter> = new WaiterList();

  /** @param tokens a whole number or Infinity; RangeError, or TypeError for what is no number. */
  constructor(tokens: number) {
    this.#total = checkCount('tokens', tokens);
  }

  get totalTokens(): number {
    return this.#total;
  }

  /** More of them end waits at once; fewer take effect as tokens come back. Errors as above. */
  set totalTokens(tokens: number) {
    this.#total = checkCount('totalTokens', tokens);
    this.#serve();
  }

  get borrowedTokens(): number {
    return this.#borrowed;
  }

  /** Negative after `totalTokens` was set below what is borrowed. */
  get availableTokens(): number {
    return this.#total - this.#borrowed;
  }

  /**
   * Borrows a token; waits for one if need be, in order of the calls. Disposing the result gives it
   * back, once. Cancellable; a token that was given in the same turn before the cancellation
   * is held, and the next wait is the one that rejects.
   * @param options borrower: default the current task. InvalidStateError when it has a token
   * already, or waits for one.
   */
  acquire(options?: WaitOptions & { borrower?: unknown }): Promise<Disposable> {
    const borrower = borrowerOf(options?.borrower);
    if (this.#borrowers.has(borrower)) return Promise.reject(this.#secondToken(borrower));
    if (this.#borrowed < this.#total) {
      return refusedNow(options) ?? atOnce(this.#lend(borrower));
    }
    const waiter = new TokenWaiter(this, borrower);
    const promise = waiter.start(options);
    if (waiter.active) {
      this.#waiters.push(waiter);
      if (borrower !== noTask) this.#borrowers.set(borrower, waiter);
    }
    return promise;
  }

  /** Throws WouldBlock; InvalidStateError when the borrower has a token already. */
  acquireNowait(borrower?: unknown): Disposable {
    const who = borrowerOf(borrower);
    if (this.#borrowers.has(who)) throw this.#secondToken(who);
    if (this.#borrowed >= this.#total) throw new WouldBlock('All tokens are borrowed');
    return this.#lend(who);
  }

  /** InvalidStateError when the borrower (default: the current task) has no token. */
  release(borrower?: unknown): void {
    const who = borrowerOf(borrower);
    const token = who === noTask ? firstOf(this.#outside) : this.#borrowers.get(who);
    if (token instanceof Token) token[Symbol.dispose]();
    else throw new InvalidStateError('The borrower has no token of this limiter');
  }

  /** Runs `fn` with a token of the current task, which is given back on every way out. */
  with<T>(fn: () => Awaitable<T>): Promise<T> {
    return runHolding('CapacityLimiter.with', this, fn);
  }

  /** @internal */
  giveBack(token: Token): void {
    this.#borrowed--;
    if (token.borrower === noTask) this.#outside.delete(token);
    else this.#borrowers.delete(token.borrower);
    this.#serve();
  }

  /** @internal The wait of this borrower was cancelled. */
  forget(borrower: unknown): void {
    this.#borrowers.delete(borrower);
  }

  #lend(borrower: unknown): Token {
    const token = new Token(this, borrower);
    this.#borrowed++;
    if (borrower === noTask) this.#outside.add(token);
    else this.#borrowers.set(borrower, token);
    return token;
  }

  #serve(): void {
    while (this.#borrowed < this.#total) {
      const next = this.#waiters.shift();
      if (next === null) return;
      wakeInPace(next, this.#lend(next.borrower));
    }
  }

  #secondToken(borrower: unknown): InvalidStateError {
    const has = this.#borrowers.get(borrower) instanceof Token ? 'has' : 'waits for';
    return new InvalidStateError(`The borrower ${has} a token of this limiter already`);
  }
}

function borrowerOf(borrower: unknown): unknown {
  return borrower === undefined ? currentOwner() : borrower;
}

function firstOf(tokens: Set<Token>): Token | undefined {
  for (const token of tokens) return token;
  return undefined;
}

class TokenWaiter extends ListedWaiter<Disposable> {
  readonly #limiter: CapacityLimiter;
  readonly borrower: unknown;

  constructor(limiter: CapacityLimiter, borrower: unknown) {
    super('limiter.acquire');
    this.#limiter = limiter;
    this.borrower = borrower;
  }

  override onCancel(): void {
    // Not in the list any more: then the borrower has its token.
    if (this.list !== null) this.#limiter.forget(this.borrower);
    super.onCancel();
  }
}

class Token implements Disposable {
  /** Null once given back. */
  #limiter: CapacityLimiter | null;
  readonly borrower: unknown;

  constructor(limiter: CapacityLimiter, borrower: unknown) {
    this.#limiter = limiter;
    this.borrower = borrower;
  }

  [Symbol.dispose](): void {
    const limiter = this.#limiter;
    this.#limiter = null;
    limiter?.giveBack(this);
  }
}
