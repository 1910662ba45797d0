/**
 * Web streams as a connection, or as one half of it.
 *
 * In: a readable, a writable, or both. Out: a Connection. Never: more than one chunk read ahead of
 * what is wanted, or a chunk kept that the caller of `write` may still change.
 */
import { Buffer } from 'node:buffer';
import type {
  ReadableStream,
  ReadableStreamDefaultReader,
  WritableStream,
  WritableStreamDefaultWriter,
} from 'node:stream/web';
import { argTypeError } from '../base/errors.ts';
import { ignore } from '../base/quiet.ts';
import { StreamConnection } from '../io/connection.ts';
import { defaultLimits } from '../io/limits.ts';
import type { ByteReader, ByteWriter, Connection } from '../io/net-types.ts';
import type { SocketAddress, StreamHandle, StreamSink } from '../loop/backend.ts';
import { frameStorage } from '../task/frame.ts';

type Reader = ReadableStreamDefaultReader<Uint8Array>;
type Writer = WritableStreamDefaultWriter<Uint8Array>;

class WebHandle implements StreamHandle {
  sink: StreamSink | null = null;
  readonly fd: number | null = null;
  readonly #reader: Reader | null;
  readonly #writer: Writer | null;
  readonly #onWritten: (bytes: number) => void;
  /** Written and not taken yet; the end that waits counts as one, so that it is waited for. */
  #writtenBytes = 0;
  #drainLowBytes = -1;
  #shutdown = false;
  #finished = false;
  #paused = false;
  #reading = false;
  #held: Buffer | null = null;
  #ended = false;
  #eofHeld = false;
  #closing = false;
  #gone = false;

