/**
 * Arms timers relative to now, without reading the clock for each one that is cancelled at once.
 *
 * In: delays. Out: readings and delays, told to the queue. Never: a deadline that is too early.
 *
 * Reading the clock costs more than arming and cancelling together, and most timers are limits
 * that are cancelled soon. Where the last few timers were each cancelled before the next was
 * armed, all within microseconds, the next one is only remembered here, not armed. Arming another
 * one beside it, firing, asking for its time, or a microtask reads the clock and arms it from
 * there: it was made before, so it is never early. It is late only if the thread is kept busy
 * between making it and that microtask, and then by no more than that.
 */
import type { LoopTimer } from './handles.ts';

/** Pairs of arm and cancel before the clock is trusted, and how many go by one reading. */
const evidence = 4;
const burst = 32;
/** Pairs that take longer than this, in ms, read the clock each time. */
const pairMs = 0.001;

/** The slot of a timer that is not armed yet: no real one, those come behind the buckets. */
export const pendingSlot = 0;

type Arm = (nowMs: number, delayMs: number, timer: LoopTimer) => void;

const settled: Promise<void> = Promise.resolve();

export class BurstClock {
  /** The timer that is not armed yet. */
  pending: LoopTimer | null = null;
  pendingDelayMs = 0.5;
  /** How many more need no reading. */
  left = 0;
  readonly #readMs: () => number;
  readonly #arm: Arm;
  readonly #settleLater: () => void;
  #lastMs: number;
  #last: LoopTimer | null = null;
  #pairs = 0;
  #settleAsked = false;

  constructor(readMs: () => number, arm: Arm) {
    this.#readMs = readMs;
    this.#arm = arm;
    this.#lastMs = readMs();
    this.#settleLater = (): void => {
      this.#settleAsked = false;
      this.read();
    };
  }

  /** Arms for `delayMs` (at least 0) from now. */
  arm(delayMs: number, timer: LoopTimer): void {
    if (this.left > 0 && this.pending === null && delayMs > 0 && delayMs !== Infinity) {
      this.left--;
      timer.slot = pendingSlot;
      this.pendingDelayMs = delayMs;
      this.pending = timer;
    } else {
      this.#armExact(delayMs, timer);
    }
  }

  /** Forgets the pending timer, which was cancelled; the deadline that it might have had. */
  drop(): number {
    this.pending = null;
    return this.#lastMs + this.pendingDelayMs;
  }

  /** The time now; everything that was made before is armed. */
  read(): number {
    const nowMs = this.#readMs();
    const timer = this.pending;
    this.#lastMs = nowMs;
    this.left = 0;
    this.#pairs = 0;
    this.pending = null;
    if (timer !== null) this.#arm(nowMs, this.pendingDelayMs, timer);
    return nowMs;
  }

  #armExact(delayMs: number, timer: LoopTimer): void {
    const cancelled = this.pending === null && this.#last !== null && this.#last.slot < 0;
    const limitMs = this.#lastMs + (this.#pairs >= evidence ? burst : 1) * pairMs;
    const pairs = cancelled ? this.#pairs + 1 : 0;
    const nowMs = this.read();
    if (nowMs < limitMs) this.#pairs = pairs;
    if (this.#pairs >= evidence) {
      this.left = burst;
      if (!this.#settleAsked) this.#askSettle();
    }
    this.#last = timer;
    this.#arm(nowMs, delayMs, timer);
  }

  #askSettle(): void {
    this.#settleAsked = true;
    settled.then(this.#settleLater);
  }
}
