/** Queue, with the behaviours of asyncio's test_queues (their names in comments). */
import { describe, expect } from 'vitest';
import { CancelledError, QueueEmpty, QueueFull, TimeoutError } from '../../lib/base/errors.ts';
import { LifoQueue, Queue } from '../../lib/sync/queue.ts';
import { waitFor } from '../../lib/task/combinators.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure, runTest, virtualTest } from '../task/support.ts';
import { begun, idle, thrown } from './support.ts';

// covers: asyncio/queue, curio/queues
describe('Queue', () => {
  // test_empty
  runTest('is empty until something was put, and again when it was taken', () => {
    const queue = new Queue<number>();
    const seen = [queue.empty];
    queue.putNowait(1);
    seen.push(queue.empty);
    queue.getNowait();
    seen.push(queue.empty);
    expect(seen).toEqual([true, false, true]);
  });

  // test_full
  runTest('is full at its limit; one without a limit never is', () => {
    const queue = new Queue<number>(1);
    const unlimited = new Queue<number>();
    expect([queue.full, unlimited.full]).toEqual([false, false]);
    queue.putNowait(1);
    for (let i = 0; i < 5000; i++) unlimited.putNowait(i);
    expect([queue.full, unlimited.full, unlimited.size]).toEqual([true, false, 5000]);
  });

  // test_order
  runTest('gives items in the order they were put', async () => {
    const queue = new Queue<number>();
    for (const item of [1, 3, 2]) queue.putNowait(item);
    expect([await queue.get(), await queue.get(), queue.getNowait()]).toEqual([1, 3, 2]);
  });

  // test_maxsize
  runTest('makes a put wait while it is full', async () => {
    const queue = new Queue<number>(2);
    const put: number[] = [];
    const putter = createTask(async () => {
      for (let i = 0; i < 3; i++) {
        await queue.put(i);
        put.push(i);
      }
    });
    await idle();
    expect([put, queue.size, queue.maxSize]).toEqual([[0, 1], 2, 2]);
    expect(queue.getNowait()).toBe(0);
    await idle();
    expect([put, putter.done]).toEqual([[0, 1, 2], true]);
    expect([queue.getNowait(), queue.getNowait()]).toEqual([1, 2]);
  });

  // test_nonblocking_get_exception, test_nonblocking_put_exception
  runTest('says so when a Nowait call would have to wait', () => {
    const queue = new Queue<number>(1);
    expect(thrown(() => queue.getNowait())).toBeInstanceOf(QueueEmpty);
    queue.putNowait(1);
    expect(thrown(() => queue.putNowait(2))).toBeInstanceOf(QueueFull);
    expect(queue.getNowait()).toBe(1);
  });

  runTest('takes undefined and null as items', async () => {
    const queue = new Queue<unknown>(1);
    const getter = begun(() => queue.get());
    queue.putNowait(null);
    queue.putNowait(undefined);
    expect([await getter, queue.size, await queue.get(), queue.size]).toEqual([
      null,
      1,
      undefined,
      0,
    ]);
  });

  runTest(
    'gives a promise as its result from get, and as it is from getNowait and a loop',
    async () => {
      const queue = new Queue<Promise<number>>();
      const item = Promise.resolve(5);
      for (let i = 0; i < 3; i++) queue.putNowait(item);
      expect(await (queue.get() as Promise<unknown>)).toBe(5);
      expect(queue.getNowait()).toBe(item);
      for await (const got of queue) {
        expect(got).toBe(item);
        break;
      }
    },
  );
});

