/** Behaviour of CPython's tests of gather, wait, as_completed and shield, written anew;
 * gather.test.ts has the rest. */
import { describe, expect, test } from 'vitest';
import { CancelledError, TimeoutError } from '../../lib/base/errors.ts';
import { asCompleted, gather, race, shield, wait } from '../../lib/task/combinators.ts';
import { Future } from '../../lib/task/future.ts';
import { getRunningLoop, run } from '../../lib/task/run.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint, currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualPolicy, virtualTest } from './support.ts';

async function failAfter(ms: number, error: Error): Promise<never> {
  await sleep(ms);
  throw error;
}

// covers: asyncio/gather, seeds/E12
describe('gather, as in asyncio', () => {
  virtualTest('of futures gives results in order, whichever is set first', async () => {
    const futures = [new Future<number>(), new Future<number>(), new Future<number>()];
    const all = gather(futures);
    futures[1]?.setResult(1);
    futures[0]?.setResult(0);
    await checkpoint();
    futures[2]?.setResult(2);
    expect(await all).toEqual([0, 1, 2]);
  });

  virtualTest('rejects with the first error in time, not in order', async () => {
    const first = createTask(failAfter, 20, new Error('late'));
    const second = createTask(failAfter, 10, new Error('early'));
    expect((await failure(gather(first, second))).message).toBe('early');
    expect(currentTime()).toBe(10);
    await first.wait();
  });

  virtualTest('leaves the other work running after an error', async () => {
    const slow = createTask(() => sleep(20, 'slow'));
    await failure(gather(slow, createTask(failAfter, 5, new Error('quick'))));
    expect([slow.done, await slow]).toEqual([false, 'slow']);
  });

  virtualTest('rejects when one of its sources is cancelled, the others go on', async () => {
    const victim = createTask(sleepForever);
    const other = createTask(() => sleep(20, 'other'));
    const all = createTask(() => gather(victim, other));
    await sleep(5);
    victim.cancel();
    expect(await failure(all)).toBeInstanceOf(CancelledError);
    expect(await other).toBe('other');
  });

  virtualTest('with returnExceptions waits for all, whatever they end with', async () => {
    const victim = createTask(sleepForever);
    getRunningLoop().callLater(5, () => victim.cancel());
    const results = await gather(
      [() => sleep(1, 'fine'), () => failAfter(2, new RangeError()), victim, () => sleep(20, 'x')],
      { returnExceptions: true },
    );
    expect(results.map((one) => (one instanceof Error ? one.constructor : one))).toEqual([
      'fine',
      RangeError,
      CancelledError,
      'x',
    ]);
  });

  virtualTest('nested is cancelled to its leaves', async () => {
    const ends: string[] = [];
    const leaf = async (name: string): Promise<void> => {
      await sleepForever().finally(() => ends.push(name));
    };
    const task = createTask(() =>
      gather(
        () => gather(createTask(leaf, 'a'), createTask(leaf, 'b')),
        () => leaf('c'),
      ),
    );
    await sleep(5);
    task.cancel('stop');
    expect((await failure(task)).reason).toBe('stop');
    expect(ends.sort()).toEqual(['a', 'b', 'c']);
  });

  virtualTest('whose sources ignore the cancellation is cancelled when they end', async () => {
    const stubborn = createTask(async () => {
      await sleep(never).catch(() => {});
      return await sleep(10, 'finished');
    });
    const task = createTask(() => gather(stubborn));
    await sleep(5);
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect([stubborn.result(), currentTime()]).toEqual(['finished', 15]);
  });

  virtualTest('of plain values and synchronous functions works', async () => {
    expect(
      await gather(
        () => 1,
        () => 'two',
        Promise.resolve(3),
      ),
    ).toEqual([1, 'two', 3]);
  });

  virtualTest('takes an iterable once, lazily made', async () => {
    function* sources(): Generator<() => Promise<number>> {
      for (let i = 0; i < 3; i++) yield () => sleep(3 - i, i);
    }
    expect(await gather(sources())).toEqual([0, 1, 2]);
  });

  virtualTest('that nobody awaits reports no error of a source twice', async () => {
    const seen: unknown[] = [];
    const loop = getRunningLoop();
    loop.setExceptionHandler((_loop, context) => seen.push(context.error));
    const all = gather(() => failAfter(1, new Error('one')));
    all.catch(() => {});
    await sleep(5);
    loop.setExceptionHandler(null);
    expect(seen).toEqual([]);
  });
});

