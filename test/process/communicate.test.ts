import { describe, expect } from 'vitest';
import {
  BusyResourceError,
  CancelledError,
  ClosedResourceError,
  InvalidStateError,
  LimitOverrunError,
} from '../../lib/base/errors.ts';
import { createSubprocessExec, type Process } from '../../lib/process/process.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure } from '../task/support.ts';
import { exists, isStopped, processTest, turn, until } from './support.ts';

const pipes = { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' } as const;

function shell(script: string): Promise<Process> {
  return createSubprocessExec('sh', ['-c', script], pipes);
}

// covers: asyncio/create-subprocess-exec, seeds/C47
describe('communicate', () => {
  processTest('writes the input and gives both outputs', async () => {
    const process = await shell('cat; echo err >&2; exit 5');
    const { stdout, stderr } = await process.communicate('text ü');
    expect([stdout.toString(), stderr.toString()]).toEqual(['text ü', 'err\n']);
    expect(process.exitCode).toBe(5);
  });

  processTest('carries far more than the pipes hold, both ways at once', async () => {
    const process = await shell('cat');
    const input = Buffer.alloc(5_000_000, '0123456789');
    const { stdout } = await process.communicate(input);
    expect(stdout.equals(input)).toBe(true);
  });

  processTest('reads both outputs side by side', async () => {
    const process = await shell('head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero');
    const { stdout, stderr } = await process.communicate();
    expect([stdout.length, stderr.length]).toEqual([1_000_000, 1_000_000]);
  });

  processTest('without an input closes standard input', async () => {
    const process = await shell('cat; echo end');
    expect((await process.communicate()).stdout.toString()).toBe('end\n');
  });

  processTest('takes an empty input', async () => {
    const process = await shell('wc -c');
    expect((await process.communicate('')).stdout.toString().trim()).toBe('0');
  });

  processTest('follows what was written and read before', async () => {
    const process = await createSubprocessExec('cat', [], pipes);
    await process.stdin?.write('a\nb');
    expect(await process.stdout?.readLine()).toBe('a');
    expect((await process.communicate('c')).stdout.toString()).toBe('bc');
  });

  processTest('gives nothing for what is not a pipe', async () => {
    const options = { stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' } as const;
    const process = await createSubprocessExec('sh', ['-c', 'echo x; echo y >&2'], options);
    const { stdout, stderr } = await process.communicate();
    expect([stdout.length, stderr.toString()]).toEqual([0, 'y\n']);
  });

  processTest('gives what is left once the process has ended', async () => {
    const process = await shell('echo out');
    await process.wait();
    expect((await process.communicate()).stdout.toString()).toBe('out\n');
    expect((await process.communicate()).stdout.length).toBe(0);
  });

  processTest('does not mind a process that does not read its input', async () => {
    for (const script of ['exit 0', 'exec <&-; echo x', ':']) {
      const process = await shell(script);
      await process.communicate('x'.repeat(1_000_000));
      expect(process.exitCode).toBe(0);
    }
  });

  processTest('waits for all who hold the output, as long as they do', async () => {
    // The grandchild outlives the process and ends when its own input does.
    const process = await shell('exec 3<&0; { read -r line <&3; echo late; } & echo early');
    const { stdout } = process;
    expect(await stdout?.readLine()).toBe('early');
    await process.wait();
    expect((await process.communicate()).stdout.toString()).toBe('late\n');
  });

  processTest('refuses an input without a pipe for it', async () => {
    const process = await createSubprocessExec('true', [], { stdin: 'ignore' });
    expect(await failure(process.communicate('x'))).toBeInstanceOf(InvalidStateError);
    expect(await process.communicate()).toEqual({
      stdout: Buffer.alloc(0),
      stderr: Buffer.alloc(0),
    });
  });

  processTest('refuses an input after the end of inputs', async () => {
    const process = await shell('cat');
    await process.stdin?.writeEof();
    expect(await failure(process.communicate('x'))).toBeInstanceOf(ClosedResourceError);
    await process.communicate();
  });

  processTest('refuses what is not data, and a wrong bound', async () => {
    const process = await shell('cat');
    expect((await failure(process.communicate(5 as never))).code).toBe('ERR_INVALID_ARG_TYPE');
    const wrong = process.communicate('x', { maxBytes: -1 });
    expect((await failure(wrong)).code).toBe('ERR_OUT_OF_RANGE');
    expect((await process.communicate('x')).stdout.toString()).toBe('x');
  });

  processTest('ends at maxBytes of one output, and loses nothing', async () => {
    await using process = await shell('printf 12345678; cat');
    const error = await failure(process.communicate(undefined, { maxBytes: 7 }));
    expect(error).toBeInstanceOf(LimitOverrunError);
    expect((await process.communicate()).stdout.toString()).toBe('12345678');
  });

  processTest('allows as much as maxBytes', async () => {
    const process = await shell('printf 1234567; printf 1234567 >&2');
    const { stdout, stderr } = await process.communicate(undefined, { maxBytes: 7 });
    expect([stdout.length, stderr.length]).toEqual([7, 7]);
  });

  processTest('stops a process that writes for ever, at maxBytes', async () => {
    await using process = await createSubprocessExec('yes', [], pipes);
    const error = await failure(process.communicate('', { maxBytes: 100_000 }));
    expect(error).toBeInstanceOf(LimitOverrunError);
    expect(error.bufferedBytes).toBeLessThan(400_000);
  });

  processTest('is the only reader', async () => {
    const process = await shell('cat');
    const first = process.communicate('input');
    expect(await failure(process.stdout?.read() ?? turn())).toBeInstanceOf(BusyResourceError);
    expect((await first).stdout.toString()).toBe('input');
  });
});

describe('communicate, cancelled', () => {
  processTest('leaves the process alone and keeps what was read', async () => {
    const process = await shell('echo one; kill -STOP $$; cat; echo end');
    const task = createTask(() => process.communicate('two\n'));
    await until(() => isStopped(process.pid));
    await turn();
    await task.cancelAndWait();
    expect([task.cancelled, exists(process.pid)]).toEqual([true, true]);
    process.sendSignal('SIGCONT');
    expect((await process.communicate()).stdout.toString()).toBe('one\ntwo\nend\n');
    expect(process.exitCode).toBe(0);
  });

  processTest('by a scope, or a signal, the same', async () => {
    const process = await shell('kill -STOP $$; cat');
    const scope = new CancelScope();
    await scope.run(async () => {
      setImmediate(() => scope.cancel());
      await process.communicate('word\n');
    });
    expect(scope.cancelledCaught).toBe(true);
    const controller = new AbortController();
    const waiting = process.communicate(undefined, { signal: controller.signal });
    controller.abort('reason');
    expect(await failure(waiting)).toBe('reason');
    await until(() => isStopped(process.pid));
    process.sendSignal('SIGCONT');
    expect((await process.communicate()).stdout.toString()).toBe('word\n');
  });

  processTest('before it begins writes nothing', async () => {
    const process = await shell('cat');
    const scope = new CancelScope();
    scope.cancel();
    let error: unknown;
    await scope.run(async () => {
      error = await failure(process.communicate('lost'));
      throw error;
    });
    expect(error).toBeInstanceOf(CancelledError);
    expect((await process.communicate('kept')).stdout.toString()).toBe('kept');
  });

  processTest('reads again, even after the process has ended', async () => {
    const process = await shell('echo x; read -r line');
    const task = createTask(() => process.communicate());
    task.cancel();
    await task.wait();
    await process.stdin?.writeEof();
    await until(() => process.exitCode !== null);
    expect((await process.communicate()).stdout.toString()).toBe('x\n');
  });
});
