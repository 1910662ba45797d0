/** Behaviour of CPython's test_runners, test_eager_task_factory, test_futures and of its tests of
 * context variables, written anew; run, task, future and context.test.ts have the rest. */
import { describe, expect, test } from 'vitest';
import { CancelledError, InvalidStateError } from '../../lib/base/errors.ts';
import { gather, waitFor } from '../../lib/task/combinators.ts';
import { ContextVar, copyContext } from '../../lib/task/context.ts';
import { Future } from '../../lib/task/future.ts';
import { taskGroup } from '../../lib/task/group.ts';
import '../../lib/task/loop-methods.ts';
import { getEventLoop, getRunningLoop, Runner, run } from '../../lib/task/run.ts';
import { shielded, timeout } from '../../lib/task/scope.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { allTasks, createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { testPolicy } from '../support/policy.ts';
import { failure, never, runTest, virtualPolicy, virtualTest } from './support.ts';

const quiet = { handleSignals: false } as const;

// covers: asyncio/run, seeds/C27, trio/run, curio/run
describe('run and Runner, as in asyncio', () => {
  test('run takes what main gives: values, promises, nothing', async () => {
    const options = { policy: testPolicy(), ...quiet };
    expect(await run(() => 5, options)).toBe(5);
    expect(await run(async () => 'text', options)).toBe('text');
    expect(await run(() => {}, options)).toBe(undefined);
  });

  test('run sets debug on its loop only when told', async () => {
    for (const debug of [true, false]) {
      const options = { policy: testPolicy(), debug, ...quiet };
      expect(await run(() => getRunningLoop().debug, options)).toBe(debug);
    }
  });

  test('run closes its loop also when main fails', async () => {
    let loop: ReturnType<typeof getRunningLoop> | undefined;
    const error = await failure(
      run(
        () => {
          loop = getRunningLoop();
          throw new RangeError('main');
        },
        { policy: testPolicy(), ...quiet },
      ),
    );
    expect([error.message, loop?.closed, loop?.running]).toEqual(['main', true, false]);
  });

  test('run refuses what is no function, before it makes a loop', async () => {
    let made = 0;
    const policy = { name: 'none', createLoop: (): never => made++ as never };
    for (const bad of [undefined, null, 5, Promise.resolve(5)]) {
      expect(await failure(run(bad as never, { policy }))).toBeInstanceOf(TypeError);
    }
    expect(made).toBe(0);
  });

  test('run rejects with CancelledError when main cancels itself', async () => {
    const main = async (): Promise<void> => {
      currentTask()?.cancel('enough');
      await checkpoint();
    };
    const error = await failure(run(main, { policy: testPolicy(), ...quiet }));
    expect([error.constructor, error.reason]).toEqual([CancelledError, 'enough']);
  });

  test('run reports the error of clean-up of a task that is left', async () => {
    const seen: unknown[] = [];
    await run(
      async () => {
        getRunningLoop().setExceptionHandler((_loop, { error }) => seen.push(error));
        createTask(async () => {
          await sleep(never).catch(() => {});
          throw new RangeError('clean-up');
        });
        await checkpoint();
      },
      { policy: testPolicy(), ...quiet },
    );
    expect(seen.map((error) => (error as Error).message)).toEqual(['clean-up']);
  });

  test('run ends tasks that clean-up of left tasks starts', async () => {
    const log: string[] = [];
    await run(
      async () => {
        createTask(async () => {
          try {
            await sleepForever();
          } finally {
            createTask(async () => {
              log.push('began');
              await sleepForever().finally(() => log.push('ended'));
            });
            await sleep(1);
          }
        });
        await checkpoint();
      },
      { policy: virtualPolicy(), ...quiet },
    );
    expect(log).toEqual(['began', 'ended']);
  });

  test('run waits for left tasks that protect their end', async () => {
    let saved = false;
    await run(
      async () => {
        createTask(() =>
          shielded(async () => {
            await sleep(20);
            saved = true;
          }),
        );
        await checkpoint();
      },
      { policy: virtualPolicy(), ...quiet },
    );
    expect(saved).toBe(true);
  });

  test('a signal that aborts while main protects itself comes afterwards', async () => {
    const controller = new AbortController();
    const log: string[] = [];
    const main = async (): Promise<void> => {
      controller.abort(new Error('stop'));
      await shielded(() => sleep(5)).then(() => log.push('protected'));
      await checkpoint();
      log.push('not reached');
    };
    const options = { policy: virtualPolicy(), signal: controller.signal, ...quiet };
    const error = await failure(run(main, options));
    expect([error.constructor, error.reason.message, log]).toEqual([
      CancelledError,
      'stop',
      ['protected'],
    ]);
  });

  test('a runner has the same loop for all its runs, and tasks of numbers that go on', async () => {
    await using runner = new Runner({ policy: testPolicy(), ...quiet });
    const loops = [
      await runner.run(() => ({ loop: getRunningLoop(), id: currentTask()?.id })),
      await runner.run(() => ({ loop: getRunningLoop(), id: currentTask()?.id })),
    ];
    expect(loops.map(({ loop }) => loop === runner.loop)).toEqual([true, true]);
    expect(loops[1]?.id).toBeGreaterThan(loops[0]?.id ?? Infinity);
  });

  test('a runner goes on after a main that failed', async () => {
    await using runner = new Runner({ policy: testPolicy(), ...quiet });
    expect(await failure(runner.run(() => Promise.reject(new Error('one'))))).toBeInstanceOf(Error);
    expect(await runner.run(() => 'two')).toBe('two');
  });

  test('a runner that never ran can be closed, twice, and then refuses to run', async () => {
    const runner = new Runner({ policy: testPolicy(), ...quiet });
    await runner.close();
    await runner.close();
    expect(await failure(runner.run(() => 1))).toBeInstanceOf(InvalidStateError);
  });

  test('a runner cannot be closed or run again from inside', async () => {
    await using runner = new Runner({ policy: testPolicy(), ...quiet });
    const errors = await runner.run(async () => [
      await failure(runner.close()),
      await failure(runner.run(() => 1)),
    ]);
    expect(errors.every((error) => error instanceof InvalidStateError)).toBe(true);
  });

  test('an async context of the caller does not leak into the run', async () => {
    const number = new ContextVar('number', { defaultValue: 0 });
    await number.run(7, async () => {
      const seen = await run(
        async () => {
          const before = number.get();
          number.set(8);
          return [before, number.get()];
        },
        { policy: testPolicy(), ...quiet },
      );
      expect(seen[1]).toBe(8);
      expect(number.get()).toBe(7);
    });
  });

  test('names of tasks begin anew in each run', async () => {
    const names: (string | undefined)[] = [];
    for (let i = 0; i < 2; i++) {
      await run(async () => names.push(createTask(() => {}).name), {
        policy: testPolicy(),
        ...quiet,
      });
    }
    expect(names[0]).toBe(names[1]);
  });
});

