/**
 * Files sent over a transport: by the kernel where the backend can, else by copies.
 *
 * In: a transport and a file. Out: its bytes, in line behind what was written before. Never: a
 * descriptor of ours that stays open; a read that goes on when the call is over.
 */
import { close, fstat, open, read, type Stats } from 'node:fs';
import {
  argTypeError,
  BrokenResourceError,
  BusyResourceError,
  ClosedResourceError,
  notSupportedError,
  systemError,
  systemErrorByCode,
  type WaitOptions,
} from '../base/errors.ts';
import { checkCount, checkInteger } from '../base/units.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { Waiter } from '../task/waiter.ts';
import { flagWriteEnded, stateOpen } from './stream.ts';
import { type SendingFile, StreamTransport } from './transport.ts';

export interface SendfileOptions extends WaitOptions {
  /** Where in the file to begin. Default 0. */
  offset?: number;
  /** Default: to the file's end. */
  countBytes?: number;
  /** False: an error with code ENOTSUP instead of copies. Default true. */
  fallback?: boolean;
}

/** A step of the kernel's: what is not in memory keeps the thread waiting meanwhile. */
const stepBytes = 256 * 1024;
const copyBytes = 128 * 1024;

/** The file cannot be sent so, but perhaps be read: a special file, an old file system. */
const notThisWay: ReadonlySet<string> = new Set(['EINVAL', 'ENOSYS', 'ENOTSUP', 'EOVERFLOW']);

/** What is sent to, step by step. */
export interface FileSteps {
  /** Bytes sent of at most so many, 0 at the file's end, or a negative errno. */
  step(maxBytes: number): number;
  /** Until there is room for more. Rejects when it cannot go on. */
  writable(): Promise<void>;
  failed(error: NodeJS.ErrnoException): Error;
}

/** False: the kernel cannot, and nothing was sent. Ends early at the file's end. */
export async function sendByKernel(steps: FileSteps, countBytes: number): Promise<boolean> {
  let leftBytes = countBytes;
  while (leftBytes > 0) {
    const sent = steps.step(Math.min(leftBytes, stepBytes));
    if (sent === 0) return true;
    if (sent > 0) {
      leftBytes -= sent;
    } else {
      const error = systemError(sent, 'sendfile');
      const code = error.code ?? '';
      if (notThisWay.has(code) && leftBytes === countBytes) return false;
      if (code !== 'EAGAIN') throw steps.failed(error);
    }
    // Also after a step that went well: others have their turn.
    if (leftBytes > 0) await steps.writable();
  }
  return true;
}

type Done<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

class Sending implements SendingFile {
  readonly #loop: EventLoop;
  readonly #transport: StreamTransport;
  readonly #wait: WaitOptions;
  readonly #countBytes: number;
  #offset: number;
  #sentBytes = 0;
  /** Of the present step. */
  #waiter: Waiter<unknown> | null = null;
  #loss: Error | null = null;
  /** A thread is still at work on the file. */
  #working: Promise<unknown> | null = null;

  constructor(loop: EventLoop, transport: StreamTransport, options: SendfileOptions) {
    this.#loop = loop;
    this.#transport = transport;
    this.#wait = { signal: options.signal };
    this.#offset = checkInteger('offset', options.offset ?? 0);
    const { countBytes = Infinity } = options;
    this.#countBytes = checkCount('countBytes', countBytes);
  }

  async run(file: string | number, fallback: boolean): Promise<number> {
    const owned = typeof file === 'string';
    let fd = owned ? -1 : file;
    try {
      if (owned) {
        // Cancelled meanwhile, it is closed all the same.
        await this.#work<number>((done) => {
          open(file, 'r', (error, opened) => {
            if (error === null) fd = opened;
            done(error, opened);
          });
        });
      }
      const stats = await this.#work<Stats>((done) => fstat(fd, done));
      if (stats.isDirectory()) throw systemErrorByCode('EISDIR', 'sendfile');
      if (!stats.isFile()) throw systemErrorByCode('EINVAL', 'sendfile');
      if (!(await this.#byKernel(fd, fallback))) await this.#byCopies(fd);
      return this.#sentBytes;
    } finally {
      await this.#working?.catch(() => {});
      if (owned && fd >= 0) await new Promise<void>((resolve) => close(fd, () => resolve()));
    }
  }

  private get leftBytes(): number {
    return this.#countBytes - this.#sentBytes;
  }

