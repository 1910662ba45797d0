/** How the waits of queues are cancelled, where they may be used, and what is refused. */
import { describe, expect, test } from 'vitest';
import { CancelledError } from '../../lib/base/errors.ts';
import { PriorityQueue } from '../../lib/sync/priority-queue.ts';
import { LifoQueue, Queue } from '../../lib/sync/queue.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint, sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { failure, runTest, virtualTest } from '../task/support.ts';
import { begun, thrown } from './support.ts';

describe('a cancelled scope', () => {
  runTest('refuses get and put, also those that need not wait, and nothing moves', async () => {
    const queue = new Queue<number>(2);
    queue.putNowait(1);
    const scope = new CancelScope();
    scope.cancel('level');
    await scope.run(async () => {
      for (const wait of [
        () => queue.get(),
        () => queue.put(2),
        () => queue.join(),
        () => queue[Symbol.asyncIterator]().next(),
      ]) {
        expect((await failure(wait)).reason).toBe('level');
      }
      expect(queue.getNowait()).toBe(1);
      queue.putNowait(3);
    });
    expect([scope.cancelledCaught, queue.size]).toEqual([false, 1]);
  });

  virtualTest('ends the waits inside, and others wait on', async () => {
    const queue = new Queue<number>();
    const outside = begun(() => queue.get());
    expect(await moveOnAfter(5, () => Promise.all([queue.get(), queue.get()]))).toBeUndefined();
    queue.putNowait(1);
    expect([await outside, queue.size]).toEqual([1, 0]);
  });

  virtualTest('with a deadline at the time of the put: exactly one of them counts', async () => {
    const queue = new Queue<number>();
    const putter = createTask(async () => {
      await sleep(5);
      queue.putNowait(1);
    });
    const got = await moveOnAfter(5, () => queue.get());
    await putter;
    expect([got, queue.size]).toEqual(got === 1 ? [1, 0] : [undefined, 1]);
  });
});

describe('task.cancel()', () => {
  runTest('that comes before a get is thrown by it, once, and no item is taken', async () => {
    const queue = new Queue<number>();
    queue.putNowait(1);
    const task = createTask(async () => {
      task.cancel('edge');
      const error = await failure(queue.get());
      return [error.reason, await queue.get()];
    });
    expect(await task).toEqual(['edge', 1]);
  });

  runTest('that comes before a put is thrown by it, once, and no item is put', async () => {
    const queue = new Queue<number>();
    const task = createTask(async () => {
      task.cancel('edge');
      const error = await failure(queue.put(1));
      await queue.put(2);
      return error.reason;
    });
    expect([await task, queue.getNowait(), queue.empty]).toEqual(['edge', 2, true]);
  });

  runTest('in the turn of the hand-over comes at the next wait', async () => {
    const queue = new Queue<number>();
    const log: unknown[] = [];
    const task = begun(async () => {
      log.push(await queue.get());
      log.push(await failure(checkpoint()));
    });
    queue.putNowait(1);
    task.cancel();
    await task;
    expect(log).toEqual([1, expect.any(CancelledError)]);
  });
});

describe('a signal', () => {
  runTest('that has aborted is refused, also when nothing need be waited for', async () => {
    const queue = new Queue<number>();
    queue.putNowait(1);
    const options = { signal: AbortSignal.abort('why') };
    expect(await failure(queue.get(options))).toBe('why');
    expect(await failure(queue.put(2, options))).toBe('why');
    expect(await failure(queue.join(options))).toBe('why');
    expect(queue.size).toBe(1);
  });

  runTest('ends get and put with its reason, and the next in line is served', async () => {
    const queue = new Queue<number>(1);
    const controller = new AbortController();
    const { signal } = controller;
    const aborted = begun(() => queue.get({ signal }));
    const served = begun(() => queue.get());
    const reason = new Error('mine');
    controller.abort(reason);
    expect(await failure(aborted)).toBe(reason);
    queue.putNowait(1);
    expect(await served).toBe(1);
    queue.putNowait(2);
    const other = new AbortController();
    const putter = begun(() => queue.put(3, { signal: other.signal }));
    other.abort(reason);
    expect(await failure(putter)).toBe(reason);
    expect([queue.getNowait(), queue.empty]).toEqual([2, true]);
  });

  runTest('that aborts after the hand-over changes nothing', async () => {
    const queue = new Queue<number>();
    const controller = new AbortController();
    const getter = begun(() => queue.get({ signal: controller.signal }));
    queue.putNowait(1);
    controller.abort();
    expect(await getter).toBe(1);
  });
});

