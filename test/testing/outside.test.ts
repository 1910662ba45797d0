/** Real work in a simulated run: time does not jump over it, and it is no deadlock. */
import { expect } from 'vitest';
import { runProcess } from '../../lib/process/run-process.ts';
import { currentTime } from '../../lib/task/sleep.ts';
import { timeout } from '../../lib/task/timeout.ts';
import { toThread } from '../../lib/threads/default-executor.ts';
import { virtualTest } from '../task/support.ts';

virtualTest('a thread is waited for', async () => {
  const work = (ms: number): string => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    return 'done';
  };
  expect(await timeout(10, () => toThread(work, 50))).toBe('done');
  expect(currentTime()).toBe(0);
});

virtualTest('a process is waited for', async () => {
  const { stdout } = await timeout(10, () =>
    runProcess(['/bin/sh', '-c', 'sleep 0.05; echo done']),
  );
  expect(String(stdout)).toBe('done\n');
  expect(currentTime()).toBe(0);
});
