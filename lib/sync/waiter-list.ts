/**
 * Waits in order of their begin.
 *
 * In: waits that have begun. Out: the oldest one. Never: a search: a wait that is cancelled leaves
 * the list in constant time, by links of its own.
 */
import { Waiter } from '../task/waiter.ts';

interface Linked {
  list: { remove(waiter: Linked): void } | null;
  prev: Linked | null;
  next: Linked | null;
}

/** A wait that leaves its list when it is cancelled. */
export class ListedWaiter<T> extends Waiter<T> implements Linked {
  // As in Waiter: plain fields.
  list: Linked['list'];
  prev: Linked | null;
  next: Linked | null;

  constructor(label: string) {
    super(label);
    this.list = null;
    this.prev = null;
    this.next = null;
  }

  override onCancel(): void {
    // Not in a list when it has its result already, which may still be on its way.
    this.list?.remove(this);
  }
}

export class WaiterList<W extends Linked> {
  #first: Linked | null = null;
  #last: Linked | null = null;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(waiter: W): void {
    const last = this.#last;
    waiter.list = this;
    waiter.prev = last;
    if (last === null) this.#first = waiter;
    else last.next = waiter;
    this.#last = waiter;
    this.#length++;
  }

  /** Takes the oldest one; null when empty. */
  shift(): W | null {
    const first = this.#first;
    if (first !== null) this.remove(first);
    return first as W | null;
  }

  /** The waiter is in this list. */
  remove(waiter: Linked): void {
    const { prev, next } = waiter;
    if (prev === null) this.#first = next;
    else prev.next = next;
    if (next === null) this.#last = prev;
    else next.prev = prev;
    waiter.list = null;
    waiter.prev = null;
    waiter.next = null;
    this.#length--;
  }

  /** Takes out all of them, or those that `wanted` says. In order. */
  take(wanted?: (waiter: W) => boolean): W[] {
    const taken: W[] = [];
    let at = this.#first;
    while (at !== null) {
      const next = at.next;
      if (wanted === undefined || wanted(at as W)) {
        this.remove(at);
        taken.push(at as W);
      }
      at = next;
    }
    return taken;
  }
}
