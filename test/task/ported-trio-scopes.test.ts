/** Behaviour of trio's tests of cancellation, shielding and timeouts, written anew; scope.test.ts
 * and timeout.test.ts have the rest. */
import { describe, expect } from 'vitest';
import { CancelledError } from '../../lib/base/errors.ts';
import { Future } from '../../lib/task/future.ts';
import { openNursery } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter, shielded } from '../../lib/task/scope.ts';
import { abortable } from '../../lib/task/signal.ts';
import {
  checkpoint,
  currentTime,
  sleep,
  sleepForever,
  sleepUntil,
  throwIfCancelled,
} from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from './support.ts';

/** Runs `fn` in a scope that is given out. */
async function inScope(fn: (scope: CancelScope) => unknown): Promise<CancelScope> {
  const scope = new CancelScope();
  await scope.run(fn);
  return scope;
}

// covers: trio/cancelscope, seeds/C5
describe('a cancel scope, as in trio', () => {
  runTest('that is cancelled twice is cancelled once, for the first reason', async () => {
    const reasons: unknown[] = [];
    const scope = await inScope(async (inner) => {
      inner.cancel('first');
      inner.cancel('second');
      reasons.push((await failure(checkpoint())).reason);
    });
    expect([reasons, scope.cancelCalled]).toEqual([['first'], true]);
  });

  runTest('that is cancelled after it ended did not catch anything', async () => {
    const scope = await inScope(() => checkpoint());
    scope.cancel();
    await checkpoint();
    expect(scope.cancelledCaught).toBe(false);
  });

  runTest('cancelled at its very end lets the result through', async () => {
    const scope = new CancelScope();
    const result = await scope.run(async () => {
      await checkpoint();
      scope.cancel();
      return 'result';
    });
    expect([result, scope.cancelledCaught]).toEqual(['result', false]);
  });

  runTest('is cancelled while inner scopes are left one by one', async () => {
    const order: string[] = [];
    const outer = new CancelScope();
    await outer.run(async () => {
      for (const name of ['a', 'b']) {
        const inner = new CancelScope();
        try {
          await inner.run(async () => {
            outer.cancel();
            await checkpoint();
          });
        } catch (error) {
          order.push(`${name} ${inner.cancelledCaught}`);
          if (name === 'b') throw error;
        }
      }
    });
    expect([order, outer.cancelledCaught]).toEqual([['a false', 'b false'], true]);
  });

  runTest('inside another one: both cancelled, the outer one catches', async () => {
    const inner = new CancelScope();
    const outer = await inScope(async (scope) => {
      await inner.run(async () => {
        inner.cancel();
        scope.cancel();
        await checkpoint();
      });
    });
    expect([inner.cancelledCaught, outer.cancelledCaught]).toEqual([false, true]);
  });

  runTest('inside another one: only the inner cancelled, the outer goes on', async () => {
    let went = false;
    const inner = new CancelScope();
    const outer = await inScope(async () => {
      await inner.run(async () => {
        inner.cancel();
        await checkpoint();
      });
      await checkpoint();
      went = true;
    });
    expect([inner.cancelledCaught, outer.cancelledCaught, went]).toEqual([true, false, true]);
  });

  runTest('reaches a wait in a scope that was entered before the cancellation', async () => {
    const log: string[] = [];
    const outer = new CancelScope();
    const running = createTask(() =>
      outer.run(() =>
        new CancelScope().run(() => sleepForever().finally(() => log.push('inner left'))),
      ),
    );
    await checkpoint();
    outer.cancel();
    await running;
    expect([log, outer.cancelledCaught]).toEqual([['inner left'], true]);
  });

  runTest('may be cancelled from another task and from a callback', async () => {
    for (const how of ['task', 'callback']) {
      const scope = await inScope(async (inner) => {
        if (how === 'task') createTask(() => inner.cancel());
        else getRunningLoop().callSoon(() => inner.cancel());
        await sleepForever();
      });
      expect(scope.cancelledCaught).toBe(true);
    }
  });

  runTest('keeps an error that is thrown in the place of its cancellation', async () => {
    const scope = new CancelScope();
    const error = await failure(
      scope.run(async () => {
        scope.cancel();
        try {
          await checkpoint();
        } finally {
          // biome-ignore lint/correctness/noUnsafeFinally: that is what is tested.
          throw new RangeError('mine');
        }
      }),
    );
    expect([error.message, scope.cancelledCaught]).toEqual(['mine', false]);
  });

  runTest('that is never entered can be cancelled and asked', () => {
    const scope = new CancelScope();
    scope.cancel();
    expect([scope.cancelCalled, scope.cancelledCaught, scope.signal.aborted]).toEqual([
      true,
      false,
      true,
    ]);
  });

  virtualTest('with a deadline in the past is cancelled when it is entered', async () => {
    await sleep(10);
    const scope = new CancelScope({ deadlineMs: 5 });
    expect(scope.cancelCalled).toBe(false);
    await scope.run(async () => {
      expect(scope.cancelCalled).toBe(true);
      await checkpoint();
    });
    expect([scope.cancelledCaught, currentTime()]).toEqual([true, 10]);
  });

  virtualTest('counts its timeoutMs from the time it is entered', async () => {
    const scope = new CancelScope({ timeoutMs: 20 });
    await sleep(100);
    await scope.run(() => sleepForever());
    expect([currentTime(), scope.deadlineMs]).toEqual([120, 120]);
  });

  virtualTest('with both takes the earlier one', async () => {
    const scope = new CancelScope({ timeoutMs: 20, deadlineMs: 10 });
    await scope.run(() => sleepForever());
    expect(currentTime()).toBe(10);
  });

  virtualTest('has a deadline that is moved away while others wait for theirs', async () => {
    const log: string[] = [];
    await openNursery((nursery) => {
      nursery.startSoon(async () => {
        const scope = new CancelScope({ timeoutMs: 10 });
        createTask(async () => {
          await sleep(5);
          scope.deadlineMs = 30;
        });
        await scope.run(() => sleepForever());
        log.push(`moved ${currentTime()}`);
      });
      nursery.startSoon(async () => {
        await moveOnAfter(10, () => sleepForever());
        log.push(`fixed ${currentTime()}`);
      });
    });
    expect(log).toEqual(['fixed 10', 'moved 30']);
  });

  virtualTest('whose deadline is taken away in time never ends by itself', async () => {
    const scope = new CancelScope({ timeoutMs: 10 });
    const result = await scope.run(async () => {
      await sleep(5);
      scope.deadlineMs = Infinity;
      return await sleep(100, 'done');
    });
    expect(result).toBe('done');
  });

  virtualTest('whose deadline comes during work without a wait ends at the next wait', async () => {
    const scope = new CancelScope();
    let went = false;
    await scope.run(async () => {
      scope.deadlineMs = Number.NEGATIVE_INFINITY;
      expect(scope.cancelCalled).toBe(true);
      await Promise.resolve();
      went = true;
      await checkpoint();
      went = false;
    });
    expect(went).toBe(true);
  });

  runTest('cancelled in a finally of its own body does no harm', async () => {
    const scope = new CancelScope();
    const error = await failure(
      scope.run(async () => {
        try {
          throw new RangeError('first');
        } finally {
          scope.cancel();
        }
      }),
    );
    expect(error.message).toBe('first');
  });
});

