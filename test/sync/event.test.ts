import { describe, expect } from 'vitest';
import { CancelledError, TimeoutError } from '../../lib/base/errors.ts';
import { Event } from '../../lib/sync/event.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { moveOnAfter, timeout } from '../../lib/task/scope.ts';
import { currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure, runTest, virtualTest } from '../task/support.ts';
import { idle } from './lock-support.ts';

/** A task that waits, then logs its name. */
function waiting(event: Event, log: string[], name: string): void {
  createTask(async () => {
    await event.wait();
    log.push(name);
  });
}

// covers: asyncio/lock, seeds/C6
describe('Event, as asyncio has it:', () => {
  runTest('set() ends all waits, in order', async () => {
    const event = new Event();
    const log: string[] = [];
    waiting(event, log, '1');
    waiting(event, log, '2');
    await idle();
    expect([log, event.isSet]).toEqual([[], false]);
    event.set();
    waiting(event, log, '3');
    await idle();
    expect([log, event.isSet]).toEqual([['1', '2', '3'], true]);
  });

  runTest('a wait for one that is set ends at once', async () => {
    const event = new Event();
    event.set();
    expect(await event.wait()).toBeUndefined();
  });

  runTest('a cancelled wait leaves nothing behind', async () => {
    const event = new Event();
    const task = createTask(() => event.wait());
    getRunningLoop().callSoon(() => task.cancel());
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    event.set();
  });

  runTest('clear() makes it unset', async () => {
    const event = new Event();
    event.set();
    event.clear();
    expect(event.isSet).toBe(false);
    const log: string[] = [];
    waiting(event, log, 'late');
    await idle();
    expect(log).toEqual([]);
    event.set();
  });

  runTest('clear() right after set() does not take the set back', async () => {
    const event = new Event();
    const log: string[] = [];
    waiting(event, log, 'woken');
    await idle();
    event.set();
    event.clear();
    event.set();
    event.set();
    event.clear();
    await idle();
    expect([log, event.isSet]).toEqual([['woken'], false]);
  });
});

// covers: trio/event
describe('Event, as trio has it:', () => {
  runTest('set() wakes each task that waits, once', async () => {
    const event = new Event();
    const log: string[] = [];
    for (const name of ['a', 'b']) {
      log.push(`${name} sleeps`);
      waiting(event, log, `${name} wakes`);
    }
    await idle();
    event.set();
    await idle();
    expect(log).toEqual(['a sleeps', 'b sleeps', 'a wakes', 'b wakes']);
  });

  runTest('a wait for one that is set delivers a cancellation', async () => {
    const event = new Event();
    event.set();
    await moveOnAfter(0, async (scope) => {
      scope.cancel();
      expect(await failure(event.wait())).toBeInstanceOf(CancelledError);
    });
  });
});

// covers: curio/lock
describe('Event, as curio has it:', () => {
  virtualTest('it wakes a task that waited first', async () => {
    const event = new Event();
    const log: unknown[] = [];
    const waiter = createTask(async () => {
      log.push('waits', event.isSet);
      await event.wait();
      log.push('woken', event.isSet);
      event.clear();
      log.push(event.isSet);
    });
    await sleep(1000);
    event.set();
    await waiter;
    expect(log).toEqual(['waits', false, 'woken', true, false]);
  });

  virtualTest('it lets a task through that waits later', async () => {
    const event = new Event();
    const waiter = createTask(async () => {
      await sleep(1000);
      await event.wait();
      return currentTime();
    });
    event.set();
    expect(await waiter).toBe(1000);
  });

  virtualTest('a task that waits can be cancelled and awaited', async () => {
    const event = new Event();
    const log: string[] = [];
    const waiter = createTask(async () => {
      await event.wait().catch((error) => {
        log.push('cancelled');
        throw error;
      });
    });
    await sleep(1000);
    await waiter.cancelAndWait();
    log.push('awaited');
    expect(log).toEqual(['cancelled', 'awaited']);
  });

  virtualTest('a time limit ends a wait', async () => {
    const error = await failure(timeout(500, () => new Event().wait()));
    expect([error instanceof TimeoutError, currentTime()]).toEqual([true, 500]);
  });

  virtualTest('a wait within its time limit leaves no limit behind', async () => {
    const event = new Event();
    const waiter = createTask(async () => {
      await timeout(1000, () => event.wait());
      event.clear();
      await event.wait();
      return currentTime();
    });
    await sleep(250);
    event.set();
    await sleep(1000);
    event.set();
    expect(await waiter).toBe(1250);
  });
});

describe('an Event', () => {
  runTest('that is set in the same step before a cancellation has ended the wait', async () => {
    const event = new Event();
    let woken = false;
    const task = createTask(async () => {
      await event.wait();
      woken = true;
    });
    await idle();
    event.set();
    task.cancel();
    await task;
    expect(woken).toBe(true);
  });

  runTest('wakes a thousand tasks in the order of their waits', async () => {
    const event = new Event();
    const order: string[] = [];
    for (let i = 0; i < 1000; i++) waiting(event, order, String(i));
    await idle();
    event.set();
    await idle();
    expect(order).toEqual(Array.from({ length: 1000 }, (_, i) => String(i)));
  });
});
