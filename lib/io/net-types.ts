/**
 * The public shapes of connections, servers and their options.
 *
 * In: types only. Out: the names of `net`. Never: behaviour.
 */
import type { Buffer } from 'node:buffer';
import type { Duplex } from 'node:stream';
import type { ReadableStream, WritableStream } from 'node:stream/web';
import type { Awaitable, Data, WaitOptions } from '../base/errors.ts';
import type { SocketAddress } from '../loop/backend.ts';

export type { SocketAddress } from '../loop/backend.ts';

/** Reading half: one reader at a time, a second one gets BusyResourceError. */
export interface ByteReader extends AsyncIterable<Buffer> {
  /**
   * What is there, at least 1 byte, at most `maxBytes`; null at the end.
   * Cancelled, it takes nothing: no byte is lost. So do all reads.
   */
  read(maxBytes?: number, options?: WaitOptions): Promise<Buffer | null>;
  /** Exactly that many; IncompleteReadError at an early end. */
  readExactly(bytes: number, options?: WaitOptions): Promise<Buffer>;
  /**
   * Up to and with the separator, of several the one that ends first.
   * IncompleteReadError, LimitOverrunError.
   */
  readUntil(separator: Data | readonly Data[], options?: WaitOptions): Promise<Buffer>;
  /**
   * A UTF-8 line without its \n or \r\n; null at the end; the last line may lack the newline.
   * LimitOverrunError.
   */
  readLine(options?: WaitOptions): Promise<string | null>;
  /** Everything to the end; LimitOverrunError above `maxBytes` (default: none). */
  readAll(maxBytes?: number, options?: WaitOptions): Promise<Buffer>;
  /** Into the caller's memory; bytes read, 0 at the end. */
  readInto(target: Uint8Array, options?: WaitOptions): Promise<number>;
  /** Leaving the loop early keeps the connection and its bytes. */
  lines(): AsyncIterable<string>;
  /** The end was reached and the buffer is empty. */
  readonly atEof: boolean;
  /** Leaving the loop early keeps the connection and its bytes. */
  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined>;
}

/** Writing half. */
export interface ByteWriter {
  /**
   * Takes the bytes at once and in order. The promise is resolved while at most `highWaterBytes`
   * are buffered, else it resolves when the buffer has drained to `lowWaterBytes`: await it and
   * memory stays bounded. It may be ignored: no unhandled rejection ever comes of it; the next
   * awaited write, read or close tells of the error. In a cancelled task the bytes are taken all
   * the same and the promise rejects with CancelledError.
   * Rejects with ClosedResourceError after close, BrokenResourceError when the peer is gone, and,
   * taking nothing, with ERR_UVIO_BUFFER_FULL above `maxBufferedBytes`.
   */
  write(data: Data, options?: WaitOptions): Promise<void>;
  /** One write for all parts. */
  writeLines(parts: Iterable<Data>, options?: WaitOptions): Promise<void>;
  /** Flushes and closes this half. Resolves when its FIN is in line behind the data. */
  writeEof(options?: WaitOptions): Promise<void>;
  readonly writeBufferBytes: number;
}

/** A connected byte stream: TCP or UNIX. (asyncio streams, trio.SocketStream) */
export interface Connection extends ByteReader, ByteWriter, AsyncDisposable {
  readonly localAddress: SocketAddress;
  readonly remoteAddress: SocketAddress;
  /** Null: this version has no TLS yet. */
  readonly tls: null;
  /** False from `close()`, `abort()` or the loss of the connection on. */
  readonly open: boolean;
  /** Aborts when the connection is gone. */
  readonly signal: AbortSignal;
  /** Flushes and closes; aborts at once when the task is cancelled. May be called again. */
  close(): Promise<void>;
  /** Closes at once; buffered data is lost; waits throw BrokenResourceError. */
  abort(reason?: unknown): void;
  setNoDelay(enable?: boolean): void;
  setKeepAlive(enable: boolean, idleMs?: number): void;
  /**
   * The connection as Web streams, of bytes, with back-pressure both ways. Closing the writable
   * is `writeEof()`; cancelling the readable or aborting the writable aborts the connection. It
   * closes when both have ended. Otherwise as `toNode()`.
   */
  toWeb(): WebStreamPair;
  /**
   * The connection as a Node stream that passes for a `net.Socket`: for node:http, ws, drivers.
   * What was received and not read comes first. The connection must not be used directly any more:
   * reads and writes reject with InvalidStateError and `open` is false, while `close`, `abort`,
   * `signal` and the addresses go on to be about it. It belongs to the stream: the end of its
   * handler does not close it, but the server counts it, waits for it and ends it as before.
   * @throws BusyResourceError while a task reads; ClosedResourceError, BrokenResourceError when it
   *   is not open; InvalidStateError the second time
   */
  toNode(options?: NodeStreamOptions): Duplex;
  /** As `close()`. */
  [Symbol.asyncDispose](): Promise<void>;
}

