import { describe, expect } from 'vitest';
import { CancelledError, TimeoutError } from '../../lib/base/errors.ts';
import { gather } from '../../lib/task/combinators.ts';
import { retry } from '../../lib/task/retry.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter, timeout } from '../../lib/task/scope.ts';
import { currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from './support.ts';

/** Fails until its last call, and writes down when it was called. */
function failing(times: number): { fn: (attempt: number) => Promise<string>; at: number[] } {
  const at: number[] = [];
  return {
    at,
    fn: async (attempt) => {
      at.push(currentTime());
      if (attempt <= times) throw new RangeError(`attempt ${attempt}`);
      return `result of ${attempt}`;
    },
  };
}

/** The backend's source of chance gives these, in turn. */
function chance(...values: number[]): void {
  getRunningLoop().backendHandle.random = () => values.shift() ?? 0;
}

const plain = { jitter: false };

// covers: seeds/X5
describe('retry', () => {
  virtualTest('gives the first result without waiting', async () => {
    const { fn, at } = failing(0);
    expect([await retry(fn), at]).toEqual(['result of 1', [0]]);
  });

  virtualTest('takes plain functions, too', async () => {
    expect(await retry((attempt) => attempt)).toBe(1);
    const error = await failure(
      retry(() => {
        throw new RangeError('at once');
      }, plain),
    );
    expect([error.message, currentTime()]).toEqual(['at once', 300]);
  });

  virtualTest('calls three times and waits 100 and 200 ms', async () => {
    const { fn, at } = failing(9);
    const error = await failure(retry(fn, plain));
    expect([error.message, at]).toEqual(['attempt 3', [0, 100, 300]]);
  });

  virtualTest('succeeds at the last attempt', async () => {
    const { fn, at } = failing(2);
    expect([await retry(fn, plain), at]).toEqual(['result of 3', [0, 100, 300]]);
  });

  virtualTest('lets delays grow by the factor, up to the longest one', async () => {
    const { fn, at } = failing(9);
    await failure(retry(fn, { ...plain, attempts: 6, delayMs: 10, factor: 3, maxDelayMs: 100 }));
    expect(at).toEqual([0, 10, 40, 130, 230, 330]);
  });

  virtualTest('cuts the first delay as well', async () => {
    const { fn, at } = failing(1);
    await retry(fn, { ...plain, delayMs: Infinity, maxDelayMs: 7 });
    expect(at).toEqual([0, 7]);
  });

  virtualTest('with a delay of zero gives way to others between the calls', async () => {
    const order: string[] = [];
    const other = createTask(() => order.push('other'));
    await failure(
      retry(
        () => {
          order.push('call');
          throw new Error('no');
        },
        { attempts: 2000, delayMs: 0 },
      ),
    );
    await other;
    expect([order.length, order.indexOf('other') < 3, currentTime()]).toEqual([2001, true, 0]);
  });

  virtualTest('goes on for ever with attempts: Infinity', async () => {
    const { fn, at } = failing(5000);
    const options = { ...plain, attempts: Infinity, delayMs: 1, maxDelayMs: 1 };
    expect([await retry(fn, options), at.length]).toEqual(['result of 5001', 5001]);
  });

  virtualTest('waits a random part of each delay', async () => {
    chance(0.5, 0, 0.999, 0.25);
    const { fn, at } = failing(9);
    await failure(retry(fn, { attempts: 5, maxDelayMs: 400 }));
    expect(at).toEqual([0, 50, 50, 449.6, 549.6]);
  });

  virtualTest('takes its chance from nowhere else than the loop', async () => {
    const { random } = Math;
    Math.random = () => expect.unreachable();
    try {
      chance(0.1);
      await retry(failing(1).fn);
    } finally {
      Math.random = random;
    }
    expect(currentTime()).toBe(10);
  });

  runTest('has chance on a real loop', () => {
    const drawn = Array.from({ length: 100 }, () => getRunningLoop().random());
    expect(new Set(drawn).size).toBe(100);
    expect(drawn.every((value) => value >= 0 && value < 1)).toBe(true);
  });

  virtualTest('asks retryIf with error and attempt, and gives up when told so', async () => {
    const asked: unknown[] = [];
    const { fn, at } = failing(9);
    const retryIf = (error: unknown, attempt: number): boolean => {
      asked.push([(error as Error).message, attempt]);
      return attempt < 2;
    };
    const error = await failure(retry(fn, { ...plain, retryIf, attempts: 9 }));
    expect([error.message, at]).toEqual(['attempt 2', [0, 100]]);
    expect(asked).toEqual([
      ['attempt 1', 1],
      ['attempt 2', 2],
    ]);
  });

  virtualTest('does not ask retryIf after the last attempt', async () => {
    let asked = 0;
    await failure(retry(failing(9).fn, { attempts: 1, retryIf: () => ++asked > 0 }));
    expect(asked).toBe(0);
  });

  virtualTest('throws what retryIf throws', async () => {
    const error = await failure(
      retry(failing(9).fn, {
        retryIf: () => {
          throw new TypeError('of retryIf');
        },
      }),
    );
    expect(error.message).toBe('of retryIf');
  });

  virtualTest('retries a time limit of its function', async () => {
    const seen: number[] = [];
    const work = retry((attempt) => {
      seen.push(attempt);
      return timeout(10, () => sleepForever());
    }, plain);
    expect(await failure(work)).toBeInstanceOf(TimeoutError);
    expect([seen, currentTime()]).toEqual([[1, 2, 3], 330]);
  });

  virtualTest('makes errors values in gather', async () => {
    const results = await gather(
      [
        () => retry(failing(1).fn, plain),
        () => retry(failing(9).fn, { ...plain, attempts: 2 }),
      ] as const,
      { returnExceptions: true },
    );
    expect(results[0]).toBe('result of 2');
    expect(results[1]).toBeInstanceOf(RangeError);
  });
});

describe('cancellation of retry', () => {
  virtualTest('is never retried, whatever retryIf says', async () => {
    let calls = 0;
    const task = createTask(() =>
      retry(
        () => {
          calls++;
          return sleepForever();
        },
        { retryIf: () => true },
      ),
    );
    await sleep(1);
    task.cancel('enough');
    const error = await failure(task);
    expect([calls, error.reason]).toEqual([1, 'enough']);
  });

  virtualTest('an AbortError of the Web is not retried either', async () => {
    let calls = 0;
    const error = await failure(
      retry(() => {
        calls++;
        AbortSignal.abort().throwIfAborted();
      }),
    );
    expect([calls, error.name]).toEqual([1, 'AbortError']);
  });

  virtualTest('ends the wait between two calls', async () => {
    const { fn, at } = failing(9);
    const task = createTask(() => retry(fn, { ...plain, delayMs: 1000 }));
    await sleep(10);
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect([at, currentTime()]).toEqual([[0], 10]);
  });

  virtualTest('by a deadline ends it, in a call or between two', async () => {
    const { fn, at } = failing(9);
    expect(await moveOnAfter(250, () => retry(fn, plain))).toBe(undefined);
    expect(await moveOnAfter(50, () => retry(() => sleep(never)))).toBe(undefined);
    expect([at, currentTime()]).toEqual([[0, 100], 300]);
  });

  virtualTest('comes before an error of the same turn', async () => {
    const scope = new CancelScope();
    let calls = 0;
    await scope.run(() =>
      retry(() => {
        calls++;
        scope.cancel();
        throw new Error('as well');
      }),
    );
    expect([calls, scope.cancelledCaught]).toEqual([1, true]);
    expect(currentTask()?.cancelling).toBe(0);
  });
});

describe('bad arguments of retry', () => {
  runTest('are rejected before the first call', async () => {
    const fn = (): never => expect.unreachable();
    const cases: [object, string][] = [
      [{ attempts: 0 }, 'RangeError'],
      [{ attempts: 1.5 }, 'RangeError'],
      [{ attempts: Number.NaN }, 'RangeError'],
      [{ attempts: '3' }, 'TypeError'],
      [{ delayMs: Number.NaN }, 'TypeError'],
      [{ delayMs: '1' }, 'TypeError'],
      [{ maxDelayMs: Number.NaN }, 'TypeError'],
      [{ factor: 0.5 }, 'RangeError'],
      [{ factor: Number.NaN }, 'RangeError'],
      [{ factor: '2' }, 'TypeError'],
      [{ retryIf: 1 }, 'TypeError'],
    ];
    for (const [options, name] of cases) {
      const error = await failure(retry(fn, options));
      expect([options, error.name]).toEqual([options, name]);
    }
    // @ts-expect-error a promise runs already.
    expect((await failure(retry(Promise.resolve(1)))).name).toBe('TypeError');
  });
});
