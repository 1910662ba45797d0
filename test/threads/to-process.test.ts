import { availableParallelism } from 'node:os';
import { describe, expect, test } from 'vitest';
import { BrokenResourceError, CancelledError, ClosedResourceError } from '../../lib/base/errors.ts';
import { gather } from '../../lib/task/combinators.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { toProcess } from '../../lib/threads/default-executor.ts';
import '../../lib/threads/loop-methods.ts';
import { failure, inRun, runTest } from '../task/support.ts';

const pidOf = (): number => process.pid;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const spin = (): void => {
  for (;;);
};

// covers: curio/run-in-thread
describe('toProcess', () => {
  runTest('takes no message of the work itself for its result', async () => {
    const talks = (value: string): string => {
      for (const message of ['progress', { ok: true, value: 'forged' }]) process.send?.(message);
      return value;
    };
    expect(await toProcess(talks, 'a')).toBe('a');
    expect(await toProcess(talks, 'b')).toBe('b');
  });

  runTest('gives the result of a function that ran in another process', async () => {
    const [pid, sum] = await toProcess((a: number, b: number) => [process.pid, a + b], 1, 2);
    expect(sum).toBe(3);
    expect(pid).not.toBe(process.pid);
  });

  runTest('copies arguments and results as structured clones', async () => {
    const given = { when: new Date(5), map: new Map([[1, new Set(['a'])]]), big: 7n };
    expect(await toProcess((value: typeof given) => value, given)).toEqual(given);
  });

  runTest('calls the default export of a module', async () => {
    const url = new URL('programs/double.mjs', import.meta.url);
    expect(await toProcess<number, [number]>(url, 4)).toBe(8);
  });

  runTest('uses a process again', async () => {
    expect(await toProcess(pidOf)).toBe(await toProcess(pidOf));
  });

  runTest('has at most as many processes as cores', async () => {
    const pids = await gather(
      Array.from({ length: availableParallelism() * 3 }, () => () => toProcess(pidOf)),
    );
    expect(new Set(pids).size).toBeLessThanOrEqual(availableParallelism());
  });

  runTest('passes errors on', async () => {
    const error = await failure(
      toProcess(() => {
        throw Object.assign(new RangeError('there', { cause: new TypeError('why') }), {
          code: 'E',
        });
      }),
    );
    expect(error).toBeInstanceOf(RangeError);
    expect([error.message, error.code, error.cause.name]).toEqual(['there', 'E', 'TypeError']);
  });

  runTest('refuses what cannot be copied, and goes on', async () => {
    expect((await failure(toProcess(Math.max))).code).toBe('ERR_UVIO_NOT_SENDABLE');
    const argument = await failure(
      toProcess(
        (fn: unknown) => fn,
        () => 1,
      ),
    );
    expect(argument.code).toBe('ERR_UVIO_NOT_SENDABLE');
    expect((await failure(toProcess(() => () => 1))).code).toBe('ERR_UVIO_NOT_SENDABLE');
    expect(await toProcess((a: number) => a, 1)).toBe(1);
  });

  runTest('fails when the process ends or is killed, and the next one gets a new one', async () => {
    const exited = await failure(toProcess(() => process.exit(4)));
    expect(exited).toBeInstanceOf(BrokenResourceError);
    expect(exited.message).toBe('The process ended with exit code 4 before its job was done');
    const killed = await failure(
      toProcess(() => {
        process.kill(process.pid, 'SIGKILL');
        return new Promise(() => {});
      }),
    );
    expect(killed.message).toBe('The process was ended by SIGKILL before its job was done');
    expect(await toProcess((a: number) => a, 1)).toBe(1);
  });
});

runTest('toProcess fails when no process can start, and works when one can', async () => {
  const { execPath } = process;
  process.execPath = '/no/such/node';
  try {
    const error = await failure(toProcess(pidOf));
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause.code).toBe('ENOENT');
  } finally {
    process.execPath = execPath;
  }
  expect(await toProcess((a: number) => a, 1)).toBe(1);
});

describe('a cancelled toProcess', () => {
  runTest('ends the process in the middle of its work', async () => {
    const pid = await toProcess(pidOf);
    const task = createTask(() => toProcess(spin));
    await sleep(5);
    task.cancel('why');
    const error = await failure(task);
    expect(error).toBeInstanceOf(CancelledError);
    expect([error.reason, isAlive(pid)]).toEqual(['why', false]);
    expect(await toProcess(pidOf)).not.toBe(pid);
  });

  runTest('ends the process at a deadline', async () => {
    const pid = await toProcess(pidOf);
    expect(await moveOnAfter(5, () => toProcess(spin))).toBeUndefined();
    expect(isAlive(pid)).toBe(false);
  });

  runTest('does not start when it is cancelled before', async () => {
    await new CancelScope().run(async (scope) => {
      scope.cancel();
      await toProcess(() => process.exit(1));
    });
  });

  runTest('may be cancelled while the process starts', async () => {
    const task = createTask(() => toProcess(spin));
    await sleep(0);
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
  });
});

test('the end of a run ends its processes', async () => {
  const pids = await inRun(() => gather([() => toProcess(pidOf), () => toProcess(pidOf)]));
  expect(pids.map(isAlive)).toEqual(pids.map(() => false));
});

// covers: asyncio/shutdown-asyncgens
runTest('shutdownDefaultExecutor ends processes, too', async () => {
  const pid = await toProcess(pidOf);
  await getRunningLoop().shutdownDefaultExecutor();
  expect(isAlive(pid)).toBe(false);
  expect(await failure(toProcess(pidOf))).toBeInstanceOf(ClosedResourceError);
});
