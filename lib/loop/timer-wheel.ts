/**
 * A hierarchical timing wheel in typed arrays: arm and cancel are O(1) and allocate nothing.
 *
 * In: deadlines in ms and targets. Out: due targets in the order of their deadlines, and the
 * nearest deadline. Never: reading a clock, calling a target, firing early.
 *
 * Four levels of 256 buckets, one tick = 1 ms. An entry lives on the level of the highest byte in
 * which its tick differs from `elapsed`, so all entries of one tick are always in one bucket, and
 * appending keeps them in order of arming. What lies in another window of 2^32 ms waits in `far`.
 * Buckets are circular lists; their heads are the first nodes of the same arrays.
 */

import { DeadlineSorter } from './deadline-sorter.ts';

/** What is told that its time has come. */
export interface TimerTarget {
  /** @internal */
  onTimer(): void;
}

const levelBits = 8;
const bucketCount = 1024;
/** List heads behind the buckets: other windows; due entries; entries before `settle`. */
const far = bucketCount;
const firing = bucketCount + 1;
const provisional = bucketCount + 2;
const firstSlot = bucketCount + 3;
const startCapacity = 2048;
/** Slots are 24 bits of an id. */
const maxSlots = 2 ** 24;
const slotMask = maxSlots - 1;
const windowMs = 2 ** 32;
const maxTick = 2 ** 53;
/** Generations are above bit 0, which means unref'd. 29 + 24 bits fit a double. */
const generationMask = 0x3fff_ffff;
/** Longer lists of upper levels are not searched: their bucket's start is a fair lower bound. */
const searchLimit = 64;

export class TimerWheel {
  /** Entries, due ones that were not taken yet included. */
  size = 0;
  /** Entries that are ref'd and not infinite. */
  refs = 0;
  /** Deadline of the entry that `takeDue` gave last. */
  firedMs = 0;

  #next: Int32Array = new Int32Array(startCapacity);
  #prev: Int32Array = new Int32Array(startCapacity);
  #deadlines: Float64Array = new Float64Array(startCapacity);
  #generations: Int32Array = new Int32Array(startCapacity);
  #targets: (TimerTarget | null)[] = new Array(startCapacity).fill(null);
  /** Slots from here on were never used: their pages are not touched before they are. */
  #unused: number = firstSlot;
  /** Head of the list of freed slots; 0 is a bucket, so it means none. */
  #free = 0;
  readonly #sorter: DeadlineSorter = new DeadlineSorter();
  /** One bit for each bucket that is not empty. */
  readonly #bits: Int32Array = new Int32Array(bucketCount / 32);
  /** No bucket before this tick holds anything. */
  #elapsed: number;
  #elapsedLow: number;
  #windowEnd: number;
  /** Lower bound for the ticks in `far`. */
  #farStart: number = Infinity;

  constructor(nowMs: number) {
    for (let head = 0; head < firstSlot; head++) this.#next[head] = this.#prev[head] = head;
    this.#elapsed = Math.floor(nowMs);
    this.#elapsedLow = this.#elapsed >>> 0;
    this.#windowEnd = this.#elapsed - this.#elapsedLow + windowMs;
  }

  /** Returns the slot, which belongs to `target` until it is taken or cancelled. */
  arm(deadlineMs: number, target: TimerTarget): number {
    const slot = this.#take(deadlineMs, target);
    if (deadlineMs === Infinity) {
      // In no list, and not ref'd: nothing will ever come of it.
      this.#next[slot] = this.#prev[slot] = slot;
      this.#generations[slot] = (this.#generations[slot] as number) | 1;
    } else {
      this.refs++;
      this.#append(this.#bucketOf(deadlineMs), slot);
    }
    return slot;
  }

  /** The slot must be held. */
  cancel(slot: number): void {
    this.#unlink(slot);
    this.#release(slot);
  }

  /** Whether `slot` is held by this target. */
  holds(slot: number, target: TimerTarget): boolean {
    return this.#targets[slot] === target;
  }

  deadlineOf(slot: number): number {
    return this.#deadlines[slot] as number;
  }

