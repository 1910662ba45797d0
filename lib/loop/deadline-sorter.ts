/**
 * Sorts the entries of one tick by their deadlines, stably and in linear time.
 *
 * In: slots in order of arming, and the deadlines of all slots. Out: the slots in order. Never:
 * an allocation for each batch.
 */

/** Parts of a tick: entries of different parts need no comparison. */
const parts = 1024;
/** Longer runs are left to the engine's sort: many entries that are late, or at one time. */
const insertionLimit = 48;
const keepSlots = 65_536;

export class DeadlineSorter {
  #slots: Int32Array = new Int32Array(64);
  #sorted: Int32Array = new Int32Array(64);
  readonly #ends: Int32Array = new Int32Array(parts);

  /** Memory for so many slots, to be filled before `sort`. */
  room(count: number): Int32Array {
    const have = this.#slots.length;
    if (count > have || (have > keepSlots && count < have / 8)) {
      const capacity = Math.max(64, 2 ** Math.ceil(Math.log2(count + 1)));
      this.#slots = new Int32Array(capacity);
      this.#sorted = new Int32Array(capacity);
    }
    return this.#slots;
  }

  /** The first `count` slots of `room()` in the order of their deadlines. */
  sort(count: number, deadlines: Float64Array, tickMs: number): Int32Array {
    const { length } = this.#ends;
    if (count <= insertionLimit) {
      this.#sorted.set(this.#slots.subarray(0, count));
      sortRun(this.#sorted, 0, count, deadlines);
      return this.#sorted;
    }
    const ends = this.#ends.fill(0);
    for (let i = 0; i < count; i++) {
      const part = partOf(deadlines[this.#slots[i] as number] as number, tickMs);
      ends[part] = (ends[part] as number) + 1;
    }
    let end = 0;
    for (let part = 0; part < length; part++) {
      end += ends[part] as number;
      ends[part] = end;
    }
    for (let i = count - 1; i >= 0; i--) {
      const slot = this.#slots[i] as number;
      const part = partOf(deadlines[slot] as number, tickMs);
      const at = (ends[part] as number) - 1;
      ends[part] = at;
      this.#sorted[at] = slot;
    }
    for (let part = 0; part < length; part++) {
      const from = ends[part] as number;
      const to = part + 1 < length ? (ends[part + 1] as number) : count;
      if (to - from > 1) sortRun(this.#sorted, from, to, deadlines);
    }
    return this.#sorted;
  }
}

/** What is late, also by -Infinity, is in the first part. */
function partOf(deadlineMs: number, tickMs: number): number {
  const part = (deadlineMs - tickMs) * parts;
  return part > 0 ? Math.min(part | 0, parts - 1) : 0;
}

function sortRun(slots: Int32Array, from: number, to: number, deadlines: Float64Array): void {
  if (to - from > insertionLimit) {
    sortLongRun(slots.subarray(from, to), deadlines);
    return;
  }
  for (let i = from + 1; i < to; i++) {
    const slot = slots[i] as number;
    const deadline = deadlines[slot] as number;
    let at = i;
    while (at > from && (deadlines[slots[at - 1] as number] as number) > deadline) {
      slots[at] = slots[at - 1] as number;
      at--;
    }
    slots[at] = slot;
  }
}

function sortLongRun(run: Int32Array, deadlines: Float64Array): void {
  let sorted = true;
  for (let i = 1; i < run.length && sorted; i++) {
    sorted = (deadlines[run[i - 1] as number] as number) <= (deadlines[run[i] as number] as number);
  }
  if (sorted) return;
  // Typed arrays sort stably. No subtraction: -Infinity is allowed.
  run.sort((a, b) => {
    const left = deadlines[a] as number;
    const right = deadlines[b] as number;
    return left < right ? -1 : left > right ? 1 : 0;
  });
}
