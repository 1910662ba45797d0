/**
 * Time limits of all connections of a native wire: one timer for all of them.
 *
 * In: connections with the time when they are due. Out: `onDue`, at most a tick late. Never: a
 * timer for each request; a timer while there is no connection.
 */
import type { EventLoop } from '../io/handles.ts';
import { refreshDate } from './answer.ts';
import { joinList, leaveList, type Placed } from './placed.ts';

const minTickMs = 5;
const maxTickMs = 250;

export interface Swept extends Placed {
  /** On the clock of the sweep; Infinity: never. */
  dueMs: number;
  onDue(nowMs: number): void;
}

export class Sweep {
  readonly #loop: EventLoop;
  readonly #tickMs: number;
  readonly #swept: Swept[] = [];
  #nowMs = 0;
  #timer = -1;

  /** @param shortestMs the shortest of the limits */
  constructor(loop: EventLoop, shortestMs: number) {
    this.#loop = loop;
    this.#tickMs = Math.min(Math.max(shortestMs / 8, minTickMs), maxTickMs);
  }

  /** A coarse clock: the time of the latest tick. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Not before `ms` have passed. */
  after(ms: number): number {
    return this.#nowMs + ms + this.#tickMs;
  }

  add(one: Swept): void {
    joinList(this.#swept, one);
    if (this.#timer === -1) this.#arm();
  }

  remove(one: Swept): void {
    leaveList(this.#swept, one);
    if (this.#swept.length > 0 || this.#timer === -1) return;
    this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }

  /** @internal Of the loop. */
  onTimer(): void {
    this.#timer = -1;
    this.#arm();
    // From the back: whoever leaves is replaced by one that was looked at.
    for (let i = this.#swept.length - 1; i >= 0; i--) {
      const one = this.#swept[i];
      if (one !== undefined && one.dueMs <= this.#nowMs) one.onDue(this.#nowMs);
    }
  }

  #arm(): void {
    if (this.#loop.closed) return;
    this.#nowMs = this.#loop.time();
    refreshDate();
    this.#timer = this.#loop.armTimer(this.#nowMs + this.#tickMs, this);
  }
}
