/** Files written: flags, positions, encodings. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { type OpenFlags, openFile } from '../../lib/fs/index.ts';
import { failure } from '../task/support.ts';
import { fsTest, Pipe } from './support.ts';

function file(folder: string, content: string | Uint8Array): string {
  const path = join(folder, 'file');
  writeFileSync(path, content);
  return path;
}

const text = (path: string): string => readFileSync(path, 'utf8');

// covers: curio/aopen, trio/open-file
describe('write', () => {
  fsTest('writes all of it and gives the number of bytes', async (folder) => {
    const path = join(folder, 'new');
    await using opened = await openFile(path, 'w');
    expect(await opened.write('é€😀\n')).toBe(10);
    expect(await opened.write('')).toBe(0);
    expect(await opened.write(Buffer.from([0x61, 0x62]))).toBe(2);
    // Nothing is buffered.
    expect([text(path), opened.tell()]).toEqual(['é€😀\nab', 12]);
  });

  fsTest('takes megabytes', async (folder) => {
    const path = join(folder, 'new');
    const data = Buffer.alloc(9_000_000, 'megabytes');
    await using opened = await openFile(path, 'w', { encoding: null });
    expect(await opened.write(data)).toBe(data.length);
    expect(readFileSync(path).equals(data)).toBe(true);
  });

  fsTest('encodes strings as the text of the file', async (folder) => {
    for (const encoding of ['utf8', 'utf16le', 'latin1'] as const) {
      const path = join(folder, encoding);
      await using opened = await openFile(path, 'w+', { encoding });
      expect(await opened.write('dé\n')).toBe(Buffer.byteLength('dé\n', encoding));
      expect(readFileSync(path, encoding)).toBe('dé\n');
      await opened.seek(0);
      expect(await opened.read()).toBe('dé\n');
    }
    await using bytes = await openFile(join(folder, 'bytes'), 'w', { encoding: null });
    await bytes.write('é');
    expect(text(join(folder, 'bytes'))).toBe('é');
  });

  fsTest('changes no newline', async (folder) => {
    const path = join(folder, 'new');
    await using opened = await openFile(path, 'w');
    await opened.writeLines(['a\r\n', 'b\n', Buffer.from('c\r'), 'd']);
    expect(text(path)).toBe('a\r\nb\nc\rd');
  });

  fsTest('has taken the data when the call returns', async (folder) => {
    const path = join(folder, 'new');
    const data = Buffer.from('before');
    await using opened = await openFile(path, 'w', { encoding: null });
    const first = opened.write(data);
    const second = opened.write(data);
    data.fill('x');
    await first;
    await second;
    expect(text(path)).toBe('beforebefore');
  });

  fsTest('keeps the order of the calls', async (folder) => {
    const path = join(folder, 'new');
    const opened = await openFile(path, 'w');
    const writes = Array.from({ length: 200 }, (_, i) => opened.write(`${i}\n`));
    await opened.close();
    await Promise.all(writes);
    expect(text(path)).toBe(Array.from({ length: 200 }, (_, i) => `${i}\n`).join(''));
  });

  fsTest('writes into a pipe, which has no positions', async (folder) => {
    using pipe = new Pipe(folder);
    await using opened = await openFile(pipe.path, 'r+');
    await opened.write('one ');
    await opened.write('two');
    expect(pipe.take().toString()).toBe('one two');
    expect(opened.tell()).toBe(0);
  });
});

describe('writeLines', () => {
  fsTest('writes parts of both kinds as one', async (folder) => {
    const path = join(folder, 'new');
    await using opened = await openFile(path, 'w', { encoding: 'latin1' });
    await opened.writeLines(new Set(['é', Buffer.from([0xff])]));
    await opened.writeLines([]);
    expect(readFileSync(path)).toEqual(Buffer.from([0xe9, 0xff]));
  });

  fsTest('writes nothing when the iterable throws', async (folder) => {
    const path = join(folder, 'new');
    await using opened = await openFile(path, 'w');
    function* parts(): Generator<string> {
      yield 'first';
      throw new RangeError('of the parts');
    }
    expect((await failure(opened.writeLines(parts()))).message).toBe('of the parts');
    expect(text(path)).toBe('');
  });
});

describe('flags', () => {
  /** [file exists: what is in it after writing 'XY', or the error; and when it does not exist] */
  const cases: [OpenFlags, string, string][] = [
    ['r', 'EBADF', 'ENOENT'],
    ['r+', 'XY23', 'ENOENT'],
    ['w', 'XY', 'XY'],
    ['w+', 'XY', 'XY'],
    ['wx', 'EEXIST', 'XY'],
    ['a', '0123XY', 'XY'],
    ['a+', '0123XY', 'XY'],
    ['ax', 'EEXIST', 'XY'],
  ];

  for (const [flags, existing, fresh] of cases) {
    fsTest(`'${flags}' on a file: ${existing}; without one: ${fresh}`, async (folder) => {
      const found: string[] = [];
      for (const path of [file(folder, '0123'), join(folder, 'new')]) {
        try {
          await using opened = await openFile(path, flags);
          await opened.write('XY');
          found.push(text(path));
        } catch (error) {
          found.push((error as { code: string }).code);
        }
      }
      expect(found).toEqual([existing, fresh]);
    });
  }

  fsTest('mode is that of a new file, less the umask', async (folder) => {
    const path = join(folder, 'new');
    await using _opened = await openFile(path, 'w', { mode: 0o600 });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
});

