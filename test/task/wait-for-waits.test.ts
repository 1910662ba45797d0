/** waitFor() of what is a wait of uvio already: on time it ends that, as asyncio's does. */
import { describe, expect } from 'vitest';
import { TimeoutError } from '../../lib/base/errors.ts';
import { Lock } from '../../lib/sync/lock.ts';
import { Queue } from '../../lib/sync/queue.ts';
import { gather, waitFor } from '../../lib/task/combinators.ts';
import { checkpoint, currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure, virtualTest } from './support.ts';

describe('waitFor of a wait', () => {
  virtualTest('an item that comes after the time limit goes to the next one', async () => {
    const queue = new Queue<string>();
    expect(await failure(waitFor(queue.get(), 10))).toBeInstanceOf(TimeoutError);
    await queue.put('first');
    expect(queue.size).toBe(1);
    expect(await waitFor(queue.get(), 10)).toBe('first');
  });

  virtualTest('a promise that was kept for a while is found among other waits', async () => {
    const queue = new Queue<string>();
    const getting = queue.get();
    const others = [sleep(1000), sleep(1000)];
    expect(await failure(waitFor(getting, 10))).toBeInstanceOf(TimeoutError);
    expect(await failure(getting)).toMatchObject({ code: 'ABORT_ERR' });
    await queue.put('first');
    expect(queue.size).toBe(1);
    await Promise.all(others);
  });

  virtualTest('a lock is not taken by whoever has given up', async () => {
    const lock = new Lock();
    const hold = await lock.acquire();
    const other = createTask(async () => {
      expect(await failure(waitFor(lock.acquire(), 10))).toBeInstanceOf(TimeoutError);
    });
    await other;
    hold[Symbol.dispose]();
    expect(lock.locked).toBe(false);
  });

  virtualTest('what came in the same turn is not lost', async () => {
    for (const first of ['item', 'timer']) {
      const queue = new Queue<string>();
      const task = createTask(() => waitFor(queue.get(), 10));
      await checkpoint();
      const at = currentTime() + 10;
      if (first === 'timer') await sleep(5);
      task.loop.callAt(at, () => queue.putNowait('item'));
      const got = await task.then(
        (item) => item,
        (error: unknown) => error,
      );
      // Who got it depends on the order of the timers: nobody loses it.
      if (got !== 'item') expect([got instanceof TimeoutError, queue.size]).toEqual([true, 1]);
    }
  });

  virtualTest('tasks of a gather are cancelled, and awaited', async () => {
    const ends: string[] = [];
    const work = async (name: string): Promise<void> => {
      try {
        await sleep(1000);
      } finally {
        await sleep(5);
        ends.push(name);
      }
    };
    const start = currentTime();
    const both = gather(
      () => work('a'),
      () => work('b'),
    );
    expect(await failure(waitFor(both, 10))).toBeInstanceOf(TimeoutError);
    expect([ends, currentTime() - start]).toEqual([['a', 'b'], 15]);
  });

  virtualTest('the caller, too, ends it', async () => {
    const queue = new Queue<string>();
    const task = createTask(() => waitFor(queue.get(), 1000));
    await checkpoint();
    task.cancel();
    expect(await failure(task)).toMatchObject({ code: 'ABORT_ERR' });
    await queue.put('first');
    expect(queue.size).toBe(1);
  });

  virtualTest('work that runs already is not stopped, and its result not awaited', async () => {
    let ended = false;
    const work = (async () => {
      await sleep(100);
      ended = true;
    })();
    expect(await failure(waitFor(work, 10))).toBeInstanceOf(TimeoutError);
    expect(ended).toBe(false);
    await work;
    expect(ended).toBe(true);
  });
});
