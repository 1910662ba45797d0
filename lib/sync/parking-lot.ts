/**
 * Tasks parked in order: enough to write a lock or a semaphore of one's own.
 *
 * In: park, unpark. Out: the tasks that waited longest. Never: a memory of an `unpark()` that found
 * nobody.
 */
import type { WaitOptions } from '../base/errors.ts';
import { checkCount } from '../base/units.ts';
import { wakeInPace } from '../task/pace.ts';
import type { Waiter } from '../task/waiter.ts';
import { ListedWaiter, WaiterList } from './waiter-list.ts';

/** (trio.lowlevel.ParkingLot) */
export class ParkingLot {
  readonly #waiters: WaiterList<ListedWaiter<void>> = new WaiterList();

  get waiting(): number {
    return this.#waiters.length;
  }

  /**
   * Until somebody unparks it. Cancellable: then it is not counted by `unpark`. One that is
   * cancelled in the same turn, but after it was unparked, has been unparked.
   */
  park(options?: WaitOptions): Promise<void> {
    const waiter = new ListedWaiter<void>('park');
    const promise = waiter.start(options);
    if (waiter.active) this.#waiters.push(waiter);
    return promise;
  }

  /**
   * Wakes those that wait longest.
   * @param count at most so many; Infinity for all. No whole number or negative: RangeError.
   * @returns how many were woken.
   */
  unpark(count: number = 1): number {
    checkCount('count', count);
    const woken = Math.min(count, this.#waiters.length);
    // Nobody can come or go in between: what is woken goes on in a microtask, or later.
    for (let i = 0; i < woken; i++) wakeInPace(this.#waiters.shift() as Waiter, undefined);
    return woken;
  }

  unparkAll(): number {
    return this.unpark(Infinity);
  }
}