  /** A name of a held slot that nothing else will ever have (for 2^29 uses of the slot). */
  idOf(slot: number): number {
    return ((this.#generations[slot] as number) >>> 1) * maxSlots + slot;
  }

  /** -1 when what had that id was taken or cancelled. */
  slotOf(id: number): number {
    const slot = id & slotMask;
    if (slot < firstSlot || slot >= this.#unused || this.#targets[slot] === null) return -1;
    return this.idOf(slot) === id ? slot : -1;
  }

  setRef(slot: number, ref: boolean): void {
    if (this.#deadlines[slot] === Infinity) return;
    const tag = this.#generations[slot] as number;
    if (((tag & 1) === 0) === ref) return;
    this.#generations[slot] = tag ^ 1;
    this.refs += ref ? 1 : -1;
  }

  /** The same as `arm`, of a finite deadline that `settle` will put off before it is looked at. */
  armProvisional(deadlineMs: number, target: TimerTarget): number {
    const slot = this.#take(deadlineMs, target);
    this.refs++;
    this.#append(provisional, slot);
    return slot;
  }

  nothingProvisional(): boolean {
    return this.#next[provisional] === provisional;
  }

  /** Changes when the slot is given up. */
  generationOf(slot: number): number {
    return (this.#generations[slot] as number) >> 1;
  }

  /** Puts all provisional deadlines off, and makes them final. */
  settle(byMs: number): void {
    let slot = this.#next[provisional] as number;
    if (slot === provisional) return;
    this.#next[provisional] = this.#prev[provisional] = provisional;
    while (slot !== provisional) {
      const after = this.#next[slot] as number;
      const deadlineMs = (this.#deadlines[slot] as number) + byMs;
      this.#deadlines[slot] = deadlineMs;
      this.#append(this.#bucketOf(deadlineMs), slot);
      slot = after;
    }
  }

  /** Readies everything that is due for `takeDue`, in the order of deadlines, then of arming. */
  collect(nowMs: number): void {
    const limit = Math.floor(nowMs);
    for (;;) {
      const bucket = this.#firstBucket();
      const start = bucket === far ? this.#farWindow() : this.#startOf(bucket);
      if (start > limit) break;
      this.#setElapsed(start);
      if (bucket >= 1 << levelBits) this.#cascade(bucket);
      else if (!this.#moveDue(bucket, nowMs)) break;
    }
    this.#setElapsed(limit);
  }

  /** Deadline of what `takeDue` gives next; Infinity when nothing is due. */
  firstDueMs(): number {
    const slot = this.#next[firing] as number;
    return slot === firing ? Infinity : (this.#deadlines[slot] as number);
  }

  /** The next due target; its slot is free already. Null: no more of this batch. */
  takeDue(): TimerTarget | null {
    const slot = this.#next[firing] as number;
    if (slot === firing) return null;
    const after = this.#next[slot] as number;
    this.#next[firing] = after;
    this.#prev[after] = firing;
    const target = this.#targets[slot] as TimerTarget;
    this.firedMs = this.#deadlines[slot] as number;
    this.#release(slot);
    return target;
  }

  /** A lower bound of all deadlines, mostly exact; Infinity when nothing is armed. */
  nearest(): number {
    if (this.#next[firing] !== firing) return -Infinity;
    const bucket = this.#firstBucket();
    if (bucket === far && this.#next[far] === far) return Infinity;
    const exact = bucket < 1 << levelBits;
    let least = Infinity;
    let left = searchLimit;
    for (
      let slot = this.#next[bucket] as number;
      slot !== bucket;
      slot = this.#next[slot] as number
    ) {
      const deadline = this.#deadlines[slot] as number;
      if (deadline < least) least = deadline;
      if (!exact && --left === 0) return bucket === far ? this.#farStart : this.#startOf(bucket);
    }
    return least;
  }

  #take(deadlineMs: number, target: TimerTarget): number {
    let slot = this.#free;
    if (slot !== 0) this.#free = this.#next[slot] as number;
    else slot = this.#freshSlot();
    this.#deadlines[slot] = deadlineMs;
    this.#targets[slot] = target;
    this.size++;
    return slot;
  }

  #bucketOf(deadlineMs: number): number {
    let tick = Math.floor(deadlineMs);
    if (tick >= this.#windowEnd) {
      if (tick > maxTick) tick = maxTick;
      if (tick < this.#farStart) this.#farStart = tick;
      return far;
    }
    // What is late joins the present tick, where the order is made by deadline.
    if (tick <= this.#elapsed) return this.#elapsedLow & 255;
    const low = tick >>> 0;
    const difference = low ^ this.#elapsedLow;
    if (difference >>> 8 === 0) return low & 255;
    if (difference >>> 16 === 0) return 256 | ((low >>> 8) & 255);
    if (difference >>> 24 === 0) return 512 | ((low >>> 16) & 255);
    return 768 | (low >>> 24);
  }

  /** The first tick of a bucket. */
  #startOf(bucket: number): number {
    const shift = (bucket >>> levelBits) * levelBits;
    const above = shift + levelBits;
    const base = above === 32 ? 0 : (this.#elapsedLow >>> above) << above;
    return this.#elapsed - this.#elapsedLow + ((base | ((bucket & 255) << shift)) >>> 0);
  }

  /** Start of the first window that may hold something of `far`; Infinity when it is empty. */
  #farWindow(): number {
    if (this.#next[far] === far) return Infinity;
    return this.#farStart - (this.#farStart % windowMs);
  }

  /** The earliest bucket that is not empty; `far` when all are. Levels come in order of time. */
  #firstBucket(): number {
    const bits = this.#bits;
    for (let word = 0; word < bits.length; word++) {
      const value = bits[word] as number;
      if (value !== 0) return (word << 5) | (31 - Math.clz32(value & -value));
    }
    return far;
  }

  #setElapsed(tick: number): void {
    if (tick <= this.#elapsed) return;
    this.#elapsed = tick;
    this.#elapsedLow = tick >>> 0;
    this.#windowEnd = tick - this.#elapsedLow + windowMs;
  }

  #append(head: number, slot: number): void {
    const last = this.#prev[head] as number;
    this.#next[last] = slot;
    this.#prev[slot] = last;
    this.#next[slot] = head;
    this.#prev[head] = slot;
    if (head < bucketCount) {
      const word = head >>> 5;
      this.#bits[word] = (this.#bits[word] as number) | (1 << (head & 31));
    }
  }

  #unlink(slot: number): void {
    const next = this.#next[slot] as number;
    const prev = this.#prev[slot] as number;
    this.#next[prev] = next;
    this.#prev[next] = prev;
    if (next === prev && next < bucketCount) this.#clearBit(next);
  }

  #clearBit(bucket: number): void {
    const word = bucket >>> 5;
    this.#bits[word] = (this.#bits[word] as number) & ~(1 << (bucket & 31));
  }

  #release(slot: number): void {
    const tag = this.#generations[slot] as number;
    if ((tag & 1) === 0) this.refs--;
    this.#generations[slot] = ((tag | 1) + 1) & generationMask;
    this.#targets[slot] = null;
    this.#next[slot] = this.#free;
    this.#free = slot;
    this.size--;
  }

  /** Spreads a bucket (or `far`) over the levels below. */
  #cascade(head: number): void {
    let slot = this.#next[head] as number;
    this.#next[head] = this.#prev[head] = head;
    if (head === far) this.#farStart = Infinity;
    else this.#clearBit(head);
    while (slot !== head) {
      const after = this.#next[slot] as number;
      this.#append(this.#bucketOf(this.#deadlines[slot] as number), slot);
      slot = after;
    }
  }

  /** Moves what is due of a level-0 bucket to `firing`; whether that was all of it. */
  #moveDue(bucket: number, nowMs: number): boolean {
    let sorted = true;
    let before = -Infinity;
    for (
      let slot = this.#next[bucket] as number;
      slot !== bucket;
      slot = this.#next[slot] as number
    ) {
      const deadline = this.#deadlines[slot] as number;
      if (deadline < before || deadline > nowMs) {
        sorted = false;
        break;
      }
      before = deadline;
    }
    if (sorted) {
      this.#spliceToFiring(bucket);
      return true;
    }
    return this.#moveSorted(bucket, nowMs);
  }

  #spliceToFiring(bucket: number): void {
    const first = this.#next[bucket] as number;
    const last = this.#prev[bucket] as number;
    const tail = this.#prev[firing] as number;
    this.#next[tail] = first;
    this.#prev[first] = tail;
    this.#next[last] = firing;
    this.#prev[firing] = last;
    this.#next[bucket] = this.#prev[bucket] = bucket;
    this.#clearBit(bucket);
  }

  #moveSorted(bucket: number, nowMs: number): boolean {
    const next = this.#next;
    let due = 0;
    let all = true;
    const scratch = this.#sorter.room(this.size);
    for (let slot = next[bucket] as number; slot !== bucket; slot = next[slot] as number) {
      if ((this.#deadlines[slot] as number) <= nowMs) scratch[due++] = slot;
      else all = false;
    }
    const sorted = this.#sorter.sort(due, this.#deadlines, this.#elapsed);
    for (let i = 0; i < due; i++) {
      const slot = sorted[i] as number;
      this.#unlink(slot);
      this.#append(firing, slot);
    }
    return all;
  }

  #freshSlot(): number {
    const slot = this.#unused;
    if (slot === this.#next.length) this.#grow();
    this.#unused = slot + 1;
    return slot;
  }

  #grow(): void {
    const old = this.#next.length;
    if (old >= maxSlots) throw new RangeError(`More than ${maxSlots - firstSlot} timers`);
    const capacity = old * 2;
    const next = new Int32Array(capacity);
    const prev = new Int32Array(capacity);
    const deadlines = new Float64Array(capacity);
    const generations = new Int32Array(capacity);
    next.set(this.#next);
    prev.set(this.#prev);
    deadlines.set(this.#deadlines);
    generations.set(this.#generations);
    const targets: (TimerTarget | null)[] = new Array(capacity);
    for (let i = 0; i < old; i++) targets[i] = this.#targets[i] as TimerTarget | null;
    for (let i = old; i < capacity; i++) targets[i] = null;
    this.#next = next;
    this.#prev = prev;
    this.#deadlines = deadlines;
    this.#generations = generations;
    this.#targets = targets;
  }
}
