/**
 * One armed deadline on setTimeout.
 *
 * In: a deadline on the clock of `performance.now()`. Out: one call, never early. Never: more than
 * one timer; polling for longer than `pollMs`.
 *
 * setTimeout counts whole milliseconds of a clock that is read once a turn, so it comes up to a
 * millisecond early or late. It is armed for the whole milliseconds before the deadline; the rest
 * is waited for turn by turn.
 */
import { performance } from 'node:perf_hooks';

/** setTimeout cannot wait longer. */
const maxTimeoutMs = 2 ** 31 - 1;
/** What is left of a wait that came early is polled for with setImmediate, if it is that short. */
const pollMs = 0.6;

export class PureTimer {
  readonly #fire: () => void;
  #timeout: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #deadlineMs: number = Infinity;
  #ref = true;

  constructor(fire: () => void) {
    this.#fire = fire;
  }

  arm(deadlineMs: number): void {
    this.#deadlineMs = deadlineMs;
    clearTimeout(this.#timeout);
    clearImmediate(this.#immediate);
    this.#timeout = undefined;
    this.#immediate = undefined;
    if (deadlineMs !== Infinity) this.#wait(deadlineMs - performance.now());
  }

  setRef(ref: boolean): void {
    this.#ref = ref;
    if (ref) {
      this.#timeout?.ref();
      this.#immediate?.ref();
    } else {
      this.#timeout?.unref();
      this.#immediate?.unref();
    }
  }

  #wait(delayMs: number): void {
    const wholeMs = Math.min(Math.max(Math.floor(delayMs), 1), maxTimeoutMs);
    this.#timeout = setTimeout(this.#onWake, wholeMs);
    if (!this.#ref) this.#timeout.unref();
  }

  readonly #onWake = (): void => {
    this.#timeout = undefined;
    this.#immediate = undefined;
    const leftMs = this.#deadlineMs - performance.now();
    if (leftMs <= 0) {
      this.#deadlineMs = Infinity;
      this.#fire();
    } else if (leftMs < pollMs) {
      this.#immediate = setImmediate(this.#onWake);
      if (!this.#ref) this.#immediate.unref();
    } else {
      this.#wait(leftMs);
    }
  };
}
