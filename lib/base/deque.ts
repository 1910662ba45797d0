/**
 * A queue on a ring of a power of two. O(1) at both ends, no allocation per item.
 *
 * In: items at the back (or the front). Out: items from the front. Never: holes that keep taken
 * items alive; a ring that stays huge after a burst.
 */

const startCapacity = 16;
/** A ring above this is let go when it has run empty. */
const keepCapacity = 4096;

export class Deque<T> {
  #ring: (T | undefined)[] = new Array(startCapacity).fill(undefined);
  #mask: number = startCapacity - 1;
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Adds at the back. */
  push(item: T): void {
    if (this.#length > this.#mask) this.#grow();
    this.#ring[(this.#head + this.#length) & this.#mask] = item;
    this.#length++;
  }

  /** Adds at the front. */
  unshift(item: T): void {
    if (this.#length > this.#mask) this.#grow();
    this.#head = (this.#head - 1) & this.#mask;
    this.#ring[this.#head] = item;
    this.#length++;
  }

  /** Takes from the front; undefined when empty. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const head = this.#head;
    const item = this.#ring[head];
    this.#ring[head] = undefined;
    this.#head = (head + 1) & this.#mask;
    if (--this.#length === 0 && this.#mask >= keepCapacity) this.clear();
    return item;
  }

  /** The front item, or the one `index` places behind it; undefined when there is none. */
  peek(index: number = 0): T | undefined {
    if (index < 0 || index >= this.#length) return undefined;
    return this.#ring[(this.#head + index) & this.#mask];
  }

  /** The item at the back; undefined when empty. */
  get last(): T | undefined {
    return this.#ring[(this.#head + this.#length - 1) & this.#mask];
  }

  /** Takes the first item that is identical to `item` out. O(n), for cancellations. */
  delete(item: T): boolean {
    for (let i = 0; i < this.#length; i++) {
      if (this.#ring[(this.#head + i) & this.#mask] !== item) continue;
      for (let j = i; j < this.#length - 1; j++) {
        const next = this.#ring[(this.#head + j + 1) & this.#mask];
        this.#ring[(this.#head + j) & this.#mask] = next;
      }
      this.#length--;
      this.#ring[(this.#head + this.#length) & this.#mask] = undefined;
      return true;
    }
    return false;
  }

  clear(): void {
    this.#ring = new Array(startCapacity).fill(undefined);
    this.#mask = startCapacity - 1;
    this.#head = 0;
    this.#length = 0;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (let i = 0; i < this.#length; i++) {
      yield this.#ring[(this.#head + i) & this.#mask] as T;
    }
  }

  #grow(): void {
    const old = this.#ring;
    const capacity = old.length * 2;
    const ring: (T | undefined)[] = new Array(capacity).fill(undefined);
    for (let i = 0; i < this.#length; i++) ring[i] = old[(this.#head + i) & this.#mask];
    this.#ring = ring;
    this.#mask = capacity - 1;
    this.#head = 0;
  }
}
