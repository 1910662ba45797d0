import { describe, expect, test } from 'vitest';
import { CancelledError, InvalidStateError, WouldBlock } from '../../lib/base/errors.ts';
import { Event } from '../../lib/sync/event.ts';
import { Lock } from '../../lib/sync/lock.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { moveOnAfter, timeout } from '../../lib/task/scope.ts';
import { checkpoint, sleep } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from '../task/support.ts';
import { held, hold, idle } from './lock-support.ts';

// covers: asyncio/lock, seeds/C6
describe('Lock, as asyncio has it:', () => {
  runTest('it is locked from acquire to release', async () => {
    const lock = new Lock();
    expect(lock.locked).toBe(false);
    await lock.acquire();
    expect(lock.locked).toBe(true);
    lock.release();
    expect(lock.locked).toBe(false);
  });

  runTest('a block holds it', async () => {
    const lock = new Lock();
    {
      using _ = await lock.acquire();
      expect(lock.locked).toBe(true);
    }
    expect(lock.locked).toBe(false);
  });

  runTest('with() holds it while the function runs, and gives its result', async () => {
    const lock = new Lock();
    const inside = await lock.with(async () => {
      await checkpoint();
      return lock.locked;
    });
    expect([inside, lock.locked]).toEqual([true, false]);
  });

  runTest('waiting tasks get it one by one, in order, and so does a latecomer', async () => {
    const lock = new Lock();
    const got: number[] = [];
    const first = await held(lock);
    const second = hold(lock, () => got.push(2));
    const third = hold(lock, () => got.push(3));
    await idle();
    expect(got).toEqual([]);
    first.leave();
    await idle();
    expect(got).toEqual([2]);
    const fourth = hold(lock, () => got.push(4));
    second.leave();
    await idle();
    expect(got).toEqual([2, 3]);
    third.leave();
    await idle();
    expect(got).toEqual([2, 3, 4]);
    fourth.leave();
  });

  runTest('a cancelled acquire leaves nothing behind', async () => {
    const lock = new Lock();
    await lock.acquire();
    const task = createTask(() => lock.acquire());
    getRunningLoop().callSoon(() => task.cancel());
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(lock.statistics()).toEqual({ owner: currentTask(), waiting: 0 });
    lock.release();
  });

  runTest('a release passes over a wait that was cancelled in the same step', async () => {
    const lock = new Lock();
    const a = await held(lock);
    const b = hold(lock);
    let gotC = false;
    const c = hold(lock, () => {
      gotC = true;
    });
    await idle();
    expect(lock.statistics().waiting).toBe(2);
    a.leave();
    b.task.cancel();
    await idle();
    expect([gotC, b.task.cancelled, a.task.done]).toEqual([true, true, true]);
    c.leave();
  });

  runTest('a cancellation and a release give the lock to one task, not to two', async () => {
    const lock = new Lock();
    let holders = 0;
    const acquire = (): Promise<void> =>
      lock.acquire().then(() => {
        holders++;
      });
    await lock.acquire();
    const tasks = [1, 2, 3].map(() => createTask(acquire));
    await idle();
    tasks[0]?.cancel();
    lock.release();
    await idle();
    expect(tasks.map((task) => task.done)).toEqual([true, true, false]);
    expect([holders, tasks[0]?.cancelled]).toEqual([1, true]);
    tasks[2]?.cancel();
    await tasks[2]?.wait();
  });

  runTest('a wait that was cancelled before the release does not swallow it', async () => {
    const lock = new Lock();
    await lock.acquire();
    const b = createTask(() => lock.acquire());
    await idle();
    const c = createTask(() => lock.acquire());
    b.cancel();
    lock.release();
    await c;
    expect([lock.locked, b.cancelled, lock.statistics().owner]).toEqual([true, true, c]);
  });

  runTest('release() of a free lock is an error', async () => {
    const error = await failure(() => new Lock().release());
    expect(error).toBeInstanceOf(InvalidStateError);
    expect(error.message).toBe('release() needs the lock, but nobody holds it');
  });

  runTest('release() without waiting tasks frees it', async () => {
    const lock = new Lock();
    lock.acquireNowait();
    lock.release();
    expect(lock.statistics()).toEqual({ owner: null, waiting: 0 });
  });
});