describe('Queue.get', () => {
  // test_blocking_get, test_nonblocking_get
  runTest('takes what is there without giving way', async () => {
    const queue = new Queue<number>();
    queue.putNowait(1);
    queue.putNowait(2);
    let other = false;
    currentLoop().callSoon(() => {
      other = true;
    });
    expect([await queue.get(), await queue.get(), other]).toEqual([1, 2, false]);
    await idle();
  });

  // test_blocking_get_wait
  virtualTest('waits for a put', async () => {
    const queue = new Queue<number>();
    currentLoop().callLater(10, () => queue.putNowait(1));
    expect([await queue.get(), currentTime()]).toEqual([1, 10]);
  });

  // test_get_with_putters
  runTest('lets a waiting put go on, and its item in', async () => {
    const queue = new Queue<number>(1);
    queue.putNowait(1);
    const putter = begun(() => queue.put(2));
    expect(await queue.get()).toBe(1);
    expect(queue.size).toBe(1);
    await putter;
    expect(queue.getNowait()).toBe(2);
  });

  // test_get_with_waiting_putters
  runTest('takes items of several waiting puts in order', async () => {
    const queue = new Queue<string>(1);
    const putters = ['a', 'b', 'c'].map((item) => begun(() => queue.put(item)));
    expect([await queue.get(), await queue.get(), await queue.get()]).toEqual(['a', 'b', 'c']);
    for (const putter of putters) await putter;
  });

  // test_why_are_getters_waiting
  runTest('ends when as many were put as are taken, through a queue of one', async () => {
    const queue = new Queue<number>(1);
    const got: number[] = [];
    await taskGroup(async (group) => {
      group.createTask(async () => {
        for (let i = 0; i < 5; i++) await queue.put(i);
      });
      group.createTask(async () => {
        for (let i = 0; i < 5; i++) got.push(await queue.get());
      });
    });
    expect(got).toEqual([0, 1, 2, 3, 4]);
  });

  // test_get_cancelled
  virtualTest('gives its item within a time limit', async () => {
    const queue = new Queue<number>();
    const getter = createTask(() => waitFor(() => queue.get(), 51));
    await sleep(10);
    queue.putNowait(1);
    expect([await getter, currentTime()]).toEqual([1, 10]);
  });

  // test_get_cancelled_race
  runTest('that was cancelled leaves the item to the next one', async () => {
    const queue = new Queue<string>();
    const first = begun(() => queue.get());
    const second = begun(() => queue.get());
    first.cancel();
    queue.putNowait('a');
    expect(await second).toBe('a');
    expect(await failure(first)).toBeInstanceOf(CancelledError);
  });

  // test_cancelled_getters_not_being_held_in_self_getters
  virtualTest('whose time is up waits no more', async () => {
    const queue = new Queue<number>(5);
    expect(await failure(waitFor(() => queue.get(), 100))).toBeInstanceOf(TimeoutError);
    queue.putNowait(1);
    expect(queue.size).toBe(1);
  });

  // test_get_cancel_drop_one_pending_reader
  runTest('that is cancelled after the put, in the same turn, has the item', async () => {
    const queue = new Queue<number>();
    const reader = begun(() => queue.get());
    queue.putNowait(1);
    queue.putNowait(2);
    reader.cancel();
    expect([await reader, queue.getNowait()]).toEqual([1, 2]);
  });

  // test_get_cancel_drop_many_pending_readers
  runTest('loses none of many items to a cancellation', async () => {
    const queue = new Queue<number>();
    const readers = [0, 1, 2].map(() => begun(() => queue.get()));
    queue.putNowait(1);
    readers[1]?.cancel();
    queue.putNowait(2);
    const outcomes = await Promise.allSettled(readers.map((reader) => reader.join()));
    expect(outcomes.map((outcome) => outcome.status === 'fulfilled' && outcome.value)).toEqual([
      1,
      false,
      2,
    ]);
  });
});

