/** Figures from time to time, and tasks that wait for one another for ever. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { detectDeadlocks, watchMetrics } from '../../lib/inspect/watch.ts';
import { openConnection } from '../../lib/io/connect.ts';
import { startServer } from '../../lib/io/start-server.ts';
import type { LoopMetrics } from '../../lib/loop/event-loop.ts';
import { Future } from '../../lib/task/future.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, type Task } from '../../lib/task/task.ts';
import { policyName } from '../support/policy.ts';
import { root } from '../support/source-tree.ts';
import { inRun, runTest } from '../task/support.ts';

// covers: seeds/C38, seeds/C53
describe('watchMetrics', () => {
  runTest('calls back with the figures of the loop, until it is disposed of', async () => {
    const seen: LoopMetrics[] = [];
    const enough = new Future<void>();
    const watching = watchMetrics(
      (metrics) => {
        if (seen.push(metrics) === 3) enough.setResult(undefined);
      },
      { intervalMs: 2 },
    );
    await enough;
    watching[Symbol.dispose]();
    watching[Symbol.dispose]();
    const { length } = seen;
    await sleep(20);
    expect(seen.length).toBe(length);
    for (const { tasks, utilization } of seen) {
      expect(tasks).toBe(1);
      expect(utilization).toBeGreaterThanOrEqual(0);
      expect(utilization).toBeLessThanOrEqual(1);
    }
    expect(seen[2]?.iterations).toBeGreaterThanOrEqual(seen[0]?.iterations as number);
  });

  runTest('goes on when the callback throws: the loop is told', async () => {
    const messages: string[] = [];
    const twice = new Future<void>();
    getRunningLoop().setExceptionHandler((_loop, { message }) => {
      if (messages.push(message) === 2) twice.setResult(undefined);
    });
    const bad = (): never => {
      throw new Error('bad');
    };
    using _ = watchMetrics(bad, { intervalMs: 1 });
    await twice;
    expect(messages[0]).toBe('The callback of watchMetrics() threw');
  });

  test('ends with its loop', async () => {
    let calls = 0;
    const loop = await inRun(async () => {
      watchMetrics(() => calls++, { intervalMs: 1 });
      while (calls === 0) await sleep(1);
      return getRunningLoop();
    });
    const before = calls;
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(calls).toBe(before);
    expect(loop.closeHooks.size).toBe(0);
  });

  runTest('refuses what is no function or no number', () => {
    expect(() => watchMetrics('x' as never)).toThrow(TypeError);
    expect(() => watchMetrics(() => {}, { intervalMs: Number.NaN })).toThrow(TypeError);
  });
});

describe('detectDeadlocks', () => {
  const idleMs = 20;

  /** Two tasks that wait for one another. */
  function tangle(): { tasks: Task[]; untie: () => void } {
    const [a, b] = [new Future<void>(), new Future<void>()];
    const left = createTask({ name: 'left' }, async () => {
      await a;
      b.setResult(undefined);
    });
    const right = createTask({ name: 'right' }, async () => {
      await b;
      if (!a.done) a.setResult(undefined);
    });
    return { tasks: [left, right], untie: () => a.setResult(undefined) };
  }

  // In a process of its own: in a test's, vitest has timers that could end a wait.
  test('reports the tree of tasks when all wait and nothing can end that, once', () => {
    const program = `
      import { createTask, Future, native, pure, run } from 'uvio';
      import { detectDeadlocks, formatTaskTree } from 'uvio/inspect';
      await run(async () => {
        const [a, b] = [new Future(), new Future()];
        detectDeadlocks({ idleMs: ${idleMs}, onDeadlock: (tree) => {
          console.log(formatTaskTree(tree));
          setTimeout(() => a.setResult(), ${4 * idleMs}).unref();
        } });
        const left = createTask({ name: 'left' }, async () => { await a; b.setResult(); });
        const right = createTask({ name: 'right' }, () => b);
        await Promise.all([left.join(), right.join()]);
      }, { policy: ${policyName}() });`;
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: join(root, 'test'),
      encoding: 'utf8',
      timeout: 20_000,
    });
    expect(output).toBe(
      [
        'main (#1) waiting for join left, join right',
        '├── left (#2) waiting for await',
        '└── right (#3) waiting for await',
        '',
      ].join('\n'),
    );
  });

  runTest('is quiet while a timer, a connection or a server is there', async () => {
    const onDeadlock = vi.fn();
    using _ = detectDeadlocks({ idleMs, onDeadlock });
    const { tasks, untie } = tangle();
    await sleep(5 * idleMs);
    await using server = await startServer(() => sleepForever(), { host: '127.0.0.1' });
    const client = await openConnection({ host: '127.0.0.1', port: server.port });
    const soon = new Promise((resolve) => setTimeout(resolve, 5 * idleMs).unref());
    await soon;
    expect(onDeadlock).not.toHaveBeenCalled();
    untie();
    for (const task of tasks) await task;
    await client.close();
  });

  runTest('is quiet while a task works, and when all sleep for ever by intention', async () => {
    const onDeadlock = vi.fn();
    using _ = detectDeadlocks({ idleMs, onDeadlock });
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 5 * idleMs).unref();
    await sleepForever({ signal: controller.signal }).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 5 * idleMs).unref());
    expect(onDeadlock).not.toHaveBeenCalled();
    await checkpoint();
  });

  runTest('refuses a time that is no number', () => {
    expect(() => detectDeadlocks({ idleMs: Number.NaN })).toThrow(TypeError);
  });
});
