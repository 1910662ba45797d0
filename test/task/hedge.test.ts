import { describe, expect, test } from 'vitest';
import { CancelledError, ExceptionGroup } from '../../lib/base/errors.ts';
import { ContextVar } from '../../lib/task/context.ts';
import { hedge } from '../../lib/task/hedge.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter, shielded } from '../../lib/task/scope.ts';
import { currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { allTasks, createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { failure, runTest, virtualTest } from './support.ts';

let log: string[] = [];

/** A function that writes down its start, its end and its cancellation. */
function way(name: string, durationMs: number, error?: Error): () => Promise<string> {
  return async () => {
    log.push(`${currentTime()} ${name} begins`);
    try {
      await sleep(durationMs);
    } catch (cancelled) {
      log.push(`${currentTime()} ${name} cancelled`);
      throw cancelled;
    }
    if (error !== undefined) throw error;
    return name;
  };
}

function hedgeTest(title: string, main: () => unknown): void {
  virtualTest(title, () => {
    log = [];
    return main();
  });
}

describe('hedge', () => {
  hedgeTest('gives the first function all the time it needs below the delay', async () => {
    expect(await hedge([way('a', 50), way('b', 0)], { delayMs: 100 })).toBe('a');
    expect(log).toEqual(['0 a begins']);
  });

  hedgeTest('starts the next one after the delay, and the first result wins', async () => {
    expect(await hedge([way('a', 500), way('b', 50), way('c', 0)], { delayMs: 100 })).toBe('b');
    expect(log).toEqual(['0 a begins', '100 b begins', '150 a cancelled']);
  });

  hedgeTest('an earlier one may still win', async () => {
    expect(await hedge([way('a', 120), way('b', 50)], { delayMs: 100 })).toBe('a');
    expect(log).toEqual(['0 a begins', '100 b begins', '120 b cancelled']);
  });

  hedgeTest('starts the next one at once when the latest failed', async () => {
    const ways = [way('a', 10, new Error('a')), way('b', 20, new Error('b')), way('c', 5)];
    expect(await hedge(ways, { delayMs: 100 })).toBe('c');
    expect(log).toEqual(['0 a begins', '10 b begins', '30 c begins']);
  });

  hedgeTest('the failure of an earlier one does not shorten the delay of the latest', async () => {
    const ways = [way('a', 120, new Error('a')), way('b', 500), way('c', 5)];
    expect(await hedge(ways, { delayMs: 100 })).toBe('c');
    expect(log).toEqual(['0 a begins', '100 b begins', '200 c begins', '205 b cancelled']);
  });

  hedgeTest('throws all errors in order of the functions when all fail', async () => {
    const ways = [way('a', 250, new Error('a')), way('b', 10, new Error('b'))];
    const error = await failure(hedge([...ways, () => Promise.reject('c')], { delayMs: 100 }));
    expect(error).toBeInstanceOf(ExceptionGroup);
    expect(error.errors.map(String)).toEqual(['Error: a', 'Error: b', 'c']);
    expect(error.message).toBe('All 3 functions of hedge() failed');
  });

  hedgeTest('throws a group for a single function, too', async () => {
    const error = await failure(hedge([way('a', 1, new RangeError('a'))], { delayMs: 100 }));
    expect(error).toBeInstanceOf(ExceptionGroup);
    expect(error.errors[0]).toBeInstanceOf(RangeError);
  });

  hedgeTest('with Infinity starts the next one after a failure only', async () => {
    const ways = [way('a', 1e9, new Error('a')), way('b', 1)];
    expect(await hedge(ways, { delayMs: Infinity })).toBe('b');
    expect(currentTime()).toBe(1e9 + 1);
  });

  hedgeTest('with 0 starts them turn by turn', async () => {
    expect(await hedge([way('a', 9), way('b', 5), way('c', 7)], { delayMs: 0 })).toBe('b');
    expect(log.slice(0, 3)).toEqual(['0 a begins', '0 b begins', '0 c begins']);
  });

  hedgeTest('of two results of one turn takes that of the first function', async () => {
    expect(await hedge([way('a', 30), way('b', 20)], { delayMs: 10 })).toBe('a');
  });

  hedgeTest('takes functions without a promise', async () => {
    expect(await hedge([() => 1, () => 2], { delayMs: 10 })).toBe(1);
  });

  hedgeTest('waits for the clean-up of the losers', async () => {
    let cleaned = false;
    const slow = async (): Promise<string> => {
      try {
        return await sleepForever();
      } finally {
        await shielded(() => sleep(30));
        cleaned = true;
      }
    };
    expect(await hedge([slow, way('b', 5)], { delayMs: 10 })).toBe('b');
    expect([cleaned, currentTime()]).toEqual([true, 45]);
  });

  hedgeTest('drops what losers fail with, and reports nothing', async () => {
    const reports: unknown[] = [];
    getRunningLoop().setExceptionHandler((_loop, context) => reports.push(context));
    const bad = async (): Promise<string> => {
      try {
        return await sleepForever();
      } catch {
        throw new Error('in the clean-up');
      }
    };
    const ways = [way('x', 1, new Error('x')), bad, way('b', 5)];
    expect(await hedge(ways, { delayMs: 10 })).toBe('b');
    expect(reports).toEqual([]);
    expect(allTasks().size).toBe(1);
  });

  hedgeTest('gives each function the context of the caller', async () => {
    const name = new ContextVar<string>('name');
    name.set('of the caller');
    const ways = [
      async (): Promise<string> => {
        name.set('of the first');
        throw new Error('no');
      },
      async (): Promise<string> => name.get(),
    ];
    expect(await hedge(ways, { delayMs: 10 })).toBe('of the caller');
  });

  test('works outside of a run', async () => {
    const ways = [() => Promise.reject(new Error('no')), async () => 'second'];
    expect(await hedge(ways, { delayMs: 1 })).toBe('second');
  });
});

describe('cancellation of hedge', () => {
  hedgeTest('cancels all that run, waits for them and starts no more', async () => {
    const ways = [way('a', 500), way('b', 500), way('c', 500)];
    expect(await moveOnAfter(150, () => hedge(ways, { delayMs: 100 }))).toBe(undefined);
    expect(log).toEqual(['0 a begins', '100 b begins', '150 a cancelled', '150 b cancelled']);
  });

  hedgeTest('of the task is passed on as it is', async () => {
    const task = createTask(() => hedge([way('a', 500), way('b', 500)], { delayMs: 100 }));
    await sleep(150);
    task.cancel('why');
    const error = await failure(task);
    expect(error).toBeInstanceOf(CancelledError);
    expect(error.reason).toBe('why');
    expect(log.slice(2)).toEqual(['150 a cancelled', '150 b cancelled']);
  });

  hedgeTest('before the start begins no function', async () => {
    const scope = new CancelScope();
    scope.cancel();
    await scope.run(() => hedge([way('a', 1)], { delayMs: 1 }));
    expect([scope.cancelledCaught, log]).toEqual([true, []]);
  });

  hedgeTest('does not take away a result that came first', async () => {
    const winner = async (): Promise<string> => {
      await sleep(50);
      // Told after hedge() itself, in the same step.
      currentTask()?.observe({ onFutureDone: () => void task.cancel() });
      return 'b';
    };
    const task: Task<string> = createTask(() => hedge([way('a', 500), winner], { delayMs: 100 }));
    expect(await task).toBe('b');
    expect([task.cancelling, log.at(-1)]).toEqual([1, '150 a cancelled']);
  });

  hedgeTest('of one function alone counts as its failure', async () => {
    const ways = [
      async (): Promise<string> => {
        throw new CancelledError('of something else');
      },
      way('b', 5),
    ];
    expect(await hedge(ways, { delayMs: 100 })).toBe('b');
    expect(currentTime()).toBe(5);
  });
});

describe('bad arguments of hedge', () => {
  runTest('are rejected before anything begins', async () => {
    const fn = (): never => expect.unreachable();
    const cases: unknown[][] = [
      [[], { delayMs: 1 }],
      [fn, { delayMs: 1 }],
      [[fn, 1], { delayMs: 1 }],
      [[fn, Promise.resolve()], { delayMs: 1 }],
      [[fn], { delayMs: Number.NaN }],
      [[fn], {}],
      [[fn]],
    ];
    for (const args of cases) {
      const error = await failure(hedge(...(args as Parameters<typeof hedge>)));
      expect([args, error.name]).toEqual([args, 'TypeError']);
    }
  });
});
