import { AsyncLocalStorage } from 'node:async_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect } from 'vitest';
import { CancelledError, InvalidStateError } from '../../lib/base/errors.ts';
import { wait } from '../../lib/task/combinators.ts';
import { reportFailures } from '../../lib/task/failures.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { allTasks, createTask, currentTask, spawn, type Task } from '../../lib/task/task.ts';
import { failure, never, runTest } from './support.ts';

describe('createTask', () => {
  runTest('starts the function after the current step, in order of creation', async () => {
    const order: string[] = [];
    const task = createTask(async (name: string) => void order.push(name), 'a');
    const other = createTask(async () => void order.push('b'));
    order.push('creator');
    await task;
    await other;
    expect(order).toEqual(['creator', 'a', 'b']);
  });

  runTest('passes arguments and gives the result', async () => {
    expect(await createTask(async (a: number, b: number) => a * b, 6, 7)).toBe(42);
  });

  runTest('takes plain functions, and functions that return a task', async () => {
    expect(await createTask(() => 1)).toBe(1);
    expect(await createTask(() => createTask(async () => 2))).toBe(2);
  });

  runTest('runs to the first wait at once with eagerStart', async () => {
    const order: string[] = [];
    const task = createTask({ eagerStart: true }, async () => {
      order.push('task');
      await checkpoint();
    });
    order.push('creator');
    await task;
    expect(order).toEqual(['task', 'creator']);
  });

  runTest('refuses a promise and says what to write instead', () => {
    const promise = Promise.resolve();
    expect(() => createTask(promise as never)).toThrow(/createTask\(f, x\)/);
    expect(() => createTask({}, promise as never)).toThrow(TypeError);
    expect(() => createTask(5 as never)).toThrow(TypeError);
  });

  runTest('names tasks by number, or as told', async () => {
    const named = createTask({ name: 'mine' }, async () => currentTask()?.name);
    const plain = createTask(async () => {});
    expect(plain.name).toBe(`Task-${plain.id}`);
    plain.name = 'renamed';
    expect(plain.name).toBe('renamed');
    expect(await named).toBe('mine');
    await plain;
  });

  runTest('is the same function as spawn', () => {
    expect(spawn).toBe(createTask);
  });

  runTest('carries AsyncLocalStorage of the user along', async () => {
    const storage = new AsyncLocalStorage<string>();
    const task = storage.run('mine', () =>
      createTask(async () => {
        await checkpoint();
        return storage.getStore();
      }),
    );
    expect(await task).toBe('mine');
  });

  runTest('turns a synchronous throw into the error of the task', async () => {
    const task = createTask(() => {
      throw new RangeError('at once');
    });
    expect(await failure(task)).toBeInstanceOf(RangeError);
  });
});

describe('Task', () => {
  runTest('goes through its states', async () => {
    const seen: string[] = [];
    const task = createTask(async () => {
      seen.push(currentTask()?.state as string);
      await sleep(1);
    });
    seen.push(task.state);
    await checkpoint();
    seen.push(task.state);
    await task;
    seen.push(task.state);
    expect(seen).toEqual(['pending', 'running', 'waiting', 'done']);
  });

  runTest('is known to itself, with its parent', async () => {
    const main = currentTask();
    const task: Task<boolean> = createTask(async () => {
      return currentTask() === task && task.parent === main;
    });
    expect(await task).toBe(true);
    expect(task.parent).toBeNull();
  });

  // covers: seeds/C31, asyncio/current-task
  runTest('is in allTasks until it is done', async () => {
    const task = createTask(async () => {});
    expect(allTasks().has(task)).toBe(true);
    await task;
    expect([...allTasks()]).toEqual([currentTask()]);
  });

  runTest('cannot be set by hand', async () => {
    const task = createTask(async () => {});
    expect(() => task.setResult()).toThrow(InvalidStateError);
    expect(() => task.setException(new Error())).toThrow(InvalidStateError);
    await task;
  });

  runTest('that awaits itself is told so', async () => {
    const task = createTask(async (): Promise<unknown> => await task);
    expect(await failure(task)).toBeInstanceOf(InvalidStateError);
  });

  runTest('gives its result to join() and nothing to wait()', async () => {
    const task = createTask(async () => 5);
    expect(await task.join()).toBe(5);
    expect(await task.wait()).toBeUndefined();
  });

  runTest('throws its error from join() but not from wait()', async () => {
    const task = createTask(async () => {
      throw new RangeError('x');
    });
    await task.wait();
    expect(await failure(task.join())).toBeInstanceOf(RangeError);
  });

  runTest('goes on when whoever joins it is cancelled', async () => {
    const task = createTask(async () => {
      await sleep(5);
      return 'whole';
    });
    const joiner = createTask(() => task.join());
    await checkpoint();
    joiner.cancel();
    expect(await failure(joiner)).toBeInstanceOf(CancelledError);
    expect(await task).toBe('whole');
  });

  runTest('lets join() end by a signal', async () => {
    const task = createTask(() => sleepForever());
    const controller = new AbortController();
    const joining = failure(task.join({ signal: controller.signal }));
    controller.abort('enough');
    expect(await joining).toBe('enough');
    await task.cancelAndWait();
  });

  runTest('describes itself in getStack()', async () => {
    getRunningLoop().debug = true;
    const task = createTask({ name: 'slow' }, () => sleep(1));
    await checkpoint();
    expect(task.getStack()).toMatch(/slow.*waiting[\s\S]*waits for sleep[\s\S]*task\.test\.ts/);
    getRunningLoop().debug = false;
    await task;
  });
});