  /** False: it cannot, nothing was sent, and copies may be made. */
  async #byKernel(fd: number, fallback: boolean): Promise<boolean> {
    const { handle } = this.#transport;
    const { sendFile } = handle;
    if (sendFile === undefined) {
      if (fallback) return false;
      throw notSupportedError('sendfile', `the ${this.#loop.backend} backend has no sendfile`);
    }
    const steps: FileSteps = {
      step: (maxBytes) => {
        this.#check();
        const sent = sendFile.call(handle, fd, this.#offset, maxBytes);
        if (sent > 0) this.#advance(sent);
        return sent;
      },
      writable: () => this.#until((ready) => handle.notifyWritable?.(ready)),
      failed: (error) => this.#failed(error),
    };
    const sent = await sendByKernel(steps, this.leftBytes);
    if (!sent && !fallback) throw notSupportedError('sendfile', 'not from such a file');
    return sent;
  }

  async #byCopies(fd: number): Promise<void> {
    const { handle } = this.#transport;
    while (this.leftBytes > 0) {
      this.#check();
      const target = Buffer.allocUnsafe(Math.min(this.leftBytes, copyBytes));
      const bytes = await this.#work<number>((done) => {
        read(fd, target, 0, target.length, this.#offset, done);
      });
      if (bytes === 0) return;
      this.#check();
      const buffered = handle.write(target.subarray(0, bytes));
      this.#advance(bytes);
      // Not to the end: the next read can go on meanwhile.
      if (buffered > copyBytes) await this.#until(() => handle.notifyDrain(copyBytes));
    }
  }

  #advance(bytes: number): void {
    this.#sentBytes += bytes;
    this.#offset += bytes;
  }

  #check(): void {
    if (this.#loss !== null) throw this.#loss;
    if (this.#transport.state !== stateOpen) throw closedError();
  }

  /** A call of the connection failed: it cannot go on. */
  #failed(cause: NodeJS.ErrnoException): Error {
    if (cause.code === 'EBADF') return closedError();
    // That of the file: the connection is as it was, short of what is missing.
    if (cause.code === 'EIO') return cause;
    this.#transport.abort();
    return new BrokenResourceError(`The connection was lost: ${cause.message}`, { cause });
  }

  /** Waits for the transport. */
  async #until(ask: (ready: () => void) => void): Promise<void> {
    const waiter = new Waiter<unknown>('sendfile');
    const promise = waiter.start(this.#wait);
    this.#waiter = waiter;
    if (waiter.active) ask(() => waiter.wake(undefined));
    try {
      await promise;
    } finally {
      this.#waiter = null;
    }
  }

  /** Waits for a thread of Node's. */
  #work<T>(call: (done: Done<T>) => void): Promise<T> {
    const waiter = new Waiter<T>('sendfile');
    const promise = waiter.start(this.#wait);
    if (!waiter.active) return promise;
    const loop = this.#loop;
    loop.outsideWork++;
    this.#working = new Promise<void>((resolve) => {
      call((error, value) => {
        loop.outsideWork--;
        resolve();
        if (error) waiter.fail(error);
        else waiter.wake(value);
      });
    });
    return promise;
  }

  onDrain(): void {
    this.#waiter?.wake(undefined);
  }

  onClosed(error: Error | undefined): void {
    const cause = error === undefined ? {} : { cause: error };
    const why = error === undefined ? 'closed' : error.message;
    this.#loss = new BrokenResourceError(`The connection was lost: ${why}`, cause);
    this.#waiter?.fail(this.#loss);
  }
}

function closedError(): ClosedResourceError {
  return new ClosedResourceError('The transport was closed');
}

export async function sendFile(
  loop: EventLoop,
  transport: unknown,
  file: string | number,
  options: SendfileOptions,
): Promise<number> {
  if (!(transport instanceof StreamTransport)) {
    throw argTypeError('transport', 'a stream transport', transport);
  }
  if (typeof file === 'number') checkInteger('file', file, 0, 2 ** 31 - 1);
  else if (typeof file !== 'string') throw argTypeError('file', 'a path or a descriptor', file);
  const sending = new Sending(loop, transport, options);
  if (transport.sending !== null) throw new BusyResourceError('A file is being sent already');
  if (transport.state !== stateOpen || transport.has(flagWriteEnded)) throw closedError();
  transport.sending = sending;
  try {
    return await sending.run(file, options.fallback ?? true);
  } finally {
    transport.sending = null;
  }
}
