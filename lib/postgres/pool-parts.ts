/**
 * Parts of a pool: its options, checked, and those who wait for a session.
 *
 * In: options, time limits. Out: a plan, waits. Never: a session.
 */
import type { Deque } from '../base/deque.ts';
import { argTypeError, TimeoutError } from '../base/errors.ts';
import { checkInteger, checkMs } from '../base/units.ts';
import { Waiter } from '../task/waiter.ts';
import { InterfaceError } from './errors.ts';
import type { Session } from './session.ts';
import type { PoolOptions } from './types.ts';
import type { Loop } from './wire.ts';

export interface PoolPlan {
  readonly minSize: number;
  readonly maxSize: number;
  readonly maxQueries: number;
  readonly maxIdleMs: number;
  readonly setup: PoolOptions['setup'];
  readonly init: PoolOptions['init'];
  readonly reset: PoolOptions['reset'];
}

export function makePoolPlan(options: PoolOptions): PoolPlan {
  const maxSize = checkInteger('maxSize', options.maxSize ?? 10, 1);
  const minSize = checkInteger('minSize', options.minSize ?? Math.min(10, maxSize), 0);
  if (minSize > maxSize) throw new InterfaceError(`minSize ${minSize} is above maxSize ${maxSize}`);
  for (const name of ['setup', 'init', 'reset'] as const) {
    const hook = options[name];
    if (hook !== undefined && typeof hook !== 'function')
      throw argTypeError(name, 'a function', hook);
  }
  return {
    minSize,
    maxSize,
    maxQueries: checkInteger('maxQueries', options.maxQueries ?? 50_000, 1),
    maxIdleMs: checkMs('maxIdleMs', options.maxIdleMs ?? 300_000),
    setup: options.setup,
    init: options.init,
    reset: options.reset,
  };
}

export class AcquireWaiter extends Waiter<Session> {
  readonly #queue: Deque<AcquireWaiter>;
  readonly #loop: Loop;
  #timer = -1;
  timeoutMs: number = Infinity;

  constructor(queue: Deque<AcquireWaiter>, loop: Loop) {
    super('acquire');
    this.#queue = queue;
    this.#loop = loop;
  }

  limit(timeoutMs: number): void {
    this.timeoutMs = timeoutMs;
    if (timeoutMs === Infinity) return;
    this.#timer = this.#loop.armTimer(this.#loop.time() + timeoutMs, this);
  }

  onTimer(): void {
    this.#timer = -1;
    this.#queue.delete(this);
    this.fail(new TimeoutError(`No connection of the pool was free within ${this.timeoutMs} ms`));
  }

  override onCancel(): void {
    this.disarm();
    this.#queue.delete(this);
  }

  disarm(): void {
    if (this.#timer !== -1) this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }
}
