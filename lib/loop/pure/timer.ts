/**
 * One armed deadline on setTimeout.
 *
 * In: a deadline on the clock of `performance.now()`. Out: one call, never early. Never: more than
 * one timer.
 */
import { performance } from 'node:perf_hooks';

/** setTimeout cannot wait longer. */
const maxTimeoutMs = 2 ** 31 - 1;

export class PureTimer {
  readonly #fire: () => void;
  #timeout: NodeJS.Timeout | undefined;
  #deadlineMs: number = Infinity;
  #ref = true;

  constructor(fire: () => void) {
    this.#fire = fire;
  }

  arm(deadlineMs: number): void {
    this.#deadlineMs = deadlineMs;
    clearTimeout(this.#timeout);
    this.#timeout = undefined;
    if (deadlineMs !== Infinity) this.#wait(deadlineMs - performance.now());
  }

  setRef(ref: boolean): void {
    this.#ref = ref;
    if (ref) this.#timeout?.ref();
    else this.#timeout?.unref();
  }

  #wait(delayMs: number): void {
    // Node rounds a fraction down and counts from a clock that may lag behind: it may come early.
    const wholeMs = Math.min(Math.max(Math.floor(delayMs), 1), maxTimeoutMs);
    this.#timeout = setTimeout(this.#onTimeout, wholeMs);
    if (!this.#ref) this.#timeout.unref();
  }

  readonly #onTimeout = (): void => {
    this.#timeout = undefined;
    const leftMs = this.#deadlineMs - performance.now();
    if (leftMs > 0) {
      this.#wait(leftMs);
      return;
    }
    this.#deadlineMs = Infinity;
    this.#fire();
  };
}
