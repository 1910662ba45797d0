/** The console, its socket, and `npx uvio`. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serveConsole } from '../../lib/inspect/console.ts';
import { findConsoles } from '../../lib/inspect/console-paths.ts';
import { openUnixConnection } from '../../lib/io/connect.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { checkpoint, sleepForever } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { root } from '../support/source-tree.ts';
import { failure, inRun, runTest } from '../task/support.ts';

let folder: string;
let runtime: string | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'uvio-console-'));
  runtime = process.env['XDG_RUNTIME_DIR'];
  process.env['XDG_RUNTIME_DIR'] = folder;
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
  if (runtime === undefined) delete process.env['XDG_RUNTIME_DIR'];
  else process.env['XDG_RUNTIME_DIR'] = runtime;
});

interface Answer {
  text?: string;
  error?: string;
}

/** One line to the console, and its answer. */
async function ask(path: string, line: string): Promise<Answer> {
  await using connection = await openUnixConnection(path);
  await connection.write(`${line}\n`);
  return JSON.parse((await connection.readLine()) ?? 'null') as Answer;
}

function command(path: string, name: string, argument?: string): Promise<Answer> {
  return ask(path, JSON.stringify({ command: name, argument }));
}

/** The program as npx runs it: built, in a process of its own. */
async function uvio(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const program = join(root, 'dist/inspect/cli.js');
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, ...words]);
    return { code: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, out: stdout, err: stderr };
  }
}

