/**
 * An open file below its users: position, read-ahead, and one operation at a time.
 *
 * In: jobs, in order. Out: system calls through node:fs/promises. Never: two calls at once; a job
 * that was cancelled before its turn; the file's own position of the kernel, except where there is
 * no other (pipes).
 *
 * A call that a thread of the pool works on cannot be stopped. So jobs go on when the wait for them
 * was cancelled, and the next one begins after them.
 */
import type { Buffer } from 'node:buffer';
import type { FileHandle } from 'node:fs/promises';
import { Deque } from '../base/deque.ts';
import { rangeError, systemErrorByCode } from '../base/errors.ts';
import { Waiter } from '../task/waiter.ts';
import { ByteWindow } from './byte-window.ts';

/** A read asks for that much at least, and at most: more would keep a cancelled one busy. */
const minReadBytes = 1 << 14;
const maxReadBytes = 1 << 20;
/** Who reads a file to its end, and has got so far, asks for its size. */
const askSizeBytes = 1 << 17;

/** One operation; also the wait for it. */
export abstract class FileJob<T> extends Waiter<T> {
  /** @internal Settles the wait, or throws. */
  abstract run(file: RawFile): Promise<void>;

  /** @internal `run` threw. */
  failed(_file: RawFile, error: unknown): void {
    this.fail(error);
  }
}

export class RawFile {
  readonly handle: FileHandle;
  /** What was read ahead; its offset is the position of the file. */
  readonly window: ByteWindow = new ByteWindow();
  /** All writes go to the end. */
  readonly #appends: boolean;
  /** Known to be at the end, so that an appending write need not ask where it went. */
  #atEnd = false;
  /** Pipes and terminals have no positions; the first call tells. */
  #hasPositions = true;
  readonly #jobs: Deque<FileJob<unknown>> = new Deque();
  /** There is a `#work()` that will take the next job. */
  #busy = false;
  /** A job uses the file. */
  #working = false;
  /** The error of a write that nobody waited for any more. */
  #lost: { readonly error: unknown } | null = null;

  constructor(handle: FileHandle, appends: boolean) {
    this.handle = handle;
    this.#appends = appends;
  }

  /** Nothing is under way, so what the window has may be taken at once. */
  get idle(): boolean {
    return !this.#working && this.#jobs.length === 0;
  }

  /** The job has nothing more to do but to wake who waits for it, who may go on at once. */
  release(): void {
    this.#working = false;
  }

  add(job: FileJob<unknown>): void {
    this.#jobs.push(job);
    if (!this.#busy) void this.#work();
  }

  async #work(): Promise<void> {
    this.#busy = true;
    for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
      if (!job.active) continue;
      this.#working = true;
      try {
        await job.run(this);
      } catch (error) {
        job.failed(this, error);
      }
      this.#working = false;
    }
    this.#busy = false;
  }

  /**
   * Reads once into the window. Bytes read; 0 at the end.
   * @param wantedBytes what is missing, as far as known.
   */
  async fill(wantedBytes: number): Promise<number> {
    const { window } = this;
    if (wantedBytes < Infinity) {
      window.reserve(Math.min(Math.max(wantedBytes, minReadBytes), maxReadBytes));
    } else if (window.room < minReadBytes) {
      window.reserve(window.bytes < askSizeBytes ? minReadBytes : await this.#restBytes());
    }
    const bytes = Math.min(window.room, maxReadBytes);
    const bytesRead = await this.#read(window.data, window.end, bytes);
    window.end += bytesRead;
    if (bytesRead > 0) this.#atEnd = false;
    return bytesRead;
  }

  /** For the room to take the whole file, instead of growing again and again. */
  async #restBytes(): Promise<number> {
    const { window } = this;
    const { size } = await this.handle.stat();
    // One read more tells the end.
    return Math.max(0, size - window.offset - window.bytes) + minReadBytes;
  }

  async #read(target: Buffer, at: number, bytes: number): Promise<number> {
    if (this.#hasPositions) {
      const { window, handle } = this;
      try {
        return (await handle.read(target, at, bytes, window.offset + window.bytes)).bytesRead;
      } catch (error) {
        this.#checkPositions(error);
      }
    }
    return (await this.handle.read(target, at, bytes, null)).bytesRead;
  }

  /** Writes all of it. */
  async write(bytes: Buffer): Promise<void> {
    this.throwLost();
    // What was read ahead may be older than this.
    if (this.#hasPositions) this.window.moveTo(this.window.offset);
    for (let done = 0; done < bytes.length; ) {
      const written = await this.#write(bytes, done);
      done += written;
      if (this.#hasPositions) this.window.offset += written;
    }
    if (!this.#appends || this.#atEnd || bytes.length === 0) return;
    this.window.offset = (await this.handle.stat()).size;
    this.#atEnd = true;
  }

  async #write(bytes: Buffer, done: number): Promise<number> {
    const { handle, window } = this;
    const length = bytes.length - done;
    if (this.#hasPositions && !this.#appends) {
      try {
        return (await handle.write(bytes, done, length, window.offset)).bytesWritten;
      } catch (error) {
        this.#checkPositions(error);
      }
    }
    return (await handle.write(bytes, done, length, null)).bytesWritten;
  }

  /** Throws the error unless it says that there are no positions. */
  #checkPositions(error: unknown): void {
    if ((error as NodeJS.ErrnoException).code !== 'ESPIPE') throw error;
    this.#hasPositions = false;
  }

  async seek(offset: number, from: 'start' | 'current' | 'end'): Promise<number> {
    const stats = await this.handle.stat();
    if (!this.#hasPositions || stats.isFIFO() || stats.isSocket()) {
      throw systemErrorByCode('ESPIPE', 'lseek');
    }
    const base = from === 'start' ? 0 : from === 'current' ? this.window.offset : stats.size;
    const position = base + offset;
    if (position < 0 || !Number.isSafeInteger(position)) {
      throw rangeError('offset', `a position within the file from ${base}`, offset);
    }
    this.window.moveTo(position);
    this.#atEnd = false;
    return position;
  }

  async truncate(bytes: number | undefined): Promise<void> {
    this.throwLost();
    const { window } = this;
    await this.handle.truncate(bytes ?? window.offset);
    window.moveTo(window.offset);
    this.#atEnd = false;
  }

  /** For files that were opened to append. */
  async goToEnd(): Promise<void> {
    this.window.moveTo((await this.handle.stat()).size);
    this.#atEnd = true;
  }

  /** A write failed whose wait was cancelled: somebody has to hear of it. */
  lose(error: unknown): void {
    this.#lost ??= { error };
  }

  throwLost(): void {
    const lost = this.#lost;
    this.#lost = null;
    if (lost !== null) throw lost.error;
  }
}
