/** Cancelled waits on files: they end at once, and nothing is lost or read twice. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { CancelledError, ClosedResourceError } from '../../lib/base/errors.ts';
import { openFile } from '../../lib/fs/index.ts';
import { CancelScope, moveOnAfter, shielded } from '../../lib/task/scope.ts';
import { checkpoint } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure, inRun } from '../task/support.ts';
import { Dice, fsTest, inFolder, openFiles, Pipe } from './support.ts';

/** More than a pipe holds. */
const bigBytes = 300_000;

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Starts it, lets it get under way, and cancels it. */
async function cancelled(work: () => Promise<unknown>): Promise<void> {
  const task = createTask(work);
  await checkpoint();
  await checkpoint();
  task.cancel();
  expect(await failure(task)).toBeInstanceOf(CancelledError);
}

describe('a cancelled read', () => {
  fsTest('ends at once, and its bytes are what the next one gets', async (folder) => {
    using pipe = new Pipe(folder);
    await using file = await openFile(pipe.path, 'r+');
    await cancelled(() => file.readLine());
    await cancelled(() => file.read(3));
    pipe.send('first\nsecond\n');
    expect(await file.readLine()).toBe('first\n');
    expect(await file.readLine()).toBe('second\n');
  });

  fsTest('keeps the part of a line that came before', async (folder) => {
    using pipe = new Pipe(folder);
    await using file = await openFile(pipe.path, 'r+');
    const task = createTask(() => file.readLine());
    await checkpoint();
    pipe.send('half a l');
    for (let i = 0; i < 20; i++) await turn();
    task.cancel();
    await failure(task);
    pipe.send('ine\n');
    expect(await file.readLine()).toBe('half a line\n');
  });

  fsTest('by a signal rejects with its reason', async (folder) => {
    using pipe = new Pipe(folder);
    await using file = await openFile(pipe.path, 'r+');
    const controller = new AbortController();
    const waiting = file.read(1, { signal: controller.signal });
    controller.abort('stop');
    expect(await failure(waiting)).toBe('stop');
    expect(await failure(file.readLine({ signal: AbortSignal.abort('early') }))).toBe('early');
    pipe.send('x');
    expect(await file.read(1)).toBe('x');
  });

  fsTest('by a deadline leaves the file usable', async (folder) => {
    using pipe = new Pipe(folder);
    await using file = await openFile(pipe.path, 'r+', { encoding: 'latin1' });
    expect(await moveOnAfter(5, () => file.readInto(new Uint8Array(3)))).toBe(undefined);
    pipe.send('abc');
    const target = new Uint8Array(3);
    expect(await file.readInto(target)).toBe(3);
    expect(Buffer.from(target).toString()).toBe('abc');
  });

  fsTest('writes nothing into the memory of readInto', async (folder) => {
    using pipe = new Pipe(folder);
    await using file = await openFile(pipe.path, 'r+');
    const target = new Uint8Array(3);
    await cancelled(() => file.readInto(target));
    pipe.send('abc');
    expect([await file.read(3), [...target]]).toEqual(['abc', [0, 0, 0]]);
  });

  fsTest('that waits for another one gives its place up', async (folder) => {
    using pipe = new Pipe(folder);
    await using file = await openFile(pipe.path, 'r+');
    const first = createTask(() => file.readLine());
    const second = createTask(() => file.readLine());
    const third = createTask(() => file.readLine());
    await checkpoint();
    second.cancel();
    await failure(second);
    pipe.send('one\ntwo\n');
    expect([await first, await third]).toEqual(['one\n', 'two\n']);
  });

  fsTest('in a cancelled scope takes nothing, though it is in memory', async (folder) => {
    const path = join(folder, 'file');
    writeFileSync(path, 'a\nb\nc\n');
    await using file = await openFile(path);
    await file.readLine();
    const scope = new CancelScope();
    await scope.run(async () => {
      scope.cancel();
      await file.readLine().catch(() => {});
      for await (const _line of file) expect.unreachable();
    });
    expect(scope.cancelledCaught).toBe(true);
    expect(await file.readLine()).toBe('b\n');
  });

  fsTest('at any time loses no byte and gives none twice', async (folder) => {
    const path = join(folder, 'file');
    const whole = Array.from({ length: 40_000 }, (_, i) => `${i} é😀\n`).join('');
    writeFileSync(path, whole);
    let cancels = 0;
    for (let seed = 1; seed <= 15; seed++) {
      const dice = new Dice(seed);
      await using file = await openFile(path);
      let found = '';
      for (let ended = false; !ended; ) {
        const controller = new AbortController();
        const options = { signal: controller.signal };
        const waiting =
          dice.below(3) === 0 ? file.readLine(options) : file.read(dice.below(200_000), options);
        for (let i = dice.below(4); i > 0; i--) await turn();
        controller.abort('enough');
        const before = file.tell();
        try {
          const got = await waiting;
          found += got;
          ended = got === '' && before === Buffer.byteLength(whole);
        } catch (error) {
          expect([error, file.tell()]).toEqual(['enough', before]);
          cancels++;
        }
      }
      expect(found === whole, `seed ${seed}`).toBe(true);
    }
    expect(cancels).toBeGreaterThan(10);
  });
});