// covers: trio/event, trio/closedresourceerror
describe('Lock, as trio has it:', () => {
  runTest('acquireNowait() takes a free one', async () => {
    const lock = new Lock();
    lock.acquireNowait();
    expect(lock.locked).toBe(true);
    lock.release();
    expect(lock.locked).toBe(false);
  });

  runTest('acquireNowait() throws WouldBlock when another task holds it', async () => {
    const lock = new Lock();
    const holder = await held(lock);
    expect(await failure(() => lock.acquireNowait())).toBeInstanceOf(WouldBlock);
    holder.leave();
  });

  runTest('a lock that another task holds cannot be released', async () => {
    const lock = new Lock();
    const holder = await held(lock);
    const error = await failure(() => lock.release());
    expect(error).toBeInstanceOf(InvalidStateError);
    expect(error.message).toContain(`Task '${holder.task.name}' holds it`);
    expect(lock.statistics().owner).toBe(holder.task);
    holder.leave();
  });

  runTest('statistics() show the owner and how many wait, until all were cancelled', async () => {
    const lock = new Lock();
    const first = await held(lock);
    expect(lock.statistics()).toEqual({ owner: first.task, waiting: 0 });
    const second = await held(lock);
    expect(lock.statistics()).toEqual({ owner: first.task, waiting: 1 });
    for (const { task } of [first, second]) task.cancel();
    await idle();
    expect(lock.statistics()).toEqual({ owner: null, waiting: 0 });
  });

  runTest(
    'an acquire without a wait delivers a pending cancellation, and takes nothing',
    async () => {
      const lock = new Lock();
      await moveOnAfter(0, async (scope) => {
        scope.cancel();
        expect(await failure(lock.acquire())).toBeInstanceOf(CancelledError);
      });
      expect(lock.locked).toBe(false);
    },
  );
});

// covers: curio/lock
describe('Lock, as curio has it:', () => {
  virtualTest('three workers go through it in sequence', async () => {
    const lock = new Lock();
    const lines: string[] = [];
    const worker = async (name: string): Promise<void> => {
      lines.push(`${name} waits, locked ${lock.locked}`);
      await lock.with(async () => {
        lines.push(`${name} acquires`);
        await sleep(250);
      });
      lines.push(`${name} has released`);
    };
    const tasks = ['1', '2', '3'].map((name) => createTask(worker, name));
    for (const task of tasks) await task;
    expect(lines).toEqual([
      '1 waits, locked false',
      '2 waits, locked true',
      '3 waits, locked true',
      '1 acquires',
      '2 acquires',
      '1 has released',
      '3 acquires',
      '2 has released',
      '3 has released',
    ]);
  });

  virtualTest('cancelAndWait() ends an acquire', async () => {
    const lock = new Lock();
    await lock.with(async () => {
      const holder = hold(lock);
      await sleep(1000);
      await holder.task.cancelAndWait();
      expect(holder.task.cancelled).toBe(true);
    });
  });

  virtualTest('a time limit ends an acquire', async () => {
    const lock = new Lock();
    const holder = await held(lock);
    const error = await failure(timeout(500, () => lock.acquire()));
    expect([error.name, lock.statistics().waiting]).toEqual(['TimeoutError', 0]);
    holder.leave();
  });
});

describe('a hold', () => {
  runTest('releases once, even if the lock was acquired anew', async () => {
    const lock = new Lock();
    const hold1 = await lock.acquire();
    hold1[Symbol.dispose]();
    const hold2 = await lock.acquire();
    hold1[Symbol.dispose]();
    expect(lock.locked).toBe(true);
    hold2[Symbol.dispose]();
    expect(lock.locked).toBe(false);
  });

  runTest('has ended after release()', async () => {
    const lock = new Lock();
    const first = await lock.acquire();
    lock.release();
    const holder = await held(lock);
    first[Symbol.dispose]();
    expect(lock.statistics().owner).toBe(holder.task);
    holder.leave();
  });

  runTest('can be disposed in another task, and in a callback of the loop', async () => {
    const lock = new Lock();
    const passed = await lock.acquire();
    await createTask(() => passed[Symbol.dispose]());
    expect(lock.locked).toBe(false);
    const again = await lock.acquire();
    getRunningLoop().callSoon(() => again[Symbol.dispose]());
    await idle();
    expect(lock.locked).toBe(false);
  });

  runTest('of with() ends when the function throws', async () => {
    const lock = new Lock();
    const error = await failure(
      lock.with(() => {
        throw new RangeError('mine');
      }),
    );
    expect([error.message, lock.locked]).toEqual(['mine', false]);
  });

  runTest('of with() ends when the function is cancelled', async () => {
    const lock = new Lock();
    const task = createTask(() => lock.with(() => sleep(never)));
    await idle();
    expect(lock.locked).toBe(true);
    await task.cancelAndWait();
    expect(lock.locked).toBe(false);
  });

  runTest('of with() that was released by hand is not released again', async () => {
    const lock = new Lock();
    let next = hold(lock);
    next.leave();
    await lock.with(async () => {
      lock.release();
      next = await held(lock);
    });
    expect(lock.statistics().owner).toBe(next.task);
    next.leave();
  });
});