describe('task.cancel', () => {
  runTest('rejects the wait at which the task stands', async () => {
    const task = createTask(async () => {
      try {
        await sleep(never);
      } catch (error) {
        return error;
      }
      return undefined;
    });
    await checkpoint();
    expect(task.cancel('reason')).toBe(true);
    const error = (await task) as CancelledError;
    expect(error).toBeInstanceOf(CancelledError);
    expect(error.code).toBe('ABORT_ERR');
    expect(error.reason).toBe('reason');
  });

  runTest('ends a task that does not catch it as cancelled', async () => {
    const task = createTask(() => sleep(never));
    await checkpoint();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect([task.done, task.cancelled, task.state]).toEqual([true, true, 'done']);
  });

  runTest('keeps a task that did not begin from running at all', async () => {
    let ran = false;
    const task = createTask(async () => {
      ran = true;
    });
    task.cancel();
    await task.wait();
    expect([ran, task.cancelled]).toEqual([false, true]);
  });

  runTest('is false for a task that is done', async () => {
    const task = createTask(async () => {});
    await task;
    expect(task.cancel()).toBe(false);
    expect(task.cancelled).toBe(false);
  });

  runTest('is delivered at the next wait when the task does not wait now', async () => {
    const task = createTask(async () => {
      currentTask()?.cancel();
      const steps = ['went on'];
      await sleep(0).catch(() => steps.push('cancelled'));
      await sleep(0);
      return steps;
    });
    expect(await task).toEqual(['went on', 'cancelled']);
  });

  runTest('is delivered once: clean-up may wait', async () => {
    const steps: string[] = [];
    const task = createTask(async () => {
      try {
        await sleep(never);
      } finally {
        await sleep(2);
        steps.push('cleaned up');
      }
    });
    await checkpoint();
    task.cancel();
    await task.wait();
    expect(steps).toEqual(['cleaned up']);
    expect(task.cancelled).toBe(true);
  });

  runTest('reaches all waits that go on in the task, as one delivery', async () => {
    const task = createTask(async () => {
      const outcomes = await Promise.allSettled([sleep(never), sleep(never)]);
      await sleep(0);
      return outcomes.map((outcome) => outcome.status);
    });
    await checkpoint();
    task.cancel();
    expect(await task).toEqual(['rejected', 'rejected']);
  });

  runTest('can be swallowed, and the task goes on', async () => {
    const task = createTask(async () => {
      await sleep(never).catch(() => {});
      return 'went on';
    });
    await checkpoint();
    task.cancel();
    expect(await task).toBe('went on');
    expect(task.cancelled).toBe(false);
  });

  runTest('is counted, and uncancel takes requests back', async () => {
    const task: Task<number[]> = createTask(async () => {
      await sleep(never).catch(() => {});
      const counts = [task.cancelling, task.uncancel(), task.uncancel(), task.uncancel()];
      return counts;
    });
    await checkpoint();
    task.cancel();
    task.cancel();
    expect(await task).toEqual([2, 1, 0, 0]);
  });

  runTest('is not delivered after uncancel took the last request back', async () => {
    const task = createTask(async () => {
      task.cancel();
      task.uncancel();
      await sleep(0);
      return 'not cancelled';
    });
    expect(await task).toBe('not cancelled');
  });

  runTest('comes again when asked for again', async () => {
    let count = 0;
    const task = createTask(async () => {
      for (let i = 0; i < 2; i++) await sleep(never).catch(() => count++);
    });
    await checkpoint();
    task.cancel();
    await checkpoint();
    task.cancel();
    await task;
    expect(count).toBe(2);
  });

  runTest('cancels the task that is awaited', async () => {
    const inner = createTask(() => sleep(never));
    const outer = createTask(async () => await inner);
    await checkpoint();
    outer.cancel('from outside');
    expect((await failure(outer)).reason).toBe('from outside');
    expect(inner.cancelled).toBe(true);
  });

  runTest('waits for the clean-up of the task that is awaited', async () => {
    const steps: string[] = [];
    const inner = createTask(async () => {
      try {
        await sleep(never);
      } finally {
        await sleep(2);
        steps.push('inner');
      }
    });
    const outer = createTask(async () => {
      try {
        await inner;
      } finally {
        steps.push('outer');
      }
    });
    await checkpoint();
    outer.cancel();
    await outer.wait();
    expect(steps).toEqual(['inner', 'outer']);
  });

  runTest('is swallowed together with the awaited task that swallows it', async () => {
    const inner = createTask(async () => {
      await sleep(never).catch(() => {});
      return 'inner result';
    });
    const outer = createTask(async () => await inner);
    await checkpoint();
    outer.cancel();
    expect(await outer).toBe('inner result');
  });

  runTest('goes down a chain of 10,000 tasks that await one another', async () => {
    let task = createTask(() => sleep(never));
    const first = task;
    for (let i = 0; i < 10_000; i++) {
      const inner = task;
      task = createTask({ eagerStart: true }, async () => await inner);
    }
    await checkpoint();
    task.cancel();
    await task.wait();
    expect([task.cancelled, first.cancelled]).toEqual([true, true]);
  });

  runTest('ends tasks that await each other in a circle', async () => {
    const first = createTask(async (): Promise<unknown> => await second);
    const second = createTask(async (): Promise<unknown> => await first);
    await checkpoint();
    await checkpoint();
    first.cancel();
    await first.wait();
    await second.wait();
    expect([first.cancelled, second.cancelled]).toEqual([true, true]);
  });

  runTest('aborts task.signal', async () => {
    const task = createTask(() => sleep(never));
    const early = task.signal;
    await checkpoint();
    expect(early.aborted).toBe(false);
    task.cancel('stop');
    expect(early.aborted).toBe(true);
    expect(early.reason.reason).toBe('stop');
    await task.wait();
    expect(task.signal.aborted).toBe(true);
  });

  runTest('does not crash the process through the waits of a done task', async () => {
    let late: Promise<unknown> | undefined;
    const task = createTask(async () => {
      late = sleep(1);
    });
    await task;
    task.cancel();
    await late;
  });
});

