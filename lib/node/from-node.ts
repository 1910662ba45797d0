/**
 * A Node stream as a connection.
 *
 * In: a Duplex. Out: a Connection over it. Never: a byte of the stream read by anybody else, or a
 * chunk kept that the caller of `write` may still change.
 */
import { Buffer } from 'node:buffer';
import type { Duplex } from 'node:stream';
import { argTypeError, ClosedResourceError, InvalidStateError } from '../base/errors.ts';
import { StreamConnection } from '../io/connection.ts';
import { defaultLimits } from '../io/limits.ts';
import type { Connection } from '../io/net-types.ts';
import { flagWriteEnded } from '../io/stream.ts';
import type { SocketAddress, StreamHandle, StreamSink } from '../loop/backend.ts';
import { DeferredCalls } from './deferred-calls.ts';

/** What a net.Socket has, and other streams may. */
interface SocketLike extends Duplex {
  readonly localAddress?: unknown;
  readonly localPort?: unknown;
  readonly localFamily?: unknown;
  readonly remoteAddress?: unknown;
  readonly remotePort?: unknown;
  readonly remoteFamily?: unknown;
  setNoDelay?(enable: boolean): unknown;
  setKeepAlive?(enable: boolean, idleMs: number): unknown;
  ref?(): unknown;
  unref?(): unknown;
}

class NodeHandle implements StreamHandle {
  sink: StreamSink | null = null;
  readonly fd: number | null = null;
  readonly #stream: SocketLike;
  readonly #calls: DeferredCalls = new DeferredCalls();
  // One closure for the stream, none for a write.
  readonly #written = (): void => this.#calls.call(() => this.#checkDrain());
  #paused = false;
  #closing = false;
  #destroying = false;
  #gone = false;
  /** Emitted before the pause was known: comes first after it. */
  #held: Buffer[] = [];
  #eofHeld = false;
  #drainLowBytes = -1;

  constructor(stream: SocketLike) {
    this.#stream = stream;
  }

