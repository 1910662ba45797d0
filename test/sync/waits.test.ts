/** What holds for every wait of the room, and trio's tests for everything that is like a lock. */
import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { CancelledError, type WaitOptions, WouldBlock } from '../../lib/base/errors.ts';
import { Barrier } from '../../lib/sync/barrier.ts';
import { CapacityLimiter } from '../../lib/sync/capacity-limiter.ts';
import { Event } from '../../lib/sync/event.ts';
import { Lock } from '../../lib/sync/lock.ts';
import { ParkingLot } from '../../lib/sync/parking-lot.ts';
import { Semaphore } from '../../lib/sync/semaphore.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { CancelScope, moveOnAfter, shielded } from '../../lib/task/scope.ts';
import { checkpoint, currentTime } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure, runTest, virtualTest } from '../task/support.ts';
import { idle } from './lock-support.ts';

interface Subject {
  wait(options?: WaitOptions): Promise<unknown>;
  /** Ends the wait that is the oldest. */
  wake(): void;
  /** From now on a wait ends at once. */
  open(): void;
}

/** Held by nobody who could be asked, so that `wake` is a step of the test's own. */
function lockSubject(lock: Lock | Semaphore): Subject {
  let hold = lock.acquireNowait();
  const wake = (): void => hold[Symbol.dispose]();
  const wait = async (options?: WaitOptions): Promise<void> => {
    hold = await lock.acquire(options);
  };
  return { wait, wake, open: wake };
}

const subjects: Record<string, () => Subject> = {
  'Lock.acquire': () => lockSubject(new Lock()),
  'Semaphore.acquire': () => lockSubject(new Semaphore(1)),
  'CapacityLimiter.acquire': () => {
    const limiter = new CapacityLimiter(0);
    return {
      wait: (options) => limiter.acquire(options),
      wake: () => {
        limiter.totalTokens++;
      },
      open: () => {
        limiter.totalTokens = Infinity;
      },
    };
  },
  'Event.wait': () => {
    const event = new Event();
    const wake = (): void => event.set();
    return { wait: (options) => event.wait(options), wake, open: wake };
  },
  'Barrier.wait': () => {
    let barrier = new Barrier(2);
    return {
      wait: (options) => barrier.wait(options),
      wake: () => void barrier.wait(),
      open: () => {
        barrier = new Barrier(1);
      },
    };
  },
  'ParkingLot.park': () => {
    const lot = new ParkingLot();
    return {
      wait: (options) => lot.park(options),
      wake: () => void lot.unpark(),
      open: () => {},
    };
  },
};

function listeners(signal: AbortSignal): number {
  return getEventListeners(signal, 'abort').length;
}

