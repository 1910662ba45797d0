import { describe, expect, test } from 'vitest';
import { CancelledError } from '../../lib/base/errors.ts';
import { RateLimiter } from '../../lib/sync/rate-limiter.ts';
import { gather } from '../../lib/task/combinators.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask, currentTask, type Task } from '../../lib/task/task.ts';
import {
  failure,
  inRun,
  realTimeTest,
  runTest,
  virtualPolicy,
  virtualTest,
} from '../task/support.ts';

/** When each of the calls got its tokens, in order of the calls. */
function times(limiter: RateLimiter, ...tokens: number[]): Promise<number[]> {
  return gather(
    tokens.map((count) => async () => {
      await limiter.acquire(count);
      return currentTime();
    }),
  );
}

/** A limiter whose bucket is empty. */
async function empty(rate: number, burst: number): Promise<RateLimiter> {
  const limiter = new RateLimiter({ rate, burst });
  await limiter.acquire(burst);
  return limiter;
}

const ones = (count: number): number[] => new Array(count).fill(1);

/** A task that waits for tokens and writes its name down when it has them. */
function queueUp(limiter: RateLimiter, name: string, log: string[], tokens = 1): Task<void> {
  return createTask(async () => {
    await limiter.acquire(tokens);
    log.push(`${name} ${currentTime()}`);
  });
}

describe('RateLimiter', () => {
  realTimeTest('lets others run now and then while its tokens last', async () => {
    const limiter = new RateLimiter({ rate: 100_000 });
    let others = 0;
    const count = (): void => void others++;
    setImmediate(count);
    getRunningLoop().callSoon(count);
    for (let i = 0; i < 10_000 && others < 2; i++) await limiter.acquire();
    expect(others).toBe(2);
  });

  virtualTest('gives a burst of rate at once, then one after the other', async () => {
    const limiter = new RateLimiter({ rate: 4 });
    expect(await times(limiter, ...ones(7))).toEqual([0, 0, 0, 0, 250, 500, 750]);
  });

  virtualTest('counts per perMs', async () => {
    const limiter = new RateLimiter({ rate: 2, perMs: 60_000 });
    expect(await times(limiter, ...ones(4))).toEqual([0, 0, 30_000, 60_000]);
  });

  virtualTest('with burst: 1 gives evenly spaced tokens', async () => {
    const limiter = new RateLimiter({ rate: 10, burst: 1 });
    expect(await times(limiter, ...ones(4))).toEqual([0, 100, 200, 300]);
  });

  virtualTest('holds no more than its burst, however long nobody asks', async () => {
    const limiter = new RateLimiter({ rate: 10, burst: 3 });
    await sleep(1e9);
    const start = currentTime();
    const got = await times(limiter, ...ones(5));
    expect(got.map((at) => at - start)).toEqual([0, 0, 0, 100, 200]);
  });

  virtualTest('refills evenly while nobody asks', async () => {
    const limiter = await empty(10, 5);
    await sleep(250);
    expect(await times(limiter, ...ones(3))).toEqual([250, 250, 300]);
  });

  virtualTest('takes several tokens, or a part of one', async () => {
    const limiter = new RateLimiter({ rate: 10 });
    expect(await times(limiter, 7, 5, 0.5, 10)).toEqual([0, 200, 250, 1250]);
  });

  virtualTest('may have a rate below one', async () => {
    const limiter = new RateLimiter({ rate: 0.5 });
    expect(await times(limiter, ...ones(3))).toEqual([0, 2000, 4000]);
  });

  virtualTest('serves first come, first served, also when less would be there', async () => {
    const limiter = await empty(10, 5);
    const log: string[] = [];
    const tasks = [queueUp(limiter, 'big', log, 5), queueUp(limiter, 'small', log)];
    await sleep(300);
    tasks.push(queueUp(limiter, 'late', log));
    await gather(tasks);
    expect(log).toEqual(['big 500', 'small 600', 'late 700']);
  });

  virtualTest('does not wait, nor let others run, when the tokens are there', async () => {
    const limiter = new RateLimiter({ rate: 100 });
    let ran = false;
    const other = createTask(() => {
      ran = true;
    });
    for (let i = 0; i < 50; i++) await limiter.acquire();
    expect(ran).toBe(false);
    await other;
  });

  virtualTest('never gives more than rate and burst allow, and wastes nothing', async () => {
    const limiter = new RateLimiter({ rate: 100, burst: 7 });
    const got: number[] = [];
    await gather(
      Array.from({ length: 20 }, (_, i) => async () => {
        for (let j = 0; j < 25; j++) {
          await sleep(((i * 31 + j * 17) % 13) * 3);
          await limiter.acquire();
          got.push(currentTime());
        }
      }),
    );
    let most = 0;
    for (const [from, startMs] of got.entries()) {
      for (let to = from; to < got.length; to++) {
        most = Math.max(most, to - from + 1 - ((got[to] as number) - startMs) / 10);
      }
    }
    expect([got.length, Math.round(most * 1e6) / 1e6]).toEqual([500, 7]);
    // All are in the queue all the time: 7 at once, then one each 10 ms.
    expect(got.at(-1)).toBeLessThan(493 * 10 + 40);
  });

  virtualTest('keeps one timer for any number of waits', async () => {
    const limiter = await empty(1000, 1);
    const before = getRunningLoop().metrics().timers;
    const tasks = Array.from({ length: 50 }, () => createTask(() => limiter.acquire()));
    await sleep(0);
    expect(getRunningLoop().metrics().timers - before).toBe(1);
    await gather(tasks);
    expect(currentTime()).toBe(50);
  });

  runTest('works on the real clock', async () => {
    const limiter = new RateLimiter({ rate: 500, burst: 1 });
    const start = currentTime();
    for (let i = 0; i < 5; i++) await limiter.acquire();
    expect(currentTime() - start).toBeGreaterThanOrEqual(8);
  });

  test('works outside of a run, and from one run to the next', async () => {
    const limiter = new RateLimiter({ rate: 1000, burst: 1 });
    await limiter.acquire();
    await limiter.acquire();
    await inRun(() => limiter.acquire());
  });

  test('is full again for a clock that begins anew', async () => {
    const limiter = new RateLimiter({ rate: 1 });
    for (let i = 0; i < 2; i++) {
      const got = await inRun(() => times(limiter, 1, 1), { policy: virtualPolicy() });
      expect(got).toEqual([0, 1000]);
    }
  });
});

