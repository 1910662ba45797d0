/** Files read as text and as bytes. (curio's file tests, anyio's AsyncFile, trio.open_file) */
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { openFile } from '../../lib/fs/index.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure } from '../task/support.ts';
import { Dice, fsTest, inFolder, Pipe } from './support.ts';

const chunkBytes = 65_536;
const lines = 'line 1\nline 2\nline 3\n';

function file(folder: string, content: string | Uint8Array): string {
  const path = join(folder, 'file');
  writeFileSync(path, content);
  return path;
}

// covers: curio/aopen, trio/open-file
describe('openFile', () => {
  fsTest('reads text to the end, then nothing', async (folder) => {
    await using opened = await openFile(file(folder, lines));
    expect(await opened.read()).toBe(lines);
    expect(await opened.read()).toBe('');
    expect(await opened.read(5)).toBe('');
    expect(await opened.readLine()).toBe('');
    expect(await opened.readLines()).toEqual([]);
  });

  fsTest('reads bytes with encoding: null', async (folder) => {
    const content = Buffer.from([0, 255, 10, 13, 200, 195]);
    await using opened = await openFile(file(folder, content), 'r', { encoding: null });
    expect(await opened.read(2)).toEqual(content.subarray(0, 2));
    expect(await opened.readLine()).toEqual(Buffer.from([10]));
    expect(await opened.read()).toEqual(Buffer.from([13, 200, 195]));
    expect(await opened.read()).toEqual(Buffer.alloc(0));
  });

  fsTest('takes a file: URL', async (folder) => {
    await using opened = await openFile(pathToFileURL(file(folder, 'by URL')));
    expect(await opened.read()).toBe('by URL');
  });

  fsTest('has the file descriptor, until it is closed', async (folder) => {
    const opened = await openFile(file(folder, 'abc'));
    expect(readFileSync(opened.fd, 'utf8')).toBe('abc');
    await opened.close();
    expect(opened.fd).toBe(-1);
  });

  fsTest('reads characters, lines and the rest by turns', async (folder) => {
    await using opened = await openFile(file(folder, lines));
    expect(await opened.read(2)).toBe('li');
    expect(await opened.readLine()).toBe('ne 1\n');
    expect(await opened.read(0)).toBe('');
    expect(await opened.readLines()).toEqual(['line 2\n', 'line 3\n']);
  });

  fsTest('gives all lines with their newlines', async (folder) => {
    await using opened = await openFile(file(folder, 'a\r\n\nb\rc'));
    expect(await opened.readLines()).toEqual(['a\r\n', '\n', 'b\rc']);
  });

  fsTest('leaves a byte order mark where it is', async (folder) => {
    await using opened = await openFile(file(folder, '\uFEFFtext'));
    expect(await opened.read()).toBe('\uFEFFtext');
  });

  fsTest('reads what files of no size have to say', async () => {
    if (process.platform !== 'linux') return;
    await using opened = await openFile('/proc/self/status');
    expect(await opened.readLine()).toMatch(/^Name:/);
    expect((await opened.readLines()).length).toBeGreaterThan(10);
  });

  test('works outside of a run', () =>
    inFolder(async (folder) => {
      await using opened = await openFile(file(folder, 'no run'));
      expect(await opened.read()).toBe('no run');
    }));
});

describe('iteration', () => {
  fsTest('over text gives lines without their newlines', async (folder) => {
    const found: string[] = [];
    await using opened = await openFile(file(folder, 'a\r\n\nb\rc\nd'));
    for await (const line of opened) found.push(line);
    expect(found).toEqual(['a', '', 'b\rc', 'd']);
  });

  fsTest('over bytes gives chunks', async (folder) => {
    const content = Buffer.alloc(200_000, 'chunk');
    await using opened = await openFile(file(folder, content), 'r', { encoding: null });
    const found: Buffer[] = [];
    for await (const chunk of opened) found.push(chunk);
    expect(found.length).toBeGreaterThan(1);
    expect(Buffer.concat(found).equals(content)).toBe(true);
    expect(opened.tell()).toBe(200_000);
  });

  fsTest('can be left and taken up again', async (folder) => {
    await using opened = await openFile(file(folder, lines));
    for await (const line of opened) {
      expect(line).toBe('line 1');
      break;
    }
    expect(opened.tell()).toBe(7);
    for await (const line of opened) {
      expect(line).toBe('line 2');
      break;
    }
    expect(await opened.read()).toBe('line 3\n');
  });

  fsTest('of an empty file ends at once', async (folder) => {
    await using opened = await openFile(file(folder, ''));
    for await (const _line of opened) expect.unreachable();
    await using bytes = await openFile(file(folder, ''), 'r', { encoding: null });
    for await (const _chunk of bytes) expect.unreachable();
  });
});

