import { describe, expect, test } from 'vitest';
import { BrokenBarrierError, CancelledError } from '../../lib/base/errors.ts';
import { Barrier } from '../../lib/sync/barrier.ts';
import { gather } from '../../lib/task/combinators.ts';
import { moveOnAfter, timeout } from '../../lib/task/scope.ts';
import { createTask, type Task } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from '../task/support.ts';
import { idle } from './lock-support.ts';

const parties = 5;
const all = [0, 1, 2, 3, 4];

function tasksOf<T>(count: number, fn: (i: number) => Promise<T>): Task<T>[] {
  return Array.from({ length: count }, (_, i) => createTask(fn, i));
}

function together<T>(fn: (i: number) => Promise<T>): Promise<T[]> {
  return gather(tasksOf(parties, fn)) as Promise<T[]>;
}

/** Whether the wait was broken. */
async function broken(wait: Promise<unknown>): Promise<boolean> {
  try {
    await wait;
    return false;
  } catch (error) {
    if (!(error instanceof BrokenBarrierError)) throw error;
    return true;
  }
}

function expectEmpty(barrier: Barrier, isBroken = false): void {
  expect([barrier.waiting, barrier.broken]).toEqual([0, isBroken]);
}

// covers: asyncio/lock, seeds/C6
describe('Barrier, as asyncio has it:', () => {
  runTest('it is for one party or more', async () => {
    expect(() => new Barrier(0)).toThrow(RangeError);
    expect(() => new Barrier(-4)).toThrow(RangeError);
    expect(new Barrier(parties).parties).toBe(parties);
  });

  runTest('a new one is empty', async () => {
    expectEmpty(new Barrier(parties));
  });

  runTest('each task gets an index of its own, in order of arrival', async () => {
    const barrier = new Barrier(parties);
    expect(await together(() => barrier.wait())).toEqual(all);
    expectEmpty(barrier);
  });

  runTest('a single party passes at once', async () => {
    const barrier = new Barrier(1);
    expect(await barrier.wait()).toBe(0);
    expectEmpty(barrier);
  });

  runTest('and again, as often as it comes', async () => {
    const barrier = new Barrier(1);
    expect([await barrier.wait(), await barrier.wait()]).toEqual([0, 0]);
    expectEmpty(barrier);
  });

  runTest('it fills task by task', async () => {
    const barrier = new Barrier(3);
    const tasks: Task<number>[] = [];
    for (const waiting of [1, 2]) {
      tasks.push(createTask(() => barrier.wait()));
      await idle();
      expect([barrier.waiting, tasks[0]?.done]).toEqual([waiting, false]);
    }
    tasks.push(createTask(() => barrier.wait()));
    expect(await gather(tasks)).toEqual([0, 1, 2]);
    expectEmpty(barrier);
  });

  runTest('tasks can wait twice, and pass the second time only when all have again', async () => {
    const barrier = new Barrier(parties);
    const log: number[] = [];
    await together(async () => {
      await barrier.wait();
      log.push(1);
      await barrier.wait();
      log.push(2);
    });
    expect(log).toEqual([1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
    expectEmpty(barrier);
  });

  runTest('indexes are given anew in each round', async () => {
    const barrier = new Barrier(parties);
    const indexes = await together(async () => {
      await barrier.wait();
      return await barrier.wait();
    });
    expect([...indexes].sort()).toEqual(all);
  });

  runTest('tasks that come while others leave fill the next round', async () => {
    const barrier = new Barrier(parties);
    const rest = new Barrier(parties - 2);
    let again = 2;
    await together(async () => {
      await barrier.wait();
      if (again > 0) again--;
      else await rest.wait();
      await barrier.wait();
    });
    expectEmpty(barrier);
    expectEmpty(rest);
  });

  runTest('one that leaves does not see the barrier drain: it can be filled at once', async () => {
    const barrier = new Barrier(2);
    const seen: number[] = [];
    const leave = async (): Promise<void> => {
      await barrier.wait();
      seen.push(barrier.waiting);
      await barrier.wait();
    };
    await gather(leave, leave);
    expect(seen).toEqual([0, 1]);
  });

  runTest('a cancelled task is not counted, and the others wait for one more', async () => {
    const barrier = new Barrier(3);
    const [first, second] = tasksOf(2, () => barrier.wait());
    await idle();
    expect(barrier.waiting).toBe(2);
    first?.cancel();
    expect(barrier.waiting).toBe(1);
    expect(await failure(first as Task<number>)).toBeInstanceOf(CancelledError);
    const third = createTask(() => barrier.wait());
    await idle();
    expect([barrier.waiting, second?.done]).toEqual([2, false]);
    const fourth = createTask(() => barrier.wait());
    expect(await gather([second as Task<number>, third, fourth])).toEqual([0, 1, 2]);
    expectEmpty(barrier);
  });

  runTest('reset() of an empty one changes nothing', async () => {
    const barrier = new Barrier(1);
    barrier.reset();
    expectEmpty(barrier);
    expect(await barrier.wait()).toBe(0);
  });

  runTest('reset() breaks the waits, and not the barrier', async () => {
    const barrier = new Barrier(parties);
    const tasks = tasksOf(parties - 1, () => broken(barrier.wait()));
    await idle();
    barrier.reset();
    expect(await gather(tasks)).toEqual([true, true, true, true]);
    expectEmpty(barrier);
  });

  runTest('reset() comes too late for those that were let through', async () => {
    const barrier = new Barrier(parties);
    const outcomes = await together(async (i) => {
      const wasBroken = await broken(barrier.wait());
      if (i === 2) barrier.reset();
      return wasBroken;
    });
    expect(outcomes).toEqual([false, false, false, false, false]);
    expectEmpty(barrier);
  });

  runTest('reset() breaks those that wait again, not those that are still leaving', async () => {
    const barrier = new Barrier(parties);
    const log: string[] = [];
    const tasks = tasksOf(parties, async (i) => {
      await barrier.wait();
      if (i === 2) barrier.reset();
      else if (i < 2) log.push(`${i} ${await broken(barrier.wait())}`);
      else log.push(`${i} passed`);
    });
    await gather(tasks);
    expect(log).toEqual(['3 passed', '4 passed', '0 true', '1 true']);
    expectEmpty(barrier);
  });

  runTest('after reset() those that were broken can wait again', async () => {
    const barrier = new Barrier(parties);
    const tasks = tasksOf(parties - 1, async () => {
      expect(await broken(barrier.wait())).toBe(true);
      return await barrier.wait();
    });
    await idle();
    barrier.reset();
    await idle();
    expect(barrier.waiting).toBe(parties - 1);
    expect(await barrier.wait()).toBe(parties - 1);
    expect(await gather(tasks)).toEqual([0, 1, 2, 3]);
    expectEmpty(barrier);
  });

  runTest('reset() by the last one to leave breaks those that came back before', async () => {
    const barrier = new Barrier(parties);
    const log: boolean[] = [];
    let left = 0;
    await together(async () => {
      await barrier.wait();
      if (++left === parties) barrier.reset();
      else log.push(await broken(barrier.wait()));
      await barrier.wait();
    });
    expect(log).toEqual([true, true, true, true]);
    expectEmpty(barrier);
  });

  runTest('abort() breaks an empty one', async () => {
    const barrier = new Barrier(1);
    barrier.abort();
    expectEmpty(barrier, true);
    expect(await failure(barrier.wait())).toBeInstanceOf(BrokenBarrierError);
  });

  runTest('abort() breaks those that wait again, and comes too late for the others', async () => {
    const barrier = new Barrier(parties);
    const again: boolean[] = [];
    const outcomes = await together(async (i) => {
      const wasBroken = await broken(barrier.wait());
      if (i === 2) barrier.abort();
      else if (i < 2) again.push(await broken(barrier.wait()));
      return wasBroken;
    });
    expect([outcomes.includes(true), again]).toEqual([false, [true, true]]);
    expectEmpty(barrier, true);
  });

  runTest('a task that fails between two waits can abort the second one for all', async () => {
    const barrier = new Barrier(parties);
    let second = 0;
    let brokenOnes = 0;
    await together(async () => {
      const index = await barrier.wait();
      if (index === 2) barrier.abort();
      else if (await broken(barrier.wait())) brokenOnes++;
      else second++;
    });
    expect([second, brokenOnes]).toEqual([0, parties - 1]);
    expectEmpty(barrier, true);
  });

  runTest('a barrier that was aborted works again after reset()', async () => {
    const barrier = new Barrier(parties);
    const meeting = new Barrier(parties);
    let brokenOnes = 0;
    const indexes = await together(async () => {
      const index = await barrier.wait();
      if (index === 2) barrier.abort();
      else if (await broken(barrier.wait())) brokenOnes++;
      if ((await meeting.wait()) === 2) barrier.reset();
      await meeting.wait();
      return await barrier.wait();
    });
    expect([brokenOnes, [...indexes].sort()]).toEqual([parties - 1, all]);
    expectEmpty(barrier);
  });
});

describe('a Barrier', () => {
  runTest('lets nobody through by a wait that was refused', async () => {
    const barrier = new Barrier(2);
    const first = createTask(() => barrier.wait());
    await idle();
    await moveOnAfter(never, async (scope) => {
      scope.cancel();
      await barrier.wait();
    });
    expect([barrier.waiting, first.done]).toEqual([1, false]);
    expect(await failure(barrier.wait({ signal: AbortSignal.abort('no') }))).toBe('no');
    expect(await barrier.wait()).toBe(1);
    expect(await first).toBe(0);
  });

  runTest('has let a task through that is cancelled afterwards in the same step', async () => {
    const barrier = new Barrier(2);
    let index = -1;
    const task = createTask(async () => {
      index = await barrier.wait();
    });
    await idle();
    const last = barrier.wait();
    task.cancel();
    await task;
    expect([await last, index]).toEqual([1, 0]);
  });

  runTest('is not broken by a signal', async () => {
    const barrier = new Barrier(2);
    const controller = new AbortController();
    const waiting = barrier.wait({ signal: controller.signal });
    controller.abort('enough');
    expect(await failure(waiting)).toBe('enough');
    expectEmpty(barrier);
  });

  virtualTest('is not broken by a time limit', async () => {
    const barrier = new Barrier(2);
    expect((await failure(timeout(10, () => barrier.wait()))).name).toBe('TimeoutError');
    expectEmpty(barrier);
  });

  runTest('that is broken delivers a cancellation first', async () => {
    const barrier = new Barrier(2);
    barrier.abort();
    await moveOnAfter(never, async (scope) => {
      scope.cancel();
      expect(await failure(barrier.wait())).toBeInstanceOf(CancelledError);
    });
  });

  runTest('says whether it was reset or aborted', async () => {
    const barrier = new Barrier(2);
    const messages: string[] = [];
    for (const end of ['reset', 'abort'] as const) {
      const waiting = barrier.wait();
      barrier[end]();
      messages.push((await failure(waiting)).message);
    }
    messages.push((await failure(barrier.wait())).message);
    expect(messages).toEqual([
      'The barrier was reset',
      'The barrier was aborted',
      'The barrier is broken',
    ]);
  });

  test('works outside of tasks', async () => {
    const barrier = new Barrier(3);
    const waits = [1, 2, 3].map(() => barrier.wait());
    expect(await Promise.all(waits)).toEqual([0, 1, 2]);
  });
});
