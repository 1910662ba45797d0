/** Behaviour of curio's tests of timeouts, deferred cancellation, task groups and tasks, written
 * anew; timeout.test.ts and group-waits.test.ts have the rest. */
import { describe, expect, test } from 'vitest';
import { CancelledError, TimeoutError } from '../../lib/base/errors.ts';
import { race } from '../../lib/task/combinators.ts';
import { Future } from '../../lib/task/future.ts';
import { TaskGroup, taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop, run } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter, shielded, timeout } from '../../lib/task/scope.ts';
import {
  checkpoint,
  currentTime,
  sleep,
  sleepForever,
  throwIfCancelled,
} from '../../lib/task/sleep.ts';
import { currentTask, spawn } from '../../lib/task/task.ts';
import { testPolicy } from '../support/policy.ts';
import { failure, never, virtualTest } from './support.ts';

// covers: curio/timeout-after, seeds/E6
describe('nested timeouts, as in curio', () => {
  /** Which of the two throws, and when; both are caught where they are. */
  async function pair(outerMs: number, innerMs: number): Promise<string[]> {
    const log: string[] = [];
    const start = currentTime();
    const at = (what: string): unknown => log.push(`${what} ${currentTime() - start}`);
    try {
      await timeout(outerMs, async () => {
        try {
          await timeout(innerMs, () => sleep(1000));
        } catch (error) {
          if (error instanceof TimeoutError) at('inner');
          throw error;
        }
      });
    } catch (error) {
      if (error instanceof TimeoutError) at('outer');
    }
    return log;
  }

  virtualTest('the inner one first: it throws, and what it throws goes on out', async () => {
    expect(await pair(50, 10)).toEqual(['inner 10', 'outer 10']);
  });

  virtualTest('the outer one first: the inner one does not take it for its own', async () => {
    expect(await pair(10, 50)).toEqual(['outer 10']);
  });

  virtualTest('both at the same time: the outer one counts', async () => {
    expect(await pair(20, 20)).toEqual(['outer 20']);
  });

  virtualTest('ignore_after inside timeout_after, the inner one first', async () => {
    const log: string[] = [];
    await timeout(50, async () => {
      const result = await moveOnAfter(10, () => sleep(1000, 'x'));
      log.push(`${result} ${currentTime()}`);
    });
    expect(log).toEqual(['undefined 10']);
  });

  virtualTest('ignore_after inside timeout_after, the outer one first', async () => {
    let went = false;
    const error = await failure(
      timeout(10, async () => {
        await moveOnAfter(50, () => sleep(1000));
        went = true;
      }),
    );
    expect([error.constructor, went]).toEqual([TimeoutError, false]);
  });

  virtualTest('timeout_after inside ignore_after, each first', async () => {
    expect(await moveOnAfter(10, () => timeout(50, () => sleep(1000)))).toBe(undefined);
    const error = await failure(moveOnAfter(50, () => timeout(10, () => sleep(1000))));
    expect(error).toBeInstanceOf(TimeoutError);
  });

  virtualTest('ignore_after in ignore_after, the outer one first', async () => {
    const log: string[] = [];
    await moveOnAfter(10, async () => {
      await moveOnAfter(50, () => sleep(1000));
      log.push('not reached');
    });
    log.push(`after ${currentTime()}`);
    expect(log).toEqual(['after 10']);
  });

  virtualTest('a limit is gone when its region is left, the outer one is back', async () => {
    const log: string[] = [];
    await moveOnAfter(30, async () => {
      await timeout(10, () => sleep(5));
      try {
        await sleep(1000);
      } finally {
        log.push(`${currentTime()}`);
      }
    });
    expect(log).toEqual(['30']);
  });

  virtualTest('one after the other, each counts from its own beginning', async () => {
    for (let i = 0; i < 3; i++) await timeout(10, () => sleep(8));
    expect(currentTime()).toBe(24);
  });

  virtualTest('a loop of short limits does not disturb a long one around', async () => {
    let rounds = 0;
    const error = await failure(
      timeout(100, async () => {
        for (;;) {
          await moveOnAfter(10, () => sleep(1000));
          rounds++;
        }
      }),
    );
    expect([error.constructor, rounds, currentTime()]).toEqual([TimeoutError, 9, 100]);
  });

  virtualTest('in a called function it is the limit of that one', async () => {
    const inner = async (): Promise<string> =>
      (await moveOnAfter(10, () => sleep(1000, 'x'))) ?? 'gave up';
    expect(await timeout(50, async () => `${await inner()} ${await inner()}`)).toBe(
      'gave up gave up',
    );
    expect(currentTime()).toBe(20);
  });

  virtualTest('does not reach a task that is spawned inside', async () => {
    let done = false;
    const error = await failure(
      timeout(10, async () => {
        spawn(async () => {
          await sleep(20);
          done = true;
        });
        await sleep(1000);
      }),
    );
    await sleep(20);
    expect([error.constructor, done]).toEqual([TimeoutError, true]);
  });

  virtualTest('at the time of a result: what was armed first comes first', async () => {
    const result = sleep(10, 'just');
    expect(await timeout(10, () => result)).toBe('just');
    expect(await failure(timeout(10, () => sleep(10)))).toBeInstanceOf(TimeoutError);
  });

  test('of zero on a loop of sleep(0) is not starved', async () => {
    await run(
      async () => {
        const error = await failure(
          timeout(2, async () => {
            for (;;) await sleep(0);
          }),
        );
        expect(error).toBeInstanceOf(TimeoutError);
      },
      { policy: testPolicy(), handleSignals: false },
    );
  });
});

