import { describe, expect } from 'vitest';
import { CancelledError, InvalidStateError, TimeoutError } from '../../lib/base/errors.ts';
import { Future } from '../../lib/task/future.ts';
import {
  type CancelScope,
  moveOnAfter,
  moveOnAt,
  type Timeout,
  timeout,
  timeoutAt,
} from '../../lib/task/scope.ts';
import { checkpoint, currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from './support.ts';

describe('timeout', () => {
  runTest('gives the result of work that is in time', async () => {
    expect(await timeout(never, async () => 'in time')).toBe('in time');
    expect(await timeout(never, () => 'plain')).toBe('plain');
  });

  virtualTest('throws TimeoutError at its deadline, not before and not later', async () => {
    const start = currentTime();
    const error = await failure(timeout(2000, () => sleep(5000)));
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error.code).toBe('ETIMEDOUT');
    expect(error.cause).toBeInstanceOf(CancelledError);
    expect(currentTime() - start).toBe(2000);
  });

  runTest('leaves the task uncancelled after it expired', async () => {
    await failure(timeout(1, () => sleepForever()));
    expect(currentTask()?.cancelling).toBe(0);
    await checkpoint();
  });

  runTest('of zero ends the first wait', async () => {
    let begun = false;
    const error = await failure(
      timeout(0, async () => {
        begun = true;
        await sleep(0);
      }),
    );
    expect([begun, error.name]).toEqual([true, 'TimeoutError']);
  });

  runTest('of zero lets work without a wait end', async () => {
    expect(await timeout(0, async () => 'done')).toBe('done');
  });

  runTest('of null is no limit', async () => {
    await timeout(null, async (limit) => {
      expect(limit.deadlineMs).toBeNull();
      await sleep(1);
      expect(limit.expired).toBe(false);
    });
  });

  runTest('rejects NaN and promises with TypeError', async () => {
    expect(await failure(timeout(Number.NaN, () => {}))).toBeInstanceOf(TypeError);
    const promise = Promise.resolve();
    expect((await failure(timeout(1, promise as never))).message).toMatch(/timeout\(\(\) => f/);
  });

  virtualTest('can be moved while it runs', async () => {
    const start = currentTime();
    await timeout(10, async (limit) => {
      limit.reschedule(start + 1000);
      await sleep(500);
      expect(limit.deadlineMs).toBe(start + 1000);
    });
    const error = await failure(
      timeout(null, async (limit) => {
        limit.reschedule(currentTime() + 7);
        await sleepForever();
      }),
    );
    expect(error).toBeInstanceOf(TimeoutError);
    expect(currentTime() - start).toBe(507);
  });

  runTest('moved into the past expires at once', async () => {
    const error = await failure(
      timeout(never, async (limit) => {
        limit.reschedule(currentTime() - 1);
        expect(limit.expired).toBe(true);
        await checkpoint();
      }),
    );
    expect(error).toBeInstanceOf(TimeoutError);
  });

  runTest('cannot be moved after it expired or ended', async () => {
    let kept: Timeout | undefined;
    await timeout(never, async (limit) => {
      kept = limit;
    });
    expect(() => kept?.reschedule(null)).toThrow(InvalidStateError);
    await failure(
      timeout(1, async (limit) => {
        kept = limit;
        await sleepForever();
      }),
    );
    expect(kept?.expired).toBe(true);
    expect(() => kept?.reschedule(null)).toThrow(InvalidStateError);
  });

  runTest('lets an error of the work through', async () => {
    const error = await failure(timeout(never, () => Promise.reject(new RangeError('own'))));
    expect(error).toBeInstanceOf(RangeError);
  });

  runTest('lets an error of clean-up after the deadline through', async () => {
    const error = await failure(
      timeout(1, async () => {
        await sleepForever().catch(() => {
          throw new RangeError('clean-up');
        });
      }),
    );
    expect(error).toBeInstanceOf(RangeError);
  });

  runTest('gives the result of work that swallows the cancellation', async () => {
    const result = await timeout(1, async () => {
      await sleepForever().catch(() => {});
      return 'anyway';
    });
    expect(result).toBe('anyway');
  });

  runTest('refuses all waits after the deadline until the region is left', async () => {
    let refused = 0;
    const error = await failure(
      timeout(1, async () => {
        for (let i = 0; i < 3; i++) await sleep(never).catch(() => refused++);
        await checkpoint();
      }),
    );
    expect([refused, error.name]).toEqual([3, 'TimeoutError']);
  });

  runTest('is told apart from an inner one that expires', async () => {
    const inner = await timeout(never, () => failure(timeout(1, () => sleepForever())));
    expect(inner).toBeInstanceOf(TimeoutError);
  });

  virtualTest('that is the outer one ends the inner one with its own error', async () => {
    const start = currentTime();
    let inner: unknown;
    const error = await failure(
      timeout(10, async () => {
        inner = await failure(timeout(1000, () => sleepForever()));
        throw inner;
      }),
    );
    expect(inner).toBeInstanceOf(CancelledError);
    expect(error).toBeInstanceOf(TimeoutError);
    expect(currentTime() - start).toBe(10);
  });

  virtualTest('that is the outer one wins when both end in the same turn', async () => {
    const at = currentTime() + 10;
    let inner: unknown;
    const error = await failure(
      timeoutAt(at, async () => {
        inner = await failure(timeoutAt(at, () => sleepForever()));
        throw inner;
      }),
    );
    expect(inner).toBeInstanceOf(CancelledError);
    expect(error).toBeInstanceOf(TimeoutError);
  });

  virtualTest('loses to a result of the same turn', async () => {
    const future = new Future<string>();
    const { loop } = future;
    loop.callLater(10, () => future.setResult('result'));
    expect(await timeout(10, () => future)).toBe('result');
  });

  runTest('gives way to a cancellation of the task', async () => {
    const task = createTask(() => timeout(never, () => sleepForever()));
    await checkpoint();
    task.cancel('task');
    expect((await failure(task)).reason).toBe('task');
  });

  virtualTest('does not turn a cancellation of the task into TimeoutError later', async () => {
    const task = createTask(() =>
      timeout(10, async () => {
        try {
          await sleepForever();
        } finally {
          await sleep(100).catch(() => {});
          await sleep(100);
        }
      }),
    );
    await checkpoint();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(task.cancelled).toBe(true);
  });

  virtualTest('nests three deep, and the first one to expire is the one that throws', async () => {
    const seen: string[] = [];
    await timeout(300, async () => {
      const error = await failure(
        timeout(100, async () => {
          await timeout(200, () => sleepForever());
        }),
      );
      seen.push(error.message);
      await sleep(1);
    });
    expect(seen).toEqual(['The time limit of 100 ms passed']);
  });
});

describe('timeoutAt, moveOnAfter, moveOnAt', () => {
  virtualTest('timeoutAt takes a time of the clock', async () => {
    const error = await failure(timeoutAt(currentTime() + 5, () => sleepForever()));
    expect(error).toBeInstanceOf(TimeoutError);
    expect(await timeoutAt(null, async () => 1)).toBe(1);
  });

  virtualTest('moveOnAfter gives undefined at its deadline', async () => {
    const start = currentTime();
    expect(await moveOnAfter(3000, () => sleep(5000, 'Done'))).toBeUndefined();
    expect(currentTime() - start).toBe(3000);
  });

  runTest('moveOnAfter gives the result of work that is in time', async () => {
    expect(await moveOnAfter(never, async () => 'Done')).toBe('Done');
  });

  runTest('moveOnAfter tells by its scope whether it moved on', async () => {
    let kept: CancelScope | undefined;
    await moveOnAfter(1, async (scope) => {
      kept = scope;
      await sleepForever();
    });
    expect([kept?.cancelCalled, kept?.cancelledCaught]).toEqual([true, true]);
  });

  runTest('moveOnAfter rejects NaN and promises with TypeError', async () => {
    expect(await failure(moveOnAfter(Number.NaN, () => {}))).toBeInstanceOf(TypeError);
    expect(await failure(moveOnAfter(1, Promise.resolve() as never))).toBeInstanceOf(TypeError);
  });

  runTest('moveOnAfter lets errors through', async () => {
    expect(
      await failure(moveOnAfter(never, () => Promise.reject(new RangeError()))),
    ).toBeInstanceOf(RangeError);
  });

  virtualTest('moveOnAt takes a time of the clock', async () => {
    const start = currentTime();
    expect(await moveOnAt(start + 30, () => sleepForever())).toBeUndefined();
    expect(currentTime() - start).toBe(30);
  });

  virtualTest('pair up when nested, as in curio', async () => {
    const seen: string[] = [];
    const outer = await moveOnAfter(10, async () => {
      const inner = await moveOnAfter(50, () => sleepForever());
      seen.push(`inner ${inner}`);
      return 'outer went on';
    });
    expect([seen, outer]).toEqual([[], undefined]);
  });
});
