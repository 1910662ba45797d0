import { describe, expect } from 'vitest';
import { CancelledError, InvalidStateError } from '../../lib/base/errors.ts';
import { openNursery } from '../../lib/task/group.ts';
import {
  CancelScope,
  currentEffectiveDeadline,
  moveOnAfter,
  shielded,
  timeout,
} from '../../lib/task/scope.ts';
import {
  checkpoint,
  currentTime,
  sleep,
  sleepForever,
  throwIfCancelled,
} from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from './support.ts';

/** A scope that is cancelled already. */
function cancelled(reason?: unknown): CancelScope {
  const scope = new CancelScope();
  scope.cancel(reason);
  return scope;
}

describe('CancelScope', () => {
  runTest('gives the result of what runs inside', async () => {
    const scope = new CancelScope();
    expect(await scope.run(async () => 5)).toBe(5);
    expect([scope.cancelCalled, scope.cancelledCaught]).toEqual([false, false]);
  });

  runTest('swallows its own cancellation', async () => {
    const scope = new CancelScope();
    const result = await scope.run(async () => {
      scope.cancel('why');
      await sleep(never);
      return 'not reached';
    });
    expect([result, scope.cancelledCaught]).toEqual([undefined, true]);
  });

  runTest('rejects every wait inside until it is left', async () => {
    const errors: unknown[] = [];
    await new CancelScope().run(async (scope) => {
      scope.cancel('level');
      for (let i = 0; i < 3; i++) errors.push(await failure(sleep(0)));
    });
    expect(errors.map((error) => (error as CancelledError).reason)).toEqual([
      'level',
      'level',
      'level',
    ]);
    await checkpoint();
  });

  runTest('ends all waits that go on inside, in promises too', async () => {
    const outcomes = await new CancelScope().run(async (scope) => {
      const both = Promise.allSettled([sleep(never), sleepForever()]);
      scope.cancel();
      return (await both).map((outcome) => outcome.status);
    });
    expect(outcomes).toEqual(['rejected', 'rejected']);
  });

  runTest('may be cancelled before it runs', async () => {
    const scope = cancelled();
    let begun = false;
    await scope.run(async () => {
      begun = true;
      await checkpoint();
      begun = false;
    });
    expect([begun, scope.cancelledCaught]).toEqual([true, true]);
  });

  runTest('runs only once', async () => {
    const scope = new CancelScope();
    await scope.run(() => {});
    expect(await failure(scope.run(() => {}))).toBeInstanceOf(InvalidStateError);
  });

  runTest('that was cancelled but met no wait caught nothing', async () => {
    const scope = cancelled();
    expect(await scope.run(async () => 'result')).toBe('result');
    expect(scope.cancelledCaught).toBe(false);
  });

  runTest('lets other errors through while it is cancelled', async () => {
    const error = await failure(
      cancelled().run(async () => {
        await checkpoint().catch(() => {
          throw new RangeError('mine');
        });
      }),
    );
    expect(error).toBeInstanceOf(RangeError);
  });

  runTest('does not swallow the cancellation of an outer scope', async () => {
    const inner = new CancelScope();
    const outer = new CancelScope();
    await outer.run(() =>
      inner.run(async () => {
        outer.cancel();
        await sleepForever();
      }),
    );
    expect([inner.cancelledCaught, outer.cancelledCaught]).toEqual([false, true]);
  });

  runTest('leaves the outer scope alone when only it is cancelled', async () => {
    const outer = new CancelScope();
    const result = await outer.run(async () => {
      await cancelled().run(() => sleepForever());
      await checkpoint();
      return 'outer went on';
    });
    expect(result).toBe('outer went on');
  });

  runTest('gives way to the outer one when both are cancelled in the same turn', async () => {
    const inner = new CancelScope();
    const outer = new CancelScope();
    await outer.run(() =>
      inner.run(async () => {
        inner.cancel();
        outer.cancel();
        await sleepForever();
      }),
    );
    expect([inner.cancelledCaught, outer.cancelledCaught]).toEqual([false, true]);
  });

  runTest('does not swallow the cancellation of its task', async () => {
    const scope = new CancelScope();
    const task = createTask(() => scope.run(() => sleepForever()));
    await checkpoint();
    scope.cancel();
    task.cancel('edge');
    expect((await failure(task)).reason).toBe('edge');
    expect(scope.cancelledCaught).toBe(false);
  });

  runTest('does not swallow the cancellation of another scope that was stored', async () => {
    let error: unknown;
    await cancelled().run(async () => {
      error = await failure(checkpoint());
    });
    const scope = new CancelScope();
    expect(await failure(scope.run(() => Promise.reject(error)))).toBe(error);
  });

  runTest('swallows an abort error that its signal caused', async () => {
    const scope = new CancelScope();
    const { setTimeout: nodeSleep } = await import('node:timers/promises');
    await scope.run(async () => {
      const waiting = nodeSleep(never, undefined, { signal: scope.signal });
      scope.cancel();
      await waiting;
    });
    expect(scope.cancelledCaught).toBe(true);
  });

  runTest('is cancelled by a signal, and keeps no listener', async () => {
    const controller = new AbortController();
    const scope = new CancelScope({ signal: controller.signal });
    let error: CancelledError | undefined;
    await scope.run(async () => {
      controller.abort('signal');
      error = await failure(checkpoint());
      throw error;
    });
    expect([scope.cancelledCaught, error?.reason]).toEqual([true, 'signal']);
    const late = new CancelScope({ signal: controller.signal });
    await late.run(() => checkpoint());
    expect(late.cancelledCaught).toBe(true);
  });

  virtualTest('has a deadline that may be moved at any time', async () => {
    const scope = new CancelScope({ timeoutMs: 10 });
    const start = currentTime();
    await scope.run(async () => {
      scope.deadlineMs = start + 100;
      await sleep(50);
      scope.deadlineMs = Infinity;
      await sleep(100);
      scope.deadlineMs = currentTime() + 1;
      await sleepForever();
    });
    expect(currentTime() - start).toBe(151);
  });

  runTest('refuses NaN', () => {
    expect(() => new CancelScope({ timeoutMs: Number.NaN })).toThrow(TypeError);
    const scope = new CancelScope();
    expect(() => {
      scope.deadlineMs = Number.NaN;
    }).toThrow(TypeError);
  });

  runTest('does not reach tasks that were created inside', async () => {
    let task = createTask(async () => 'unused');
    await cancelled().run(async () => {
      task = createTask(() => sleep(1, 'whole'));
      await checkpoint();
    });
    expect(await task).toBe('whole');
  });

  runTest('hands waits that outlive it to the scope around', async () => {
    const outer = new CancelScope();
    let left: Promise<unknown> | undefined;
    await outer.run(async () => {
      await new CancelScope().run(async () => {
        left = failure(
          (async () => {
            await sleep(1);
            await sleep(never);
          })(),
        );
      });
      await sleep(3);
      outer.cancel();
      await left;
    });
    expect(await left).toBeInstanceOf(CancelledError);
  });

  runTest('cannot starve the process through a loop that catches everything', async () => {
    let timerFired = false;
    await new CancelScope().run(async (scope) => {
      scope.cancel();
      setTimeout(() => {
        timerFired = true;
      }, 1);
      while (!timerFired) await sleep(1).catch(() => {});
    });
    expect(timerFired).toBe(true);
  });

  runTest('works outside of any task', async () => {
    const scope = new CancelScope();
    const { frameStorage } = await import('../../lib/task/frame.ts');
    const result = await frameStorage.run(undefined, () =>
      scope.run(async () => {
        scope.cancel();
        await sleepForever();
      }),
    );
    expect([result, scope.cancelledCaught]).toEqual([undefined, true]);
  });
});

