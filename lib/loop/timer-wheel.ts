/**
 * A hierarchical timing wheel in typed arrays: arm and cancel are O(1) and allocate nothing.
 *
 * In: deadlines in ms and targets. Out: due targets in order of their ticks, within one by deadline
 * or in order of arming (see `arm`), and the nearest deadline. Never: reading a clock, calling a
 * target, firing early.
 *
 * Four levels of 256 buckets, one tick = 1 ms. An entry lives on the level of the highest byte in
 * which its tick differs from `elapsed`, so all entries of one tick are always in one bucket, and
 * appending keeps them in order of arming. What lies in another window of 2^32 ms waits in `far`.
 * Buckets are circular lists; their heads are the first nodes of the same arrays. Where many are
 * due, what costs is memory that is not in the cache: so links and deadline of a slot lie side by
 * side, slots of one bucket in blocks, a batch is readied tick by tick, and generations are
 * touched only where an id was given.
 */

import { highWord, lowWord } from './double-words.ts';
import { DueBatch } from './due-batch.ts';

/** What is told that its time has come. */
export interface TimerTarget {
  /** @internal */
  onTimer(): void;
}

const levelBits = 8;
const bucketCount = 1024;
/** List heads behind the buckets: other windows; what is armed for the past during a batch. */
const far = bucketCount;
const late = bucketCount + 1;
/** A tick of the batch that fires in order of arming: as a whole it came here. */
const firing = bucketCount + 2;
const firstSlot = bucketCount + 3;
/** In place of the previous node: the entry is in the batch that fires now, in no list. */
const inBatch = -1;
const startCapacity = 2048;
/** Where so many entries are held, each list takes its fresh slots from blocks of its own. */
const manyEntries = 1024;
const blockMask = 31;
/** Slots are 24 bits of an id. */
const maxSlots = 2 ** 24;
const slotMask = maxSlots - 1;
const windowMs = 2 ** 32;
const maxTick = 2 ** 53;
/** Generations are above two marks. 29 + 24 bits fit a double. */
const unrefMark = 1;
const namedMark = 2;
const marks = unrefMark | namedMark;
const generationMask = 0x7fff_ffff;
/** Longer lists of upper levels are not searched: their bucket's start is a fair lower bound. */
const searchLimit = 64;

export class TimerWheel {
  /** Entries, due ones that were not taken yet included. */
  size = 0;
  /** Entries that are ref'd and not infinite. */
  refs = 0;
  /** Deadline of the entry that `takeDue` gave last, as two words. */
  firedHigh = 0;
  firedLow = 0;

  /** Four words a slot: next, previous, and the deadline's two, which `#deadlines` sees. */
  #nodes: Int32Array = new Int32Array(startCapacity * 4);
  #deadlines: Float64Array = new Float64Array(this.#nodes.buffer);
  #generations: Int32Array = new Int32Array(startCapacity);
  #targets: (TimerTarget | null)[] = new Array(startCapacity).fill(null);
  /** Slots from here on were never used: their pages are not touched before they are. */
  #unused: number = firstSlot;
  /** The next slot of each list's block; a multiple of the block's size when there is none. */
  readonly #blocks: Int32Array = new Int32Array(firstSlot);
  /** Head of the list of freed slots; 0 is a bucket, so it means none. */
  #free = 0;
  /** Held slots that have a mark. */
  #marked = 0;
  readonly #batch: DueBatch = new DueBatch();
  /** Of each list: whether the deadlines of some tick in it must be looked at. */
  readonly #strict: Uint8Array = new Uint8Array(firstSlot);
  #batchNext = 0;
  #batchEnd = 0;
  /** The time of the batch; NaN when there is none. */
  #batchMs: number = Number.NaN;
  /** One bit for each bucket that is not empty. */
  readonly #bits: Int32Array = new Int32Array(bucketCount / 32);
  /** No bucket before this tick holds anything. */
  #elapsed: number;
  #elapsedLow: number;
  #windowEnd: number;
  /** Lower bound for the ticks in `far`. */
  #farStart: number = Infinity;

  constructor(nowMs: number) {
    for (let head = 0; head < firstSlot; head++) this.#emptyList(head);
    this.#elapsed = Math.floor(nowMs);
    this.#elapsedLow = this.#elapsed >>> 0;
    this.#windowEnd = this.#elapsed - this.#elapsedLow + windowMs;
  }

