/** Behaviour of CPython's test_tasks, written anew; task.test.ts has the rest. */
import { describe, expect } from 'vitest';
import { CancelledError, InvalidStateError } from '../../lib/base/errors.ts';
import { asCompleted, gather, waitFor } from '../../lib/task/combinators.ts';
import { Future } from '../../lib/task/future.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { checkpoint, currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { allTasks, createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { failure, never, realTimeTest, runTest, virtualTest } from './support.ts';

// covers: asyncio/task, asyncio/create-task, seeds/C5, seeds/C48
describe('a task, as in asyncio', () => {
  runTest('runs its steps in turn with other tasks', async () => {
    const order: string[] = [];
    const work = async (name: string): Promise<void> => {
      for (let i = 0; i < 3; i++) {
        order.push(`${name}${i}`);
        await checkpoint();
      }
    };
    await gather(createTask(work, 'a'), createTask(work, 'b'));
    expect(order).toEqual(['a0', 'b0', 'a1', 'b1', 'a2', 'b2']);
  });

  runTest('is the current task of its own steps, and of none else', async () => {
    const main = currentTask();
    const seen: (Task | null)[] = [];
    const work = async (): Promise<void> => {
      seen.push(currentTask());
      await checkpoint();
      seen.push(currentTask());
    };
    const tasks = [createTask(work), createTask(work)];
    await gather(tasks);
    expect(seen.map((task) => tasks.indexOf(task as Task<void>))).toEqual([0, 1, 0, 1]);
    expect(currentTask()).toBe(main);
    getRunningLoop().callSoon(() => seen.push(currentTask()));
    await checkpoint();
    await checkpoint();
    expect(seen.at(-1)).toBe(null);
  });

  runTest('keeps a name that was changed, also one of the empty kind', async () => {
    const task = createTask({ name: 'first' }, () => {});
    task.name = 'second';
    expect(task.name).toBe('second');
    task.name = '';
    expect(task.name).toBe('');
    await task;
  });

  runTest('gives its result as often as it is awaited', async () => {
    const task = createTask(async () => ({ value: 1 }));
    const results = [await task, await task, task.result()];
    expect(new Set(results).size).toBe(1);
  });

  runTest('gives its error as often as it is awaited', async () => {
    const task = createTask(async () => {
      throw new RangeError('once');
    });
    const errors = [await failure(task), await failure(task), task.exception()];
    expect(new Set(errors).size).toBe(1);
  });

  runTest('calls done callbacks with itself, after its end, each once', async () => {
    const seen: unknown[] = [];
    const task = createTask(() => 5);
    task.addDoneCallback((done) => seen.push(done, done.result()));
    await task;
    expect(seen).toEqual([]);
    await checkpoint();
    await checkpoint();
    expect(seen).toEqual([task, 5]);
  });

  runTest('that throws undefined has failed all the same', async () => {
    const task = createTask(() => Promise.reject(undefined));
    await task.wait();
    expect([task.done, task.cancelled]).toEqual([true, false]);
    expect(task.exception()).toBe(undefined);
    let thrown = false;
    try {
      task.result();
    } catch {
      thrown = true;
    }
    expect(thrown).toBe(true);
  });

  runTest('is one of all tasks while it waits, also in a nested task', async () => {
    const gate = new Future<void>();
    const inner = createTask(async () => await gate);
    const outer = createTask(async () => await inner);
    await checkpoint();
    const main = currentTask() as Task;
    expect([...allTasks()]).toEqual([main, inner, outer]);
    gate.setResult();
    await outer;
    expect([...allTasks()]).toEqual([main]);
  });

  runTest('may be made from a callback of the loop', async () => {
    const made = new Future<{ task: Task<string> }>();
    getRunningLoop().callSoon(() => {
      made.setResult({ task: createTask(() => sleep(1, 'made')) });
    });
    expect(await (await made).task).toBe('made');
  });

  runTest('that returns another task waits for it', async () => {
    const inner = createTask(() => sleep(1, 'inner'));
    expect(await createTask(() => inner)).toBe('inner');
  });
});

