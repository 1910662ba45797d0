/**
 * Opening files.
 *
 * In: a path, flags, an encoding. Out: an AsyncFile. Never: a file that stays open because nobody
 * waited for it any more.
 */
import type { Buffer } from 'node:buffer';
import { type FileHandle, open } from 'node:fs/promises';
import { argTypeError, type WaitOptions } from '../base/errors.ts';
import { Waiter } from '../task/waiter.ts';
import type { AsyncFile, OpenFlags } from './async-file.ts';
import { bytesCodec, type Codec, textCodecOf } from './codecs.ts';
import { OpenedFile } from './opened-file.ts';
import { RawFile } from './raw-file.ts';

export interface OpenOptions extends WaitOptions {
  /** Null: bytes. Default 'utf8'. */
  encoding?: BufferEncoding | null;
  /** Of a file that is created, less the process' umask. Default 0o666. */
  mode?: number;
}

const allFlags: readonly OpenFlags[] = ['r', 'r+', 'w', 'w+', 'wx', 'a', 'a+', 'ax'];

async function opening(
  waiter: Waiter<OpenedFile<string | Buffer>>,
  opened: Promise<FileHandle>,
  appends: boolean,
  codec: Codec<string | Buffer>,
): Promise<void> {
  const handle = await opened;
  try {
    const raw = new RawFile(handle, appends);
    if (appends && waiter.active) await raw.goToEnd();
    if (waiter.active) waiter.wake(new OpenedFile(raw, codec));
    else await handle.close();
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Opens a file: text by default, bytes with `encoding: null`. Errors are Node's (`ENOENT` …).
 * `await using file = await openFile('a.txt', 'w')`. With 'a' flags the position is at the end.
 * When the wait is cancelled the file may be created or emptied all the same; it is closed.
 * TypeError: other flags; an encoding that is none of text. (curio.aopen, trio.open_file)
 */
export function openFile(
  path: string | URL,
  flags?: OpenFlags,
  options?: WaitOptions & { encoding?: BufferEncoding; mode?: number },
): Promise<AsyncFile<string>>;
export function openFile(
  path: string | URL,
  flags: OpenFlags,
  options: WaitOptions & { encoding: null; mode?: number },
): Promise<AsyncFile<Buffer>>;
export function openFile(
  path: string | URL,
  flags: OpenFlags = 'r',
  options: OpenOptions = {},
): Promise<AsyncFile<string> | AsyncFile<Buffer>> {
  const { encoding = 'utf8', mode } = options;
  try {
    if (!allFlags.includes(flags)) {
      throw argTypeError('flags', `one of '${allFlags.join("', '")}'`, flags);
    }
    const codec = encoding === null ? bytesCodec : textCodecOf(encoding);
    const waiter = new Waiter<OpenedFile<string | Buffer>>('openFile');
    const promise = waiter.start(options);
    if (waiter.active) {
      const appends = flags.startsWith('a');
      opening(waiter, open(path, flags, mode), appends, codec as Codec<string | Buffer>).catch(
        (error: unknown) => waiter.fail(error),
      );
    }
    return promise as Promise<AsyncFile<string> | AsyncFile<Buffer>>;
  } catch (error) {
    return Promise.reject(error);
  }
}
