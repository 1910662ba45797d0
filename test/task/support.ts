/** Runs a test's body as a main task and checks that it leaves no task and no timer. */
import { expect, test } from 'vitest';
import type { LoopPolicy } from '../../lib/loop/policy.ts';
import { Runner, type RunOptions } from '../../lib/task/run.ts';
import { simulated } from '../../lib/testing/simulated.ts';
import { inMemory, testPolicy } from '../support/policy.ts';

/** Longer than any test waits. */
export const never = 60_000;

export async function inRun<T>(main: () => T | PromiseLike<T>, options?: RunOptions): Promise<T> {
  const runner = new Runner({ policy: testPolicy(), handleSignals: false, ...options });
  try {
    const result = await runner.run(main);
    const { tasks, timers } = runner.loop.metrics();
    expect({ tasks, timers }).toEqual({ tasks: 0, timers: 0 });
    return result;
  } finally {
    await runner.close();
  }
}

/** A test whose body is the main task of a run on the tested policy. */
export function runTest(title: string, main: () => unknown): void {
  test(title, () => inRun(main) as Promise<void>);
}

/** One for clocks that go by themselves; on the simulated one time stands or jumps. */
export function realTimeTest(title: string, main: () => unknown): void {
  test.skipIf(inMemory)(title, () => inRun(main) as Promise<void>);
}

/** The same on a clock that jumps to the next timer: exact times, no waiting. */
export function virtualTest(title: string, main: () => unknown): void {
  test(title, () => inRun(main, { policy: virtualPolicy() }) as Promise<void>);
}

export function virtualPolicy(): LoopPolicy {
  return simulated();
}

/** What it was rejected with; fails when it was not. */
// biome-ignore lint/suspicious/noExplicitAny: tests look at fields of many classes.
export async function failure(work: PromiseLike<unknown> | (() => unknown)): Promise<any> {
  let result: unknown;
  try {
    result = await (typeof work === 'function' ? work() : work);
  } catch (error) {
    return error;
  }
  throw new Error(`expected a failure, got ${String(result)}`);
}
