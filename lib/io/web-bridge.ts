/**
 * A connection as a pair of Web streams.
 *
 * In: records of the backend, calls of the streams. Out: a readable and a writable. Never: a
 * chunk of the backend's own memory: a stream of bytes detaches what it is given.
 */
import type { Buffer } from 'node:buffer';
import {
  type ReadableByteStreamController,
  ReadableStream,
  WritableStream,
  type WritableStreamDefaultController,
} from 'node:stream/web';
import {
  argTypeError,
  BrokenResourceError,
  ClosedResourceError,
  type Data,
} from '../base/errors.ts';
import type { CallbackContext } from '../loop/backend.ts';
import { currentLoop } from '../task/frame.ts';
import { captureContext } from './callback-context.ts';
import type { WebStreamPair } from './net-types.ts';
import { inertSink } from './stream.ts';
import type { Elder, HandedOver, Heir } from './taken.ts';

/** Node's types lack it. */
interface ByobRequest {
  respond(bytes: number): void;
}

/** Who waits for the buffer to drain: one write or the close, since they come one at a time. */
interface Drain {
  resolve(): void;
  reject(error: unknown): void;
}

export class WebBridge implements Heir {
  readonly context: CallbackContext;
  readonly #elder: Elder;
  readonly #start: HandedOver;
  #readable!: ReadableByteStreamController;
  #writable!: WritableStreamDefaultController;
  #drain: Drain | null = null;
  #readEnded = false;
  #writeEnded = false;

  constructor(elder: Elder) {
    this.context = captureContext(currentLoop());
    this.#elder = elder;
    this.#start = elder.handOver(this);
  }

  pair(): WebStreamPair {
    const { highWaterBytes, limitBytes } = this.#elder.limits;
    const readable = new ReadableStream(
      {
        type: 'bytes',
        start: (controller) => {
          this.#readable = controller;
        },
        pull: () => this.#elder.handle.resume(),
        cancel: (reason) => this.#leave(reason),
      },
      { highWaterMark: limitBytes },
    );
    const writable = new WritableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#writable = controller;
        },
        write: (chunk) => this.#write(chunk),
        close: () => this.#end(),
        abort: (reason) => this.cutOff(reason),
      },
      { highWaterMark: highWaterBytes, size: byteSize },
    );
    const { received, ended, writeEnded } = this.#start;
    // Not closed: a closing stream that nobody has a writer of makes Node 20 fail at `getWriter()`.
    this.#writeEnded = writeEnded;
    if (received.length > 0) this.onData(received);
    if (ended) this.onEof();
    return { readable, writable };
  }

  #write(chunk: Data): Promise<void> | undefined {
    if (!(chunk instanceof Uint8Array)) throw argTypeError('chunk', 'a Uint8Array', chunk);
    if (this.#writeEnded) throw new ClosedResourceError('write after writeEof()');
    const { handle, limits } = this.#elder;
    const bufferedBytes = handle.write(chunk);
    return bufferedBytes > limits.highWaterBytes ? this.#drained(limits.lowWaterBytes) : undefined;
  }

  #drained(lowBytes: number): Promise<void> {
    this.#elder.handle.notifyDrain(lowBytes);
    return new Promise((resolve, reject) => {
      this.#drain = { resolve, reject };
    });
  }

  async #end(): Promise<void> {
    const { handle } = this.#elder;
    handle.shutdown();
    if (handle.bufferedBytes > 0) await this.#drained(0);
    this.#writeEnded = true;
    this.#closeWhenEnded();
  }

  #closeWhenEnded(): void {
    if (this.#readEnded && this.#writeEnded) this.endSoon();
  }

  /** Nobody reads any more: what was written is still sent, then the connection closes. */
  #leave(reason: unknown): void {
    this.#readEnded = true;
    this.endSoon();
    if (!this.#writeEnded) this.#fail(abortedError(reason));
  }

  /** @internal */
  endSoon(): void {
    this.#elder.handle.close();
  }

  /** @internal */
  cutOff(reason: unknown): void {
    this.#elder.handle.abort();
    this.#fail(abortedError(reason));
  }

  #fail(error: unknown): void {
    if (!this.#readEnded) this.#readable.error(error);
    this.#readEnded = true;
    this.#drain?.reject(error);
    this.#drain = null;
    if (!this.#writeEnded) this.#writable.error(error);
    this.#writeEnded = true;
  }

  /** @internal */
  onData(chunk: Buffer): void {
    if (this.#readEnded) return;
    this.#readable.enqueue(new Uint8Array(chunk));
    if ((this.#readable.desiredSize ?? 0) <= 0) this.#elder.handle.pause();
  }

  /** @internal Never asked for. */
  onAlloc(hintBytes: number): Uint8Array {
    return inertSink.onAlloc(hintBytes);
  }

  /** @internal */
  onFilled(): void {}

  /** @internal */
  onEof(): void {
    if (this.#readEnded) return;
    this.#readEnded = true;
    this.#readable.close();
    // A read into the caller's memory that waits ends with nothing.
    const request = this.#readable.byobRequest as ByobRequest | null | undefined;
    request?.respond(0);
    this.#closeWhenEnded();
  }

  /** @internal */
  onDrain(): void {
    this.#elder.onDrain();
    const drain = this.#drain;
    this.#drain = null;
    drain?.resolve();
  }

  /** @internal */
  onClosed(error: Error | undefined): void {
    this.#elder.onClosed(error);
    this.#fail(error ?? new BrokenResourceError('The connection was closed'));
  }
}

function abortedError(reason: unknown): BrokenResourceError {
  const options = reason === undefined ? undefined : { cause: reason };
  return new BrokenResourceError('The connection was aborted', options);
}

function byteSize(chunk: Uint8Array | undefined): number {
  // What is no chunk of bytes is refused when its turn comes.
  return chunk?.byteLength ?? 0;
}
