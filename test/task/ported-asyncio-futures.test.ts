/** Behaviour of CPython's test_runners, test_eager_task_factory, test_futures and of its tests of
 * context variables, written anew; run, task, future and context.test.ts have the rest. */
import { describe, expect } from 'vitest';
import { CancelledError } from '../../lib/base/errors.ts';
import { gather } from '../../lib/task/combinators.ts';
import { ContextVar, copyContext } from '../../lib/task/context.ts';
import { Future } from '../../lib/task/future.ts';
import '../../lib/task/loop-methods.ts';
import { getEventLoop, getRunningLoop } from '../../lib/task/run.ts';
import { shielded } from '../../lib/task/scope.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure, runTest } from './support.ts';

const _quiet = { handleSignals: false } as const;

// covers: asyncio/future, seeds/C49, seeds/E30
describe('a future, as in asyncio', () => {
  runTest('of a loop belongs to it', async () => {
    const future = getRunningLoop().createFuture<number>();
    expect([future.loop, future.done]).toEqual([getEventLoop(), false]);
    future.setResult(1);
  });

  runTest('set to undefined is done', async () => {
    const future = new Future<void>();
    future.setResult();
    expect([future.done, future.exception(), await future]).toEqual([true, undefined, undefined]);
  });

  runTest('with an exception rethrows it from result() and gives it by exception()', () => {
    const future = new Future();
    const error = new RangeError('mine');
    future.setException(error);
    expect(() => future.result()).toThrow(error);
    expect(future.exception()).toBe(error);
  });

  runTest('may hold anything as its error', async () => {
    for (const value of ['text', 0, null, undefined]) {
      const future = new Future();
      future.setException(value);
      let caught: unknown = 'none';
      await future.catch((error: unknown) => {
        caught = error;
      });
      expect(caught).toBe(value);
    }
  });

  runTest('that holds a thenable gives it whole from result(), unwrapped by await', async () => {
    const inner = Promise.resolve(5);
    const future = new Future<Promise<number>>();
    future.setResult(inner);
    expect(future.result()).toBe(inner);
    expect(await future).toBe(5);
  });

  runTest('set with a CancelledError is cancelled', () => {
    const future = new Future();
    future.setException(new CancelledError());
    expect(future.cancelled).toBe(true);
    expect(() => future.exception()).toThrow(CancelledError);
  });

  runTest('has the same error for all who ask when cancelled', async () => {
    const future = new Future();
    future.cancel('why');
    const errors = [await failure(future), await failure(future)];
    expect([errors[0] === errors[1], errors[0].reason]).toEqual([true, 'why']);
  });

  runTest('callback that is added during callbacks is called as well', async () => {
    const order: string[] = [];
    const future = new Future<void>();
    future.addDoneCallback(() => {
      order.push('first');
      future.addDoneCallback(() => order.push('third'));
    });
    future.addDoneCallback(() => order.push('second'));
    future.setResult();
    for (let i = 0; i < 3; i++) await checkpoint();
    expect(order).toEqual(['first', 'second', 'third']);
  });

  runTest('callback added twice is called twice, and removed as often', async () => {
    let calls = 0;
    const callback = (): void => {
      calls++;
    };
    const future = new Future<void>();
    future.addDoneCallback(callback);
    future.addDoneCallback(callback);
    future.addDoneCallback(callback);
    expect(future.removeDoneCallback(callback)).toBe(3);
    future.addDoneCallback(callback);
    future.addDoneCallback(callback);
    future.setResult();
    for (let i = 0; i < 2; i++) await checkpoint();
    expect(calls).toBe(2);
  });

  runTest('callback that throws reaches the exception handler, the others are called', async () => {
    const seen: unknown[] = [];
    const loop = getRunningLoop();
    loop.setExceptionHandler((_loop, { error }) => seen.push((error as Error).message));
    const future = new Future<void>();
    future.addDoneCallback(() => {
      throw new Error('callback');
    });
    future.addDoneCallback(() => seen.push('second'));
    future.setResult();
    for (let i = 0; i < 2; i++) await checkpoint();
    loop.setExceptionHandler(null);
    expect(seen).toEqual(['callback', 'second']);
  });

  runTest('awaited by a task that is gone wakes nobody', async () => {
    const future = new Future<void>();
    const task = createTask(async () => await future.finally(() => {}));
    const other = createTask(async () => await shielded(async () => await future));
    await checkpoint();
    task.cancel();
    await failure(task);
    // Cancelling whoever awaits a future cancels it, for all that await it.
    expect(await failure(other)).toBeInstanceOf(CancelledError);
    expect(future.cancelled).toBe(true);
  });
});

// covers: asyncio/contextvars
describe('context variables, as in asyncio', () => {
  runTest('a task has a copy of its own, made when it is created', async () => {
    const name = new ContextVar<string>('name');
    name.set('at creation');
    const task = createTask(async () => {
      const seen = name.get();
      await checkpoint();
      return [seen, name.get()];
    });
    name.set('changed');
    expect(await task).toEqual(['at creation', 'at creation']);
  });

  runTest('two tasks do not see each other', async () => {
    const name = new ContextVar<string>('name');
    const work = async (value: string): Promise<string> => {
      name.set(value);
      await checkpoint();
      await checkpoint();
      return name.get();
    };
    expect(await gather(createTask(work, 'a'), createTask(work, 'b'))).toEqual(['a', 'b']);
  });

  runTest('callbacks see the values of where they were scheduled', async () => {
    const name = new ContextVar('name', { defaultValue: 'none' });
    const seen: string[] = [];
    const loop = getRunningLoop();
    name.set('soon');
    loop.callSoon(() => seen.push(name.get()));
    name.set('later');
    loop.callLater(1, () => seen.push(name.get()));
    name.set('at');
    loop.callAt(loop.time() + 2, () => seen.push(name.get()));
    name.set('changed');
    await sleep(10);
    expect(seen).toEqual(['soon', 'later', 'at']);
  });

  runTest('a context that is given to a task keeps what the task sets', async () => {
    const name = new ContextVar('name', { defaultValue: 'none' });
    const context = copyContext();
    await createTask({ context }, async () => {
      await checkpoint();
      name.set('inside');
    });
    expect([name.get(), context.run(() => name.get())]).toEqual(['none', 'inside']);
  });

  runTest('callInContext runs a callback in one', async () => {
    const name = new ContextVar('name', { defaultValue: 'none' });
    const context = copyContext();
    context.run(() => name.set('inside'));
    const seen: string[] = [];
    getRunningLoop().callInContext(context, () => void seen.push(name.get()));
    await checkpoint();
    await checkpoint();
    expect(seen).toEqual(['inside']);
  });

  runTest('a set value that is disposed out of order restores what was before it', () => {
    const name = new ContextVar('name', { defaultValue: 'none' });
    const first = name.set('first');
    const second = name.set('second');
    first[Symbol.dispose]();
    expect(name.get()).toBe('none');
    second[Symbol.dispose]();
    expect(name.get()).toBe('first');
  });

  runTest('values of clean-up are those of the task', async () => {
    const name = new ContextVar('name', { defaultValue: 'none' });
    let seen = '';
    const task = createTask(async () => {
      name.set('task');
      try {
        await sleepForever();
      } finally {
        await sleep(1);
        seen = name.get();
      }
    });
    await checkpoint();
    await task.cancelAndWait();
    expect(seen).toBe('task');
  });
});
