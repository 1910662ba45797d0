/** `await using _ = timeout(ms)`: a time limit for the rest of a block. */
import { describe, expect, test } from 'vitest';
import { CancelledError, InvalidStateError, TimeoutError } from '../../lib/base/errors.ts';
import { ContextVar } from '../../lib/task/context.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, currentEffectiveDeadline, moveOnAfter } from '../../lib/task/scope.ts';
import { currentSignal } from '../../lib/task/signal.ts';
import { currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { timeout } from '../../lib/task/timeout.ts';
import { failure, inRun, never, virtualTest } from './support.ts';

// covers: asyncio/timeout
describe('the block form of timeout', () => {
  virtualTest('lets work that is in time go on, and leaves nothing armed', async () => {
    {
      await using limit = timeout(100);
      expect([limit.deadlineMs, limit.expired]).toEqual([100, false]);
      await sleep(50);
    }
    await sleep(100);
    expect(currentTime()).toBe(150);
  });

  virtualTest('throws TimeoutError, whose cause is the cancellation, at its deadline', async () => {
    const work = async (): Promise<void> => {
      await using _ = timeout(30);
      await sleepForever();
    };
    const error = await failure(createTask(work));
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error).not.toBeInstanceOf(CancelledError);
    expect([error.name, error.code, error.message]).toEqual([
      'TimeoutError',
      'ETIMEDOUT',
      'The time limit of 30 ms passed',
    ]);
    expect('reason' in error).toBe(false);
    expect(error.stack).toMatch(/^TimeoutError: The time limit of 30 ms passed/);
    expect(error.cause).toBeInstanceOf(CancelledError);
    expect(currentTime()).toBe(30);
  });

  virtualTest('is caught by the code around, which goes on uncancelled', async () => {
    try {
      await using _ = timeout(10);
      await sleepForever();
    } catch (error) {
      expect(error).toBeInstanceOf(TimeoutError);
    }
    await sleep(5);
    expect([currentTime(), currentTask()?.cancelling]).toEqual([15, 0]);
  });

  virtualTest('is seen as a cancellation inside of the block', async () => {
    let inside: unknown;
    const error = await failure(
      createTask(async () => {
        await using _ = timeout(10);
        await sleepForever().catch((caught: unknown) => {
          inside = [caught instanceof CancelledError, (caught as CancelledError).code];
          throw caught;
        });
      }),
    );
    expect(inside).toEqual([true, 'ABORT_ERR']);
    expect(error).toBeInstanceOf(TimeoutError);
  });

  virtualTest('that was swallowed inside does not throw', async () => {
    let expired = false;
    {
      await using limit = timeout(10);
      await sleepForever().catch(() => {});
      expired = limit.expired;
    }
    expect(expired).toBe(true);
    await sleep(1);
  });

  virtualTest('refuses waits at the level kind until the block ends', async () => {
    let refused = 0;
    {
      await using _ = timeout(10);
      for (let i = 0; i < 3; i++) await sleep(never).catch(() => refused++);
    }
    expect([refused, currentTime()]).toEqual([3, 10]);
  });

  virtualTest('lets an error of the block through', async () => {
    const work = async (): Promise<void> => {
      await using _ = timeout(10);
      throw new RangeError('mine');
    };
    expect(await failure(createTask(work))).toBeInstanceOf(RangeError);
  });

  virtualTest('gives way to a cancellation of its task', async () => {
    const task = createTask(async () => {
      await using _ = timeout(100);
      await sleepForever();
    });
    await sleep(10);
    task.cancel('enough');
    const error = await failure(task);
    expect([error.constructor, error.reason, task.cancelled]).toEqual([
      CancelledError,
      'enough',
      true,
    ]);
  });

  virtualTest('gives way to a scope around that is cancelled while it unwinds', async () => {
    const outer = new CancelScope();
    const result = await outer.run(async () => {
      await using _ = timeout(10);
      try {
        await sleepForever();
      } finally {
        outer.cancel();
      }
      return 'not reached';
    });
    expect([result, outer.cancelledCaught]).toEqual([undefined, true]);
  });

  virtualTest('gives way to a cancellation of the task while it unwinds', async () => {
    const task = createTask(async () => {
      await using _ = timeout(10);
      try {
        await sleepForever();
      } finally {
        task.cancel();
      }
    });
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(task.cancelled).toBe(true);
  });

  virtualTest('nests: the outer one throws through the inner one', async () => {
    const seen: string[] = [];
    const task = createTask(async () => {
      await using outer = timeout(10);
      try {
        await using inner = timeout(20);
        expect(currentEffectiveDeadline()).toBe(10);
        await sleepForever();
        seen.push(String(inner.expired));
      } catch (error) {
        seen.push((error as Error).name, String(outer.expired));
        throw error;
      }
    });
    expect(await failure(task)).toBeInstanceOf(TimeoutError);
    expect(seen).toEqual(['CancelledError', 'true']);
  });

  virtualTest('nests: the inner one throws and the outer block goes on', async () => {
    await using outer = timeout(50);
    try {
      await using _ = timeout(10);
      await sleepForever();
    } catch (error) {
      expect(error).toBeInstanceOf(TimeoutError);
    }
    await sleep(20);
    expect([currentTime(), outer.expired]).toEqual([30, false]);
  });

  virtualTest('nests with the call forms', async () => {
    const result = await moveOnAfter(10, async () => {
      await using _ = timeout(20);
      return await timeout(30, () => sleepForever());
    });
    expect([result, currentTime()]).toEqual([undefined, 10]);
  });

  virtualTest('may be moved, and moved no more after its end', async () => {
    let kept: { reschedule(deadlineMs: number | null): void };
    {
      await using limit = timeout(10);
      kept = limit;
      limit.reschedule(40);
      await sleep(30);
      limit.reschedule(null);
      await sleep(100);
      expect(limit.deadlineMs).toBe(null);
    }
    expect(() => kept.reschedule(500)).toThrow(InvalidStateError);
  });

  virtualTest('of null is no limit, and of zero ends the first wait', async () => {
    {
      await using _ = timeout(null);
      await sleep(1000);
    }
    const task = createTask(async () => {
      await using _ = timeout(0);
      await sleep(1);
    });
    expect(await failure(task)).toBeInstanceOf(TimeoutError);
    expect(currentTime()).toBe(1000);
  });

  virtualTest('ends the tasks of a group inside, as cancelled', async () => {
    const ends: string[] = [];
    let child: { cancelled: boolean; exception(): unknown } | undefined;
    const task = createTask(async () => {
      await using _ = timeout(10);
      await taskGroup((group) => {
        child = group.createTask(async () => {
          try {
            await sleepForever();
          } finally {
            ends.push('child');
          }
        });
      });
    });
    expect(await failure(task)).toBeInstanceOf(TimeoutError);
    expect(ends).toEqual(['child']);
    // What the child ended with was the same object, and is still a cancellation there.
    expect(child?.cancelled).toBe(true);
    expect(() => child?.exception()).toThrow(CancelledError);
  });

  virtualTest('in the body of a group makes it fail with the TimeoutError', async () => {
    const error = await failure(
      taskGroup(async () => {
        await using _ = timeout(10);
        await sleepForever();
      }),
    );
    expect(error.errors.map((one: Error) => one.constructor)).toEqual([TimeoutError]);
  });

  virtualTest('passes a signal to foreign work', async () => {
    const task = createTask(async () => {
      await using _ = timeout(10);
      const signal = currentSignal();
      await new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
    });
    expect(await failure(task)).toBeInstanceOf(TimeoutError);
  });

  virtualTest('ends together with other resources of its block', async () => {
    const log: string[] = [];
    const resource = (name: string): AsyncDisposable => ({
      async [Symbol.asyncDispose]() {
        await sleep(5);
        log.push(name);
      },
    });
    {
      await using _first = resource('first');
      await using _ = timeout(100);
      await using _second = resource('second');
      await sleep(1);
    }
    expect([log, currentTime()]).toEqual([['second', 'first'], 11]);
    await sleep(200);
    expect(currentEffectiveDeadline()).toBe(Infinity);
  });

  virtualTest('keeps context variables that are set inside', async () => {
    const name = new ContextVar('name', { defaultValue: 'none' });
    {
      await using _ = timeout(100);
      name.set('set');
      await sleep(1);
    }
    expect(name.get()).toBe('set');
  });

  virtualTest('works in a function that a task awaits, after waits and in loops', async () => {
    const once = async (ms: number): Promise<string> => {
      await sleep(1);
      try {
        await using _ = timeout(10);
        await sleep(ms);
        return 'in time';
      } catch (error) {
        return (error as Error).name;
      }
    };
    const results: string[] = [];
    for (const ms of [5, 50, 9]) results.push(await once(ms));
    expect(results).toEqual(['in time', 'TimeoutError', 'in time']);
    expect(currentEffectiveDeadline()).toBe(Infinity);
  });

  virtualTest('does not reach the siblings of a task', async () => {
    const limited = createTask(async () => {
      await using _ = timeout(10);
      await sleepForever();
    });
    const free = createTask(() => sleep(50, 'free'));
    expect(await failure(limited)).toBeInstanceOf(TimeoutError);
    expect(await free).toBe('free');
  });

  virtualTest('disposed twice ends once', async () => {
    const limit = timeout(10);
    await limit[Symbol.asyncDispose]();
    await limit[Symbol.asyncDispose]();
    await sleep(50);
  });

  virtualTest('rejects NaN with TypeError, and no function with its own', async () => {
    expect(() => timeout(Number.NaN)).toThrow(TypeError);
    expect(await failure(timeout(5, undefined as never))).toBeInstanceOf(TypeError);
  });

  test('outside of what uvio started throws InvalidStateError', () => {
    expect(() => timeout(5)).toThrow(InvalidStateError);
  });

  test('tells in debug mode when what began in the block goes on after it', async () => {
    const messages: string[] = [];
    await inRun(
      async () => {
        getRunningLoop().setExceptionHandler((_loop, { message }) => messages.push(message));
        let left: Promise<void>;
        {
          await using _ = timeout(1000);
          left = sleep(3);
        }
        await left;
      },
      { debug: true },
    );
    expect(messages).toEqual([expect.stringContaining('A block of timeout() ended while waits')]);
  });
});