describe('shields', () => {
  runTest('keep a cancelled scope away', async () => {
    const scope = new CancelScope();
    let inside: unknown;
    await scope.run(async () => {
      scope.cancel();
      inside = await new CancelScope({ shield: true }).run(() => sleep(1, 'whole'));
      await checkpoint();
    });
    expect([inside, scope.cancelledCaught]).toEqual(['whole', true]);
  });

  runTest('hold a cancellation of the task back until they end', async () => {
    const steps: string[] = [];
    const task = createTask(async () => {
      await shielded(async () => {
        await sleep(2);
        steps.push('protected');
      });
      await checkpoint();
      steps.push('not reached');
    });
    await checkpoint();
    task.cancel();
    await task.wait();
    expect([steps, task.cancelled]).toEqual([['protected'], true]);
  });

  runTest('protect clean-up from a scope that stays cancelled', async () => {
    const steps: string[] = [];
    await moveOnAfter(1, async () => {
      try {
        await sleepForever();
      } finally {
        await shielded(() => sleep(1));
        steps.push('cleaned up');
      }
    });
    expect(steps).toEqual(['cleaned up']);
  });

  runTest('can be taken away, and the cancellation comes through', async () => {
    const scope = new CancelScope();
    const shield = new CancelScope({ shield: true });
    let error: unknown;
    await scope.run(() =>
      shield.run(async () => {
        scope.cancel('outer');
        await sleep(0);
        setImmediate(() => {
          shield.shield = false;
        });
        error = await failure(sleepForever());
        throw error;
      }),
    );
    expect((error as CancelledError).reason).toBe('outer');
  });

  runTest('can be put up inside a cancelled scope', async () => {
    await cancelled().run(() =>
      new CancelScope().run(async (scope) => {
        await failure(checkpoint());
        scope.shield = true;
        await checkpoint();
        scope.shield = false;
        await failure(checkpoint());
      }),
    );
  });

  runTest('do not keep their own cancellation away', async () => {
    const shield = new CancelScope({ shield: true });
    await shield.run(async () => {
      shield.cancel();
      await sleepForever();
    });
    expect(shield.cancelledCaught).toBe(true);
  });

  runTest('let an inner scope be cancelled', async () => {
    const result = await cancelled().run(() =>
      shielded(async () => {
        await moveOnAfter(1, () => sleepForever());
        return 'whole';
      }),
    );
    expect(result).toBe('whole');
  });

  runTest('protect a whole nursery', async () => {
    let whole = false;
    await cancelled().run(() =>
      shielded(() =>
        openNursery((nursery) => {
          nursery.startSoon(async () => {
            await sleep(1);
            whole = true;
          });
        }),
      ),
    );
    expect(whole).toBe(true);
  });

  virtualTest('with graceMs give way so long after a cancellation of a scope', async () => {
    const start = currentTime();
    let error: unknown;
    await moveOnAfter(100, async () => {
      await shielded(
        async () => {
          error = await failure(sleepForever());
          throw error;
        },
        { graceMs: 30 },
      );
    });
    expect(error).toBeInstanceOf(CancelledError);
    expect(currentTime() - start).toBe(130);
  });

  virtualTest('with graceMs give way so long after a cancellation of the task', async () => {
    const start = currentTime();
    const task = createTask(() => shielded(() => sleepForever(), { graceMs: 30 }));
    await sleep(10);
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(currentTime() - start).toBe(40);
  });

  virtualTest('with graceMs count from their begin when cancelled before', async () => {
    const start = currentTime();
    await cancelled().run(() => shielded(() => sleepForever(), { graceMs: 20 }));
    expect(currentTime() - start).toBe(20);
  });

  virtualTest('with graceMs count from when the cancellation gets as far as them', async () => {
    const outer = new CancelScope({ shield: true, timeoutMs: 20 });
    const task = createTask(() =>
      outer.run(async () => {
        await sleep(5);
        // The task was cancelled, but that is held back outside of here.
        await shielded(() => sleep(50), { graceMs: 10 });
      }),
    );
    await sleep(1);
    task.cancel();
    await task.wait();
    expect([outer.cancelledCaught, currentTime()]).toEqual([true, 30]);
  });

  virtualTest('with graceMs are not shortened without a cancellation', async () => {
    expect(await shielded(() => sleep(1000, 'whole'), { graceMs: 1 })).toBe('whole');
  });

  runTest('of a timeout keep the outer cancellation for later', async () => {
    const task = createTask(async () => {
      const error = await failure(timeout(2, () => sleepForever(), { shield: true }));
      expect(error.name).toBe('TimeoutError');
      await checkpoint();
    });
    await checkpoint();
    task.cancel();
    await task.wait();
    expect(task.cancelled).toBe(true);
  });
});

