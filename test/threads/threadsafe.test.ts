import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { InvalidStateError } from '../../lib/base/errors.ts';
import { Future } from '../../lib/task/future.ts';
import { getRunningLoop, Runner } from '../../lib/task/run.ts';
import { checkpoint } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { toThread } from '../../lib/threads/default-executor.ts';
import '../../lib/threads/loop-methods.ts';
import { testPolicy } from '../support/policy.ts';
import { runTest } from '../task/support.ts';
import { until } from './support.ts';

/** In a thread: one message for each entry. */
const post = (name: string, messages: unknown[]): string => {
  const channel = new BroadcastChannel(name);
  for (const message of messages) channel.postMessage(message);
  channel.close();
  return 'posted';
};

// asyncio.loop.call_soon_threadsafe
describe('callSoonThreadsafe', () => {
  runTest('runs a registered function in the next turn', async () => {
    const loop = getRunningLoop();
    const calls: unknown[] = [];
    using _ = loop.registerThreadsafe('note', (...args: unknown[]) => {
      calls.push([...args, currentTask()]);
    });
    loop.callSoonThreadsafe('note', 1, 'a');
    expect(calls).toEqual([]);
    await checkpoint();
    expect(calls).toEqual([[1, 'a', null]]);
  });

  runTest('comes from a job in order, and before its result', async () => {
    const loop = getRunningLoop();
    const seen: unknown[] = [];
    using _ = loop.registerThreadsafe('progress', (done: number) => void seen.push(done));
    const messages = Array.from({ length: 100 }, (_, i) => ['progress', i]);
    seen.push(await toThread(post, loop.threadsafeChannel, messages));
    expect(seen).toEqual([...Array.from({ length: 100 }, (_, i) => i), 'posted']);
  });

  runTest('comes from any worker thread of the process', async () => {
    const loop = getRunningLoop();
    const arrived = new Future<unknown>();
    using _ = loop.registerThreadsafe('arrive', (value) => arrived.setResult(value));
    const worker = new Worker(
      `const { workerData } = require('node:worker_threads');
       new BroadcastChannel(workerData).postMessage(['arrive', new Map([[1, 2]])]);
       setInterval(() => {}, 1000);`,
      { eval: true, workerData: loop.threadsafeChannel },
    );
    expect(await arrived).toEqual(new Map([[1, 2]]));
    await worker.terminate();
  });

  // asyncio.run_coroutine_threadsafe
  runTest('may start tasks', async () => {
    const loop = getRunningLoop();
    const result = new Future<string>();
    using _ = loop.registerThreadsafe('start', (value: string) => {
      createTask(async () => {
        await checkpoint();
        result.setResult(`${value} ${getRunningLoop() === loop}`);
      });
    });
    await toThread(post, loop.threadsafeChannel, [['start', 'task']]);
    expect(await result).toBe('task true');
  });

  runTest('of an unknown name is an error here, and a report from elsewhere', async () => {
    const loop = getRunningLoop();
    const reports: string[] = [];
    loop.setExceptionHandler((_loop, { message }) => reports.push(message));
    loop.registerThreadsafe('known', () => {})[Symbol.dispose]();
    expect(() => loop.callSoonThreadsafe('known')).toThrow(TypeError);
    await toThread(post, loop.threadsafeChannel, [['known'], 'no array', []]);
    await until(() => reports.length >= 3);
    expect(reports).toEqual([
      'A call from another thread had no registered function: known',
      'A call from another thread had no registered function: undefined',
      'A call from another thread had no registered function: undefined',
    ]);
  });

  runTest('is registered once for a name, with a name and a function', () => {
    const loop = getRunningLoop();
    using _ = loop.registerThreadsafe('name', () => {});
    expect(() => loop.registerThreadsafe('name', () => {})).toThrow(InvalidStateError);
    expect(() => loop.registerThreadsafe(5 as never, () => {})).toThrow(TypeError);
    expect(() => loop.registerThreadsafe('other', 5 as never)).toThrow(TypeError);
  });

  runTest('has a channel of its own for each loop', async () => {
    const other = testPolicy().createLoop();
    expect(other.threadsafeChannel).not.toBe(getRunningLoop().threadsafeChannel);
    await other.close();
  });

  test('of a closed loop is an error', async () => {
    const runner = new Runner({ policy: testPolicy(), handleSignals: false });
    const { loop } = runner;
    loop.registerThreadsafe('name', () => {});
    await runner.close();
    expect(() => loop.callSoonThreadsafe('name')).toThrow(InvalidStateError);
    const fresh = testPolicy().createLoop();
    await fresh.close();
    expect(() => fresh.threadsafeChannel).toThrow(InvalidStateError);
  });
});
