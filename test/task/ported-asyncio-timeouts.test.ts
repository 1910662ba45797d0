/** Behaviour of CPython's test_timeouts and test_waitfor, written anew; timeout.test.ts and
 * wait-for.test.ts have the rest. */
import { describe, expect } from 'vitest';
import { CancelledError, InvalidStateError, TimeoutError } from '../../lib/base/errors.ts';
import { waitFor } from '../../lib/task/combinators.ts';
import { Future } from '../../lib/task/future.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, shielded, type Timeout, timeout, timeoutAt } from '../../lib/task/scope.ts';
import { currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { failure, never, virtualTest } from './support.ts';

// covers: asyncio/timeout, trio/fail-after, seeds/C4
describe('timeout, as in asyncio', () => {
  virtualTest('tells its deadline and that it expired', async () => {
    let limit: Timeout | undefined;
    const error = await failure(
      timeout(10, async (handle) => {
        limit = handle;
        expect([handle.deadlineMs, handle.expired]).toEqual([10, false]);
        await sleep(100);
      }),
    );
    expect(error).toBeInstanceOf(TimeoutError);
    expect([limit?.expired, currentTime()]).toEqual([true, 10]);
  });

  virtualTest('has the cancellation as its cause', async () => {
    const error = await failure(timeout(10, () => sleepForever()));
    expect(error.cause).toBeInstanceOf(CancelledError);
    expect(error.cause.message).toBe('The deadline of the scope passed');
  });

  virtualTest('at a time in the past ends the first wait', async () => {
    await sleep(50);
    expect(await failure(timeoutAt(20, () => sleep(1)))).toBeInstanceOf(TimeoutError);
    expect(await failure(timeout(-1, () => sleep(1)))).toBeInstanceOf(TimeoutError);
    expect(currentTime()).toBe(50);
  });

  virtualTest('at null never ends', async () => {
    const result = await timeoutAt(null, async (handle) => {
      expect(handle.deadlineMs).toBe(null);
      return await sleep(500, 'done');
    });
    expect(result).toBe('done');
  });

  virtualTest('reschedules from null to a time and back', async () => {
    const error = await failure(
      timeout(null, async (handle) => {
        handle.reschedule(30);
        handle.reschedule(null);
        await sleep(100);
        handle.reschedule(currentTime() + 10);
        await sleep(100);
      }),
    );
    expect([error.constructor, currentTime()]).toEqual([TimeoutError, 110]);
  });

  virtualTest('refuses to be rescheduled with NaN, and stays as it was', async () => {
    const result = await timeout(50, async (handle) => {
      expect(() => handle.reschedule(Number.NaN)).toThrow(TypeError);
      expect(handle.deadlineMs).toBe(50);
      return await sleep(20, 'in time');
    });
    expect(result).toBe('in time');
  });

  virtualTest('can be used in the clean-up of another one', async () => {
    const log: string[] = [];
    const error = await failure(
      timeout(10, async () => {
        try {
          await sleep(never);
        } finally {
          // By level, clean-up that waits must be protected.
          await shielded(async () => {
            await timeout(20, () => sleep(5));
            log.push('in time');
            log.push((await failure(timeout(5, () => sleep(20)))).name);
          });
        }
      }),
    );
    expect([error.constructor, log]).toEqual([TimeoutError, ['in time', 'TimeoutError']]);
  });

  virtualTest('works after a cancellation that the task swallowed', async () => {
    const task = createTask(async () => {
      await sleep(never).catch(() => {});
      const error = await failure(timeout(10, () => sleep(never)));
      return error.constructor;
    });
    await sleep(5);
    task.cancel();
    expect(await task).toBe(TimeoutError);
  });

  virtualTest('gives way to a new cancellation after one that was swallowed', async () => {
    const task = createTask(async () => {
      await sleep(never).catch(() => {});
      await timeout(100, () => sleep(never));
    });
    await sleep(5);
    task.cancel();
    await sleep(5);
    task.cancel('again');
    const error = await failure(task);
    expect([error.constructor, error.reason]).toEqual([CancelledError, 'again']);
  });

  virtualTest('in clean-up after a cancellation expires as usual', async () => {
    let inside: unknown;
    const task = createTask(async () => {
      try {
        await sleep(never);
      } finally {
        inside = await failure(timeout(10, () => sleep(never)));
      }
    });
    await sleep(5);
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(inside).toBeInstanceOf(TimeoutError);
  });

  virtualTest('does not turn a cancellation by hand into TimeoutError', async () => {
    const error = await failure(
      timeout(10, async () => {
        throw new CancelledError('by hand');
      }),
    );
    expect(error.message).toBe('by hand');
  });

  virtualTest('of an awaited task that is cancelled otherwise is a CancelledError', async () => {
    const task = createTask(() => sleepForever());
    getRunningLoop().callLater(5, () => task.cancel());
    const error = await failure(timeout(100, async () => await task));
    expect([error.constructor, currentTime()]).toEqual([CancelledError, 5]);
  });

  virtualTest('cancels the task that is awaited inside', async () => {
    const task = createTask(() => sleepForever());
    await failure(timeout(10, async () => await task));
    expect(task.cancelled).toBe(true);
  });

  virtualTest('leaves a task alone that is joined inside', async () => {
    const task = createTask(() => sleep(30, 'done'));
    expect(await failure(timeout(10, () => task.join()))).toBeInstanceOf(TimeoutError);
    expect(await task).toBe('done');
  });

  virtualTest('nested three deep, the middle one throws and is caught by the outer', async () => {
    const log: string[] = [];
    await timeout(100, async (outer) => {
      try {
        await timeout(10, async () => {
          await timeout(50, () => sleep(never)).finally(() => log.push(`inner ${currentTime()}`));
        });
      } catch (error) {
        log.push(`${(error as Error).name} ${outer.expired}`);
      }
      await sleep(10);
    });
    expect(log).toEqual(['inner 10', 'TimeoutError false']);
  });

  virtualTest('and a group that fails in the same turn: both are told', async () => {
    const error = await failure(
      timeout(10, () =>
        taskGroup((group) => {
          group.createTask(async () => {
            await sleep(never).catch(() => {});
            throw new RangeError('clean-up');
          });
        }),
      ),
    );
    expect(error.leaves().map((one: Error) => one.message)).toEqual(['clean-up']);
  });

  virtualTest('runs once: its handle is of no use afterwards', async () => {
    let kept: Timeout | undefined;
    await timeout(10, (handle) => {
      kept = handle;
    });
    expect(() => kept?.reschedule(100)).toThrow(InvalidStateError);
    expect(kept?.expired).toBe(false);
  });

  virtualTest('leaves the cancel count of its task as it was', async () => {
    const task = createTask(async () => {
      const counts: (number | undefined)[] = [];
      await sleep(never).catch(() => {});
      counts.push(currentTask()?.cancelling);
      await failure(timeout(5, () => sleep(never)));
      counts.push(currentTask()?.cancelling);
      return counts;
    });
    await sleep(1);
    task.cancel();
    expect(await task).toEqual([1, 1]);
  });
});

// covers: asyncio/gather, seeds/C4
describe('waitFor, as in asyncio', () => {
  virtualTest('with a negative time gives what is done and cancels what is not', async () => {
    const done = new Future<string>();
    done.setResult('done');
    expect(await waitFor(done, -1)).toBe('done');
    const open = new Future<string>();
    expect(await failure(waitFor(open, -1))).toBeInstanceOf(TimeoutError);
    expect(open.cancelled).toBe(true);
  });

  virtualTest('throws the error of work that fails in time', async () => {
    const work = async (): Promise<never> => {
      await sleep(5);
      throw new RangeError('mine');
    };
    expect((await failure(waitFor(work, 10))).message).toBe('mine');
    expect(currentTime()).toBe(5);
  });

  virtualTest('has the cancellation as the cause of its TimeoutError', async () => {
    const error = await failure(waitFor(() => sleepForever(), 5));
    expect([error.name, error.cause.name]).toEqual(['TimeoutError', 'CancelledError']);
  });

  virtualTest('waits for work that takes its time to be cancelled', async () => {
    const work = async (): Promise<string> => {
      await sleep(never).catch(() => {});
      await sleep(50);
      return 'late';
    };
    // The work is a task of its own, cancelled by edge: its clean-up may wait.
    expect(await waitFor(work, 10)).toBe('late');
    expect(currentTime()).toBe(60);
  });

  virtualTest('cancelled while it waits for that, is cancelled', async () => {
    const waiting = createTask(() =>
      waitFor(async () => {
        await sleep(never).catch(() => {});
        await sleep(50);
      }, 10),
    );
    await sleep(30);
    waiting.cancel();
    expect(await failure(waiting)).toBeInstanceOf(CancelledError);
  });

  virtualTest('in work that cancels itself throws the cancellation', async () => {
    const error = await failure(
      waitFor(async () => {
        currentTask()?.cancel('myself');
        await sleep(1);
      }, 100),
    );
    expect([error.constructor, error.reason]).toEqual([CancelledError, 'myself']);
  });

  virtualTest('of a promise stops waiting at the limit, the promise goes on', async () => {
    let ended = false;
    const promise = new Promise<void>((resolve) => {
      getRunningLoop().callLater(30, () => {
        ended = true;
        resolve();
      });
    });
    expect(await failure(waitFor(promise, 10))).toBeInstanceOf(TimeoutError);
    await sleep(30);
    expect(ended).toBe(true);
  });

  virtualTest('wakes when a future is set from a callback', async () => {
    const future = new Future<string>();
    getRunningLoop().callLater(10, () => future.setResult('set'));
    expect([await waitFor(future, 100), currentTime()]).toEqual(['set', 10]);
  });

  virtualTest('nests in both orders of limits', async () => {
    const inner = await failure(waitFor(() => waitFor(() => sleepForever(), 10), 50));
    expect([inner.constructor, currentTime()]).toEqual([TimeoutError, 10]);
    const outer = await failure(waitFor(() => waitFor(() => sleepForever(), 50), 10));
    expect([outer.constructor, currentTime()]).toEqual([TimeoutError, 20]);
  });

  virtualTest('inside a scope that is cancelled ends the work', async () => {
    let task: Task | undefined;
    await new CancelScope({ timeoutMs: 10 }).run(async () => {
      await waitFor(async () => {
        task = currentTask() as Task;
        await sleepForever();
      }, 100);
    });
    expect([task?.cancelled, currentTime()]).toEqual([true, 10]);
  });
});
