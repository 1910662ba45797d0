/** Cancellations by edge that come before the task could act upon the first one. */
import { describe, expect, test } from 'vitest';
import { gather } from '../../lib/task/combinators.ts';
import { run } from '../../lib/task/run.ts';
import { shielded } from '../../lib/task/scope.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { testPolicy } from '../support/policy.ts';
import { failure, runTest } from './support.ts';

/** Says what its waits ended with. */
async function careful(log: string[]): Promise<void> {
  try {
    await sleepForever();
  } catch (error) {
    log.push((error as { reason: string }).reason);
    await sleep(1);
    log.push('cleaned');
    throw error;
  }
}

// covers: asyncio/task
describe('a task that is cancelled again', () => {
  runTest('before it ran gets one error, the first, and counts both', async () => {
    const log: string[] = [];
    const task = createTask(careful, log);
    await checkpoint();
    task.cancel('first');
    task.cancel('second');
    expect((await failure(task)).reason).toBe('first');
    expect(log).toEqual(['first', 'cleaned']);
    expect(task.cancelling).toBe(2);
  });

  runTest('by another one that was cancelled with it gets one error', async () => {
    const logs: string[][] = [[], [], []];
    const tasks: Task<void>[] = [];
    for (const log of logs) {
      const work = async (): Promise<void> => {
        try {
          await sleepForever();
        } finally {
          for (const task of tasks) if (task !== currentTask()) task.cancel('again');
          log.push('told');
          await shielded(() => sleep(1));
          log.push('cleaned');
        }
      };
      tasks.push(createTask(work));
    }
    await checkpoint();
    for (const task of tasks) task.cancel();
    await gather(tasks, { returnExceptions: true });
    expect(logs).toEqual(Array(3).fill(['told', 'cleaned']));
  });

  runTest('after it ran gets the second one, too', async () => {
    const log: string[] = [];
    const task = createTask(careful, log);
    await checkpoint();
    task.cancel('first');
    await checkpoint();
    task.cancel('second');
    expect((await failure(task)).reason).toBe('second');
    expect(log).toEqual(['first']);
  });

  runTest('by itself, while it handles the first one, gets the second one, too', async () => {
    const log: unknown[] = [];
    const task = createTask(async () => {
      try {
        await sleepForever();
      } catch {
        currentTask()?.cancel('second');
        log.push((await failure(sleep(1))).reason);
      }
      await sleep(1);
      log.push('end');
    });
    await checkpoint();
    task.cancel('first');
    await task;
    expect(log).toEqual(['second', 'end']);
  });

  runTest('with whoever awaits it gets one error', async () => {
    const log: string[] = [];
    const inner = createTask(careful, log);
    const outer = createTask(async () => void (await inner));
    await checkpoint();
    outer.cancel('first');
    inner.cancel('second');
    expect((await failure(outer)).reason).toBe('first');
    expect(log).toEqual(['first', 'cleaned']);
  });

  runTest('once it swallowed the error of one that it awaited, gets the new one', async () => {
    const inner = createTask(async () => {
      await failure(sleepForever());
    });
    const log: unknown[] = [];
    const outer = createTask(async () => {
      await inner;
      log.push((await failure(sleepForever())).reason);
    });
    await checkpoint();
    outer.cancel('first');
    await sleep(1);
    outer.cancel('second');
    await outer;
    expect(log).toEqual(['second']);
  });
});

describe('the end of a run', () => {
  test('lets a task that another one awaits clean up', async () => {
    const log: string[] = [];
    const main = async (): Promise<void> => {
      const inner = createTask(careful, log);
      createTask(async () => void (await inner));
      await checkpoint();
      await checkpoint();
    };
    await run(main, { policy: testPolicy(), handleSignals: false });
    expect(log).toEqual(['the run ended', 'cleaned']);
  });
});