  /**
   * Returns the slot, which belongs to `target` until it is taken or cancelled. Entries of a tick
   * fire in order of arming where none of them is `strict`, else by their deadlines.
   */
  arm(deadlineMs: number, target: TimerTarget, strict: boolean = true): number {
    if (deadlineMs === Infinity) return this.#armNever(target);
    // What a batch arms is for the next one, even if it is due.
    const head = deadlineMs <= this.#batchMs ? late : this.#bucketOf(deadlineMs);
    const slot = this.#take(head, deadlineMs, target);
    this.refs++;
    this.#append(head, slot);
    if (strict) this.#strict[head] = 1;
    return slot;
  }

  /** In no list, and not ref'd: nothing will ever come of it. */
  #armNever(target: TimerTarget): number {
    const slot = this.#take(far, Infinity, target);
    this.#emptyList(slot);
    this.#mark(slot, unrefMark);
    return slot;
  }

  /** The slot must be held. */
  cancel(slot: number): void {
    // A batch knows the slot by its number: it is freed when its turn comes.
    if (this.#nodes[slot * 4 + 1] === inBatch) this.#letGo(slot);
    else this.#release(slot);
  }

  /** Whether `slot` is held by this target. */
  holds(slot: number, target: TimerTarget): boolean {
    return this.#targets[slot] === target;
  }

  deadlineOf(slot: number): number {
    return this.#deadlines[slot * 2 + 1] as number;
  }

  /** A name of a held slot that nothing else will ever have (for 2^29 uses of the slot). */
  idOf(slot: number): number {
    this.#mark(slot, namedMark);
    return this.#idNow(slot);
  }

  /** -1 when what had that id was taken or cancelled. */
  slotOf(id: number): number {
    const slot = id & slotMask;
    if (slot < firstSlot || slot >= this.#unused || this.#targets[slot] === null) return -1;
    return this.#idNow(slot) === id ? slot : -1;
  }

  setRef(slot: number, ref: boolean): void {
    if (this.deadlineOf(slot) === Infinity) return;
    const unref = ((this.#generations[slot] as number) & unrefMark) !== 0;
    if (unref !== ref) return;
    if (unref) this.#unmark(slot, unrefMark);
    else this.#mark(slot, unrefMark);
    this.refs += ref ? 1 : -1;
  }

  /** Starts a batch of all that is due, for `takeDue`. */
  collect(nowMs: number): void {
    if (Number.isNaN(this.#batchMs)) this.#batchMs = nowMs;
    if (this.firstDueMs() === Infinity) this.#readyTick();
  }

  /** Deadline of what `takeDue` gives next; Infinity when nothing is due. */
  firstDueMs(): number {
    if (!this.#isEmpty(firing)) return this.deadlineOf(this.#after(firing));
    if (this.#batchNext === this.#batchEnd) return Infinity;
    return this.deadlineOf(this.#batch.slots[this.#batchNext] as number);
  }

  /** The next due target; its slot is free already. Null: no more of this batch. */
  takeDue(): TimerTarget | null {
    do {
      const nodes = this.#nodes;
      const first = nodes[firing * 4] as number;
      if (first !== firing) {
        const after = nodes[first * 4] as number;
        nodes[firing * 4] = after;
        nodes[after * 4 + 1] = firing;
        return this.#fired(first);
      }
      while (this.#batchNext < this.#batchEnd) {
        const slot = this.#batch.slots[this.#batchNext++] as number;
        if (this.#targets[slot] !== null) return this.#fired(slot);
        this.#putFree(slot);
      }
    } while (this.#readyTick());
    return null;
  }

  #fired(slot: number): TimerTarget {
    const target = this.#targets[slot] as TimerTarget;
    this.firedHigh = this.#nodes[slot * 4 + 2 + highWord] as number;
    this.firedLow = this.#nodes[slot * 4 + 2 + lowWord] as number;
    this.#letGo(slot);
    this.#putFree(slot);
    return target;
  }

  #putFree(slot: number): void {
    this.#nodes[slot * 4] = this.#free;
    this.#free = slot;
  }

  /** Readies the next tick of the batch; false when it is over. */
  #readyTick(): boolean {
    this.#batchNext = this.#batchEnd = 0;
    const nowMs = this.#batchMs;
    if (Number.isNaN(nowMs)) return false;
    const limit = Math.floor(nowMs);
    for (;;) {
      const bucket = this.#firstBucket();
      const start = bucket === far ? this.#farWindow() : this.#startOf(bucket);
      if (start > limit) break;
      this.#setElapsed(start);
      if (bucket >= 1 << levelBits) {
        this.#cascade(bucket);
      } else {
        if (start < limit && this.#strict[bucket] === 0) {
          this.#splice(bucket);
          return true;
        }
        const all = this.#moveDue(bucket, nowMs);
        if (this.#batchEnd > 0) return true;
        if (!all) break;
      }
    }
    this.#setElapsed(limit);
    this.#batchMs = Number.NaN;
    if (!this.#isEmpty(late)) this.#cascade(late);
    if (this.size === 0) this.#startOver();
    return false;
  }

  /** A lower bound of all deadlines, mostly exact; Infinity when nothing is armed. */
  nearest(): number {
    if (!Number.isNaN(this.#batchMs)) return -Infinity;
    const bucket = this.#firstBucket();
    if (bucket === far && this.#isEmpty(far)) return Infinity;
    const exact = bucket < 1 << levelBits;
    let least = Infinity;
    let left = searchLimit;
    for (let slot = this.#after(bucket); slot !== bucket; slot = this.#after(slot)) {
      const deadline = this.deadlineOf(slot);
      if (deadline < least) least = deadline;
      if (!exact && --left === 0) return bucket === far ? this.#farStart : this.#startOf(bucket);
    }
    return least;
  }

  /** A slot for the list of `head`. */
  #take(head: number, deadlineMs: number, target: TimerTarget): number {
    let slot = this.#free;
    if (slot !== 0) this.#free = this.#after(slot);
    else slot = this.#freshSlot(this.size < manyEntries ? firing : head);
    this.#deadlines[slot * 2 + 1] = deadlineMs;
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
    if (this.#isEmpty(far)) return Infinity;
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

  #after(slot: number): number {
    return this.#nodes[slot * 4] as number;
  }

  #isEmpty(head: number): boolean {
    return this.#nodes[head * 4] === head;
  }

  #emptyList(head: number): void {
    this.#nodes[head * 4] = this.#nodes[head * 4 + 1] = head;
  }

  #append(head: number, slot: number): void {
    const nodes = this.#nodes;
    const last = nodes[head * 4 + 1] as number;
    if (last === head) this.#strict[head] = 0;
    nodes[last * 4] = slot;
    nodes[slot * 4 + 1] = last;
    nodes[slot * 4] = head;
    nodes[head * 4 + 1] = slot;
    if (head < bucketCount) {
      const word = head >>> 5;
      this.#bits[word] = (this.#bits[word] as number) | (1 << (head & 31));
    }
  }

  #unlink(slot: number): void {
    const nodes = this.#nodes;
    const next = nodes[slot * 4] as number;
    const prev = nodes[slot * 4 + 1] as number;
    nodes[prev * 4] = next;
    nodes[next * 4 + 1] = prev;
    if (next === prev && next < bucketCount) this.#clearBit(next);
  }

  #clearBit(bucket: number): void {
    const word = bucket >>> 5;
    this.#bits[word] = (this.#bits[word] as number) & ~(1 << (bucket & 31));
  }

  #idNow(slot: number): number {
    return ((this.#generations[slot] as number) >>> 2) * maxSlots + slot;
  }

  #mark(slot: number, mark: number): void {
    const tag = this.#generations[slot] as number;
    if ((tag & marks) === 0) this.#marked++;
    this.#generations[slot] = tag | mark;
  }

  #unmark(slot: number, mark: number): void {
    const tag = (this.#generations[slot] as number) & ~mark;
    if ((tag & marks) === 0) this.#marked--;
    this.#generations[slot] = tag;
  }

  #release(slot: number): void {
    this.#unlink(slot);
    this.#letGo(slot);
    this.#putFree(slot);
  }

  /** The slot is not held any more, but not free yet either. */
  #letGo(slot: number): void {
    this.refs--;
    this.size--;
    this.#targets[slot] = null;
    if (this.#marked > 0) this.#forgetMarks(slot);
  }

  #forgetMarks(slot: number): void {
    const tag = this.#generations[slot] as number;
    if ((tag & marks) === 0) return;
    this.#marked--;
    if ((tag & unrefMark) !== 0) this.refs++;
    this.#generations[slot] = ((tag | marks) + 1) & generationMask;
  }

  /** Spreads a bucket (or `far`, or `late`) over the levels below. */
  #cascade(head: number): void {
    let slot = this.#after(head);
    const strict = this.#strict[head] as number;
    this.#emptyList(head);
    if (head === far) this.#farStart = Infinity;
    else if (head !== late) this.#clearBit(head);
    while (slot !== head) {
      const after = this.#after(slot);
      const to = this.#bucketOf(this.deadlineOf(slot));
      this.#append(to, slot);
      if (strict !== 0) this.#strict[to] = 1;
      slot = after;
    }
  }

  /** Takes a level-0 bucket as it is. */
  #splice(bucket: number): void {
    const nodes = this.#nodes;
    const last = nodes[bucket * 4 + 1] as number;
    const first = nodes[bucket * 4] as number;
    nodes[firing * 4] = first;
    nodes[first * 4 + 1] = firing;
    nodes[last * 4] = firing;
    nodes[firing * 4 + 1] = last;
    this.#emptyList(bucket);
    this.#clearBit(bucket);
  }

  /** Puts what is due of a level-0 bucket into the batch; whether that was all of it. */
  #moveDue(bucket: number, nowMs: number): boolean {
    const batch = this.#batch;
    batch.begin();
    const nodes = this.#nodes;
    const allDeadlines = this.#deadlines;
    let { slots, deadlines } = batch;
    let count = 0;
    let sorted = true;
    let keptAny = false;
    let before = -Infinity;
    for (let slot = this.#after(bucket); slot !== bucket; ) {
      const after = nodes[slot * 4] as number;
      const deadline = allDeadlines[slot * 2 + 1] as number;
      if (deadline <= nowMs) {
        if (deadline < before) sorted = false;
        before = deadline;
        if (count === slots.length) ({ slots, deadlines } = batch.grow());
        slots[count] = slot;
        deadlines[count++] = deadline;
        if (keptAny) this.#unlink(slot);
        nodes[slot * 4 + 1] = inBatch;
      } else if (!keptAny) {
        keptAny = true;
        // All before this one went: it is the first now.
        nodes[bucket * 4] = slot;
        nodes[slot * 4 + 1] = bucket;
      }
      slot = after;
    }
    if (!keptAny) {
      this.#emptyList(bucket);
      this.#clearBit(bucket);
    }
    if (!sorted) batch.sort(count, this.#elapsed);
    this.#batchEnd = count;
    return !keptAny;
  }

  /** Slots are given out in order of memory again: a burst is then fast to go through. */
  #startOver(): void {
    // Emptying them all costs more than a timer: only where they all may be in use.
    if (this.#unused >= firstSlot + manyEntries) this.#blocks.fill(0);
    else this.#blocks[firing] = 0;
    this.#unused = firstSlot;
    this.#free = 0;
  }

  #freshSlot(head: number): number {
    let slot = this.#blocks[head] as number;
    if ((slot & blockMask) === 0) {
      slot = this.#unused;
      if (slot === this.#targets.length) this.#grow();
      this.#unused = (slot | blockMask) + 1;
    }
    this.#blocks[head] = slot + 1;
    return slot;
  }

  #grow(): void {
    const old = this.#targets.length;
    if (old >= maxSlots) throw new RangeError(`More than ${maxSlots - firstSlot} timers`);
    const capacity = old * 2;
    const nodes = new Int32Array(capacity * 4);
    const generations = new Int32Array(capacity);
    nodes.set(this.#nodes);
    generations.set(this.#generations);
    const targets: (TimerTarget | null)[] = new Array(capacity);
    for (let i = 0; i < old; i++) targets[i] = this.#targets[i] as TimerTarget | null;
    for (let i = old; i < capacity; i++) targets[i] = null;
    this.#nodes = nodes;
    this.#deadlines = new Float64Array(nodes.buffer);
    this.#generations = generations;
    this.#targets = targets;
  }
}
