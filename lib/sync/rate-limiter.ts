/**
 * A token bucket with a queue.
 *
 * In: requests for tokens. Out: their turn, first come, first served. Never: a token taken by a
 * wait that was cancelled; a timer for any other wait than the first one.
 *
 * The state is one time, at which the bucket will be full: taking tokens moves it on (GCRA, ITU-T
 * I.371). So the moment when a wait is due and the test whether it is are the same number, and no
 * rounding makes a timer come too early.
 */
import { argTypeError, rangeError, type WaitOptions } from '../base/errors.ts';
import { currentLoop } from '../task/frame.ts';
import { Waiter } from '../task/waiter.ts';
import { atOnce, refusedNow } from './entry.ts';

function checkPositive(name: string, value: unknown): number {
  if (typeof value !== 'number' || Number.isNaN(value)) throw argTypeError(name, 'a number', value);
  if (value > 0 && value < Infinity) return value;
  throw rangeError(name, 'more than 0 and finite', value);
}

class TokenWaiter extends Waiter<void> {
  readonly tokens: number;
  readonly loop: ReturnType<typeof currentLoop> = currentLoop();
  readonly #limiter: RateLimiter;
  /** Armed for the first of the queue only. */
  #timer = -1;

  constructor(limiter: RateLimiter, tokens: number) {
    super('rateLimiter');
    this.#limiter = limiter;
    this.tokens = tokens;
  }

  arm(deadlineMs: number): void {
    this.#timer = this.loop.armTimer(deadlineMs, this);
  }

  onTimer(): void {
    this.#timer = -1;
    this.#limiter.serve();
  }

  override onCancel(): void {
    this.#limiter.leave(this);
    if (this.#timer === -1) return;
    this.loop.cancelTimer(this.#timer);
    this.#limiter.serve();
  }
}

/**
 * At most `rate` tokens per `perMs` (default 1000), first come, first served. The bucket holds
 * `burst` tokens (default `rate`, at least 1), is full at first and is refilled evenly, so that any
 * stretch of time sees at most `burst` tokens more than its share; with `burst: 1` they come evenly
 * spaced. Rates may be fractions. TypeError, RangeError: options that are no numbers above 0.
 * (aiolimiter's AsyncLimiter)
 */
export class RateLimiter {
  /** Milliseconds until the bucket has one token more. */
  readonly #tokenMs: number;
  readonly #burst: number;
  /** When the bucket is full, if nobody takes a token. */
  #fullAtMs: number = -Infinity;
  #lastMs: number = -Infinity;
  /** In order; a cancelled wait leaves it from any place. */
  readonly #queue: Set<TokenWaiter> = new Set();

  constructor(options: { rate: number; perMs?: number; burst?: number }) {
    const rate = checkPositive('options.rate', options?.rate);
    this.#tokenMs = checkPositive('options.perMs', options.perMs ?? 1000) / rate;
    this.#burst = checkPositive('options.burst', options.burst ?? Math.max(1, rate));
  }

  /**
   * Takes `tokens` (default 1) when all earlier calls had theirs; at once when they are there.
   * Cancellable: the place in the queue goes to the next one, and no token is lost.
   * @param tokens more than 0, fractions too; RangeError above `burst`, which never comes together.
   */
  acquire(tokens: number = 1, options?: WaitOptions): Promise<void> {
    try {
      if (checkPositive('tokens', tokens) > this.#burst) {
        throw rangeError('tokens', `at most the limiter's burst of ${this.#burst}`, tokens);
      }
      const nowMs = currentLoop().time();
      if (this.#queue.size === 0 && this.#isDue(tokens, nowMs)) {
        const refused = refusedNow(options);
        if (refused !== null) return refused;
        this.#take(tokens, nowMs);
        return atOnce(undefined);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    const waiter = new TokenWaiter(this, tokens);
    const promise = waiter.start(options);
    if (!waiter.active) return promise;
    this.#queue.add(waiter);
    if (this.#queue.size === 1) waiter.arm(this.#dueMs(tokens));
    return promise;
  }

  /** @internal */
  leave(waiter: TokenWaiter): void {
    this.#queue.delete(waiter);
  }

  /** @internal Gives what is there to the first ones, and has the next one called in time. */
  serve(): void {
    for (const waiter of this.#queue) {
      const nowMs = waiter.loop.time();
      if (!this.#isDue(waiter.tokens, nowMs)) {
        waiter.arm(this.#dueMs(waiter.tokens));
        return;
      }
      this.#queue.delete(waiter);
      this.#take(waiter.tokens, nowMs);
      waiter.wake();
    }
  }

  #dueMs(tokens: number): number {
    return this.#fullAtMs - (this.#burst - tokens) * this.#tokenMs;
  }

  #isDue(tokens: number, nowMs: number): boolean {
    // Time that went back is that of another loop, as of the next simulated run.
    if (nowMs < this.#lastMs) this.#fullAtMs = -Infinity;
    this.#lastMs = nowMs;
    return nowMs >= this.#dueMs(tokens);
  }

  #take(tokens: number, nowMs: number): void {
    this.#fullAtMs = Math.max(this.#fullAtMs, nowMs) + tokens * this.#tokenMs;
  }
}
