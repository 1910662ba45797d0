import { describe, expect } from 'vitest';
import { PriorityQueue } from '../../lib/sync/priority-queue.ts';
import { failure, runTest } from '../task/support.ts';
import { begun, thrown } from './support.ts';

function drain<T>(queue: PriorityQueue<T>): T[] {
  const items: T[] = [];
  while (!queue.empty) items.push(queue.getNowait());
  return items;
}

function sorted<T>(items: readonly T[], compare?: (a: T, b: T) => number): T[] {
  const queue = new PriorityQueue<T>(0, compare);
  for (const item of items) queue.putNowait(item);
  return drain(queue);
}

// covers: asyncio/queue, curio/queues
describe('PriorityQueue', () => {
  // asyncio: test_order
  runTest('gives the smallest item first', async () => {
    const queue = new PriorityQueue<number>();
    for (const item of [1, 3, 2]) await queue.put(item);
    expect([await queue.get(), await queue.get(), await queue.get()]).toEqual([1, 2, 3]);
  });

  runTest('gives equal items in order of arrival', () => {
    const items = [...'badcab'].map((name, i) => ({ name, i }));
    const result = sorted(items, (a, b) => a.name.localeCompare(b.name));
    expect(result.map(({ name, i }) => `${name}${i}`)).toEqual([
      'a1',
      'a4',
      'b0',
      'b5',
      'c3',
      'd2',
    ]);
  });

  runTest('compares numbers as numbers, and strings, dates and bigints', () => {
    expect(sorted([10, 9, -1, Infinity, 0.5])).toEqual([-1, 0.5, 9, 10, Infinity]);
    expect(sorted(['b', 'B', 'a'])).toEqual(['B', 'a', 'b']);
    expect(sorted<number | bigint>([3n, 2.5, 1n])).toEqual([1n, 2.5, 3n]);
    expect(sorted([new Date(2), new Date(1)])).toEqual([new Date(1), new Date(2)]);
  });

  runTest('compares arrays as tuples: [priority, job]', () => {
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => ({ name }));
    // Jobs have no order: with equal priority, the one that came first.
    const items: [number, unknown][] = [
      [10, a],
      [9, b],
      [9, c],
      [1, d],
    ];
    expect(sorted(items).map(([, job]) => job)).toEqual([d, b, c, a]);
    expect(sorted([[1, 2], [1], [0, [9]], [0, [1]]])).toEqual([[0, [1]], [0, [9]], [1], [1, 2]]);
  });

  runTest('refuses items without an order, and keeps the others', async () => {
    for (const [first, second] of [
      [{ a: 1 }, { a: 2 }],
      [1, 'one'],
      [1, undefined],
      [1, Number.NaN],
      [new Date(0), new Date(Number.NaN)],
      [[1], 1],
    ]) {
      const queue = new PriorityQueue<unknown>();
      queue.putNowait(first);
      expect(await failure(queue.put(second))).toBeInstanceOf(TypeError);
      expect(thrown(() => queue.putNowait(second)).code).toBe('ERR_INVALID_ARG_TYPE');
      expect(drain(queue)).toEqual([first]);
      queue.taskDone();
      await queue.join();
    }
  });

  runTest('gives an error of the comparison to the caller, and changes nothing', async () => {
    let broken = false;
    const queue = new PriorityQueue<number>(2, (a, b) => {
      if (broken) throw new Error('broken');
      return a - b;
    });
    queue.putNowait(2);
    queue.putNowait(1);
    broken = true;
    // To move the last item to the top, two must be compared: only from three on.
    expect(queue.getNowait()).toBe(1);
    expect((await failure(queue.put(3))).message).toBe('broken');
    expect(queue.size).toBe(1);
    broken = false;
    const wide = new PriorityQueue<number>(0, (a, b) => {
      if (broken) throw new Error('broken');
      return b - a;
    });
    for (const item of [1, 2, 3]) wide.putNowait(item);
    broken = true;
    expect((await failure(wide.get())).message).toBe('broken');
    expect(thrown(() => wide.getNowait()).message).toBe('broken');
    broken = false;
    expect(drain(wide)).toEqual([3, 2, 1]);
  });

  runTest(
    'gives an error of the comparison to the put that waited, and lets the next in',
    async () => {
      const queue = new PriorityQueue<unknown>(2);
      queue.putNowait(1);
      queue.putNowait(2);
      const wrong = begun(() => queue.put('one'));
      const right = begun(() => queue.put(0));
      expect(await queue.get()).toBe(1);
      expect(await failure(wrong)).toBeInstanceOf(TypeError);
      await right;
      expect(drain(queue)).toEqual([0, 2]);
    },
  );

  runTest('gives the first item put to whoever waits, not the smallest of the turn', async () => {
    const queue = new PriorityQueue<number>();
    const getter = begun(() => queue.get());
    queue.putNowait(2);
    queue.putNowait(1);
    expect([await getter, await queue.get()]).toEqual([2, 1]);
  });

  runTest('lets a put that waited compete with what is there', async () => {
    const queue = new PriorityQueue<number>(2);
    queue.putNowait(5);
    queue.putNowait(3);
    const putter = begun(() => queue.put(4));
    expect([await queue.get(), await queue.get(), await queue.get()]).toEqual([3, 4, 5]);
    await putter;
  });

  runTest('refuses a compare that is no function', () => {
    const make = (compare: unknown): unknown => new PriorityQueue(0, compare as () => number);
    expect(thrown(() => make('a'))).toBeInstanceOf(TypeError);
    expect(thrown(() => make(null)).code).toBe('ERR_INVALID_ARG_TYPE');
  });
});
