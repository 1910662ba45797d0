import { AssertionError } from 'node:assert';
import { describe, expect, test } from 'vitest';
import { CancelledError } from '../../lib/base/errors.ts';
import { Future } from '../../lib/task/future.ts';
import { moveOnAfter, shielded, timeout } from '../../lib/task/scope.ts';
import { abortable } from '../../lib/task/signal.ts';
import { checkpoint, sleep } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import {
  assertCheckpoints,
  assertNoCheckpoints,
  memoryConnectionPair,
} from '../../lib/testing/index.ts';
import { failure, inRun, never, runTest } from '../task/support.ts';

const realTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

// covers: trio/mockclock
describe('assertCheckpoints', () => {
  runTest('gives the result of a function that waits', async () => {
    expect(await assertCheckpoints(() => sleep(0, 'slept'))).toBe('slept');
    expect(await assertCheckpoints(() => sleep(2, 2))).toBe(2);
    expect(await assertCheckpoints(() => timeout(never, () => checkpoint()))).toBeUndefined();
    const twice = async (): Promise<string> => {
      await null;
      await realTurn();
      await checkpoint();
      return 'later';
    };
    expect(await assertCheckpoints(twice)).toBe('later');
  });

  runTest('sees a wait that another task ends', async () => {
    const future = new Future<string>();
    createTask(async () => future.setResult('set'));
    expect(await assertCheckpoints(async () => await future)).toBe('set');
    const [left, right] = memoryConnectionPair();
    createTask(() => left.write('x'));
    expect(String(await assertCheckpoints(() => right.read()))).toBe('x');
    expect(await assertCheckpoints(() => createTask(() => 'task').join())).toBe('task');
  });

  runTest('fails for what is there at once', async () => {
    for (const fn of [() => 5, async () => 5, async () => await Promise.resolve(5)]) {
      const error = await failure(assertCheckpoints<unknown>(fn));
      expect(error).toBeInstanceOf(AssertionError);
      expect(error.message).toBe('The function did not let others run');
    }
  });

  runTest('fails for waits that a cancellation cannot end', async () => {
    for (const fn of [realTurn, () => shielded(() => sleep(1))]) {
      const error = await failure(assertCheckpoints(fn));
      expect(error).toBeInstanceOf(AssertionError);
      expect(error.message).toBe('The function could not be cancelled');
    }
    await assertCheckpoints(() => abortable(realTurn()));
    const both = async (): Promise<void> => {
      await shielded(() => sleep(1));
      await checkpoint();
    };
    await assertCheckpoints(both);
  });

  runTest('lets an error through, and a cancellation', async () => {
    const boom = new Error('boom');
    expect(await failure(assertCheckpoints(() => Promise.reject(boom)))).toBe(boom);
    const throwing = (): never => {
      throw boom;
    };
    expect(await failure(assertCheckpoints(throwing))).toBe(boom);
    expect(
      await moveOnAfter(1, () => assertCheckpoints(() => sleep(never, 'too late'))),
    ).toBeUndefined();
    const task = createTask(() => assertCheckpoints(() => sleep(never)));
    await checkpoint();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
  });

  runTest('does not count what other tasks do', async () => {
    const other = createTask(() => sleep(1));
    const error = await failure(assertCheckpoints(() => realTurn()));
    expect(error.message).toBe('The function could not be cancelled');
    await other;
  });
});

describe('assertNoCheckpoints', () => {
  runTest('gives the result of a function that lets nobody run', async () => {
    expect(await assertNoCheckpoints(() => 5)).toBe(5);
    const future = new Future<number>();
    future.setResult(6);
    expect(await assertNoCheckpoints(async () => await future)).toBe(6);
    const microtasks = async (): Promise<string> => {
      for (let i = 0; i < 100; i++) await null;
      return 'settled';
    };
    expect(await assertNoCheckpoints(microtasks)).toBe('settled');
  });

  runTest('fails for every wait', async () => {
    for (const fn of [checkpoint, realTurn, () => shielded(() => sleep(1)), () => sleep(1)]) {
      const error = await failure(assertNoCheckpoints(fn));
      expect(error).toBeInstanceOf(AssertionError);
      expect(error.message).toBe('The function let others run');
    }
  });

  runTest('lets an error through, unless there was a wait before it', async () => {
    const boom = new Error('boom');
    expect(await failure(assertNoCheckpoints(() => Promise.reject(boom)))).toBe(boom);
    const late = async (): Promise<never> => {
      await checkpoint();
      throw boom;
    };
    expect(await failure(assertNoCheckpoints(late))).toBeInstanceOf(AssertionError);
  });
});

describe('both', () => {
  test('run the function in a task when there is none', async () => {
    expect(currentTask()).toBeNull();
    const name = async (): Promise<string | undefined> => {
      await checkpoint();
      return currentTask()?.name;
    };
    expect(await assertCheckpoints(name)).toMatch(/^Task-/);
    expect(await failure(assertNoCheckpoints(name))).toBeInstanceOf(AssertionError);
  });

  test('refuse a promise', async () => {
    const promise = Promise.resolve(5);
    for (const check of [assertCheckpoints, assertNoCheckpoints]) {
      expect(await failure(check(promise as never))).toBeInstanceOf(TypeError);
    }
  });

  test('leave no instrument behind', async () => {
    await inRun(async () => {
      const { loop } = currentTask() as { loop: { instruments: readonly unknown[] } };
      const before = loop.instruments.length;
      await assertCheckpoints(checkpoint);
      await failure(assertCheckpoints(() => 5));
      await failure(assertNoCheckpoints(checkpoint));
      expect(loop.instruments.length).toBe(before);
    });
  });
});
