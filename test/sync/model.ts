/**
 * Calls that may wait, begun in one of the ways in which waits are cancelled, beside a model that
 * knows what each of them must end with.
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import type { WaitOptions } from '../../lib/base/errors.ts';
import { currentFrame } from '../../lib/task/frame.ts';
import { paceOf } from '../../lib/task/pace.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { begun, idle } from './support.ts';

/** `dead`: in a scope that is cancelled already. */
export type Mode = 'plain' | 'edge' | 'level' | 'signal' | 'dead';

export const anyMode: fc.Arbitrary<Mode> = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom('plain', 'edge', 'level', 'signal') },
  { weight: 1, arbitrary: fc.constant('dead' as const) },
);

/** How many completions the loop has behind it: some cases begin just before it holds them. */
export const anyPace: fc.Arbitrary<number> = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 40, max: 64 }),
);

export async function spendPace(spent: number): Promise<void> {
  for (let i = 0; i < spent; i++) await paceOf(currentFrame()).done();
}

type Start = (options?: WaitOptions) => Promise<unknown>;

export const cancelled = 'cancelled';
const pending = 'pending';

/** One call: what it ended with, and what it should have. Values and names of errors. */
export class Call {
  readonly name: string;
  readonly mode: Mode;
  actual: unknown = pending;
  expected: unknown = pending;
  readonly #cancel: () => void;

  constructor(name: string, mode: Mode, start: Start) {
    this.name = name;
    this.mode = mode;
    const controller = new AbortController();
    const scope = new CancelScope();
    this.#cancel = (): void => {};
    let result: PromiseLike<unknown>;
    if (mode === 'edge') {
      const task = begun(start);
      this.#cancel = (): void => void task.cancel(cancelled);
      result = task.join();
    } else if (mode === 'level' || mode === 'dead') {
      this.#cancel = (): void => scope.cancel(cancelled);
      if (mode === 'dead') this.#cancel();
      result = scope.run(start).then((value) => (scope.cancelledCaught ? cancelled : value));
    } else if (mode === 'signal') {
      this.#cancel = (): void => controller.abort({ name: 'CancelledError' });
      result = start({ signal: controller.signal });
    } else {
      result = start();
    }
    if (mode === 'dead') this.expected = cancelled;
    result.then(
      (value) => {
        this.actual = value;
      },
      (error: unknown) => {
        const { name } = error as Error;
        this.actual = name === 'CancelledError' ? cancelled : name;
      },
    );
  }

  get waits(): boolean {
    return this.expected === pending;
  }

  /** False: nothing to be seen, as it has ended, or cannot be cancelled. */
  cancel(): boolean {
    this.#cancel();
    if (this.mode === 'plain' || !this.waits) return false;
    this.expected = cancelled;
    return true;
  }
}

/** All calls of one case. */
export class Calls {
  readonly all: Call[] = [];

  start(name: string, mode: Mode, start: Start): Call {
    const call = new Call(name, mode, start);
    this.all.push(call);
    return call;
  }

  /** Cancels one of them; undefined when that changes nothing. */
  cancel(index: number): Call | undefined {
    const call = this.all[index % Math.max(1, this.all.length)];
    return call?.cancel() ? call : undefined;
  }

  async check(): Promise<void> {
    await idle();
    const show = (what: 'actual' | 'expected') =>
      this.all.map((call, i) => `${i} ${call.name} ${call.mode}: ${JSON.stringify(call[what])}`);
    expect(show('actual')).toEqual(show('expected'));
  }
}

/** The value of a call that does not wait, or the name of its error. */
export function outcome(fn: () => unknown): unknown {
  try {
    return fn();
  } catch (error) {
    return (error as Error).name;
  }
}
