/**
 * One connection over a node:net socket.
 *
 * In: calls of io, events of the socket. Out: calls of the sink, in its context. Never: a closure
 * per connection or per chunk: the event functions below are shared, and find the stream on the
 * socket.
 */
import { writeSync, writevSync } from 'node:fs';
import type { OnReadOpts, Socket } from 'node:net';
import { systemError } from '../../base/errors.ts';
import { callSink, type SocketAddress, type StreamHandle, type StreamSink } from '../backend.ts';
import type { PureBackend } from './backend.ts';
import { ReadMemory, slabOnRead } from './slab.ts';

const streamKey: unique symbol = Symbol('uvio.stream');

/** A socket that is the carrier of a stream. */
interface CarrierSocket extends Socket {
  [streamKey]: PureStream;
}

const empty = new Uint8Array(0);

/** The socket tries those again by itself, as libuv does; the last one is macOS's. */
const notNowCodes: ReadonlySet<string | undefined> = new Set(['EAGAIN', 'ENOBUFS', 'EPROTOTYPE']);

/**
 * How much the kernel took at once: nearly always all, so that nothing has to be copied for rule 4.
 * Copying instead costs 45 % more CPU at 64 KiB. Negative: the errno of a broken connection.
 */
function writeDirectly(fd: number, data: Uint8Array | readonly Uint8Array[]): number {
  try {
    return data instanceof Uint8Array ? writeSync(fd, data) : writevSync(fd, data);
  } catch (error) {
    const { code, errno } = error as NodeJS.ErrnoException;
    return notNowCodes.has(code) ? 0 : (errno ?? 0);
  }
}

export class PureStream implements StreamHandle {
  sink: StreamSink | null = null;
  /** @internal */
  readonly backend: PureBackend;
  readonly #socket: Socket;
  /** Path of a UNIX socket: node:net does not tell it. */
  readonly #unixLocal: string | undefined;
  readonly #unixRemote: string | undefined;
  #local: SocketAddress | null = null;
  #remote: SocketAddress | null = null;
  /** Null: the socket makes its chunks. */
  readonly #memory: ReadMemory | null;
  #chunk: Buffer | undefined;
  #held: Buffer | undefined;
  #error: Error | undefined;
  #paused = false;
  #readInto = false;
  #shutdown = false;
  #closing = false;
  /** node:net closes a socket when both directions have ended; `onClosed` waits for `close()`. */
  #gone = false;
  #eofHeld = false;
  #drainLowBytes = -1;

  /** @param slabbed the socket was made with `onRead` */
  constructor(
    backend: PureBackend,
    socket: Socket,
    slabbed: boolean,
    unixLocal?: string,
    unixRemote?: string,
  ) {
    this.backend = backend;
    this.#socket = socket;
    this.#memory = slabbed ? new ReadMemory() : null;
    this.#unixLocal = unixLocal;
    this.#unixRemote = unixRemote;
    (socket as CarrierSocket)[streamKey] = this;
    socket.on('error', onError);
    socket.on('close', onClose);
    socket.on('end', onEnd);
    if (!slabbed) socket.on('data', onData);
    backend.streams.add(this);
  }

  get bufferedBytes(): number {
    return this.#closing ? 0 : this.#socket.writableLength;
  }

