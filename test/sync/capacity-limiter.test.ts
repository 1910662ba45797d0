import { describe, expect, test } from 'vitest';
import { CancelledError, InvalidStateError, WouldBlock } from '../../lib/base/errors.ts';
import { CapacityLimiter } from '../../lib/sync/capacity-limiter.ts';
import { Event } from '../../lib/sync/event.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint, sleep } from '../../lib/task/sleep.ts';
import { createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { failure, never, runTest } from '../task/support.ts';
import { held, idle } from './lock-support.ts';

function tokens(limiter: CapacityLimiter): number[] {
  return [limiter.totalTokens, limiter.borrowedTokens, limiter.availableTokens];
}

/** Tasks that acquire for these borrowers, one after the other. */
function borrow(limiter: CapacityLimiter, ...borrowers: unknown[]): Task<Disposable>[] {
  return borrowers.map((borrower) => createTask(() => limiter.acquire({ borrower })));
}

// covers: trio/event
describe('CapacityLimiter, as trio has it:', () => {
  runTest('its size is a whole number', async () => {
    expect(() => new CapacityLimiter(1.5)).toThrow(RangeError);
    expect(() => new CapacityLimiter(-1)).toThrow(RangeError);
    expect(() => new CapacityLimiter('1' as never)).toThrow(TypeError);
  });

  runTest('it counts what is borrowed', async () => {
    const limiter = new CapacityLimiter(2);
    expect(tokens(limiter)).toEqual([2, 0, 2]);
    limiter.acquireNowait();
    expect(tokens(limiter)).toEqual([2, 1, 1]);
    limiter.release();
    expect(tokens(limiter)).toEqual([2, 0, 2]);
  });

  runTest('release() of nothing is an error', async () => {
    const limiter = new CapacityLimiter(2);
    expect(() => limiter.release()).toThrow(InvalidStateError);
    expect(limiter.borrowedTokens).toBe(0);
  });

  runTest('a task cannot have two tokens', async () => {
    const limiter = new CapacityLimiter(2);
    limiter.acquireNowait();
    expect(() => limiter.acquireNowait()).toThrow(InvalidStateError);
    expect(await failure(limiter.acquire())).toBeInstanceOf(InvalidStateError);
    expect(limiter.borrowedTokens).toBe(1);
    limiter.release();
  });

  runTest('a token can be borrowed in the name of something else', async () => {
    const limiter = new CapacityLimiter(2);
    limiter.acquireNowait();
    await limiter.acquire({ borrower: 'someone' });
    expect(limiter.borrowedTokens).toBe(2);
    expect(() => limiter.acquireNowait('third party')).toThrow(WouldBlock);
    limiter.release(currentTask());
    limiter.release('someone');
    expect(limiter.borrowedTokens).toBe(0);
  });

  runTest('a block borrows a token', async () => {
    const limiter = new CapacityLimiter(2);
    {
      using _ = await limiter.acquire();
      expect(limiter.borrowedTokens).toBe(1);
    }
    expect(limiter.borrowedTokens).toBe(0);
  });

  runTest('a token goes straight to who waits: nobody overtakes', async () => {
    const limiter = new CapacityLimiter(2);
    const waiting = borrow(limiter, 1, 2, 3);
    await idle();
    expect([tokens(limiter), waiting[2]?.done]).toEqual([[2, 2, 0], false]);
    limiter.release(2);
    expect(limiter.borrowedTokens).toBe(2);
    expect(() => limiter.acquireNowait()).toThrow(WouldBlock);
    await waiting[2];
    limiter.release(3);
    limiter.release(1);
    expect(limiter.borrowedTokens).toBe(0);
  });

  runTest('it may be unlimited', async () => {
    const limiter = new CapacityLimiter(Infinity);
    expect(tokens(limiter)).toEqual([Infinity, 0, Infinity]);
    expect(() => limiter.release()).toThrow(InvalidStateError);
    limiter.acquireNowait();
    expect(tokens(limiter)).toEqual([Infinity, 1, Infinity]);
  });

  runTest('its size cannot be set to what is no size', async () => {
    const limiter = new CapacityLimiter(2);
    for (const bad of [1.5, -10, NaN]) {
      expect(() => {
        limiter.totalTokens = bad;
      }).toThrow(RangeError);
    }
    expect(limiter.totalTokens).toBe(2);
  });

  runTest('more tokens let more in; less take effect as tokens come back', async () => {
    const limiter = new CapacityLimiter(2);
    const tasks = borrow(limiter, 0, 1, 2, 3, 4);
    const done = (): boolean[] => tasks.map((task) => task.done);
    await idle();
    expect(done()).toEqual([true, true, false, false, false]);
    limiter.totalTokens += 2;
    await idle();
    expect([done(), tokens(limiter)]).toEqual([
      [true, true, true, true, false],
      [4, 4, 0],
    ]);
    limiter.totalTokens -= 3;
    expect(tokens(limiter)).toEqual([1, 4, -3]);
    for (const borrower of [0, 1, 2]) limiter.release(borrower);
    await idle();
    expect([tasks[4]?.done, tokens(limiter)]).toEqual([false, [1, 1, 0]]);
    limiter.release(3);
    await tasks[4];
    expect(tokens(limiter)).toEqual([1, 1, 0]);
  });

  runTest('a cancelled wait is forgotten, and its borrower may come again', async () => {
    const limiter = new CapacityLimiter(1);
    limiter.acquireNowait();
    const [task] = borrow(limiter, 'x');
    await idle();
    await task?.cancelAndWait();
    limiter.release();
    expect(limiter.borrowedTokens).toBe(0);
    limiter.acquireNowait('x');
    expect(limiter.borrowedTokens).toBe(1);
  });
});

describe('CapacityLimiter, as anyio has it:', () => {
  runTest('one token lets one task in at a time', async () => {
    const limiter = new CapacityLimiter(1);
    let inside = 0;
    let most = 0;
    await taskGroup((group) => {
      for (let i = 0; i < 3; i++) {
        group.createTask(async () => {
          for (let round = 0; round < 5; round++) {
            await limiter.with(async () => {
              most = Math.max(most, ++inside);
              await checkpoint();
              inside--;
            });
          }
        });
      }
    });
    expect([most, tokens(limiter)]).toEqual([1, [1, 0, 1]]);
  });

  runTest('the messages say what is wrong', async () => {
    const limiter = new CapacityLimiter(1);
    await limiter.acquire();
    const twice = await failure(limiter.acquire());
    expect(twice.message).toBe('The borrower has a token of this limiter already');
    limiter.release();
    const none = await failure(() => limiter.release());
    expect(none.message).toBe('The borrower has no token of this limiter');
  });

  runTest('a task that waits goes on when the size grows', async () => {
    const limiter = new CapacityLimiter(1);
    const second = new Event();
    await taskGroup(async (group) => {
      group.createTask(() => limiter.with(() => second.wait()));
      group.createTask(() => limiter.with(() => second.set()));
      await idle();
      expect(second.isSet).toBe(false);
      limiter.totalTokens = 2;
    });
    expect(second.isSet).toBe(true);
  });

  runTest('of no tokens it lets nobody in until it has some', async () => {
    const limiter = new CapacityLimiter(0);
    expect(() => limiter.acquireNowait()).toThrow(WouldBlock);
    const [task] = borrow(limiter, 'x');
    await idle();
    expect(task?.done).toBe(false);
    limiter.totalTokens = 1;
    await task;
    expect(limiter.borrowedTokens).toBe(1);
  });
});

describe('a CapacityLimiter', () => {
  runTest('takes a token back once', async () => {
    const limiter = new CapacityLimiter(2);
    const token = await limiter.acquire();
    token[Symbol.dispose]();
    limiter.acquireNowait();
    token[Symbol.dispose]();
    expect(limiter.borrowedTokens).toBe(1);
    limiter.release();
  });

  runTest('refuses a borrower that waits already', async () => {
    const limiter = new CapacityLimiter(1);
    const holder = await held(limiter);
    const [waiting] = borrow(limiter, 'x');
    await idle();
    const error = await failure(limiter.acquire({ borrower: 'x' }));
    expect(error.message).toBe('The borrower waits for a token of this limiter already');
    expect(() => limiter.release('x')).toThrow(InvalidStateError);
    holder.leave();
    await waiting;
    limiter.release('x');
    expect(limiter.borrowedTokens).toBe(0);
  });

  runTest('gives each branch of a task a token when each is a borrower', async () => {
    const limiter = new CapacityLimiter(2);
    let inside = 0;
    let most = 0;
    const branch = async (): Promise<void> => {
      using _ = await limiter.acquire({ borrower: {} });
      most = Math.max(most, ++inside);
      await checkpoint();
      inside--;
    };
    await Promise.all([branch(), branch(), branch()]);
    expect([most, limiter.borrowedTokens]).toEqual([2, 0]);
  });

  runTest('with() gives the token back when the function throws or is cancelled', async () => {
    const limiter = new CapacityLimiter(1);
    const broken = limiter.with(() => {
      throw new RangeError('mine');
    });
    expect((await failure(broken)).message).toBe('mine');
    const task = createTask(() => limiter.with(() => sleep(never)));
    await idle();
    expect(limiter.borrowedTokens).toBe(1);
    await task.cancelAndWait();
    expect(limiter.borrowedTokens).toBe(0);
  });

  runTest('delivers a pending cancellation, and lends nothing', async () => {
    const limiter = new CapacityLimiter(1);
    await moveOnAfter(never, async (scope) => {
      scope.cancel();
      expect(await failure(limiter.acquire())).toBeInstanceOf(CancelledError);
    });
    expect(limiter.borrowedTokens).toBe(0);
  });

  runTest('forgets a wait that its signal ended', async () => {
    const limiter = new CapacityLimiter(0);
    const controller = new AbortController();
    const waiting = limiter.acquire({ borrower: 'x', signal: controller.signal });
    controller.abort('enough');
    expect(await failure(waiting)).toBe('enough');
    limiter.totalTokens = 1;
    expect(limiter.borrowedTokens).toBe(0);
    limiter.acquireNowait('x');
  });

  test('lends code outside of tasks as many tokens as there are', async () => {
    const limiter = new CapacityLimiter(2);
    let inside = 0;
    let most = 0;
    const work = (): Promise<void> =>
      limiter.with(async () => {
        most = Math.max(most, ++inside);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
      });
    await Promise.all([1, 2, 3, 4, 5].map(work));
    expect([most, limiter.borrowedTokens]).toEqual([2, 0]);
    await limiter.acquire();
    await limiter.acquire();
    limiter.release();
    limiter.release();
    expect(() => limiter.release()).toThrow(InvalidStateError);
  });
});
