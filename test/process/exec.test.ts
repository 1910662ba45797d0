import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cwd, env } from 'node:process';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import {
  BrokenResourceError,
  BusyResourceError,
  CancelledError,
  ClosedResourceError,
} from '../../lib/base/errors.ts';
import { openChildren } from '../../lib/process/child.ts';
import { createSubprocessExec, createSubprocessShell } from '../../lib/process/process.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure } from '../task/support.ts';
import { exists, node, processTest, turn } from './support.ts';

const folder = mkdtempSync(join(tmpdir(), 'uvio-test-'));
const { TMPDIR } = env;
beforeAll(() => {
  env['TMPDIR'] = folder;
});
afterAll(() => {
  if (TMPDIR === undefined) delete env['TMPDIR'];
  else env['TMPDIR'] = TMPDIR;
  rmSync(folder, { recursive: true });
});

/** Folders in which the two ends of joined outputs met. */
function tempFiles(): string[] {
  return readdirSync(folder).filter((name) => name.startsWith('uvio-'));
}

const pipes = { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' } as const;
const quiet = { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' } as const;

// covers: asyncio/create-subprocess-exec, seeds/C47
describe('createSubprocessExec', () => {
  processTest('starts a program and gives its exit code', async () => {
    const process = await createSubprocessExec('/bin/sh', ['-c', 'exit 3']);
    expect(process.pid).toBeGreaterThan(0);
    expect([process.exitCode, process.exitSignal]).toEqual([null, null]);
    expect([process.stdin, process.stdout, process.stderr]).toEqual([null, null, null]);
    expect(await process.wait()).toBe(3);
    expect([process.exitCode, process.exitSignal]).toEqual([3, null]);
    expect(await process.wait()).toBe(3);
  });

  processTest('leaves no zombie', async () => {
    const process = await createSubprocessExec('true');
    await process.wait();
    expect(exists(process.pid)).toBe(false);
  });

  processTest('hands arguments over as they are', async () => {
    const args = ['a b', '', '$HOME', '"', "'", '*', 'ü'];
    const program = 'console.log(JSON.stringify(process.argv.slice(1)))';
    const options = { stdout: 'pipe' } as const;
    const process = await createSubprocessExec(node, ['-e', program, '--', ...args], options);
    const { stdout } = await process.communicate();
    expect(JSON.parse(stdout.toString())).toEqual(args);
  });

  processTest('talks with the process line by line', async () => {
    const process = await createSubprocessExec('cat', [], { ...pipes, stderr: 'inherit' });
    for (const line of ['one', 'two', 'three']) {
      await process.stdin?.write(`${line}\n`);
      expect(await process.stdout?.readLine()).toBe(line);
    }
    await process.stdin?.writeEof();
    expect(await process.stdout?.read()).toBe(null);
    expect(process.stdout?.atEof).toBe(true);
    expect(await process.wait()).toBe(0);
  });

  processTest('keeps standard output and error apart', async () => {
    const process = await createSubprocessExec('sh', ['-c', 'echo out; echo err >&2'], pipes);
    expect(await process.stdout?.readLine()).toBe('out');
    expect(await process.stderr?.readLine()).toBe('err');
    await process.wait();
  });

  processTest('gives the lines of an output to a loop', async () => {
    const options = { stdout: 'pipe' } as const;
    const process = await createSubprocessExec('printf', ['1\\n2\\n3'], options);
    const lines: string[] = [];
    for await (const line of process.stdout?.lines() ?? []) lines.push(line);
    expect(lines).toEqual(['1', '2', '3']);
    expect(await process.wait()).toBe(0);
  });

  processTest('lets its output be read after its end', async () => {
    const process = await createSubprocessExec('echo', ['late'], { stdout: 'pipe' });
    await process.wait();
    for (let i = 0; i < 5; i++) await turn();
    expect(await process.stdout?.readLine()).toBe('late');
    expect(await process.stdout?.readLine()).toBe(null);
  });

  processTest('keeps more than a read-ahead for who reads after its end', async () => {
    // More than the read-ahead, and little enough for it and the kernel to hold.
    const size = 100_000;
    const options = { stdout: 'pipe' } as const;
    const process = await createSubprocessExec('head', ['-c', `${size}`, '/dev/zero'], options);
    await process.wait();
    for (let i = 0; i < 20; i++) await turn();
    expect((await process.stdout?.readAll())?.length).toBe(size);
  });

  processTest('holds a process back whose output is not read', async () => {
    await using process = await createSubprocessExec('yes', [], { stdout: 'pipe' });
    await process.stdout?.readExactly(10);
    const used = process.stdout as unknown as { handle: { fd: number } };
    expect(used.handle.fd).toBeGreaterThan(2);
    for (let i = 0; i < 200; i++) await turn();
    process.kill();
    await process.wait();
    // What was on the way: the read-ahead, a chunk of Node's or two, and the kernel's buffers.
    const rest = await process.stdout?.readAll();
    expect(rest?.length).toBeLessThan(2 ** 20);
  });

  processTest('makes a writer wait for a process that does not read', async () => {
    await using process = await createSubprocessExec('wc', ['-c'], { ...pipes, stderr: 'inherit' });
    const { stdin } = process;
    process.sendSignal('SIGSTOP');
    let written = false;
    const writing = stdin?.write(Buffer.alloc(2 ** 20)).then(() => {
      written = true;
    });
    for (let i = 0; i < 20; i++) await turn();
    expect([written, (stdin?.writeBufferBytes ?? 0) > 2 ** 19]).toEqual([false, true]);
    process.sendSignal('SIGCONT');
    await writing;
    expect(stdin?.writeBufferBytes).toBeLessThanOrEqual(16 * 1024);
    await stdin?.writeEof();
    expect(await process.stdout?.readLine()).toBe(`${2 ** 20}`);
    expect(await process.wait()).toBe(0);
  });

  processTest('tells a writer that the process closed its input', async () => {
    const script = 'exec <&-; echo closed; kill -STOP $$';
    await using process = await createSubprocessExec('sh', ['-c', script], pipes);
    expect(await process.stdout?.readLine()).toBe('closed');
    const { stdin } = process;
    const error = await failure(async () => {
      for (;;) {
        await stdin?.write('x'.repeat(65_536));
        await turn();
      }
    });
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause).toMatchObject({ code: 'EPIPE', syscall: 'write' });
    expect(await failure(stdin?.write('x') ?? Promise.resolve())).toBe(error);
    process.kill();
  });

  processTest('tells a writer that the process has ended', async () => {
    const process = await createSubprocessExec('true', [], { stdin: 'pipe' });
    await process.wait();
    const writing = process.stdin?.write('x') ?? Promise.resolve();
    expect(await failure(writing)).toBeInstanceOf(BrokenResourceError);
  });

  processTest('tells a waiting writer that the process has ended', async () => {
    const process = await createSubprocessExec('cat', [], { ...pipes, stderr: 'ignore' });
    process.sendSignal('SIGSTOP');
    const writing = failure(process.stdin?.write('x'.repeat(2 ** 20)) ?? Promise.resolve());
    const ending = failure(process.stdin?.writeEof() ?? Promise.resolve());
    await turn();
    process.kill();
    expect(await process.wait()).toBe(-9);
    const error = await writing;
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause).toMatchObject({ code: 'EPIPE' });
    expect(await ending).toBeInstanceOf(BrokenResourceError);
  });

  processTest('refuses a write after writeEof, flushed or not', async () => {
    const process = await createSubprocessExec('cat', [], { ...pipes, stderr: 'ignore' });
    await process.stdin?.writeEof();
    const write = (): Promise<unknown> => process.stdin?.write('x') ?? Promise.resolve();
    expect(await failure(write)).toBeInstanceOf(ClosedResourceError);
    expect(await process.stdout?.readAll()).toHaveLength(0);
    await turn();
    expect(await failure(write)).toBeInstanceOf(ClosedResourceError);
    await process.wait();
  });

  processTest('allows one reader at a time', async () => {
    const process = await createSubprocessExec('cat', [], { stdin: 'pipe', stdout: 'pipe' });
    const first = process.stdout?.read();
    const second = process.stdout?.read() ?? Promise.resolve();
    expect(await failure(second)).toBeInstanceOf(BusyResourceError);
    await process.stdin?.writeEof();
    expect(await first).toBe(null);
    await process.wait();
  });

  processTest('loses no byte to a cancelled read', async () => {
    const process = await createSubprocessExec('cat', [], { stdin: 'pipe', stdout: 'pipe' });
    const reader = createTask(async () => await process.stdout?.readLine());
    await process.stdin?.write('ha');
    for (let i = 0; i < 10; i++) await turn();
    await reader.cancelAndWait();
    await process.stdin?.write('lf\n');
    expect(await process.stdout?.readLine()).toBe('half');
    await process.stdin?.writeEof();
    await process.wait();
  });
});