for (const [name, makeSubject] of Object.entries(subjects)) {
  describe(name, () => {
    runTest('is ended by a cancellation of its task, which says why', async () => {
      const subject = makeSubject();
      const task = createTask(() => subject.wait());
      await idle();
      task.cancel('why');
      const error = await failure(task);
      expect([error instanceof CancelledError, error.reason]).toEqual([true, 'why']);
    });

    virtualTest('is ended by a deadline', async () => {
      const subject = makeSubject();
      await moveOnAfter(100, () => subject.wait());
      expect(currentTime()).toBe(100);
    });

    runTest('is refused in a cancelled scope, even if it need not wait', async () => {
      const subject = makeSubject();
      const scope = new CancelScope();
      await scope.run(async () => {
        scope.cancel();
        expect(await failure(subject.wait())).toBeInstanceOf(CancelledError);
        subject.open();
        expect(await failure(subject.wait())).toBeInstanceOf(CancelledError);
      });
    });

    runTest('takes a cancellation of its task that came before', async () => {
      const subject = makeSubject();
      subject.open();
      const task = createTask({ eagerStart: true }, async () => {
        await shielded(checkpoint);
        await subject.wait();
      });
      task.cancel();
      await task.wait();
      expect(task.cancelled).toBe(true);
    });

    runTest('is not ended behind a shield', async () => {
      const subject = makeSubject();
      const task = createTask(() => shielded(() => subject.wait()));
      await idle();
      task.cancel();
      await idle();
      expect(task.done).toBe(false);
      subject.wake();
      await task.wait();
    });

    runTest('is ended by its signal, with the reason, and leaves no listener', async () => {
      const subject = makeSubject();
      const controller = new AbortController();
      const waiting = subject.wait({ signal: controller.signal });
      expect(listeners(controller.signal)).toBe(1);
      controller.abort('enough');
      expect(await failure(waiting)).toBe('enough');
      expect(listeners(controller.signal)).toBe(0);
    });

    runTest('is refused with an aborted signal, even if it need not wait', async () => {
      const subject = makeSubject();
      const signal = AbortSignal.abort('before');
      expect(await failure(subject.wait({ signal }))).toBe('before');
      subject.open();
      expect(await failure(subject.wait({ signal }))).toBe('before');
    });

    runTest('leaves no listener when it ends well', async () => {
      const subject = makeSubject();
      const { signal } = new AbortController();
      const waiting = subject.wait({ signal });
      subject.wake();
      await waiting;
      expect(listeners(signal)).toBe(0);
    });

    runTest('ends well when it was woken before it was cancelled, in one step', async () => {
      const subject = makeSubject();
      const controller = new AbortController();
      let ended = false;
      const task = createTask(async () => {
        await subject.wait({ signal: controller.signal });
        ended = true;
        await checkpoint();
      });
      await idle();
      subject.wake();
      task.cancel();
      controller.abort();
      await task.wait();
      expect([ended, task.cancelled]).toEqual([true, true]);
    });

    runTest(
      'that was cancelled before it is woken, in one step, leaves that to others',
      async () => {
        const subject = makeSubject();
        const first = createTask(() => subject.wait());
        await idle();
        first.cancel();
        const second = createTask({ eagerStart: true }, () => subject.wait());
        subject.wake();
        await second;
        expect(await failure(first)).toBeInstanceOf(CancelledError);
      },
    );

    // A barrier lets tasks through by their number.
    if (name !== 'Barrier.wait') {
      runTest('can be ended a thousand times, from the last one to the first', async () => {
        const subject = makeSubject();
        const controllers = Array.from({ length: 1000 }, () => new AbortController());
        const errors = controllers.map(({ signal }) => {
          // For the limiter, which wants a borrower for each.
          const options: WaitOptions & { borrower: unknown } = { signal, borrower: signal };
          return failure(subject.wait(options));
        });
        for (const controller of controllers.toReversed()) controller.abort('enough');
        expect(new Set(await Promise.all(errors))).toEqual(new Set(['enough']));
        const woken = subject.wait();
        subject.wake();
        await woken;
      });
    }

    test('works outside of tasks', async () => {
      const subject = makeSubject();
      const controller = new AbortController();
      const given = subject.wait();
      subject.wake();
      await given;
      const next = makeSubject().wait({ signal: controller.signal });
      controller.abort('enough');
      expect(await failure(next)).toBe('enough');
    });
  });
}

interface LockLike {
  acquire(): Promise<Disposable>;
  acquireNowait(): Disposable;
  release(): void;
  with<T>(fn: () => T | Promise<T>): Promise<T>;
}

const lockLikes: Record<string, () => LockLike> = {
  'CapacityLimiter(1)': () => new CapacityLimiter(1),
  'Semaphore(1)': () => new Semaphore(1),
  Lock: () => new Lock(),
  'Lock, reentrant': () => new Lock({ reentrant: true }),
};

// covers: trio/event
describe('as trio has it for everything like a lock:', () => {
  for (const [name, make] of Object.entries(lockLikes)) {
    runTest(`${name} lets one task in at a time`, async () => {
      const lock = make();
      let inside = false;
      let entered = 0;
      await taskGroup((group) => {
        for (let i = 0; i < 5; i++) {
          group.createTask(async () => {
            for (let round = 0; round < 10; round++) {
              using _ = await lock.acquire();
              entered++;
              expect(inside).toBe(false);
              inside = true;
              await checkpoint();
              await checkpoint();
              inside = false;
            }
          });
        }
      });
      expect(entered).toBe(50);
    });

    runTest(`${name} goes round in the order of the first calls`, async () => {
      const lock = make();
      const order: number[] = [];
      await taskGroup((group) => {
        for (const i of [1, 2, 3]) {
          group.createTask(async () => {
            for (let round = 0; round < 5; round++) {
              await lock.with(async () => {
                order.push(i);
                await checkpoint();
              });
            }
          });
        }
      });
      expect(order).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
    });

    runTest(`${name} that was taken by acquireNowait() makes acquire() wait`, async () => {
      const lock = make();
      const log: string[] = [];
      lock.acquireNowait();
      const task = createTask(async () => {
        log.push('started');
        expect(() => lock.acquireNowait()).toThrow(WouldBlock);
        await lock.with(() => {});
        log.push('finished');
      });
      await idle();
      expect(log).toEqual(['started']);
      lock.release();
      await task;
      expect(log).toEqual(['started', 'finished']);
    });
  }
});
