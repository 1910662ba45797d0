/** Behaviour of curio's tests of timeouts, deferred cancellation, task groups and tasks, written
 * anew; timeout.test.ts and group-waits.test.ts have the rest. */
import { describe, expect, test } from 'vitest';
import { TimeoutError } from '../../lib/base/errors.ts';
import { run } from '../../lib/task/run.ts';
import { moveOnAfter, shielded, timeout } from '../../lib/task/scope.ts';
import { currentTime, sleep, throwIfCancelled } from '../../lib/task/sleep.ts';
import { spawn } from '../../lib/task/task.ts';
import { inMemory, testPolicy } from '../support/policy.ts';
import { failure, virtualTest } from './support.ts';

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

  test.skipIf(inMemory)('of zero on a loop of sleep(0) is not starved', async () => {
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
