/**
 * A time limit that is set again and again.
 *
 * In: a time. Out: one call when it has passed. Never: two timers at once; one of a closed loop.
 */
import type { EventLoop } from '../io/handles.ts';

export class Limit {
  readonly #loop: EventLoop;
  readonly #passed: () => void;
  #id = -1;

  constructor(loop: EventLoop, passed: () => void) {
    this.#loop = loop;
    this.#passed = passed;
  }

  /** @param deadlineMs on the loop's clock; Infinity: none */
  arm(deadlineMs: number): void {
    this.stop();
    const { closed } = this.#loop;
    if (deadlineMs !== Infinity && !closed) this.#id = this.#loop.armTimer(deadlineMs, this);
  }

  /** @param ms from now; Infinity: none */
  armIn(ms: number): void {
    if (this.#loop.closed) this.stop();
    else this.arm(this.#loop.time() + ms);
  }

  stop(): void {
    if (this.#id >= 0) this.#loop.cancelTimer(this.#id);
    this.#id = -1;
  }

  /** @internal Of the loop. */
  onTimer(): void {
    this.#id = -1;
    this.#passed();
  }
}
