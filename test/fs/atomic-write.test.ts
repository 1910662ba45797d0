/** Files that are replaced as a whole. */
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { CancelledError } from '../../lib/base/errors.ts';
import { atomicWrite } from '../../lib/fs/index.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure } from '../task/support.ts';
import { Dice, fsTest, inFolder } from './support.ts';

const isRoot = process.getuid?.() === 0;
const bigBytes = 8 << 20;

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('atomicWrite', () => {
  fsTest('makes a file of text or bytes, and leaves nothing else', async (folder) => {
    await atomicWrite(join(folder, 'text'), 'é€\n');
    await atomicWrite(join(folder, 'latin'), 'é', { encoding: 'latin1' });
    await atomicWrite(pathToFileURL(join(folder, 'bytes')), Buffer.from([0, 255]));
    await atomicWrite(join(folder, 'empty'), '');
    expect(readFileSync(join(folder, 'text'), 'utf8')).toBe('é€\n');
    expect(readFileSync(join(folder, 'latin'))).toEqual(Buffer.from([0xe9]));
    expect(readFileSync(join(folder, 'bytes'))).toEqual(Buffer.from([0, 255]));
    expect(readdirSync(folder).sort()).toEqual(['bytes', 'empty', 'latin', 'text']);
  });

  fsTest('replaces a file, which keeps its mode', async (folder) => {
    const path = join(folder, 'secret');
    writeFileSync(path, 'old and longer');
    chmodSync(path, 0o640);
    const before = statSync(path).ino;
    await atomicWrite(path, 'new');
    expect([readFileSync(path, 'utf8'), statSync(path).mode & 0o7777]).toEqual(['new', 0o640]);
    expect(statSync(path).ino).not.toBe(before);
    await atomicWrite(path, 'new', { mode: 0o604 });
    expect(statSync(path).mode & 0o7777).toBe(0o604);
  });

  fsTest('a new file has the mode of any new file', async (folder) => {
    writeFileSync(join(folder, 'plain'), '');
    await atomicWrite(join(folder, 'atomic'), '');
    expect(statSync(join(folder, 'atomic')).mode).toBe(statSync(join(folder, 'plain')).mode);
  });

  fsTest('follows a link', async (folder) => {
    mkdirSync(join(folder, 'inside'));
    writeFileSync(join(folder, 'inside/real'), 'old');
    symlinkSync('inside/real', join(folder, 'link'));
    await atomicWrite(join(folder, 'link'), 'new');
    expect(readlinkSync(join(folder, 'link'))).toBe('inside/real');
    expect(readFileSync(join(folder, 'inside/real'), 'utf8')).toBe('new');
    expect(readdirSync(join(folder, 'inside'))).toEqual(['real']);
  });

  fsTest('follows links to what is not there yet', async (folder) => {
    mkdirSync(join(folder, 'inside'));
    symlinkSync('inside/first', join(folder, 'link'));
    symlinkSync('../inside/made', join(folder, 'inside/first'));
    await atomicWrite(join(folder, 'link'), 'new');
    expect(readlinkSync(join(folder, 'link'))).toBe('inside/first');
    expect(readlinkSync(join(folder, 'inside/first'))).toBe('../inside/made');
    expect(readFileSync(join(folder, 'inside/made'), 'utf8')).toBe('new');
    symlinkSync('nowhere/x', join(folder, 'broken'));
    expect((await failure(atomicWrite(join(folder, 'broken'), 'x'))).code).toBe('ENOENT');
    symlinkSync('loop', join(folder, 'loop'));
    expect((await failure(atomicWrite(join(folder, 'loop'), 'x'))).code).toBe('ELOOP');
    expect(readdirSync(folder)).toEqual(['broken', 'inside', 'link', 'loop']);
  });

  fsTest('replaces no socket, pipe or device', async (folder) => {
    const path = join(folder, 'socket');
    const server = createServer().listen(path);
    await once(server, 'listening');
    expect((await failure(atomicWrite(path, 'x'))).code).toBe('EINVAL');
    expect(statSync(path).isSocket()).toBe(true);
    server.close();
    await once(server, 'close');
    expect(readdirSync(folder)).toEqual([]);
  });

  fsTest('steps around a temporary file that somebody left', async (folder) => {
    await atomicWrite(join(folder, 'first'), 'x');
    // Names go on counting, so one of the next ones is taken.
    for (let i = 0; i < 200; i++) {
      writeFileSync(join(folder, `.uvio-${process.pid}-0-${i}.tmp`), 'left');
    }
    const before = readdirSync(folder).length;
    await atomicWrite(join(folder, 'second'), 'y');
    expect(readdirSync(folder).length).toBe(before + 1);
    expect(readFileSync(join(folder, 'second'), 'utf8')).toBe('y');
  });

  fsTest('has taken the data when the call returns', async (folder) => {
    const data = Buffer.alloc(3_000_000, 'a');
    const writing = atomicWrite(join(folder, 'file'), data);
    data.fill('b');
    await writing;
    expect(readFileSync(join(folder, 'file')).includes('b')).toBe(false);
  });

  fsTest('lets readers see one of the contents, whole, at any time', async (folder) => {
    const path = join(folder, 'file');
    writeFileSync(path, 'a'.repeat(100_000));
    let done = false;
    const writer = createTask(async () => {
      for (const letter of 'bcdefghij') await atomicWrite(path, letter.repeat(100_000));
      done = true;
    });
    while (!done) {
      const seen = readFileSync(path, 'utf8');
      expect([seen.length, new Set(seen).size]).toEqual([100_000, 1]);
      await turn();
    }
    await writer;
  });

  fsTest('of many at once gives one of them', async (folder) => {
    const path = join(folder, 'file');
    await Promise.all([...'abcdef'].map((letter) => atomicWrite(path, letter.repeat(1000))));
    expect(readFileSync(path, 'utf8')).toMatch(/^(\w)\1{999}$/);
    expect(readdirSync(folder)).toEqual(['file']);
  });

  test('works outside of a run', () =>
    inFolder(async (folder) => {
      await atomicWrite(join(folder, 'file'), 'x');
      expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('x');
    }));
});

