/** What debug mode reports: codes, names, and where the task was created. */
import { describe, expect, test, vi } from 'vitest';
import type { ExceptionContext } from '../../lib/loop/event-loop.ts';
import { defaultLoop } from '../../lib/loop/policy.ts';
import { gather, waitFor } from '../../lib/task/combinators.ts';
import { reportFailures } from '../../lib/task/failures.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop, Runner } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter, shielded, timeout } from '../../lib/task/scope.ts';
import { currentSignal } from '../../lib/task/signal.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, type Task } from '../../lib/task/task.ts';
import { inMemory, testPolicy } from '../support/policy.ts';
import { failure, never } from './support.ts';

type Report = ExceptionContext & { readonly task?: Task };

/** Blocks the thread, as a call that should not be there does. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Runs in debug mode and gives what was reported, the end of the run included. */
async function reportsOf(main: () => unknown, debug = true, slowMs = Infinity): Promise<Report[]> {
  const reports: Report[] = [];
  const runner = new Runner({ policy: testPolicy(), handleSignals: false, debug });
  // A busy machine makes anything slow: only the tests of that look at it.
  runner.loop.slowCallbackMs = slowMs;
  runner.loop.setExceptionHandler((_loop, context) => reports.push(context));
  try {
    await runner.run(async () => void (await main()));
  } finally {
    await runner.close();
  }
  return reports;
}

/** Until they are done, without asking for their results. */
async function allDone(...tasks: Task[]): Promise<void> {
  while (tasks.some(({ done }) => !done)) await checkpoint();
}

function codes(reports: readonly Report[]): (string | undefined)[] {
  return reports.map(({ code }) => code);
}

// covers: asyncio/debug, seeds/E24, seeds/C52
describe('slow steps', () => {
  /** Messages about the task 'heavy': a busy machine may make others slow. */
  async function slowOf(heavy: () => unknown): Promise<Report[]> {
    const main = (): Task => createTask({ name: 'heavy' }, heavy);
    const reports = await reportsOf(main, true, 100);
    return reports.filter(({ message }) => message.includes("'heavy'"));
  }

  test('are reported with the task: the first one', async () => {
    const reports = await slowOf(() => block(120));
    expect(codes(reports)).toEqual(['UVIO_SLOW_CALLBACK']);
    expect(reports[0]?.message).toMatch(/^Slow callback: Task 'heavy' took \d+\.\d ms$/);
    expect(reports[0]?.durationMs).toBeGreaterThanOrEqual(119);
  });

  test('are reported with the task: one after an await, in a caller of what waited', async () => {
    const pause = async (): Promise<void> => await sleep(1);
    const reports = await slowOf(async () => {
      await pause();
      block(120);
      await sleep(1);
    });
    expect(codes(reports)).toEqual(['UVIO_SLOW_CALLBACK']);
    expect(reports[0]?.message).toMatch(/^Slow step: Task 'heavy' took \d+\.\d ms$/);
    expect(reports[0]?.task?.name).toBe('heavy');
    expect(reports[0]).not.toHaveProperty('error');
  });

  test('are reported with the task: one after a promise that is not of uvio', async () => {
    const reports = await slowOf(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      block(120);
    });
    expect(reports.map(({ task }) => task?.name)).toEqual(['heavy']);
  });

  test('are reported with the task: one that a cancellation began', async () => {
    const reports = await slowOf(async () => {
      await moveOnAfter(1, async () => {
        try {
          await sleepForever();
        } finally {
          block(120);
        }
      });
    });
    expect(reports.map(({ task }) => task?.name)).toEqual(['heavy']);
  });

  test('are measured by slowCallbackMs, and silent without debug mode', async () => {
    const main = async (): Promise<void> => {
      await checkpoint();
      block(30);
      await checkpoint();
    };
    const byMain = (reports: Report[]): number =>
      reports.filter(({ task }) => task?.name === 'main').length;
    expect(byMain(await reportsOf(main, true, 20))).toBeGreaterThanOrEqual(1);
    expect(byMain(await reportsOf(main, true, Infinity))).toBe(0);
    expect(await reportsOf(main, false, 20)).toEqual([]);
  });
});

// covers: asyncio/call-graph
describe('task.getStack()', () => {
  test('says what the task waits for, since when, and where it was created', async () => {
    await reportsOf(async () => {
      const task = createTask({ name: 'waiting' }, () => sleep(never));
      await sleep(5);
      const stack = task.getStack();
      expect(stack).toMatch(/^Task 'waiting' \(waiting\)\n {4}waits for sleep\n {4}for \d+\.\d ms/);
      expect(stack.split('\n').at(-1)).toMatch(/debug\.test\.ts:\d+:\d+/);
      expect(stack).not.toMatch(/lib.task|node:/);
      await task.cancelAndWait();
    });
  });
});

