/** Folders of their own for tests of files, and pipes whose calls the test can hold up. */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  writeSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { inRun } from '../task/support.ts';

/** Files below a folder that this process has open. Only Linux tells; elsewhere: none. */
export function openFiles(folder: string): string[] {
  if (process.platform !== 'linux') return [];
  const found: string[] = [];
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      found.push(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // That of the listing itself.
    }
  }
  return found.filter((path) => path.startsWith(folder));
}

/** Makes a folder, gives its path to `fn`, and removes it. */
export async function inFolder<T>(fn: (folder: string) => T | PromiseLike<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'uvio-fs-'));
  try {
    return await fn(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A test as main task, with a folder; it leaves no task, no timer and no open file. */
export function fsTest(title: string, main: (folder: string) => unknown): void {
  test(title, () =>
    inFolder(async (folder) => {
      await inRun(() => main(folder));
      expect(openFiles(folder)).toEqual([]);
    }),
  );
}

/** A named pipe. A read of it ends when the test sends, a big write when the test takes. */
export class Pipe implements Disposable {
  readonly path: string;
  readonly #fd: number;

  constructor(folder: string) {
    this.path = join(folder, 'pipe');
    execFileSync('mkfifo', [this.path]);
    // Both ends: nobody has to wait for somebody to open the other one.
    this.#fd = openSync(this.path, constants.O_RDWR | constants.O_NONBLOCK);
  }

  send(data: string | Uint8Array): void {
    writeSync(this.#fd, Buffer.from(data as string));
  }

  /** What is in the pipe. */
  take(): Buffer {
    const target = Buffer.alloc(1 << 20);
    try {
      return target.subarray(0, readSync(this.#fd, target));
    } catch (error) {
      if ((error as { code?: string }).code === 'EAGAIN') return Buffer.alloc(0);
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** Reproducible bytes. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 … limit - 1 */
  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }
}