describe('standard streams', () => {
  processTest('are given as open descriptors, of files too', async () => {
    const path = join(folder, 'out');
    writeFileSync(join(folder, 'in'), 'from a file');
    const input = openSync(join(folder, 'in'), 'r');
    const output = openSync(path, 'w');
    const options = { stdin: input, stdout: output, stderr: 'stdout' } as const;
    const process = await createSubprocessExec('sh', ['-c', 'cat; echo err >&2'], options);
    expect([process.stdin, process.stdout, process.stderr]).toEqual([null, null, null]);
    expect(await process.wait()).toBe(0);
    closeSync(input);
    closeSync(output);
    expect(readFileSync(path, 'utf8')).toBe('from a fileerr\n');
  });

  processTest('are nothing when ignored', async () => {
    const process = await createSubprocessExec('sh', ['-c', 'cat; echo x; echo y >&2'], quiet);
    expect(await process.wait()).toBe(0);
  });

  processTest('are joined in the order of what is written', async () => {
    const script = 'for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done';
    const options = { stdout: 'pipe', stderr: 'stdout' } as const;
    const process = await createSubprocessExec('sh', ['-c', script], options);
    expect(process.stderr).toBe(null);
    const { stdout, stderr } = await process.communicate();
    const wanted = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((i) => `o${i}\ne${i}\n`).join('');
    expect([stdout.toString(), stderr.length]).toEqual([wanted, 0]);
  });

  processTest('that are joined block a writer as one pipe does', async () => {
    const script = 'head -c 3000000 /dev/zero; echo end >&2';
    const options = { stdout: 'pipe', stderr: 'stdout' } as const;
    const process = await createSubprocessExec('sh', ['-c', script], options);
    for (let i = 0; i < 50; i++) await turn();
    expect(process.exitCode).toBe(null);
    expect((await process.stdout?.readAll())?.length).toBe(3_000_004);
    expect(await process.wait()).toBe(0);
  });

  processTest('that are joined leave no file behind', async () => {
    const before = tempFiles();
    const options = { stdout: 'pipe', stderr: 'stdout' } as const;
    const process = await createSubprocessExec('true', [], options);
    expect(tempFiles()).toEqual(before);
    await process.communicate();
  });

  processTest('joined to an ignored output are ignored', async () => {
    const options = { stdout: 'ignore', stderr: 'stdout' } as const;
    const process = await createSubprocessExec('sh', ['-c', 'echo x >&2'], options);
    expect([process.stderr, await process.wait()]).toEqual([null, 0]);
  });
});

