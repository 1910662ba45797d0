import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, test } from 'vitest';
import { ContextVar, copyContext } from '../../lib/task/context.ts';
import { Future } from '../../lib/task/future.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { failure, never, runTest } from './support.ts';

describe('ContextVar', () => {
  test('has a default, a fallback, or throws', () => {
    expect(new ContextVar('a', { defaultValue: 1 }).get()).toBe(1);
    expect(new ContextVar<number>('b').get('fallback')).toBe('fallback');
    expect(() => new ContextVar('c').get()).toThrow(/'c' has no value/);
    expect(new ContextVar('d', { defaultValue: undefined }).get()).toBeUndefined();
    for (const wrong of ['e', null, 5]) {
      expect(() => new ContextVar('e', wrong as never)).toThrow(TypeError);
    }
  });

  runTest('is set for the current task and those it creates later', async () => {
    const user = new ContextVar<string>('user');
    const before = createTask(async () => user.get('none'));
    user.set('ada');
    const after = createTask(async () => user.get());
    expect([await before, await after, user.get()]).toEqual(['none', 'ada', 'ada']);
  });

  runTest('set in a task is not seen by its creator', async () => {
    const user = new ContextVar('user', { defaultValue: 'outer' });
    await createTask(async () => {
      user.set('inner');
      await checkpoint();
      expect(user.get()).toBe('inner');
    });
    expect(user.get()).toBe('outer');
  });

  runTest('in a done callback is that of whoever added the callback', async () => {
    const user = new ContextVar('user', { defaultValue: 'nobody' });
    const seen: string[] = [];
    const future = new Future<void>();
    const look = (): void => void seen.push(user.get());
    future.addDoneCallback(look);
    user.set('adder');
    future.addDoneCallback(look);
    const task = createTask(() => {
      user.set('setter');
      future.setResult();
    });
    task.addDoneCallback(look);
    user.set('later');
    await task;
    await checkpoint();
    await checkpoint();
    expect(seen).toEqual(['nobody', 'adder', 'adder']);
  });

  runTest('set inside a scope stays set in the task', async () => {
    const user = new ContextVar<string>('user');
    await moveOnAfter(never, () => void user.set('ada'));
    await new CancelScope().run(() => expect(user.get()).toBe('ada'));
    expect(user.get()).toBe('ada');
  });

  runTest('gets its old value back when the result of set is disposed', () => {
    const user = new ContextVar<string>('user');
    {
      using _outer = user.set('a');
      {
        using _inner = user.set('b');
        expect(user.get()).toBe('b');
      }
      expect(user.get()).toBe('a');
    }
    expect(user.get('unset')).toBe('unset');
  });

  runTest('has a value during run, in what starts there too', async () => {
    const user = new ContextVar<string>('user');
    const task = user.run('ada', () =>
      createTask(async () => {
        await checkpoint();
        return user.get();
      }),
    );
    expect([await task, user.get('none')]).toEqual(['ada', 'none']);
  });

  runTest('leaves task and cancellation as they are during run', async () => {
    const user = new ContextVar<string>('user');
    const task = createTask(() => user.run('ada', () => sleepForever()));
    await checkpoint();
    expect(user.run('x', () => currentTask())).toBe(currentTask());
    task.cancel();
    await task.wait();
    expect(task.cancelled).toBe(true);
  });

  runTest('follows callbacks of the loop', async () => {
    const user = new ContextVar<string>('user');
    const seen: (string | null)[] = [];
    const loop = getRunningLoop();
    using _ = user.set('ada');
    loop.callSoon(() => seen.push(user.get(), currentTask()?.name ?? null));
    loop.callLater(1, () => seen.push(user.get()));
    await moveOnAfter(5, () => sleepForever());
    expect(seen).toEqual(['ada', null, 'ada']);
  });

  runTest('follows tasks of groups', async () => {
    const user = new ContextVar<string>('user');
    const seen: string[] = [];
    await taskGroup((group) => {
      user.set('ada');
      group.createTask(async () => void seen.push(user.get()));
    });
    expect(seen).toEqual(['ada']);
  });
});

describe('Context', () => {
  runTest('keeps the values of its copy', async () => {
    const user = new ContextVar<string>('user');
    user.set('then');
    const context = copyContext();
    user.set('now');
    expect(context.run(() => user.get())).toBe('then');
    context.run(() => user.set('inside'));
    expect([context.run(() => user.get()), user.get()]).toEqual(['inside', 'now']);
  });

  runTest('takes AsyncLocalStorage of the user along', async () => {
    const storage = new AsyncLocalStorage<string>();
    const context = storage.run('mine', () => copyContext());
    expect(context.run(() => storage.getStore())).toBe('mine');
    const seen: unknown[] = [];
    getRunningLoop().callInContext(context, () => seen.push(storage.getStore()));
    await checkpoint();
    expect(seen).toEqual(['mine']);
  });

  runTest('can be given to a task, which works in it', async () => {
    const user = new ContextVar<string>('user');
    const context = copyContext();
    await createTask({ context }, async () => {
      user.set('from the task');
    });
    expect([context.run(() => user.get()), user.get('none')]).toEqual(['from the task', 'none']);
  });

  runTest('of a task can be entered from outside', async () => {
    const user = new ContextVar<string>('user');
    const task = createTask(async () => {
      user.set('inner');
      await sleepForever();
    });
    await checkpoint();
    expect(task.context.run(() => user.get())).toBe('inner');
    await task.cancelAndWait();
  });

  runTest("of a turn is nobody's: callbacks belong to no task", async () => {
    const frames: unknown[] = [];
    const loop = getRunningLoop();
    const done = new Promise<void>((resolve) => {
      loop.callSoon(() => {
        frames.push(currentTask());
        resolve();
      });
    });
    await done;
    expect(frames).toEqual([null]);
    expect(await failure(async () => new ContextVar('x').get())).toBeInstanceOf(Error);
  });
});
