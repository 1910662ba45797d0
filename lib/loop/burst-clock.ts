/**
 * Arms timers relative to now, without reading the clock for each timer of a burst.
 *
 * In: delays. Out: entries of the wheel. Never: a deadline that is too early when it can fire.
 *
 * Reading the clock costs more than arming and cancelling together. While timers are armed at
 * more than a million a second, up to `burst` of them start from the last reading and stay
 * provisional. The next reading, at the latest in a microtask and always before anything fires,
 * counts them from its own time: they were armed before it, so they are never early, and late by
 * no more than what lay between. docs/decisions/0003-burst-clock.md
 */
import type { TimerTarget, TimerWheel } from './timer-wheel.ts';

const burst = 32;
/** Slower than one timer in so many ms: each one reads the clock. */
const burstGapMs = 0.001;

const settled: Promise<void> = Promise.resolve();

export class BurstClock {
  readonly #readMs: () => number;
  readonly #wheel: TimerWheel;
  readonly #settleLater: () => void;
  #cachedLeft = 0;
  /** The last reading must be younger than this to go on without reading. */
  #burstMs: number = burstGapMs;
  #lastMs: number;
  #settleAsked = false;

  constructor(readMs: () => number, wheel: TimerWheel) {
    this.#readMs = readMs;
    this.#wheel = wheel;
    this.#lastMs = readMs();
    this.#settleLater = (): void => {
      this.#settleAsked = false;
      this.read();
      // Whatever comes next may come much later.
      this.#cachedLeft = 0;
    };
  }

  /** Arms for `delayMs` (at least 0) from now; returns the slot. */
  arm(delayMs: number, target: TimerTarget): number {
    if (this.#cachedLeft === 0 || delayMs === Infinity) {
      this.read();
      return this.#wheel.arm(this.#lastMs + delayMs, target);
    }
    this.#cachedLeft--;
    if (!this.#settleAsked) this.#askSettle();
    return this.#wheel.armProvisional(this.#lastMs + delayMs, target);
  }

  #askSettle(): void {
    this.#settleAsked = true;
    settled.then(this.#settleLater);
  }

  /** The time now; everything that was armed before has its final deadline. */
  read(): number {
    const nowMs = this.#readMs();
    const gapMs = nowMs - this.#lastMs;
    this.#wheel.settle(gapMs);
    this.#lastMs = nowMs;
    this.#cachedLeft = gapMs < this.#burstMs ? burst : 0;
    this.#burstMs = this.#cachedLeft === 0 ? burstGapMs : burstGapMs * burst;
    return nowMs;
  }
}