// covers: curio/disable-cancellation
describe('deferred cancellation, as in curio', () => {
  virtualTest('is delivered at the next wait after the protected part', async () => {
    const log: string[] = [];
    const task = spawn(async () => {
      await shielded(async () => {
        await sleep(10);
        log.push('protected');
      });
      log.push('after');
      await sleep(1);
      log.push('not reached');
    });
    await sleep(1);
    await task.cancelAndWait();
    expect([log, task.cancelled, currentTime()]).toEqual([['protected', 'after'], true, 10]);
  });

  virtualTest('can be looked for with throwIfCancelled in between', async () => {
    const log: string[] = [];
    const task = spawn(async () => {
      await shielded(async () => {
        await sleep(10);
        // Inside nothing is to be seen.
        throwIfCancelled();
        log.push('inside');
      });
      try {
        throwIfCancelled();
      } catch (error) {
        log.push((error as Error).name);
        throw error;
      }
    });
    await sleep(1);
    await task.cancelAndWait();
    expect(log).toEqual(['inside', 'CancelledError']);
  });

  virtualTest('nests: only the outermost end lets it through', async () => {
    const log: string[] = [];
    const task = spawn(() =>
      shielded(async () => {
        await shielded(() => sleep(5));
        await sleep(5);
        log.push(`${currentTime()}`);
      }),
    );
    await sleep(1);
    task.cancel();
    await task.wait();
    expect(log).toEqual(['10']);
  });

  virtualTest('is not delivered when the task ends with the protected part', async () => {
    const task = spawn(() => shielded(() => sleep(10, 'result')));
    await sleep(1);
    task.cancel();
    expect([await task.join(), task.cancelled]).toEqual(['result', false]);
  });

  virtualTest('a limit inside of the protected part works', async () => {
    const log: string[] = [];
    const task = spawn(() =>
      shielded(async () => {
        const error = await failure(timeout(10, () => sleep(1000)));
        log.push(error.constructor.name);
      }),
    );
    await sleep(1);
    task.cancel();
    await task.wait();
    expect([log, currentTime()]).toEqual([['TimeoutError'], 10]);
  });

  virtualTest('a limit around is held back as well, and throws afterwards', async () => {
    const log: string[] = [];
    const error = await failure(
      timeout(10, async () => {
        await shielded(() => sleep(30));
        log.push(`${currentTime()}`);
        await sleep(1);
      }),
    );
    expect([error.constructor, log, currentTime()]).toEqual([TimeoutError, ['30'], 30]);
  });

  virtualTest('several cancellations while protected are one afterwards', async () => {
    let count = 0;
    const task = spawn(async () => {
      await shielded(() => sleep(10));
      for (let i = 0; i < 3; i++) await sleep(1).catch(() => count++);
    });
    await sleep(1);
    task.cancel();
    task.cancel();
    await task.join();
    expect(count).toBe(1);
  });
});

