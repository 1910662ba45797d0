/**
 * Items between those who give and those who take: the core of queues and of memory channels.
 *
 * In: items, waits for room, waits for items. Out: each item once, to whoever waits longest. Never:
 * closing, counting of work, errors of its own: its owners know.
 *
 * Invariants, between calls:
 *  - Somebody waits for an item only while there is none, and nobody waits for room then.
 *  - Somebody waits for room only while `capacity` items are stored.
 *  - A wait that got its item, or gave it, has ended: a cancellation that comes afterwards, in the
 *    same turn too, finds nothing to end. So no item is lost, and none is there twice.
 */
import type { WaitOptions } from '../base/errors.ts';
import type { Frame } from '../task/frame.ts';
import { paceOf, wakeInPace } from '../task/pace.ts';
import { ListedWaiter, WaiterList } from './waiter-list.ts';

/** Where the items are; `shift` says which one is next. */
export interface Store<T> {
  readonly length: number;
  push(item: T): void;
  /** Only when not empty. */
  shift(): T | undefined;
  clear(): void;
}

/** Waits for an item. */
export class Taker<T> extends ListedWaiter<unknown> {
  readonly user: object;
  /** For an iterator: the result is one of its steps. */
  readonly step: boolean;

  constructor(label: string, user: object, step: boolean) {
    super(label);
    this.user = user;
    this.step = step;
  }

  give(item: T): void {
    wakeInPace(this, this.step ? { value: item, done: false } : item);
  }

  /** No item will come. */
  end(error: Error): void {
    if (this.step) this.wake({ value: undefined, done: true });
    else this.fail(error);
  }
}

/** Waits for room, or for a taker. */
export class Giver<T> extends ListedWaiter<void> {
  readonly user: object;
  readonly item: T;

  constructor(label: string, user: object, item: T) {
    super(label);
    this.user = user;
    this.item = item;
  }
}

export class Exchange<T> {
  readonly capacity: number;
  readonly takers: WaiterList<Taker<T>>;
  readonly givers: WaiterList<Giver<T>>;
  items: Store<T>;
  /** Items that came in so far, stored or handed on. */
  accepted: number;

  constructor(capacity: number, items: Store<T>) {
    this.capacity = capacity;
    this.items = items;
    this.takers = new WaiterList();
    this.givers = new WaiterList();
    this.accepted = 0;
  }

  /** There is something to take. */
  get ready(): boolean {
    return this.items.length > 0 || this.givers.length > 0;
  }

  /** Hands the item on, or stores it. False: no room. */
  offer(item: T): boolean {
    const taker = this.takers.shift();
    if (taker !== null) {
      this.accepted++;
      taker.give(item);
      return true;
    }
    if (this.items.length >= this.capacity) return false;
    this.items.push(item);
    this.accepted++;
    return true;
  }

  /** Only when `ready`. */
  take(): T {
    const { items } = this;
    if (items.length > 0) {
      const item = items.shift() as T;
      if (this.givers.length > 0) this.#admit();
      return item;
    }
    const giver = this.givers.shift() as Giver<T>;
    this.accepted++;
    wakeInPace(giver, undefined);
    return giver.item;
  }

  /** As a promise: an item, or with `step` the step of an iterator. */
  taken(frame: Frame | undefined, step: boolean): Promise<unknown> {
    const item = this.take();
    return paceOf(frame).resolved(step ? { value: item, done: false } : item);
  }

  /** Waits for an item. Only when not `ready`. */
  awaitItem(taker: Taker<T>, frame: Frame | undefined, options?: WaitOptions): Promise<unknown> {
    const promise = taker.startIn(frame, options);
    if (taker.active) this.takers.push(taker);
    return promise;
  }

  /** Waits until the item was taken or stored. Only after `offer` said no. */
  awaitRoom(giver: Giver<T>, frame: Frame | undefined, options?: WaitOptions): Promise<void> {
    const promise = giver.startIn(frame, options);
    if (giver.active) this.givers.push(giver);
    return promise;
  }

  /** Whoever waits for room longest puts the item in. */
  #admit(): void {
    while (this.items.length < this.capacity) {
      const giver = this.givers.shift();
      if (giver === null) return;
      try {
        this.items.push(giver.item);
      } catch (error) {
        // The comparison of a priority queue threw: that is of whoever gave the item.
        giver.fail(error);
        continue;
      }
      this.accepted++;
      wakeInPace(giver, undefined);
    }
  }
}

/** What `for await` over a queue or a channel asks. Written by hand: a generator costs more. */
export class Steps<T> implements AsyncIterator<T, undefined> {
  readonly #source: { nextStep(): Promise<IteratorResult<T, undefined>> };

  constructor(source: { nextStep(): Promise<IteratorResult<T, undefined>> }) {
    this.#source = source;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return this.#source.nextStep();
  }
}
