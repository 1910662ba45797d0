/**
 * AsyncFile, over a RawFile and a codec.
 *
 * In: calls of the user, checked. Out: results at once when they are in memory, else jobs. Never:
 * system calls of its own.
 */
import { Buffer } from 'node:buffer';
import { argTypeError, ClosedResourceError, type WaitOptions } from '../base/errors.ts';
import { checkBytes, checkInteger } from '../base/units.ts';
import { checkAttached } from '../io/data.ts';
import { cancelledPromise, takeCancellation } from '../task/waiter.ts';
import type { AsyncFile } from './async-file.ts';
import { bytesCodec, type Codec } from './codecs.ts';
import { CallJob, ChangeJob, CloseJob, ReadJob } from './file-jobs.ts';
import type { FileJob, RawFile } from './raw-file.ts';
import {
  notYet,
  type Step,
  type Want,
  WantAll,
  WantInto,
  WantLine,
  WantLines,
  WantNextLine,
  WantSome,
  wantNextChunk,
} from './wants.ts';

/** Encoded, and a copy: a write that was cancelled goes on with it. */
export function encode(codec: Codec<string | Buffer>, name: string, data: unknown): Buffer {
  if (typeof data === 'string') return codec.encode(data);
  if (!(data instanceof Uint8Array)) throw argTypeError(name, 'a string or a Uint8Array', data);
  checkAttached(data);
  return Buffer.from(data);
}

function encodeAll(codec: Codec<string | Buffer>, parts: unknown): Buffer {
  const iterable = typeof parts === 'object' && parts !== null && Symbol.iterator in parts;
  if (!iterable || parts instanceof Uint8Array) {
    throw argTypeError('parts', 'an iterable of strings and Uint8Arrays', parts);
  }
  const encoded: Buffer[] = [];
  for (const part of parts as Iterable<unknown>) encoded.push(encode(codec, 'parts', part));
  return Buffer.concat(encoded);
}

const origins: readonly unknown[] = ['start', 'current', 'end'];

export class OpenedFile<D extends string | Buffer> implements AsyncFile<D> {
  readonly #raw: RawFile;
  readonly #codec: Codec<D>;
  /** Of `close()`. */
  #closed: Promise<void> | null = null;

  constructor(raw: RawFile, codec: Codec<D>) {
    this.#raw = raw;
    this.#codec = codec;
  }

  get fd(): number {
    return this.#raw.handle.fd;
  }

  tell(): number {
    return this.#raw.window.offset;
  }

  read(size: number = Infinity, options?: WaitOptions): Promise<D> {
    try {
      const count = checkBytes('size', size);
      const codec = this.#codec;
      const want = count === Infinity ? new WantAll(codec) : new WantSome(codec, count);
      return this.#read(want, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  readLine(options?: WaitOptions): Promise<D> {
    return this.#read(new WantLine(this.#codec), options);
  }

  readLines(options?: WaitOptions): Promise<D[]> {
    return this.#read(new WantLines(this.#codec), options);
  }

  readInto(target: Uint8Array, options?: WaitOptions): Promise<number> {
    try {
      if (!(target instanceof Uint8Array)) throw argTypeError('target', 'a Uint8Array', target);
      checkAttached(target);
      return this.#read(new WantInto(target), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  write(data: string | Uint8Array, options?: WaitOptions): Promise<number> {
    try {
      return this.#write(encode(this.#codec, 'data', data), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async writeLines(parts: Iterable<string | Uint8Array>, options?: WaitOptions): Promise<void> {
    await this.#write(encodeAll(this.#codec, parts), options);
  }

  seek(offset: number, from: 'start' | 'current' | 'end' = 'start'): Promise<number> {
    try {
      const by = checkInteger('offset', offset, from === 'start' ? 0 : Number.MIN_SAFE_INTEGER);
      if (!origins.includes(from)) throw argTypeError('from', "'start', 'current' or 'end'", from);
      return this.#start(new CallJob('seek', (file) => file.seek(by, from)), undefined);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  truncate(bytes?: number): Promise<void> {
    try {
      const size = bytes === undefined ? undefined : checkInteger('bytes', bytes);
      return this.#start(new ChangeJob('truncate', (file) => file.truncate(size)), undefined);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  sync(): Promise<void> {
    return this.#start(new ChangeJob('sync', (file) => file.sync()), undefined);
  }

  close(): Promise<void> {
    if (this.#closed === null) {
      const job = new CloseJob();
      // In no region, so that no cancellation reaches it.
      this.#closed = job.begin(null);
      this.#raw.add(job as FileJob<unknown>);
    }
    return this.#closed;
  }

  /** Says nothing of an error that `close()` told before. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#closed === null ? this.close() : this.#closed.catch(() => {});
  }

  [Symbol.asyncIterator](): AsyncIterator<D, undefined> {
    return new Steps<D>(() => this.#step());
  }

  #step(): Promise<Step<D>> {
    const codec = this.#codec as Codec<string | Buffer>;
    const want: Want<Step<string | Buffer>> =
      codec === bytesCodec ? wantNextChunk : new WantNextLine(codec as Codec<string>);
    return this.#read(want as Want<Step<D>>, undefined);
  }

  /** From memory, or as a job. */
  #read<T>(want: Want<T>, options: WaitOptions | undefined): Promise<T> {
    if (!this.#raw.idle) return this.#start(new ReadJob(want), options);
    const refusal = this.#refuse(options);
    if (refusal !== null) return refusal;
    try {
      const result = want.take(this.#raw.window, false);
      if (result !== notYet) return Promise.resolve(result);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#start(new ReadJob(want), options);
  }

  #write(bytes: Buffer, options: WaitOptions | undefined): Promise<number> {
    return this.#start(new ChangeJob('write', (file) => file.write(bytes)), options);
  }

  #refuse(options: WaitOptions | undefined): Promise<never> | null {
    const cancelled = takeCancellation();
    if (cancelled !== null) return cancelledPromise(cancelled);
    if (options?.signal?.aborted) return Promise.reject(options.signal.reason);
    return this.#closed === null ? null : closedError();
  }

  #start<T>(job: FileJob<T>, options: WaitOptions | undefined): Promise<T> {
    if (this.#closed !== null) return this.#refuse(options) ?? closedError();
    const promise = job.start(options);
    if (job.active) this.#raw.add(job as FileJob<unknown>);
    return promise;
  }
}

function closedError(): Promise<never> {
  return Promise.reject(new ClosedResourceError('The file was closed'));
}

/** Leaving the loop early closes nothing. */
class Steps<D> implements AsyncIterableIterator<D, undefined> {
  readonly next: () => Promise<Step<D>>;

  constructor(next: () => Promise<Step<D>>) {
    this.next = next;
  }

  return(): Promise<Step<D>> {
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
