/**
 * Results of a group's tasks in order of completion.
 */
import { Deque } from '../base/deque.ts';
import { RESOLVED } from './future.ts';
import type { Task } from './task.ts';
import { Waiter } from './waiter.ts';

/** Kept for an iteration that may begin later; older ones are dropped, or servers would leak. */
const maxKept = 1024;

export class GroupResults {
  readonly #values: Deque<unknown> = new Deque();
  readonly #waiters: Set<Waiter<void>> = new Set();
  #iterating = false;

  add(task: Task, last: boolean): void {
    if (task.status === RESOLVED) {
      if (!this.#iterating && this.#values.length >= maxKept) this.#values.shift();
      this.#values.push(task.outcome);
    } else if (!last) {
      return;
    }
    for (const waiter of this.#waiters) waiter.wake();
    this.#waiters.clear();
  }

  async *iterate<T>(more: () => boolean): AsyncGenerator<T, void, undefined> {
    this.#iterating = true;
    for (;;) {
      while (this.#values.length > 0) yield this.#values.shift() as T;
      if (!more()) return;
      const waiter = new Waiter<void>('group.results');
      const promise = waiter.start();
      if (waiter.active) this.#waiters.add(waiter);
      await promise;
    }
  }
}
