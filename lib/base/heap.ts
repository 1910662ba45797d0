/**
 * A binary heap that keeps the order of arrival among equals.
 *
 * In: items, and a function that compares two of them. Out: the smallest item. Never: a change by a
 * call in which the comparison threw: the item is then not in, or not out.
 */

export type Compare<T> = (a: T, b: T) => number;

export class Heap<T> {
  readonly #compare: Compare<T>;
  readonly #items: T[] = [];
  /** When each item came, at the same index: what an object per entry would cost is saved. */
  readonly #arrivals: number[] = [];
  #arrived = 0;

  constructor(compare: Compare<T>) {
    this.#compare = compare;
  }

  get length(): number {
    return this.#items.length;
  }

  push(item: T): void {
    const items = this.#items;
    const arrivals = this.#arrivals;
    // First find the place, then move: so an error of the comparison changes nothing.
    let place = items.length;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      // Equal ones stay above: they came earlier.
      if (this.#compare(item, items[parent] as T) >= 0) break;
      place = parent;
    }
    let hole = items.length;
    while (hole > place) {
      const parent = (hole - 1) >> 1;
      items[hole] = items[parent] as T;
      arrivals[hole] = arrivals[parent] as number;
      hole = parent;
    }
    items[place] = item;
    arrivals[place] = this.#arrived++;
  }

  /** Takes the smallest one; undefined when empty. */
  shift(): T | undefined {
    const last = this.#items.length - 1;
    if (last <= 0) {
      this.#arrivals.length = 0;
      return this.#items.pop();
    }
    const place = this.#placeOfLast(last);
    return this.#takeRoot(place);
  }

  clear(): void {
    this.#items.length = 0;
    this.#arrivals.length = 0;
  }

  /** Where the last item belongs once the root is gone. */
  #placeOfLast(last: number): number {
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= last) return hole;
      if (child + 1 < last && this.#before(child + 1, child)) child++;
      if (!this.#before(child, last)) return hole;
      hole = child;
    }
  }

  /** Moves the way from `place` to the root up by one. */
  #takeRoot(place: number): T {
    const items = this.#items;
    const arrivals = this.#arrivals;
    let item = items.pop() as T;
    let arrival = arrivals.pop() as number;
    for (let hole = place; ; hole = (hole - 1) >> 1) {
      const nextItem = items[hole] as T;
      const nextArrival = arrivals[hole] as number;
      items[hole] = item;
      arrivals[hole] = arrival;
      item = nextItem;
      arrival = nextArrival;
      if (hole === 0) return item;
    }
  }

  #before(a: number, b: number): boolean {
    const order = this.#compare(this.#items[a] as T, this.#items[b] as T);
    if (order !== 0) return order < 0;
    return (this.#arrivals[a] as number) < (this.#arrivals[b] as number);
  }
}
