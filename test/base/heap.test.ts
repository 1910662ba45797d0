import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Heap } from '../../lib/base/heap.ts';

interface Entry {
  readonly rank: number;
  readonly arrival: number;
}

const byRank = (a: Entry, b: Entry): number => a.rank - b.rank;

/** What a stable sort has first. */
function smallest(entries: readonly Entry[]): Entry | undefined {
  return entries.toSorted(byRank)[0];
}

describe('Heap', () => {
  test('gives the smallest, and equal ones in order of arrival', () => {
    const operation = fc.oneof(
      { weight: 3, arbitrary: fc.integer({ min: 0, max: 5 }) },
      { weight: 2, arbitrary: fc.constant('shift' as const) },
      { weight: 1, arbitrary: fc.constant('clear' as const) },
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
        const heap = new Heap(byRank);
        let model: Entry[] = [];
        for (const [arrival, what] of operations.entries()) {
          if (what === 'shift') {
            const wanted = smallest(model);
            expect(heap.shift()).toBe(wanted);
            model = model.filter((entry) => entry !== wanted);
          } else if (what === 'clear' && arrival % 5 === 0) {
            heap.clear();
            model = [];
          } else if (what !== 'clear') {
            const entry = { rank: what, arrival };
            heap.push(entry);
            model.push(entry);
          }
          expect(heap.length).toBe(model.length);
        }
        while (model.length > 0) {
          const wanted = smallest(model);
          expect(heap.shift()).toBe(wanted);
          model = model.filter((entry) => entry !== wanted);
        }
        expect(heap.shift()).toBeUndefined();
      }),
    );
  });

  test('is unchanged by a call in which the comparison threw', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 2, maxLength: 40 }),
        fc.integer({ min: 0, max: 9 }),
        fc.nat(10),
        (ranks, extra, after) => {
          let left = Infinity;
          const heap = new Heap<number>((a, b) => {
            if (left-- <= 0) throw new Error('no order today');
            return a - b;
          });
          for (const rank of ranks) heap.push(rank);
          const expected = ranks.toSorted((a, b) => a - b);
          for (const call of [(): unknown => heap.push(extra), (): unknown => heap.shift()]) {
            left = after;
            try {
              const result = call();
              if (result === undefined) expected.push(extra);
              else expected.splice(expected.indexOf(result as number), 1);
              expected.sort((a, b) => a - b);
            } catch (error) {
              expect((error as Error).message).toBe('no order today');
            }
            left = Infinity;
            expect(heap.length).toBe(expected.length);
          }
          const rest: unknown[] = [];
          while (heap.length > 0) rest.push(heap.shift());
          expect(rest).toEqual(expected);
        },
      ),
    );
  });
});