  constructor(reader: Reader | null, writer: Writer | null) {
    this.#reader = reader;
    this.#writer = writer;
    this.#onWritten = (bytes): void => this.#taken(bytes);
    writer?.closed.catch((error: unknown) => this.#lost(error));
    // Also when nothing is being read.
    reader?.closed.catch((error: unknown) => this.#lost(error));
  }

  begin(): void {
    void this.#readOn();
  }

  get bufferedBytes(): number {
    return this.#closing ? 0 : this.#writtenBytes;
  }

  write(data: string | Uint8Array): number {
    if (this.#closing || this.#shutdown || this.#writer === null) return 0;
    const copy = typeof data === 'string' ? Buffer.from(data, 'utf8') : Buffer.from(data);
    if (copy.length > 0) {
      this.#writtenBytes += copy.length;
      this.#writer.write(copy).then(() => this.#onWritten(copy.length), ignore);
    }
    return this.#writtenBytes;
  }

  #taken(bytes: number): void {
    this.#writtenBytes -= bytes;
    this.#checkDrain();
  }

  notifyDrain(lowBytes: number): void {
    if (this.#closing) return;
    this.#drainLowBytes = lowBytes;
    if (this.#writtenBytes <= lowBytes) process.nextTick(() => this.#checkDrain());
  }

  #checkDrain(): void {
    if (this.#closing || this.#drainLowBytes < 0) return;
    if (this.#writtenBytes > this.#drainLowBytes) return;
    this.#drainLowBytes = -1;
    this.sink?.onDrain();
  }

  shutdown(): void {
    if (this.#closing) return;
    this.#endWriting();
  }

  #endWriting(): void {
    if (this.#shutdown || this.#writer === null) return;
    this.#shutdown = true;
    this.#writtenBytes += 1;
    this.#writer.close().then(() => {
      this.#finished = true;
      this.#taken(1);
      if (this.#closing) this.#end(undefined);
    }, ignore);
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#endWriting();
    this.#stopReading(undefined);
    if (this.#writer === null || this.#finished) process.nextTick(() => this.#end(undefined));
  }

  abort(): void {
    this.#closing = true;
    const reason = new DOMException('The connection was aborted', 'AbortError');
    if (!this.#finished) this.#writer?.abort(reason).catch(ignore);
    this.#stopReading(reason);
    process.nextTick(() => this.#end(undefined));
  }

  #stopReading(reason: unknown): void {
    this.#held = null;
    if (!this.#ended) this.#reader?.cancel(reason).catch(ignore);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused || this.#closing) return;
    this.#paused = false;
    process.nextTick(() => this.#goOn());
  }

  #goOn(): void {
    if (this.#paused || this.#closing) return;
    const held = this.#held;
    this.#held = null;
    if (held !== null) this.sink?.onData(held);
    if (this.#eofHeld && !this.#paused) {
      this.#eofHeld = false;
      this.sink?.onEof();
    }
    void this.#readOn();
  }

  async #readOn(): Promise<void> {
    if (this.#reader === null || this.#reading) return;
    this.#reading = true;
    try {
      while (!this.#paused && !this.#ended && !this.#closing) {
        const { done, value } = await this.#reader.read();
        if (this.#closing) break;
        if (done) this.#readEnd();
        else this.#received(value);
      }
    } catch (error) {
      this.#lost(error);
    }
    this.#reading = false;
  }

  #received(chunk: unknown): void {
    if (!(chunk instanceof Uint8Array)) throw argTypeError('chunk', 'a Uint8Array', chunk);
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (bytes.length === 0) return;
    if (this.#paused) this.#held = bytes;
    else this.sink?.onData(bytes);
  }

  #readEnd(): void {
    this.#ended = true;
    if (this.#paused) this.#eofHeld = true;
    else this.sink?.onEof();
  }

  /** One of the streams failed: the other one is told. */
  #lost(error: unknown): void {
    if (this.#gone) return;
    const reason = error instanceof Error ? error : new Error(String(error), { cause: error });
    if (!this.#finished) this.#writer?.abort(reason).catch(ignore);
    this.#stopReading(reason);
    this.#end(reason);
  }

  #end(error: Error | undefined): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#closing = true;
    const { sink } = this;
    this.sink = null;
    sink?.onClosed(error);
  }

  // What Web streams have not.

  setReadInto(): void {}
  setNoDelay(): void {}
  setKeepAlive(): void {}
  ref(): void {}
  unref(): void {}

  localAddress(): SocketAddress | null {
    return null;
  }

  remoteAddress(): SocketAddress | null {
    return null;
  }
}

function connect(
  readable: ReadableStream<Uint8Array> | null,
  writable: WritableStream<Uint8Array> | null,
): StreamConnection {
  const methods = { readable: readable?.getReader, writable: writable?.getWriter };
  if (readable !== null && typeof methods.readable !== 'function') {
    throw argTypeError('readable', 'a ReadableStream', readable);
  }
  if (writable !== null && typeof methods.writable !== 'function') {
    throw argTypeError('writable', 'a WritableStream', writable);
  }
  if (readable?.locked || writable?.locked) {
    throw argTypeError('stream', 'one that is not locked', readable?.locked ? readable : writable);
  }
  // Their callbacks come in the context that they are asked in: not in that of some task.
  return frameStorage.run(undefined, () => {
    const handle = new WebHandle(readable?.getReader() ?? null, writable?.getWriter() ?? null);
    const connection = new StreamConnection(handle, defaultLimits);
    handle.sink = connection;
    connection.tellOpened();
    handle.begin();
    return connection;
  });
}

/**
 * A pair of Web streams as a Connection, which owns them: they are locked. `writeEof` closes the
 * writable; `close` does, and cancels the readable; `abort` aborts and cancels. An error of either
 * is `cause` of the BrokenResourceError that waits reject with. Its addresses are empty.
 * Back: `connection.toWeb()`.
 * @throws TypeError for what is no such pair, or locked
 */
export function fromWebStreams(pair: {
  readable: ReadableStream<Uint8Array>;
  writable: WritableStream<Uint8Array>;
}): Connection {
  if (typeof pair !== 'object' || pair === null) throw argTypeError('pair', 'an object', pair);
  return connect(pair.readable ?? undefined, pair.writable ?? undefined);
}

/**
 * The readable with the methods of a connection's reading half. It is locked and read ahead, up to
 * 64 KiB. Errors as `fromWebStreams`. @throws TypeError
 */
export function readerFromWeb(stream: ReadableStream<Uint8Array>): ByteReader {
  return connect(stream ?? undefined, null);
}

/**
 * The writable with the methods of a connection's writing half. It is locked. `writeEof` closes it
 * and waits until that is done. Errors as `fromWebStreams`. @throws TypeError
 */
export function writerFromWeb(stream: WritableStream<Uint8Array>): ByteWriter {
  return connect(null, stream ?? undefined);
}
