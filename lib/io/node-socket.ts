/**
 * A connection as a Node stream that passes for a `net.Socket`.
 *
 * In: records of the backend, calls of whoever took it for a socket. Out: a Duplex. Never: an
 * instance of `net.Socket`: Node would look for a handle of its own in it, and wraps a plain
 * Duplex instead.
 */
import type { Buffer } from 'node:buffer';
import type { AddressInfo } from 'node:net';
import { Duplex } from 'node:stream';
import { argTypeError, systemErrorByCode } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import type { CallbackContext, SocketAddress } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { currentLoop } from '../task/frame.ts';
import { captureContext } from './callback-context.ts';
import type { NodeStreamOptions } from './net-types.ts';
import { inertSink } from './stream.ts';
import type { Elder, Heir } from './taken.ts';

type Done = (error?: Error | null) => void;

function checkOptions(options: NodeStreamOptions | undefined): boolean {
  if (options !== undefined && (typeof options !== 'object' || options === null)) {
    throw argTypeError('options', 'an object', options);
  }
  return options?.allowHalfOpen ?? false;
}

export class ConnectionSocket extends Duplex implements Heir {
  /** Listeners run in the context of whoever called `toNode()`, without its task. */
  readonly context: CallbackContext;
  /** As in net.Socket: milliseconds, undefined before `setTimeout`. */
  timeout: number | undefined = undefined;
  bytesRead: number = 0;
  bytesWritten: number = 0;
  readonly #elder: Elder;
  readonly #loop: EventLoop;
  #paused = false;
  /** The backend has told of the end. */
  #gone = false;
  /** Of the write, or the end, that waits for the buffer to drain. */
  #written: Done | null = null;
  /** Of the destruction that waits for `onClosed`. */
  #destroyed: (() => void) | null = null;
  #timer = -1;
  #activeMs = 0;

  constructor(elder: Elder, options?: NodeStreamOptions) {
    const allowHalfOpen = checkOptions(options);
    super({ allowHalfOpen, highWaterMark: elder.limits.highWaterBytes });
    this.#elder = elder;
    this.#loop = currentLoop();
    this.context = captureContext(this.#loop);
    const { received, ended, writeEnded } = elder.handOver(this);
    if (received.length > 0) this.onData(received);
    if (ended) this.onEof();
    if (writeEnded) this.end();
    if (!this.#paused) elder.handle.resume();
  }

  override _read(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#elder.handle.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: Done): void {
    if (this.#gone) {
      done(systemErrorByCode('EPIPE', 'write'));
      return;
    }
    this.#put(chunk);
    this.#afterWrite(done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: Done): void {
    if (this.#gone) {
      done(systemErrorByCode('EPIPE', 'write'));
      return;
    }
    for (const { chunk } of chunks) this.#put(chunk);
    this.#afterWrite(done);
  }

  #put(chunk: Buffer): void {
    this.bytesWritten += chunk.length;
    this.#elder.handle.write(chunk);
  }

  /** Above the high-water mark the stream waits, and with it whoever heeds `write`'s result. */
  #afterWrite(done: Done): void {
    this.#touch();
    const { handle, limits } = this.#elder;
    if (handle.bufferedBytes <= limits.highWaterBytes) {
      done();
      return;
    }
    this.#written = done;
    handle.notifyDrain(limits.lowWaterBytes);
  }

