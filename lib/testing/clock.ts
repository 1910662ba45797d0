/**
 * The clock of a simulated policy.
 *
 * In: the test's wishes. Out: the time of the run that goes on. Never: a time of its own.
 */
import { InvalidStateError, rangeError } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import type { SimulatedBackend } from '../loop/simulated/backend.ts';
import { Waiter } from '../task/waiter.ts';

/** Time that moves when every task waits. */
export interface VirtualClock {
  /** Milliseconds; starts at 0. The end of the last run while none goes on. */
  readonly now: number;
  /**
   * Jump to what is due next when all tasks wait: a timer, or something on the network. Default
   * true. False: time stands still until `advance()`. It may be set before a run and during it.
   */
  autoJump: boolean;
  /**
   * Moves time forward by `ms` milliseconds and runs what falls due, each at its own time and in
   * order; resolves when that has run and all other tasks wait again. Several at once do not add
   * up: each one counts from its call. Cancelled, time stays where it is.
   * TypeError for NaN, RangeError for a negative or infinite time, InvalidStateError without a
   * run. (trio: MockClock.jump)
   */
  advance(ms: number): Promise<void>;
}

class AdvanceWaiter extends Waiter<void> {
  #stop: (() => void) | null = null;
  readonly #open: Set<Waiter<void>>;

  constructor(open: Set<Waiter<void>>) {
    super('clock.advance');
    this.#open = open;
  }

  go(backend: SimulatedBackend, ms: number): void {
    this.#open.add(this);
    this.#stop = backend.advance(ms, () => {
      this.#open.delete(this);
      this.wake();
    });
  }

  override onCancel(): void {
    this.#open.delete(this);
    this.#stop?.();
  }
}

export class PolicyClock implements VirtualClock {
  #backend: SimulatedBackend | null = null;
  #autoJump: boolean;
  readonly #open: Set<Waiter<void>> = new Set();

  constructor(autoJump: boolean) {
    this.#autoJump = autoJump;
  }

  get now(): number {
    return this.#backend?.now() ?? 0;
  }

  get autoJump(): boolean {
    return this.#autoJump;
  }

  set autoJump(jump: boolean) {
    this.#autoJump = jump;
    if (this.#backend !== null) this.#backend.autoJump = jump;
  }

  // Not async: the clock moves from the call on, whether or not the promise is awaited.
  advance(ms: number): Promise<void> {
    try {
      if (checkMs('ms', ms) < 0 || ms === Infinity) throw rangeError('ms', '>= 0 and finite', ms);
    } catch (error) {
      return Promise.reject(error);
    }
    const backend = this.#backend;
    if (backend === null || backend.closing) {
      return Promise.reject(new InvalidStateError('No run of this policy goes on'));
    }
    const waiter = new AdvanceWaiter(this.#open);
    const promise = waiter.start();
    if (waiter.active) waiter.go(backend, ms);
    return promise;
  }

  /** @internal The clock of a new loop. */
  follow(backend: SimulatedBackend): void {
    this.#backend = backend;
  }

  /** @internal That loop closes. */
  release(backend: SimulatedBackend): void {
    if (this.#backend !== backend) return;
    const open = [...this.#open];
    this.#open.clear();
    for (const waiter of open) waiter.fail(new InvalidStateError('The loop was closed'));
  }
}