describe('cancellation of acquire', () => {
  virtualTest('of the first one gives its turn to the next, and no token is lost', async () => {
    const limiter = await empty(10, 5);
    const log: string[] = [];
    const first = queueUp(limiter, 'first', log, 5);
    const second = queueUp(limiter, 'second', log);
    await sleep(50);
    first.cancel();
    expect(await failure(first)).toBeInstanceOf(CancelledError);
    await second;
    expect(log).toEqual(['second 100']);
  });

  virtualTest('of the first one serves at once those that it held up', async () => {
    const limiter = await empty(10, 5);
    const log: string[] = [];
    const big = queueUp(limiter, 'big', log, 5);
    const small = [1, 2, 3].map((id) => queueUp(limiter, `small-${id}`, log));
    await sleep(250);
    big.cancel();
    await gather(small);
    expect(log).toEqual(['small-1 250', 'small-2 250', 'small-3 300']);
    await failure(big);
  });

  virtualTest('of one in the middle only makes the queue shorter', async () => {
    const limiter = await empty(10, 1);
    const log: string[] = [];
    const [a, b, c] = ['a', 'b', 'c'].map((name) => queueUp(limiter, name, log)) as Task<void>[];
    await sleep(10);
    b?.cancel();
    await gather(a as Task, c as Task);
    expect(log).toEqual(['a 100', 'c 200']);
    await failure(b as Task);
  });

  virtualTest('of all leaves no timer and a limiter that works', async () => {
    const limiter = await empty(10, 1);
    await moveOnAfter(50, () => times(limiter, ...ones(1000)));
    expect(getRunningLoop().metrics().timers).toBe(1);
    expect(await times(limiter, 1)).toEqual([100]);
  });

  virtualTest('in the turn of its token comes too late', async () => {
    const limiter = await empty(10, 1);
    const task = createTask(async () => {
      await limiter.acquire();
      const { cancelling } = currentTask() as Task;
      return { cancelling, next: await failure(sleep(0)) };
    });
    await sleep(0);
    // The same deadline as the token, armed after it.
    getRunningLoop().callAt(100, () => void task.cancel());
    const { cancelling, next } = await task;
    expect([cancelling, next.name]).toEqual([1, 'CancelledError']);
  });

  virtualTest('before it begins takes no token, though some are there', async () => {
    const limiter = new RateLimiter({ rate: 1 });
    const scope = new CancelScope();
    scope.cancel();
    await scope.run(() => limiter.acquire());
    expect(scope.cancelledCaught).toBe(true);
    expect(await times(limiter, 1)).toEqual([0]);
  });

  virtualTest('by a signal rejects with its reason', async () => {
    const limiter = new RateLimiter({ rate: 1 });
    expect(await failure(limiter.acquire(1, { signal: AbortSignal.abort('early') }))).toBe('early');
    await limiter.acquire();
    const controller = new AbortController();
    const waiting = limiter.acquire(1, { signal: controller.signal });
    const next = times(limiter, 1);
    await sleep(10);
    controller.abort('stop');
    expect(await failure(waiting)).toBe('stop');
    expect(await next).toEqual([1000]);
  });
});

describe('bad arguments of RateLimiter', () => {
  test('are thrown by the constructor', () => {
    const cases: [unknown, string][] = [
      [{ rate: 0 }, 'RangeError'],
      [{ rate: -1 }, 'RangeError'],
      [{ rate: Infinity }, 'RangeError'],
      [{ rate: Number.NaN }, 'TypeError'],
      [{ rate: '1' }, 'TypeError'],
      [{}, 'TypeError'],
      [undefined, 'TypeError'],
      [{ rate: 1, perMs: 0 }, 'RangeError'],
      [{ rate: 1, perMs: Number.NaN }, 'TypeError'],
      [{ rate: 1, burst: 0 }, 'RangeError'],
      [{ rate: 1, burst: Infinity }, 'RangeError'],
    ];
    for (const [options, name] of cases) {
      const make = (): unknown => new RateLimiter(options as { rate: number });
      expect(make, JSON.stringify(options)).toThrow(expect.objectContaining({ name }));
    }
  });

  virtualTest('of acquire are rejected', async () => {
    const limiter = new RateLimiter({ rate: 10, burst: 2 });
    const cases: [unknown, string][] = [
      [0, 'RangeError'],
      [-1, 'RangeError'],
      [2.5, 'RangeError'],
      [Infinity, 'RangeError'],
      [Number.NaN, 'TypeError'],
      ['1', 'TypeError'],
    ];
    for (const [tokens, name] of cases) {
      const error = await failure(limiter.acquire(tokens as number));
      expect([tokens, error.name]).toEqual([tokens, name]);
    }
    expect(await times(limiter, 2)).toEqual([0]);
  });
});
