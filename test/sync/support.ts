/** For tests of what tasks share. */
import { sleep } from '../../lib/task/sleep.ts';
import { createTask, type Task } from '../../lib/task/task.ts';

/** Until every task has gone as far as it can. */
export async function idle(): Promise<void> {
  for (let i = 0; i < 4; i++) await sleep(0);
}

/** A task that has begun and waits by now, if it has to. */
export function begun<T>(fn: () => T | PromiseLike<T>): Task<T> {
  return createTask({ eagerStart: true }, fn) as Task<T>;
}

/** What it threw. */
// biome-ignore lint/suspicious/noExplicitAny: tests look at fields of many classes.
export function thrown(fn: () => unknown): any {
  let result: unknown;
  try {
    result = fn();
  } catch (error) {
    return error;
  }
  throw new Error(`expected an error, got ${String(result)}`);
}