describe('Queue.put', () => {
  // test_blocking_put, test_nonblocking_put
  runTest('does not wait while there is room', async () => {
    const queue = new Queue<number>();
    let other = false;
    currentLoop().callSoon(() => {
      other = true;
    });
    await queue.put(1);
    await queue.put(2);
    expect([queue.size, other]).toEqual([2, false]);
    await idle();
  });

  // test_blocking_put_wait
  virtualTest('waits for room', async () => {
    const queue = new Queue<number>(1);
    currentLoop().callLater(10, () => queue.getNowait());
    await queue.put(1);
    await queue.put(2);
    expect([currentTime(), queue.getNowait()]).toEqual([10, 2]);
  });

  // test_put_cancelled
  runTest('hands its item to a get that waits, and goes on', async () => {
    const queue = new Queue<number>();
    const putter = createTask(async () => {
      await queue.put(1);
      return true;
    });
    expect([await queue.get(), await putter]).toEqual([1, true]);
  });

  // test_put_with_waiting_getters
  runTest('gives to the get that waits', async () => {
    const queue = new Queue<string>();
    const getter = begun(() => queue.get());
    await queue.put('a');
    expect([await getter, queue.size]).toEqual(['a', 0]);
  });

  // test_put_cancelled_race
  runTest('that was cancelled while it waited is not in the queue', async () => {
    const queue = new Queue<string>(1);
    const [a, b, c] = ['a', 'b', 'X'].map((item) => begun(() => queue.put(item)));
    await idle();
    expect([a?.done, b?.done]).toEqual([true, false]);
    c?.cancel();
    await idle();
    expect(c?.cancelled).toBe(true);
    expect([queue.getNowait(), queue.getNowait(), queue.empty]).toEqual(['a', 'b', true]);
    await b;
  });

  // test_put_cancel_drop, test_cancelled_put_silence_value_error_exception
  runTest('that is cancelled after it got room, in the same turn, has put its item', async () => {
    const queue = new Queue<number>(1);
    queue.putNowait(1);
    const writer = begun(() => queue.put(2));
    expect(queue.getNowait()).toBe(1);
    writer.cancel();
    await writer;
    expect([queue.getNowait(), queue.size]).toEqual([2, 0]);
  });

  // test_cancelled_puts_not_being_held_in_self_putters
  runTest('that was cancelled waits no more', async () => {
    const queue = new Queue<number>(1);
    queue.putNowait(1);
    const putter = begun(() => queue.put(2));
    putter.cancel();
    expect(await failure(putter)).toBeInstanceOf(CancelledError);
    queue.getNowait();
    expect(queue.empty).toBe(true);
  });

  // test_why_are_putters_waiting
  runTest('all go on when the queue is emptied at once', async () => {
    const queue = new Queue<number>(2);
    await taskGroup((group) => {
      for (let i = 0; i < 4; i++) group.createTask(() => queue.put(i));
      group.createTask(async () => {
        await idle();
        for (let left = queue.size; left > 0; left--) queue.getNowait();
      });
    });
    expect([queue.getNowait(), queue.getNowait(), queue.empty]).toEqual([2, 3, true]);
  });

  runTest('does not overtake puts that wait', async () => {
    const queue = new Queue<number>(1);
    queue.putNowait(1);
    const first = begun(() => queue.put(2));
    queue.getNowait();
    expect(thrown(() => queue.putNowait(3))).toBeInstanceOf(QueueFull);
    const second = begun(() => queue.put(3));
    expect([await queue.get(), await queue.get()]).toEqual([2, 3]);
    await first;
    await second;
  });
});

describe('LifoQueue', () => {
  // test_order
  runTest('gives the item that was put last', async () => {
    const queue = new LifoQueue<number>();
    for (const item of [1, 3, 2]) await queue.put(item);
    expect([await queue.get(), await queue.get(), await queue.get()]).toEqual([2, 3, 1]);
  });

  runTest('is limited, too: a put that waited comes out next', async () => {
    const queue = new LifoQueue<number>(2);
    queue.putNowait(1);
    queue.putNowait(2);
    const putter = begun(() => queue.put(3));
    expect([await queue.get(), await queue.get(), await queue.get()]).toEqual([2, 3, 1]);
    await putter;
  });
});

describe('for await over a queue', () => {
  // covers: asyncio/queue, seeds/C29
  runTest('takes items until the queue was shut down and is empty', async () => {
    const queue = new Queue<number>(2);
    const consumer = createTask(async () => {
      const got: number[] = [];
      for await (const item of queue) got.push(item);
      return got;
    });
    for (let i = 0; i < 10; i++) await queue.put(i);
    queue.shutdown();
    expect(await consumer).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  runTest('ends at once after an immediate shutdown', async () => {
    const queue = new Queue<number>();
    queue.putNowait(1);
    queue.shutdown(true);
    for await (const item of queue) throw new Error(`got ${item}`);
  });

  runTest('that is left early takes nothing with it', async () => {
    const queue = new Queue<number>();
    for (let i = 0; i < 3; i++) queue.putNowait(i);
    for await (const item of queue) if (item === 0) break;
    const rest: number[] = [];
    queue.shutdown();
    for await (const item of queue) rest.push(item);
    expect(rest).toEqual([1, 2]);
  });

  // covers: seeds/C43
  runTest('shares the items among several loops, in order of waiting', async () => {
    const queue = new Queue<number>();
    const got: string[] = [];
    await taskGroup(async (group) => {
      for (const name of ['a', 'b']) {
        group.createTask(async () => {
          for await (const item of queue) {
            got.push(`${name}${item}`);
            queue.taskDone();
            await sleep(0);
          }
        });
      }
      await idle();
      for (let i = 0; i < 6; i++) {
        queue.putNowait(i);
        await idle();
      }
      await queue.join();
      queue.shutdown();
    });
    expect(got).toEqual(['a0', 'b1', 'a2', 'b3', 'a4', 'b5']);
  });

  runTest('throws a cancellation and takes no item', async () => {
    const queue = new Queue<number>();
    const consumer = begun(async () => {
      for await (const item of queue) throw new Error(`got ${item}`);
    });
    await idle();
    consumer.cancel('enough');
    expect((await failure(consumer)).reason).toBe('enough');
    queue.putNowait(1);
    expect(queue.size).toBe(1);
  });
});