// covers: curio/taskgroup, curio/taskerror-cause
describe('task groups, as in curio', () => {
  virtualTest('wait=all: the results are there at the end, in order of creation', async () => {
    const tasks = await taskGroup((group) =>
      [30, 10, 20].map((ms) => group.createTask(() => sleep(ms, ms))),
    );
    expect(tasks.map((task) => task.result())).toEqual([30, 10, 20]);
  });

  virtualTest('wait=any: the first result, the others are cancelled', async () => {
    const ends: number[] = [];
    const work = (ms: number) => async () => {
      try {
        return await sleep(ms, ms);
      } finally {
        ends.push(ms);
      }
    };
    expect(await race(work(30), work(10), work(20))).toBe(10);
    expect([ends[0], ends.length, currentTime()]).toEqual([10, 3, 10]);
  });

  virtualTest('wait=any: an error that comes first is thrown', async () => {
    const fail = async (): Promise<never> => {
      await sleep(5);
      throw new RangeError('first');
    };
    expect((await failure(race(() => sleep(10), fail))).message).toBe('first');
  });

  virtualTest('wait=object: results that are undefined are passed over', async () => {
    const found = await taskGroup(async (group) => {
      group.createTask(() => sleep(5, undefined));
      group.createTask(() => sleep(10, 'object'));
      group.createTask(() => sleep(1000, 'late'));
      for await (const result of group.results<string | undefined>()) {
        if (result === undefined) continue;
        group.cancel();
        return result;
      }
      return 'none';
    });
    expect([found, currentTime()]).toEqual(['object', 10]);
  });

  virtualTest('next_result: results one by one as tasks end', async () => {
    const seen: string[] = [];
    await taskGroup(async (group) => {
      for (const ms of [30, 10, 20]) group.createTask(() => sleep(ms, ms));
      for await (const ms of group.results<number>()) seen.push(`${ms}@${currentTime()}`);
    });
    expect(seen).toEqual(['10@10', '20@20', '30@30']);
  });

  virtualTest('results of tasks that are added while one iterates', async () => {
    const seen: number[] = [];
    await taskGroup(async (group) => {
      group.createTask(() => sleep(1, 3));
      for await (const left of group.results<number>()) {
        seen.push(left);
        if (left > 0) group.createTask(() => sleep(1, left - 1));
      }
    });
    expect(seen).toEqual([3, 2, 1, 0]);
  });

  virtualTest(
    'results leave failed and cancelled tasks out, the group tells of errors',
    async () => {
      const seen: string[] = [];
      const error = await failure(
        taskGroup(
          async (group) => {
            group.createTask(() => sleep(1, 'fine'));
            group.createTask(() => sleep(never)).cancel();
            group.createTask(() => sleep(2).then(() => Promise.reject(new RangeError('bad'))));
            group.createTask(() => sleep(3, 'too'));
            for await (const value of group.results<string>()) seen.push(value);
          },
          { supervise: true },
        ),
      );
      expect([seen, error.leaves()[0].message]).toEqual([['fine', 'too'], 'bad']);
    },
  );

  virtualTest('results of an empty group are none', async () => {
    await taskGroup(async (group) => {
      for await (const _ of group.results()) throw new Error('not reached');
    });
  });

  virtualTest('an iteration that is cancelled leaves the results to the next one', async () => {
    const seen: unknown[] = [];
    await taskGroup(async (group) => {
      group.createTask(() => sleep(10, 'value'));
      await moveOnAfter(5, async () => {
        for await (const value of group.results()) seen.push(value);
      });
      seen.push('moved on');
      for await (const value of group.results()) seen.push(value);
    });
    expect(seen).toEqual(['moved on', 'value']);
  });

  virtualTest('cancel_remaining: what is left is cancelled and awaited', async () => {
    const log: string[] = [];
    await using group = new TaskGroup();
    group.createTask(async () => {
      try {
        await sleepForever();
      } finally {
        await shielded(() => sleep(5));
        log.push('clean');
      }
    });
    await checkpoint();
    group.cancel();
    await group.join();
    expect([log, currentTime()]).toEqual([['clean'], 5]);
  });

  virtualTest('join that is cancelled leaves the tasks to run', async () => {
    const log: string[] = [];
    await using group = new TaskGroup();
    group.createTask(async () => {
      await sleep(10);
      log.push('done');
    });
    await moveOnAfter(5, () => group.join());
    log.push('moved on');
    await group.join();
    expect(log).toEqual(['moved on', 'done']);
  });

  virtualTest('join by two callers wakes both', async () => {
    const log: string[] = [];
    const group = new TaskGroup();
    group.createTask(() => sleep(5));
    const joins = [1, 2].map((n) => spawn(() => group.join().then(() => log.push(`${n}`))));
    for (const task of joins) await task.join();
    expect(log).toEqual(['1', '2']);
  });

  virtualTest('an error cancels the others and says whose it was', async () => {
    let why = '';
    const error = await failure(
      taskGroup((group) => {
        group.createTask(() =>
          sleepForever().catch((cancelled: CancelledError) => {
            why = cancelled.message;
            throw cancelled;
          }),
        );
        group.createTask({ name: 'faulty' }, () => Promise.reject(new RangeError('x')));
      }),
    );
    expect(error.leaves().map((one: Error) => one.message)).toEqual(['x']);
    expect(why).toMatch(/^Task 'faulty' failed in task group/);
  });

  virtualTest('a task of the group may spawn into it and be joined by others', async () => {
    const results: string[] = [];
    await taskGroup((group) => {
      group.createTask(async () => {
        const child = group.createTask(() => sleep(5, 'child'));
        results.push(await child.join());
      });
    });
    expect(results).toEqual(['child']);
  });
});

