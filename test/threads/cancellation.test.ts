import { getEventListeners } from 'node:events';
import { describe, expect } from 'vitest';
import { CancelledError, TimeoutError } from '../../lib/base/errors.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { CancelScope, moveOnAfter, shielded, timeout } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { defaultThreadLimiter, toThread } from '../../lib/threads/default-executor.ts';
import { ThreadPool } from '../../lib/threads/thread-pool.ts';
import { failure, never, runTest } from '../task/support.ts';
import { heldJob, raise, sharedFlags, started } from './support.ts';

const mark = (flags: Int32Array): void => {
  Atomics.store(flags, 1, 1);
};

// covers: trio/to-thread-run-sync, asyncio/to-thread
describe('a job that runs', () => {
  runTest('is waited for when its task is cancelled, which then ends as cancelled', async () => {
    const flags = sharedFlags();
    const task = createTask(() => toThread(heldJob, flags, 'value'));
    await started(flags);
    task.cancel('why');
    task.cancel('again');
    for (let i = 0; i < 5; i++) await sleep(1);
    expect(task.done).toBe(false);
    raise(flags, 1);
    const error = await failure(task);
    expect(error).toBeInstanceOf(CancelledError);
    expect([error.reason, task.cancelled]).toEqual(['why', true]);
  });

  runTest('is waited for at a deadline', async () => {
    const flags = sharedFlags();
    let reached = false;
    const moved = createTask(() =>
      moveOnAfter(1, async () => {
        await toThread(heldJob, flags, 'value');
        reached = true;
      }),
    );
    await started(flags);
    await sleep(5);
    expect(moved.done).toBe(false);
    raise(flags, 1);
    expect([await moved, reached]).toEqual([undefined, false]);
  });

  runTest('makes a timeout late', async () => {
    const flags = sharedFlags();
    const task = createTask(() => timeout(1, () => toThread(heldJob, flags, 'value')));
    await started(flags);
    await sleep(5);
    raise(flags, 1);
    expect(await failure(task)).toBeInstanceOf(TimeoutError);
  });

  runTest('gives its own error before the cancellation', async () => {
    const flags = sharedFlags();
    const task = createTask(() =>
      toThread((shared: Int32Array) => {
        Atomics.store(shared, 0, 1);
        Atomics.wait(shared, 1, 0);
        throw new RangeError('from the thread');
      }, flags),
    );
    await started(flags);
    task.cancel();
    raise(flags, 1);
    expect((await failure(task)).message).toBe('from the thread');
    expect(task.cancelled).toBe(false);
  });

  runTest('is waited for by its task group when a sibling fails', async () => {
    const flags = sharedFlags();
    const group = createTask(() =>
      taskGroup(async (tg) => {
        tg.createTask(() => toThread(heldJob, flags, 1));
        await started(flags);
        throw new RangeError('sibling');
      }),
    );
    await started(flags);
    for (let i = 0; i < 5; i++) await sleep(1);
    expect(group.done).toBe(false);
    raise(flags, 1);
    expect((await failure(group)).leaves()[0].message).toBe('sibling');
  });

  runTest('gives its result behind a shield', async () => {
    const flags = sharedFlags();
    const results: unknown[] = [];
    await new CancelScope().run(async (scope) => {
      await shielded(async () => {
        const job = createTask(() => toThread(heldJob, flags, 'value'));
        await started(flags);
        scope.cancel();
        raise(flags, 1);
        results.push(await job);
      });
    });
    expect(results).toEqual(['value']);
  });

  runTest('is waited for when its signal aborts; then the reason is raised', async () => {
    const flags = sharedFlags();
    await using pool = new ThreadPool({ maxThreads: 1 });
    const controller = new AbortController();
    const { signal } = controller;
    let ended = false;
    const job = failure(pool.submit(heldJob, [flags, 1], { signal })).finally(() => {
      ended = true;
    });
    await started(flags);
    controller.abort(new Error('stop'));
    for (let i = 0; i < 5; i++) await sleep(1);
    expect(ended).toBe(false);
    raise(flags, 1);
    expect((await job).message).toBe('stop');
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  runTest('leaves no listener on a signal that does not abort', async () => {
    await using pool = new ThreadPool({ maxThreads: 1 });
    const { signal } = new AbortController();
    expect(await pool.submit((a: number) => a, [1], { signal })).toBe(1);
    await failure(
      pool.submit(
        () => {
          throw new Error('no');
        },
        [],
        { signal },
      ),
    );
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

describe('a job that waits for a thread', () => {
  runTest('is taken out at once when its task is cancelled', async () => {
    const flags = sharedFlags();
    const untouched = sharedFlags();
    await using pool = new ThreadPool({ maxThreads: 1 });
    const first = createTask(() => pool.submit(heldJob, [flags, 'first']));
    await started(flags);
    const second = createTask(() => pool.submit(mark, [untouched]));
    const third = createTask(() => pool.submit(() => 'third', []));
    await sleep(1);
    second.cancel();
    expect(await failure(second)).toBeInstanceOf(CancelledError);
    expect(first.done).toBe(false);
    raise(flags, 1);
    expect([await first, await third]).toEqual(['first', 'third']);
    expect(Atomics.load(untouched, 1)).toBe(0);
  });

  runTest('is taken out at once at a deadline', async () => {
    const flags = sharedFlags();
    await using pool = new ThreadPool({ maxThreads: 1 });
    const first = createTask(() => pool.submit(heldJob, [flags, 'first']));
    await started(flags);
    const untouched = sharedFlags();
    expect(await moveOnAfter(1, () => pool.submit(mark, [untouched]))).toBeUndefined();
    raise(flags, 1);
    await first;
    expect(Atomics.load(untouched, 1)).toBe(0);
  });

  runTest('is taken out at once when its signal aborts', async () => {
    const flags = sharedFlags();
    await using pool = new ThreadPool({ maxThreads: 1 });
    const first = createTask(() => pool.submit(heldJob, [flags, 'first']));
    await started(flags);
    const controller = new AbortController();
    const second = failure(pool.submit(() => 1, [], { signal: controller.signal }));
    controller.abort(new Error('stop'));
    expect((await second).message).toBe('stop');
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    raise(flags, 1);
    await first;
  });

  runTest('is taken out at once when it waits for the default limiter', async () => {
    defaultThreadLimiter().totalTokens = 1;
    const flags = sharedFlags();
    const first = createTask(() => toThread(heldJob, flags, 'first'));
    await started(flags);
    const second = createTask(() => toThread(() => 'second'));
    await sleep(1);
    second.cancel();
    expect(await failure(second)).toBeInstanceOf(CancelledError);
    raise(flags, 1);
    expect(await first).toBe('first');
    expect(defaultThreadLimiter().borrowedTokens).toBe(0);
    expect(await toThread(() => 'third')).toBe('third');
  });
});

describe('a job of somebody who is cancelled already', () => {
  runTest('does not start', async () => {
    const flags = sharedFlags();
    await new CancelScope().run(async (scope) => {
      scope.cancel();
      await toThread(mark, flags);
    });
    const task = createTask(async () => {
      task.cancel();
      await toThread(mark, flags);
    });
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    await using pool = new ThreadPool();
    const aborted = { signal: AbortSignal.abort(new Error('before')) };
    expect((await failure(pool.submit(mark, [flags], aborted))).message).toBe('before');
    expect(Atomics.load(flags, 1)).toBe(0);
  });

  runTest('costs nobody else a thread', async () => {
    await using pool = new ThreadPool({ maxThreads: 1 });
    await new CancelScope({ timeoutMs: never }).run(async (scope) => {
      scope.cancel();
      await pool.submit(() => 1, []);
    });
    expect(await pool.submit(() => 2, [])).toBe(2);
  });
});