describe('currentEffectiveDeadline and throwIfCancelled', () => {
  virtualTest('the nearest deadline counts, and shields end the search', async () => {
    const start = currentTime();
    expect(currentEffectiveDeadline()).toBe(Infinity);
    await timeout(100, () =>
      timeout(200, async () => {
        expect(currentEffectiveDeadline()).toBe(start + 100);
        await shielded(async () => expect(currentEffectiveDeadline()).toBe(Infinity));
        await timeout(500, async () => expect(currentEffectiveDeadline()).toBe(start + 500), {
          shield: true,
        });
      }),
    );
  });

  runTest('is -Infinity in what is cancelled already', async () => {
    await cancelled().run(() => expect(currentEffectiveDeadline()).toBe(-Infinity));
    const task = createTask(async () => {
      currentTask()?.cancel();
      return currentEffectiveDeadline();
    });
    expect(await task).toBe(-Infinity);
  });

  runTest('throwIfCancelled throws in a cancelled scope only', async () => {
    throwIfCancelled();
    await cancelled().run(() => expect(() => throwIfCancelled()).toThrow(CancelledError));
    throwIfCancelled();
  });

  runTest('throwIfCancelled takes a cancellation of the task', async () => {
    const task = createTask(async () => {
      currentTask()?.cancel();
      expect(() => throwIfCancelled()).toThrow(CancelledError);
      await checkpoint();
      return 'once';
    });
    expect(await task).toBe('once');
  });
});

describe('deep trees', () => {
  runTest('10,000 nested scopes are cancelled from outside', async () => {
    const outer = new CancelScope();
    const nest = (left: number): Promise<unknown> =>
      left === 0
        ? sleep(1).then(() => {
            outer.cancel();
            return sleepForever();
          })
        : new CancelScope().run(() => nest(left - 1));
    await outer.run(() => nest(10_000));
    expect(outer.cancelledCaught).toBe(true);
  });
});