// covers: asyncio/create-task
describe('eager tasks, as in asyncio 3.12', () => {
  runTest('are done at once when they do not wait', async () => {
    const task = createTask({ eagerStart: true }, (a: number, b: number) => a + b, 2, 3);
    // A synchronous function gives its result at once, an async one a turn of promises later.
    expect([task.done, task.result()]).toEqual([true, 5]);
    const slow = createTask({ eagerStart: true }, async () => 5);
    expect(await slow).toBe(5);
  });

  runTest('that throw at once have failed at once', async () => {
    const task = createTask({ eagerStart: true }, (): never => {
      throw new RangeError('early');
    });
    expect(task.done).toBe(true);
    expect(() => task.result()).toThrow('early');
  });

  runTest('are the current task of their first step, and then the creator is again', async () => {
    const main = currentTask();
    let seen: Task | null = null;
    const task = createTask({ eagerStart: true }, async () => {
      seen = currentTask();
      await checkpoint();
      expect(currentTask()).toBe(seen);
    });
    expect([seen === task, currentTask() === main]).toEqual([true, true]);
    await task;
  });

  runTest('nest', async () => {
    const order: string[] = [];
    const outer = createTask({ eagerStart: true }, async () => {
      order.push('outer');
      const inner = createTask({ eagerStart: true }, async () => {
        order.push('inner');
        await checkpoint();
        order.push('inner again');
      });
      order.push('outer again');
      await inner;
    });
    order.push('main');
    await outer;
    expect(order).toEqual(['outer', 'inner', 'outer again', 'main', 'inner again']);
  });

  runTest('are among all tasks only while they are not done', async () => {
    const done = createTask({ eagerStart: true }, () => 1);
    const open = createTask({ eagerStart: true }, () => sleep(1));
    expect([allTasks().has(done as Task), allTasks().has(open as Task)]).toEqual([false, true]);
    await open;
  });

  runTest('that are cancelled in their first step hear of it at their wait', async () => {
    const log: string[] = [];
    const task = createTask({ eagerStart: true }, async () => {
      currentTask()?.cancel();
      log.push('went on');
      await checkpoint();
      log.push('not reached');
    });
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(log).toEqual(['went on']);
  });

  runTest('begin also in a cancelled scope, up to their first wait', async () => {
    const log: string[] = [];
    await taskGroup(async (group) => {
      group.cancel();
      group.createTask({ eagerStart: true }, async () => {
        log.push('began');
        await checkpoint();
        log.push('not reached');
      });
      await checkpoint();
    });
    expect(log).toEqual(['began']);
  });

  runTest('call their callbacks through the ready queue all the same', async () => {
    const order: string[] = [];
    const task = createTask({ eagerStart: true }, () => 1);
    task.addDoneCallback(() => order.push('callback'));
    order.push('main');
    await checkpoint();
    await checkpoint();
    expect(order).toEqual(['main', 'callback']);
  });

  runTest('see variables of their creator and keep theirs', async () => {
    const name = new ContextVar('name', { defaultValue: 'none' });
    name.set('creator');
    const seen: string[] = [];
    createTask({ eagerStart: true }, () => {
      seen.push(name.get());
      name.set('task');
    });
    seen.push(name.get());
    expect(seen).toEqual(['creator', 'creator']);
  });

  virtualTest('are bound by limits around', async () => {
    const work = (): Promise<void> => sleep(100);
    const limited = timeout(10, async () => await createTask({ eagerStart: true }, work));
    expect((await failure(limited)).name).toBe('TimeoutError');
    const waited = waitFor(createTask({ eagerStart: true }, work), 10);
    expect((await failure(waited)).name).toBe('TimeoutError');
  });

  runTest('may be gathered, done ones and others', async () => {
    const tasks = [
      createTask({ eagerStart: true }, () => 1),
      createTask({ eagerStart: true }, () => sleep(1, 2)),
    ];
    expect(await gather(tasks)).toEqual([1, 2]);
  });

  runTest('that wait at once for a future are woken by it', async () => {
    const future = new Future<string>();
    const task = createTask({ eagerStart: true }, async () => await future);
    // `await` calls `then` of a future in a microtask.
    await Promise.resolve();
    expect(task.state).toBe('waiting');
    future.setResult('set');
    expect(await task).toBe('set');
  });
});

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
