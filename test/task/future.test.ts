import { describe, expect } from 'vitest';
import { CancelledError, InvalidStateError } from '../../lib/base/errors.ts';
import { Future, isFuture } from '../../lib/task/future.ts';
import { checkpoint, sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure, never, runTest } from './support.ts';

describe('Future', () => {
  runTest('is neither done nor cancelled at first', () => {
    const future = new Future();
    expect([future.done, future.cancelled]).toEqual([false, false]);
  });

  runTest('gives its result to whoever awaits it, before and after it is set', async () => {
    const future = new Future<number>();
    future.loop.callSoon(() => future.setResult(42));
    expect(await future).toBe(42);
    expect(await future).toBe(42);
    expect(future.result()).toBe(42);
    expect(future.exception()).toBeUndefined();
  });

  runTest('gives its error to whoever awaits it', async () => {
    const future = new Future<number>();
    future.setException(new RangeError('bad'));
    expect((await failure(future)).message).toBe('bad');
    expect(() => future.result()).toThrow(RangeError);
    expect(future.exception()).toBeInstanceOf(RangeError);
  });

  runTest('throws InvalidStateError when the result is asked for too early', () => {
    const future = new Future();
    expect(() => future.result()).toThrow(InvalidStateError);
    expect(() => future.exception()).toThrow(InvalidStateError);
  });

  runTest('can be set only once', () => {
    const future = new Future<number>();
    future.setResult(1);
    expect(() => future.setResult(2)).toThrow(InvalidStateError);
    expect(() => future.setException(new Error())).toThrow(InvalidStateError);
    expect(future.result()).toBe(1);
  });

  runTest('that is cancelled rejects with CancelledError and its reason', async () => {
    const future = new Future();
    expect(future.cancel('why')).toBe(true);
    expect([future.done, future.cancelled]).toEqual([true, true]);
    const error = await failure(future);
    expect(error).toBeInstanceOf(CancelledError);
    expect(error.reason).toBe('why');
    expect(() => future.exception()).toThrow(CancelledError);
  });

  runTest('cannot be cancelled when done, nor set when cancelled', () => {
    const done = new Future<void>();
    done.setResult();
    expect(done.cancel()).toBe(false);
    const cancelled = new Future<void>();
    cancelled.cancel();
    expect(() => cancelled.setResult()).toThrow(InvalidStateError);
  });

  runTest('calls done callbacks through the ready queue, in order', async () => {
    const future = new Future<number>();
    const calls: string[] = [];
    future.addDoneCallback((done) => calls.push(`a${done.result()}`));
    future.addDoneCallback(() => calls.push('b'));
    future.setResult(1);
    expect(calls).toEqual([]);
    future.addDoneCallback(() => calls.push('late'));
    await checkpoint();
    expect(calls).toEqual(['a1', 'b', 'late']);
  });

  runTest('forgets a done callback that is removed, and says how many there were', async () => {
    const future = new Future<void>();
    const callback = (): void => {
      throw new Error('called');
    };
    future.addDoneCallback(callback);
    future.addDoneCallback(callback);
    expect(future.removeDoneCallback(callback)).toBe(2);
    future.setResult();
    await checkpoint();
  });

  runTest('wakes all tasks that await it, in order', async () => {
    const future = new Future<number>();
    const order: number[] = [];
    const tasks = [1, 2, 3].map((n) => createTask(async () => order.push(n + (await future))));
    await checkpoint();
    future.setResult(10);
    for (const task of tasks) await task;
    expect(order).toEqual([11, 12, 13]);
  });

  runTest('is cancelled when the task that awaits it is', async () => {
    const future = new Future();
    const task = createTask(async () => await future);
    await checkpoint();
    task.cancel();
    await task.wait();
    expect(future.cancelled).toBe(true);
  });

  runTest('has then, catch and finally of a promise', async () => {
    const good = new Future<number>();
    good.setResult(1);
    expect(await good.then((value) => value + 1)).toBe(2);
    const bad = new Future<number>();
    bad.setException(new Error('x'));
    expect(await bad.catch((error: Error) => error.message)).toBe('x');
    let ended = false;
    await good.finally(() => {
      ended = true;
    });
    expect(ended).toBe(true);
  });

  runTest('is told apart from promises by isFuture', () => {
    expect([isFuture(new Future()), isFuture(Promise.resolve())]).toEqual([true, false]);
  });

  runTest('keeps its value when a result and a cancellation come in the same turn', async () => {
    const future = new Future<string>();
    const task = createTask(async () => {
      const value = await future;
      await sleep(never).catch(() => {});
      return value;
    });
    await checkpoint();
    future.setResult('kept');
    task.cancel();
    expect(await task).toBe('kept');
  });
});