describe('wait, as in asyncio', () => {
  virtualTest('gives all as done, in the order given', async () => {
    const tasks = [createTask(() => sleep(20)), createTask(() => sleep(10))];
    const { done, pending } = await wait(tasks);
    expect([[...done], pending.size, currentTime()]).toEqual([tasks, 0, 20]);
  });

  virtualTest('for the same task twice knows it once', async () => {
    const task = createTask(() => sleep(1));
    const { done } = await wait([task, task]);
    expect(done.size).toBe(1);
  });

  virtualTest('for the first gives several that end in the same turn', async () => {
    const futures = [new Future<void>(), new Future<void>(), new Future<void>()];
    getRunningLoop().callLater(5, () => {
      futures[0]?.setResult();
      futures[2]?.setResult();
    });
    const { done, pending } = await wait(futures, { until: 'first' });
    expect([done.size, pending.size]).toEqual([2, 1]);
  });

  virtualTest('for the first is at once when one is done already', async () => {
    const done = createTask(() => 1);
    await done;
    const slow = createTask(() => sleep(10));
    const result = await wait([slow, done] as Future<unknown>[], { until: 'first' });
    expect([result.done.has(done), result.pending.has(slow), currentTime()]).toEqual([
      true,
      true,
      0,
    ]);
    await slow;
  });

  virtualTest('for the first error waits for all when there is none', async () => {
    const tasks = [createTask(() => sleep(10)), createTask(() => sleep(20))];
    const { done } = await wait(tasks, { until: 'first-error' });
    expect([done.size, currentTime()]).toEqual([2, 20]);
  });

  virtualTest('for the first error does not count a cancellation', async () => {
    const victim = createTask(() => sleep(never));
    const other = createTask(() => sleep(20));
    getRunningLoop().callLater(5, () => victim.cancel());
    const { done } = await wait([victim, other], { until: 'first-error' });
    expect([done.size, currentTime()]).toEqual([2, 20]);
  });

  virtualTest('with an error does not throw it, and does not take it either', async () => {
    const task = createTask(failAfter, 5, new RangeError('kept'));
    const { done } = await wait([task]);
    expect(() => [...done][0]?.result()).toThrow('kept');
  });

  virtualTest('with a timeout gives what is done so far', async () => {
    const quick = createTask(() => sleep(5));
    const slow = createTask(() => sleep(30));
    const { done, pending } = await wait([quick, slow], { timeoutMs: 10 });
    expect([[...done], [...pending], currentTime()]).toEqual([[quick], [slow], 10]);
    await slow;
  });

  virtualTest('with a timeout of zero only looks', async () => {
    const slow = createTask(() => sleep(10));
    const { pending } = await wait([slow], { timeoutMs: 0 });
    expect([pending.size, currentTime()]).toEqual([1, 0]);
    await slow;
  });

  virtualTest('for nothing gives nothing', async () => {
    const { done, pending } = await wait([]);
    expect([done.size, pending.size]).toEqual([0, 0]);
  });

  virtualTest('ends by a signal with its reason, and leaves the tasks', async () => {
    const slow = createTask(() => sleep(30, 'slow'));
    const controller = new AbortController();
    getRunningLoop().callLater(5, () => controller.abort('enough'));
    expect(await failure(wait([slow], { signal: controller.signal }))).toBe('enough');
    expect(await slow).toBe('slow');
  });
});

describe('asCompleted, as in asyncio', () => {
  virtualTest('gives results in the order of time', async () => {
    const seen: string[] = [];
    for await (const ms of asCompleted([30, 10, 20].map((n) => () => sleep(n, n)))) {
      seen.push(`${ms}@${currentTime()}`);
    }
    expect(seen).toEqual(['10@10', '20@20', '30@30']);
  });

  virtualTest('of the same source twice gives it once', async () => {
    const task = createTask(() => sleep(1, 'once'));
    const seen: string[] = [];
    for await (const value of asCompleted([task, task])) seen.push(value);
    expect(seen).toEqual(['once']);
  });

  virtualTest('gives what is done already before it waits', async () => {
    const done = createTask(() => 'done');
    await done;
    const seen: string[] = [];
    for await (const value of asCompleted([() => sleep(5, 'later'), done])) seen.push(value);
    expect(seen).toEqual(['done', 'later']);
  });

  virtualTest('gives what came before its time was over, then throws TimeoutError', async () => {
    const seen: number[] = [];
    const slow = createTask(() => sleep(50, 50));
    const sources = [() => sleep(5, 5), () => sleep(8, 8), slow];
    const error = await failure(async () => {
      for await (const value of asCompleted<number>(sources, { timeoutMs: 10 })) seen.push(value);
    });
    expect([seen, error.constructor, currentTime()]).toEqual([[5, 8], TimeoutError, 10]);
    expect(await slow).toBe(50);
  });

  virtualTest('with a time that is not used up leaves no timer', async () => {
    for await (const _ of asCompleted([() => sleep(5)], { timeoutMs: 100 }));
    expect(getRunningLoop().metrics().timers).toBe(1);
  });

  virtualTest('of nothing ends at once', async () => {
    for await (const _ of asCompleted([])) throw new Error('not reached');
  });

  virtualTest('cancelled with its caller leaves the sources alone', async () => {
    const slow = createTask(() => sleep(30, 'slow'));
    const task = createTask(async () => {
      for await (const _ of asCompleted([slow]));
    });
    await sleep(5);
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(await slow).toBe('slow');
  });

  virtualTest('serves several callers of next, each result once', async () => {
    const iterator = asCompleted([() => sleep(2, 'b'), () => sleep(1, 'a')])[
      Symbol.asyncIterator
    ]();
    const [first, second, third] = await Promise.all([
      iterator.next(),
      iterator.next(),
      iterator.next(),
    ]);
    expect([first?.value, second?.value, third?.done]).toEqual(['a', 'b', true]);
  });
});

