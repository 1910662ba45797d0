/**
 * One pipe to a child, as the stream handle that connections and transports work on.
 *
 * In: a socket that node:child_process made. Out: calls of the sink, in its context. Never: a call
 * of the sink from inside a call that was made to the handle (the rules of loop/backend.ts).
 */
import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import { systemErrorByCode } from '../base/errors.ts';
import { callSink, type StreamHandle, type StreamSink } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';

const empty: Uint8Array = new Uint8Array(0);

export class PipeHandle implements StreamHandle {
  sink: StreamSink | null = null;
  readonly #loop: EventLoop;
  readonly #socket: Socket;
  /** The child reads what is written; else it writes what is read. */
  readonly #writable: boolean;
  readonly #onGone: () => void;
  #error: Error | undefined = undefined;
  #paused = false;
  #discarding = false;
  #shutdown = false;
  #closing = false;
  #ended = false;
  #eofHeld = false;
  /** The socket is closed; the sink hears of it after `close()` if the end was an orderly one. */
  #gone = false;
  #finished = false;
  #drainLowBytes = -1;

  constructor(loop: EventLoop, socket: Socket, writable: boolean, onGone: () => void) {
    this.#loop = loop;
    this.#socket = socket;
    this.#writable = writable;
    this.#onGone = onGone;
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => this.#closed());
    if (writable) return;
    socket.on('end', () => this.#onEnd());
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
  }

  get bufferedBytes(): number {
    return this.#closing ? 0 : this.#socket.writableLength;
  }

  get fd(): number | null {
    const { _handle: handle } = this.#socket as unknown as { _handle?: { fd?: number } | null };
    const fd = handle?.fd ?? -1;
    return fd < 0 ? null : fd;
  }

  write(data: string | Uint8Array): number {
    const socket = this.#socket;
    if (this.#closing || this.#shutdown || socket.destroyed) return 0;
    // Node keeps a reference to what the kernel has not taken: a copy (rule 4).
    socket.write(typeof data === 'string' ? data : Buffer.from(data));
    return socket.writableLength;
  }

  notifyDrain(lowBytes: number): void {
    if (this.#closing) return;
    const asked = this.#drainLowBytes >= 0;
    this.#drainLowBytes = lowBytes;
    if (!asked) this.#watchDrain();
  }

  /** Node tells of progress only through the callback of a write; an empty one sends nothing. */
  #watchDrain(): void {
    const socket = this.#socket;
    if (socket.writableLength <= this.#drainLowBytes) process.nextTick(() => this.#checkDrain());
    else if (this.#shutdown) socket.once('finish', () => this.#checkDrain());
    else {
      socket.write(empty, (error) => {
        if (!error) this.#checkDrain();
      });
    }
  }

  #checkDrain(): void {
    // A write that failed is done, too, but nothing was drained: `onClosed` follows.
    const socket = this.#socket;
    if (this.#closing || this.#drainLowBytes < 0 || (socket.destroyed && !this.#endedWell()))
      return;
    if (socket.writableLength > this.#drainLowBytes) {
      this.#watchDrain();
      return;
    }
    this.#drainLowBytes = -1;
    this.#dispatch((sink) => sink.onDrain());
  }

  shutdown(): void {
    if (this.#closing || this.#shutdown) return;
    this.#shutdown = true;
    this.#socket.end();
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#gone) process.nextTick(() => this.#finish());
    else if (this.#writable) this.#socket.destroySoon();
    else this.#socket.destroy();
  }

  abort(): void {
    const first = !this.#closing;
    this.#closing = true;
    if (!this.#gone) this.#socket.destroy();
    else if (first) process.nextTick(() => this.#finish());
  }

  pause(): void {
    if (this.#paused || this.#closing || this.#discarding) return;
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused || this.#closing) return;
    this.#paused = false;
    this.#socket.resume();
    if (this.#eofHeld) process.nextTick(() => this.#onEnd());
  }

  /** From now on what the child writes is dropped, so that it can end without anybody reading. */
  discard(): void {
    this.#discarding = true;
    this.resume();
  }

  /**
   * The process that read has ended: what is still to be written is lost. Node has destroyed the
   * socket, but tells so later, and a write must not seem to succeed meanwhile.
   */
  lose(): void {
    if (this.#finished || this.#endedWell()) return;
    if (this.bufferedBytes > 0) this.#error ??= systemErrorByCode('EPIPE', 'write');
    this.#finish();
  }

  /** Nothing to do: sinks that have memory of their own copy what `onData` brings. */
  setReadInto(): void {}

  setNoDelay(): void {}

  setKeepAlive(): void {}

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  localAddress(): null {
    return null;
  }

  remoteAddress(): null {
    return null;
  }

  #received(chunk: Buffer): void {
    if (this.#closing || this.#discarding) return;
    if (this.#paused) {
      // Node resumes the outputs of a child that has ended.
      this.#socket.pause();
      this.#socket.unshift(chunk);
      return;
    }
    this.#dispatch((sink) => sink.onData(chunk));
  }

  #onEnd(): void {
    if (this.#ended || this.#closing) return;
    this.#eofHeld = this.#paused;
    if (this.#paused) return;
    this.#ended = true;
    // Behind bytes that were dropped there is no end to tell of.
    if (!this.#discarding) this.#dispatch((sink) => sink.onEof());
  }

  #endedWell(): boolean {
    return this.#writable ? this.#socket.writableFinished : this.#ended || this.#eofHeld;
  }

  #closed(): void {
    this.#gone = true;
    this.#onGone();
    if (this.#closing || this.#error !== undefined || !this.#endedWell()) this.#finish();
  }

  /** The last call to the sink. */
  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#closing = true;
    this.#dispatch((sink) => sink.onClosed(this.#error));
    this.sink = null;
  }

  #dispatch(call: (sink: StreamSink) => void): void {
    if (this.sink !== null) callSink(this.#loop, this.sink, call, this.sink);
  }
}