describe('cancelling a task, as in asyncio', () => {
  runTest('cancels the future that it awaits', async () => {
    const future = new Future<void>();
    const task = createTask(async () => await future);
    await checkpoint();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(future.cancelled).toBe(true);
  });

  runTest('and the future that it awaits: one end', async () => {
    const future = new Future<void>();
    const task = createTask(async () => await future);
    await checkpoint();
    future.cancel();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(task.cancelled).toBe(true);
  });

  runTest('loses to a future that was set in the same turn', async () => {
    const future = new Future<string>();
    const task = createTask(async () => {
      const value = await future;
      await checkpoint();
      return value;
    });
    await checkpoint();
    future.setResult('set');
    task.cancel();
    // The value arrived; the cancellation comes at the next wait.
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(future.result()).toBe('set');
  });

  runTest('from inside itself comes at its next wait', async () => {
    let reached = false;
    const task: Task<void> = createTask(async () => {
      task.cancel();
      reached = true;
      await checkpoint();
      reached = false;
    });
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(reached).toBe(true);
  });

  runTest('at its very end, without another wait, is too late', async () => {
    const task: Task<string> = createTask(async () => {
      task.cancel();
      return 'made it';
    });
    expect([await task, task.cancelled]).toEqual(['made it', false]);
  });

  runTest('that it caught and answered with a result is no cancellation', async () => {
    const task = createTask(async () => {
      try {
        await sleep(never);
      } catch {
        return 'caught';
      }
      return 'not reached';
    });
    await checkpoint();
    task.cancel();
    expect([await task, task.cancelled]).toEqual(['caught', false]);
  });

  runTest('that it ignores needs another one', async () => {
    const task = createTask(async () => {
      await sleep(never).catch(() => {});
      await sleep(never);
    });
    await checkpoint();
    task.cancel('first');
    await checkpoint();
    expect(task.done).toBe(false);
    task.cancel('second');
    expect((await failure(task)).reason).toBe('second');
  });

  runTest('carries its reason to whoever awaits the task', async () => {
    for (const reason of ['text', undefined, null, { why: 1 }]) {
      const task = createTask(() => sleep(never));
      await checkpoint();
      task.cancel(reason);
      expect((await failure(task)).reason).toBe(reason);
    }
  });

  runTest('twice keeps the first reason while that is not delivered', async () => {
    const task: Task<void> = createTask(async () => {
      task.cancel('first');
      task.cancel('second');
      await checkpoint();
    });
    expect((await failure(task)).reason).toBe('first');
    expect(task.cancelling).toBe(2);
  });

  runTest('before it began runs none of it, and calls its callbacks', async () => {
    let ran = false;
    const seen: boolean[] = [];
    const task = createTask(() => {
      ran = true;
    });
    task.addDoneCallback((done) => seen.push(done.cancelled));
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    await checkpoint();
    await checkpoint();
    expect([ran, seen]).toEqual([false, [true]]);
  });

  virtualTest('ends a sleep at once', async () => {
    const task = createTask(() => sleep(10_000));
    await sleep(5);
    task.cancel();
    await failure(task);
    expect(currentTime()).toBe(5);
  });

  runTest('in which the error becomes another one is a failure', async () => {
    const task = createTask(async () => {
      await sleep(never).catch((error: unknown) => {
        throw new RangeError('translated', { cause: error });
      });
    });
    await checkpoint();
    task.cancel();
    const error = await failure(task);
    expect([error.constructor, task.cancelled]).toEqual([RangeError, false]);
    expect(error.cause).toBeInstanceOf(CancelledError);
  });

  runTest('that awaits itself through another is told or cancelled, and ends', async () => {
    const task: Task<void> = createTask(async () => {
      await checkpoint();
      await task;
    });
    expect(await failure(task)).toBeInstanceOf(InvalidStateError);
  });

  runTest('through a promise in between reaches the wait inside', async () => {
    const log: string[] = [];
    const helper = async (): Promise<void> => {
      try {
        await sleep(never);
      } finally {
        log.push('helper');
      }
    };
    const task = createTask(async () => {
      await Promise.all([helper(), helper()]);
    });
    await checkpoint();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(log).toEqual(['helper', 'helper']);
  });

  runTest('uncancel in the handler makes it as if nothing had been', async () => {
    const task = createTask(async () => {
      try {
        await sleep(never);
      } catch {
        expect(currentTask()?.uncancel()).toBe(0);
      }
      await sleep(1);
      return currentTask()?.cancelling;
    });
    await checkpoint();
    task.cancel();
    expect(await task).toBe(0);
  });

  runTest('uncancel below zero stays at zero', async () => {
    const task = createTask(() => sleep(1));
    expect([task.uncancel(), task.uncancel(), task.cancelling]).toEqual([0, 0, 0]);
    await task;
  });

  runTest('of a task whose clean-up waits for another cancelled task', async () => {
    const log: string[] = [];
    const inner = createTask(async () => {
      try {
        await sleepForever();
      } finally {
        await sleep(1);
        log.push('inner');
      }
    });
    const outer = createTask(async () => {
      try {
        await sleepForever();
      } finally {
        await inner.cancelAndWait();
        log.push('outer');
      }
    });
    await checkpoint();
    outer.cancel();
    await failure(outer);
    expect(log).toEqual(['inner', 'outer']);
  });
});

