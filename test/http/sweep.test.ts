import { describe, expect } from 'vitest';
import { Sweep, type Swept } from '../../lib/http/native-sweep.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { runTest } from '../task/support.ts';

class One implements Swept {
  place = -1;
  dueMs: number;
  told = 0;
  readonly #onDue: () => void;

  constructor(dueMs: number, onDue: () => void = () => {}) {
    this.dueMs = dueMs;
    this.#onDue = onDue;
  }

  onDue(): void {
    this.told++;
    this.dueMs = Infinity;
    this.#onDue();
  }
}

describe('a sweep', () => {
  runTest('tells each one that is due, whoever leaves meanwhile', async () => {
    const sweep = new Sweep(currentLoop(), 40);
    const all: One[] = [];
    const leaving =
      (...places: number[]) =>
      (): void => {
        for (const place of places) sweep.remove(all[place] as One);
      };
    all.push(new One(0), new One(0, leaving(1)), new One(Infinity), new One(0, leaving(3, 5)));
    all.push(new One(0), new One(0, leaving(0, 5, 5)), new One(0));
    for (const one of all) sweep.add(one);
    await sleep(60);
    // Looked at from the back: 5 took 0 away before that was told.
    expect(all.map((one) => one.told)).toEqual([0, 1, 0, 1, 1, 1, 1]);
    expect(all.map((one) => one.place >= 0)).toEqual([
      false,
      false,
      true,
      false,
      true,
      false,
      true,
    ]);
    (all[2] as One).dueMs = 0;
    (all[4] as One).dueMs = 0;
    await sleep(60);
    expect(all.map((one) => one.told)).toEqual([0, 1, 1, 1, 2, 1, 1]);
    for (const one of all) sweep.remove(one);
  });
});
