import { describe, expect, test } from 'vitest';
import { CancelledError, WouldBlock } from '../../lib/base/errors.ts';
import { Semaphore } from '../../lib/sync/semaphore.ts';
import { gather } from '../../lib/task/combinators.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { moveOnAfter, timeout } from '../../lib/task/scope.ts';
import { checkpoint, currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask, type Task } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from '../task/support.ts';
import { held, hold, idle } from './lock-support.ts';

/** Tasks that acquire, log their number and end without releasing. */
function acquirers(semaphore: Semaphore, log: number[], numbers: number[]): Task<void>[] {
  return numbers.map((number) =>
    createTask(async () => {
      await semaphore.acquire();
      log.push(number);
    }),
  );
}

async function cancelAll(tasks: Task[]): Promise<void> {
  for (const task of tasks) await task.cancelAndWait();
}

// covers: asyncio/lock, seeds/C6
describe('Semaphore, as asyncio has it:', () => {
  runTest('of value 0 it has nothing to give', async () => {
    expect(() => new Semaphore(0).acquireNowait()).toThrow(WouldBlock);
  });

  runTest('has the value 1 by default', async () => {
    expect([new Semaphore().value, new Semaphore().max]).toEqual([1, Infinity]);
  });

  runTest('of a negative value is an error', async () => {
    expect(() => new Semaphore(-1)).toThrow(RangeError);
  });

  runTest('gives its permits, then those that come back, in order', async () => {
    const semaphore = new Semaphore(3);
    const log: number[] = [];
    await semaphore.acquire();
    await semaphore.acquire();
    expect(semaphore.value).toBe(1);
    const tasks = acquirers(semaphore, log, [1, 2, 3]);
    await idle();
    expect([log, semaphore.value]).toEqual([[1], 0]);
    tasks.push(...acquirers(semaphore, log, [4]));
    semaphore.release();
    semaphore.release();
    expect(semaphore.value).toBe(0);
    await idle();
    expect([log, semaphore.value]).toEqual([[1, 2, 3], 0]);
    semaphore.release();
    await gather(tasks);
    expect(log).toEqual([1, 2, 3, 4]);
  });

  runTest('a cancelled acquire leaves nothing behind', async () => {
    const semaphore = new Semaphore();
    await semaphore.acquire();
    const task = createTask(() => semaphore.acquire());
    getRunningLoop().callSoon(() => task.cancel());
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    semaphore.release();
    expect(semaphore.value).toBe(1);
  });

  runTest('a release passes over waits that were cancelled before', async () => {
    const semaphore = new Semaphore(0);
    const log: number[] = [];
    const tasks = acquirers(semaphore, log, [1, 2, 3, 4]);
    await idle();
    tasks[0]?.cancel();
    tasks[1]?.cancel();
    semaphore.release();
    await idle();
    expect([log, tasks[3]?.done]).toEqual([[3], false]);
    await cancelAll(tasks);
  });

  runTest(
    'a wait that is cancelled in the step of a release does not keep the permit',
    async () => {
      const semaphore = new Semaphore(0);
      const log: number[] = [];
      const tasks = acquirers(semaphore, log, [1, 2]);
      await idle();
      tasks[0]?.cancel();
      semaphore.release();
      await idle();
      expect([log, semaphore.value]).toEqual([[2], 0]);
    },
  );

  virtualTest('a permit that was handed to a task cancelled afterwards comes back', async () => {
    const semaphore = new Semaphore(1);
    const second = createTask(() => semaphore.with(() => sleep(never)));
    const first = createTask({ eagerStart: true }, async () => {
      await semaphore.with(checkpoint);
      second.cancel();
    });
    await first;
    await second.wait();
    expect([second.cancelled, semaphore.value]).toEqual([true, 1]);
    await timeout(1000, () => semaphore.acquire());
  });

  runTest('a bounded one cannot be released before it was acquired', async () => {
    expect(() => new Semaphore(1, { max: 1 }).release()).toThrow(RangeError);
  });

  runTest('release() without waiting tasks counts up', async () => {
    const semaphore = new Semaphore();
    await semaphore.acquire();
    expect(semaphore.value).toBe(0);
    semaphore.release();
    expect(semaphore.value).toBe(1);
  });

  virtualTest('tasks that come again queue behind the others', async () => {
    const semaphore = new Semaphore(1);
    const log: string[] = [];
    const worker = async (name: string): Promise<void> => {
      for (const round of [1, 2]) {
        await semaphore.acquire();
        log.push(`${name}${round}`);
        await sleep(10);
        semaphore.release();
      }
    };
    await taskGroup((group) => {
      for (const name of ['a', 'b', 'c']) group.createTask(worker, name);
    });
    expect(log).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'c2']);
  });

  runTest('a task that releases and acquires again does not overtake', async () => {
    const semaphore = new Semaphore(1);
    const log: number[] = [];
    const tasks = acquirers(semaphore, log, [1]);
    tasks.push(
      createTask(async () => {
        await semaphore.acquire();
        log.push(2);
        semaphore.release();
        await semaphore.acquire();
        log.push(4);
      }),
    );
    tasks.push(...acquirers(semaphore, log, [3]));
    await idle();
    semaphore.release();
    semaphore.release();
    await gather(tasks);
    expect(log).toEqual([1, 2, 3, 4]);
  });

  runTest('two releases after a cancellation wake the two that are left', async () => {
    const semaphore = new Semaphore(0);
    const log: number[] = [];
    const tasks = acquirers(semaphore, log, [1, 2, 3]);
    await idle();
    tasks[0]?.cancel();
    await idle();
    semaphore.release();
    semaphore.release();
    await gather(tasks, { returnExceptions: true });
    expect(log).toEqual([2, 3]);
  });

  runTest('several releases at once wake as many, before what these start', async () => {
    const semaphore = new Semaphore(0);
    const log: number[] = [];
    const tasks: Task<void>[] = [];
    tasks.push(
      createTask(async () => {
        await semaphore.acquire();
        tasks.push(createTask(async () => void log.push(4)));
        log.push(1);
      }),
    );
    tasks.push(
      createTask(async () => {
        for (let i = 0; i < 3; i++) semaphore.release();
        await semaphore.acquire();
        log.push(2);
      }),
    );
    tasks.push(...acquirers(semaphore, log, [3]));
    await idle();
    await gather(tasks);
    expect([log, semaphore.value]).toEqual([[1, 2, 3, 4], 0]);
  });
});

