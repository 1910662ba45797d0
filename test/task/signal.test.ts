import { getEventListeners } from 'node:events';
import { setTimeout as nodeSleep } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { CancelledError } from '../../lib/base/errors.ts';
import { Future } from '../../lib/task/future.ts';
import { CancelScope, moveOnAfter, timeout } from '../../lib/task/scope.ts';
import { abortable, currentSignal } from '../../lib/task/signal.ts';
import { checkpoint, sleep, sleepForever, sleepUntil } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { takeCancellation, Waiter } from '../../lib/task/waiter.ts';
import { failure, never, runTest } from './support.ts';

describe('currentSignal', () => {
  runTest('is the same one within a scope, and another one in another', async () => {
    const outer = currentSignal();
    expect(currentSignal()).toBe(outer);
    await new CancelScope().run(async (scope) => {
      expect(currentSignal()).not.toBe(outer);
      expect(currentSignal()).toBe(scope.signal);
    });
  });

  runTest('stops foreign work at a deadline', async () => {
    const error = await failure(
      timeout(1, () => nodeSleep(never, undefined, { signal: currentSignal() })),
    );
    expect(error.name).toBe('TimeoutError');
  });

  runTest('stops foreign work of a cancelled task', async () => {
    const task = createTask(() => nodeSleep(never, undefined, { signal: currentSignal() }));
    await checkpoint();
    task.cancel('stop');
    expect((await failure(task)).reason).toBe('stop');
    expect(task.cancelled).toBe(true);
  });

  runTest('aborts with the scope around its own', async () => {
    await new CancelScope().run(async (outer) => {
      await new CancelScope().run(() => {
        const signal = currentSignal();
        outer.cancel('outer');
        expect(signal.reason.reason).toBe('outer');
      });
    });
  });

  runTest('does not abort behind a shield', async () => {
    await new CancelScope().run(async (outer) => {
      await new CancelScope({ shield: true }).run(() => {
        const signal = currentSignal();
        outer.cancel();
        expect(signal.aborted).toBe(false);
      });
    });
  });

  runTest('is fresh for clean-up after a cancellation of the task', async () => {
    const task = createTask(async () => {
      const before = currentSignal();
      await sleep(never).catch(() => {});
      return [before.aborted, currentSignal().aborted];
    });
    await checkpoint();
    task.cancel();
    expect(await task).toEqual([true, false]);
  });

  runTest('is aborted already where a cancellation waits to be delivered', async () => {
    await createTask(async () => {
      currentTask()?.cancel();
      expect(currentSignal().aborted).toBe(true);
      await failure(checkpoint());
    });
  });

  runTest('of a scope may be asked for before and after it runs', async () => {
    const scope = new CancelScope();
    const early = scope.signal;
    await scope.run(async () => {
      expect(scope.signal).toBe(early);
      scope.cancel();
      expect(early.aborted).toBe(true);
    });
    expect(scope.signal.aborted).toBe(true);
    expect(new CancelScope().signal.aborted).toBe(false);
  });
});

describe('abortable', () => {
  runTest('gives the result or error of the promise', async () => {
    expect(await abortable(Promise.resolve(1))).toBe(1);
    expect(await failure(abortable(Promise.reject(new RangeError())))).toBeInstanceOf(RangeError);
  });

  runTest('refuses what is no promise', () => {
    for (const wrong of [undefined, null, 5, () => Promise.resolve()]) {
      expect(() => abortable(wrong as never)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
      );
    }
    expect(currentTask()?.state).toBe('running');
  });

  runTest('ends with the scope and calls onCancel once', async () => {
    let calls = 0;
    const result = await moveOnAfter(1, () => abortable(new Promise(() => {}), () => calls++));
    expect([result, calls]).toEqual([undefined, 1]);
  });

  runTest('in a cancelled scope calls onCancel, too', async () => {
    let calls = 0;
    await new CancelScope().run(async (scope) => {
      scope.cancel();
      await abortable(Promise.reject(new Error('nobody sees this')), () => calls++);
    });
    expect(calls).toBe(1);
  });

  runTest('reports an onCancel that throws and still ends', async () => {
    const reports: unknown[] = [];
    const task = createTask(() =>
      abortable(new Promise(() => {}), () => {
        throw new RangeError('in onCancel');
      }),
    );
    task.loop.setExceptionHandler((_loop, context) => reports.push(context.error));
    await checkpoint();
    task.cancel();
    await task.wait();
    expect(reports).toHaveLength(1);
  });
});

