import { describe, expect } from 'vitest';
import { CancelledError, TimeoutError } from '../../lib/base/errors.ts';
import {
  asCompleted,
  ensureFuture,
  gather,
  map,
  race,
  shield,
  wait,
} from '../../lib/task/combinators.ts';
import { ContextVar } from '../../lib/task/context.ts';
import { Future } from '../../lib/task/future.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, shielded } from '../../lib/task/scope.ts';
import { checkpoint, currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { allTasks, createTask, currentTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from './support.ts';

async function later<T>(ms: number, value: T): Promise<T> {
  await sleep(ms);
  return value;
}

describe('gather', () => {
  runTest('gives results in the order of the sources, not of completion', async () => {
    expect(await gather(later(4, 'a'), later(1, 'b'))).toEqual(['a', 'b']);
  });

  runTest('takes functions, tasks, futures and promises, as arguments or as a list', async () => {
    const future = new Future<number>();
    future.loop.callSoon(() => future.setResult(3));
    const task = createTask(async () => 2);
    expect(await gather(async () => 1, task, future, Promise.resolve(4))).toEqual([1, 2, 3, 4]);
    expect(await gather(new Set([() => 5, () => 6]))).toEqual([5, 6]);
  });

  virtualTest('runs its sources at the same time', async () => {
    const start = currentTime();
    await gather(later(1000, 0), () => later(2000, 0));
    expect(currentTime() - start).toBe(2000);
  });

  runTest('of nothing is an empty list', async () => {
    expect(await gather()).toEqual([]);
    expect(await gather([])).toEqual([]);
  });

  runTest('rejects with the first error; the others go on', async () => {
    let other = false;
    const slow = createTask(async () => {
      await sleep(3);
      other = true;
    });
    const error = await failure(gather(slow, () => Promise.reject(new RangeError('first'))));
    expect([error.message, other]).toEqual(['first', false]);
    await slow;
    expect(other).toBe(true);
  });

  runTest('takes the errors of the others, too', async () => {
    const reports: unknown[] = [];
    getRunningLoop().setExceptionHandler((_loop, context) => reports.push(context));
    await failure(
      gather(
        () => later(1, 0).then(() => Promise.reject(new Error('second'))),
        () => Promise.reject(new Error('first')),
      ),
    );
    await sleep(3);
    expect(reports).toEqual([]);
  });

  runTest('gives errors as results with returnExceptions', async () => {
    const results = await gather([() => 1, () => Promise.reject(new RangeError('x'))], {
      returnExceptions: true,
    });
    expect(results[0]).toBe(1);
    expect(results[1]).toBeInstanceOf(RangeError);
  });

  runTest('gives the cancellation of one source as its error', async () => {
    const task = createTask(() => sleepForever());
    const gathering = failure(gather(task, () => sleep(2)));
    await checkpoint();
    task.cancel();
    expect(await gathering).toBeInstanceOf(CancelledError);
    await sleep(3);
  });

  runTest('cancels all when its caller is cancelled, and waits for their end', async () => {
    const ended: string[] = [];
    const child = async (name: string): Promise<void> => {
      try {
        await sleepForever();
      } finally {
        await sleep(1);
        ended.push(name);
      }
    };
    const task = createTask(() => gather([() => child('a'), () => child('b')]));
    await checkpoint();
    await checkpoint();
    task.cancel('caller');
    expect((await failure(task)).reason).toBe('caller');
    expect(ended).toEqual(['a', 'b']);
  });

  runTest('throws a cancellation of its caller also with returnExceptions', async () => {
    const sources = [() => sleepForever()];
    const task = createTask(() => gather(sources, { returnExceptions: true }));
    await checkpoint();
    await checkpoint();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
  });

  runTest('of running promises is cancelled through their waits', async () => {
    const outcomes: string[] = [];
    const work = async (name: string): Promise<void> => {
      await sleepForever().catch((error: Error) => {
        outcomes.push(`${name} ${error.name}`);
        throw error;
      });
    };
    const task = createTask(() => gather(work('a'), work('b')));
    await checkpoint();
    task.cancel();
    await task.wait();
    expect(outcomes).toEqual(['a CancelledError', 'b CancelledError']);
  });

  runTest('has at most limit sources in work', async () => {
    let running = 0;
    let most = 0;
    const work = async (i: number): Promise<number> => {
      most = Math.max(most, ++running);
      await sleep(1);
      running--;
      return i;
    };
    const sources = [0, 1, 2, 3, 4, 5, 6].map((i) => () => work(i));
    expect(await gather(sources, { limit: 3 })).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(most).toBe(3);
  });

  runTest('with a limit begins all in the context of its caller', async () => {
    const name = new ContextVar('name', { defaultValue: 'none' });
    const main = currentTask();
    const work = (i: number) => async (): Promise<unknown[]> => {
      const seen = [name.get(), currentTask()?.parent === main];
      name.set(`set by ${i}`);
      await checkpoint();
      return seen;
    };
    name.set('of the caller');
    const seen = await gather([work(0), work(1), work(2)], { limit: 1 });
    expect(seen).toEqual(new Array(3).fill(['of the caller', true]));
  });

  runTest('with a limit begins no more after an error', async () => {
    let begun = 0;
    const bad = async (): Promise<void> => {
      begun++;
      await checkpoint();
      throw new RangeError();
    };
    expect(await failure(gather([bad, bad, bad, bad], { limit: 1 }))).toBeInstanceOf(RangeError);
    await checkpoint();
    expect(begun).toBe(1);
  });

  runTest('with a limit refuses promises, and limits below one', async () => {
    expect(await failure(gather([Promise.resolve()], { limit: 1 }))).toBeInstanceOf(TypeError);
    expect(await failure(gather([() => 1], { limit: 0 }))).toBeInstanceOf(RangeError);
  });

  runTest('refuses what is no source', async () => {
    expect(await failure(gather(5 as never))).toBeInstanceOf(TypeError);
  });

  runTest('in a cancelled scope cancels its sources', async () => {
    const task = createTask(() => sleepForever());
    await checkpoint();
    await new CancelScope().run(async (scope) => {
      scope.cancel();
      await gather(task);
    });
    await task.wait();
    expect(task.cancelled).toBe(true);
  });

  runTest('in a task or scope that is cancelled waits for the end of its sources', async () => {
    for (const cancel of [() => currentTask()?.cancel(), (scope: CancelScope) => scope.cancel()]) {
      let cleaned = false;
      const task = createTask(async () => {
        try {
          await sleepForever();
        } finally {
          await shielded(() => sleep(2));
          cleaned = true;
        }
      });
      await checkpoint();
      const seen = await createTask(() =>
        new CancelScope().run(async (scope) => {
          cancel(scope);
          await failure(gather(task));
          return cleaned;
        }),
      );
      expect(seen).toBe(true);
    }
  });

  runTest('of the same task twice gives its result twice', async () => {
    const task = createTask(async () => 7);
    expect(await gather(task, task)).toEqual([7, 7]);
  });
});

describe('wait', () => {
  runTest('waits for all', async () => {
    const tasks = [createTask(later, 1, 'a'), createTask(later, 2, 'b')];
    const { done, pending } = await wait(tasks);
    expect([done.size, pending.size]).toEqual([2, 0]);
  });

  runTest('stops at the first that is done', async () => {
    const fast = createTask(later, 1, 'fast');
    const slow = createTask(() => sleepForever());
    const { done, pending } = await wait<unknown>([slow, fast], { until: 'first' });
    expect([[...done], [...pending]]).toEqual([[fast], [slow]]);
    await slow.cancelAndWait();
  });

  runTest('stops at the first error, which it does not throw', async () => {
    const good = createTask(async () => 1);
    const bad = createTask(async () => {
      await sleep(1);
      throw new RangeError();
    });
    const slow = createTask(() => sleepForever());
    const { done } = await wait<unknown>([good, bad, slow], { until: 'first-error' });
    expect([...done]).toEqual([good, bad]);
    expect(bad.exception()).toBeInstanceOf(RangeError);
    await slow.cancelAndWait();
  });

  runTest('ends at its timeout without an error and cancels nothing', async () => {
    const slow = createTask(() => sleepForever());
    const { pending } = await wait([slow], { timeoutMs: 1 });
    expect([pending.has(slow), slow.cancelling]).toEqual([true, 0]);
    await slow.cancelAndWait();
  });

  runTest('leaves the tasks alone when it is cancelled', async () => {
    const slow = createTask(later, 3, 'whole');
    const waiter = createTask(() => wait([slow], { timeoutMs: never }));
    await checkpoint();
    await waiter.cancelAndWait();
    expect(await slow).toBe('whole');
  });

  runTest('refuses functions, promises and unknown words', async () => {
    expect(await failure(wait([async () => {}] as never))).toBeInstanceOf(TypeError);
    expect(await failure(wait([], { until: 'some' as never }))).toBeInstanceOf(TypeError);
  });
});

describe('asCompleted', () => {
  runTest('gives results as they come', async () => {
    const seen: string[] = [];
    const sources = [later(6, 'c'), later(2, 'a'), later(4, 'b')];
    for await (const result of asCompleted(sources)) seen.push(result);
    expect(seen).toEqual(['a', 'b', 'c']);
  });

  runTest('throws the error of a source at its place and can be continued', async () => {
    const results = asCompleted<unknown>([
      () => Promise.reject(new RangeError()),
      () => later(1, 'after'),
    ])[Symbol.asyncIterator]();
    expect(await failure(results.next())).toBeInstanceOf(RangeError);
    expect(await results.next()).toEqual({ value: 'after', done: false });
    expect((await results.next()).done).toBe(true);
  });

  runTest('throws TimeoutError when its time has passed', async () => {
    const slow = createTask(() => sleepForever());
    const error = await failure(async () => {
      for await (const _ of asCompleted([slow], { timeoutMs: 1 }));
    });
    expect(error).toBeInstanceOf(TimeoutError);
    await slow.cancelAndWait();
  });

  runTest('may be left early, and the sources go on', async () => {
    const slow = createTask(later, 3, 'whole');
    for await (const _ of asCompleted<unknown>([() => 1, slow], { timeoutMs: never })) break;
    expect(await slow).toBe('whole');
  });
});

describe('shield', () => {
  runTest('gives the result of the work', async () => {
    expect(await shield(() => later(1, 'x'))).toBe('x');
  });

  runTest('keeps a cancellation of the caller from the work', async () => {
    const work = createTask(later, 3, 'whole');
    const caller = createTask(async () => await shield(work));
    await checkpoint();
    caller.cancel();
    expect(await failure(caller)).toBeInstanceOf(CancelledError);
    expect(await work).toBe('whole');
  });

  runTest('passes on an error and a cancellation of the work', async () => {
    expect(await failure(shield(() => Promise.reject(new RangeError())))).toBeInstanceOf(
      RangeError,
    );
    const work = createTask(() => sleepForever());
    const shielding = failure(shield(work));
    await checkpoint();
    work.cancel();
    expect(await shielding).toBeInstanceOf(CancelledError);
  });

  runTest('reports an error that comes when nobody waits any more', async () => {
    const reports: string[] = [];
    const loop = getRunningLoop();
    loop.setExceptionHandler((_loop, context) => reports.push(context.message));
    const work = createTask({ name: 'work' }, async () => {
      await sleep(1);
      throw new RangeError();
    });
    const outer = shield(work);
    outer.cancel();
    while (!work.done) await sleep(1);
    const { reportFailures } = await import('../../lib/task/failures.ts');
    reportFailures(loop);
    expect(reports).toEqual(["Task 'work' failed and nobody took its error"]);
  });
});

describe('race', () => {
  runTest('gives the first result, after the others have ended', async () => {
    let cleaned = false;
    const slow = async (): Promise<string> => {
      try {
        return await sleepForever();
      } finally {
        await sleep(1);
        cleaned = true;
      }
    };
    expect(await race(slow, () => later(1, 'fast'))).toBe('fast');
    expect(cleaned).toBe(true);
  });

  runTest('throws the first error', async () => {
    const error = await failure(
      race(
        () => sleepForever(),
        () => Promise.reject(new RangeError()),
      ),
    );
    expect(error).toBeInstanceOf(RangeError);
  });

  runTest('cancels all when its caller is cancelled', async () => {
    const task = createTask(() =>
      race(
        () => sleepForever(),
        () => sleepForever(),
      ),
    );
    await checkpoint();
    await checkpoint();
    await task.cancelAndWait();
    expect([...allTasks()]).toEqual([currentTask()]);
  });

  runTest('of nothing is a TypeError', async () => {
    expect(await failure(race())).toBeInstanceOf(TypeError);
  });
});

describe('map', () => {
  async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
    const found: T[] = [];
    for await (const item of items) found.push(item);
    return found;
  }

  runTest('gives results in input order', async () => {
    expect(await collect(map([3, 1, 2], (ms) => later(ms, ms)))).toEqual([3, 1, 2]);
  });

  runTest('gives results as they come when not ordered', async () => {
    const results = map([8, 1, 4], (ms) => later(ms, ms), { ordered: false });
    expect(await collect(results)).toEqual([1, 4, 8]);
  });

  // covers: seeds/C8
  runTest('has at most limit items in work, also of an endless source', async () => {
    let running = 0;
    let most = 0;
    async function* numbers(): AsyncGenerator<number> {
      for (let i = 0; ; i++) yield i;
    }
    const seen: number[] = [];
    const work = async (i: number, index: number): Promise<number> => {
      most = Math.max(most, ++running);
      await sleep(0);
      running--;
      return i + index;
    };
    for await (const n of map(numbers(), work, { limit: 2 })) {
      seen.push(n);
      if (seen.length === 5) break;
    }
    expect([seen, most]).toEqual([[0, 2, 4, 6, 8], 2]);
    expect([...allTasks()]).toEqual([currentTask()]);
  });

  runTest('throws an error of fn at its place and ends the rest', async () => {
    const seen: number[] = [];
    const error = await failure(async () => {
      const work = async (i: number): Promise<number> => {
        if (i === 2) throw new RangeError();
        return i;
      };
      for await (const n of map([0, 1, 2, 3], work, { limit: 1 })) seen.push(n);
    });
    expect([seen, error.name]).toEqual([[0, 1], 'RangeError']);
  });

  runTest('throws an error of the source', async () => {
    async function* bad(): AsyncGenerator<number> {
      yield 1;
      throw new RangeError('source');
    }
    expect((await failure(collect(map(bad(), async (i) => i)))).message).toBe('source');
  });

  runTest('is cancelled with its caller', async () => {
    const task = createTask(() => collect(map([1, 2], () => sleepForever())));
    await sleep(1);
    await task.cancelAndWait();
    expect([...allTasks()]).toEqual([currentTask()]);
  });
});

// covers: asyncio/ensure-future
describe('ensureFuture', () => {
  runTest('returns a future as it is and makes tasks and futures of the rest', async () => {
    const future = new Future<void>();
    expect(ensureFuture(future)).toBe(future);
    future.setResult();
    expect(await ensureFuture(async () => 1)).toBe(1);
    expect(await ensureFuture(Promise.resolve(2))).toBe(2);
    expect(await failure(ensureFuture(Promise.reject(new RangeError())))).toBeInstanceOf(
      RangeError,
    );
  });
});
