/**
 * A function over many items, a few at a time.
 */
import { Deque } from '../base/deque.ts';
import type { Awaitable } from '../base/errors.ts';
import { shielded } from './scope.ts';
import { createTask, type Task } from './task.ts';
import { Waiter } from './waiter.ts';

/** Started and not yet given out: never more than `limit`, so memory is bounded, too. */
class Window<I, T> {
  readonly #live: Set<Task> = new Set();
  readonly #output: Deque<Task<T>> = new Deque();
  readonly #changed: Waiter<void> = new Waiter('map');
  readonly #room: Waiter<void> = new Waiter('map.limit');
  readonly #fn: (item: I, index: number) => Awaitable<T>;
  readonly #limit: number;
  readonly #ordered: boolean;
  #held = 0;

  constructor(fn: (item: I, index: number) => Awaitable<T>, limit: number, ordered: boolean) {
    this.#fn = fn;
    this.#limit = limit;
    this.#ordered = ordered;
  }

  async *iterate(items: Iterable<I> | AsyncIterable<I>): AsyncGenerator<T, void, undefined> {
    const feeder = createTask({ name: 'map' }, () => this.#feed(items));
    this.#watch(feeder);
    try {
      for (;;) {
        const head = this.#output.shift();
        if (head?.done) {
          this.#held--;
          this.#room.wake();
          yield head.result();
          continue;
        }
        if (head !== undefined) {
          this.#output.unshift(head);
        } else if (feeder.done) {
          feeder.result();
          if (this.#live.size === 0) return;
        }
        await this.#changed.start();
      }
    } finally {
      await this.#stop();
    }
  }

  async #feed(items: Iterable<I> | AsyncIterable<I>): Promise<void> {
    let index = 0;
    for await (const item of items) {
      while (this.#held >= this.#limit) await this.#room.start();
      const task = createTask(this.#fn, item, index++) as Task<T>;
      this.#held++;
      if (this.#ordered) this.#output.push(task);
      this.#watch(task as Task, this.#ordered ? null : task);
    }
  }

  #watch(task: Task, result: Task<T> | null = null): void {
    this.#live.add(task);
    task.observe({
      onFutureDone: () => {
        this.#live.delete(task);
        if (result !== null) this.#output.push(result);
        this.#changed.wake();
      },
    });
  }

  async #stop(): Promise<void> {
    if (this.#live.size === 0) return;
    await shielded(async () => {
      // Again and again: the feeder may have got room for one more just before.
      while (this.#live.size > 0) {
        const left = [...this.#live];
        for (const task of left) task.cancel('the iteration over map() ended');
        for (const task of left) await task.wait();
      }
    });
  }
}

/**
 * `fn` over items, at most `limit` at a time, results in input order (anyio: amap). An error of
 * `fn` is thrown at its place. Leaving the iteration cancels what is in work and waits for it.
 */
export function map<I, T>(
  items: Iterable<I> | AsyncIterable<I>,
  fn: (item: I, index: number) => Awaitable<T>,
  options: {
    /** Default Infinity. */
    limit?: number;
    /** False: results as they come. Default true. */
    ordered?: boolean;
  } = {},
): AsyncIterable<T> {
  const { limit = Infinity, ordered = true } = options;
  if (typeof fn !== 'function') throw new TypeError('map() takes a function as second argument');
  if (!(limit >= 1)) throw new RangeError(`limit must be at least 1. Received ${limit}`);
  return new Window<I, T>(fn, limit, ordered).iterate(items);
}