// covers: curio/spawn, seeds/E7
describe('tasks, as in curio', () => {
  virtualTest('join gives the result, or throws the error, to each who joins', async () => {
    const good = spawn(() => sleep(5, 'good'));
    const bad = spawn(() => sleep(5).then(() => Promise.reject(new RangeError('bad'))));
    const joiners = [1, 2].map(() => spawn(() => good.join()));
    expect([await joiners[0]?.join(), await joiners[1]?.join()]).toEqual(['good', 'good']);
    expect((await failure(bad.join())).message).toBe('bad');
  });

  virtualTest('join of a cancelled task throws its cancellation', async () => {
    const task = spawn(sleepForever);
    await checkpoint();
    task.cancel();
    expect(await failure(task.join())).toBeInstanceOf(CancelledError);
  });

  virtualTest('cancelAndWait blocks until the task has ended', async () => {
    const log: string[] = [];
    const task = spawn(async () => {
      try {
        await sleepForever();
      } finally {
        await sleep(10);
        log.push('ended');
      }
    });
    await checkpoint();
    await task.cancelAndWait();
    expect([log, currentTime()]).toEqual([['ended'], 10]);
  });

  virtualTest('cancelAndWait by two callers ends both at the same time', async () => {
    const task = spawn(async () => {
      await sleepForever().catch(() => {});
      await sleep(10);
    });
    await checkpoint();
    const times: number[] = [];
    const cancel = async (): Promise<void> => {
      // The second request comes into the clean-up, and ends that one.
      await task.cancelAndWait();
      times.push(currentTime());
    };
    const both = [spawn(cancel), spawn(cancel)];
    for (const one of both) await one.join();
    expect(times.length).toBe(2);
    expect(times[0]).toBe(times[1]);
  });

  virtualTest('cancelAndWait that is cancelled itself has cancelled the task', async () => {
    const task = spawn(async () => {
      try {
        await sleepForever();
      } finally {
        await sleep(50);
      }
    });
    await checkpoint();
    await moveOnAfter(5, () => task.cancelAndWait());
    expect([task.cancelling, task.done]).toEqual([1, false]);
    await task.wait();
  });

  virtualTest('have ids that count, names, states and a place of origin', async () => {
    const first = spawn(() => sleep(5));
    const second = spawn(() => sleep(5));
    expect(second.id).toBe(first.id + 1);
    expect(first.getStack()).toContain(`Task '${first.name}' (pending)`);
    await checkpoint();
    expect(first.getStack()).toContain('(waiting)');
    await first.join();
    await second.join();
    expect(first.getStack()).toContain('(done)');
  });

  virtualTest('that never wait end all the same', async () => {
    const order: number[] = [];
    for (let i = 0; i < 3; i++) spawn(() => void order.push(i));
    await checkpoint();
    expect(order).toEqual([0, 1, 2]);
  });

  virtualTest('a busy one of sleep(0) does not starve a sleeping one', async () => {
    const loop = getRunningLoop();
    let stop = false;
    const busy = spawn(async () => {
      while (!stop) await sleep(0);
    });
    loop.callSoon(() => {
      stop = true;
    });
    await busy.join();
    expect(stop).toBe(true);
  });

  virtualTest('may be cancelled in the wait for a result that is set later', async () => {
    const result = new Future<string>();
    const waiting = spawn(() => shielded(async () => await result));
    const scope = new CancelScope();
    scope.cancel();
    await checkpoint();
    waiting.cancel();
    result.setResult('set');
    expect(await waiting.join()).toBe('set');
    expect(currentTask()?.cancelling).toBe(0);
  });
});
