/**
 * A stream of the backend as a Duplex of Node, for node:http and node:tls.
 *
 * In: records of the backend (it is a StreamSink), calls of Node. Out: the same bytes on the other
 * side, with back-pressure both ways. Never: a reset that overtakes the last bytes written.
 */
import { Buffer } from 'node:buffer';
import { Duplex } from 'node:stream';
import { ignore } from '../base/quiet.ts';
import { readHeld } from '../base/read-held.ts';
import { isAscii } from '../io/data.ts';
import type { CallbackContext, EventLoop, StreamHandle, StreamSink } from '../io/handles.ts';
import { Limit } from './limit.ts';
import { lingerMs } from './wire.ts';

const highWaterBytes = 65_536;
const lowWaterBytes = 16_384;
/** Given to Node at once: all requests in it become objects before the first is answered. */
const pieceBytes = 16_384;
/** Dropped at most after a last response; more means that the peer does not listen. */
const maxDroppedBytes = 4 * 1024 * 1024;

type Done = (error?: Error | null) => void;

/** Who owns the duplex: told when the stream is gone. */
export interface DuplexOwner {
  /** The peer sent FIN. */
  duplexEnded(): void;
  /** A piece was given to Node, with all that it makes of it at once. */
  duplexFed?(): void;
  /** Last call. */
  duplexClosed(error: Error | undefined): void;
}

export class HandleDuplex extends Duplex implements StreamSink {
  readonly context: CallbackContext | null;
  readonly #loop: EventLoop;
  readonly #handle: StreamHandle;
  readonly #owner: DuplexOwner;
  /** Given to Node so far. */
  bytesRead = 0;
  /** Given to the stream so far. */
  bytesWritten = 0;
  #paused = false;
  /** Reading stops whatever Node wants: too many requests wait. */
  #held = false;
  /** Received, while Node wants nothing. */
  #rest: Buffer | null = null;
  #feeding = false;
  #ended = false;
  #gone = false;
  #released = false;
  #drainDone: Done | null = null;
  #progress: (() => void)[] = [];
  #destroyDone: Done | null = null;
  #dropped = 0;
  #lingering: Limit | null = null;

  constructor(
    handle: StreamHandle,
    loop: EventLoop,
    context: CallbackContext | null,
    owner: DuplexOwner,
  ) {
    super({ decodeStrings: false, allowHalfOpen: true, emitClose: true });
    this.#handle = handle;
    this.#loop = loop;
    this.context = context;
    this.#owner = owner;
    // Node's own listeners come and go; without one an error would end the process.
    this.on('error', ignore);
  }

  // ---- what code of net.Socket's users looks at ----

  get remoteAddress(): string | undefined {
    return this.#handle.remoteAddress()?.address;
  }

  get remotePort(): number | undefined {
    return this.#handle.remoteAddress()?.port;
  }

  get remoteFamily(): string | undefined {
    return this.#handle.remoteAddress()?.family;
  }

  get localAddress(): string | undefined {
    return this.#handle.localAddress()?.address;
  }

  get localPort(): number | undefined {
    return this.#handle.localAddress()?.port;
  }

  setNoDelay(enable: boolean = true): this {
    this.#handle.setNoDelay(enable);
    return this;
  }

  setKeepAlive(enable: boolean = false, idleMs: number = 0): this {
    this.#handle.setKeepAlive(enable, idleMs);
    return this;
  }

  /** Time limits are the server's. */
  setTimeout(): this {
    return this;
  }

  ref(): this {
    this.#handle.ref();
    return this;
  }

  unref(): this {
    this.#handle.unref();
    return this;
  }

  /** Called by node:http after a last response: what was written goes out first. */
  destroySoon(): void {
    if (this.writableFinished) this.destroy();
    else this.end(() => this.destroy());
  }

