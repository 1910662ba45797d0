import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Deque } from '../../lib/base/deque.ts';

describe('Deque', () => {
  test('behaves as an array', () => {
    const operation = fc.oneof(
      { weight: 5, arbitrary: fc.constant('push' as const) },
      { weight: 4, arbitrary: fc.constant('shift' as const) },
      { weight: 2, arbitrary: fc.constant('unshift' as const) },
      { weight: 1, arbitrary: fc.constant('delete' as const) },
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
        const deque = new Deque<number>();
        const model: number[] = [];
        let next = 0;
        for (const name of operations) {
          if (name === 'push') {
            deque.push(next);
            model.push(next++);
          } else if (name === 'unshift') {
            deque.unshift(next);
            model.unshift(next++);
          } else if (name === 'shift') {
            expect(deque.shift()).toBe(model.shift());
          } else {
            const victim = model[model.length >> 1] ?? -1;
            expect(deque.delete(victim)).toBe(model.includes(victim));
            if (model.includes(victim)) model.splice(model.indexOf(victim), 1);
          }
          expect(deque.length).toBe(model.length);
          expect(deque.peek()).toBe(model[0]);
        }
        expect([...deque]).toEqual(model);
      }),
    );
  });

  test('clear, and a burst', () => {
    const deque = new Deque<number>();
    for (let i = 0; i < 10_000; i++) deque.push(i);
    expect(deque.peek(9_999)).toBe(9_999);
    expect(deque.peek(10_000)).toBeUndefined();
    for (let i = 0; i < 10_000; i++) expect(deque.shift()).toBe(i);
    expect(deque.shift()).toBeUndefined();
    deque.push(1);
    deque.clear();
    expect(deque.length).toBe(0);
  });
});
