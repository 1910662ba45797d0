import { describe, expect, test } from 'vitest';
import { InvalidStateError, WouldBlock } from '../../lib/base/errors.ts';
import { Lock } from '../../lib/sync/lock.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint, sleep } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from '../task/support.ts';
import { held, hold, idle } from './lock-support.ts';

const reentrant = (): Lock => new Lock({ reentrant: true });

// covers: curio/lock
describe('a reentrant Lock, as curio has RLock:', () => {
  virtualTest('its owner enters again while others wait for the outermost release', async () => {
    const lock = reentrant();
    const lines: string[] = [];
    const inner = (name: string): Promise<void> =>
      lock.with(() => {
        lines.push(`${name} inside twice`);
      });
    const worker = async (name: string): Promise<void> => {
      await lock.with(async () => {
        lines.push(`${name} in`);
        await sleep(250);
        await inner(name);
        lines.push(`${name} out`);
      });
    };
    const simple = (): Promise<void> =>
      lock.with(() => {
        lines.push('simple');
      });
    await taskGroup((group) => {
      group.createTask(worker, 'a');
      group.createTask(worker, 'b');
      group.createTask(simple);
    });
    expect(lines).toEqual([
      'a in',
      'a inside twice',
      'a out',
      'b in',
      'b inside twice',
      'b out',
      'simple',
    ]);
    expect(lock.locked).toBe(false);
  });

  runTest('release() of a free one is an error', async () => {
    expect(await failure(() => reentrant().release())).toBeInstanceOf(InvalidStateError);
  });

  runTest('only its owner may release it', async () => {
    const lock = reentrant();
    const holder = await held(lock);
    expect(await failure(() => lock.release())).toBeInstanceOf(InvalidStateError);
    holder.leave();
  });
});

describe('a reentrant Lock', () => {
  runTest('is free after as many releases as acquires', async () => {
    const lock = reentrant();
    for (let i = 0; i < 3; i++) await lock.acquire();
    for (let i = 0; i < 3; i++) {
      expect(lock.statistics().owner).toBe(currentTask());
      lock.release();
    }
    expect(lock.locked).toBe(false);
    expect(() => lock.release()).toThrow(InvalidStateError);
  });

  runTest('acquireNowait() enters again, but not in another task', async () => {
    const lock = reentrant();
    lock.acquireNowait();
    lock.acquireNowait();
    await createTask(() => {
      expect(() => lock.acquireNowait()).toThrow(WouldBlock);
    });
    lock.release();
    lock.release();
  });

  runTest('is entered again ahead of those that wait', async () => {
    const lock = reentrant();
    await lock.acquire();
    const other = hold(lock);
    await idle();
    await lock.acquire();
    lock.release();
    lock.release();
    expect(lock.statistics().owner).toBe(other.task);
    other.leave();
  });

  runTest('counts holds that are disposed in any order, each once', async () => {
    const lock = reentrant();
    const holds = [await lock.acquire(), await lock.acquire(), await lock.acquire()];
    for (const i of [1, 1, 0]) holds[i]?.[Symbol.dispose]();
    expect(lock.locked).toBe(true);
    lock.release();
    holds[2]?.[Symbol.dispose]();
    expect(lock.locked).toBe(false);
  });

  runTest('does not grow when its owner goes from hold to hold', async () => {
    const lock = reentrant();
    let last = await lock.acquire();
    for (let i = 0; i < 1000; i++) {
      const next = await lock.acquire();
      last[Symbol.dispose]();
      last = next;
    }
    let length = 0;
    for (let at = last as { outer?: Disposable | null }; at; at = at.outer as never) length++;
    expect(length).toBe(1);
    last[Symbol.dispose]();
    expect(lock.locked).toBe(false);
  });

  runTest('that is cancelled inside is released as often as it was entered', async () => {
    const lock = reentrant();
    const task = createTask(() => lock.with(() => lock.with(() => sleep(never))));
    await idle();
    await task.cancelAndWait();
    expect(lock.locked).toBe(false);
  });

  runTest('is not entered again in a cancelled scope', async () => {
    const lock = reentrant();
    await lock.acquire();
    await moveOnAfter(never, async (scope) => {
      scope.cancel();
      await lock.acquire();
    });
    lock.release();
    expect(lock.locked).toBe(false);
  });

  runTest('lets all branches of one task in: they are one owner', async () => {
    const lock = reentrant();
    let inside = 0;
    let most = 0;
    const branch = (): Promise<void> =>
      lock.with(async () => {
        most = Math.max(most, ++inside);
        await checkpoint();
        inside--;
      });
    await Promise.all([branch(), branch()]);
    expect([most, lock.locked]).toEqual([2, false]);
  });

  test('takes all code outside of tasks for one owner', async () => {
    const lock = reentrant();
    await lock.acquire();
    await lock.acquire();
    lock.release();
    expect(lock.locked).toBe(true);
    lock.release();
    expect(lock.locked).toBe(false);
  });
});
