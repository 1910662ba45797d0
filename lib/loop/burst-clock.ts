/**
 * Arms timers relative to now, without reading the clock for each one that is cancelled at once.
 *
 * In: delays. Out: entries of the wheel. Never: a deadline that is too early when it can fire.
 *
 * Reading the clock costs more than arming and cancelling together, and most timers are limits
 * that are cancelled soon. Where the last few timers were each cancelled before the next was
 * armed, all within microseconds, the next one starts from the last reading and is provisional.
 * Arming another one beside it, firing, asking for its time, or a microtask reads the clock and
 * counts it from there: it was armed before, so it is never early. It is late only if the thread
 * is kept busy between arming and that microtask, and then by no more than that.
 */
import type { TimerTarget, TimerWheel } from './timer-wheel.ts';

/** Pairs of arm and cancel before the clock is trusted, and how many go by one reading. */
const evidence = 4;
const burst = 32;
/** Pairs that take longer than this, in ms, read the clock each time. */
const pairMs = 0.001;

const settled: Promise<void> = Promise.resolve();

export class BurstClock {
  readonly #readMs: () => number;
  readonly #wheel: TimerWheel;
  readonly #settleLater: () => void;
  #lastMs: number;
  #lastSlot = 0;
  #lastGeneration = 0;
  #pairs = 0;
  #cachedLeft = 0;
  #settleAsked = false;

  constructor(readMs: () => number, wheel: TimerWheel) {
    this.#readMs = readMs;
    this.#wheel = wheel;
    this.#lastMs = readMs();
    this.#settleLater = (): void => {
      this.#settleAsked = false;
      this.read();
    };
  }

  /** Arms for `delayMs` (at least 0) from now; returns the slot. */
  arm(delayMs: number, target: TimerTarget): number {
    if (this.#cachedLeft > 0 && this.#wheel.nothingProvisional() && delayMs !== Infinity) {
      this.#cachedLeft--;
      return this.#wheel.armProvisional(this.#lastMs + delayMs, target);
    }
    return this.#armExact(delayMs, target);
  }

  /** The time now; everything that was armed before has its final deadline. */
  read(): number {
    const nowMs = this.#readMs();
    this.#wheel.settle(nowMs - this.#lastMs);
    this.#lastMs = nowMs;
    this.#cachedLeft = 0;
    this.#pairs = 0;
    return nowMs;
  }

  #armExact(delayMs: number, target: TimerTarget): number {
    const wheel = this.#wheel;
    const cancelled =
      wheel.nothingProvisional() && wheel.generationOf(this.#lastSlot) !== this.#lastGeneration;
    const limitMs = this.#lastMs + (this.#pairs >= evidence ? burst : 1) * pairMs;
    const pairs = cancelled ? this.#pairs + 1 : 0;
    const nowMs = this.read();
    if (nowMs < limitMs) this.#pairs = pairs;
    if (this.#pairs >= evidence) {
      this.#cachedLeft = burst;
      if (!this.#settleAsked) this.#askSettle();
    }
    const slot = wheel.arm(nowMs + delayMs, target);
    this.#lastSlot = slot;
    this.#lastGeneration = wheel.generationOf(slot);
    return slot;
  }

  #askSettle(): void {
    this.#settleAsked = true;
    settled.then(this.#settleLater);
  }
}
