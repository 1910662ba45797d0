/** How waits for a condition end, with the lock, whatever comes between. */
import { describe, expect, test } from 'vitest';
import { Condition } from '../../lib/sync/condition.ts';
import { Lock } from '../../lib/sync/lock.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint, sleep } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from '../task/support.ts';
import { idle, notify, waiting } from './lock-support.ts';

describe('a wait for a Condition', () => {
  runTest('is ended by its signal, once it has the lock', async () => {
    const condition = new Condition();
    const controller = new AbortController();
    const task = createTask(() =>
      condition.with(async () => {
        const error = await failure(condition.wait({ signal: controller.signal }));
        return [error, condition.lock.statistics().owner === currentTask()];
      }),
    );
    await idle();
    await condition.with(async () => {
      controller.abort('enough');
      await idle();
      expect(task.done).toBe(false);
    });
    expect(await task).toEqual(['enough', true]);
  });

  runTest('with an aborted signal keeps the lock', async () => {
    const condition = new Condition();
    await condition.acquire();
    const signal = AbortSignal.abort('before');
    expect(await failure(condition.wait({ signal }))).toBe('before');
    expect(await failure(condition.waitFor(() => true, { signal }))).toBe('before');
    condition.release();
  });

  runTest('rejects with a cancellation, not with a signal that came before it', async () => {
    const condition = new Condition();
    const controller = new AbortController();
    const { signal } = controller;
    const task = createTask(() => condition.with(() => condition.wait({ signal })));
    await idle();
    await condition.with(() => {
      controller.abort('first');
      task.cancel('second');
    });
    expect((await failure(task)).reason).toBe('second');
  });

  runTest('and not with a signal that came after it', async () => {
    const condition = new Condition();
    const controller = new AbortController();
    const { signal } = controller;
    const task = createTask(() => condition.with(() => condition.wait({ signal })));
    await idle();
    await condition.with(() => {
      task.cancel('first');
      controller.abort('second');
    });
    expect((await failure(task)).reason).toBe('first');
  });

  runTest('passes its notification on when its signal aborts', async () => {
    const condition = new Condition();
    const controller = new AbortController();
    const log: unknown[] = [];
    const { signal } = controller;
    const task = createTask(() => condition.with(() => condition.wait({ signal })));
    await idle();
    waiting(condition, log, 'next');
    await idle();
    await condition.with(() => {
      condition.notify();
      controller.abort('enough');
    });
    expect(await failure(task)).toBe('enough');
    await idle();
    expect(log).toEqual(['next']);
  });

  runTest('in a cancelled group passes it on to one outside of the group', async () => {
    const condition = new Condition();
    const scope = new CancelScope();
    const log: unknown[] = [];
    const doomed = createTask(() =>
      scope.run(() => Promise.all([1, 2, 3].map(() => condition.with(() => condition.wait())))),
    );
    await idle();
    waiting(condition, log, 'survivor');
    await idle();
    await condition.with(() => {
      condition.notify(2);
      scope.cancel();
    });
    await doomed;
    await idle();
    expect([log, condition.lock.locked]).toEqual([['survivor'], false]);
  });

  runTest('lets go of all holds of a reentrant lock, and has them back', async () => {
    const condition = new Condition(new Lock({ reentrant: true }));
    const { lock } = condition;
    const task = createTask(() =>
      lock.with(() =>
        lock.with(async () => {
          await condition.wait();
          return lock.statistics().owner === currentTask();
        }),
      ),
    );
    await idle();
    expect(lock.locked).toBe(false);
    await notify(condition);
    expect(await task).toBe(true);
    expect(lock.locked).toBe(false);
  });

  runTest('that nobody awaits does not keep a lock whose holds were disposed', async () => {
    const condition = new Condition(new Lock({ reentrant: true }));
    const { lock } = condition;
    const task = createTask(async () => {
      using _1 = await lock.acquire();
      using _2 = await lock.acquire();
      void condition.wait();
    });
    await task;
    expect(lock.locked).toBe(false);
    await condition.with(async () => {
      condition.notify();
      await checkpoint();
    });
    await idle();
    expect(lock.locked).toBe(false);
  });

  runTest('has back those holds that were not disposed meanwhile', async () => {
    const condition = new Condition(new Lock({ reentrant: true }));
    const { lock } = condition;
    const first = await lock.acquire();
    const second = await lock.acquire();
    const third = await lock.acquire();
    const waited = condition.wait();
    second[Symbol.dispose]();
    third[Symbol.dispose]();
    await createTask(() => notify(condition));
    await waited;
    expect(lock.statistics().owner).toBe(currentTask());
    first[Symbol.dispose]();
    expect(lock.locked).toBe(false);
  });

  runTest('is not left by a cancellation while somebody sleeps with the lock', async () => {
    const condition = new Condition();
    const task = waiting(condition);
    await idle();
    const holder = createTask(() => condition.with(() => sleep(never)));
    await idle();
    for (let i = 0; i < 3; i++) task.cancel(i);
    await idle();
    expect(task.done).toBe(false);
    await holder.cancelAndWait();
    expect((await failure(task)).reason).toBe(2);
  });

  test('works outside of tasks', async () => {
    const condition = new Condition();
    const log: string[] = [];
    const waiter = condition.with(async () => {
      await condition.wait();
      log.push('woken');
    });
    await condition.with(() => condition.notify());
    await waiter;
    expect(log).toEqual(['woken']);
  });
});

describe('the waits of a Condition', () => {
  runTest('are ended by a whole scope, one after the other, each with the lock', async () => {
    const condition = new Condition();
    const scope = new CancelScope();
    let inside = 0;
    let most = 0;
    const wait = (): Promise<void> =>
      condition.with(async () => {
        await condition.wait().catch(() => {});
        most = Math.max(most, ++inside);
        await Promise.resolve();
        inside--;
      });
    const task = createTask(() => scope.run(() => Promise.all([wait(), wait(), wait()])));
    await idle();
    scope.cancel();
    await task;
    expect([most, condition.lock.locked]).toEqual([1, false]);
  });

  virtualTest('have their own deadline at the latest when the lock is free', async () => {
    const condition = new Condition();
    await condition.with(() => moveOnAfter(1, () => condition.wait()));
    expect(condition.lock.locked).toBe(false);
    await moveOnAfter(never, () => condition.with(() => {}));
  });
});