describe('{ signal }', () => {
  runTest('ends a sleep with its reason and leaves no listener', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    await sleep(0, undefined, { signal });
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    const waiting = [sleep(never, 0, { signal }), sleepForever({ signal })];
    controller.abort('enough');
    for (const each of waiting) expect(await failure(each)).toBe('enough');
    expect(await failure(sleep(1, 0, { signal }))).toBe('enough');
    expect(await failure(sleepUntil(never, { signal }))).toBe('enough');
  });

  runTest('of a cancelled wait leaves no listener either', async () => {
    const { signal } = new AbortController();
    await moveOnAfter(1, () => sleepForever({ signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});

describe('sleep', () => {
  runTest('gives its value', async () => {
    expect([await sleep(0, 'a'), await sleep(1, 'b'), await sleep(-1, 'c')]).toEqual([
      'a',
      'b',
      'c',
    ]);
  });

  runTest('rejects NaN and what is no number with TypeError', async () => {
    for (const bad of [Number.NaN, '5', null]) {
      expect(await failure(sleep(bad as number))).toBeInstanceOf(TypeError);
      expect(await failure(sleepUntil(bad as number))).toBeInstanceOf(TypeError);
    }
  });

  runTest('of Infinity and sleepForever end only by cancellation', async () => {
    const tasks = [createTask(() => sleep(Infinity)), createTask(() => sleepForever())];
    await sleep(2);
    for (const task of tasks) {
      expect(task.done).toBe(false);
      await task.cancelAndWait();
    }
  });

  runTest('of zero lets other tasks, timers and I/O of Node go first', async () => {
    let fired = false;
    setTimeout(() => {
      fired = true;
    }, 1);
    while (!fired) await sleep(0);
  });
});

describe('Waiter', () => {
  runTest('is woken or failed once, and may be used again', async () => {
    const waiter = new Waiter<number>('test');
    const first = waiter.start();
    expect(waiter.active).toBe(true);
    waiter.wake(1);
    waiter.wake(2);
    waiter.fail(new Error());
    expect([await first, waiter.active]).toEqual([1, false]);
    const second = failure(waiter.start());
    waiter.fail(new RangeError());
    expect(await second).toBeInstanceOf(RangeError);
  });

  runTest('leaves its queue through onCancel before it rejects', async () => {
    const steps: string[] = [];
    class Queued extends Waiter {
      override onCancel(): void {
        steps.push('left');
      }
    }
    const waiter = new Queued('queue');
    const task = createTask(() => waiter.start());
    await checkpoint();
    task.cancel();
    expect([steps, waiter.active]).toEqual([['left'], false]);
    await task.wait();
  });

  runTest('is refused in a cancelled task and stays inactive', async () => {
    await createTask(async () => {
      currentTask()?.cancel();
      const waiter = new Waiter('test');
      expect(await failure(waiter.start())).toBeInstanceOf(CancelledError);
      expect([waiter.active, takeCancellation()]).toEqual([false, null]);
    });
  });

  runTest('of a plain future works without a frame', async () => {
    const { frameStorage } = await import('../../lib/task/frame.ts');
    const future = new Future<number>();
    const waiting = frameStorage.run(undefined, () => future.then((value) => value + 1));
    future.setResult(1);
    expect(await waiting).toBe(2);
  });
});
