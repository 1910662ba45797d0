import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { CancelledError, InvalidStateError } from '../../lib/base/errors.ts';
import type { EventLoop } from '../../lib/loop/event-loop.ts';
import '../../lib/task/loop-methods.ts';
import { getEventLoop, getRunningLoop, Runner, run } from '../../lib/task/run.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask, type Task } from '../../lib/task/task.ts';
import { inMemory, testPolicy } from '../support/policy.ts';
import { failure, inRun, never } from './support.ts';

const options = { handleSignals: false } as const;

// covers: seeds/E13
describe('run', () => {
  test("gives main's result", async () => {
    const policy = testPolicy();
    expect(await run(async () => 'value', { policy })).toBe('value');
    expect(await run(() => 5, { policy })).toBe(5);
  });

  test("rejects with main's error, which is not reported besides", async () => {
    const policy = testPolicy();
    process.exitCode = undefined;
    const error = await failure(run(() => Promise.reject(new RangeError('main')), { policy }));
    expect(error.message).toBe('main');
    expect(process.exitCode).toBeUndefined();
  });

  test('refuses a promise and says what to write instead', async () => {
    const promise = Promise.resolve();
    expect((await failure(run(promise as never))).message).toMatch(/run\(\(\) => f\(x\)\)/);
  });

  test('cannot be nested', async () => {
    await inRun(async () => {
      expect(await failure(run(() => 1))).toBeInstanceOf(InvalidStateError);
    });
  });

  test('may be used one after the other, and side by side at top level', async () => {
    const work = (value: number) => () => sleep(1, value);
    const policy = testPolicy();
    expect(await run(work(1), { policy, ...options })).toBe(1);
    // A simulated policy carries one run at a time.
    const second = inMemory ? testPolicy() : policy;
    const both = Promise.all([run(work(2), { policy }), run(work(3), { policy: second })]);
    expect(await both).toEqual([2, 3]);
  });

  test('makes a loop of its own, and closes it', async () => {
    const loops: EventLoop[] = [];
    const policy = testPolicy();
    for (let i = 0; i < 2; i++) {
      await run(() => void loops.push(getRunningLoop()), { policy, ...options });
    }
    expect(loops[0]).not.toBe(loops[1]);
    expect(loops.map((loop) => [loop.closed, loop.running])).toEqual([
      [true, false],
      [true, false],
    ]);
  });

  test('cancels tasks that are left and waits for their clean-up', async () => {
    const ended: string[] = [];
    const main = async (): Promise<string> => {
      createTask(async () => {
        try {
          await sleepForever();
        } finally {
          await sleep(2);
          ended.push('cleaned up');
        }
      });
      await checkpoint();
      return 'main';
    };
    expect(await run(main, { policy: testPolicy(), ...options })).toBe('main');
    expect(ended).toEqual(['cleaned up']);
  });

  test('reports the error of a task that is left, and of one that nobody awaited', async () => {
    const reports: string[] = [];
    const main = async (): Promise<void> => {
      getRunningLoop().setExceptionHandler((_loop, context) => reports.push(context.message));
      createTask({ name: 'forgotten' }, () => Promise.reject(new Error('x')));
      createTask({ name: 'left' }, async () => {
        await sleepForever().catch(() => {});
        throw new Error('in clean-up');
      });
      await sleep(1);
    };
    await run(main, { policy: testPolicy(), ...options });
    expect(reports).toEqual([
      "Task 'forgotten' failed and nobody took its error",
      "Task 'left' failed and nobody took its error",
    ]);
  });

  test('names the main task', async () => {
    const name = (): string | undefined => currentTask()?.name;
    expect(await run(name, { policy: testPolicy() })).toBe('main');
    expect(await run(name, { policy: testPolicy(), name: 'root' })).toBe('root');
  });

  test('cancels main when its signal aborts', async () => {
    const controller = new AbortController();
    const running = failure(
      run(
        async () => {
          setImmediate(() => controller.abort('stop'));
          await sleep(never);
        },
        { policy: testPolicy(), signal: controller.signal },
      ),
    );
    const error = await running;
    expect(error).toBeInstanceOf(CancelledError);
    expect(error.reason).toBe('stop');
  });

  test('never begins main when its signal has aborted', async () => {
    let begun = false;
    const main = (): void => {
      begun = true;
    };
    const signal = AbortSignal.abort('before');
    expect((await failure(run(main, { policy: testPolicy(), signal }))).reason).toBe('before');
    expect(begun).toBe(false);
  });

  test('sets debug mode and tells instruments', async () => {
    const seen: string[] = [];
    const instrument = {
      beforeRun: () => void seen.push('before'),
      afterRun: () => void seen.push('after'),
      taskSpawned: (task: Task) => void seen.push(`spawned ${task.name}`),
      beforeTaskStep: () => void seen.push('step'),
      afterTaskStep: () => void seen.push('stepped'),
      taskExited: (task: Task) => void seen.push(`exited ${task.name}`),
    };
    const main = async (): Promise<void> => {
      expect(getRunningLoop().debug).toBe(true);
      await sleep(0);
      seen.push('woken');
    };
    await run(main, { policy: testPolicy(), debug: true, instruments: [instrument] });
    expect(seen).toEqual([
      'before',
      'spawned main',
      'step',
      'stepped',
      'step',
      'woken',
      'exited main',
      'stepped',
      'after',
    ]);
  });

  test('leaves no listener of signals behind', async () => {
    const before = process.listenerCount('SIGINT');
    let during = 0;
    await run(
      () => {
        during = process.listenerCount('SIGINT');
      },
      { policy: testPolicy(), handleSignals: ['SIGINT'] },
    );
    expect([during - before, process.listenerCount('SIGINT') - before]).toEqual([1, 0]);
  });
});