  override _final(done: Done): void {
    const { handle } = this.#elder;
    if (!this.#gone) handle.shutdown();
    if (this.#gone || handle.bufferedBytes === 0) {
      done();
      return;
    }
    this.#written = done;
    handle.notifyDrain(0);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#disarm();
    const { handle } = this.#elder;
    const written = this.#written;
    this.#written = null;
    if (this.#gone) {
      done(error);
    } else {
      this.#destroyed = () => done(error);
      // What was written in this turn is on its way to the kernel, as with a socket of Node's.
      if (handle.bufferedBytes === 0) handle.close();
      else handle.abort();
    }
    written?.(error ?? systemErrorByCode('ECANCELED', 'write'));
  }

  // Of the sink.

  /** @internal */
  onData(chunk: Buffer): void {
    this.#touch();
    this.bytesRead += chunk.length;
    if (this.push(chunk) || this.#paused) return;
    this.#paused = true;
    this.#elder.handle.pause();
  }

  /** @internal Never asked for. */
  onAlloc(hintBytes: number): Uint8Array {
    return inertSink.onAlloc(hintBytes);
  }

  /** @internal */
  onFilled(): void {}

  /** @internal */
  onEof(): void {
    this.push(null);
    // As net.Socket: 'end' comes also to who has not read anything yet, if there is nothing.
    if (this.readableLength === 0) this.read(0);
  }

  /** @internal */
  onDrain(): void {
    this.#elder.onDrain();
    this.#touch();
    const written = this.#written;
    this.#written = null;
    written?.();
  }

  /** @internal */
  onClosed(error: Error | undefined): void {
    this.#gone = true;
    this.#elder.onClosed(error);
    if (this.#destroyed === null) this.destroy(error);
    else this.#destroyed();
  }

  /** @internal */
  endSoon(): void {
    this.destroySoon();
  }

  /** @internal */
  cutOff(reason: unknown): void {
    this.destroy(reason instanceof Error ? reason : undefined);
  }

  // What net.Socket has beyond a Duplex.

  /** It is connected: tells so, since some drivers connect whatever they are given. */
  connect(...args: unknown[]): this {
    const listener = args.at(-1);
    if (typeof listener === 'function') this.once('connect', listener as () => void);
    process.nextTick(() => {
      if (!this.destroyed) this.emit('connect');
    });
    return this;
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', this.destroy);
  }

  resetAndDestroy(): this {
    return this.destroy();
  }

  setNoDelay(enable: boolean = true): this {
    if (!this.#gone) this.#elder.handle.setNoDelay(enable);
    return this;
  }

  setKeepAlive(enable: boolean = false, initialDelayMs: number = 0): this {
    if (!this.#gone) this.#elder.handle.setKeepAlive(enable, initialDelayMs);
    return this;
  }

  ref(): this {
    if (!this.#gone) this.#elder.handle.ref();
    return this;
  }

  unref(): this {
    if (!this.#gone) this.#elder.handle.unref();
    return this;
  }

  /** 'timeout' comes after so many milliseconds without a byte in or out, again and again. */
  setTimeout(timeoutMs: number, listener?: () => void): this {
    checkMs('timeoutMs', timeoutMs);
    this.timeout = timeoutMs;
    this.#disarm();
    if (timeoutMs > 0) {
      if (listener !== undefined) this.once('timeout', listener);
      this.#touch();
      this.#arm();
    } else if (listener !== undefined) {
      this.off('timeout', listener);
    }
    return this;
  }

  /** @internal One timer, which looks at the time of the last activity: bytes cost no timer. */
  onTimer(): void {
    this.#timer = -1;
    const idle = this.#loop.time() - this.#activeMs >= (this.timeout as number);
    // Armed before the event: its listener may set another one.
    if (idle) this.#touch();
    this.#arm();
    if (idle) this.context.run(emitTimeout, this);
  }

  #arm(): void {
    const timeoutMs = this.timeout as number;
    if (timeoutMs === Infinity || this.destroyed || this.#loop.closed) return;
    this.#timer = this.#loop.armTimer(this.#activeMs + timeoutMs, this);
    this.#loop.setTimerRef(this.#timer, false);
  }

  #disarm(): void {
    if (this.#timer >= 0) this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }

  #touch(): void {
    if (this.timeout !== undefined) this.#activeMs = this.#loop.time();
  }

  get connecting(): boolean {
    return false;
  }

  get pending(): boolean {
    return false;
  }

  get readyState(): 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.readable) return this.writable ? 'open' : 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  get bufferSize(): number {
    return this.writableLength;
  }

  address(): AddressInfo | object {
    const { address, port, family } = this.#elder.localAddress;
    return address === '' || family === 'unix' ? {} : { address, family, port };
  }

  get localAddress(): string | undefined {
    return ipOf(this.#elder.localAddress);
  }

  get localPort(): number | undefined {
    return portOf(this.#elder.localAddress);
  }

  get localFamily(): string | undefined {
    return familyOf(this.#elder.localAddress);
  }

  get remoteAddress(): string | undefined {
    return ipOf(this.#elder.remoteAddress);
  }

  get remotePort(): number | undefined {
    return portOf(this.#elder.remoteAddress);
  }

  get remoteFamily(): string | undefined {
    return familyOf(this.#elder.remoteAddress);
  }

  // And what a TLSSocket has.

  get encrypted(): boolean {
    return this.#elder.tls !== null;
  }

  get authorized(): boolean {
    return this.#elder.tls?.authorized ?? false;
  }

  get alpnProtocol(): string | false | undefined {
    return this.#elder.tls?.alpn;
  }

  get servername(): string | null | undefined {
    return this.#elder.tls?.servername;
  }

  getPeerCertificate(): object {
    return this.#elder.tls?.peerCertificate ?? {};
  }
}

function emitTimeout(socket: ConnectionSocket): void {
  socket.emit('timeout');
}

/** A UNIX socket has none of these, as in Node. */
function ipOf({ address, family }: SocketAddress): string | undefined {
  return family === 'unix' || address === '' ? undefined : address;
}

function portOf(address: SocketAddress): number | undefined {
  return ipOf(address) === undefined ? undefined : address.port;
}

function familyOf(address: SocketAddress): string | undefined {
  return ipOf(address) === undefined ? undefined : address.family;
}
