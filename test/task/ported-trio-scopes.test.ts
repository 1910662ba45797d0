/** Behaviour of trio's tests of cancellation, shielding and timeouts, written anew; scope.test.ts
 * and timeout.test.ts have the rest. */
import { describe, expect } from 'vitest';
import { CancelledError, TimeoutError } from '../../lib/base/errors.ts';
import { Future } from '../../lib/task/future.ts';
import { openNursery, type TaskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import {
  CancelScope,
  currentEffectiveDeadline,
  moveOnAfter,
  moveOnAt,
  shielded,
  timeout,
  timeoutAt,
} from '../../lib/task/scope.ts';
import { abortable } from '../../lib/task/signal.ts';
import {
  checkpoint,
  currentTime,
  sleep,
  sleepForever,
  sleepUntil,
  throwIfCancelled,
} from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
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

// covers: trio/cancelscope, asyncio/gather
describe('shielding, as in trio', () => {
  virtualTest('a shield between two scopes: the inner one is its own', async () => {
    const log: string[] = [];
    const outer = await inScope(async (scope) => {
      scope.cancel();
      await new CancelScope({ shield: true }).run(async () => {
        await sleep(5);
        log.push('shielded');
        await moveOnAfter(5, () => sleepForever());
        log.push(`inner ${currentTime()}`);
      });
      await checkpoint();
      log.push('not reached');
    });
    expect([log, outer.cancelledCaught]).toEqual([['shielded', 'inner 10'], true]);
  });

  virtualTest('three deep: each shield keeps only what is outside of it away', async () => {
    const log: string[] = [];
    const middle = new CancelScope({ shield: true });
    await inScope(async (outer) => {
      await middle.run(async () => {
        await new CancelScope({ shield: true }).run(async () => {
          outer.cancel();
          middle.cancel();
          await sleep(5);
          log.push('innermost');
        });
        await failure(checkpoint());
        log.push('middle');
        await checkpoint();
      });
      log.push(`caught ${middle.cancelledCaught}`);
    });
    expect(log).toEqual(['innermost', 'middle', 'caught true']);
  });

  virtualTest('lowered in a task inside lets the cancellation reach that one', async () => {
    const log: string[] = [];
    const shield = new CancelScope({ shield: true });
    await inScope(async (scope) => {
      await shield.run(() =>
        openNursery((nursery) => {
          nursery.startSoon(() => sleepForever().finally(() => log.push('child')));
          nursery.startSoon(async () => {
            scope.cancel();
            await sleep(5);
            log.push('lower');
            shield.shield = false;
            await sleepForever();
          });
        }),
      );
    });
    expect(log).toEqual(['lower', 'child']);
  });

  virtualTest('raised again after it was lowered protects new waits', async () => {
    const log: string[] = [];
    await inScope(async (scope) => {
      await new CancelScope({ shield: true }).run(async (shield) => {
        scope.cancel();
        await sleep(1);
        shield.shield = false;
        await failure(sleep(1));
        shield.shield = true;
        await sleep(1);
        log.push('protected again');
      });
    });
    expect(log).toEqual(['protected again']);
  });

  virtualTest('lowered while the scope around is fine changes nothing', async () => {
    const result = await new CancelScope({ shield: true }).run(async (scope) => {
      scope.shield = false;
      return await sleep(1, 'fine');
    });
    expect(result).toBe('fine');
  });

  virtualTest('a shielded scope with a deadline ends by it', async () => {
    const log: string[] = [];
    await inScope(async (scope) => {
      scope.cancel();
      try {
        await checkpoint();
      } finally {
        const result = await moveOnAfter(10, () => sleepForever(), { shield: true });
        log.push(`gave up ${result} ${currentTime()}`);
      }
    });
    expect(log).toEqual(['gave up undefined 10']);
  });

  virtualTest('a task outside is not protected by a shield of another', async () => {
    const log: string[] = [];
    await openNursery((nursery) => {
      nursery.startSoon(async () => {
        await shielded(() => sleep(20));
        log.push(`shielded ${currentTime()}`);
      });
      nursery.startSoon(() => sleepForever().finally(() => log.push(`plain ${currentTime()}`)));
      nursery.startSoon(async () => {
        await sleep(5);
        nursery.cancel();
      });
    });
    expect(log).toEqual(['plain 5', 'shielded 20']);
  });

  virtualTest(
    'the deadline of an outer scope that passes is met when the shield ends',
    async () => {
      let sawAt = -1;
      await moveOnAfter(10, async () => {
        await shielded(() => sleep(30));
        try {
          await checkpoint();
        } finally {
          sawAt = currentTime();
        }
      });
      expect(sawAt).toBe(30);
    },
  );

  virtualTest('a nursery behind a shield starts and ends tasks as usual', async () => {
    const log: string[] = [];
    await inScope(async (scope) => {
      scope.cancel();
      await shielded(() =>
        openNursery((nursery) => {
          nursery.startSoon(async () => {
            await sleep(5);
            log.push('a');
          });
          nursery.startSoon(async () => {
            await sleep(3);
            log.push('b');
          });
        }),
      );
    });
    expect(log).toEqual(['b', 'a']);
  });
});

// covers: trio/fail-after, trio/move-on-after, trio/sleep
describe('timeouts, as in trio', () => {
  virtualTest('sleepUntil ends at its time, and at once for the past', async () => {
    await sleepUntil(30);
    await sleepUntil(10);
    expect(currentTime()).toBe(30);
  });

  virtualTest(
    'moveOnAt and timeoutAt at the same time end in the order they were set',
    async () => {
      const order: string[] = [];
      await openNursery((nursery) => {
        nursery.startSoon(async () => {
          await moveOnAt(10, () => sleepForever());
          order.push('moveOnAt');
        });
        nursery.startSoon(async () => {
          await failure(timeoutAt(10, () => sleepForever()));
          order.push('timeoutAt');
        });
      });
      expect(order).toEqual(['moveOnAt', 'timeoutAt']);
    },
  );

  virtualTest('fail_after: no error when the body is in time, and after its limit', async () => {
    expect(await timeout(10, () => sleep(5, 'in time'))).toBe('in time');
    // No wait after the limit: nothing was cancelled.
    const busy = await timeout(0, async () => 'busy');
    expect(busy).toBe('busy');
  });

  virtualTest('fail_after is told when an inner nursery swallowed nothing', async () => {
    const error = await failure(
      timeout(10, () => openNursery((nursery) => void nursery.startSoon(sleepForever))),
    );
    expect(error).toBeInstanceOf(TimeoutError);
  });

  virtualTest('move_on_after: the scope tells what happened, both ways', async () => {
    const scopes: CancelScope[] = [];
    for (const ms of [5, 20]) {
      await moveOnAfter(10, async (scope) => {
        scopes.push(scope);
        await sleep(ms);
      });
    }
    expect(scopes.map((scope) => scope.cancelledCaught)).toEqual([false, true]);
  });

  virtualTest('negative times end the first wait', async () => {
    expect(await moveOnAfter(-5, () => sleep(1, 'x'))).toBe(undefined);
    expect(await moveOnAt(-5, () => sleep(1, 'x'))).toBe(undefined);
    expect(currentTime()).toBe(0);
  });

  virtualTest('NaN is refused by each', async () => {
    const bad = Number.NaN;
    for (const begin of [
      () => sleep(bad),
      () => sleepUntil(bad),
      () => moveOnAfter(bad, () => 1),
      () => moveOnAt(bad, () => 1),
      () => timeout(bad, () => 1),
      () => timeoutAt(bad, () => 1),
    ]) {
      expect(await failure(begin())).toBeInstanceOf(TypeError);
    }
  });

  virtualTest('the effective deadline is the nearest one inside the innermost shield', async () => {
    const seen: number[] = [];
    const see = (): unknown => seen.push(currentEffectiveDeadline());
    see();
    await moveOnAfter(50, async () => {
      see();
      await moveOnAfter(100, async () => {
        see();
        await moveOnAfter(70, async () => see(), { shield: true });
      });
      await moveOnAfter(20, async (scope) => {
        see();
        scope.cancel();
        see();
        await shielded(async () => see());
      });
    });
    expect(seen).toEqual([Infinity, 50, 50, 70, 20, -Infinity, Infinity]);
  });

  virtualTest('the effective deadline of a task that waits to be cancelled is past', async () => {
    const seen: number[] = [];
    const task = createTask(async () => {
      currentTask()?.cancel();
      seen.push(currentEffectiveDeadline());
      await shielded(async () => seen.push(currentEffectiveDeadline()));
      await checkpoint();
    });
    await failure(task);
    expect(seen).toEqual([-Infinity, Infinity]);
  });

  virtualTest('deadlines reach into children of a nursery', async () => {
    const seen: number[] = [];
    await moveOnAfter(50, () =>
      openNursery((nursery: TaskGroup) => {
        nursery.startSoon(async () => void seen.push(currentEffectiveDeadline()));
        nursery.startSoon(() => moveOnAfter(10, async () => seen.push(currentEffectiveDeadline())));
      }),
    );
    expect(seen).toEqual([50, 10]);
  });

  virtualTest('deadlines do not reach tasks that are no children', async () => {
    const seen: number[] = [];
    await moveOnAfter(50, async () => {
      await createTask(async () => seen.push(currentEffectiveDeadline())).join();
    });
    expect(seen).toEqual([Infinity]);
  });
});

// covers: trio/reschedule, seeds/C20
describe('waiting by hand, as with wait_task_rescheduled', () => {
  runTest('abort functions are called once per cancelled wait, in order', async () => {
    const log: string[] = [];
    const pending = (name: string): Promise<void> =>
      abortable(new Promise<void>(() => {}), () => log.push(name));
    await inScope(async (scope) => {
      const all = Promise.allSettled([pending('a'), pending('b')]);
      scope.cancel();
      await all;
    });
    expect(log).toEqual(['a', 'b']);
  });

  runTest('a result that came first is not aborted', async () => {
    const log: string[] = [];
    const result = await inScopeResult(async (scope) => {
      const value = await abortable(Promise.resolve('came'), () => log.push('aborted'));
      scope.cancel();
      return value;
    });
    expect([result, log]).toEqual(['came', []]);
  });

  virtualTest('behind a shield is not aborted until it is lowered', async () => {
    const log: string[] = [];
    await inScope(async (scope) => {
      await new CancelScope({ shield: true }).run(async (shield) => {
        getRunningLoop().callLater(5, () => {
          log.push('lowered');
          shield.shield = false;
        });
        scope.cancel();
        await abortable(sleepOutside(), () => log.push('aborted'));
      });
    });
    expect(log).toEqual(['lowered', 'aborted']);
  });
});

function sleepOutside(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, never).unref());
}

function inScopeResult<T>(fn: (scope: CancelScope) => Promise<T>): Promise<T | undefined> {
  return new CancelScope().run(fn);
}
