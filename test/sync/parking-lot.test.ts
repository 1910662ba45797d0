import { describe, expect, test } from 'vitest';
import { InvalidStateError } from '../../lib/base/errors.ts';
import { ParkingLot } from '../../lib/sync/parking-lot.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { checkpoint } from '../../lib/task/sleep.ts';
import { createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { failure, runTest } from '../task/support.ts';
import { idle } from './lock-support.ts';

function parked(lot: ParkingLot, log: string[], names: string[]): CancelScope[] {
  return names.map((name) => {
    const scope = new CancelScope();
    createTask(() =>
      scope.run(async () => {
        await lot.park().catch((error) => {
          log.push(`${name} cancelled`);
          throw error;
        });
        log.push(name);
      }),
    );
    return scope;
  });
}

describe('ParkingLot, as trio has it:', () => {
  runTest('unparkAll() wakes all', async () => {
    const lot = new ParkingLot();
    const log: string[] = [];
    parked(lot, log, ['a', 'b', 'c']);
    await idle();
    expect([log, lot.waiting]).toEqual([[], 3]);
    expect([lot.unparkAll(), lot.waiting]).toEqual([3, 0]);
    await idle();
    expect(log).toEqual(['a', 'b', 'c']);
  });

  runTest('unpark() wakes one, in order', async () => {
    const lot = new ParkingLot();
    const log: string[] = [];
    parked(lot, log, ['a', 'b', 'c']);
    await idle();
    for (const name of ['a', 'b', 'c']) {
      expect(lot.unpark()).toBe(1);
      await idle();
      expect(log.at(-1)).toBe(name);
    }
  });

  runTest('unpark() of nobody does nothing, and is not remembered', async () => {
    const lot = new ParkingLot();
    expect([lot.unpark(), lot.unpark(1), lot.unpark(100), lot.unparkAll()]).toEqual([0, 0, 0, 0]);
    const log: string[] = [];
    parked(lot, log, ['a']);
    await idle();
    expect(log).toEqual([]);
    lot.unpark();
    await idle();
  });

  runTest('unpark(n) wakes n', async () => {
    const lot = new ParkingLot();
    const log: string[] = [];
    parked(lot, log, ['a', 'b', 'c']);
    await idle();
    expect(lot.unpark(2)).toBe(2);
    await idle();
    expect(log).toEqual(['a', 'b']);
    expect(lot.unpark(Infinity)).toBe(1);
    await idle();
  });

  runTest('a cancelled task is parked no longer', async () => {
    const lot = new ParkingLot();
    const log: string[] = [];
    const scopes = parked(lot, log, ['a', 'b', 'c']);
    await idle();
    scopes[1]?.cancel();
    expect(lot.waiting).toBe(2);
    await idle();
    expect(lot.unparkAll()).toBe(2);
    await idle();
    expect(log).toEqual(['b cancelled', 'a', 'c']);
  });

  runTest('there is no unparking a part of a task', async () => {
    const lot = new ParkingLot();
    for (const bad of [1.5, -1, NaN]) expect(() => lot.unpark(bad)).toThrow(RangeError);
    expect(() => lot.unpark('2' as never)).toThrow(TypeError);
    expect(lot.unpark(0)).toBe(0);
  });
});

describe('a ParkingLot', () => {
  runTest('has unparked a task that is cancelled afterwards in the same step', async () => {
    const lot = new ParkingLot();
    const log: string[] = [];
    const scopes = parked(lot, log, ['a', 'b']);
    await idle();
    lot.unpark();
    scopes[0]?.cancel();
    await idle();
    expect([log, lot.waiting]).toEqual([['a'], 1]);
    lot.unpark();
    await idle();
  });

  runTest('passes over a task that was cancelled before in the same step', async () => {
    const lot = new ParkingLot();
    const log: string[] = [];
    const scopes = parked(lot, log, ['a', 'b']);
    await idle();
    scopes[0]?.cancel();
    lot.unpark();
    await idle();
    expect(log).toEqual(['a cancelled', 'b']);
  });

  test('works outside of tasks', async () => {
    const lot = new ParkingLot();
    const parking = lot.park();
    expect(lot.unpark()).toBe(1);
    await parking;
  });
});

/** What a user would write. */
class OwnLock {
  readonly #lot = new ParkingLot();
  owner: Task | null = null;

  async acquire(): Promise<void> {
    while (this.owner !== null) await this.#lot.park();
    this.owner = currentTask();
  }

  release(): void {
    if (this.owner !== currentTask()) throw new InvalidStateError('not mine');
    this.owner = null;
    this.#lot.unpark();
  }
}

// covers: seeds/C20
describe('a lock written with a ParkingLot', () => {
  runTest('lets one task in at a time', async () => {
    const lock = new OwnLock();
    let inside = 0;
    let most = 0;
    await taskGroup((group) => {
      for (let i = 0; i < 10; i++) {
        group.createTask(async () => {
          await lock.acquire();
          most = Math.max(most, ++inside);
          await checkpoint();
          inside--;
          lock.release();
        });
      }
    });
    expect([most, lock.owner]).toEqual([1, null]);
    expect(await failure(() => new OwnLock().release())).toBeInstanceOf(InvalidStateError);
  });
});