describe('a cancelled write', () => {
  fsTest('that has begun is completely done, before what comes after it', async (folder) => {
    using pipe = new Pipe(folder);
    await using file = await openFile(pipe.path, 'r+', { encoding: null });
    const data = Buffer.alloc(bigBytes, 'data');
    const wanted = Buffer.concat([data, Buffer.from('after')]);
    await cancelled(() => file.write(data));
    data.fill('X');
    const after = file.write('after');
    const parts: Buffer[] = [];
    for (let bytes = 0; bytes < wanted.length; await turn()) {
      const part = pipe.take();
      parts.push(part);
      bytes += part.length;
    }
    expect(await after).toBe(5);
    expect(Buffer.concat(parts).equals(wanted)).toBe(true);
  });

  fsTest('that waits for its turn is not begun', async (folder) => {
    using pipe = new Pipe(folder);
    await using file = await openFile(pipe.path, 'r+');
    const reading = createTask(() => file.readLine());
    const writing = createTask(() => file.write('never'));
    await checkpoint();
    writing.cancel();
    await failure(writing);
    pipe.send('line\n');
    expect(await reading).toBe('line\n');
    await file.write('x');
    expect(await file.read(1)).toBe('x');
  });

  fsTest('to a file is on the disk when the file is closed', async (folder) => {
    const path = join(folder, 'file');
    const file = await openFile(path, 'w');
    const controller = new AbortController();
    const writing = file.write('w'.repeat(bigBytes), { signal: controller.signal });
    controller.abort('stop');
    expect(await failure(writing)).toBe('stop');
    await file.close();
    expect(readFileSync(path).length).toBe(bigBytes);
  });

  for (const next of ['write', 'writeLines', 'truncate', 'sync', 'close'] as const) {
    fsTest(`that fails after all is thrown by ${next}()`, async () => {
      if (!existsSync('/dev/full')) return;
      const file = await openFile('/dev/full', 'r+');
      await cancelled(() => file.write('lost'));
      const calls = {
        write: () => file.write('x'),
        writeLines: () => file.writeLines(['x']),
        truncate: () => file.truncate(0),
        sync: () => file.sync(),
        close: () => file.close(),
      };
      const error = await failure(calls[next]());
      expect([error.code, error.syscall]).toEqual(['ENOSPC', 'write']);
      // Once.
      await file[Symbol.asyncDispose]();
      expect(file.fd).toBe(-1);
    });
  }

  fsTest('hands on the error of a cancelled sync and truncate, too', async (folder) => {
    using pipe = new Pipe(folder);
    for (const call of ['fsync', 'ftruncate']) {
      const file = await openFile(pipe.path, 'r+');
      await cancelled(() => (call === 'fsync' ? file.sync() : file.truncate(0)));
      const error = await failure(file.close());
      expect([error.code, error.syscall]).toEqual(['EINVAL', call]);
    }
  });

  fsTest('in a cancelled scope is not begun', async (folder) => {
    const path = join(folder, 'file');
    await using file = await openFile(path, 'w');
    const scope = new CancelScope();
    scope.cancel();
    await scope.run(() => file.write('x'));
    await file.sync();
    expect([scope.cancelledCaught, readFileSync(path, 'utf8')]).toEqual([true, '']);
  });
});