describe('a file that is read and written', () => {
  fsTest('is written where it was read to', async (folder) => {
    const path = file(folder, 'one\ntwo\nthree\n');
    await using opened = await openFile(path, 'r+');
    expect(await opened.readLine()).toBe('one\n');
    await opened.write('TWO');
    expect([opened.tell(), await opened.readLine()]).toEqual([7, '\n']);
    expect(text(path)).toBe('one\nTWO\nthree\n');
  });

  fsTest('gives back what was written over bytes that were read ahead', async (folder) => {
    await using opened = await openFile(file(folder, '0123456789'), 'r+');
    await opened.read(2);
    await opened.write('abc');
    await opened.seek(1);
    expect(await opened.read()).toBe('1abc56789');
  });

  fsTest('has a hole where nothing was written', async (folder) => {
    await using opened = await openFile(join(folder, 'new'), 'w+', { encoding: null });
    await opened.seek(4);
    await opened.write('x');
    await opened.seek(0);
    expect(await opened.read()).toEqual(Buffer.from([0, 0, 0, 0, 0x78]));
  });
});

describe('appending', () => {
  fsTest('begins at the end, and reads from there', async (folder) => {
    await using opened = await openFile(file(folder, '0123'), 'a+');
    expect([opened.tell(), await opened.read()]).toEqual([4, '']);
    await opened.seek(1);
    expect(await opened.read(2)).toBe('12');
  });

  fsTest('writes at the end wherever the position was, which is then there', async (folder) => {
    const path = file(folder, '0123');
    await using opened = await openFile(path, 'a+');
    await opened.seek(1);
    await opened.read(1);
    await opened.write('ab');
    expect([opened.tell(), text(path)]).toEqual([6, '0123ab']);
    await opened.write('c');
    expect([opened.tell(), await opened.read()]).toEqual([7, '']);
    await opened.seek(-2, 'end');
    expect(await opened.read()).toBe('bc');
  });

  fsTest('of two files to one loses nothing', async (folder) => {
    const path = join(folder, 'log');
    await using one = await openFile(path, 'a');
    await using two = await openFile(path, 'a');
    for (let i = 0; i < 50; i++) {
      await Promise.all([one.write('one\n'), two.write('two\n')]);
    }
    const lines = text(path).trimEnd().split('\n').sort();
    expect(lines).toEqual([...new Array(50).fill('one'), ...new Array(50).fill('two')]);
  });
});

