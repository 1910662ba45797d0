/** What tests of threads share: flags that both sides see, and a count of the threads there are. */
import type { Worker } from 'node:worker_threads';
import { sleep } from '../../lib/task/sleep.ts';

/** Whole numbers in memory that other threads see, too. */
export function sharedFlags(count: number = 2): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * count));
}

/** Lets go on a job that waits with `Atomics.wait(flags, index, 0)`. */
export function raise(flags: Int32Array, index: number): void {
  Atomics.store(flags, index, 1);
  Atomics.notify(flags, index);
}

/** Looks again and again, with turns of the loop between: how long it takes does not matter. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(1);
}

/** Counts itself in at 0, then waits for flag 1. Gives what it was called with. */
export function heldJob(flags: Int32Array, value: unknown): unknown {
  Atomics.add(flags, 0, 1);
  Atomics.wait(flags, 1, 0);
  return value;
}

export async function started(flags: Int32Array, count: number = 1): Promise<void> {
  await until(() => Atomics.load(flags, 0) >= count);
}

/** Threads that were started while `body` ran. */
export async function watchThreads(
  body: (alive: () => number, made: () => number) => Promise<void>,
): Promise<void> {
  let alive = 0;
  let made = 0;
  const onWorker = (worker: Worker): void => {
    alive++;
    made++;
    worker.once('exit', () => alive--);
  };
  process.on('worker', onWorker);
  try {
    await body(
      () => alive,
      () => made,
    );
  } finally {
    process.off('worker', onWorker);
  }
}