  /** The connection is the sink: from now on it hears of everything. */
  begin(): void {
    const stream = this.#stream;
    // Else it would end our half with the peer's.
    stream.allowHalfOpen = true;
    // Some streams call their own destruction an error.
    stream.on('error', (error: Error) => this.#closed(this.#destroying ? undefined : error));
    stream.on('close', () => this.#streamClosed());
    if (stream.readableEnded) this.#calls.later(() => this.#ended());
    else stream.on('end', () => this.#ended());
    stream.on('data', (chunk: Buffer) => this.#received(chunk));
  }

  get bufferedBytes(): number {
    return this.#closing ? 0 : this.#stream.writableLength;
  }

  write(data: string | Uint8Array): number {
    if (this.#closing || this.#stream.writableEnded) return 0;
    const copy = typeof data === 'string' ? Buffer.from(data, 'utf8') : Buffer.from(data);
    this.#calls.inside(() => this.#stream.write(copy, this.#written));
    return this.#stream.writableLength;
  }

  notifyDrain(lowBytes: number): void {
    if (this.#closing) return;
    this.#drainLowBytes = lowBytes;
    if (this.#isDrained()) this.#calls.later(() => this.#checkDrain());
  }

  #isDrained(): boolean {
    const { writableEnded, writableFinished, writableLength } = this.#stream;
    return writableEnded ? writableFinished : writableLength <= this.#drainLowBytes;
  }

  #checkDrain(): void {
    // A write that failed is over, too, but drained nothing: 'error' follows.
    if (this.#closing || this.#drainLowBytes < 0 || this.#stream.errored) return;
    if (!this.#isDrained()) return;
    this.#drainLowBytes = -1;
    this.sink?.onDrain();
  }

  shutdown(): void {
    if (this.#closing || this.#stream.writableEnded) return;
    this.#calls.inside(() => this.#stream.end(this.#written));
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#calls.inside(() => this.#closeStream());
  }

  #closeStream(): void {
    const stream = this.#stream;
    // Nobody reads any more, and some streams only finish when they are read.
    stream.resume();
    if (stream.writable) stream.end();
    if (stream.writableFinished || stream.closed) this.#destroy();
    else stream.once('finish', () => this.#destroy());
  }

  #destroy(): void {
    this.#destroying = true;
    this.#stream.destroy();
    if (this.#stream.closed) this.#closed(undefined);
  }

  abort(): void {
    this.#closing = true;
    this.#calls.inside(() => this.#destroy());
  }

  pause(): void {
    if (this.#paused || this.#closing) return;
    this.#paused = true;
    this.#stream.pause();
  }

  resume(): void {
    if (!this.#paused || this.#closing) return;
    this.#paused = false;
    this.#calls.later(() => this.#goOn());
  }

  #goOn(): void {
    while (!this.#paused && !this.#closing) {
      const chunk = this.#held.shift();
      if (chunk === undefined) break;
      this.sink?.onData(chunk);
    }
    if (this.#paused || this.#closing) return;
    if (this.#eofHeld) this.#ended();
    else this.#stream.resume();
  }

  /** Only transports ask for that. */
  setReadInto(): void {}

  setNoDelay(enable: boolean): void {
    this.#stream.setNoDelay?.(enable);
  }

  setKeepAlive(enable: boolean, idleMs: number): void {
    this.#stream.setKeepAlive?.(enable, idleMs);
  }

  ref(): void {
    this.#stream.ref?.();
  }

  unref(): void {
    this.#stream.unref?.();
  }

  localAddress(): SocketAddress | null {
    const { localAddress, localPort, localFamily } = this.#stream;
    return toAddress(localAddress, localPort, localFamily);
  }

  remoteAddress(): SocketAddress | null {
    const { remoteAddress, remotePort, remoteFamily } = this.#stream;
    return toAddress(remoteAddress, remotePort, remoteFamily);
  }

  #received(chunk: Buffer): void {
    this.#calls.call(() => {
      if (this.#closing) return;
      if (this.#paused || this.#held.length > 0) this.#held.push(chunk);
      else this.sink?.onData(chunk);
    });
  }

  #ended(): void {
    this.#calls.call(() => {
      this.#eofHeld = this.#paused || this.#held.length > 0;
      if (!this.#closing && !this.#eofHeld) this.sink?.onEof();
    });
  }

  /** Without an error: an orderly end only if both halves were through. */
  #streamClosed(): void {
    const { readableEnded, writableFinished } = this.#stream;
    if (this.#closing) this.#closed(undefined);
    else if (!readableEnded || !writableFinished) this.#closed(prematureClose());
  }

  #closed(error: Error | undefined): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#calls.call(() => {
      this.#closing = true;
      const { sink } = this;
      this.sink = null;
      sink?.onClosed(error);
    });
  }
}

function prematureClose(): Error {
  const error = new Error('The stream was closed before its end');
  return Object.assign(error, { code: 'ERR_STREAM_PREMATURE_CLOSE' });
}

function toAddress(address: unknown, port: unknown, family: unknown): SocketAddress | null {
  if (typeof address !== 'string' || typeof port !== 'number') return null;
  return { address, port, family: family === 'IPv6' ? 'IPv6' : 'IPv4' };
}

/** Streams that are connections already: two readers would share out the bytes. */
const taken: WeakSet<Duplex> = new WeakSet();

function checkStream(stream: Duplex): void {
  const { read, write, on } = (stream ?? {}) as Partial<Duplex>;
  if ([read, write, on].some((method) => typeof method !== 'function')) {
    throw argTypeError('stream', 'a Duplex', stream);
  }
  if (stream.readableObjectMode || stream.writableObjectMode || stream.readableEncoding !== null) {
    throw argTypeError('stream', 'a Duplex of bytes, without object mode or encoding', stream);
  }
  if (taken.has(stream)) throw new InvalidStateError('The stream is a connection already');
  if (stream.destroyed) throw new ClosedResourceError('The stream was destroyed');
}

/**
 * A Node stream (net.Socket, any Duplex) as a Connection, which owns it: it reads all and closes
 * it. Data that the stream has buffered comes first. The peer's end does not end our half. An error
 * of the stream is `cause` of the BrokenResourceError that waits reject with, and that a stream
 * that was destroyed by others, or ended early, gives with code ERR_STREAM_PREMATURE_CLOSE.
 * Back: `connection.toNode()`.
 * @throws TypeError for what is no Duplex of bytes; ClosedResourceError for a destroyed one;
 *   InvalidStateError for one that is a connection already
 */
export function fromNodeStream(stream: Duplex): Connection {
  checkStream(stream);
  taken.add(stream);
  const handle = new NodeHandle(stream);
  const connection = new StreamConnection(handle, defaultLimits);
  handle.sink = connection;
  if (stream.writableEnded) connection.mark(flagWriteEnded);
  connection.tellOpened();
  handle.begin();
  return connection;
}