describe('truncate', () => {
  fsTest('cuts at the position, which stays', async (folder) => {
    const path = file(folder, '0123456789');
    await using opened = await openFile(path, 'r+');
    await opened.read(4);
    await opened.truncate();
    expect([text(path), opened.tell(), await opened.read()]).toEqual(['0123', 4, '']);
  });

  fsTest('cuts or fills up at a size, and forgets what was read ahead', async (folder) => {
    const path = file(folder, '0123456789');
    await using opened = await openFile(path, 'r+');
    await opened.read(1);
    await opened.truncate(3);
    expect([await opened.read(), opened.tell()]).toEqual(['12', 3]);
    await opened.truncate(5);
    expect([await opened.read(), text(path)]).toEqual(['\0\0', '012\0\0']);
    await opened.truncate(0);
    expect(text(path)).toBe('');
  });

  fsTest('lets an appending write go to the new end', async (folder) => {
    const path = file(folder, '0123456789');
    await using opened = await openFile(path, 'a');
    await opened.truncate(2);
    await opened.write('ab');
    expect([text(path), opened.tell()]).toEqual(['01ab', 4]);
  });
});

describe('sync', () => {
  fsTest('comes after the writes before it', async (folder) => {
    const path = join(folder, 'new');
    await using opened = await openFile(path, 'w');
    const writing = opened.write('x'.repeat(100_000));
    await opened.sync();
    expect(statSync(path).size).toBe(100_000);
    await writing;
  });
});

describe('bad input', () => {
  fsTest('of writes is rejected, and writes nothing', async (folder) => {
    const path = join(folder, 'new');
    await using opened = await openFile(path, 'w');
    const gone = new Uint8Array(8);
    structuredClone(gone, { transfer: [gone.buffer] });
    const cases: [Promise<unknown>, string][] = [
      [opened.write(1 as unknown as string), 'ERR_INVALID_ARG_TYPE'],
      [opened.write(undefined as unknown as string), 'ERR_INVALID_ARG_TYPE'],
      [opened.write(new ArrayBuffer(1) as unknown as Buffer), 'ERR_INVALID_ARG_TYPE'],
      [opened.write(gone), 'ERR_UVIO_BUFFER_DETACHED'],
      [opened.writeLines('text' as unknown as string[]), 'ERR_INVALID_ARG_TYPE'],
      [opened.writeLines(Buffer.from('x') as unknown as string[]), 'ERR_INVALID_ARG_TYPE'],
      [opened.writeLines(null as unknown as string[]), 'ERR_INVALID_ARG_TYPE'],
      [opened.writeLines(['a', 1 as unknown as string]), 'ERR_INVALID_ARG_TYPE'],
      [opened.truncate(-1), 'ERR_OUT_OF_RANGE'],
      [opened.truncate(1.5), 'ERR_OUT_OF_RANGE'],
    ];
    for (const [promise, code] of cases) expect((await failure(promise)).code).toBe(code);
    expect(text(path)).toBe('');
  });

  fsTest('a full disk is an error of Node, and the file stays usable', async () => {
    if (!existsSync('/dev/full')) return;
    await using opened = await openFile('/dev/full', 'r+', { encoding: null });
    const error = await failure(opened.write('x'));
    expect([error.code, error.syscall]).toEqual(['ENOSPC', 'write']);
    expect(await opened.read(3)).toEqual(Buffer.alloc(3));
  });

  fsTest('a file that is only read cannot be written or cut', async (folder) => {
    await using opened = await openFile(file(folder, 'abc'));
    expect((await failure(opened.write('x'))).code).toBe('EBADF');
    expect((await failure(opened.truncate(0))).code).toMatch(/EINVAL|EBADF/);
    expect(await opened.read()).toBe('abc');
  });
});