describe('cwd and env', () => {
  processTest('are those of the caller by default', async () => {
    const options = { stdout: 'pipe' } as const;
    const process = await createSubprocessShell('pwd; echo $HOME', options);
    const { stdout } = await process.communicate();
    expect(stdout.toString()).toBe(`${cwd()}\n${env['HOME']}\n`);
  });

  processTest('may be given: the environment as a whole', async () => {
    const options = { stdout: 'pipe', cwd: folder, env: { FOO: 'bar' } } as const;
    const process = await createSubprocessExec('/usr/bin/env', [], options);
    expect((await process.communicate()).stdout.toString()).toBe('FOO=bar\n');
    const other = await createSubprocessExec('/bin/pwd', [], options);
    expect((await other.communicate()).stdout.toString()).toBe(`${folder}\n`);
  });

  processTest('hand the environment to a shell, too', async () => {
    const options = { stdout: 'pipe', env: { FOO: 'b a r' } } as const;
    const process = await createSubprocessShell('echo "$FOO"', options);
    expect((await process.communicate()).stdout.toString()).toBe('b a r\n');
  });
});

// covers: asyncio/create-subprocess-exec
describe('createSubprocessShell', () => {
  processTest('runs a command line', async () => {
    const process = await createSubprocessShell('echo a | tr a b; exit 4', { stdout: 'pipe' });
    expect((await process.communicate()).stdout.toString()).toBe('b\n');
    expect(process.exitCode).toBe(4);
  });

  processTest('ends with code 127 for a command that is not there', async () => {
    const process = await createSubprocessShell('uvio-no-such-command', { stderr: 'ignore' });
    expect(await process.wait()).toBe(127);
  });

  processTest('sends signals to the shell, which is the program after exec', async () => {
    const process = await createSubprocessShell('echo up; exec cat', pipes);
    expect(await process.stdout?.readLine()).toBe('up');
    process.terminate();
    expect(await process.wait()).toBe(-15);
  });

  processTest('makes no process group', async () => {
    const program = "ps -o pgid= -p $$ | tr -d ' '";
    const options = { stdout: 'pipe' } as const;
    const own = await createSubprocessExec('ps', ['-o', 'pgid=', '-p', `${process.pid}`], options);
    const shell = await createSubprocessShell(program, options);
    const [first, second] = [await own.communicate(), await shell.communicate()];
    expect(second.stdout.toString().trim()).toBe(first.stdout.toString().trim());
  });
});