// covers: trio/event
describe('Semaphore, as trio has it:', () => {
  runTest('its value is a whole number', async () => {
    expect(() => new Semaphore(1.5)).toThrow(RangeError);
    expect(() => new Semaphore('1' as never)).toThrow(TypeError);
  });

  runTest('its maximum is a whole number, not below its value', async () => {
    expect(() => new Semaphore(1, { max: 1.5 })).toThrow(RangeError);
    expect(() => new Semaphore(1, { max: '2' as never })).toThrow(TypeError);
    expect(() => new Semaphore(2, { max: 1 })).toThrow(RangeError);
  });

  runTest('without a maximum it counts above its first value', async () => {
    const semaphore = new Semaphore(1);
    semaphore.release();
    expect(semaphore.value).toBe(2);
    semaphore.acquireNowait();
    await semaphore.acquire();
    expect(semaphore.value).toBe(0);
    expect(() => semaphore.acquireNowait()).toThrow(WouldBlock);
  });

  runTest('a block takes a permit and gives it back', async () => {
    const semaphore = new Semaphore(1);
    {
      using _ = await semaphore.acquire();
      expect(semaphore.value).toBe(0);
    }
    expect(semaphore.value).toBe(1);
  });

  runTest('a release goes straight to who waits: nobody overtakes', async () => {
    const semaphore = new Semaphore(0);
    const log: number[] = [];
    acquirers(semaphore, log, [1]);
    await idle();
    semaphore.release();
    expect(semaphore.value).toBe(0);
    expect(() => semaphore.acquireNowait()).toThrow(WouldBlock);
    await idle();
    expect(log).toEqual([1]);
  });

  runTest('a bounded one can be released as often as it was acquired', async () => {
    const semaphore = new Semaphore(1, { max: 1 });
    expect(semaphore.max).toBe(1);
    expect(() => semaphore.release()).toThrow(/released too often/);
    expect(semaphore.value).toBe(1);
    semaphore.acquireNowait();
    semaphore.release();
    expect(semaphore.value).toBe(1);
  });
});