describe('atomicWrite that fails', () => {
  fsTest('leaves the target and the folder as they were', async (folder) => {
    mkdirSync(join(folder, 'target'));
    writeFileSync(join(folder, 'target/inside'), '');
    const error = await failure(atomicWrite(join(folder, 'target'), 'x'));
    expect(error.code).toMatch(/EISDIR|EEXIST|ENOTEMPTY|EPERM/);
    expect(readdirSync(folder)).toEqual(['target']);
  });

  fsTest('gives errors of Node', async (folder) => {
    const missing = await failure(atomicWrite(join(folder, 'no/such'), 'x'));
    expect(missing.code).toBe('ENOENT');
    writeFileSync(join(folder, 'file'), '');
    expect((await failure(atomicWrite(join(folder, 'file/inside'), 'x'))).code).toBe('ENOTDIR');
    if (!isRoot) {
      mkdirSync(join(folder, 'locked'), { mode: 0o500 });
      expect((await failure(atomicWrite(join(folder, 'locked/x'), 'x'))).code).toBe('EACCES');
    }
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  fsTest('on a full disk leaves no temporary file', async (folder) => {
    // A disk of one page, where this process may make one.
    if (!isRoot || !existsSync('/dev/shm')) return;
    const { execFileSync } = await import('node:child_process');
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', disk], { stdio: 'ignore' });
    } catch {
      return;
    }
    try {
      await atomicWrite(join(disk, 'file'), 'old');
      const error = await failure(atomicWrite(join(disk, 'file'), 'x'.repeat(1_000_000)));
      expect(error.code).toBe('ENOSPC');
      expect(readdirSync(disk)).toEqual(['file']);
      expect(readFileSync(join(disk, 'file'), 'utf8')).toBe('old');
    } finally {
      execFileSync('umount', [disk]);
    }
  });

  fsTest('says so for bad arguments', async (folder) => {
    const path = join(folder, 'file');
    const cases: [unknown[], string][] = [
      [[undefined, 'x'], 'ERR_INVALID_ARG_TYPE'],
      [[7, 'x'], 'ERR_INVALID_ARG_TYPE'],
      [[path, 7], 'ERR_INVALID_ARG_TYPE'],
      [[path], 'ERR_INVALID_ARG_TYPE'],
      [[path, 'x', { encoding: 'hex' }], 'ERR_INVALID_ARG_TYPE'],
      [[path, 'x', { mode: -1 }], 'ERR_OUT_OF_RANGE'],
      [['a\0b', 'x'], 'ERR_INVALID_ARG_VALUE'],
      [[new URL('http://127.0.0.1/'), 'x'], 'ERR_INVALID_URL_SCHEME'],
    ];
    for (const [args, code] of cases) {
      const error = await failure(atomicWrite(...(args as Parameters<typeof atomicWrite>)));
      expect([args, error.code]).toEqual([args, code]);
    }
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('atomicWrite that is cancelled', () => {
  fsTest('at any time leaves the old file or the new one, and nothing else', async (folder) => {
    const path = join(folder, 'file');
    let cancelled = 0;
    for (let seed = 1; seed <= 40; seed++) {
      writeFileSync(path, 'old');
      const dice = new Dice(seed);
      const task = createTask(() => atomicWrite(path, Buffer.alloc(bigBytes, 'n')));
      for (let i = dice.below(seed); i > 0; i--) await turn();
      task.cancel();
      await task.wait();
      const written = statSync(path).size === bigBytes;
      expect([written || readFileSync(path, 'utf8'), readdirSync(folder)], `seed ${seed}`).toEqual([
        written || 'old',
        ['file'],
      ]);
      if (task.cancelled) cancelled++;
      expect(task.cancelled, `seed ${seed}`).toBe(!written);
    }
    expect(cancelled).toBeGreaterThan(0);
  });

  fsTest('by a signal rejects with its reason', async (folder) => {
    const controller = new AbortController();
    const path = join(folder, 'file');
    const writing = atomicWrite(path, Buffer.alloc(bigBytes), { signal: controller.signal });
    await turn();
    controller.abort('stop');
    expect([await failure(writing), readdirSync(folder)]).toEqual(['stop', []]);
    const early = { signal: AbortSignal.abort('early') };
    expect(await failure(atomicWrite(path, 'x', early))).toBe('early');
  });

  fsTest('before it begins makes nothing', async (folder) => {
    const scope = new CancelScope();
    scope.cancel();
    await scope.run(async () => {
      expect(await failure(atomicWrite(join(folder, 'file'), 'x'))).toBeInstanceOf(CancelledError);
    });
    expect(readdirSync(folder)).toEqual([]);
  });
});
