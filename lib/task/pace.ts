/**
 * Keeps operations that complete at once from starving the process.
 *
 * In: results that are there, and waits that end with one. Out: promises and wake-ups; now and then
 * through the ready queue. Never: a change of order: while some are held back, all later ones are.
 *
 * A promise that is resolved already goes on in a microtask. Two tasks that hand each other items
 * would never let I/O, timers and signals run. So of each loop's completions at most `maxAtOnce`
 * happen at once in a row; the next ones wait for a turn of the loop. (asyncio wakes every waiter
 * through the loop; tokio has such a budget for each task.)
 */
import type { EventLoop, Job } from '../loop/event-loop.ts';
import { currentLoop } from './frame.ts';
import { loopState } from './loop-state.ts';
import type { Waiter } from './waiter.ts';

type Settle = (outcome: unknown) => void;

/**
 * Measured (bench/micro/queues.mjs): without a limit, two tasks that play ping-pong are a fifth
 * faster, and nothing else runs. Node's own turn comes after 16 of these, about half a millisecond.
 */
const maxAtOnce = 64;

const settled: Promise<void> = Promise.resolve();

export class Pace implements Job {
  /** Null: of code outside of all tasks, which uses the thread's loop. */
  readonly #loop: EventLoop | null;
  #left: number;
  /** Who is settled in the next turn, and with what: pairs, flattened. */
  #held: unknown[];

  constructor(loop: EventLoop | null) {
    this.#loop = loop;
    this.#left = maxAtOnce;
    this.#held = [];
  }

  /** A promise of what is there. */
  resolved<T>(value: T): Promise<T> {
    return this.#spend() ? Promise.resolve(value) : this.#later(value);
  }

  /** The same for an operation without a result: one promise for all. */
  done(): Promise<void> {
    return this.#spend() ? settled : this.#later(undefined);
  }

  /** Also for errors: a loop around a `catch {}` is as good at starving others. */
  rejected(error: unknown): Promise<never> {
    if (this.#spend()) return Promise.reject(error);
    return new Promise<never>((_, reject) => this.#hold(reject, error));
  }

  /** The wait has ended when this returns, whatever comes: the result beats a cancellation. */
  wake<T>(waiter: Waiter<T>, value: T): void {
    if (this.#spend()) {
      waiter.wake(value);
      return;
    }
    const resolve = waiter.detach();
    if (resolve !== null) this.#hold(resolve, value);
  }

  /** @internal From the ready queue. */
  runJob(): void {
    const held = this.#held;
    this.#held = [];
    this.#left = maxAtOnce;
    for (let i = 0; i < held.length; i += 2) (held[i] as Settle)(held[i + 1]);
  }

  #spend(): boolean {
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }

  #later<T>(value: T): Promise<T> {
    return new Promise<T>((resolve) => this.#hold(resolve as Settle, value));
  }

  #hold(settle: Settle, outcome: unknown): void {
    if (this.#held.length === 0) {
      const loop = this.#loop ?? currentLoop();
      if (loop.closed) {
        settle(outcome);
        return;
      }
      loop.enqueue(this);
    }
    this.#held.push(settle, outcome);
  }
}

const outside: Pace = new Pace(null);

/** That of the loop which runs this code, or on which somebody waits. */
export function paceOf(frame: { readonly loop: EventLoop } | null | undefined): Pace {
  return frame ? loopState(frame.loop).pace : outside;
}

/** @internal Ends a wait with a result; in the loop's pace. */
export function wakeInPace<T>(waiter: Waiter<T>, value: T): void {
  paceOf(waiter.node).wake(waiter, value);
}