describe('asCompleted that is left', () => {
  test('has the errors reported that it did not give', async () => {
    const reports: string[] = [];
    const main = async (): Promise<void> => {
      getRunningLoop().setExceptionHandler((_loop, { error }) => reports.push(`${error}`));
      const early = createTask(() => Promise.reject(new RangeError('early')));
      const late = (): Promise<never> =>
        sleep(2).then(() => Promise.reject(new RangeError('late')));
      const sources = [() => 1, early, late] as (() => unknown)[];
      for await (const _ of asCompleted(sources)) break;
      await sleep(4);
    };
    await run(main, { policy: virtualPolicy(), handleSignals: false });
    expect(reports.sort()).toEqual(['RangeError: early', 'RangeError: late']);
  });

  virtualTest('gives nothing more, and ends whoever waits for the next one', async () => {
    const future = new Future<number>();
    const iterator = asCompleted([future], { timeoutMs: 10 })[Symbol.asyncIterator]();
    const waiting = iterator.next();
    await checkpoint();
    await iterator.return?.();
    expect((await waiting).done).toBe(true);
    future.setResult(1);
    expect((await iterator.next()).done).toBe(true);
    expect(getRunningLoop().metrics().timers).toBe(1);
  });

  virtualTest('by the error of a source leaves no timer', async () => {
    const slow = createTask(() => sleep(1));
    const sources = [() => Promise.reject(new RangeError('first')), slow];
    const error = await failure(async () => {
      for await (const _ of asCompleted<unknown>(sources, { timeoutMs: never }));
    });
    expect(error.message).toBe('first');
    await slow;
    expect(getRunningLoop().metrics().timers).toBe(1);
  });

  virtualTest('for longer than its time gives what was done until then', async () => {
    const sources = [5, 6, 50].map((ms) => () => sleep(ms, ms));
    const seen: number[] = [];
    const error = await failure(async () => {
      for await (const ms of asCompleted(sources, { timeoutMs: 10 })) {
        seen.push(ms);
        await sleep(100);
      }
    });
    expect([error.constructor, seen]).toEqual([TimeoutError, [5, 6]]);
  });
});

describe('shield, as in asyncio', () => {
  virtualTest('of what is done is that itself', async () => {
    const done = createTask(() => 1);
    await done;
    expect(shield(done) as unknown).toBe(done);
  });

  virtualTest('is cancelled when the work is', async () => {
    const inner = createTask(sleepForever);
    const outer = shield(inner);
    await checkpoint();
    inner.cancel('inner');
    expect((await failure(outer)).reason).toBe('inner');
    expect(outer.cancelled).toBe(true);
  });

  virtualTest('that is cancelled leaves the work running to its result', async () => {
    const inner = createTask(() => sleep(10, 'result'));
    const outer = shield(inner);
    expect(outer.cancel()).toBe(true);
    expect(await failure(outer)).toBeInstanceOf(CancelledError);
    expect(await inner).toBe('result');
  });

  virtualTest('of a gather keeps a cancellation from all of it', async () => {
    const tasks = [createTask(() => sleep(10, 1)), createTask(() => sleep(20, 2))];
    const all = gather(tasks);
    const waiting = createTask(async () => await shield(all));
    await sleep(5);
    waiting.cancel();
    expect(await failure(waiting)).toBeInstanceOf(CancelledError);
    expect(await all).toEqual([1, 2]);
  });

  virtualTest('inside a gather is left behind when that is cancelled', async () => {
    const inner = createTask(() => sleep(10, 'kept'));
    const task = createTask(() => gather(shield(inner)));
    await sleep(5);
    task.cancel();
    await failure(task);
    expect(await inner).toBe('kept');
  });

  virtualTest('of a function begins it even when the caller is cancelled at once', async () => {
    let ran = false;
    const task = createTask(async () => {
      await shield(async () => {
        await sleep(1);
        ran = true;
      });
    });
    await checkpoint();
    task.cancel();
    await failure(task);
    await sleep(5);
    expect(ran).toBe(true);
  });

  virtualTest('lets go of a deadline around, too', async () => {
    const inner = createTask(() => sleep(20, 'kept'));
    expect(await moveOnAfter(5, async () => await shield(inner))).toBe(undefined);
    expect([await inner, currentTime()]).toEqual(['kept', 20]);
  });
});

describe('race', () => {
  runTest('gives the first of several that end in the same turn', async () => {
    const first = await race(
      () => checkpoint().then(() => 'a'),
      () => checkpoint().then(() => 'b'),
    );
    expect(first).toBe('a');
  });

  virtualTest('waits for the clean-up of the losers', async () => {
    const log: string[] = [];
    const loser = async (): Promise<string> => {
      try {
        return await sleep(never, 'loser');
      } finally {
        await sleep(10);
        log.push('cleaned up');
      }
    };
    log.push(await race(() => sleep(5, 'winner'), loser));
    expect([log, currentTime()]).toEqual([['cleaned up', 'winner'], 15]);
  });
});