describe('many waits', () => {
  runTest('are served first come, first served', async () => {
    const queue = new Queue<number>();
    const order: number[] = [];
    await taskGroup((group) => {
      for (let i = 0; i < 1000; i++) {
        group.createTask(async () => {
          const item = await queue.get();
          if (item !== i) throw new Error(`task ${i} got ${item}`);
          order.push(i);
        });
      }
      group.createTask(() => {
        for (let i = 0; i < 1000; i++) queue.putNowait(i);
      });
    });
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    expect(order.length).toBe(1000);
  });

  runTest('are cancelled in time that grows with their number, not its square', async () => {
    const queue = new Queue<number>();
    const tasks = Array.from({ length: 20_000 }, () => begun(() => queue.get()));
    // From the end, which a search would have to reach each time.
    for (const task of tasks.toReversed()) task.cancel();
    for (const task of tasks) await task.wait();
    queue.putNowait(1);
    expect(queue.size).toBe(1);
  });
});

describe('misuse', () => {
  const kinds = [Queue, LifoQueue, PriorityQueue];

  test('a maxSize that is negative, no integer or NaN is a RangeError', () => {
    for (const Kind of kinds) {
      for (const maxSize of [-1, 1.3, Number.NaN, -Infinity]) {
        const error = thrown(() => new Kind(maxSize));
        expect([error.name, error.code]).toEqual(['RangeError', 'ERR_OUT_OF_RANGE']);
      }
    }
  });

  test('a maxSize that is no number is a TypeError', () => {
    for (const Kind of kinds) {
      for (const maxSize of ['1', null, {}, 1n]) {
        const error = thrown(() => new Kind(maxSize as number));
        expect([error.name, error.code]).toEqual(['TypeError', 'ERR_INVALID_ARG_TYPE']);
        expect(error.message).toContain('maxSize');
      }
    }
  });

  test('a maxSize of 0, none and Infinity is no limit', () => {
    for (const queue of [new Queue(0), new Queue(), new Queue(Infinity)]) {
      for (let i = 0; i < 100; i++) queue.putNowait(i);
      expect(queue.full).toBe(false);
    }
  });
});

describe('outside of run()', () => {
  checkLeaks();

  test('all works', async () => {
    const queue = new Queue<number>(1);
    const got: number[] = [];
    const consumer = (async () => {
      for await (const item of queue) {
        got.push(item);
        queue.taskDone();
      }
    })();
    for (let i = 0; i < 200; i++) await queue.put(i);
    await queue.join();
    queue.shutdown();
    await consumer;
    expect(got).toEqual(Array.from({ length: 200 }, (_, i) => i));
    const controller = new AbortController();
    const empty = new Queue<number>();
    const waiting = empty.get({ signal: controller.signal });
    controller.abort('why');
    expect(await failure(waiting)).toBe('why');
    expect(await moveOnAfter(1, () => empty.get())).toBeUndefined();
  });

  test('a program inside and one outside may share a queue', async () => {
    const queue = new Queue<number>();
    const outside = queue.get();
    const task = createTask(() => queue.put(1));
    expect(await outside).toBe(1);
    await task;
    const inside = createTask(async () => [await queue.get(), await queue.get()]);
    await queue.put(2);
    queue.putNowait(3);
    expect(await inside).toEqual([2, 3]);
  });
});
