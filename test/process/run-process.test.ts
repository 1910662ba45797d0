import { getEventListeners } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { CancelledError, ProcessError, TimeoutError } from '../../lib/base/errors.ts';
import { openChildren } from '../../lib/process/child.ts';
import { runProcess } from '../../lib/process/run-process.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure } from '../task/support.ts';
import { advance, exists, processTest, turn, until } from './support.ts';

function sh(script: string): [string, ...string[]] {
  return ['sh', '-c', script];
}

/** A file that a child writes when it is ready, and tells its pid by. */
class Sign implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'uvio-test-'));
  readonly path: string = join(this.folder, 'pid');

  /** Put before a script. */
  get write(): string {
    return `echo $$ > ${this.path}.new; mv ${this.path}.new ${this.path};`;
  }

  async pid(): Promise<number> {
    let text = '';
    await until(() => {
      try {
        text = readFileSync(this.path, 'utf8');
        return true;
      } catch {
        return false;
      }
    });
    return Number(text);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

/** Ends with code 9 when it is asked to. */
function polite(sign: Sign): string {
  return `trap 'echo bye; exit 9' TERM; echo out; echo err >&2; ${sign.write} ${forEver}`;
}

function stubborn(sign: Sign): string {
  return `trap '' TERM; echo out; ${sign.write} ${forEver}`;
}

const forEver = 'while :; do :; done';

// covers: trio/run-process, seeds/C47
describe('runProcess', () => {
  processTest('gives code and outputs', async () => {
    const result = await runProcess(sh('echo out; echo err >&2'));
    expect([result.stdout.toString(), result.stderr.toString()]).toEqual(['out\n', 'err\n']);
    expect([result.exitCode, result.exitSignal]).toEqual([0, null]);
  });

  processTest('writes the input; without one there is nothing to read', async () => {
    const input = Buffer.alloc(3_000_000, 'input');
    expect((await runProcess(['cat'], { input })).stdout.equals(input)).toBe(true);
    expect((await runProcess(['cat'])).stdout.length).toBe(0);
  });

  processTest('does not mind who does not read the input', async () => {
    const { exitCode } = await runProcess(['true'], { input: 'x'.repeat(1_000_000) });
    expect(exitCode).toBe(0);
  });

  processTest('joins the outputs when asked to', async () => {
    const result = await runProcess(sh('echo a; echo b >&2; echo c'), { stderr: 'stdout' });
    expect([result.stdout.toString(), result.stderr.length]).toEqual(['a\nb\nc\n', 0]);
  });

  processTest('sends outputs elsewhere when asked to', async () => {
    using sign = new Sign();
    const fd = openSync(sign.path, 'w');
    const result = await runProcess(sh('echo x; echo y >&2'), { stdout: fd, stderr: 'ignore' });
    closeSync(fd);
    expect([result.stdout.length, result.stderr.length]).toEqual([0, 0]);
    expect(readFileSync(sign.path, 'utf8')).toBe('x\n');
  });

  processTest('rejects with ProcessError for another code than 0', async () => {
    const error = await failure(runProcess(sh('echo out; echo err >&2; exit 3')));
    expect(error).toBeInstanceOf(ProcessError);
    expect(error).toMatchObject({
      name: 'ProcessError',
      code: 'ERR_UVIO_PROCESS',
      message: "'sh' ended with code 3",
      exitCode: 3,
      exitSignal: null,
      stdout: Buffer.from('out\n'),
      stderr: Buffer.from('err\n'),
    });
  });

  processTest('rejects with ProcessError for an end by a signal', async () => {
    const error = await failure(runProcess(sh('kill -ABRT $$')));
    expect(error).toMatchObject({
      message: "'sh' was ended by SIGABRT",
      exitCode: -6,
      exitSignal: 'SIGABRT',
    });
  });

  processTest('with check: false gives any code', async () => {
    const result = await runProcess(sh('exit 3'), { check: false });
    expect(result.exitCode).toBe(3);
  });

  processTest('rejects with the error of Node when nothing can be started', async () => {
    expect((await failure(runProcess(['uvio-no-such-program']))).code).toBe('ENOENT');
    const wrong: [unknown, object][] = [
      [[], {}],
      ['true', {}],
      [['true', 5], {}],
      [['true'], { input: 5 }],
      [['true'], { timeoutMs: 'soon' }],
    ];
    for (const [command, options] of wrong) {
      const error = await failure(runProcess(command as [string], options));
      expect(error.code).toBe('ERR_INVALID_ARG_TYPE');
    }
  });

  processTest('waits for all who write to the output', async () => {
    // The grandchild's input ends when the process has ended.
    const script = 'exec 3<&0; { cat <&3 >&2; echo late; } & echo early';
    const { stdout } = await runProcess(sh(script), { input: 'x' });
    expect(stdout.toString().split('\n').sort()).toEqual(['', 'early', 'late']);
  });
});

// covers: trio/run-process, seeds/C47
describe('runProcess, cancelled', () => {
  processTest('rejects only when the process has ended', async () => {
    using sign = new Sign();
    const task = createTask(() => runProcess(sh(stubborn(sign))));
    const pid = await sign.pid();
    task.cancel();
    await checkpoint();
    expect([task.done, exists(pid)]).toEqual([false, true]);
    process.kill(pid, 'SIGKILL');
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect(exists(pid)).toBe(false);
  });

  processTest('by a scope does the same, and by a failing sibling', async () => {
    using first = new Sign();
    const scope = new CancelScope();
    const task = createTask(() => scope.run(() => runProcess(sh(polite(first)))));
    const pid = await first.pid();
    scope.cancel();
    expect(await task).toBe(undefined);
    expect(exists(pid)).toBe(false);
    using second = new Sign();
    let sibling = 0;
    const error = await failure(
      taskGroup(async (group) => {
        group.createTask(() => runProcess(sh(polite(second))));
        sibling = await second.pid();
        throw new RangeError('mine');
      }),
    );
    expect([error.errors[0].message, exists(sibling)]).toEqual(['mine', false]);
  });

  processTest('kills one that ignores SIGTERM after killAfterMs', async () => {
    using sign = new Sign();
    const options = { killAfterMs: 30_000 };
    const task = createTask(() => runProcess(sh(stubborn(sign)), options));
    const pid = await sign.pid();
    task.cancel();
    await advance(30_000);
    await task.wait();
    expect([task.cancelled, exists(pid)]).toEqual([true, false]);
  });

  processTest('a second cancellation does not hurry it', async () => {
    using sign = new Sign();
    const options = { killAfterMs: 20 };
    const task = createTask(() => runProcess(sh(stubborn(sign)), options));
    const pid = await sign.pid();
    task.cancel();
    await checkpoint();
    task.cancel();
    await checkpoint();
    expect(task.done).toBe(false);
    await task.wait();
    expect(exists(pid)).toBe(false);
  });

  processTest('by its signal rejects with the reason, after the end', async () => {
    using sign = new Sign();
    const controller = new AbortController();
    const { signal } = controller;
    const running = failure(runProcess(sh(polite(sign)), { signal }));
    const pid = await sign.pid();
    controller.abort('reason');
    expect([await running, exists(pid)]).toEqual(['reason', false]);
    expect(await failure(runProcess(['true'], { signal }))).toBe('reason');
  });

  processTest('leaves no listener on its signal', async () => {
    const { signal } = new AbortController();
    await runProcess(['true'], { signal });
    await failure(runProcess(['false'], { signal }));
    await failure(runProcess(['cat'], { signal, timeoutMs: 0 }));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  processTest('before it begins starts nothing', async () => {
    const scope = new CancelScope();
    scope.cancel();
    await scope.run(() => runProcess(['true']));
    expect([scope.cancelledCaught, openChildren(getRunningLoop())]).toEqual([true, 0]);
  });

  processTest('does not wait for others who hold the output', async () => {
    using sign = new Sign();
    // The grandchild has no input that could end: it is ended by the closed pipe.
    const script = `${sign.write} yes & wait`;
    const task = createTask(() => runProcess(sh(script)));
    await sign.pid();
    task.cancel();
    await task.wait();
    expect(task.cancelled).toBe(true);
  });

  processTest('a deadline around it ends it, too', async () => {
    using sign = new Sign();
    const result = moveOnAfter(60_000, () => runProcess(sh(polite(sign))));
    const pid = await sign.pid();
    await advance(60_000);
    expect([await result, exists(pid)]).toEqual([undefined, false]);
  });
});

// covers: trio/run-process
describe('runProcess with timeoutMs', () => {
  processTest('ends the process and gives its output so far', async () => {
    using sign = new Sign();
    const running = failure(runProcess(sh(polite(sign)), { timeoutMs: 60_000 }));
    await sign.pid();
    await advance(60_000);
    const error = await running;
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error).toMatchObject({
      code: 'ETIMEDOUT',
      message: "'sh' did not end within 60000 ms",
      cause: {
        name: 'ProcessError',
        exitCode: 9,
        stdout: Buffer.from('out\nbye\n'),
        stderr: Buffer.from('err\n'),
      },
    });
  });

  processTest('kills it when it does not end within killAfterMs more', async () => {
    using sign = new Sign();
    const options = { timeoutMs: 60_000, killAfterMs: 20_000 };
    const running = failure(runProcess(sh(stubborn(sign)), options));
    const pid = await sign.pid();
    await advance(60_000);
    await turn();
    expect(exists(pid)).toBe(true);
    await advance(20_000);
    const error = await running;
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error.cause).toMatchObject({ exitSignal: 'SIGKILL', stdout: Buffer.from('out\n') });
  });

  processTest('is no matter to one that ends before', async () => {
    const { stdout } = await runProcess(['echo', 'x'], { timeoutMs: 9_000 });
    expect(stdout.toString()).toBe('x\n');
    // That of the run itself.
    expect(getRunningLoop().metrics().timers).toBe(1);
  });

  processTest('of 0 gives no time at all', async () => {
    const error = await failure(runProcess(['cat'], { timeoutMs: 0 }));
    expect(error).toBeInstanceOf(TimeoutError);
  });

  processTest('gives way to a cancellation from outside', async () => {
    using sign = new Sign();
    const task = createTask(() => runProcess(sh(polite(sign)), { timeoutMs: 60_000 }));
    await sign.pid();
    task.cancel();
    await task.wait();
    expect(task.cancelled).toBe(true);
  });
});
