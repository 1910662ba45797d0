/**
 * What is due of one tick, and its order: by deadlines, stably and in linear time.
 *
 * In: slots in order of arming, and their deadlines. Out: the slots in order. Never: an allocation
 * for each batch, or a look at the wheel, whose memory is mostly not in the cache.
 */

const leastSlots = 64;
const keepSlots = 65_536;
/** Longer runs are left to the engine's sort: many entries that are late, or at one time. */
const insertionLimit = 48;
const mostParts = 65_536;

export class DueBatch {
  slots: Int32Array = new Int32Array(leastSlots);
  deadlines: Float64Array = new Float64Array(leastSlots);
  #otherSlots: Int32Array = new Int32Array(0);
  #otherDeadlines: Float64Array = new Float64Array(0);
  #ends: Int32Array = new Int32Array(0);

  /** Gives back the memory of an exceptionally large batch. */
  begin(): void {
    if (this.slots.length <= keepSlots) return;
    this.slots = new Int32Array(leastSlots);
    this.deadlines = new Float64Array(leastSlots);
    this.#otherSlots = new Int32Array(0);
    this.#otherDeadlines = new Float64Array(0);
  }

  grow(): this {
    const slots = new Int32Array(this.slots.length * 2);
    const deadlines = new Float64Array(slots.length);
    slots.set(this.slots);
    deadlines.set(this.deadlines);
    this.slots = slots;
    this.deadlines = deadlines;
    return this;
  }

  /** Orders the first `count` slots. */
  sort(count: number, tickMs: number): void {
    if (count <= insertionLimit) sortRun(this.slots, this.deadlines, 0, count);
    else this.#sortByParts(count, tickMs);
  }

  /** Entries of different parts of the tick need no comparison; about one entry is in each. */
  #sortByParts(count: number, tickMs: number): void {
    const { slots, deadlines } = this;
    const parts = Math.min(mostParts, 2 << (31 - Math.clz32(count)));
    if (this.#ends.length < parts + 1) this.#ends = new Int32Array(parts + 1);
    const ends = this.#ends.fill(0, 0, parts + 1);
    for (let i = 0; i < count; i++) {
      const part = partOf((deadlines[i] as number) - tickMs, parts) + 1;
      ends[part] = (ends[part] as number) + 1;
    }
    for (let part = 1; part <= parts; part++) {
      ends[part] = (ends[part] as number) + (ends[part - 1] as number);
    }
    if (this.#otherSlots.length !== slots.length) {
      this.#otherSlots = new Int32Array(slots.length);
      this.#otherDeadlines = new Float64Array(slots.length);
    }
    const sorted = this.#otherSlots;
    const sortedDeadlines = this.#otherDeadlines;
    for (let i = 0; i < count; i++) {
      const deadline = deadlines[i] as number;
      const part = partOf(deadline - tickMs, parts);
      const at = ends[part] as number;
      ends[part] = at + 1;
      sorted[at] = slots[i] as number;
      sortedDeadlines[at] = deadline;
    }
    this.slots = sorted;
    this.deadlines = sortedDeadlines;
    this.#otherSlots = slots;
    this.#otherDeadlines = deadlines;
    for (let part = 0, from = 0; part < parts; part++) {
      const to = ends[part] as number;
      if (to - from > 1) sortRun(sorted, sortedDeadlines, from, to);
      from = to;
    }
  }
}

/** What is late, also by -Infinity, is in the first part. */
function partOf(aheadMs: number, parts: number): number {
  return aheadMs > 0 ? Math.min((aheadMs * parts) | 0, parts - 1) : 0;
}

function sortRun(slots: Int32Array, deadlines: Float64Array, from: number, to: number): void {
  if (to - from > insertionLimit) {
    sortLongRun(slots.subarray(from, to), deadlines.subarray(from, to));
    return;
  }
  for (let i = from + 1; i < to; i++) {
    const slot = slots[i] as number;
    const deadline = deadlines[i] as number;
    let at = i;
    while (at > from && (deadlines[at - 1] as number) > deadline) {
      slots[at] = slots[at - 1] as number;
      deadlines[at] = deadlines[at - 1] as number;
      at--;
    }
    slots[at] = slot;
    deadlines[at] = deadline;
  }
}

function sortLongRun(slots: Int32Array, deadlines: Float64Array): void {
  const before = deadlines.slice();
  const from = slots.slice();
  // Typed arrays sort stably. No subtraction: -Infinity is allowed.
  const order = Int32Array.from(before.keys()).sort((a, b) => {
    const left = before[a] as number;
    const right = before[b] as number;
    return left < right ? -1 : left > right ? 1 : 0;
  });
  for (let i = 0; i < order.length; i++) {
    slots[i] = from[order[i] as number] as number;
    deadlines[i] = before[order[i] as number] as number;
  }
}