describe('Runner', () => {
  test('runs several mains on one loop and keeps tasks in between', async () => {
    const runner = new Runner({ policy: testPolicy(), ...options });
    const { task } = await runner.run(() => ({ task: createTask(() => sleep(3, 'kept')) }));
    expect(await runner.run(async () => await task)).toBe('kept');
    expect(runner.loop.closed).toBe(false);
    await runner.close();
    await runner.close();
    expect(runner.loop.closed).toBe(true);
    expect(await failure(runner.run(() => 1))).toBeInstanceOf(InvalidStateError);
  });

  test('is closed by await using, which cancels what is left', async () => {
    let cancelled = false;
    {
      await using runner = new Runner({ policy: testPolicy(), ...options });
      await runner.run(() => {
        createTask({ eagerStart: true }, () =>
          sleepForever().catch(() => {
            cancelled = true;
          }),
        );
      });
    }
    expect(cancelled).toBe(true);
  });
});

// covers: asyncio/get-running-loop
describe('getRunningLoop and getEventLoop', () => {
  test('getRunningLoop throws outside of a run', () => {
    expect(() => getRunningLoop()).toThrow(InvalidStateError);
  });

  test('both give the loop of the task, and of callbacks', async () => {
    await inRun(async () => {
      const loop = getRunningLoop();
      expect(getEventLoop()).toBe(loop);
      const seen: boolean[] = [];
      loop.callSoon(() => seen.push(getRunningLoop() === loop, currentTask() === null));
      await checkpoint();
      expect(seen).toEqual([true, true]);
    });
  });

  test('the loop makes tasks and futures', async () => {
    await inRun(async () => {
      const loop = getRunningLoop();
      const future = loop.createFuture<number>();
      loop.callSoon(() => future.setResult(1));
      expect(await future).toBe(1);
      expect(await loop.createTask(async () => 2, { name: 'mine' })).toBe(2);
      await loop.shutdownAsyncGenerators();
    });
  });
});

// The program of these tests chooses no policy.
describe.skipIf(inMemory)('a process', () => {
  const source = new URL('./run-process.ts', import.meta.url);
  const loader = new URL('./ts-loader.mjs', import.meta.url);

  function runProcess(mode: string): { status: number | null; signal: string | null; out: string } {
    // Node 26 deprecates the way the loader is registered; Node 20 has no other.
    const flags = ['--disable-warning=DEP0205', '--import', fileURLToPath(loader)];
    const args = [...flags, fileURLToPath(source), mode];
    const result = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 });
    return { status: result.status, signal: result.signal, out: result.stdout + result.stderr };
  }

  test('ends by itself after run', () => {
    expect(runProcess('plain')).toEqual({ status: 0, signal: null, out: 'done\n' });
  }, 25_000);

  test('stays alive while main waits for nothing but a signal, and ends by it', () => {
    const { signal, out } = runProcess('interrupt');
    expect([signal, out]).toEqual(['SIGINT', 'waiting\ncleaned up\n']);
  }, 25_000);

  test('ends at once by the second signal', () => {
    const { signal, out } = runProcess('twice');
    expect([signal, out]).toEqual(['SIGINT', 'waiting\nstuck\n']);
  }, 25_000);
});