// covers: curio/activation, seeds/C19
describe('serveConsole', () => {
  runTest('shows tasks, one task, and figures; cancels a task', async () => {
    const path = join(folder, 'c.sock');
    await using _ = await serveConsole({ path });
    const task = createTask({ name: 'worker' }, () => sleepForever());
    await checkpoint();
    expect((await command(path, 'tree')).text).toMatch(
      /^main \(#1\) waiting for read.*\n└── worker \(#2\) waiting for sleepForever, \d+ ms$/,
    );
    expect((await command(path, 'where', 'worker')).text).toMatch(/^Task 'worker' \(waiting\)/);
    expect((await command(path, 'top')).text).toMatch(/tasks 2 .*[\s\S]* 1 {2}sleepForever/);
    expect((await command(path, 'ps')).text).toMatch(/^2 tasks/);
    expect((await command(path, 'cancel', '#2')).text).toBe("Task 'worker' was told to end");
    expect((await failure(task)).reason).toBe('cancelled from the console');
  });

  runTest('answers a bad request with an error, and goes on', async () => {
    const path = join(folder, 'c.sock');
    await using _ = await serveConsole({ path });
    await taskGroup(async (group) => {
      for (let i = 0; i < 2; i++) group.createTask({ name: 'twin' }, () => sleepForever());
      expect((await command(path, 'cancel', 'nobody')).error).toBe('There is no task nobody');
      expect((await command(path, 'where')).error).toMatch(/^Which task/);
      expect((await command(path, 'where', 'twin')).error).toMatch(/Several.*#2, #3/);
      expect((await command(path, 'format')).error).toBe('Unknown command format');
      expect((await ask(path, 'no JSON')).error).toBe('The request is not JSON');
      expect((await ask(path, 'null')).error).toMatch(/^The request failed/);
      expect((await command(path, 'top')).text).toBeDefined();
      group.cancel();
    });
  });

  runTest('takes several lines on one connection, and drops one that never ends', async () => {
    const path = join(folder, 'c.sock');
    await using _ = await serveConsole({ path });
    await using connection = await openUnixConnection(path);
    await connection.write('{"command":"tree"}\n{"command":"ps"}\n');
    expect(await connection.readLine()).toContain('main');
    expect(await connection.readLine()).toContain('1 tasks');
    await connection.write('x'.repeat(10_000));
    // Lost or ended: the console has left.
    await connection.readAll().catch(() => {});
  });

  runTest('lets only this user in, and leaves no file behind', async () => {
    const before = process.umask();
    process.umask(0);
    try {
      const served = await serveConsole();
      const [found] = findConsoles();
      expect(found?.name).toBe(String(process.pid));
      expect(statSync(found?.path ?? '').mode & 0o777).toBe(0o600);
      expect(statSync(join(folder, 'uvio')).mode & 0o777).toBe(0o700);
      expect(process.umask()).toBe(0);
      await served[Symbol.asyncDispose]();
      await served[Symbol.asyncDispose]();
      expect(findConsoles()).toEqual([]);
      expect(getRunningLoop().instruments.length).toBe(0);
    } finally {
      process.umask(before);
    }
  });

  runTest('refuses a default folder that others may write to', async () => {
    mkdirSync(join(folder, 'uvio'), { mode: 0o777 });
    const before = process.umask(0);
    rmSync(join(folder, 'uvio'), { recursive: true });
    mkdirSync(join(folder, 'uvio'), { mode: 0o777 });
    process.umask(before);
    expect((await failure(serveConsole())).code).toBe('EACCES');
  });

  runTest('replaces a dead socket, and refuses a live one or a file', async () => {
    const path = join(folder, 'c.sock');
    const first = await serveConsole({ path });
    expect((await failure(serveConsole({ path }))).code).toBe('EADDRINUSE');
    await first[Symbol.asyncDispose]();
    const file = join(folder, 'file');
    writeFileSync(file, 'mine');
    expect((await failure(serveConsole({ path: file }))).code).toBe('EADDRINUSE');
    const dead = join(folder, 'dead.sock');
    const script = `require('net').createServer().listen(${JSON.stringify(dead)}, () => {
      process.kill(process.pid, 'SIGKILL') })`;
    await promisify(execFile)(process.execPath, ['-e', script]).catch(() => {});
    expect(existsSync(dead)).toBe(true);
    await using _ = await serveConsole({ path: dead });
    expect((await command(dead, 'ps')).text).toContain('1 tasks');
  });

  runTest('refuses bad paths', async () => {
    expect((await failure(serveConsole({ path: '' }))).name).toBe('TypeError');
    const long = join(folder, 'x'.repeat(200));
    expect((await failure(serveConsole({ path: long }))).code).toBe('ENAMETOOLONG');
    expect((await failure(serveConsole({ path: '\0name' }))).code).toBe('ENOTSUP');
    expect((await failure(serveConsole({ path: join(folder, 'no/x') }))).code).toBe('EACCES');
  });

  test('ends with its loop, and with it its clients', async () => {
    const path = join(folder, 'c.sock');
    await inRun(async () => {
      await serveConsole({ path });
      expect(existsSync(path)).toBe(true);
    });
    expect(existsSync(path)).toBe(false);
  });
});

describe('npx uvio', () => {
  runTest('finds the console, shows its tree and cancels a task', async () => {
    await using _ = await serveConsole();
    const task = createTask({ name: 'worker' }, () => sleepForever());
    expect(await uvio('ps')).toMatchObject({ code: 0, out: expect.stringContaining('2 tasks') });
    expect((await uvio('tree')).out).toMatch(/^main .*\n└── worker \(#2\) waiting/);
    expect((await uvio('top', '--once', '--pid', String(process.pid))).out).toContain('tasks 2');
    expect((await uvio('where', 'worker')).out).toContain("Task 'worker'");
    expect((await uvio('cancel', 'worker')).out).toBe("Task 'worker' was told to end\n");
    expect((await failure(task)).code).toBe('ABORT_ERR');
    expect(await uvio('cancel', 'worker')).toMatchObject({
      code: 1,
      err: 'There is no task worker\n',
    });
  });

  runTest('chooses by --pid or --socket when there are several', async () => {
    mkdirSync(join(folder, 'uvio'), { mode: 0o700 });
    const other = join(folder, 'uvio', '1.sock');
    await using _ = await serveConsole({ path: other });
    await using __ = await serveConsole();
    const { code, err } = await uvio('tree');
    expect([code, err]).toEqual([
      1,
      `Several programs serve a console; give one by --pid: 1, ${process.pid}\n`,
    ]);
    expect((await uvio('tree', '--pid', '1')).code).toBe(0);
    expect((await uvio('tree', '--socket', other)).code).toBe(0);
    expect((await uvio('tree', '--pid', '2')).err).toBe('Process 2 serves no console\n');
    expect((await uvio('ps')).out.split('\n').length).toBe(3);
  });

  test('explains itself, what is wrong, and who does not answer', async () => {
    const silent = createServer(() => {}).listen(`${folder}-silent`);
    // It waits for some seconds.
    const unanswered = uvio('tree', '--socket', `${folder}-silent`);
    expect((await uvio('--help')).out).toMatch(/^usage: uvio/);
    expect((await uvio()).code).toBe(1);
    for (const words of [['nonsense'], ['tree', 'x'], ['--bad']]) {
      const { code, err } = await uvio(...words);
      expect([words, code, err.includes('usage: uvio')]).toEqual([words, 1, true]);
    }
    expect(await uvio('ps')).toMatchObject({ code: 0, out: '' });
    expect((await uvio('tree')).err).toMatch(/^No program serves a console/);
    expect((await uvio('tree', '--socket', join(folder, 'no'))).err).toBe('The program is gone\n');
    const { err } = await unanswered;
    expect(err).toBe('The program does not answer: its loop may be blocked\n');
    silent.close();
  });
});
