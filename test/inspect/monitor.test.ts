/** Blocked loops: who kept them, for how long, and where the code stands. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, test, vi } from 'vitest';
import { type BlockedReport, monitorLoop } from '../../lib/inspect/monitor.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { checkpoint, sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { root } from '../support/source-tree.ts';
import { inRun, runTest } from '../task/support.ts';

const thresholdMs = 60;
const blockMs = 300;

/** Keeps the thread with JavaScript. */
function spin(ms: number): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
}

/** Keeps the thread in a call. */
function hang(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** The thread that looks at stacks needs its time to start; on a busy machine more than this. */
const startMs = 400;
const tries = 5;

/** Reports about the task 'heavy' while it runs once. */
async function reportsAbout(heavy: () => unknown): Promise<BlockedReport[]> {
  const reports: BlockedReport[] = [];
  using _ = monitorLoop({ thresholdMs, onBlocked: (report) => reports.push(report) });
  await createTask({ name: 'heavy' }, async () => void (await heavy()));
  await checkpoint();
  return reports.filter(({ task }) => task?.name === 'heavy');
}

/** Runs until a report has a stack that fits; undefined when none ever does. */
async function reportWith(stack: RegExp, block: () => unknown): Promise<BlockedReport | undefined> {
  const reports: BlockedReport[] = [];
  using _ = monitorLoop({ thresholdMs, onBlocked: (report) => reports.push(report) });
  await sleep(startMs);
  for (let i = 0; i < tries; i++) {
    await block();
    await sleep(thresholdMs);
    const found = reports.find((report) => report.stack !== null && stack.test(report.stack));
    if (found !== undefined) return found;
  }
  return undefined;
}

// covers: seeds/C52, seeds/C38, curio/activation, seeds/E24
describe('monitorLoop', () => {
  runTest('names the task and shows the code that keeps the loop', async () => {
    const stack = /^ {4}at spin \(.*monitor\.test\.ts.*\)\n {4}at heavy/;
    const report = await reportWith(stack, () =>
      createTask({ name: 'heavy' }, async function heavy() {
        await checkpoint();
        spin(blockMs);
      }),
    );
    expect(report?.task?.name).toBe('heavy');
    expect(report?.durationMs).toBeGreaterThanOrEqual(blockMs - 1);
  });

  runTest('shows who called what blocks in C++', async () => {
    const report = await reportWith(/at (hang|heavy) \(.*monitor\.test\.ts/, () =>
      createTask({ name: 'heavy' }, async function heavy() {
        await checkpoint();
        hang(blockMs);
        await checkpoint();
      }),
    );
    expect(report?.task?.name).toBe('heavy');
    expect(report?.durationMs).toBeGreaterThanOrEqual(blockMs - 1);
  });

  runTest('reports callbacks without a task', async () => {
    const report = await reportWith(/at spin[\s\S]*at slowCallback/, () => {
      getRunningLoop().callSoon(function slowCallback() {
        spin(blockMs);
      });
      return sleep(1);
    });
    expect(report?.task).toBe(null);
    expect(report?.durationMs).toBeGreaterThan(blockMs / 2);
  });

  runTest('sees a first step, and one after a promise that is not of uvio', async () => {
    const first = await reportsAbout(() => spin(100));
    const later = await reportsAbout(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      spin(100);
    });
    for (const reports of [first, later]) {
      expect(reports[0]?.durationMs).toBeGreaterThanOrEqual(100);
      // The code, or where the task stands, when the thread did not look in time.
      expect(reports[0]?.stack).toMatch(/Task 'heavy'|monitor\.test\.ts/);
    }
  });

  runTest('ends with dispose, and may be disposed of twice', async () => {
    const loop = getRunningLoop();
    const before = loop.instruments.length;
    const hooks = loop.closeHooks.size;
    const onBlocked = vi.fn();
    const monitor = monitorLoop({ thresholdMs: 10, onBlocked });
    monitor[Symbol.dispose]();
    monitor[Symbol.dispose]();
    expect(loop.instruments.length).toBe(before);
    expect(loop.closeHooks.size).toBe(hooks);
    expect(loop.followed).toBe(false);
    await checkpoint();
    spin(20);
    await checkpoint();
    expect(onBlocked).not.toHaveBeenCalled();
  });

  test('ends with its loop', async () => {
    const handles = await inRun(() => {
      monitorLoop({ thresholdMs });
      return getRunningLoop();
    });
    expect(handles.closed).toBe(true);
    expect(handles.instruments.length).toBe(0);
  });

  runTest('warns on stderr when nothing else is said', async () => {
    const emit = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    try {
      using _ = monitorLoop({ thresholdMs: 20 });
      await createTask({ name: 'heavy' }, () => spin(40));
      await checkpoint();
      const [text, options] = emit.mock.calls.find(([line]) => /heavy/.test(String(line))) ?? [];
      expect(text).toMatch(/^The loop was kept for \d+ ms by Task 'heavy'$/);
      expect(options).toMatchObject({ type: 'UvioWarning', code: 'UVIO_LOOP_BLOCKED' });
    } finally {
      emit.mockRestore();
    }
  });

  runTest('survives a callback that throws: the loop is told', async () => {
    const messages: string[] = [];
    getRunningLoop().setExceptionHandler((_loop, { message }) => messages.push(message));
    const onBlocked = (): void => {
      throw new Error('bad callback');
    };
    using _ = monitorLoop({ thresholdMs: 20, onBlocked });
    await createTask(() => spin(40));
    await createTask(() => spin(40));
    await checkpoint();
    expect(messages.length).toBeGreaterThanOrEqual(2);
    expect(new Set(messages)).toEqual(new Set(['onBlocked of monitorLoop() threw']));
  });

  runTest('refuses a threshold that is no number', () => {
    for (const bad of [Number.NaN, '5']) {
      expect(() => monitorLoop({ thresholdMs: bad as number })).toThrow(TypeError);
    }
  });
});

describe('a process with a monitor', () => {
  const program = (body: string): string =>
    `import { run, sleep, createTask } from 'uvio';
     import { monitorLoop, detectDeadlocks, serveConsole, watchMetrics } from 'uvio/inspect';
     ${body}`;

  function runProgram(body: string): string {
    const args = ['--input-type=module', '-e', program(body)];
    const cwd = join(root, 'test');
    return execFileSync(process.execPath, args, { cwd, encoding: 'utf8', timeout: 20_000 });
  }

  test('ends by itself: nothing of this room keeps it alive', () => {
    const output = runProgram(`
      monitorLoop();
      detectDeadlocks();
      watchMetrics(() => {});
      await serveConsole({ path: (await import('node:os')).tmpdir() + '/uvio-' + process.pid });
      console.log('end');`);
    expect(output).toBe('end\n');
  });

  test('sees the stack of a blocked step while vitest is not there', () => {
    const output = runProgram(`
      await run(async () => {
        monitorLoop({ thresholdMs: 50, onBlocked: ({ task, stack }) => {
          console.log(task?.name, /spinning/.test(stack));
        } });
        await sleep(1000);
        await createTask({ name: 'heavy' }, async () => {
          await sleep(1);
          (function spinning() { const end = Date.now() + 400; while (Date.now() < end); })();
        });
      });`);
    expect(output).toContain('heavy true\n');
  });

  test('may be a worker thread: reports come without the code', async () => {
    const worker = new Worker(
      `const { run, sleep, createTask } = await import('uvio');
       const { monitorLoop } = await import('uvio/inspect');
       const { parentPort } = await import('node:worker_threads');
       await run(async () => {
         monitorLoop({ thresholdMs: 50, onBlocked: ({ task, stack }) => {
           if (task) parentPort.postMessage([task.name, stack]);
         } });
         await createTask({ name: 'heavy' }, () => {
           const end = Date.now() + 100; while (Date.now() < end);
         });
       });`,
      { eval: true, execArgv: ['--input-type=module'] },
    );
    const [name, stack] = await new Promise<[string, string]>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    await worker.terminate();
    expect(name).toBe('heavy');
    expect(stack).toMatch(/^Task 'heavy'/);
  });
});
