/** Changes as the system reports them: that they come, not how many. */
import { appendFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { BrokenResourceError, CancelledError } from '../../lib/base/errors.ts';
import { type FileEvent, watch } from '../../lib/fs/index.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { checkpoint } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { failure } from '../task/support.ts';
import { fsTest } from './support.ts';

type Iterator = AsyncIterator<FileEvent, undefined>;

function begin(...args: Parameters<typeof watch>): Iterator {
  return watch(...args)[Symbol.asyncIterator]() as Iterator;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The first event like this; others are passed over. */
async function find(events: Iterator, type: string, filename: string): Promise<FileEvent> {
  for (;;) {
    const step = await events.next();
    if (step.done) throw new Error('the events ended');
    if (step.value.type === type && step.value.filename === filename) return step.value;
  }
}

/** Watchers of this process that are open. */
async function watchers(): Promise<number> {
  // A handle is closed at the end of the turn after.
  await turn();
  await turn();
  return process.getActiveResourcesInfo().filter((name) => name === 'FSEventWrap').length;
}

// The first watcher opens what all others share, until the end of the process.
beforeAll(() => begin(tmpdir()).return?.());

describe('watch', () => {
  fsTest('tells of names that come and go, and of changes, in a folder', async (folder) => {
    const events = begin(folder);
    writeFileSync(join(folder, 'new'), '');
    await find(events, 'rename', 'new');
    appendFileSync(join(folder, 'new'), 'x');
    await find(events, 'change', 'new');
    renameSync(join(folder, 'new'), join(folder, 'other'));
    await find(events, 'rename', 'other');
    rmSync(join(folder, 'other'));
    await find(events, 'rename', 'other');
    await events.return?.();
  });

  fsTest('watches one file, also by URL', async (folder) => {
    const path = join(folder, 'file');
    writeFileSync(path, '');
    for (const where of [path, pathToFileURL(path)]) {
      const events = begin(where);
      appendFileSync(path, 'x');
      expect((await find(events, 'change', 'file')).filename).toBe('file');
      await events.return?.();
    }
  });

  fsTest('keeps what comes between two steps', async (folder) => {
    const events = begin(folder);
    writeFileSync(join(folder, 'a'), '');
    writeFileSync(join(folder, 'b'), '');
    for (let i = 0; i < 10; i++) await turn();
    writeFileSync(join(folder, 'c'), '');
    for (const name of ['a', 'b', 'c']) await find(events, 'rename', name);
    await events.return?.();
  });

  fsTest('watches folders inside with recursive', async (folder) => {
    mkdirSync(join(folder, 'inside'));
    const events = begin(folder, { recursive: true });
    // Node begins to watch the inner ones a little later: change it until it is seen.
    let seen = false;
    const changes = createTask(async () => {
      for (let i = 0; !seen; i++) {
        writeFileSync(join(folder, 'inside/deep'), `${i}`);
        await turn();
      }
    });
    for (;;) {
      const step = await events.next();
      if (step.value?.filename === join('inside', 'deep')) break;
    }
    seen = true;
    await changes;
    await events.return?.();
  });

  fsTest('is closed when the loop is left', async (folder) => {
    const before = await watchers();
    const found: string[] = [];
    const loop = createTask(async () => {
      for await (const event of watch(folder)) {
        found.push(event.filename);
        break;
      }
    });
    await checkpoint();
    expect(await watchers()).toBe(before + 1);
    writeFileSync(join(folder, 'x'), '');
    await loop;
    expect([found, await watchers()]).toEqual([['x'], before]);
  });

  fsTest('is closed when the loop is cancelled', async (folder) => {
    const before = await watchers();
    const loop = async (signal?: AbortSignal): Promise<void> => {
      for await (const _event of watch(folder, { signal })) expect.unreachable();
    };
    expect(await moveOnAfter(5, () => loop())).toBe(undefined);
    expect(await watchers()).toBe(before);
    const task = createTask(() => loop());
    await checkpoint();
    task.cancel();
    expect(await failure(task)).toBeInstanceOf(CancelledError);
    const controller = new AbortController();
    const signalled = loop(controller.signal);
    controller.abort('stop');
    expect(await failure(signalled)).toBe('stop');
    expect(await failure(loop(AbortSignal.abort('early')))).toBe('early');
    expect(await watchers()).toBe(before);
  });

  fsTest('ends for ever when it was cancelled', async (folder) => {
    const events = begin(folder);
    const waiting = createTask(() => events.next());
    const second = createTask(() => events.next());
    await checkpoint();
    waiting.cancel();
    await failure(waiting);
    expect((await second).done).toBe(true);
    expect((await events.next()).done).toBe(true);
  });

  fsTest('gives events to several waits in order', async (folder) => {
    const events = begin(folder);
    const first = events.next();
    const second = events.next();
    writeFileSync(join(folder, 'x'), 'x');
    expect((await first).value).toEqual({ type: 'rename', filename: 'x' });
    expect((await second).value?.filename).toBe('x');
    await events.return?.();
  });

  fsTest('holds a bounded number of events, then fails', async (folder) => {
    const events = begin(folder);
    // Renames come in pairs of names; no event is taken meanwhile.
    for (let i = 0; i < 4200; i++) {
      writeFileSync(join(folder, `file-${i}`), '');
      if (i % 100 === 0) await turn();
    }
    for (let i = 0; i < 20; i++) await turn();
    let seen = 0;
    const error = await failure(async () => {
      for (;;) {
        await events.next();
        seen++;
      }
    });
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(seen).toBe(4096);
    expect((await events.next()).done).toBe(true);
  });

  fsTest('holds equal events once', async (folder) => {
    const path = join(folder, 'file');
    writeFileSync(path, '');
    const events = begin(path);
    for (let i = 0; i < 100; i++) {
      appendFileSync(path, 'x');
      await turn();
    }
    expect((await events.next()).value).toEqual({ type: 'change', filename: 'file' });
    expect(await moveOnAfter(20, () => events.next())).toBe(undefined);
  });

  fsTest('gives errors of Node at the first step', async (folder) => {
    const events = begin(join(folder, 'nothing'));
    const error = await failure(events.next());
    expect([error.code, error.syscall]).toEqual(['ENOENT', 'watch']);
    expect((await events.next()).done).toBe(true);
  });

  test('throws for what is no path', () => {
    for (const path of [undefined, 7, null]) {
      expect(() => watch(path as unknown as string)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
      );
    }
  });
});
