import { kill } from 'node:process';
import { describe, expect, test } from 'vitest';
import { CancelledError, ClosedResourceError } from '../../lib/base/errors.ts';
import type { ExceptionContext } from '../../lib/loop/event-loop.ts';
import { openChildren } from '../../lib/process/child.ts';
import {
  createSubprocessExec,
  createSubprocessShell,
  type Process,
} from '../../lib/process/process.ts';
import { runProcess } from '../../lib/process/run-process.ts';
import { gather, waitFor } from '../../lib/task/combinators.ts';
import { getEventLoop, getRunningLoop, Runner, run } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint, sleepForever } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { testPolicy } from '../support/policy.ts';
import { failure } from '../task/support.ts';
import {
  advance,
  exists,
  isStopped,
  openFds,
  polite,
  processTest,
  stubborn,
  turn,
  until,
} from './support.ts';

const pipes = { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' } as const;

/** A process that has said that it is ready. */
async function ready(script: string, killAfterMs?: number): Promise<Process> {
  const options = killAfterMs === undefined ? pipes : { ...pipes, killAfterMs };
  const process = await createSubprocessExec('sh', ['-c', script], options);
  expect(await process.stdout?.readLine()).toBe('ready');
  return process;
}

const waiting = 'echo ready; read -r line';

// covers: asyncio/create-subprocess-exec, trio/run-process
describe('signals to a process', () => {
  processTest('kill ends it: minus the signal is the code', async () => {
    const process = await ready(stubborn);
    process.kill();
    expect(await process.wait()).toBe(-9);
    expect([process.exitCode, process.exitSignal]).toEqual([null, 'SIGKILL']);
  });

  processTest('terminate asks it to end', async () => {
    const process = await ready(polite);
    process.terminate();
    expect(await process.wait()).toBe(7);
    expect(await process.stdout?.readLine()).toBe('bye');
  });

  processTest('sendSignal sends any other', async () => {
    const script = "trap 'echo hup' HUP; echo ready; until read -r word; do :; done; echo $word";
    const process = await ready(script);
    process.sendSignal('SIGHUP');
    expect(await process.stdout?.readLine()).toBe('hup');
    await process.stdin?.write('word\n');
    expect(await process.stdout?.readLine()).toBe('word');
    expect(await process.wait()).toBe(0);
  });

  processTest('do nothing after the end', async () => {
    const process = await createSubprocessExec('true');
    await process.wait();
    process.sendSignal('SIGHUP');
    process.terminate();
    process.kill();
    expect(await process.wait()).toBe(0);
  });

  processTest('do nothing to one that has ended and is not reaped yet', async () => {
    const process = await createSubprocessExec('true', [], pipes);
    process.kill();
    process.kill();
    expect([0, -9]).toContain(await process.wait());
  });

  processTest('an unknown name is a TypeError, before and after the end', async () => {
    const process = await ready(waiting);
    for (let i = 0; i < 2; i++) {
      expect(() => process.sendSignal('SIGFOO' as never)).toThrow(TypeError);
      expect(() => process.sendSignal(9 as never)).toThrow('Unknown signal: 9');
      process.kill();
      await process.wait();
    }
  });

  processTest('a shell that ends by a signal tells it, too', async () => {
    const process = await createSubprocessShell('kill -USR1 $$');
    expect(await process.wait()).toBe(-10);
    expect(process.exitSignal).toBe('SIGUSR1');
  });
});

describe('wait', () => {
  processTest('may be called by several tasks', async () => {
    const process = await ready(waiting);
    const tasks = [1, 2, 3].map(() => createTask(() => process.wait()));
    await checkpoint();
    await process.stdin?.writeEof();
    expect(await gather(...tasks)).toEqual([1, 1, 1]);
  });

  processTest('does not wait for whoever else holds the output', async () => {
    // The grandchild stops itself, so that it cannot end before the test has looked.
    const script = "sh -c 'echo $$; kill -STOP $$; echo late' & echo ready; exit 4";
    const process = await createSubprocessShell(script, pipes);
    const lines = [await process.stdout?.readLine(), await process.stdout?.readLine()];
    expect(await process.wait()).toBe(4);
    for (let i = 0; i < 5; i++) await turn();
    expect(process.stdout?.atEof).toBe(false);
    const pid = Number(lines.find((line) => line !== 'ready'));
    await until(() => isStopped(pid));
    kill(pid, 'SIGCONT');
    expect(await process.stdout?.readLine()).toBe('late');
    expect(await process.stdout?.readLine()).toBe(null);
  });

  processTest('cancelled leaves the process alone, and the other waits', async () => {
    const process = await ready(waiting);
    const other = createTask(() => process.wait());
    const task = createTask(() => process.wait());
    await checkpoint();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(await moveOnAfter(1, () => process.wait())).toBe(undefined);
    expect(exists(process.pid)).toBe(true);
    await process.stdin?.write('\n');
    expect([await other, await process.wait()]).toEqual([0, 0]);
  });

  processTest('gives way to a signal of its own', async () => {
    const process = await ready(waiting);
    const controller = new AbortController();
    const wait = process.wait({ signal: controller.signal });
    controller.abort('enough');
    expect(await failure(wait)).toBe('enough');
    expect(await failure(process.wait({ signal: controller.signal }))).toBe('enough');
    process.kill();
    await process.wait();
    expect(await failure(process.wait({ signal: controller.signal }))).toBe('enough');
  });

  processTest('with a time limit, then kill: the way of asyncio', async () => {
    const process = await ready(stubborn);
    expect((await failure(waitFor(() => process.wait(), 5))).code).toBe('ETIMEDOUT');
    process.kill();
    expect(await process.wait()).toBe(-9);
  });

  processTest('is refused in a cancelled scope, also after the end', async () => {
    const process = await createSubprocessExec('true');
    await process.wait();
    const scope = new CancelScope();
    scope.cancel();
    await scope.run(() => process.wait());
    expect(scope.cancelledCaught).toBe(true);
  });
});

// covers: seeds/C47, trio/run-process
describe('leaving the block of a process', () => {
  processTest('ends it, and waits for that', async () => {
    let pid = 0;
    {
      await using process = await ready(polite);
      pid = process.pid;
    }
    expect(exists(pid)).toBe(false);
  });

  processTest('reads and drops what it writes while it ends', async () => {
    const script = "trap 'head -c 500000 /dev/zero; exit 3' TERM; echo ready; read -r line";
    const process = await ready(script);
    await process[Symbol.asyncDispose]();
    expect(process.exitCode).toBe(3);
  });

  processTest('kills a process that ignores SIGTERM, after killAfterMs', async () => {
    const process = await ready(stubborn, 60_000);
    const disposing = process[Symbol.asyncDispose]();
    await advance(59_000);
    for (let i = 0; i < 10; i++) await turn();
    expect(exists(process.pid)).toBe(true);
    await advance(1_000);
    await disposing;
    expect(process.exitSignal).toBe('SIGKILL');
  });

  processTest('gives it five seconds by default', async () => {
    const process = await ready(stubborn);
    const disposing = process[Symbol.asyncDispose]();
    await advance(5_000);
    await disposing;
    expect(process.exitSignal).toBe('SIGKILL');
  });

  processTest('with killAfterMs 0 kills at once', async () => {
    const process = await ready(polite, 0);
    await process[Symbol.asyncDispose]();
    expect(process.exitSignal).toBe('SIGKILL');
  });

  processTest('with killAfterMs Infinity never kills', async () => {
    const process = await ready(stubborn, Infinity);
    const disposing = process[Symbol.asyncDispose]();
    for (let i = 0; i < 20; i++) await turn();
    expect([exists(process.pid), getRunningLoop().metrics().timers]).toEqual([true, 1]);
    process.kill();
    await disposing;
  });

  processTest('cannot be cancelled; the cancellation comes afterwards', async () => {
    const process = await ready(polite);
    const steps: string[] = [];
    const task = createTask(async () => {
      await process[Symbol.asyncDispose]();
      steps.push('ended');
      await checkpoint();
      steps.push('not reached');
    });
    await checkpoint();
    task.cancel();
    await task.wait();
    expect([steps, task.cancelled, process.exitCode]).toEqual([['ended'], true, 7]);
  });

  processTest('ends it in a cancelled scope and a cancelled task', async () => {
    for (const kind of ['edge', 'level']) {
      const scope = new CancelScope();
      let process: Process | undefined;
      const task = createTask(() =>
        scope.run(async () => {
          await using owned = await ready(polite);
          process = owned;
          await sleepForever();
        }),
      );
      await until(() => process !== undefined);
      if (kind === 'edge') task.cancel();
      else scope.cancel();
      await task.wait();
      expect([process?.exitCode, task.cancelled]).toEqual([7, kind === 'edge']);
    }
  });

  processTest('may be done twice, at once or later', async () => {
    const process = await ready(polite);
    await Promise.all([process[Symbol.asyncDispose](), process[Symbol.asyncDispose]()]);
    await process[Symbol.asyncDispose]();
    expect(process.exitCode).toBe(7);
  });

  processTest('of one that has ended closes its pipes and drops what is in them', async () => {
    const process = await createSubprocessExec('echo', ['unread'], pipes);
    await process.wait();
    await process[Symbol.asyncDispose]();
    const read = process.stdout?.read() ?? turn();
    expect(await failure(read)).toBeInstanceOf(ClosedResourceError);
  });

  processTest('ends reads that others wait for', async () => {
    const process = await ready(stubborn, 1);
    const reading = failure(process.stdout?.read() ?? turn());
    await process[Symbol.asyncDispose]();
    expect(await reading).toBeInstanceOf(ClosedResourceError);
  });

  processTest('wakes a process that is stopped only to kill it', async () => {
    const process = await ready(polite, 1);
    process.sendSignal('SIGSTOP');
    await until(() => isStopped(process.pid));
    await process[Symbol.asyncDispose]();
    expect(process.exitSignal).toBe('SIGKILL');
  });

  processTest('does not hang on a grandchild that keeps the pipes', async () => {
    // It ends by the end of the input, which is closed last.
    const process = await ready('exec 3<&0; cat <&3 & echo ready; wait');
    await process[Symbol.asyncDispose]();
    expect(process.exitSignal).toBe('SIGTERM');
  });
});

describe('the end of a run', () => {
  test('kills a process that was left running, and closes its pipes', async () => {
    const fds = openFds();
    let pid = 0;
    await run(
      async () => {
        const process = await ready(stubborn);
        pid = process.pid;
      },
      { policy: testPolicy(), handleSignals: false },
    );
    expect(exists(pid)).toBe(false);
    await until(() => openFds() <= fds);
  });

  test('closes pipes of one that has ended and was not read', async () => {
    const runner = new Runner({ policy: testPolicy() });
    await runner.run(async () => {
      const process = await createSubprocessExec('head', ['-c', '100000', '/dev/zero'], pipes);
      await process.wait();
    });
    expect(openChildren(runner.loop)).toBe(1);
    await runner.close();
    expect(openChildren(runner.loop)).toBe(0);
  });

  test('tells of such a process in debug mode', async () => {
    const seen: ExceptionContext[] = [];
    await run(
      async () => {
        getRunningLoop().setExceptionHandler((_loop, context) => seen.push(context));
        await ready(waiting);
      },
      { policy: testPolicy(), handleSignals: false, debug: true },
    );
    expect(seen.map((context) => context.message)).toEqual([
      expect.stringMatching(/^The process \d+ \(sh\) outlived its loop: killed$/),
    ]);
  });

  test('lets a process go on between two runs of one runner', async () => {
    await using runner = new Runner({ policy: testPolicy() });
    const process = await runner.run(async () => ({ process: await ready(waiting) }));
    await runner.run(async () => {
      await process.process.stdin?.writeEof();
      expect(await process.process.wait()).toBe(1);
    });
  });

  test('at top level, outside of a run, everything works as well', async () => {
    const process = await ready(polite);
    expect(openChildren(getEventLoop())).toBe(1);
    await process[Symbol.asyncDispose]();
    expect(process.exitCode).toBe(7);
    const { stdout } = await runProcess(['echo', 'x']);
    expect(stdout.toString()).toBe('x\n');
    await until(() => openChildren(getEventLoop()) === 0);
  });
});

describe('many', () => {
  test('1,000 children in a row leave no descriptor and no zombie', async () => {
    await run(
      async () => {
        await runProcess(['true'], { stderr: 'stdout', input: 'x' });
        const fds = openFds();
        for (let i = 0; i < 1_000; i++) {
          // All ways in turn: none may leak.
          if (i % 4 === 0) {
            const process = await createSubprocessExec('true', [], pipes);
            await process.wait();
            await process[Symbol.asyncDispose]();
          } else if (i % 4 === 1) {
            await runProcess(['true'], { input: 'x' });
          } else if (i % 4 === 2) {
            await runProcess(['true'], { stderr: 'stdout' });
          } else {
            await failure(runProcess(['uvio-no-such-program'], { input: 'x' }));
          }
        }
        const loop = getRunningLoop();
        await until(() => openFds() <= fds && openChildren(loop) === 0);
        const { stdout } = await runProcess(['ps', '-o', 'stat=', '--ppid', `${process.pid}`]);
        expect(stdout.toString().match(/^Z/m)).toBe(null);
      },
      { policy: testPolicy(), handleSignals: false },
    );
  }, 60_000);

  processTest('50 at once keep their outputs apart', async () => {
    const numbers = Array.from({ length: 50 }, (_, i) => `${i}`);
    const results = await gather(
      numbers.map((number) => () => runProcess(['sh', '-c', 'cat'], { input: number })),
    );
    expect(results.map(({ stdout }) => stdout.toString())).toEqual(numbers);
  });
});
