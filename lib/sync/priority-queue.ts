/**
 * A queue that gives the smallest item first.
 *
 * In: items, and how to compare them. Out: the smallest of those stored; equal ones in order of
 * arrival. Never: an order made up for items that have none.
 */
import { argTypeError } from '../base/errors.ts';
import { type Compare, Heap } from '../base/heap.ts';
import { Queue } from './queue.ts';

/**
 * Smallest first; equal items in order of arrival. A task that waits gets the first item put, as
 * there was none to compare it with.
 *
 * Without `compare`: numbers, bigints, strings and Dates of one kind; arrays element by element, as
 * Python's tuples, where what has no order counts as equal: `[priority, job]`. Other items: `put`
 * throws TypeError. An error that `compare` throws is thrown by the call concerned, and the item is
 * not put, or not taken. (asyncio.PriorityQueue)
 */
export class PriorityQueue<T> extends Queue<T> {
  /**
   * @param maxSize see `Queue`.
   * @param compare negative when `a` comes first, as for `Array.sort`. No function: TypeError.
   */
  constructor(maxSize: number = 0, compare: Compare<T> = naturalOrder) {
    super(maxSize);
    if (typeof compare !== 'function') throw argTypeError('compare', 'a function', compare);
    this.keepIn(new Heap<T>(compare));
  }
}

function naturalOrder(a: unknown, b: unknown): number {
  if (Array.isArray(a) && Array.isArray(b)) return tupleOrder(a, b);
  const order = orderOf(a, b);
  if (order !== null) return order;
  const what = 'items that compare with each other, or a compare function';
  throw argTypeError('item', what, orderOf(a, a) === null ? a : b);
}

function tupleOrder(a: readonly unknown[], b: readonly unknown[]): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const [x, y] = [a[i], b[i]];
    const order = Array.isArray(x) && Array.isArray(y) ? tupleOrder(x, y) : (orderOf(x, y) ?? 0);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

/** Null: they have no order. */
function orderOf(a: unknown, b: unknown): number | null {
  const kind = kindOf(a);
  if (kind === null || kind !== kindOf(b)) return null;
  const [x, y] = [a as number, b as number];
  return x < y ? -1 : x > y ? 1 : 0;
}

function kindOf(value: unknown): string | null {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : 'date';
  const type = typeof value;
  if (type === 'number') return Number.isNaN(value) ? null : 'number';
  // One of a number and a bigint is compared by value.
  if (type === 'bigint') return 'number';
  return type === 'string' || type === 'boolean' ? type : null;
}
