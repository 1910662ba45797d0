import { describe, expect } from 'vitest';
import { CancelledError, TimeoutError } from '../../lib/base/errors.ts';
import { waitFor } from '../../lib/task/combinators.ts';
import { Future } from '../../lib/task/future.ts';
import { checkpoint, currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { allTasks, createTask, currentTask } from '../../lib/task/task.ts';
import { failure, never, runTest, virtualTest } from './support.ts';

describe('waitFor', () => {
  runTest('gives the result of a function, a task, a future and a promise', async () => {
    expect(await waitFor(async () => 1, never)).toBe(1);
    expect(
      await waitFor(
        createTask(async () => 2),
        never,
      ),
    ).toBe(2);
    const future = new Future<number>();
    future.loop.callSoon(() => future.setResult(3));
    expect(await waitFor(future, never)).toBe(3);
    expect(await waitFor(sleep(1, 4), never)).toBe(4);
  });

  virtualTest('throws TimeoutError when the time has passed', async () => {
    const start = currentTime();
    const error = await failure(waitFor(() => sleep(5000, 'Completed!'), 2000));
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error.cause).toBeInstanceOf(CancelledError);
    expect(currentTime() - start).toBe(2000);
  });

  runTest('has no limit with null', async () => {
    expect(await waitFor(() => sleep(1, 'x'), null)).toBe('x');
  });

  runTest('gives the result of what is done, also with 0', async () => {
    const task = createTask(async () => 'done');
    await task;
    expect(await waitFor(task, 0)).toBe('done');
    expect(await waitFor(task, -1)).toBe('done');
  });

  runTest('throws the error of what failed before, also with 0', async () => {
    const future = new Future();
    future.setException(new RangeError());
    expect(await failure(waitFor(future, 0))).toBeInstanceOf(RangeError);
  });

  runTest('with 0 never begins a function', async () => {
    let begun = false;
    const error = await failure(
      waitFor(async () => {
        begun = true;
      }, 0),
    );
    expect([begun, error.name]).toEqual([false, 'TimeoutError']);
  });

  runTest('cancels a task on timeout', async () => {
    const task = createTask(() => sleepForever());
    expect(await failure(waitFor(task, 1))).toBeInstanceOf(TimeoutError);
    expect(task.cancelled).toBe(true);
  });

  virtualTest('returns only after the clean-up of the work has ended', async () => {
    let cleaned = false;
    const error = await failure(
      waitFor(async () => {
        try {
          await sleepForever();
        } finally {
          await sleep(3);
          cleaned = true;
        }
      }, 1),
    );
    expect([cleaned, error.name]).toEqual([true, 'TimeoutError']);
  });

  virtualTest('gives the result of work that finishes in spite of the cancellation', async () => {
    const work = async (): Promise<string> => {
      await sleepForever().catch(() => {});
      return 'anyway';
    };
    expect(await waitFor(work, 1)).toBe('anyway');
  });

  virtualTest('throws the error of clean-up instead of TimeoutError', async () => {
    const work = async (): Promise<void> => {
      await sleepForever().catch(() => {
        throw new RangeError('clean-up');
      });
    };
    expect(await failure(waitFor(work, 1))).toBeInstanceOf(RangeError);
  });

  runTest('passes a cancellation of its caller on to the work', async () => {
    const inner = createTask(() => sleepForever());
    const outer = createTask(() => waitFor(inner, never));
    await checkpoint();
    outer.cancel('caller');
    expect((await failure(outer)).reason).toBe('caller');
    expect(inner.cancelled).toBe(true);
  });

  runTest('throws CancelledError when the work is cancelled by somebody else', async () => {
    const task = createTask(() => sleepForever());
    const waiting = failure(waitFor(task, never));
    await checkpoint();
    task.cancel();
    expect(await waiting).toBeInstanceOf(CancelledError);
  });

  virtualTest('prefers a result of the same turn to its timeout', async () => {
    const future = new Future<string>();
    future.loop.callLater(10, () => future.setResult('result'));
    expect(await waitFor(future, 10)).toBe('result');
  });

  runTest('nests: the inner limit throws, the outer work goes on', async () => {
    const result = await waitFor(async () => {
      await failure(waitFor(() => sleepForever(), 1));
      return 'outer';
    }, never);
    expect(result).toBe('outer');
  });

  runTest('ends by a signal with its reason, after the clean-up', async () => {
    const controller = new AbortController();
    const task = createTask(() => sleepForever());
    const waiting = failure(waitFor(task, never, { signal: controller.signal }));
    await checkpoint();
    controller.abort('enough');
    expect(await waiting).toBe('enough');
    expect(task.cancelled).toBe(true);
  });

  runTest('rejects NaN with TypeError', async () => {
    expect(await failure(waitFor(async () => {}, Number.NaN))).toBeInstanceOf(TypeError);
    expect(await failure(waitFor(5 as never, 1))).toBeInstanceOf(TypeError);
  });

  runTest('leaves no task behind', async () => {
    await failure(waitFor(() => sleepForever(), 1));
    expect([...allTasks()]).toEqual([currentTask()]);
  });
});
