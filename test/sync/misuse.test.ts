/** Each wrong use has its error: thrown by plain functions, a rejection where a promise is due. */
import { describe, expect } from 'vitest';
import { Barrier } from '../../lib/sync/barrier.ts';
import { CapacityLimiter } from '../../lib/sync/capacity-limiter.ts';
import { Condition } from '../../lib/sync/condition.ts';
import { Lock } from '../../lib/sync/lock.ts';
import { ParkingLot } from '../../lib/sync/parking-lot.ts';
import { ResourceGuard } from '../../lib/sync/resource-guard.ts';
import { Semaphore } from '../../lib/sync/semaphore.ts';
import { failure, runTest } from '../task/support.ts';

const outOfRange = 'ERR_OUT_OF_RANGE';
const wrongType = 'ERR_INVALID_ARG_TYPE';
const state = 'ERR_INVALID_STATE';
const wouldBlock = 'ERR_UVIO_WOULD_BLOCK';

function held(condition: Condition): Condition {
  condition.lock.acquireNowait();
  return condition;
}

const thrown: [string, string, () => unknown][] = [
  ['new Semaphore(-1)', outOfRange, () => new Semaphore(-1)],
  ['new Semaphore(0.5)', outOfRange, () => new Semaphore(0.5)],
  ['new Semaphore(NaN)', outOfRange, () => new Semaphore(NaN)],
  ['new Semaphore(Infinity)', outOfRange, () => new Semaphore(Infinity)],
  ["new Semaphore('1')", wrongType, () => new Semaphore('1' as never)],
  ['new Semaphore(2, { max: 1 })', outOfRange, () => new Semaphore(2, { max: 1 })],
  ["new Semaphore(1, { max: '2' })", wrongType, () => new Semaphore(1, { max: '2' as never })],
  ['semaphore.release() above max', outOfRange, () => new Semaphore(1, { max: 1 }).release()],
  ['semaphore.acquireNowait() of 0', wouldBlock, () => new Semaphore(0).acquireNowait()],
  ['new CapacityLimiter(-1)', outOfRange, () => new CapacityLimiter(-1)],
  ['new CapacityLimiter(1.5)', outOfRange, () => new CapacityLimiter(1.5)],
  ['new CapacityLimiter()', wrongType, () => new CapacityLimiter(undefined as never)],
  ['limiter.release() of nothing', state, () => new CapacityLimiter(1).release()],
  ["limiter.release('stranger')", state, () => new CapacityLimiter(1).release('stranger')],
  ['limiter.acquireNowait() of 0', wouldBlock, () => new CapacityLimiter(0).acquireNowait()],
  ['new Barrier(0)', outOfRange, () => new Barrier(0)],
  ['new Barrier(Infinity)', outOfRange, () => new Barrier(Infinity)],
  ["new Barrier('2')", wrongType, () => new Barrier('2' as never)],
  ['lock.release() of a free lock', state, () => new Lock().release()],
  ['new Condition({})', wrongType, () => new Condition({} as Lock)],
  ['new Condition(null)', wrongType, () => new Condition(null as never)],
  ['condition.release() of a free lock', state, () => new Condition().release()],
  ['condition.notify() without the lock', state, () => new Condition().notify()],
  ['condition.notifyAll() without the lock', state, () => new Condition().notifyAll()],
  ['condition.notify(-1)', outOfRange, () => held(new Condition()).notify(-1)],
  ['condition.notify(0.5)', outOfRange, () => held(new Condition()).notify(0.5)],
  ["condition.notify('1')", wrongType, () => held(new Condition()).notify('1' as never)],
  ['lot.unpark(-1)', outOfRange, () => new ParkingLot().unpark(-1)],
  ["lot.unpark('1')", wrongType, () => new ParkingLot().unpark('1' as never)],
  ['new ResourceGuard(5)', wrongType, () => new ResourceGuard(5 as never)],
];

const rejected: [string, string, () => Promise<unknown>][] = [
  ['condition.wait() without the lock', state, () => new Condition().wait()],
  ['condition.waitFor() without the lock', state, () => new Condition().waitFor(() => false)],
  ['condition.waitFor(5)', wrongType, () => held(new Condition()).waitFor(5 as never)],
  [
    'condition.waitFor() with a predicate that returns a promise',
    wrongType,
    () => held(new Condition()).waitFor(async () => false),
  ],
];

describe('misuse:', () => {
  for (const [title, code, call] of thrown) {
    runTest(`${title} throws ${code}`, () => {
      let error: unknown;
      try {
        call();
      } catch (caught) {
        error = caught;
      }
      expect((error as { code?: string }).code).toBe(code);
    });
  }

  for (const [title, code, call] of rejected) {
    runTest(`${title} rejects with ${code}`, async () => {
      const promise = call();
      expect((await failure(promise)).code).toBe(code);
    });
  }

  for (const source of [new Lock(), new Condition(), new Semaphore(), new CapacityLimiter(1)]) {
    runTest(`${source.constructor.name}.with() of a promise says what to write`, async () => {
      const error = await failure(source.with(Promise.resolve() as never));
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toMatch(/with\(\) takes a function, not a promise.*\(\) => f\(x\)/);
      // Nothing was acquired.
      using _ = await source.acquire();
    });
  }
});