describe('borders of chunks', () => {
  const text = 'é€😀\r\n\n\u{1F600}ß\n';

  fsTest('may lie at any byte of a character or newline', async (folder) => {
    const textBytes = Buffer.byteLength(text);
    for (let shift = 0; shift <= textBytes; shift++) {
      const before = 'x'.repeat(chunkBytes - shift);
      await using opened = await openFile(file(folder, before + text));
      expect((await opened.read(chunkBytes - shift)).length).toBe(chunkBytes - shift);
      expect(await opened.read(3)).toBe('é€😀');
      expect(opened.tell()).toBe(chunkBytes - shift + 9);
      expect(await opened.readLine()).toBe('\r\n');
      expect(await opened.readLines()).toEqual(['\n', '\u{1F600}ß\n']);
    }
  });

  fsTest('split no line of a loop', async (folder) => {
    for (let shift = 0; shift <= 8; shift++) {
      const first = 'x'.repeat(chunkBytes - shift);
      await using opened = await openFile(file(folder, `${first}\r\né😀\r\nend`));
      const found: string[] = [];
      for await (const line of opened) found.push(line);
      expect(found.map((line) => line.length)).toEqual([first.length, 3, 3]);
    }
  });

  fsTest('split no line of a big file in any encoding', async (folder) => {
    const dice = new Dice(7);
    const wanted = Array.from({ length: 20_000 }, (_, i) => `${i} ${'é'.repeat(dice.below(30))}`);
    for (const encoding of ['utf8', 'utf16le', 'latin1'] as const) {
      const path = file(folder, Buffer.from(wanted.join('\n'), encoding));
      await using opened = await openFile(path, 'r', { encoding });
      const found: string[] = [];
      for await (const line of opened) found.push(line);
      expect(found).toEqual(wanted);
      expect(opened.tell()).toBe(readFileSync(path).length);
      await opened.seek(0);
      expect(await opened.readLines()).toEqual(
        wanted.map((line, i) => (i < 19_999 ? `${line}\n` : line)),
      );
    }
  });

  fsTest('are nothing to a read of megabytes', async (folder) => {
    const content = Buffer.from(Array.from({ length: 5_000_000 }, (_, i) => (i * 7) % 251));
    await using opened = await openFile(file(folder, content), 'r', { encoding: null });
    expect((await opened.read(3_000_000)).equals(content.subarray(0, 3_000_000))).toBe(true);
    expect((await opened.read()).equals(content.subarray(3_000_000))).toBe(true);
    await opened.seek(1);
    const target = new Uint8Array(4_000_000);
    expect(await opened.readInto(target)).toBe(4_000_000);
    expect(content.subarray(1, 4_000_001).equals(target)).toBe(true);
    expect(opened.tell()).toBe(4_000_001);
  });

  fsTest('come wherever a pipe has them', async (folder) => {
    using pipe = new Pipe(folder);
    await using opened = await openFile(pipe.path, 'r+');
    for (const whole of ['é€😀\r\n', 'plain\n', '\n']) {
      const waiting = opened.readLine();
      for (const byte of Buffer.from(whole)) {
        pipe.send(Buffer.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(await waiting).toBe(whole);
    }
    pipe.send('é😀rest');
    expect([await opened.read(2), await opened.read(3)]).toEqual(['é😀', 'res']);
    expect(await opened.read(1)).toBe('t');
  });
});

describe('readInto', () => {
  fsTest('fills the target, or less at the end', async (folder) => {
    await using opened = await openFile(file(folder, '0123456789'), 'r', { encoding: null });
    const target = new Uint8Array(4);
    expect([await opened.readInto(target), String.fromCharCode(...target)]).toEqual([4, '0123']);
    expect(await opened.readInto(target.subarray(1, 3))).toBe(2);
    expect(String.fromCharCode(...target)).toBe('0453');
    expect(await opened.readInto(Buffer.alloc(0))).toBe(0);
    expect([await opened.readInto(target), String.fromCharCode(...target)]).toEqual([4, '6789']);
    expect(await opened.readInto(target)).toBe(0);
  });

  fsTest('goes on where other reads stopped', async (folder) => {
    await using opened = await openFile(file(folder, 'é\nabc'));
    const target = new Uint8Array(2);
    expect(await opened.readLine()).toBe('é\n');
    expect([await opened.readInto(target), await opened.read()]).toEqual([2, 'c']);
  });
});

describe('the position', () => {
  fsTest('counts bytes of what was read, not of what was read ahead', async (folder) => {
    await using opened = await openFile(file(folder, 'é😀\nabc'));
    const positions = [opened.tell()];
    await opened.read(1);
    positions.push(opened.tell());
    await opened.readLine();
    positions.push(opened.tell());
    await opened.read(2);
    positions.push(opened.tell());
    await opened.read();
    positions.push(opened.tell());
    expect(positions).toEqual([0, 2, 7, 9, 10]);
  });

  fsTest('is moved from the start, the current place and the end', async (folder) => {
    await using opened = await openFile(file(folder, '0123456789'));
    await opened.read(3);
    expect([await opened.seek(1, 'current'), await opened.read(2)]).toEqual([4, '45']);
    expect([await opened.seek(-2, 'current'), await opened.read(1)]).toEqual([4, '4']);
    expect([await opened.seek(-3, 'end'), await opened.read()]).toEqual([7, '789']);
    expect([await opened.seek(2), await opened.read(1)]).toEqual([2, '2']);
    expect([await opened.seek(5, 'start'), opened.tell()]).toEqual([5, 5]);
  });

  fsTest('may be behind the end', async (folder) => {
    await using opened = await openFile(file(folder, '0123'));
    expect(await opened.seek(5, 'end')).toBe(9);
    expect([await opened.read(), opened.tell()]).toEqual(['', 9]);
  });

  fsTest('cannot be before the start', async (folder) => {
    await using opened = await openFile(file(folder, '0123'));
    await opened.read(1);
    for (const from of ['current', 'end'] as const) {
      const error = await failure(opened.seek(-5, from));
      expect([error.name, error.code]).toEqual(['RangeError', 'ERR_OUT_OF_RANGE']);
    }
    expect((await failure(opened.seek(-1))).code).toBe('ERR_OUT_OF_RANGE');
    expect(await opened.read()).toBe('123');
  });

  fsTest('of a pipe cannot be moved', async (folder) => {
    using pipe = new Pipe(folder);
    await using opened = await openFile(pipe.path, 'r+');
    pipe.send('abc');
    const error = await failure(opened.seek(1));
    expect([error.code, error.syscall]).toEqual(['ESPIPE', 'lseek']);
    expect(await opened.read(3)).toBe('abc');
  });

  fsTest('at the end is not the end for ever', async (folder) => {
    const path = file(folder, 'a\n');
    await using opened = await openFile(path);
    for await (const line of opened) expect(line).toBe('a');
    appendFileSync(path, 'b\n');
    expect([await opened.read(), await opened.read()]).toEqual(['b\n', '']);
    appendFileSync(path, 'c\n');
    expect(await opened.readLine()).toBe('c\n');
    truncateSync(path);
    expect(await opened.read()).toBe('');
  });
});

describe('several tasks', () => {
  fsTest('that read from one file are served in order, each byte once', async (folder) => {
    await using opened = await openFile(file(folder, 'aabbccdd'));
    const all = await Promise.all([opened.read(2), opened.read(2), opened.readLine()]);
    expect(all).toEqual(['aa', 'bb', 'ccdd']);
  });

  fsTest('share a loop over lines without losing one', async (folder) => {
    const wanted = Array.from({ length: 5000 }, (_, i) => `${i}`.padEnd(40, '.'));
    await using opened = await openFile(file(folder, wanted.join('\n')));
    const found: string[] = [];
    const tasks = [1, 2, 3].map(() =>
      createTask(async () => {
        for await (const line of opened) found.push(line);
      }),
    );
    for (const task of tasks) await task;
    expect(found).toEqual(wanted);
  });
});

describe('bad input', () => {
  fsTest('of openFile is rejected', async (folder) => {
    const path = file(folder, 'x');
    const cases: [unknown[], string][] = [
      [[join(folder, 'nothing')], 'ENOENT'],
      [[join(path, 'inside')], 'ENOTDIR'],
      [[join(folder, 'x'.repeat(300)), 'w'], 'ENAMETOOLONG'],
      [[folder, 'w'], 'EISDIR'],
      [[path, 'wx'], 'EEXIST'],
      [[path, 'ax'], 'EEXIST'],
      [['a\0b'], 'ERR_INVALID_ARG_VALUE'],
      [[undefined], 'ERR_INVALID_ARG_TYPE'],
      [[new URL('http://127.0.0.1/')], 'ERR_INVALID_URL_SCHEME'],
      [[path, 'rw'], 'ERR_INVALID_ARG_TYPE'],
      [[path, 'rs'], 'ERR_INVALID_ARG_TYPE'],
      [[path, 2], 'ERR_INVALID_ARG_TYPE'],
      [[path, ''], 'ERR_INVALID_ARG_TYPE'],
      [[path, 'r', { encoding: 'hex' }], 'ERR_INVALID_ARG_TYPE'],
      [[path, 'r', { encoding: 'utf9' }], 'ERR_INVALID_ARG_TYPE'],
      [[join(folder, 'new'), 'w', { mode: -1 }], 'ERR_OUT_OF_RANGE'],
    ];
    for (const [args, code] of cases) {
      const error = await failure(openFile(...(args as Parameters<typeof openFile>)));
      expect([args, error.code]).toEqual([args, code]);
    }
    const { code, syscall, path: where } = await failure(openFile(join(folder, 'nothing')));
    expect([code, syscall, where]).toEqual(['ENOENT', 'open', join(folder, 'nothing')]);
  });

  fsTest('of reads is rejected, and takes nothing', async (folder) => {
    await using opened = await openFile(file(folder, 'abc'));
    for (const size of [-1, 1.5, Number.NaN, -Infinity]) {
      expect((await failure(opened.read(size))).code).toBe('ERR_OUT_OF_RANGE');
    }
    const wrong: [Promise<unknown>, string][] = [
      [opened.read('1' as unknown as number), 'ERR_INVALID_ARG_TYPE'],
      [opened.readInto([] as unknown as Buffer), 'ERR_INVALID_ARG_TYPE'],
      [opened.seek(0.5), 'ERR_OUT_OF_RANGE'],
      [opened.seek('1' as unknown as number), 'ERR_INVALID_ARG_TYPE'],
      [opened.seek(0, 'middle' as 'end'), 'ERR_INVALID_ARG_TYPE'],
    ];
    for (const [promise, code] of wrong) expect((await failure(promise)).code).toBe(code);
    const gone = new Uint8Array(8);
    structuredClone(gone, { transfer: [gone.buffer] });
    expect((await failure(opened.readInto(gone))).code).toBe('ERR_UVIO_BUFFER_DETACHED');
    expect(await opened.read()).toBe('abc');
  });

  fsTest('a file that cannot be read gives errors of Node', async (folder) => {
    await using written = await openFile(join(folder, 'w'), 'w');
    const error = await failure(written.read());
    expect([error.code, error.syscall]).toEqual(['EBADF', 'read']);
    await using directory = await openFile(folder);
    expect((await failure(directory.readLine())).code).toBe('EISDIR');
  });
});
