/**
 * Waiting until nobody else can go on.
 *
 * In: the loop of the caller. Out: a wake-up. Never: work on the loop, which would be somebody who
 * goes on.
 */
import type { EventLoop } from '../loop/event-loop.ts';
import { SimulatedBackend } from '../loop/simulated/backend.ts';
import { currentLoop } from '../task/frame.ts';
import { Waiter } from '../task/waiter.ts';

/** Turns of Node in which nothing happened: bytes on a local socket need one or two. */
const quietTurns = 5;

class BlockedWaiter extends Waiter<void> {
  readonly #loop: EventLoop;
  #stop: (() => void) | null = null;
  #turns = -1;
  #quiet = 0;

  constructor(loop: EventLoop) {
    super('waitAllTasksBlocked');
    this.#loop = loop;
  }

  go(): void {
    const { backendHandle } = this.#loop;
    if (backendHandle instanceof SimulatedBackend) {
      this.#stop = backendHandle.whenIdle(() => this.wake());
    } else {
      const immediate = setImmediate(() => this.#look());
      this.#stop = (): void => clearImmediate(immediate);
    }
  }

  #look(): void {
    const { turns, idle } = this.#loop;
    const quiet = idle && turns === this.#turns;
    this.#turns = turns;
    this.#quiet = quiet ? this.#quiet + 1 : 0;
    if (this.#quiet >= quietTurns) this.wake();
    else this.go();
  }

  override onCancel(): void {
    this.#stop?.();
  }
}

/**
 * Until all other tasks wait: no task of the loop has a step to take, and that stayed so for a few
 * turns of Node's loop. Others that wait in here do not count. On a simulated policy it comes
 * before time jumps. Works on every policy; on real ones a task that waits for a peer's bytes or
 * for a promise of Node's counts as waiting. Cancellable. (trio.testing.wait_all_tasks_blocked)
 */
export function waitAllTasksBlocked(): Promise<void> {
  const waiter = new BlockedWaiter(currentLoop());
  const promise = waiter.start();
  if (waiter.active) waiter.go();
  return promise;
}