  /** `writableLength` counts a write as a whole until its end; libuv knows what is left of it. */
  get unsentBytes(): number {
    if (this.bufferedBytes === 0) return 0;
    const socket = this.#socket as unknown as {
      readonly bytesWritten: number;
      readonly _bytesDispatched: number;
      readonly _handle: { readonly writeQueueSize: number } | null;
    };
    return socket.bytesWritten - socket._bytesDispatched + (socket._handle?.writeQueueSize ?? 0);
  }

  get fd(): number | null {
    const fd = this.#descriptor();
    return fd < 0 ? null : fd;
  }

  write(data: string | Uint8Array): number {
    if (this.#closing || this.#shutdown) return 0;
    const socket = this.#socket;
    if (socket.destroyed) return Infinity;
    if (typeof data === 'string') {
      // Node encodes it at once.
      socket.write(data, 'utf8');
      return socket.writableLength;
    }
    const fd = socket.writableLength > 0 ? -1 : this.#descriptor();
    const taken = fd < 0 ? 0 : writeDirectly(fd, data);
    if (taken < 0) return this.#broke(taken);
    this.#keep(data, taken);
    return socket.writableLength;
  }

  writeMany(parts: readonly Uint8Array[]): number {
    if (this.#closing || this.#shutdown) return 0;
    const socket = this.#socket;
    if (socket.destroyed) return Infinity;
    const fd = socket.writableLength > 0 ? -1 : this.#descriptor();
    let taken = fd < 0 ? 0 : writeDirectly(fd, parts);
    if (taken < 0) return this.#broke(taken);
    for (const part of parts) {
      this.#keep(part, taken);
      taken = Math.max(taken - part.byteLength, 0);
    }
    return socket.writableLength;
  }

  /** Node would keep a reference to what the kernel has not taken, so that part is copied. */
  #keep(data: Uint8Array, taken: number): void {
    if (taken < data.byteLength) this.#socket.write(Buffer.from(data.subarray(taken)));
  }

  /** The kernel tells a reset once: a second try would only find a broken pipe. */
  #broke(errno: number): number {
    this.#socket.destroy(systemError(errno, 'write'));
    return Infinity;
  }

  #descriptor(): number {
    const { _handle: handle } = this.#socket as unknown as { _handle?: { fd?: number } | null };
    return handle?.fd ?? -1;
  }

  notifyDrain(lowBytes: number): void {
    if (this.#closing) return;
    const asked = this.#drainLowBytes >= 0;
    this.#drainLowBytes = lowBytes;
    if (!asked) this.#watchDrain();
  }

  /** Node tells of progress only through the callback of a write; an empty one sends nothing. */
  #watchDrain(): void {
    if (this.#socket.writableLength <= this.#drainLowBytes || this.#shutdown) {
      process.nextTick(checkDrain, this);
    } else {
      this.#socket.write(empty, () => checkDrain(this));
    }
  }

  /** @internal */
  checkDrain(): void {
    // A write that failed is done, too, but nothing was drained: `onClosed` follows.
    if (this.#closing || this.#drainLowBytes < 0 || this.#socket.errored !== null) return;
    const left = this.#socket.writableLength;
    if (left > this.#drainLowBytes) {
      if (this.#shutdown) this.#socket.once('finish', () => checkDrain(this));
      else this.#watchDrain();
      return;
    }
    this.#drainLowBytes = -1;
    this.dispatch(deliverDrain);
  }

  shutdown(): void {
    if (this.#closing || this.#shutdown) return;
    this.#shutdown = true;
    this.#socket.end();
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#gone) process.nextTick(finish, this);
    else this.#socket.destroySoon();
  }

  abort(): void {
    const first = !this.#closing;
    this.#closing = true;
    if (!this.#gone) this.#socket.destroy();
    else if (first) process.nextTick(finish, this);
  }

  pause(): void {
    if (this.#paused || this.#closing) return;
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused || this.#closing) return;
    this.#paused = false;
    if (this.#held === undefined) this.#socket.resume();
    else process.nextTick(replayHeld, this);
    if (this.#eofHeld) process.nextTick(replayEof, this);
  }

  setReadInto(enable: boolean): void {
    this.#readInto = enable;
  }

  setNoDelay(enable: boolean): void {
    this.#socket.setNoDelay(enable);
  }

  setKeepAlive(enable: boolean, idleMs: number): void {
    this.#socket.setKeepAlive(enable, idleMs);
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  localAddress(): SocketAddress | null {
    if (this.#local === null) {
      const { localAddress, localPort, localFamily } = this.#socket;
      this.#local = toAddress(this.#unixLocal, localAddress, localPort, localFamily);
    }
    return this.#local;
  }

  remoteAddress(): SocketAddress | null {
    if (this.#remote === null) {
      const { remoteAddress, remotePort, remoteFamily } = this.#socket;
      this.#remote = toAddress(this.#unixRemote, remoteAddress, remotePort, remoteFamily);
    }
    return this.#remote;
  }

  /** @internal */
  dispatch(deliver: (stream: PureStream) => void): void {
    if (this.sink !== null) callSink(this.backend.host, this.sink, deliver, this);
  }

  /** @internal */
  received(chunk: Buffer): void {
    if (this.#closing) return;
    if (this.#paused) {
      this.#socket.unshift(chunk);
      return;
    }
    this.#tell(chunk);
  }

  #tell(chunk: Buffer): void {
    this.#chunk = chunk;
    this.backend.lastChunk = chunk;
    this.dispatch(this.#readInto ? deliverFill : deliverData);
    this.#chunk = undefined;
  }

  /** So many bytes lie in the slab. @internal */
  read(bytes: number): void {
    if (this.#closing) return;
    const memory = this.#memory as ReadMemory;
    this.#tell(this.#readInto ? memory.lend(bytes) : memory.take(bytes));
    memory.settle();
  }

  /** What a pause in the middle of a chunk leaves. @internal */
  replayHeld(): void {
    const held = this.#held;
    if (held === undefined || this.#paused || this.#closing) return;
    this.#held = undefined;
    this.#tell(held);
    if (!this.#paused && !this.#closing) this.#socket.resume();
  }

  /** @internal */
  takeChunk(): Buffer {
    return this.#chunk as Buffer;
  }

  /** Copies into the sink's memory, as long as it wants that. @internal */
  fill(): void {
    const chunk = this.#chunk as Buffer;
    let at = 0;
    while (at < chunk.length) {
      if (this.#closing || this.sink === null) return;
      if (this.#paused || !this.#readInto) {
        const rest = this.#memory !== null ? Buffer.from(chunk.subarray(at)) : chunk.subarray(at);
        if (!this.#paused) this.sink.onData(rest);
        else if (this.#memory !== null) this.#held = rest;
        else this.#socket.unshift(rest);
        return;
      }
      const target = this.sink.onAlloc(chunk.length - at);
      if (target.length === 0) throw new RangeError('onAlloc gave no room');
      const bytes = Math.min(target.length, chunk.length - at);
      target.set(chunk.subarray(at, at + bytes));
      at += bytes;
      this.sink.onFilled(bytes);
    }
  }

  /** @internal */
  ended(): void {
    if (this.#closing) return;
    this.#eofHeld = this.#paused;
    if (!this.#paused) this.dispatch(deliverEof);
  }

  /** @internal */
  replayEof(): void {
    if (!this.#eofHeld || this.#paused) return;
    this.#eofHeld = false;
    this.ended();
  }

  /** @internal */
  failed(error: Error): void {
    this.#error = error;
  }

  /** @internal */
  closed(): void {
    if (this.#gone) return;
    this.#gone = true;
    if (this.#closing || this.#error !== undefined) this.finish();
  }

  /** The last call to the sink. @internal */
  finish(): void {
    this.#closing = true;
    if (!this.backend.streams.delete(this)) return;
    this.#memory?.leave();
    this.dispatch(deliverClosed);
    this.sink = null;
    this.backend.streamGone();
  }

  /** @internal */
  get error(): Error | undefined {
    return this.#error;
  }
}

function toAddress(
  unixPath: string | undefined,
  address: string | undefined,
  port: number | undefined,
  family: string | undefined,
): SocketAddress | null {
  if (unixPath !== undefined) return { address: unixPath, port: 0, family: 'unix' };
  if (address === undefined || port === undefined) return null;
  return { address, port, family: family === 'IPv6' ? 'IPv6' : 'IPv4' };
}

function onData(this: Socket, chunk: Buffer): void {
  (this as CarrierSocket)[streamKey].received(chunk);
}

/** What sockets over the slab are made with. */
export const onRead: OnReadOpts = slabOnRead(function onRead(this: Socket, bytes: number): true {
  (this as CarrierSocket)[streamKey]?.read(bytes);
  return true;
});

function onEnd(this: Socket): void {
  (this as CarrierSocket)[streamKey].ended();
}

function onError(this: Socket, error: Error): void {
  (this as CarrierSocket)[streamKey].failed(error);
}

function onClose(this: Socket): void {
  (this as CarrierSocket)[streamKey].closed();
}

function deliverData(stream: PureStream): void {
  stream.sink?.onData(stream.takeChunk());
}

function deliverFill(stream: PureStream): void {
  stream.fill();
}

function deliverEof(stream: PureStream): void {
  stream.sink?.onEof();
}

function deliverDrain(stream: PureStream): void {
  stream.sink?.onDrain();
}

function deliverClosed(stream: PureStream): void {
  stream.sink?.onClosed(stream.error);
}

function checkDrain(stream: PureStream): void {
  stream.checkDrain();
}

function replayHeld(stream: PureStream): void {
  stream.replayHeld();
}

function replayEof(stream: PureStream): void {
  stream.replayEof();
}

function finish(stream: PureStream): void {
  stream.finish();
}
