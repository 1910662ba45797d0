/** What completes at once must not starve the process, nor change the order of things. */
import { describe, expect, test } from 'vitest';
import { QueueShutDown } from '../../lib/base/errors.ts';
import type { Instrument } from '../../lib/loop/event-loop.ts';
import { openMemoryChannel } from '../../lib/sync/channel.ts';
import { Lock } from '../../lib/sync/lock.ts';
import { Queue } from '../../lib/sync/queue.ts';
import { Semaphore } from '../../lib/sync/semaphore.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { Future } from '../../lib/task/future.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { paceOf } from '../../lib/task/pace.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { createTask } from '../../lib/task/task.ts';
import { Waiter } from '../../lib/task/waiter.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inRun, never, realTimeTest, runTest } from './support.ts';

/** Ends by its deadline, or never if the loop does not get its turn. */
async function forAWhile(body: () => Promise<unknown>): Promise<void> {
  expect(await moveOnAfter(5, body)).toBeUndefined();
}

async function forever(step: () => unknown): Promise<never> {
  for (;;) await step();
}

describe('a deadline comes in spite of', () => {
  realTimeTest('two tasks that play ping-pong', () =>
    forAWhile(() =>
      taskGroup((group) => {
        const [there, back] = [new Queue<number>(), new Queue<number>()];
        group.createTask(() => forever(async () => back.put(await there.get())));
        group.createTask(async () => {
          await there.put(0);
          await forever(async () => there.put(await back.get()));
        });
      }),
    ),
  );

  realTimeTest('waits that are only ended by calls that do not wait', () =>
    forAWhile(() =>
      taskGroup((group) => {
        const [there, back] = [new Queue<number>(), new Queue<number>()];
        group.createTask(() => forever(async () => back.putNowait(await there.get())));
        group.createTask(async () => {
          there.putNowait(0);
          await forever(async () => there.putNowait(await back.get()));
        });
      }),
    ),
  );

  realTimeTest('two tasks that hand a lock to each other', () =>
    forAWhile(() =>
      taskGroup((group) => {
        const lock = new Lock();
        const step = (): Promise<void> => lock.with(() => {});
        group.createTask(() => forever(step));
        group.createTask(() => forever(step));
      }),
    ),
  );

  realTimeTest('two tasks that set futures for each other', () =>
    forAWhile(() =>
      taskGroup((group) => {
        let [there, back] = [new Future<void>(), new Future<void>()];
        // Done already when the deadline has cancelled who waits for it.
        const set = (future: Future<void>): unknown => future.done || future.setResult();
        group.createTask(() =>
          forever(async () => {
            await there;
            there = new Future();
            set(back);
          }),
        );
        group.createTask(() =>
          forever(async () => {
            set(there);
            await back;
            back = new Future();
          }),
        );
      }),
    ),
  );

  realTimeTest('one task that acquires and releases a semaphore', () =>
    forAWhile(async () => {
      const semaphore = new Semaphore(1);
      await forever(() => semaphore.with(() => {}));
    }),
  );

  realTimeTest('one task that puts and gets', () =>
    forAWhile(async () => {
      const queue = new Queue<number>();
      await forever(async () => {
        await queue.put(1);
        await queue.get();
      });
    }),
  );

  realTimeTest('a rendezvous, again and again', () =>
    forAWhile(() =>
      taskGroup((group) => {
        const [send, receive] = openMemoryChannel<number>(0);
        group.createTask(() => forever(() => send.send(1)));
        group.createTask(() => forever(() => receive.receive()));
      }),
    ),
  );

  realTimeTest('a loop that catches the end of its queue', () =>
    forAWhile(async () => {
      const queue = new Queue<number>();
      queue.shutdown();
      for (;;) {
        try {
          await queue.get();
        } catch (error) {
          if (!(error instanceof QueueShutDown)) throw error;
        }
      }
    }),
  );

  realTimeTest('a join that never has to wait', () =>
    forAWhile(() => {
      const queue = new Queue<number>();
      return forever(() => queue.join());
    }),
  );
});

describe('outside of tasks', () => {
  checkLeaks();

  test('a timer fires in spite of two loops that feed each other', async () => {
    const queue = new Queue<number>(1);
    let over = false;
    setTimeout(() => {
      over = true;
    }, 2);
    const producer = (async () => {
      while (!over) await queue.put(1);
      queue.shutdown();
    })();
    for await (const _ of queue);
    await producer;
  });
});

describe('order', () => {
  runTest('of turns: after 64 completions comes one of the loop, then 64 more', async () => {
    const queue = new Queue<number>();
    const turns: number[] = [];
    let count = 0;
    const done = moveOnAfter(never, async () => {
      while (turns.length < 3) {
        await queue.join();
        count++;
      }
    });
    const note = (): void => {
      turns.push(count);
      if (turns.length < 3) currentLoop().callSoon(note);
    };
    note();
    await done;
    const [first = 0, second = 0, third = 0] = turns;
    // The one that was held is settled by the turn, and not counted.
    expect([second - first, third - second]).toEqual([64, 65]);
  });

  runTest('of results is that of the calls, however many there are', async () => {
    const order: number[] = [];
    const queue = new Queue<number>();
    const gets: Promise<unknown>[] = [];
    // Half of them wait, half of them need not.
    for (let i = 0; i < 300; i++) gets.push(queue.get().then((item) => order.push(item)));
    for (let i = 0; i < 600; i++) queue.putNowait(i);
    for (let i = 0; i < 300; i++) gets.push(queue.get().then((item) => order.push(item)));
    await Promise.all(gets);
    expect(order).toEqual(Array.from({ length: 600 }, (_, i) => i));
  });

  runTest('a wait that is held back has its result: a cancellation or signal is late', async () => {
    const queue = new Queue<number>();
    const controllers = Array.from({ length: 200 }, () => new AbortController());
    const tasks = controllers.map(({ signal }) =>
      createTask({ eagerStart: true }, () => queue.get({ signal })),
    );
    for (let i = 0; i < 200; i++) queue.putNowait(i);
    for (const task of tasks) task.cancel();
    for (const controller of controllers) controller.abort();
    const got: number[] = [];
    for (const task of tasks) got.push(await task);
    expect(got).toEqual(Array.from({ length: 200 }, (_, i) => i));
  });
});

test('instruments hear of a wake-up that was held back', async () => {
  const steps: string[] = [];
  const instrument: Instrument = {
    beforeTaskStep: (task: { name: string }) => void steps.push(task.name),
  } as Instrument;
  await inRun(
    async () => {
      const queue = new Queue<number>();
      const tasks = Array.from({ length: 100 }, (_, i) =>
        createTask({ name: `t${i}`, eagerStart: true }, () => queue.get()),
      );
      steps.length = 0;
      for (let i = 0; i < 100; i++) queue.putNowait(i);
      for (const task of tasks) await task;
      const seen = steps.filter((name) => name !== 'main');
      expect(seen).toEqual(tasks.map((task) => task.name));
    },
    { instruments: [instrument] },
  );
});

test('a wait is ended at once when its loop is closed', async () => {
  const { loop, waiter } = await inRun(() => {
    const held = new Waiter<number>('test');
    return { loop: currentLoop(), waiter: held };
  });
  const pace = paceOf({ loop });
  for (let i = 0; i < 100; i++) await pace.resolved(i);
  const promise = waiter.start();
  pace.wake(waiter, 5);
  pace.wake(waiter, 6);
  expect(await promise).toBe(5);
});