  /** Bytes written that the kernel has not taken yet. */
  get waitingBytes(): number {
    if (this.#gone || this.#released) return 0;
    return this.writableLength + this.#handle.bufferedBytes;
  }

  /** Calls back once, later, when the stream has drained to its low-water mark. */
  onProgress(call: () => void): void {
    this.#progress.push(call);
    if (this.#drainDone === null && !this.#gone) this.#handle.notifyDrain(lowWaterBytes);
  }

  /** `duplexFed` will be called. */
  get feeding(): boolean {
    return this.#feeding;
  }

  /** Stops reading (true), or lets Node read on. */
  hold(hold: boolean): void {
    this.#held = hold;
    this.#apply();
  }

  /** Gives the stream back, and what nobody has read; this duplex is dead then. */
  release(): { handle: StreamHandle; unread: Buffer } {
    this.#released = true;
    if (this.#paused) this.#handle.resume();
    const parts = [readHeld(this), this.#rest].filter((part) => part !== null);
    this.#rest = null;
    return { handle: this.#handle, unread: Buffer.concat(parts) };
  }

  /** What is given to the stream itself, past Node's queue, follows what was written before. */
  get queueEmpty(): boolean {
    return this.writableLength === 0 && !this.#gone && !this.#released && !this.writableEnded;
  }

  // ---- of Duplex ----

  override _read(): void {
    this.#paused = false;
    this.#apply();
  }

  override _write(chunk: string | Buffer, encoding: BufferEncoding, done: Done): void {
    this.#put(toData(chunk, encoding), done);
  }

  override _writev(
    chunks: readonly { chunk: string | Buffer; encoding: BufferEncoding }[],
    done: Done,
  ): void {
    let text = '';
    for (const { chunk, encoding } of chunks) {
      const data = toData(chunk, encoding);
      if (typeof data !== 'string') {
        const parts = chunks.map((one) => toBuffer(one.chunk, one.encoding));
        this.#put(Buffer.concat(parts), done);
        return;
      }
      text += data;
    }
    this.#put(text, done);
  }

  override _final(done: Done): void {
    if (!this.#released) this.#handle.shutdown();
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#drainDone?.(error);
    this.#drainDone = null;
    this.#rest = null;
    if (this.#gone || this.#released) {
      done(error);
      return;
    }
    this.#destroyDone = done;
    if (error !== null || !this.writableFinished) this.#handle.abort();
    else if (this.#ended) this.#handle.close();
    else this.#linger();
  }

  // ---- of StreamSink ----

  onData(chunk: Buffer): void {
    if (this.destroyed) {
      this.#dropped += chunk.length;
      if (this.#dropped > maxDroppedBytes) this.#handle.close();
      return;
    }
    this.#rest = chunk;
    this.feed();
  }

  onAlloc(): Uint8Array {
    throw new Error('uvio bug: onAlloc of a duplex');
  }

  onFilled(): void {}

  onEof(): void {
    this.#ended = true;
    if (this.destroyed) {
      this.#handle.close();
      return;
    }
    this.push(null);
    this.#owner.duplexEnded();
  }

  onDrain(): void {
    const done = this.#drainDone;
    this.#drainDone = null;
    done?.();
    const calls = this.#progress;
    this.#progress = [];
    for (const call of calls) process.nextTick(call);
  }

  onClosed(error: Error | undefined): void {
    this.#gone = true;
    this.#lingering?.stop();
    const done = this.#destroyDone;
    this.#destroyDone = null;
    if (done !== null) done(null);
    else this.destroy(error);
    this.#owner.duplexClosed(error);
  }

  /** The time to linger is over. */
  #lingered(): void {
    // Not before the last response is out: for that the client has its own time.
    if (this.#handle.bufferedBytes > 0) this.#lingering?.armIn(lingerMs);
    else this.#handle.close();
  }

  #put(data: string | Buffer, done: Done): void {
    if (this.#gone || this.#released) {
      done();
      return;
    }
    this.bytesWritten += data.length;
    if (this.#handle.write(data) <= highWaterBytes) {
      done();
      return;
    }
    this.#drainDone = done;
    this.#handle.notifyDrain(lowWaterBytes);
  }

  /** Reads and drops what still comes, so that the kernel has no reason for a reset. */
  #linger(): void {
    this.#held = false;
    this.#paused = false;
    this.#handle.shutdown();
    this.#handle.resume();
    this.#lingering = new Limit(this.#loop, () => this.#lingered());
    this.#lingering.armIn(lingerMs);
  }

  /** In pieces, as long as Node wants them. @internal */
  feed(): void {
    if (this.#feeding) return;
    this.#feeding = true;
    while (this.#rest !== null && !this.#paused && !this.#held && !this.destroyed) {
      const chunk: Buffer = this.#rest;
      const short = chunk.length <= pieceBytes;
      this.#rest = short ? null : chunk.subarray(pieceBytes);
      const piece = short ? chunk : chunk.subarray(0, pieceBytes);
      this.bytesRead += piece.length;
      if (this.flows) this.emit('data', piece);
      else if (!this.push(piece)) this.#paused = true;
    }
    this.#feeding = false;
    this.#owner.duplexFed?.();
    this.#apply();
  }

  /** A Readable would emit what is pushed at once, after looking whether it must be kept. */
  private get flows(): boolean {
    return (
      this.readableFlowing === true && this.readableLength === 0 && this.listenerCount('data') > 0
    );
  }

  /** There is room again. */
  #apply(): void {
    if (this.#gone || this.#released || this.destroyed) return;
    if (this.#paused || this.#held) this.#handle.pause();
    else if (this.#rest === null) this.#handle.resume();
    else if (!this.#feeding) process.nextTick(feed, this);
  }
}

function feed(duplex: HandleDuplex): void {
  duplex.feed();
}

/** Backends write strings as UTF-8; others are encoded here. */
function toData(chunk: string | Buffer, encoding: BufferEncoding): string | Buffer {
  if (typeof chunk !== 'string' || encoding === 'utf8' || encoding === 'utf-8') return chunk;
  return isAscii(chunk) ? chunk : Buffer.from(chunk, encoding);
}

function toBuffer(chunk: string | Buffer, encoding: BufferEncoding): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
}
