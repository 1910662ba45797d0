/**
 * A place that tasks leave together.
 *
 * In: `wait()` of each. Out: all of them when the last one comes. Never: a task that passes with
 * those of the next round.
 *
 * asyncio's barrier is filling, then draining while the tasks wake up one by one, and newcomers
 * wait for that to end. Here the last one to come ends all waits in one step, so the next round
 * can fill at once and neither draining nor resetting is ever seen.
 */
import { BrokenBarrierError, type WaitOptions } from '../base/errors.ts';
import { checkInteger } from '../base/units.ts';
import { wakeInPace } from '../task/pace.ts';
import { atOnce, refusedNow } from './entry.ts';
import { ListedWaiter, WaiterList } from './waiter-list.ts';

/** (asyncio.Barrier) */
export class Barrier {
  readonly parties: number;
  readonly #waiters: WaiterList<ListedWaiter<number>> = new WaiterList();
  #broken = false;

  /** @param parties a whole number, 1 or more; RangeError, or TypeError for what is no number. */
  constructor(parties: number) {
    this.parties = checkInteger('parties', parties, 1);
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  get broken(): boolean {
    return this.#broken;
  }

  /**
   * Waits until `parties` tasks do. Gives each its own index, 0 … parties-1, in order of the calls.
   * BrokenBarrierError when the barrier is broken, or is reset or aborted meanwhile.
   * Cancellable: the others go on waiting, for one more.
   */
  wait(options?: WaitOptions): Promise<number> {
    const last = this.#waiters.length === this.parties - 1;
    if (last || this.#broken) {
      const refused = refusedNow(options);
      if (refused !== null) return refused;
      if (this.#broken) return Promise.reject(new BrokenBarrierError());
      let index = 0;
      for (const waiter of this.#waiters.take()) wakeInPace(waiter, index++);
      return atOnce(index);
    }
    const waiter = new ListedWaiter<number>('barrier.wait');
    const promise = waiter.start(options);
    if (waiter.active) this.#waiters.push(waiter);
    return promise;
  }

  /**
   * Waiting tasks get BrokenBarrierError; the barrier can be used again, also after `abort()`.
   * Those that were let through before, if only in the same turn, have passed.
   */
  reset(): void {
    this.#broken = false;
    this.#fail('The barrier was reset');
  }

  /** As reset, but the barrier stays broken. */
  abort(): void {
    this.#broken = true;
    this.#fail('The barrier was aborted');
  }

  #fail(message: string): void {
    for (const waiter of this.#waiters.take()) waiter.fail(new BrokenBarrierError(message));
  }
}
