import { describe, expect } from 'vitest';
import { CancelledError, InvalidStateError, TimeoutError } from '../../lib/base/errors.ts';
import { Condition } from '../../lib/sync/condition.ts';
import { Lock } from '../../lib/sync/lock.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter, timeout } from '../../lib/task/scope.ts';
import { currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { failure, runTest, virtualTest } from '../task/support.ts';
import { held, idle, notify, waiting } from './lock-support.ts';

// covers: asyncio/lock, seeds/C6
describe('Condition, as asyncio has it:', () => {
  runTest('a notified task goes on when the lock is released, the next one after it', async () => {
    const condition = new Condition();
    const log: unknown[] = [];
    for (const name of [1, 2, 3]) waiting(condition, log, name);
    await idle();
    expect([log, condition.lock.locked]).toEqual([[], false]);
    await condition.acquire();
    condition.notify();
    await idle();
    expect([log, condition.lock.locked]).toEqual([[], true]);
    condition.release();
    await idle();
    expect(log).toEqual([1]);
    await notify(condition, 2);
    await idle();
    expect([log, condition.lock.locked]).toEqual([[1, 2, 3], false]);
  });

  runTest('a cancelled wait has the lock again', async () => {
    const condition = new Condition();
    let owner: unknown;
    const task = createTask(() =>
      condition.with(async () => {
        await condition.wait().finally(() => {
          owner = condition.lock.statistics().owner;
        });
      }),
    );
    await idle();
    getRunningLoop().callSoon(() => task.cancel());
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect([owner === task, condition.lock.locked]).toEqual([true, false]);
  });

  runTest('a wait that was notified and then cancelled ends with the lock held', async () => {
    const condition = new Condition();
    let owner: unknown;
    const task = createTask(async () => {
      await condition.acquire();
      await condition.wait().catch(() => {});
      owner = condition.lock.statistics().owner;
      condition.release();
    });
    await idle();
    await condition.acquire();
    condition.notify();
    const { loop } = task;
    loop.callSoon(() => task.cancel());
    await idle();
    expect(task.done).toBe(false);
    condition.release();
    await task;
    expect(owner).toBe(task);
  });

  runTest('a task that is cancelled while it gets the lock back is cancelled', async () => {
    const condition = new Condition();
    const log: unknown[] = [];
    const task = waiting(condition, log);
    await idle();
    await condition.acquire();
    condition.notify();
    await idle();
    task.cancel();
    await idle();
    expect(task.done).toBe(false);
    condition.release();
    await task.wait();
    expect([task.cancelled, log, condition.lock.locked]).toEqual([true, [], false]);
  });

  runTest('wait() without the lock is an error', async () => {
    expect(await failure(new Condition().wait())).toBeInstanceOf(InvalidStateError);
  });

  runTest('waitFor() goes on waiting while its predicate is false', async () => {
    const condition = new Condition();
    let ready = false;
    let done = false;
    createTask(() =>
      condition.with(async () => {
        await condition.waitFor(() => ready);
        done = true;
      }),
    );
    await idle();
    await notify(condition);
    await idle();
    expect(done).toBe(false);
    ready = true;
    await notify(condition);
    await idle();
    expect(done).toBe(true);
  });

  runTest('waitFor() needs the lock only if it has to wait', async () => {
    const condition = new Condition();
    expect(await condition.waitFor(() => [1, 2, 3])).toEqual([1, 2, 3]);
    expect(await failure(condition.waitFor(() => false))).toBeInstanceOf(InvalidStateError);
  });

  runTest('notify(n) wakes n tasks, or all if there are less', async () => {
    const condition = new Condition();
    const log: unknown[] = [];
    for (const name of [1, 2, 3]) waiting(condition, log, name);
    await idle();
    await notify(condition, 1);
    await idle();
    expect(log).toEqual([1]);
    await condition.with(() => {
      condition.notify(1);
      condition.notify(2048);
    });
    await idle();
    expect(log).toEqual([1, 2, 3]);
  });

  runTest('notifyAll() wakes all', async () => {
    const condition = new Condition();
    const log: unknown[] = [];
    for (const name of [1, 2]) waiting(condition, log, name);
    await idle();
    await condition.with(() => condition.notifyAll());
    await idle();
    expect(log).toEqual([1, 2]);
  });

  runTest('notify() and notifyAll() without the lock are errors', async () => {
    const condition = new Condition();
    expect(() => condition.notify()).toThrow(InvalidStateError);
    expect(() => condition.notifyAll()).toThrow(InvalidStateError);
  });

  runTest('a block and with() hold its lock', async () => {
    const condition = new Condition();
    {
      using _ = await condition.acquire();
      expect(condition.lock.locked).toBe(true);
    }
    expect(condition.lock.locked).toBe(false);
    expect(await condition.with(() => condition.lock.locked)).toBe(true);
    expect(condition.lock.locked).toBe(false);
  });

  runTest('it works on a lock that was given to it', async () => {
    const lock = new Lock();
    const condition = new Condition(lock);
    expect(condition.lock).toBe(lock);
    await condition.with(() => expect(lock.locked).toBe(true));
    await lock.with(() => condition.notify());
    expect(lock.locked).toBe(false);
  });

  virtualTest('a time limit ends a wait, with the lock held', async () => {
    const condition = new Condition();
    await condition.with(async () => {
      const error = await failure(timeout(500, () => condition.wait()));
      expect([error instanceof TimeoutError, condition.lock.locked]).toEqual([true, true]);
    });
  });

  runTest('the very error of a cancellation comes out, from a wait', async () => {
    const condition = new Condition();
    let raised: unknown;
    const task = createTask(() =>
      condition.with(async () => {
        raised = await failure(condition.waitFor(() => false));
        throw raised;
      }),
    );
    await idle();
    task.cancel('foo');
    const error = await failure(task);
    expect([error === raised, error.reason]).toEqual([true, 'foo']);
  });

  runTest('and while the lock is being got back', async () => {
    const condition = new Condition();
    let raised: unknown;
    let ready = false;
    const task = createTask(() =>
      condition.with(async () => {
        raised = await failure(condition.waitFor(() => ready));
        throw raised;
      }),
    );
    await idle();
    await condition.with(async () => {
      ready = true;
      condition.notify();
      await idle();
      task.cancel('foo');
    });
    const error = await failure(task);
    expect([error === raised, error.reason]).toEqual([true, 'foo']);
  });

  for (const wait of ['no', 'some'] as const) {
    const title = `a notification is not lost with a task cancelled ${wait} turns after it`;
    virtualTest(title, async () => {
      const condition = new Condition();
      let items = 0;
      const consumer = (): Promise<void> =>
        condition.with(async () => {
          while (items >= 0) {
            await condition.waitFor(() => items !== 0);
            if (items > 0) items--;
          }
        });
      const consumers = [createTask(consumer), createTask(consumer)];
      await idle();
      await condition.with(async () => {
        items++;
        condition.notify(1);
        if (wait === 'some') await idle();
        consumers[0]?.cancel();
        await moveOnAfter(10, () => condition.waitFor(() => items === 0));
        expect(items).toBe(0);
        items = -1;
        condition.notifyAll();
      });
      await consumers[1];
      expect(consumers[0]?.cancelled).toBe(true);
    });
  }
});

// covers: trio/event
describe('Condition, as trio has it:', () => {
  runTest('only a Lock will do', async () => {
    expect(() => new Condition({} as Lock)).toThrow(TypeError);
    expect(() => new Condition(Lock as unknown as Lock)).toThrow(TypeError);
  });

  runTest('wait() needs the lock of this very task', async () => {
    const condition = new Condition();
    const holder = await held(condition);
    expect(await failure(condition.wait())).toBeInstanceOf(InvalidStateError);
    expect(() => condition.notify()).toThrow(InvalidStateError);
    holder.leave();
  });

  runTest('notified tasks queue for the lock, and get it one by one', async () => {
    const condition = new Condition();
    const log: unknown[] = [];
    for (const name of [1, 2, 3]) waiting(condition, log, name);
    await idle();
    await condition.with(() => {
      condition.notify(2);
      expect(condition.lock.statistics().waiting).toBe(2);
    });
    expect(condition.lock.statistics().waiting).toBe(1);
    await idle();
    expect(log).toEqual([1, 2]);
    await condition.with(() => condition.notifyAll());
    await idle();
    expect(log).toEqual([1, 2, 3]);
  });

  runTest('a wait in a cancelled scope keeps the lock, and gives it to nobody', async () => {
    const condition = new Condition();
    const scope = new CancelScope();
    await scope.run(() =>
      condition.with(async () => {
        scope.cancel();
        await condition.wait().finally(() => {
          expect(condition.lock.statistics().owner).toBe(currentTask());
        });
      }),
    );
    expect([scope.cancelledCaught, condition.lock.locked]).toEqual([true, false]);
  });

  runTest('a scope that is cancelled later holds the lock again, too', async () => {
    const condition = new Condition();
    const scope = new CancelScope();
    const task = createTask(() =>
      condition.with(async () => {
        await scope.run(() => condition.wait());
        return condition.lock.statistics().owner === currentTask();
      }),
    );
    await idle();
    await condition.with(async () => {
      scope.cancel();
      await idle();
      expect(scope.cancelledCaught).toBe(false);
    });
    expect([await task, scope.cancelledCaught]).toEqual([true, true]);
  });
});

// covers: curio/lock
describe('Condition, as curio has it:', () => {
  virtualTest('consumers take turns', async () => {
    const condition = new Condition();
    const items: (number | null)[] = [];
    const log: string[] = [];
    const consumer = async (name: string): Promise<void> => {
      for (;;) {
        using _ = await condition.acquire();
        if (items.length === 0) await condition.wait();
        const item = items.shift() ?? null;
        log.push(`${name}: ${item}`);
        if (item === null) return;
      }
    };
    const tasks = ['a', 'b'].map((name) => createTask(consumer, name));
    await sleep(1);
    for (const item of [0, 1, 2, 3, null, null]) {
      await condition.with(() => {
        items.push(item);
        condition.notify();
      });
      await sleep(100);
    }
    for (const task of tasks) await task;
    expect(log).toEqual(['a: 0', 'b: 1', 'a: 2', 'b: 3', 'a: null', 'b: null']);
  });

  virtualTest('a wait can be cancelled and awaited', async () => {
    const condition = new Condition();
    const log: unknown[] = [];
    const task = waiting(condition, log);
    await sleep(1000);
    await task.cancelAndWait();
    expect([log, task.cancelled]).toEqual([[], true]);
  });

  virtualTest('a time limit within the lock ends a wait', async () => {
    const condition = new Condition();
    const task = createTask(() => condition.with(() => timeout(250, () => condition.wait())));
    expect(await failure(task)).toBeInstanceOf(TimeoutError);
    expect([currentTime(), condition.lock.locked]).toEqual([250, false]);
  });

  runTest('notifyAll() goes on before those it wakes', async () => {
    const condition = new Condition();
    const log: unknown[] = [];
    for (const name of ['a', 'b', 'c']) waiting(condition, log, name);
    await idle();
    await condition.with(async () => {
      condition.notifyAll();
      await idle();
      log.push('notified');
    });
    await idle();
    expect(log).toEqual(['notified', 'a', 'b', 'c']);
  });

  virtualTest('waitFor() sees the state at its own turn', async () => {
    const condition = new Condition();
    let produced = 0;
    const log: string[] = [];
    const consumer = (name: string): Promise<void> =>
      condition.with(async () => {
        await condition.waitFor(() => produced > 2);
        log.push(`${name}: ${produced}`);
      });
    const tasks = ['a', 'b'].map((name) => createTask(consumer, name));
    await sleep(1);
    for (let i = 0; i < 4; i++) {
      await condition.with(() => {
        produced++;
        condition.notify();
      });
      await sleep(100);
    }
    for (const task of tasks) task.cancel();
    for (const task of tasks) await task.wait();
    // Whoever is notified in vain waits again, at the end of the line.
    expect(log).toEqual(['a: 3', 'b: 4']);
  });

  runTest('use without the lock is an error for each call', async () => {
    const condition = new Condition();
    expect(() => condition.release()).toThrow(InvalidStateError);
    expect(() => condition.notify()).toThrow(InvalidStateError);
    expect(await failure(condition.wait())).toBeInstanceOf(InvalidStateError);
  });
});