// covers: curio/lock, seeds/C39
describe('Semaphore, as curio has it:', () => {
  for (const [permits, ends] of [
    [1, [250, 550, 900]],
    [2, [250, 300, 600]],
  ] as const) {
    virtualTest(`${permits} of three workers are inside at once`, async () => {
      const semaphore = new Semaphore(permits);
      let inside = 0;
      let most = 0;
      const worker = async (ms: number): Promise<number> => {
        await semaphore.with(async () => {
          most = Math.max(most, ++inside);
          await sleep(ms);
          inside--;
        });
        return currentTime();
      };
      const tasks = [250, 300, 350].map((ms) => createTask(worker, ms));
      expect(await gather(tasks)).toEqual(ends);
      expect([most, semaphore.value]).toEqual([permits, permits]);
    });
  }

  virtualTest('cancelAndWait() ends an acquire', async () => {
    const semaphore = new Semaphore();
    await semaphore.with(async () => {
      const holder = hold(semaphore);
      await sleep(1000);
      await holder.task.cancelAndWait();
      expect(holder.task.cancelled).toBe(true);
    });
    expect(semaphore.value).toBe(1);
  });

  virtualTest('a time limit ends an acquire', async () => {
    const semaphore = new Semaphore();
    const holder = await held(semaphore);
    const error = await failure(timeout(500, () => semaphore.acquire()));
    expect([error.name, currentTime()]).toEqual(['TimeoutError', 500]);
    holder.leave();
    await holder.task;
    expect(semaphore.value).toBe(1);
  });

  runTest('a bounded one refuses a release too many', async () => {
    expect(() => new Semaphore(3, { max: 3 }).release()).toThrow(RangeError);
  });
});

// covers: seeds/C39
describe('a Semaphore', () => {
  virtualTest('limits hundreds of tasks, in order', async () => {
    const semaphore = new Semaphore(10);
    let inside = 0;
    let most = 0;
    const begun: number[] = [];
    await taskGroup((group) => {
      for (let i = 0; i < 500; i++) {
        group.createTask(() =>
          semaphore.with(async () => {
            begun.push(i);
            most = Math.max(most, ++inside);
            await sleep(10);
            inside--;
          }),
        );
      }
    });
    expect([most, semaphore.value, currentTime()]).toEqual([10, 10, 500]);
    expect(begun).toEqual(Array.from({ length: 500 }, (_, i) => i));
  });

  runTest('gives back a permit once, however often it is disposed', async () => {
    const semaphore = new Semaphore(2);
    const permit = await semaphore.acquire();
    permit[Symbol.dispose]();
    permit[Symbol.dispose]();
    expect(semaphore.value).toBe(2);
  });

  runTest('that was released beside a disposal tells, when it is bounded', async () => {
    const semaphore = new Semaphore(1, { max: 1 });
    const permit = await semaphore.acquire();
    semaphore.release();
    expect(() => permit[Symbol.dispose]()).toThrow(RangeError);
    expect(semaphore.value).toBe(1);
  });

  runTest('of a maximum of 0 can never be released', async () => {
    expect(() => new Semaphore(0, { max: 0 }).release()).toThrow(RangeError);
  });

  runTest('delivers a pending cancellation, and keeps its permit', async () => {
    const semaphore = new Semaphore(1);
    await moveOnAfter(never, async (scope) => {
      scope.cancel();
      expect(await failure(semaphore.acquire())).toBeInstanceOf(CancelledError);
      expect(await failure(semaphore.with(() => {}))).toBeInstanceOf(CancelledError);
    });
    expect(semaphore.value).toBe(1);
  });

  runTest('with() gives the permit back when the function throws', async () => {
    const semaphore = new Semaphore(1);
    const broken = semaphore.with(() => {
      throw new RangeError('mine');
    });
    expect((await failure(broken)).message).toBe('mine');
    expect(semaphore.value).toBe(1);
  });

  test('works outside of tasks', async () => {
    const semaphore = new Semaphore(2);
    let inside = 0;
    let most = 0;
    const work = (): Promise<void> =>
      semaphore.with(async () => {
        most = Math.max(most, ++inside);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
      });
    await Promise.all([1, 2, 3, 4, 5].map(work));
    expect([most, semaphore.value]).toEqual([2, 2]);
  });
});
