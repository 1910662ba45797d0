/** Work that is left at the end: what the loop does with it, and what debug mode says. */
import { describe, expect, test } from 'vitest';
import { InvalidStateError } from '../../lib/base/errors.ts';
import type { ExceptionContext } from '../../lib/loop/event-loop.ts';
import '../../lib/task/loop-methods.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop, Runner, run } from '../../lib/task/run.ts';
import { sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { testPolicy } from '../support/policy.ts';
import { failure, never, virtualPolicy } from './support.ts';

/** Runs main in debug mode; gives the reports. */
async function reports(main: () => unknown, debug: boolean = true): Promise<ExceptionContext[]> {
  const found: ExceptionContext[] = [];
  const options = { policy: virtualPolicy(), debug, handleSignals: false } as const;
  await run(async () => {
    getRunningLoop().setExceptionHandler((_loop, context) => found.push(context));
    await main();
  }, options);
  return found;
}

// covers: seeds/C46, seeds/E25, asyncio/debug
describe('debug mode', () => {
  test('reports a task that is left at the end of the run, with where it was created', async () => {
    const [report, ...rest] = await reports(() => {
      createTask({ name: 'forgotten' }, sleepForever);
    });
    expect(rest).toEqual([]);
    expect(report?.message).toMatch(/^Task 'forgotten' was still running at the end of the run/);
    expect(report?.message).toContain('left-behind.test.ts');
    expect('error' in (report as object)).toBe(false);
    expect(report?.task?.name).toBe('forgotten');
  });

  // covers: curio/spawn, trio/system-task
  test('says nothing of a daemon, which is cancelled and awaited all the same', async () => {
    let cleaned = false;
    const found = await reports(() => {
      createTask({ daemon: true }, async () => {
        try {
          await sleepForever();
        } finally {
          await sleep(1);
          cleaned = true;
        }
      });
      return sleep(1);
    });
    expect([found, cleaned]).toEqual([[], true]);
  });

  test('reports an await that was forgotten, when its wait outlives the task', async () => {
    const [report, ...rest] = await reports(async () => {
      const fetchText = async (): Promise<string> => sleep(1000, 'Data');
      await createTask({ name: 'careless' }, async () => {
        void fetchText();
        await sleep(1);
      });
    });
    expect(rest).toEqual([]);
    expect(report?.message).toMatch(/^Task 'careless' ended while waits that it began go on \(sle/);
    expect(report?.message).toContain('left-behind.test.ts');
  });

  test('says nothing of a program that awaits what it starts', async () => {
    const found = await reports(async () => {
      await taskGroup((group) => {
        group.createTask(() => sleep(5));
        group.createTask(() => sleep(10));
      });
      const task = createTask(() => sleep(5));
      task.cancel();
      await task.wait();
    });
    expect(found).toEqual([]);
  });

  test('off: nothing is said', async () => {
    expect(await reports(() => void createTask(sleepForever), false)).toEqual([]);
  });
});

// covers: asyncio/close
describe('loop.close', () => {
  test('cancels the tasks of a loop that never ran, and awaits their clean-up', async () => {
    const loop = testPolicy().createLoop();
    let cleaned = false;
    const task = loop.createTask(async () => {
      try {
        await sleep(never);
      } finally {
        await sleep(1);
        cleaned = true;
      }
    });
    while (task.state !== 'waiting') await new Promise((resolve) => setImmediate(resolve));
    await loop.close();
    expect([cleaned, task.cancelled, loop.closed, loop.metrics().tasks]).toEqual([
      true,
      true,
      true,
      0,
    ]);
  });

  test('may be called again, but not while the loop runs', async () => {
    const runner = new Runner({ policy: testPolicy(), handleSignals: false });
    await runner.run(async () => {
      expect(await failure(runner.loop.close())).toBeInstanceOf(InvalidStateError);
    });
    await runner.close();
    await runner.loop.close();
    expect(() => runner.loop.createTask(() => {})).toThrow(InvalidStateError);
  });
});

describe('loop.runForever', () => {
  test('runs callbacks and tasks until stop', async () => {
    const loop = testPolicy().createLoop();
    const seen: string[] = [];
    loop.callLater(1, () => {
      seen.push('timer');
      loop.callSoon(() => seen.push('soon'));
      loop.stop();
      // Behind what was ready when stop() was called.
      loop.callSoon(() => seen.push(`running ${loop.running}`));
    });
    await loop.runForever();
    seen.push(`after ${loop.running}`);
    expect(seen.slice(0, 2)).toEqual(['timer', 'soon']);
    expect(seen.at(-1)).toBe('after false');
    await loop.close();
  });

  test('ends after what is ready when stop came before', async () => {
    const loop = testPolicy().createLoop();
    const seen: string[] = [];
    loop.callSoon(() => seen.push('ready'));
    loop.stop();
    await loop.runForever();
    expect(seen).toEqual(['ready']);
    loop.callSoon(() => loop.stop());
    await loop.runForever();
    await loop.close();
  });

  test('refuses a loop that runs or is closed, and stop() in a run', async () => {
    const runner = new Runner({ policy: testPolicy(), handleSignals: false });
    const { loop } = runner;
    await runner.run(async () => {
      expect(await failure(loop.runForever())).toBeInstanceOf(InvalidStateError);
      expect(() => loop.stop()).toThrow(InvalidStateError);
    });
    await runner.close();
    expect(await failure(loop.runForever())).toBeInstanceOf(InvalidStateError);
  });

  test('tells instruments, and keeps tasks for the next time', async () => {
    const loop = testPolicy().createLoop();
    const seen: string[] = [];
    loop.addInstrument({
      beforeRun: () => seen.push('before'),
      afterRun: () => seen.push('after'),
    });
    const task = loop.createTask(() => sleep(2, 'kept'));
    loop.callSoon(() => loop.stop());
    await loop.runForever();
    expect(task.done).toBe(false);
    task.addDoneCallback(() => loop.stop());
    await loop.runForever();
    expect([task.result(), seen]).toEqual(['kept', ['before', 'after', 'before', 'after']]);
    await loop.close();
  });
});

// covers: asyncio/shutdown-asyncgens
describe('async generators', () => {
  test('in a for await of a left task are closed by the end of the run', async () => {
    const seen: string[] = [];
    async function* numbers(): AsyncGenerator<number> {
      try {
        for (let i = 0; ; i++) yield i;
      } finally {
        await sleep(1);
        seen.push('closed');
      }
    }
    await reports(async () => {
      createTask(async () => {
        for await (const _ of numbers()) await sleep(10);
      });
      await sleep(25);
      await getRunningLoop().shutdownAsyncGenerators();
    }, false);
    expect(seen).toEqual(['closed']);
  });
});