// covers: trio/checkpoint, curio/disable-cancellation
describe('checkpoints, as in trio', () => {
  runTest('every wait is one: in a cancelled scope each rejects', async () => {
    const future = new Future<void>();
    const done = new Future<number>();
    done.setResult(1);
    const task = createTask(() => sleepForever());
    const waits: [string, () => PromiseLike<unknown>][] = [
      ['checkpoint', () => checkpoint()],
      ['sleep(0)', () => sleep(0)],
      ['sleep(-1)', () => sleep(-1)],
      ['sleepUntil the past', () => sleepUntil(0)],
      ['sleepForever', () => sleepForever()],
      ['a future', () => future],
      ['join', () => task.join()],
      ['wait', () => task.wait()],
      ['abortable', () => abortable(new Promise(() => {}))],
    ];
    await inScope(async (scope) => {
      scope.cancel();
      for (const [name, begin] of waits) {
        expect(await failure(begin()), name).toBeInstanceOf(CancelledError);
      }
      // What is done already needs no wait.
      expect(await done).toBe(1);
    });
    await task.cancelAndWait();
  });

  runTest('throwIfCancelled does not let others run', async () => {
    let ran = false;
    createTask(() => {
      ran = true;
    });
    throwIfCancelled();
    expect(ran).toBe(false);
    await checkpoint();
    expect(ran).toBe(true);
  });

  runTest('shielded(checkpoint) lets others run and cannot be cancelled', async () => {
    let ran = false;
    await inScope(async (scope) => {
      createTask(() => {
        ran = true;
      });
      scope.cancel();
      await shielded(checkpoint);
      expect(ran).toBe(true);
      await failure(checkpoint());
    });
  });

  runTest('plain promises are none', async () => {
    await inScope(async (scope) => {
      scope.cancel();
      expect(await Promise.resolve('reached')).toBe('reached');
    });
  });
});

function _sleepOutside(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, never).unref());
}

function _inScopeResult<T>(fn: (scope: CancelScope) => Promise<T>): Promise<T | undefined> {
  return new CancelScope().run(fn);
}
