/**
 * What is going to happen on the simulated network, by virtual time; and lanes, on which things
 * arrive in the order in which they were sent.
 *
 * In: work and when it is due. Out: the next work that is due. Never: running it, a clock.
 */
import { Deque } from '../../base/deque.ts';

export interface Happening {
  readonly atMs: number;
  /** Order among those of one time; a seed may shuffle it. */
  readonly rank: number;
  readonly order: number;
  /** Null: cancelled. */
  work: (() => void) | null;
}

function isBefore(a: Happening, b: Happening): boolean {
  if (a.atMs !== b.atMs) return a.atMs < b.atMs;
  if (a.rank !== b.rank) return a.rank < b.rank;
  return a.order < b.order;
}

/** A binary heap. */
export class Agenda {
  readonly #heap: Happening[] = [];
  #added = 0;

  /** How many were ever added: what is added later has at least this order. */
  get added(): number {
    return this.#added;
  }

  add(atMs: number, rank: number, work: () => void): Happening {
    const happening = { atMs, rank, order: this.#added++, work };
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Happening;
      if (isBefore(above, happening)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = happening;
    return happening;
  }

  /** When the next is due; Infinity when there is none. */
  nearest(): number {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined) return Infinity;
      if (first.work !== null) return first.atMs;
      this.#removeFirst();
    }
  }

  /** The next one that is due, if it was added before `added` counted that many. */
  takeDue(nowMs: number, added: number): (() => void) | null {
    if (this.nearest() > nowMs) return null;
    const first = this.#heap[0] as Happening;
    if (first.order >= added) return null;
    this.#removeFirst();
    return first.work;
  }

  clear(): void {
    this.#heap.length = 0;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop() as Happening;
    const count = heap.length;
    if (count === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= count) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, heap[child] as Happening)) child++;
      if (isBefore(last, heap[child] as Happening)) break;
      heap[at] = heap[child] as Happening;
      at = child;
    }
    heap[at] = last;
  }
}

/** What a lane needs of the backend. */
export interface LaneOwner {
  now(): number;
  /** How long the next thing travels, in ms. */
  latency(): number;
  schedule(atMs: number, work: () => void): void;
  /** Whether the rest of what is due may as well come a turn later. */
  pausesHere(): boolean;
}

/** One direction of a connection. */
export class Lane {
  readonly #owner: LaneOwner;
  readonly #waiting: Deque<{ atMs: number; work: () => void }> = new Deque();
  readonly #runDue: () => void;
  #lastMs = 0;
  #scheduled = false;

  constructor(owner: LaneOwner) {
    this.#owner = owner;
    this.#runDue = (): void => this.#run();
  }

  /** `work` runs when it has arrived: after all that was posted before. */
  post(work: () => void): void {
    const owner = this.#owner;
    this.#lastMs = Math.max(this.#lastMs, owner.now() + owner.latency());
    this.#waiting.push({ atMs: this.#lastMs, work });
    if (!this.#scheduled) this.#schedule();
  }

  #schedule(): void {
    const first = this.#waiting.peek();
    this.#scheduled = first !== undefined;
    if (first !== undefined) this.#owner.schedule(first.atMs, this.#runDue);
  }

  #run(): void {
    const nowMs = this.#owner.now();
    for (let left = this.#waiting.length; left > 0; left--) {
      const first = this.#waiting.peek();
      if (first === undefined || first.atMs > nowMs) break;
      this.#waiting.shift();
      first.work();
      if (this.#owner.pausesHere()) break;
    }
    this.#schedule();
  }
}
