/** Descriptors for the tests of those: FIFOs, files, and how many are open. */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { until } from './support.ts';

let folder = '';
let made = 0;

/** A path in a folder that is removed at the end. */
export function freshPath(name: string): string {
  made += 1;
  return join(folder, `${made}-${name}`);
}

export function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

export function openFds(): number[] {
  return readdirSync('/proc/self/fd').map(Number);
}

/** A pipe: [read end, write end]. A FIFO with a name, since Node has no pipe(2). */
export function makePipe(): [number, number] {
  return makePipes(1)[0] as [number, number];
}

/** Many, with one process. */
export function makePipes(count: number): [number, number][] {
  const paths = Array.from({ length: count }, () => freshPath('fifo'));
  execFileSync('mkfifo', paths);
  return paths.map((path) => {
    const reads = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return [reads, openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)];
  });
}

export function closeQuietly(...fds: number[]): void {
  for (const fd of fds) {
    try {
      closeSync(fd);
    } catch {
      // Closed by its owner.
    }
  }
}

/** A folder for the file, and after each test as many descriptors as before it. */
export function checkFds(): void {
  let before = 0;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'uvio-fds-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  beforeEach(() => {
    before = openFds().length;
  });
  afterEach(async () => {
    // Node and libuv open some of their own, once; those are few and stay.
    await until(() => openFds().length <= before + 6);
    expect(openFds().length).toBeLessThanOrEqual(before + 6);
  });
}
