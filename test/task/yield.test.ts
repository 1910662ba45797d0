/** sleep(0) and checkpoint(): their turn, and what a cancellation does to them. */
import { describe, expect } from 'vitest';
import { currentLoop } from '../../lib/task/frame.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { checkpoint, sleep } from '../../lib/task/sleep.ts';
import { createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { failure, runTest } from './support.ts';

const forms: Record<string, () => Promise<unknown>> = {
  'sleep(0)': () => sleep(0),
  'sleep(0, value)': () => sleep(0, 7),
};

describe.each([false, true])('with debug mode %s', (debug) => {
  describe.each(Object.entries(forms))('%s', (_name, yieldOnce) => {
    function debugTest(title: string, main: () => Promise<void>): void {
      runTest(title, () => {
        currentLoop().debug = debug;
        return main();
      });
    }

    /** A task that yields twice, cancelled while it waits for the first turn. */
    async function interrupted(cancel: (task: Task<void>) => void): Promise<string[]> {
      const steps: string[] = [];
      const task = createTask(async () => {
        await yieldOnce();
        steps.push('first');
        await yieldOnce();
        steps.push('second');
      });
      await checkpoint();
      cancel(task);
      await task.wait();
      return [...steps, task.cancelled ? 'cancelled' : 'done'];
    }

    debugTest('is not interrupted: the next wait is', async () => {
      expect(await interrupted((task) => task.cancel())).toEqual(['first', 'cancelled']);
    });

    debugTest('keeps only what is still wanted at the next wait', async () => {
      const takenBack = (task: Task<void>): void => {
        task.cancel();
        task.uncancel();
      };
      expect(await interrupted(takenBack)).toEqual(['first', 'second', 'done']);
    });

    debugTest('lets a function end with its result', async () => {
      const task = createTask(async () => {
        await yieldOnce();
        return 'result';
      });
      await checkpoint();
      task.cancel();
      expect(await task.join()).toBe('result');
    });

    debugTest('meets the cancellation of a scope in the next wait, too', async () => {
      const scope = new CancelScope();
      const steps: string[] = [];
      const task = createTask(() =>
        scope.run(async () => {
          await yieldOnce();
          steps.push('first');
          await yieldOnce();
          steps.push('second');
        }),
      );
      await checkpoint();
      scope.cancel();
      await task.join();
      expect([steps, scope.cancelledCaught]).toEqual([['first'], true]);
    });

    debugTest('keeps both kinds: the task ends with its own cancellation', async () => {
      const scope = new CancelScope();
      const task = createTask(() => scope.run(yieldOnce).then(() => sleep(1)));
      await checkpoint();
      task.cancel('edge');
      scope.cancel('level');
      expect(await failure(task.join())).toMatchObject({ reason: 'edge' });
    });

    debugTest('rejects at once in what is cancelled already', async () => {
      const task = createTask(async () => {
        currentTask()?.cancel('before');
        await yieldOnce();
      });
      expect(await failure(task.join())).toMatchObject({ reason: 'before' });
    });

    debugTest('has its place among what is ready', async () => {
      const order: string[] = [];
      const yielding = async (name: string): Promise<void> => {
        await yieldOnce();
        order.push(name);
      };
      const loop = currentLoop();
      const all = [yielding('a'), yielding('b')];
      loop.callSoon(() => order.push('callback'));
      all.push(yielding('c'));
      await Promise.all(all);
      // Callbacks of a turn run before what the ended waits of that turn go on with.
      expect(order).toEqual(['callback', 'a', 'b', 'c']);
    });
  });
});

describe('a signal', () => {
  runTest('interrupts sleep(0)', async () => {
    const controller = new AbortController();
    const pause = failure(sleep(0, undefined, { signal: controller.signal }));
    controller.abort(new Error('stop'));
    expect(await pause).toMatchObject({ message: 'stop' });
  });
});

describe('checkpoint()', () => {
  runTest('is interrupted by what comes until its turn', async () => {
    const task = createTask(() => checkpoint());
    await checkpoint();
    const late = createTask(() => checkpoint());
    await checkpoint();
    late.cancel('late');
    expect(await failure(late.join())).toMatchObject({ reason: 'late' });
    await task.join();
  });
});
