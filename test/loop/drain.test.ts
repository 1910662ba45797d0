/** What runs between two turns of a loop that follow each other within one tick. */
import { expect, test } from 'vitest';
import { currentLoop } from '../../lib/task/frame.ts';
import { type RunOptions, run } from '../../lib/task/run.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { testPolicy } from '../support/policy.ts';

const options: RunOptions = { policy: testPolicy(), handleSignals: false };

test('all microtasks and ticks of a turn run before the next turn', async () => {
  const order: string[] = [];
  await run(async () => {
    await sleep(0);
    const loop = currentLoop();
    loop.callSoon(() => {
      order.push('first');
      loop.callSoon(() => order.push('second'));
      void Promise.resolve()
        .then(() => {})
        .then(() => process.nextTick(() => void Promise.resolve().then(() => order.push('deep'))));
    });
    for (let i = 0; i < 4; i++) await sleep(0);
  }, options);
  expect(order).toEqual(['first', 'deep', 'second']);
});

test('what a tick throws is an uncaught exception, and turns go on', async () => {
  const caught: unknown[] = [];
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const note = (error: unknown): void => void caught.push(error);
  process.on('uncaughtException', note);
  try {
    await run(async () => {
      await sleep(0);
      const boom = new Error('boom');
      process.nextTick(() => {
        throw boom;
      });
      for (let i = 0; i < 10; i++) await createTask(() => sleep(0)).join();
      await new Promise<void>((resolve) => setImmediate(resolve));
      expect(caught).toEqual([boom]);
    }, options);
  } finally {
    process.removeListener('uncaughtException', note);
    for (const listener of others) process.on('uncaughtException', listener);
  }
});

test('loops that begin where another one ends do not nest', async () => {
  const started: Promise<void>[] = [];
  async function next(left: number): Promise<void> {
    await run(() => sleep(0), options);
    if (left > 0) started.push(next(left - 1));
  }
  await next(2000);
  for (let i = 0; i < started.length; i++) await started[i];
  expect(started).toHaveLength(2000);
});
