import { availableParallelism } from 'node:os';
import { describe, expect, test } from 'vitest';
import { BrokenResourceError, ClosedResourceError } from '../../lib/base/errors.ts';
import { gather } from '../../lib/task/combinators.ts';
import { getEventLoop, getRunningLoop, Runner } from '../../lib/task/run.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import {
  defaultThreadLimiter,
  runInExecutor,
  setDefaultExecutor,
  toThread,
} from '../../lib/threads/default-executor.ts';
import '../../lib/threads/loop-methods.ts';
import { type Executor, ThreadPool } from '../../lib/threads/thread-pool.ts';
import { testPolicy } from '../support/policy.ts';
import { failure, inRun, runTest } from '../task/support.ts';
import { heldJob, raise, sharedFlags, started, watchThreads } from './support.ts';

const same = (value: unknown): unknown => value;

/** Runs functions in this thread, and counts. */
class HereExecutor implements Executor {
  submitted = 0;
  closed = 0;

  async submit<T, A extends unknown[]>(fn: unknown, args: A): Promise<Awaited<T>> {
    this.submitted++;
    return await (fn as (...args: A) => Awaited<T>)(...args);
  }

  async close(): Promise<void> {
    this.closed++;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

// covers: asyncio/to-thread, curio/run-in-thread, seeds/C37
describe('runInExecutor', () => {
  runTest('runs in the pool that it is given', async () => {
    await using pool = new ThreadPool({ maxThreads: 1 });
    const id = (): number => process.getBuiltinModule('node:worker_threads').threadId;
    expect(await runInExecutor(pool, id)).toBe(await pool.submit(id, []));
  });

  runTest('runs in the default pool for null', async () => {
    expect(await runInExecutor(null, (a: number, b: number) => a * b, 6, 7)).toBe(42);
  });

  runTest('takes any object with the methods of an executor', async () => {
    const executor = new HereExecutor();
    expect(await runInExecutor(executor, same, 5)).toBe(5);
    expect(executor.submitted).toBe(1);
  });

  runTest('refuses what is no executor', async () => {
    for (const wrong of [undefined, {}, 5, () => {}, { submit() {} }]) {
      const error = await failure(runInExecutor(wrong as never, same, 1));
      expect(error.code).toBe('ERR_INVALID_ARG_TYPE');
    }
  });
});

describe('setDefaultExecutor', () => {
  test('inside a run is for that run, which closes it', async () => {
    const executor = new HereExecutor();
    await inRun(async () => {
      setDefaultExecutor(executor);
      expect(await toThread(same, 1)).toBe(1);
      expect(await runInExecutor(null, same, 2)).toBe(2);
    });
    expect([executor.submitted, executor.closed]).toEqual([2, 1]);
    await inRun(() => toThread(same, 1));
    expect(executor.submitted).toBe(2);
  });

  test('outside of a run is for all loops, which leave it open', async () => {
    const executor = new HereExecutor();
    // A fresh copy of the module: what is set for a thread stays.
    const { vi } = await import('vitest');
    vi.resetModules();
    const fresh = await import('../../lib/threads/default-executor.ts');
    const task = await import('../../lib/task/run.ts');
    fresh.setDefaultExecutor(executor);
    await task.run(() => fresh.toThread(same, 1), { policy: testPolicy() });
    expect(await fresh.toThread(same, 2)).toBe(2);
    expect([executor.submitted, executor.closed]).toEqual([2, 0]);
  });

  runTest('refuses what is no executor', () => {
    for (const wrong of [null, undefined, {}, 5]) {
      expect(() => setDefaultExecutor(wrong as never)).toThrow(TypeError);
    }
  });
});

// covers: trio/to-thread-run-sync
describe('defaultThreadLimiter', () => {
  runTest('starts with the number of cores', () => {
    expect(defaultThreadLimiter().totalTokens).toBe(availableParallelism());
    expect(defaultThreadLimiter()).toBe(defaultThreadLimiter());
  });

  runTest('bounds how many jobs run at once, and may be raised meanwhile', async () => {
    const limiter = defaultThreadLimiter();
    limiter.totalTokens = 2;
    const flags = sharedFlags();
    const jobs = gather([1, 2, 3, 4, 5].map((value) => () => toThread(heldJob, flags, value)));
    const all = createTask(() => jobs);
    await started(flags, 2);
    for (let i = 0; i < 10; i++) await sleep(1);
    expect([Atomics.load(flags, 0), limiter.borrowedTokens]).toEqual([2, 2]);
    limiter.totalTokens = 4;
    await started(flags, 4);
    for (let i = 0; i < 10; i++) await sleep(1);
    expect([Atomics.load(flags, 0), limiter.availableTokens]).toEqual([4, 0]);
    raise(flags, 1);
    expect(await all).toEqual([1, 2, 3, 4, 5]);
    expect(limiter.borrowedTokens).toBe(0);
  });

  runTest('gets its tokens back from jobs that fail', async () => {
    const limiter = defaultThreadLimiter();
    limiter.totalTokens = 1;
    const fail = (): never => {
      throw new Error('no');
    };
    for (let i = 0; i < 3; i++) await failure(toThread(fail));
    await failure(toThread(() => process.exit(1)));
    await failure(toThread(() => () => 1));
    await failure(toThread(same, () => 1));
    expect(limiter.borrowedTokens).toBe(0);
    expect(await toThread(same, 1)).toBe(1);
  });

  runTest('does not bound executors that were set or given', async () => {
    defaultThreadLimiter().totalTokens = 1;
    const flags = sharedFlags();
    const held = createTask(() => toThread(heldJob, flags, 1));
    await started(flags);
    await using pool = new ThreadPool({ maxThreads: 1 });
    expect(await runInExecutor(pool, same, 2)).toBe(2);
    raise(flags, 1);
    await held;
  });

  runTest('serves jobs first come, first served', async () => {
    defaultThreadLimiter().totalTokens = 1;
    const flags = sharedFlags();
    const ended: unknown[] = [];
    const first = createTask(() => toThread(heldJob, flags, 0));
    await started(flags);
    const rest = [1, 2, 3, 4].map(
      (value) => () => toThread(same, value).then((it) => ended.push(it)),
    );
    const all = createTask(() => gather(rest));
    await sleep(1);
    raise(flags, 1);
    await gather([first, all]);
    expect(ended).toEqual([1, 2, 3, 4]);
  });

  test('belongs to one run', async () => {
    await inRun(() => {
      defaultThreadLimiter().totalTokens = 77;
    });
    await inRun(() => expect(defaultThreadLimiter().totalTokens).toBe(availableParallelism()));
  });
});

// covers: asyncio/shutdown-asyncgens
describe('shutdownDefaultExecutor', () => {
  runTest('waits for running and waiting work, and ends the threads', async () => {
    await watchThreads(async (alive) => {
      defaultThreadLimiter().totalTokens = 1;
      const flags = sharedFlags();
      const jobs = [1, 2].map((value) => createTask(() => toThread(heldJob, flags, value)));
      await started(flags);
      const loop = getRunningLoop();
      const shutDown = createTask(() => loop.shutdownDefaultExecutor());
      for (let i = 0; i < 5; i++) await sleep(1);
      expect(shutDown.done).toBe(false);
      raise(flags, 1);
      await shutDown;
      expect(await gather(jobs)).toEqual([1, 2]);
      expect(alive()).toBe(0);
    });
  });

  runTest('makes later work an error', async () => {
    const loop = getRunningLoop();
    await loop.shutdownDefaultExecutor();
    await loop.shutdownDefaultExecutor();
    const error = await failure(toThread(same, 1));
    expect(error).toBeInstanceOf(ClosedResourceError);
    expect(error.message).toBe('The default executor was shut down');
    setDefaultExecutor(new HereExecutor());
    expect(await failure(runInExecutor(null, same, 1))).toBeInstanceOf(ClosedResourceError);
  });

  runTest('gives up after its time, with a warning, and stops the threads', async () => {
    const warnings: (string | undefined)[] = [];
    const onWarning = (warning: Error & { code?: string }): void => {
      warnings.push(warning.code);
    };
    process.on('warning', onWarning);
    await watchThreads(async (alive) => {
      defaultThreadLimiter().totalTokens = 1;
      const flags = sharedFlags();
      const held = createTask(() => toThread(heldJob, flags, 1));
      await started(flags);
      await getRunningLoop().shutdownDefaultExecutor(1);
      expect(await failure(held)).toBeInstanceOf(BrokenResourceError);
      await sleep(1);
      expect(alive()).toBe(0);
    });
    process.off('warning', onWarning);
    expect(warnings).toEqual(['UVIO_EXECUTOR_TIMEOUT']);
  });

  runTest('refuses what is no time', async () => {
    const error = await failure(getRunningLoop().shutdownDefaultExecutor(NaN));
    expect(error).toBeInstanceOf(TypeError);
  });

  test('is done by the end of a run, which waits for jobs that nobody awaits', async () => {
    await watchThreads(async (alive) => {
      const runner = new Runner({ policy: testPolicy(), handleSignals: false });
      const flags = sharedFlags();
      let result: unknown;
      await runner.run(async () => {
        runner.loop.callSoon(() => {
          void toThread(heldJob, flags, 'value').then((value) => {
            result = value;
          });
        });
        await started(flags);
      });
      const closing = runner.close();
      expect(result).toBeUndefined();
      raise(flags, 1);
      await closing;
      expect([result, alive()]).toEqual(['value', 0]);
    });
  });

  test('of a loop that is closed has nothing to do', async () => {
    const loop = testPolicy().createLoop();
    await loop.close();
    await loop.shutdownDefaultExecutor();
  });

  test('leaves the executors of other loops alone', async () => {
    const work = (): Promise<unknown> => toThread(same, 1);
    expect(await work()).toBe(1);
    await inRun(async () => {
      await work();
      await getRunningLoop().shutdownDefaultExecutor();
    });
    expect(await work()).toBe(1);
    await getEventLoop().close();
  });
});
