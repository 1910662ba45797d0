import { getEventListeners } from 'node:events';
import { describe, expect } from 'vitest';
import { CancelledError } from '../../lib/base/errors.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { createTask } from '../../lib/task/task.ts';
import { Waiter } from '../../lib/task/waiter.ts';
import { runTest } from './support.ts';

function listeners(signal: AbortSignal): number {
  return getEventListeners(signal, 'abort').length;
}

describe('the signal of a wait', () => {
  runTest('is listened to while the wait goes on, and ends it', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const waiter = new Waiter<number>('test');
    const woken = waiter.start({ signal });
    expect(listeners(signal)).toBe(1);
    waiter.wake(7);
    expect([await woken, listeners(signal)]).toEqual([7, 0]);
    const failed = waiter.start({ signal });
    waiter.fail(new Error('no'));
    await expect(failed).rejects.toThrow('no');
    expect(listeners(signal)).toBe(0);
    const aborted = waiter.start({ signal });
    controller.abort('reason');
    await expect(aborted).rejects.toBe('reason');
    expect([waiter.active, listeners(signal)]).toEqual([false, 0]);
  });

  runTest('is left alone by a wait that was cancelled', async () => {
    const { signal } = new AbortController();
    const scope = new CancelScope();
    await scope.run(async () => {
      const waiting = new Waiter('test').start({ signal });
      scope.cancel();
      await expect(waiting).rejects.toThrow(CancelledError);
    });
    expect(listeners(signal)).toBe(0);
  });
});

describe('waits in one region', () => {
  runTest('keep their order while hundreds of others end', async () => {
    const ended: number[] = [];
    const waiters = Array.from({ length: 300 }, () => new Waiter('test'));
    const task = createTask(async () => {
      const all = waiters.map((waiter, i) => waiter.start().catch(() => ended.push(i)));
      for (const [i, waiter] of waiters.entries()) if (i % 7 !== 3) waiter.wake();
      const late = Array.from({ length: 3 }, (_, i) =>
        new Waiter('test').start().catch(() => ended.push(300 + i)),
      );
      await Promise.all([...all, ...late]);
    });
    await createTask(() => {}).wait();
    task.cancel();
    await task.catch(() => {});
    const left = waiters.map((_, i) => i).filter((i) => i % 7 === 3);
    expect(ended).toEqual([...left, 300, 301, 302]);
  });

  runTest('are cancelled in the order of their begin, without those that ended', async () => {
    const ended: number[] = [];
    const waiters = [0, 1, 2, 3].map(() => new Waiter('test'));
    const task = createTask(async () => {
      const all = waiters.map((waiter, i) => waiter.start().catch(() => ended.push(i)));
      waiters[1]?.wake();
      waiters[0]?.wake();
      waiters[0]?.start().catch(() => ended.push(0));
      await Promise.all(all);
      // The region has had several waits and now has one again.
      await new Waiter('last').start();
    });
    await Promise.resolve();
    expect(task.state).toBe('pending');
    await createTask(() => {}).wait();
    task.cancel();
    await Promise.resolve().then(() => {});
    await createTask(() => {}).wait();
    expect(ended).toEqual([2, 3, 0]);
    task.cancel();
    await task.wait();
    expect(task.cancelled).toBe(true);
  });
});