// covers: seeds/C50
describe('errors that nobody took', () => {
  test('are reported with a code and where the task was created', async () => {
    const reports = await reportsOf(async () => {
      await allDone(createTask({ name: 'lost' }, () => Promise.reject(new Error('x'))));
    });
    expect(codes(reports)).toEqual(['UVIO_ERROR_NOT_TAKEN']);
    expect(reports[0]?.message).toMatch(/Task 'lost' failed[\s\S]*Created\n.*debug\.test\.ts/);
    expect(reports[0]?.error).toMatchObject({ message: 'x' });
  });
});

describe('a cancellation that a task swallows', () => {
  const swallow = (): Promise<string> => sleepForever().catch(() => 'swallowed');

  test('is reported with the task, when the cancellation was that of a scope', async () => {
    const reports = await reportsOf(() =>
      taskGroup(async (group) => {
        group.createTask({ name: 'deaf' }, swallow);
        await checkpoint();
        group.cancel();
      }),
    );
    expect(codes(reports)).toEqual(['UVIO_CANCELLATION_SWALLOWED']);
    expect(reports[0]?.message).toMatch(
      /^Task 'deaf' was cancelled by its scope[\s\S]*debug\.test/,
    );
    expect(reports[0]?.task?.name).toBe('deaf');
  });

  test('is reported also when the task waited again and was refused', async () => {
    const reports = await reportsOf(() =>
      taskGroup(async (group) => {
        group.createTask({ name: 'deaf' }, async () => {
          await sleepForever().catch(() => {});
          await sleep(1).catch(() => {});
        });
        await checkpoint();
        group.cancel();
      }),
    );
    expect(codes(reports)).toEqual(['UVIO_CANCELLATION_SWALLOWED']);
  });

  test('is no report when the task rethrows it, or ends before a wait meets it', async () => {
    const reports = await reportsOf(() =>
      taskGroup(async (group) => {
        group.createTask(async () => {
          try {
            await sleepForever();
          } finally {
            await shielded(() => sleep(1));
          }
        });
        group.createTask(async () => {
          await checkpoint();
          group.cancel();
        });
        await sleepForever();
      }),
    );
    expect(reports).toEqual([]);
  });

  test('is no report when a scope inside of the task was cancelled', async () => {
    const reports = await reportsOf(async () => {
      await createTask(async () => {
        await moveOnAfter(1, () => sleepForever());
        await moveOnAfter(1, () => sleepForever().catch(() => {}));
      });
    });
    expect(reports).toEqual([]);
  });

  test('is no report when it was task.cancel(), which a task may take', async () => {
    const reports = await reportsOf(async () => {
      const task = createTask(() => sleepForever().catch(() => {}));
      await checkpoint();
      task.cancel();
      await task;
    });
    expect(reports).toEqual([]);
  });

  test('is not blamed on who only waits for the task that swallows it', async () => {
    const reports = await reportsOf(() =>
      taskGroup(async (group) => {
        const deaf = group.createTask({ name: 'deaf' }, swallow);
        group.createTask({ name: 'waits' }, () => deaf.then(() => {}));
        await checkpoint();
        await checkpoint();
        group.cancel();
      }),
    );
    expect(reports.map(({ task }) => task?.name)).toEqual(['deaf']);
  });

  test('again and again is reported with a code', async () => {
    const reports = await reportsOf(async () => {
      await createTask({ name: 'stubborn' }, () =>
        new CancelScope().run(async (scope) => {
          scope.cancel();
          for (let i = 0; i < 150; i++) await sleep(1).catch(() => {});
        }),
      );
    });
    expect(codes(reports)).toEqual(['UVIO_CANCELLATION_LOOP']);
  });
});

// covers: seeds/C46, seeds/E25
describe('work that nobody waits for', () => {
  const fetchText = async (ms: number): Promise<string> => {
    await sleep(ms);
    return 'Data';
  };

  test('is reported when its task ends before it: a call without await', async () => {
    const reports = await reportsOf(async () => {
      const controller = new AbortController();
      const longWork = (): Promise<void> => failure(sleepForever({ signal: controller.signal }));
      const task = createTask({ name: 'careless' }, async () => {
        void longWork();
        return await fetchText(1);
      });
      expect(await task).toBe('Data');
      controller.abort();
      await checkpoint();
    });
    expect(codes(reports)).toEqual(['UVIO_NOT_AWAITED']);
    expect(reports[0]?.message).toMatch(
      /^Task 'careless' has ended, but a call .* was not awaited still waits for sleepForever/,
    );
    expect(reports[0]?.message).toMatch(/debug\.test\.ts/);
  });

  test.skipIf(inMemory)('is reported when a task returns a value that nobody takes', async () => {
    const reports = await reportsOf(async () => {
      await allDone(createTask({ name: 'ignored' }, () => fetchText(1)));
    });
    expect(codes(reports)).toEqual(['UVIO_RESULT_NOT_TAKEN']);
    expect(reports[0]?.message).toMatch(/^Task 'ignored' returned a value[\s\S]*debug\.test\.ts/);
    expect(reports[0]).not.toHaveProperty('error');
  });

  test.skipIf(inMemory)('is no report when the value is taken late, in whatever way', async () => {
    const reports = await reportsOf(async () => {
      const tasks = Array.from({ length: 6 }, () => createTask(() => fetchText(1)));
      const [a, b, c, d, e, f] = tasks as [Task, Task, Task, Task, Task, Task];
      await allDone(a, b, c, d, e, f);
      await a;
      await b.join();
      c.result();
      await gather(d);
      await waitFor(e, 10);
      f.addDoneCallback((task) => task.result());
      await checkpoint();
      reportFailures(getRunningLoop());
    });
    expect(reports).toEqual([]);
  });

  test('is no report for tasks of a group, and for those that return nothing', async () => {
    const reports = await reportsOf(async () => {
      const nothing = createTask(() => sleep(1));
      await taskGroup(async (group) => {
        group.createTask(() => fetchText(1));
        group.startSoon(() => fetchText(1));
      });
      await allDone(nothing);
    });
    expect(reports).toEqual([]);
  });

  test('is no report without debug mode', async () => {
    const main = async (): Promise<void> => {
      createTask(() => fetchText(1));
      createTask(() => void fetchText(5));
      createTask(() => sleepForever());
      await sleep(10);
    };
    expect(await reportsOf(main, false)).toEqual([]);
  });
});