describe('cancelAndWait', () => {
  runTest('resolves when the clean-up of the task has ended', async () => {
    let cleaned = false;
    const task = createTask(async () => {
      try {
        await sleep(never);
      } finally {
        await sleep(1);
        cleaned = true;
      }
    });
    await checkpoint();
    await task.cancelAndWait();
    expect(cleaned).toBe(true);
  });

  runTest('rethrows an error other than the cancellation', async () => {
    const task = createTask(async () => {
      try {
        await sleep(never);
      } finally {
        // biome-ignore lint/correctness/noUnsafeFinally: that is the test.
        throw new RangeError('in clean-up');
      }
    });
    await checkpoint();
    expect(await failure(task.cancelAndWait())).toBeInstanceOf(RangeError);
  });

  runTest('does nothing to a task that is done', async () => {
    const task = createTask(async () => 1);
    await task;
    await task.cancelAndWait();
    expect(task.result()).toBe(1);
  });
});

describe('errors that nobody takes', () => {
  runTest('are not reported when somebody awaits the task', async () => {
    const reports: string[] = [];
    getRunningLoop().setExceptionHandler((_loop, context) => reports.push(context.message));
    await failure(createTask(() => Promise.reject(new Error('taken'))));
    const looked = createTask(() => Promise.reject(new Error('looked at')));
    await checkpoint();
    await checkpoint();
    looked.exception();
    expect(reports).toEqual([]);
  });

  runTest('are reported when the task was collected', async () => {
    const reports: string[] = [];
    const loop = getRunningLoop();
    loop.setExceptionHandler((_loop, context) => reports.push(context.message));
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    createTask({ name: 'lost' }, () => Promise.reject(new Error('x')));
    while (reports.length === 0) {
      await new Promise((resolve) => setImmediate(resolve));
      collect();
    }
    expect(reports).toEqual(["Task 'lost' failed and nobody took its error"]);
  });

  runTest('are reported together with where the task was created, in debug mode', async () => {
    const reports: string[] = [];
    const loop = getRunningLoop();
    loop.debug = true;
    loop.setExceptionHandler((_loop, context) => reports.push(context.message));
    createTask(() => Promise.reject(new Error('x')));
    await checkpoint();
    await checkpoint();
    loop.debug = false;
    reportFailures(loop);
    expect(reports[0]).toMatch(/task\.test\.ts/);
  });

  runTest('are not kept back by a callback that only looks that it is done', async () => {
    const reports: string[] = [];
    const loop = getRunningLoop();
    loop.setExceptionHandler((_loop, context) => reports.push(context.message));
    const task = createTask(() => Promise.reject(new Error('x')));
    task.addDoneCallback(() => {});
    await wait([task]);
    reportFailures(loop);
    expect(reports).toHaveLength(1);
  });
});

describe('a loop that catches its cancellation', () => {
  runTest('is reported in debug mode', async () => {
    const reports: string[] = [];
    const loop = getRunningLoop();
    loop.debug = true;
    loop.setExceptionHandler((_loop, context) => reports.push(context.message));
    await createTask({ name: 'stubborn' }, () =>
      new CancelScope().run(async (scope) => {
        scope.cancel();
        for (let i = 0; i < 150; i++) await sleep(1).catch(() => {});
      }),
    );
    loop.debug = false;
    expect(reports).toEqual(["Task 'stubborn' catches its cancellation again and again"]);
  });
});
