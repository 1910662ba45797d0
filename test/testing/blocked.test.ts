import { describe, expect, test } from 'vitest';
import { CancelledError } from '../../lib/base/errors.ts';
import { Future } from '../../lib/task/future.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { memoryConnectionPair, waitAllTasksBlocked } from '../../lib/testing/index.ts';
import { tcpPair } from '../io/support.ts';
import { failure, inRun, never, runTest } from '../task/support.ts';

// covers: trio/mockclock
describe('waitAllTasksBlocked', () => {
  runTest('returns after the others have taken all their steps', async () => {
    const log: string[] = [];
    const busy = createTask(async () => {
      for (let i = 0; i < 100; i++) await checkpoint();
      log.push('busy ended');
    });
    const waiting = createTask(() => sleepForever());
    await waitAllTasksBlocked();
    log.push('blocked');
    expect(log).toEqual(['busy ended', 'blocked']);
    await busy;
    await waiting.cancelAndWait();
  });

  runTest('waits for chains of tasks that wake one another', async () => {
    const futures = Array.from({ length: 40 }, () => new Future<void>());
    const tasks = futures.map((future, i) =>
      createTask(async () => {
        await future;
        await checkpoint();
        futures[i + 1]?.setResult();
      }),
    );
    await waitAllTasksBlocked();
    expect(tasks.some((task) => task.done)).toBe(false);
    futures[0]?.setResult();
    await waitAllTasksBlocked();
    expect(tasks.every((task) => task.done)).toBe(true);
  });

  runTest('of several tasks ends for all of them', async () => {
    const log: string[] = [];
    const busy = createTask(async () => {
      for (let i = 0; i < 50; i++) await checkpoint();
      log.push('busy');
    });
    const watchers = ['a', 'b', 'c'].map((name) =>
      createTask(async () => {
        await waitAllTasksBlocked();
        log.push(name);
      }),
    );
    for (const task of [busy, ...watchers]) await task;
    expect(log).toEqual(['busy', 'a', 'b', 'c']);
  });

  runTest('sees a task that sleeps as waiting', async () => {
    const sleeper = createTask(() => sleep(never));
    await waitAllTasksBlocked();
    expect(sleeper.state).toBe('waiting');
    await sleeper.cancelAndWait();
  });

  runTest('waits for bytes that are on their way', async () => {
    await using pair = await tcpPair();
    let line: string | null = null;
    const reading = createTask(async () => {
      line = await pair.served.readLine();
    });
    void pair.client.write('hello\n');
    await waitAllTasksBlocked();
    expect(line).toBe('hello');
    await reading;
    const [left, right] = memoryConnectionPair();
    const second = createTask(async () => {
      line = await right.readLine();
    });
    void left.write('memory\n');
    await waitAllTasksBlocked();
    expect(line).toBe('memory');
    await second;
  });

  runTest('can be cancelled, by task and by scope', async () => {
    let going = true;
    const busy = createTask(async () => {
      while (going) await checkpoint();
    });
    const task = createTask(() => waitAllTasksBlocked());
    await checkpoint();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    const stopper = createTask(async () => {
      // Time stands still on a simulated clock while somebody is busy.
      for (let i = 0; i < 30; i++) await checkpoint();
      going = false;
    });
    expect(await moveOnAfter(0, () => waitAllTasksBlocked())).toBeUndefined();
    await busy;
    await stopper;
    currentTask()?.cancel();
    expect(await failure(waitAllTasksBlocked())).toBeInstanceOf(CancelledError);
    currentTask()?.uncancel();
    await waitAllTasksBlocked();
  });

  test('works outside of a run', async () => {
    await waitAllTasksBlocked();
    const seen = await inRun(async () => {
      const loop = getRunningLoop();
      let ran = false;
      loop.callSoon(() => loop.callSoon(() => void (ran = true)));
      await waitAllTasksBlocked();
      return ran;
    });
    expect(seen).toBe(true);
  });
});
