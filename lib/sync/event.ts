/**
 * A flag that tasks wait for.
 *
 * In: set, clear. Out: all waits at once, in order of their begin. Never: a wait that a `clear()`
 * right after `set()` takes back.
 */
import type { WaitOptions } from '../base/errors.ts';
import { wakeInPace } from '../task/pace.ts';
import { atOnce, refusedNow } from './entry.ts';
import { ListedWaiter, WaiterList } from './waiter-list.ts';

/** (asyncio.Event, trio.Event, curio.Event) */
export class Event {
  #isSet = false;
  readonly #waiters: WaiterList<ListedWaiter<void>> = new WaiterList();

  get isSet(): boolean {
    return this.#isSet;
  }

  /** Wakes all that wait; later waits end at once, until `clear()`. May be called again. */
  set(): void {
    this.#isSet = true;
    for (const waiter of this.#waiters.take()) wakeInPace(waiter, undefined);
  }

  /** Waits that were woken stay so, even if they have not gone on yet. */
  clear(): void {
    this.#isSet = false;
  }

  /** At once when set. Cancellable. */
  wait(options?: WaitOptions): Promise<void> {
    if (this.#isSet) return refusedNow(options) ?? atOnce(undefined);
    const waiter = new ListedWaiter<void>('event.wait');
    const promise = waiter.start(options);
    if (waiter.active) this.#waiters.push(waiter);
    return promise;
  }
}
