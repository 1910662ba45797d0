/**
 * Queues between tasks.
 *
 * In: items. Out: each item once, to whoever waits longest; an end, by `shutdown`. Never: an item
 * lost to a cancellation; a loop of puts and gets that starves the process (see task/pace.ts).
 */
import { Deque } from '../base/deque.ts';
import { QueueEmpty, QueueFull, QueueShutDown, type WaitOptions } from '../base/errors.ts';
import { checkInteger } from '../base/units.ts';
import { currentFrame } from '../task/frame.ts';
import { paceOf, wakeInPace } from '../task/pace.ts';
import { refused } from './entry.ts';
import { Exchange, Giver, Steps, type Store, Taker } from './exchange.ts';
import { ListedWaiter, WaiterList } from './waiter-list.ts';

function checkMaxSize(maxSize: unknown): number {
  return maxSize === Infinity ? maxSize : checkInteger('maxSize', maxSize);
}

/**
 * First in, first out. `for await (const item of queue)` takes items until the queue was shut down
 * and is empty; leaving the loop early takes nothing with it.
 *
 * An item goes to the task that waits longest, at the moment of the put: it has the item then, also
 * when it is cancelled in the same turn. Calls that need not wait still throw a cancellation that
 * is due, and let others run now and then. All may be used outside of `run()`, too.
 *
 * `get()` gives a promise, so an item that is itself a promise or a Task arrives as its result:
 * wrap it, `{ task }`. (asyncio.Queue, curio.Queue)
 */
export class Queue<T> implements AsyncIterable<T> {
  /** Items; 0 for no limit. */
  readonly maxSize: number;
  readonly #exchange: Exchange<T>;
  readonly #joiners: WaiterList<ListedWaiter<void>> = new WaiterList();
  /** Items worked off, or dropped. */
  #finished = 0;
  #shutDown = false;

  /**
   * @param maxSize items; 0, the default, and Infinity: no limit. Not a number: TypeError;
   * negative, a fraction or NaN: RangeError.
   */
  constructor(maxSize: number = 0) {
    this.maxSize = checkMaxSize(maxSize);
    this.#exchange = new Exchange(maxSize === 0 ? Infinity : maxSize, new Deque());
  }

  /** Items in the queue; not those that a `put` waits with. (asyncio: qsize) */
  get size(): number {
    return this.#exchange.items.length;
  }

  get empty(): boolean {
    return this.size === 0;
  }

  /** Never, without a limit. */
  get full(): boolean {
    return this.size >= this.#exchange.capacity;
  }

  /**
   * Puts the item in, and waits for room if need be, in order of the calls. Cancelled while it
   * waits, the item is not in. QueueShutDown, also for those that wait.
   */
  put(item: T, options?: WaitOptions): Promise<void> {
    const frame = currentFrame();
    const refusal = refused(frame, options);
    if (refusal !== null) return refusal;
    if (this.#shutDown) return paceOf(frame).rejected(new QueueShutDown());
    try {
      if (this.#exchange.offer(item)) return paceOf(frame).done();
    } catch (error) {
      return paceOf(frame).rejected(error);
    }
    return this.#exchange.awaitRoom(new Giver('queue.put', this, item), frame, options);
  }

  /** QueueFull, QueueShutDown. */
  putNowait(item: T): void {
    if (this.#shutDown) throw new QueueShutDown();
    if (!this.#exchange.offer(item)) throw new QueueFull();
  }

  /**
   * Takes an item, and waits for one if need be. Cancelled while it waits, it takes none.
   * QueueShutDown when shut down and empty.
   */
  get(options?: WaitOptions): Promise<T> {
    return this.#get(false, options) as Promise<T>;
  }

  /** QueueEmpty; QueueShutDown when shut down and empty. */
  getNowait(): T {
    if (this.#exchange.ready) return this.#exchange.take();
    throw this.#shutDown ? new QueueShutDown() : new QueueEmpty();
  }

  /** One item that was taken is worked off. RangeError when called more often than items came. */
  taskDone(): void {
    if (this.unfinished === 0) {
      throw new RangeError('taskDone() was called more often than items were put');
    }
    this.#finished++;
    this.#checkFinished();
  }

  /** Waits until each item that was put was worked off, as said by `taskDone`. */
  join(options?: WaitOptions): Promise<void> {
    const frame = currentFrame();
    const refusal = refused(frame, options);
    if (refusal !== null) return refusal;
    if (this.unfinished === 0) return paceOf(frame).done();
    const joiner = new ListedWaiter<void>('queue.join');
    const promise = joiner.startIn(frame, options);
    if (joiner.active) this.#joiners.push(joiner);
    return promise;
  }

  /**
   * Ends the queue for good: puts throw, also those that wait; gets take what is left, then throw.
   * With `immediate` what is left is dropped and counts as worked off, so that `join` waits only
   * for items in work. May be called again. (asyncio, since 3.13)
   */
  shutdown(immediate: boolean = false): void {
    this.#shutDown = true;
    const exchange = this.#exchange;
    const error = new QueueShutDown();
    for (const giver of exchange.givers.take()) giver.fail(error);
    if (immediate) {
      this.#finished = Math.min(this.#finished + exchange.items.length, exchange.accepted);
      exchange.items.clear();
      this.#checkFinished();
    }
    for (const taker of exchange.takers.take()) taker.end(error);
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return new Steps(this);
  }

  /** @internal */
  nextStep(): Promise<IteratorResult<T, undefined>> {
    return this.#get(true, undefined) as Promise<IteratorResult<T, undefined>>;
  }

  /** @internal For the constructors of other kinds of queue. */
  keepIn(store: Store<T>): void {
    this.#exchange.items = store;
  }

  private get unfinished(): number {
    return this.#exchange.accepted - this.#finished;
  }

  #get(step: boolean, options: WaitOptions | undefined): Promise<unknown> {
    const frame = currentFrame();
    const refusal = refused(frame, options);
    if (refusal !== null) return refusal;
    const exchange = this.#exchange;
    if (exchange.ready) {
      try {
        return exchange.taken(frame, step);
      } catch (error) {
        return paceOf(frame).rejected(error);
      }
    }
    if (!this.#shutDown) {
      return exchange.awaitItem(new Taker('queue.get', this, step), frame, options);
    }
    if (step) return paceOf(frame).resolved({ value: undefined, done: true });
    return paceOf(frame).rejected(new QueueShutDown());
  }

  #checkFinished(): void {
    if (this.unfinished > 0) return;
    for (const joiner of this.#joiners.take()) wakeInPace(joiner, undefined);
  }
}

/** Last in, first out. (asyncio.LifoQueue) */
export class LifoQueue<T> extends Queue<T> {
  /** @param maxSize see `Queue`. */
  constructor(maxSize: number = 0) {
    super(maxSize);
    this.keepIn(new Stack<T>());
  }
}

class Stack<T> implements Store<T> {
  readonly #items: T[] = [];

  get length(): number {
    return this.#items.length;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    return this.#items.pop();
  }

  clear(): void {
    this.#items.length = 0;
  }
}