describe('a process that cannot be started', () => {
  processTest('rejects with the error of Node', async () => {
    const error = await failure(createSubprocessExec('uvio-no-such-program', ['x'], pipes));
    expect(error).toMatchObject({
      code: 'ENOENT',
      syscall: 'spawn uvio-no-such-program',
      path: 'uvio-no-such-program',
      spawnargs: ['x'],
    });
    expect(openChildren(getRunningLoop())).toBe(0);
  });

  processTest('rejects for what may not be executed', async () => {
    const path = join(folder, 'plain');
    writeFileSync(path, 'x', { mode: 0o644 });
    expect((await failure(createSubprocessExec(path, [], pipes))).code).toBe('EACCES');
    expect((await failure(createSubprocessExec(folder))).code).toBe('EACCES');
  });

  processTest('rejects for a missing cwd', async () => {
    const options = { cwd: join(folder, 'nowhere') };
    expect((await failure(createSubprocessExec('true', [], options))).code).toBe('ENOENT');
    expect((await failure(createSubprocessShell('true', options))).code).toBe('ENOENT');
  });

  processTest('rejects for a descriptor that is not open', async () => {
    const error = await failure(createSubprocessExec('true', [], { ...pipes, stdout: 9_999 }));
    expect(error.code).toBe('EBADF');
  });

  processTest('rejects for arguments that are too long', async () => {
    const error = await failure(createSubprocessExec('true', ['x'.repeat(2 ** 18)], pipes));
    expect(error.code).toBe('E2BIG');
  });

  processTest('with joined outputs leaves no socket', async () => {
    const options = { stdout: 'pipe', stderr: 'stdout' } as const;
    const before = tempFiles();
    expect((await failure(createSubprocessExec('uvio-none', [], options))).code).toBe('ENOENT');
    expect(tempFiles()).toEqual(before);
  });
});

describe('wrong arguments', () => {
  const bad: [string, () => Promise<unknown>, string][] = [
    ['no program', () => createSubprocessExec(''), 'ERR_INVALID_ARG_TYPE'],
    ['a number', () => createSubprocessExec(5 as never), 'ERR_INVALID_ARG_TYPE'],
    ['a null byte', () => createSubprocessExec('a\0b'), 'ERR_INVALID_ARG_TYPE'],
    ['args: text', () => createSubprocessExec('a', 'b' as never), 'ERR_INVALID_ARG_TYPE'],
    ['an argument', () => createSubprocessExec('a', [1 as never]), 'ERR_INVALID_ARG_TYPE'],
    ['args with a null byte', () => createSubprocessExec('a', ['\0']), 'ERR_INVALID_ARG_TYPE'],
    ['options', () => createSubprocessExec('a', [], null as never), 'ERR_INVALID_ARG_TYPE'],
    ['stdin', () => exec({ stdin: 'PIPE' }), 'ERR_INVALID_ARG_TYPE'],
    ['stdin joined', () => exec({ stdin: 'stdout' }), 'ERR_INVALID_ARG_TYPE'],
    ['a descriptor', () => exec({ stdout: -1 }), 'ERR_OUT_OF_RANGE'],
    ['half a descriptor', () => exec({ stderr: 1.5 }), 'ERR_OUT_OF_RANGE'],
    ['cwd', () => exec({ cwd: 5 }), 'ERR_INVALID_ARG_TYPE'],
    ['env', () => exec({ env: 5 }), 'ERR_INVALID_ARG_TYPE'],
    ['killAfterMs', () => exec({ killAfterMs: Number.NaN }), 'ERR_INVALID_ARG_TYPE'],
    ['no command', () => createSubprocessShell(''), 'ERR_INVALID_ARG_TYPE'],
    ['a command list', () => createSubprocessShell(['a'] as never), 'ERR_INVALID_ARG_TYPE'],
  ];
  const exec = (options: object): Promise<unknown> =>
    createSubprocessExec('true', [], options as never);

  for (const [what, call, code] of bad) {
    processTest(`${what}: a rejection with ${code}`, async () => {
      expect((await failure(call)).code).toBe(code);
    });
  }
});

describe('a start in what is cancelled', () => {
  processTest('starts nothing in a cancelled scope', async () => {
    const scope = new CancelScope();
    scope.cancel();
    let started = true;
    await scope.run(async () => {
      await createSubprocessExec('true').catch((error) => {
        started = false;
        throw error;
      });
    });
    expect([started, scope.cancelledCaught, openChildren(getRunningLoop())]).toEqual([
      false,
      true,
      0,
    ]);
  });

  processTest('rejects with the reason of a signal that has aborted', async () => {
    const signal = AbortSignal.abort('why');
    expect(await failure(createSubprocessExec('true', [], { signal }))).toBe('why');
  });

  processTest('starts nothing when cancelled while joined outputs are made', async () => {
    const options = { stdout: 'pipe', stderr: 'stdout' } as const;
    const before = tempFiles();
    const task = createTask({ eagerStart: true }, () => createSubprocessExec('yes', [], options));
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    expect([openChildren(getRunningLoop()), tempFiles()]).toEqual([0, before]);
  });
});
