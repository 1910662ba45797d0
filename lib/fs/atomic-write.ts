/**
 * Replacing a file as a whole.
 *
 * In: a path and what the file is to contain. Out: the new file, or the old one untouched. Never:
 * half a file; a temporary file left behind by anything but the end of the process.
 *
 * Its waits are Node's own: no cancellation ends them, so that each step is whole and the clean-up
 * is done when the caller hears of it. Between the steps it is asked for.
 */
import type { Buffer } from 'node:buffer';
import { type FileHandle, open, readlink, realpath, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { threadId } from 'node:worker_threads';
import { argTypeError, systemErrorByCode, type WaitOptions } from '../base/errors.ts';
import { checkInteger } from '../base/units.ts';
import { throwIfCancelled } from '../task/sleep.ts';
import { checkSignal } from '../task/waiter.ts';
import { textCodecOf } from './codecs.ts';
import { encode } from './opened-file.ts';

export interface AtomicWriteOptions extends WaitOptions {
  /** Of a string. Default 'utf8'. */
  encoding?: BufferEncoding;
  /** Default: that of the file that is replaced, else 0o666 less the process' umask. */
  mode?: number;
}

/** Between two pieces a cancellation takes effect. */
const pieceBytes = 1 << 20;

/** What fails with one of these has no such thing; all else is an error. */
function without(...codes: string[]): (error: NodeJS.ErrnoException) => undefined {
  return (error) => {
    if (!codes.includes(error.code ?? '')) throw error;
  };
}

function checkGoOn(options: WaitOptions): void {
  throwIfCancelled();
  checkSignal(options);
}

/** Where the file is, or is to be made: a link may lead to what does not exist yet. */
async function followLinks(path: string): Promise<string> {
  const real = await realpath(path).catch(without('ENOENT'));
  if (real !== undefined) return real;
  const next = await readlink(path).catch(without('ENOENT', 'EINVAL'));
  if (next === undefined) return path;
  return await followLinks(resolve(await realpath(dirname(path)), next));
}

let lastTemporary = 0;

/** A new file beside the target: a file can only be renamed within its file system. */
async function createBeside(
  target: string,
  mode: number,
): Promise<{ path: string; handle: FileHandle }> {
  for (;;) {
    const name = `.uvio-${process.pid}-${threadId}-${++lastTemporary}.tmp`;
    const path = join(dirname(target), name);
    // 'wx' follows no link and takes no file of somebody else.
    const handle = await open(path, 'wx', mode).catch(without('EEXIST'));
    if (handle !== undefined) return { path, handle };
  }
}

async function fill(handle: FileHandle, bytes: Buffer, options: WaitOptions): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    checkGoOn(options);
    const length = Math.min(pieceBytes, bytes.length - done);
    done += (await handle.write(bytes, done, length, null)).bytesWritten;
  }
  checkGoOn(options);
  await handle.sync();
}

/** So that the new name survives a crash. Windows cannot, and has no need to. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(path, 'r');
  try {
    await handle.sync().catch(without('EINVAL', 'ENOTSUP'));
  } finally {
    await handle.close();
  }
}

/**
 * Writes `data` to a temporary file in the same folder, flushes it to the disk, gives it the name
 * `path` and flushes the folder: whoever reads sees the old content or the new one, also after a
 * crash. A link is followed, also to what does not exist yet. Owner and extended attributes are not
 * kept; other hard links keep the old content.
 *
 * When it fails or is cancelled before the renaming, the temporary file is removed and the target
 * is untouched. A cancellation takes effect between steps (1 MiB, flush) and not after the
 * renaming has begun. Errors are Node's, EINVAL where `path` is a device, a pipe or a socket;
 * TypeError: data that is neither text nor bytes.
 */
export async function atomicWrite(
  path: string | URL,
  data: string | Uint8Array,
  options: AtomicWriteOptions = {},
): Promise<void> {
  if (typeof path !== 'string' && !(path instanceof URL)) {
    throw argTypeError('path', 'a string or a URL', path);
  }
  const bytes = encode(textCodecOf(options.encoding ?? 'utf8'), 'data', data);
  const given = options.mode === undefined ? undefined : checkInteger('mode', options.mode);
  checkGoOn(options);
  const named = typeof path === 'string' ? path : fileURLToPath(path);
  const target = await followLinks(named);
  const old = await stat(target).catch(without('ENOENT'));
  // Renaming a file over a device or a pipe would take it from all who use it.
  if (old?.isFile() === false && !old.isDirectory()) throw systemErrorByCode('EINVAL', 'rename');
  const kept = given ?? (old === undefined ? undefined : old.mode & 0o7777);
  const temporary = await createBeside(target, kept ?? 0o666);
  try {
    try {
      // The umask has had its say when the file was made.
      if (kept !== undefined) await temporary.handle.chmod(kept);
      await fill(temporary.handle, bytes, options);
    } finally {
      await temporary.handle.close();
    }
    checkGoOn(options);
    await rename(temporary.path, target);
  } catch (error) {
    await unlink(temporary.path).catch(without('ENOENT'));
    throw error;
  }
  await syncFolder(dirname(target));
}
