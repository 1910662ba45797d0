import { availableParallelism } from 'node:os';
import { describe, expect, test } from 'vitest';
import { BrokenResourceError, ClosedResourceError } from '../../lib/base/errors.ts';
import { gather } from '../../lib/task/combinators.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { ThreadPool } from '../../lib/threads/thread-pool.ts';
import { failure, runTest } from '../task/support.ts';
import { heldJob, raise, sharedFlags, started, until, watchThreads } from './support.ts';

const same = (value: unknown): unknown => value;

// covers: asyncio/to-thread, curio/run-in-thread
describe('ThreadPool', () => {
  runTest('starts threads when needed, and at most maxThreads', async () => {
    await watchThreads(async (_alive, made) => {
      await using pool = new ThreadPool({ maxThreads: 2 });
      expect(made()).toBe(0);
      for (let i = 0; i < 3; i++) expect(await pool.submit(same, [i])).toBe(i);
      expect(made()).toBe(1);
      const work = Array.from({ length: 20 }, (_, i) => () => pool.submit(same, [i]));
      expect(await gather(work)).toEqual(Array.from({ length: 20 }, (_, i) => i));
      expect(made()).toBe(2);
    });
  });

  runTest('has as many threads as cores by default', async () => {
    await watchThreads(async (_alive, made) => {
      await using pool = new ThreadPool();
      const count = availableParallelism() + 3;
      await gather(Array.from({ length: count }, (_, i) => () => pool.submit(same, [i])));
      expect(made()).toBe(availableParallelism());
    });
  });

  runTest('serves jobs first come, first served', async () => {
    await using pool = new ThreadPool({ maxThreads: 1 });
    const ended: unknown[] = [];
    const jobs = Array.from(
      { length: 50 },
      (_, i) => () => pool.submit(same, [i]).then((value) => ended.push(value)),
    );
    await gather(jobs);
    expect(ended).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  runTest(
    'takes no message of the work itself for its result, nor for that of the next',
    async () => {
      await using pool = new ThreadPool({ maxThreads: 1 });
      const talks = (value: string): string => {
        const { parentPort } = process.getBuiltinModule('node:worker_threads');
        const messages = [null, 'progress', { ok: true, value: 'forged' }, { number: 0 }];
        for (const message of messages) parentPort?.postMessage(message);
        return value;
      };
      expect(await pool.submit(talks, ['a'])).toBe('a');
      expect(await pool.submit(talks, ['b'])).toBe('b');
      // What could not be sent is not counted.
      expect((await failure(pool.submit(same, [(): void => {}]))).name).toBe('TypeError');
      expect(await pool.submit(talks, ['c'])).toBe('c');
    },
  );

  runTest('ends threads that are idle for idleMs, and starts others later', async () => {
    await watchThreads(async (alive, made) => {
      await using pool = new ThreadPool({ maxThreads: 2, idleMs: 1 });
      await gather([() => pool.submit(same, [1]), () => pool.submit(same, [2])]);
      await until(() => alive() === 0);
      expect(await pool.submit(same, [3])).toBe(3);
      expect(made()).toBe(3);
    });
  });

  runTest('loses no job to a thread that is about to end', async () => {
    await using pool = new ThreadPool({ maxThreads: 1, idleMs: 0 });
    for (let i = 0; i < 10; i++) {
      expect(await pool.submit(same, [i])).toBe(i);
      await sleep(i % 3);
    }
  });

  runTest('keeps idle threads when idleMs is Infinity', async () => {
    await watchThreads(async (alive) => {
      await using pool = new ThreadPool({ maxThreads: 1, idleMs: Infinity });
      await pool.submit(same, [1]);
      await sleep(5);
      expect(alive()).toBe(1);
    });
  });

  test('refuses what are no numbers of threads and milliseconds', () => {
    for (const maxThreads of [0, -1, 1.5, NaN, Infinity]) {
      expect(() => new ThreadPool({ maxThreads })).toThrow(RangeError);
    }
    expect(() => new ThreadPool({ maxThreads: '2' as never })).toThrow(TypeError);
    expect(() => new ThreadPool({ idleMs: NaN })).toThrow(TypeError);
    expect(() => new ThreadPool({ idleMs: '5' as never })).toThrow(TypeError);
  });

  runTest('refuses arguments that are no array', async () => {
    await using pool = new ThreadPool();
    expect((await failure(pool.submit(same, 5 as never))).code).toBe('ERR_INVALID_ARG_TYPE');
    for (const transfer of [new ArrayBuffer(1), [{}], [new Uint8Array(1)]] as never[]) {
      const error = await failure(pool.submit(same, [1], { transfer }));
      expect(error.code).toBe('ERR_INVALID_ARG_TYPE');
    }
  });
});

describe('closing a pool', () => {
  runTest('waits for work that runs and work that was accepted', async () => {
    await watchThreads(async (alive) => {
      const pool = new ThreadPool({ maxThreads: 1 });
      const flags = sharedFlags();
      const first = createTask(() => pool.submit(heldJob, [flags, 'first']));
      const second = createTask(() => pool.submit(same, ['second']));
      await started(flags);
      const closing = createTask(() => pool.close());
      for (let i = 0; i < 5; i++) await sleep(1);
      expect(closing.done).toBe(false);
      raise(flags, 1);
      await closing;
      expect([first.result(), second.result()]).toEqual(['first', 'second']);
      expect(alive()).toBe(0);
    });
  });

  runTest('with several threads waits for the longest job', async () => {
    const pool = new ThreadPool({ maxThreads: 2 });
    const flags = sharedFlags();
    const long = createTask(() => pool.submit(heldJob, [flags, 'long']));
    const short = createTask(() => pool.submit(same, ['short']));
    await started(flags);
    const closing = pool.close();
    expect(await short).toBe('short');
    await sleep(1);
    raise(flags, 1);
    await closing;
    expect(await long).toBe('long');
  });

  runTest('refuses new work from then on', async () => {
    const pool = new ThreadPool();
    const closing = pool.close();
    expect(await failure(pool.submit(same, [1]))).toBeInstanceOf(ClosedResourceError);
    await closing;
    expect(await failure(pool.submit(same, [1]))).toBeInstanceOf(ClosedResourceError);
  });

  runTest('may be done twice, and without ever having worked', async () => {
    const pool = new ThreadPool();
    await Promise.all([pool.close(), pool.close()]);
    await pool[Symbol.asyncDispose]();
  });

  runTest('does not wait for a job that was taken out of the queue', async () => {
    const pool = new ThreadPool({ maxThreads: 1 });
    const flags = sharedFlags();
    const first = createTask(() => pool.submit(heldJob, [flags, 1]));
    await started(flags);
    const second = createTask(() => pool.submit(heldJob, [sharedFlags(), 2]));
    await sleep(1);
    second.cancel();
    raise(flags, 1);
    await pool.close();
    expect([await first, second.cancelled]).toEqual([1, true]);
  });
});

describe('a thread that dies', () => {
  runTest('fails its own job and no other', async () => {
    await using pool = new ThreadPool({ maxThreads: 1 });
    const dying = createTask(() => pool.submit(() => process.exit(3), []));
    const queued = createTask(() => pool.submit(same, ['queued']));
    const error = await failure(dying);
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect([error.code, error.message]).toEqual([
      'ERR_UVIO_BROKEN',
      'The thread ended with exit code 3 before its job was done',
    ]);
    expect(await queued).toBe('queued');
    expect(await pool.submit(same, ['later'])).toBe('later');
  });

  runTest('of an uncaught error has it as the cause', async () => {
    await using pool = new ThreadPool({ maxThreads: 1 });
    const error = await failure(
      pool.submit(() => {
        setTimeout(() => {
          throw new RangeError('in a timer');
        }, 0);
        return new Promise(() => {});
      }, []),
    );
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause.message).toBe('in a timer');
  });

  runTest('without a job is reported to the exception handler', async () => {
    const reports: string[] = [];
    getRunningLoop().setExceptionHandler((_loop, { message, error }) => {
      reports.push(`${message}: ${(error as Error).message}`);
    });
    await using pool = new ThreadPool({ maxThreads: 1 });
    await pool.submit(() => {
      setTimeout(() => {
        throw new Error('too late');
      }, 0);
    }, []);
    await until(() => reports.length > 0);
    expect(reports).toEqual(['The thread ended by an error while it had no job: too late']);
    expect(await pool.submit(same, [1])).toBe(1);
  });

  runTest('while its task is cancelled ends the wait with the cancellation', async () => {
    await using pool = new ThreadPool({ maxThreads: 1 });
    const flags = sharedFlags();
    const task = createTask(() =>
      pool.submit(
        (shared: Int32Array) => {
          Atomics.store(shared, 0, 1);
          Atomics.wait(shared, 1, 0);
          process.exit(1);
        },
        [flags],
      ),
    );
    await started(flags);
    task.cancel();
    raise(flags, 1);
    await failure(task);
    expect(task.cancelled).toBe(true);
  });
});

describe('transfer', () => {
  runTest('moves a buffer instead of copying it', async () => {
    await using pool = new ThreadPool();
    const buffer = new Uint8Array([1, 2, 3]).buffer;
    const sum = (bytes: ArrayBuffer): number =>
      new Uint8Array(bytes).reduce((total, byte) => total + byte, 0);
    expect(await pool.submit(sum, [buffer], { transfer: [buffer] })).toBe(6);
    expect(buffer.byteLength).toBe(0);
  });

  runTest('of what cannot be moved is an error, and the pool goes on', async () => {
    await using pool = new ThreadPool({ maxThreads: 1 });
    const gone = new ArrayBuffer(1);
    structuredClone(gone, { transfer: [gone] });
    const twice = new ArrayBuffer(1);
    const wrong = { transfer: [twice, twice] };
    for (const work of [pool.submit(same, [gone]), pool.submit(same, [twice], wrong)]) {
      const error = await failure(work);
      expect([error.name, error.code]).toEqual(['TypeError', 'ERR_UVIO_NOT_SENDABLE']);
    }
    expect(await pool.submit(same, [2])).toBe(2);
  });
});