export interface NodeStreamOptions {
  /** False, the default of `net.Socket`: ends itself when the peer has ended. */
  allowHalfOpen?: boolean;
}

export interface WebStreamPair {
  readable: ReadableStream<Uint8Array>;
  writable: WritableStream<Uint8Array>;
}

export interface StreamOptions {
  /** Longest line or separated part, and read-ahead. Default 64 KiB. */
  limitBytes?: number;
  /** Default 64 KiB. */
  highWaterBytes?: number;
  /** Default 16 KiB. */
  lowWaterBytes?: number;
  /**
   * Bound for writers who do not wait: a write made above `highWaterBytes` that would exceed it is
   * refused with ERR_UVIO_BUFFER_FULL. Default 16 MiB; Infinity: none.
   */
  maxBufferedBytes?: number;
}

export interface ConnectOptions extends WaitOptions, StreamOptions {
  /** Default 'localhost'. */
  host?: string;
  port: number;
  /** Not in this version: an error with code ENOTSUP. */
  tls?: boolean | object;
  localHost?: string;
  localPort?: number;
  /** Default 0: both. */
  family?: 0 | 4 | 6;
  /** Head start of each address before the next is tried too (RFC 8305). Default 250. */
  happyEyeballsDelayMs?: number;
  /** Default true. */
  noDelay?: boolean;
  /** For name look-up and connect; default none. TimeoutError. */
  timeoutMs?: number;
}

export interface UnixConnectOptions extends WaitOptions, StreamOptions {
  /** Not in this version: an error with code ENOTSUP. */
  tls?: boolean | object;
}

export interface ListenOptions extends WaitOptions, StreamOptions {
  /** Default: all interfaces. A name stands for all its addresses. */
  host?: string | readonly string[];
  /** Default 0: any free port, the same for all hosts. */
  port?: number;
  /** Default 511. */
  backlog?: number;
  /** Not in this version: an error with code ENOTSUP. */
  tls?: object;
  /** Several processes or threads may listen on the port. Default false. */
  reusePort?: boolean;
  /** Default true. */
  noDelay?: boolean;
  /** Further connections wait in the backlog. Default Infinity. */
  maxConnections?: number;
  /** False: the address is bound, but nothing is accepted before `server.start()`. Default true. */
  start?: boolean;
}

export type UnixListenOptions = Omit<ListenOptions, 'host' | 'port'>;

/** (asyncio.Server) */
export interface Server extends AsyncDisposable {
  readonly addresses: readonly SocketAddress[];
  /** Of the first address. */
  readonly port: number;
  /** True between `start` and `close`. */
  readonly listening: boolean;
  readonly connections: number;
  /** Begins to accept. May be called again. */
  start(): Promise<void>;
  /** Serves until cancelled, then closes. ClosedResourceError when closed by someone else. */
  serveForever(): Promise<never>;
  /** Stops listening; open connections go on. */
  close(): void;
  /** Flushes and closes all connections. */
  closeClients(): void;
  abortClients(): void;
  /** Until it is closed and all connections are gone. */
  waitClosed(options?: WaitOptions): Promise<void>;
  /** Cancels the handlers, closes server and clients and waits. */
  [Symbol.asyncDispose](): Promise<void>;
}

export type ConnectionHandler = (connection: Connection) => Awaitable<void>;