// covers: asyncio/sleep, trio/sleep
describe('sleep, as in asyncio', () => {
  virtualTest('gives its value after its time', async () => {
    expect([await sleep(20, 'value'), currentTime()]).toEqual(['value', 20]);
    expect(await sleep(0, 'at once')).toBe('at once');
    expect(await sleep(-5, 'past')).toBe('past');
  });

  virtualTest('ends in the order of time, then of begin', async () => {
    const order: number[] = [];
    await gather(
      [30, 10, 20, 10].map((ms, i) => () => sleep(ms).then(() => order.push(i))),
      {},
    );
    expect(order).toEqual([1, 3, 2, 0]);
  });

  virtualTest('cancelled leaves no timer', async () => {
    const task = createTask(() => sleep(10_000));
    await checkpoint();
    task.cancel();
    await task.wait();
    expect(getRunningLoop().metrics().timers).toBe(1);
  });

  virtualTest('of 2^39 ms is possible', async () => {
    await sleep(2 ** 39);
    expect(currentTime()).toBe(2 ** 39);
  });
});

// covers: seeds/C2
describe('fairness', () => {
  runTest('tasks that only check in take turns', async () => {
    const counts = [0, 0, 0];
    const work = async (i: number): Promise<void> => {
      while ((counts[i] as number) < 1000) {
        counts[i] = (counts[i] as number) + 1;
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
        await checkpoint();
      }
    };
    await gather([0, 1, 2].map((i) => createTask(work, i)));
  });

  realTimeTest('a busy task does not keep a timer from firing', async () => {
    let fired = false;
    getRunningLoop().callLater(1, () => {
      fired = true;
    });
    while (!fired) await checkpoint();
  });
});

describe('many tasks', () => {
  virtualTest('10,000 sleeping tasks end in order', async () => {
    const tasks = Array.from({ length: 10_000 }, (_, i) => createTask(() => sleep(i % 7, i)));
    let sum = 0;
    for await (const n of asCompleted(tasks)) sum += n;
    expect([sum, currentTime()]).toEqual([(9_999 * 10_000) / 2, 6]);
  });

  virtualTest('waiting for each other in a chain, 1,000 deep, give the last result', async () => {
    let last: Task<number> = createTask(() => sleep(5, 0));
    for (let i = 0; i < 1000; i++) {
      const before = last;
      last = createTask(async () => (await before) + 1);
    }
    expect(await waitFor(last, 10)).toBe(1000);
  });
});

describe('reports', () => {
  runTest('an error that is taken later in the same turn is not reported', async () => {
    const task = createTask(() => Promise.reject(new Error('taken')));
    await checkpoint();
    await checkpoint();
    expect((await failure(task)).message).toBe('taken');
  });

  runTest('a task that is cancelled and never awaited is not reported', async () => {
    const seen: unknown[] = [];
    await collectReports(seen, async () => {
      createTask(sleepForever).cancel();
      const begun = createTask(sleepForever);
      await checkpoint();
      begun.cancel();
      await checkpoint();
    });
    expect(seen).toEqual([]);
  });
});

/** A task of the same run whose reports are collected. */
async function collectReports(seen: unknown[], main: () => Promise<void>): Promise<void> {
  const loop = getRunningLoop();
  loop.setExceptionHandler((_loop, context) => seen.push(context));
  await main();
  loop.setExceptionHandler(null);
}