describe('a lock that is handed over', () => {
  runTest('in the same step before a cancellation is held, and with() releases it', async () => {
    const lock = new Lock();
    let ran = false;
    await lock.acquire();
    const task = createTask(() =>
      lock.with(async () => {
        ran = true;
        await checkpoint();
        ran = false;
      }),
    );
    await idle();
    lock.release();
    expect(lock.statistics().owner).toBe(task);
    task.cancel();
    await task.wait();
    expect([ran, task.cancelled, lock.locked]).toEqual([true, true, false]);
  });

  runTest('belongs to its new owner at once: nobody overtakes', async () => {
    const lock = new Lock();
    let got = false;
    await lock.acquire();
    const waiting = hold(lock, () => {
      got = true;
    });
    await idle();
    lock.release();
    expect(lock.statistics().owner).toBe(waiting.task);
    expect(() => lock.acquireNowait()).toThrow(WouldBlock);
    waiting.leave();
    await lock.acquire();
    expect(got).toBe(true);
    lock.release();
  });

  runTest('goes on to the next one when a whole group of waits is cancelled', async () => {
    const lock = new Lock();
    await lock.acquire();
    const survivor = createTask(() => lock.acquire());
    const started = new Event();
    const doomed = createTask(() =>
      taskGroup(async (group) => {
        for (let i = 0; i < 10; i++) group.createTask(() => lock.acquire());
        await idle();
        started.set();
      }),
    );
    const last = createTask(() => started.wait().then(() => lock.acquire()));
    await started.wait();
    await idle();
    expect(lock.statistics().waiting).toBe(12);
    await doomed.cancelAndWait();
    lock.release();
    await survivor;
    expect(lock.statistics()).toEqual({ owner: survivor, waiting: 1 });
    await last.cancelAndWait();
  });
});

describe('branches of one task', () => {
  runTest('exclude each other', async () => {
    const lock = new Lock();
    let inside = 0;
    let most = 0;
    const branch = (): Promise<void> =>
      lock.with(async () => {
        most = Math.max(most, ++inside);
        await checkpoint();
        inside--;
      });
    await Promise.all([branch(), branch(), branch()]);
    expect([most, lock.locked]).toEqual([1, false]);
  });
});

describe('outside of tasks', () => {
  test('a lock works, and its owner is shown as nobody', async () => {
    const lock = new Lock();
    const first = await lock.acquire();
    expect([lock.locked, lock.statistics()]).toEqual([true, { owner: null, waiting: 0 }]);
    const second = lock.acquire();
    expect(lock.statistics().waiting).toBe(1);
    first[Symbol.dispose]();
    await second;
    lock.release();
    expect(lock.locked).toBe(false);
    expect(() => lock.release()).toThrow(InvalidStateError);
  });

  test('a signal ends an acquire', async () => {
    const lock = new Lock();
    await lock.acquire();
    const controller = new AbortController();
    const waiting = lock.acquire({ signal: controller.signal });
    controller.abort('enough');
    await expect(waiting).rejects.toBe('enough');
    expect(lock.statistics().waiting).toBe(0);
    lock.release();
  });

  runTest('a task cannot release what is held there, and the message says so', async () => {
    const lock = new Lock();
    getRunningLoop().callSoon(() => void lock.acquireNowait());
    await idle();
    const error = await failure(() => lock.release());
    expect(error.message).toBe('release() needs the lock, but code outside of tasks holds it');
  });
});
