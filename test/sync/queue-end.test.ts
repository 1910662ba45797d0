/** join, taskDone and shutdown of all three queues; behaviours of asyncio's test_queues (3.13). */
import { describe, expect } from 'vitest';
import { CancelledError, QueueShutDown } from '../../lib/base/errors.ts';
import { PriorityQueue } from '../../lib/sync/priority-queue.ts';
import { LifoQueue, Queue } from '../../lib/sync/queue.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { failure, runTest, virtualTest } from '../task/support.ts';
import { begun, idle, thrown } from './support.ts';

async function expectShutDown(queue: Queue<number>): Promise<void> {
  expect(await failure(queue.put(9))).toBeInstanceOf(QueueShutDown);
  expect(thrown(() => queue.putNowait(9))).toBeInstanceOf(QueueShutDown);
  expect(await failure(queue.get())).toBeInstanceOf(QueueShutDown);
  expect(thrown(() => queue.getNowait())).toBeInstanceOf(QueueShutDown);
}

describe.each([{ Kind: Queue }, { Kind: LifoQueue }, { Kind: PriorityQueue }])(
  '$Kind.name: join and taskDone',
  ({ Kind }) => {
    // test_task_done_underflow
    runTest('taskDone called too often is a RangeError', async () => {
      const queue = new Kind<number>();
      expect(thrown(() => queue.taskDone())).toBeInstanceOf(RangeError);
      queue.putNowait(1);
      await queue.get();
      queue.taskDone();
      expect(thrown(() => queue.taskDone())).toBeInstanceOf(RangeError);
      await queue.join();
    });

    // test_task_done
    runTest('join waits until all items are worked off', async () => {
      const queue = new Kind<number>();
      for (let i = 0; i < 100; i++) queue.putNowait(i);
      let sum = 0;
      await taskGroup(async (group) => {
        for (let i = 0; i < 2; i++) {
          group.createTask(async () => {
            for await (const item of queue) {
              sum += item;
              queue.taskDone();
            }
          });
        }
        await queue.join();
        expect(sum).toBe(4950);
        queue.shutdown();
      });
    });

    // test_join_empty_queue
    runTest('join of a queue without work does not wait', async () => {
      const queue = new Kind<number>();
      await queue.join();
      await queue.join();
    });

    runTest(
      'join counts an item that went straight to a get, and one that had to wait',
      async () => {
        const queue = new Kind<number>(1);
        const getter = begun(() => queue.get());
        queue.putNowait(1);
        queue.putNowait(2);
        const putter = begun(() => queue.put(3));
        await getter;
        const join = begun(() => queue.join());
        queue.taskDone();
        await queue.get();
        await queue.get();
        queue.taskDone();
        await idle();
        expect(join.done).toBe(false);
        queue.taskDone();
        await join;
        await putter;
      },
    );

    virtualTest('join may be cancelled, and others go on', async () => {
      const queue = new Kind<number>();
      queue.putNowait(1);
      const first = begun(() => queue.join());
      const second = begun(() => queue.join());
      expect(await moveOnAfter(5, () => queue.join())).toBeUndefined();
      const controller = new AbortController();
      const third = begun(() => queue.join({ signal: controller.signal }));
      controller.abort('no more');
      expect(await failure(third)).toBe('no more');
      first.cancel();
      expect(await failure(first)).toBeInstanceOf(CancelledError);
      queue.taskDone();
      await second;
    });
  },
);

describe.each([{ Kind: Queue }, { Kind: LifoQueue }, { Kind: PriorityQueue }])(
  '$Kind.name: shutdown',
  ({ Kind }) => {
    // test_shutdown_empty
    runTest('of an empty queue ends gets that wait', async () => {
      const queue = new Kind<number>();
      const getter = begun(() => queue.get());
      queue.shutdown();
      expect(queue.size).toBe(0);
      await queue.join();
      expect(await failure(getter)).toBeInstanceOf(QueueShutDown);
      await expectShutDown(queue);
    });

    // test_shutdown_nonempty
    runTest('leaves what is in the queue, and ends puts that wait', async () => {
      const queue = new Kind<number>(1);
      queue.putNowait(1);
      const join = begun(() => queue.join());
      const putter = begun(() => queue.put(2));
      queue.shutdown();
      expect(queue.size).toBe(1);
      expect(await failure(putter)).toBeInstanceOf(QueueShutDown);
      expect(await queue.get()).toBe(1);
      await expectShutDown(queue);
      expect(join.done).toBe(false);
      queue.taskDone();
      await join;
      expect(thrown(() => queue.taskDone())).toBeInstanceOf(RangeError);
    });

    // test_shutdown_immediate
    runTest('drops what is in the queue when it is immediate, and join ends', async () => {
      const queue = new Kind<number>();
      queue.putNowait(1);
      const join = begun(() => queue.join());
      queue.shutdown(true);
      expect(queue.size).toBe(0);
      await join;
      await expectShutDown(queue);
      expect(thrown(() => queue.taskDone())).toBeInstanceOf(RangeError);
    });

    // test_shutdown_immediate_with_unfinished
    runTest('that is immediate lets join wait for the items in work', async () => {
      const queue = new Kind<number>();
      queue.putNowait(1);
      queue.putNowait(1);
      const join = begun(() => queue.join());
      await queue.get();
      queue.shutdown(true);
      await idle();
      expect([queue.size, join.done]).toEqual([0, false]);
      await expectShutDown(queue);
      queue.taskDone();
      await join;
      expect(thrown(() => queue.taskDone())).toBeInstanceOf(RangeError);
    });

    // janus: test_shutdown_immediate_with_undone_tasks
    runTest('does not count an item twice that was called done before it was taken', async () => {
      const queue = new Kind<number>();
      queue.putNowait(1);
      queue.putNowait(2);
      queue.taskDone();
      queue.shutdown(true);
      await queue.join();
      expect(thrown(() => queue.taskDone())).toBeInstanceOf(RangeError);
    });

    runTest('may be called again, and become immediate', async () => {
      const queue = new Kind<number>();
      queue.putNowait(1);
      queue.shutdown();
      queue.shutdown();
      expect(queue.size).toBe(1);
      queue.shutdown(true);
      queue.shutdown();
      expect(queue.size).toBe(0);
      await expectShutDown(queue);
    });

    // janus: test_shutdown_many_putters, test_shutdown_many_getters
    runTest('ends many waits, in order', async () => {
      const queue = new Kind<number>(1);
      const log: string[] = [];
      const tasks = [0, 1, 2].map((i) =>
        begun(async () => {
          expect(await failure(queue.get())).toBeInstanceOf(QueueShutDown);
          log.push(`get ${i}`);
        }),
      );
      queue.shutdown();
      for (const task of tasks) await task;
      const full = new Kind<number>(1);
      full.putNowait(0);
      const putters = [0, 1, 2].map((i) =>
        begun(async () => {
          expect(await failure(full.put(i))).toBeInstanceOf(QueueShutDown);
          log.push(`put ${i}`);
        }),
      );
      full.shutdown(true);
      for (const task of putters) await task;
      expect(log).toEqual(['get 0', 'get 1', 'get 2', 'put 0', 'put 1', 'put 2']);
    });

    runTest('in the turn of a put does not take the item from whoever got it', async () => {
      const queue = new Kind<number>();
      const getter = begun(() => queue.get());
      queue.putNowait(1);
      queue.shutdown(true);
      expect(await getter).toBe(1);
      queue.taskDone();
      await queue.join();
    });
  },
);