describe('other operations', () => {
  fsTest('are cancelled before their turn, or done', async (folder) => {
    using pipe = new Pipe(folder);
    await using file = await openFile(pipe.path, 'r+');
    const reading = createTask(() => file.readLine());
    await checkpoint();
    for (const work of [() => file.seek(0), () => file.truncate(0), () => file.sync()]) {
      await cancelled(work);
    }
    pipe.send('x\n');
    expect(await reading).toBe('x\n');
  });

  test('openFile that is cancelled closes what it opened', () =>
    inFolder(async (folder) => {
      await inRun(async () => {
        const path = join(folder, 'new');
        for (const flags of ['w', 'a', 'r'] as const) {
          const controller = new AbortController();
          const opening = openFile(path, flags, { signal: controller.signal });
          controller.abort('stop');
          expect(await failure(opening)).toBe('stop');
        }
        await cancelled(() => openFile(path));
        await cancelled(() => openFile(join(folder, 'does not exist')));
        const scope = new CancelScope();
        scope.cancel();
        await scope.run(() => openFile(join(folder, 'never made'), 'w'));
        expect(existsSync(join(folder, 'never made'))).toBe(false);
      });
      await vi.waitFor(() => expect(openFiles(folder)).toEqual([]), 5_000);
    }));
});

describe('close', () => {
  fsTest('waits for what is under way and what was asked for before', async (folder) => {
    const path = join(folder, 'file');
    const file = await openFile(path, 'w+');
    const writing = file.write('w'.repeat(bigBytes));
    const seeking = file.seek(1);
    const closing = file.close();
    expect(file.fd).toBeGreaterThan(0);
    await closing;
    expect([await writing, await seeking, file.fd]).toEqual([bigBytes, 1, -1]);
  });

  fsTest('is done for a read that was cancelled, too', async (folder) => {
    using pipe = new Pipe(folder);
    const file = await openFile(pipe.path, 'r+');
    await cancelled(() => file.readLine());
    const closing = createTask(() => file.close());
    for (let i = 0; i < 5; i++) await turn();
    expect([closing.done, file.fd > 0]).toEqual([false, true]);
    pipe.send('x\n');
    await closing;
    expect(file.fd).toBe(-1);
  });

  fsTest('is idempotent', async (folder) => {
    const file = await openFile(join(folder, 'file'), 'w');
    await Promise.all([file.close(), file.close()]);
    await file.close();
    await file[Symbol.asyncDispose]();
  });

  fsTest('makes everything after it a ClosedResourceError', async (folder) => {
    const path = join(folder, 'file');
    writeFileSync(path, 'a\nb\n');
    const file = await openFile(path, 'r+');
    await file.readLine();
    const closing = file.close();
    const calls = [
      () => file.read(),
      () => file.readLine(),
      () => file.readLines(),
      () => file.readInto(new Uint8Array(1)),
      () => file.write('x'),
      () => file.writeLines(['x']),
      () => file.seek(0),
      () => file.truncate(0),
      () => file.sync(),
      () => file[Symbol.asyncIterator]().next(),
    ];
    for (let round = 0; round < 2; round++) {
      for (const call of calls) expect(await failure(call)).toBeInstanceOf(ClosedResourceError);
      await closing;
    }
    expect(file.tell()).toBe(2);
  });

  fsTest('closes in a cancelled scope and in a cancelled task', async (folder) => {
    const scope = new CancelScope();
    let inScope = -2;
    await scope.run(async () => {
      const file = await openFile(join(folder, 'file'), 'w');
      scope.cancel();
      await file.close();
      inScope = file.fd;
      await checkpoint();
    });
    expect([inScope, scope.cancelledCaught]).toEqual([-1, true]);
    const task = createTask(async () => {
      await using _file = await openFile(join(folder, 'file'), 'w');
      task.cancel('why');
      // The block ends with the cancellation itself, not with a SuppressedError.
      await checkpoint();
    });
    expect((await failure(task)).reason).toBe('why');
  });

  fsTest('a cancellation while it closes comes at the next wait', async (folder) => {
    using pipe = new Pipe(folder);
    const file = await openFile(pipe.path, 'r+');
    await cancelled(() => file.readLine());
    const task = createTask(async () => {
      await file.close();
      return await failure(checkpoint());
    });
    await checkpoint();
    task.cancel();
    await shielded(() => turn());
    pipe.send('x');
    expect(await task).toBeInstanceOf(CancelledError);
    expect(file.fd).toBe(-1);
  });

  fsTest('of a block with an error leaves the error as it is', async (folder) => {
    const error = await failure(async () => {
      await using file = await openFile(join(folder, 'file'), 'w');
      await file.write('x');
      throw new RangeError('of the block');
    });
    expect(error).toBeInstanceOf(RangeError);
  });
});