describe('tasks that are left when a run ends', () => {
  test('are reported, but for daemons and for those of groups', async () => {
    const reports = await reportsOf(async () => {
      createTask({ name: 'left' }, () => sleepForever());
      createTask({ name: 'daemon', daemon: true }, () => sleepForever());
      createTask({ name: 'host', daemon: true }, () =>
        taskGroup(async (group) => void group.createTask({ name: 'child' }, () => sleepForever())),
      );
      await checkpoint();
      createTask({ name: 'not begun' }, () => sleepForever());
    });
    expect(codes(reports)).toEqual(['UVIO_TASK_LEFT', 'UVIO_TASK_LEFT']);
    expect(reports[0]?.message).toMatch(
      /^Task 'left' was still waiting when its run ended\nCreated/,
    );
    expect(reports[1]?.message).toMatch(/^Task 'not begun' was still (pending|waiting)/);
  });
});

describe('milliseconds that look like seconds', () => {
  async function warningsOf(main: () => unknown, debug = true): Promise<string[]> {
    const emit = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    try {
      await reportsOf(main, debug);
      for (const [, options] of emit.mock.calls) {
        expect(options).toMatchObject({ code: 'UVIO_MILLISECONDS' });
      }
      return emit.mock.calls.map(([text]) => String(text));
    } finally {
      emit.mockRestore();
    }
  }

  test('are warned about once: in sleep, in time limits, in callLater', async () => {
    const main = async (): Promise<void> => {
      await sleep(0.52);
      await sleep(0.52);
      await sleep(1.52);
      await failure(timeout(0.53, () => sleepForever()));
      await moveOnAfter(0.54, () => sleepForever());
      getRunningLoop().callLater(0.55, () => {});
      await sleep(2);
    };
    const text = (what: string, ms: number): string =>
      `${what} of ${ms} ms looks like seconds: uvio counts milliseconds`;
    expect(await warningsOf(main)).toEqual([
      text('A sleep', 0.52),
      text('A sleep', 1.52),
      text('A time limit', 0.53),
      text('A time limit', 0.54),
      text('A delay', 0.55),
    ]);
  });

  test('are not: whole milliseconds, long delays, and those that were computed', async () => {
    const main = async (): Promise<void> => {
      await sleep(1);
      await sleep(5);
      await sleep(10.5);
      await sleep(1 / 3);
      await sleep(Math.PI);
      await sleep(0);
      await sleep(-0.5);
    };
    expect(await warningsOf(main)).toEqual([]);
    expect(await warningsOf(() => sleep(0.57), false)).toEqual([]);
  });
});

describe('debug mode', () => {
  test.skipIf(inMemory)('can be switched while tasks run, and leaves no hook behind', async () => {
    const reports = await reportsOf(async () => {
      const loop = getRunningLoop();
      expect(loop.followed).toBe(false);
      loop.debug = true;
      expect(loop.followed).toBe(true);
      await checkpoint();
      loop.debug = false;
      expect(loop.watched).toBe(false);
      expect(loop.followed).toBe(false);
      await checkpoint();
    }, false);
    expect(reports).toEqual([]);
  });

  test('is what UVIO_DEBUG says outside of runs', () => {
    expect(defaultLoop().debug).toBe(process.env['UVIO_DEBUG'] === '1');
  });

  test('changes no result', async () => {
    const main = async (): Promise<unknown[]> => {
      const results = await gather(
        () => sleep(1, 'a'),
        () => waitFor(() => sleep(1, 'b'), 100),
        async () => (await moveOnAfter(1, () => sleepForever())) ?? currentSignal().aborted,
        async () => (await failure(timeout(1, () => sleep(never)))).code,
      );
      return results;
    };
    for (const debug of [true, false]) {
      const runner = new Runner({ policy: testPolicy(), handleSignals: false, debug });
      expect(await runner.run(main)).toEqual(['a', 'b', false, 'ETIMEDOUT']);
      await runner.close();
    }
  });
});
