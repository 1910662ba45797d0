/**
 * The interface that every backend implements, and what it may call back.
 *
 * In: bytes, turns and timers, asked for by the loop and by io. Out: system calls through Node's
 * modules (`pure`), the addon (`native`) or a simulation. Never: tasks, scopes, promises.
 *
 * Rules (numbered; tests name them):
 *  1. A backend never calls a sink or the host from inside a call that was made to it.
 *  2. `onClosed` comes exactly once for each stream, last, also after `abort()`.
 *  3. After `pause()` returned no `onData` comes until `resume()`; EOF is held back likewise.
 *  4. Data given to `write` is consumed when `write` returns: the caller may reuse its memory.
 *  5. Data given to `onData` is the receiver's own and is never written again.
 *  6. A sink that throws is reported through `BackendHost.onError`; the rest of the batch is
 *     delivered all the same.
 *  7. A stream reads from the moment its `onConnection`/`onConnect` returned, unless it was paused
 *     in there.
 *  8. Errors are values of Node's shape made by `systemError()`; nothing but argument errors is
 *     thrown.
 */
import type { Buffer } from 'node:buffer';
import type { TlsEngine, TlsSink, TlsStart } from './tls.ts';

/**
 * An async context that callbacks are run in. Shared by all streams of one server or connect, so
 * that a backend can restore it once for many callbacks.
 */
export interface CallbackContext {
  run<A>(fn: (arg: A) => void, arg: A): void;
}

/** The loop, as a backend sees it. */
export interface BackendHost {
  /** @internal Makes it the running loop while callbacks run; the result is for `leave`. */
  enter(): unknown;
  /** @internal */
  leave(before: unknown): void;
  /** @internal Asked for with `requestTurn`. */
  onTurn(): void;
  /** @internal Made another number when the network was looked at, by those who can say so. */
  looks: number;
  /** @internal The armed deadline has come (it may be called a little early or for nothing). */
  onTimers(): void;
  /** @internal A sink threw. */
  onError(message: string, error: unknown, subject: unknown): void;
}

/**
 * One call into a sink: as the running loop, in the sink's context, whatever it throws (rule 6).
 * `arg` spares callers a closure.
 */
export function callSink<A>(
  host: BackendHost,
  sink: { readonly context: CallbackContext | null },
  tell: (arg: A) => void,
  arg: A,
): void {
  const before = host.enter();
  try {
    if (sink.context === null) tell(arg);
    else sink.context.run(tell, arg);
  } catch (error) {
    host.onError('Exception in an I/O callback', error, sink);
  } finally {
    host.leave(before);
  }
}

export interface SocketAddress {
  /** An IP address, or the path of a UNIX socket. */
  readonly address: string;
  /** 0 for a UNIX socket. */
  readonly port: number;
  readonly family: 'IPv4' | 'IPv6' | 'unix';
}

/** What a stream reports. One object per connection; io's transport implements it. */
export interface StreamSink {
  /** Null: callbacks run in whatever context the backend has. */
  readonly context: CallbackContext | null;
  onData(chunk: Buffer): void;
  /** Instead of `onData`, for a part of memory that others share: no view of it has to be made. */
  onSlice?(bytes: Buffer, from: number, to: number): void;
  /** Asked before each read while `handle.setReadInto(true)`: at least one byte long. */
  onAlloc(hintBytes: number): Uint8Array;
  /** `bytes` were read into what `onAlloc` gave. */
  onFilled(bytes: number): void;
  /** The peer sent FIN. The write side stays open. */
  onEof(): void;
  /** Asked for with `notifyDrain`: at most that many bytes are buffered now. */
  onDrain(): void;
  /** The end. Undefined after an orderly end. */
  onClosed(error: Error | undefined): void;
}

/** One connected byte stream. */
export interface StreamHandle {
  /** Set by io inside `onConnection`/`onConnect`. */
  sink: StreamSink | null;
  /** Bytes taken by `write` that the kernel has not taken yet. */
  readonly bufferedBytes: number;
  /** The same, exact while one large write goes on; left out where that is `bufferedBytes`. */
  readonly unsentBytes?: number;
  readonly fd: number | null;
  /**
   * Takes all of it; returns how much is buffered now, at most. What waits for the flush at the end
   * of the turn counts: `bufferedBytes` flushes first and tells the kernel's truth. Dropped
   * (returns 0) once closing. Infinity: the stream is broken, and the sink will be told in a later
   * turn; a writer must wait for that, or a loop of writes would never let the turn come.
   */
  write(data: string | Uint8Array): number;
  /**
   * `write` for the parts of one piece of data, none of which is copied that the kernel takes; left
   * out where joining them first costs no more. For large ones: each costs as much as 1 KiB more.
   */
  writeMany?(parts: readonly Uint8Array[]): number;
  /** `write` for text whose characters are single bytes (U+0000 … U+00FF), where it is cheaper. */
  writeLatin1?(text: string): number;
  /** One `onDrain` when at most `lowBytes` are buffered; never from inside this call. */
  notifyDrain(lowBytes: number): void;
  /** FIN after what is buffered. Idempotent. */
  shutdown(): void;
  /** Flushes, then closes. No `onData` after it. Idempotent. */
  close(): void;
  /** Closes at once; what is buffered is lost. Idempotent. */
  abort(): void;
  pause(): void;
  resume(): void;
  /** Reads go through onAlloc/onFilled (true) or onData (false, the default). */
  setReadInto(enable: boolean): void;
  /**
   * What `onAlloc` gives is what the system writes to, and `onFilled` follows it at once. Left out:
   * bytes are copied there, which a sink may as well do itself.
   */
  readonly receivesInto?: boolean;
  setNoDelay(enable: boolean): void;
  /**
   * Less than `bytes`, 1 at first, need not be told of, but for the end of the stream. False or
   * left out: there is no such way, and all is told as before.
   */
  setLeastRead?(bytes: number): boolean;
  /** @param idleMs milliseconds before the first probe; 0 leaves the system's value. */
  setKeepAlive(enable: boolean, idleMs: number): void;
  ref(): void;
  unref(): void;
  /** Null once closed and not asked for before. */
  /**
   * At most `maxBytes` of a regular file, by the kernel: bytes sent, 0 at the file's end, or a
   * negative errno; EAGAIN: `notifyWritable` tells when to try again. Left out: it has no such way.
   */
  sendFile?(fd: number, offsetBytes: number, maxBytes: number): number;
  /** Calls back once, when nothing is buffered and there is room; never when it closes first. */
  notifyWritable?(callback: () => void): void;
  localAddress(): SocketAddress | null;
  remoteAddress(): SocketAddress | null;
}

export interface ListenerSink {
  /** Listening; `address` is what was bound. First call. Or `onListenError`, then nothing. */
  onListening(address: SocketAddress): void;
  onListenError(error: Error): void;
  onConnection(stream: StreamHandle): void;
  /** Accepting failed (EMFILE …). At most once a second; accepting goes on by itself. */
  onAcceptError(error: Error): void;
  /** After `close()`. */
  onListenerClosed(): void;
}

export interface ListenerHandle {
  readonly fd: number | null;
  /** Stops accepting; new connections wait in the backlog. */
  pause(): void;
  resume(): void;
  ref(): void;
  unref(): void;
  /** Idempotent. */
  close(): void;
}

export interface ListenTcp {
  /** An IP address (already looked up). */
  readonly host: string;
  readonly port: number;
  readonly backlog: number;
  readonly reusePort: boolean;
  /** IPv6 only: do not accept IPv4 on `::`. */
  readonly ipv6Only: boolean;
  readonly noDelay: boolean;
  /** Accept paused until `resume()`. */
  readonly paused: boolean;
}

export interface ListenUnix {
  /** A leading '\0' means Linux' abstract namespace. */
  readonly path: string;
  readonly backlog: number;
  readonly paused: boolean;
}

/** A socket that listens already. */
export interface ListenFd {
  readonly fd: number;
  /** Listens on a second descriptor of the socket, and leaves this one alone. */
  readonly duplicate: boolean;
  readonly backlog: number;
  readonly noDelay: boolean;
  readonly paused: boolean;
}

/** Bits of `watchFd`. */
export const watchRead = 1;
export const watchWrite = 2;

export interface ConnectTcp {
  /** An IP address (already looked up). */
  readonly host: string;
  readonly port: number;
  readonly localHost: string | undefined;
  readonly localPort: number | undefined;
  readonly noDelay: boolean;
}

/** What a datagram socket reports. */
export interface DatagramSink {
  /** Null: callbacks run in whatever context the backend has. */
  readonly context: CallbackContext | null;
  /** First call. Or `onOpenError`, then nothing. It receives from then on. */
  onOpen(): void;
  onOpenError(error: Error): void;
  /** `from` may be shared by many datagrams: it is frozen. An empty datagram has no bytes. */
  onDatagram(data: Buffer, from: SocketAddress): void;
  /** A send failed, or the peer said that it does not listen. The socket goes on. */
  onError(error: Error): void;
  /** Asked for with `notifyDrain`: at most that many bytes are buffered now. */
  onDrain(): void;
  /** The end, after `close()` or `abort()`. */
  onClosed(): void;
}

export interface OpenUdp {
  /** IP addresses (already looked up), both of one family. */
  readonly localHost: string;
  readonly localPort: number;
  /** Undefined: not connected. */
  readonly remoteHost: string | undefined;
  readonly remotePort: number;
  readonly reusePort: boolean;
  /** Before it is connected: the peer may be a broadcast address. */
  readonly broadcast: boolean;
}

/** Node's words; `ttl` and `multicastTtl` are hops, the interface is that of `addMembership`. */
export type UdpSetting =
  | { readonly set: 'broadcast' | 'multicastLoopback'; readonly enable: boolean }
  | { readonly set: 'ttl' | 'multicastTtl'; readonly hops: number }
  | { readonly set: 'multicastInterface'; readonly interface: string }
  | {
      readonly set: 'addMembership' | 'dropMembership';
      readonly group: string;
      readonly interface: string | undefined;
    };

/** A datagram socket that is bound, and may be connected. */
export interface DatagramHandle {
  readonly fd: number | null;
  /** Bytes of datagrams that the kernel has not taken yet. */
  readonly bufferedBytes: number;
  /**
   * One datagram, whole or not at all; what happened to it comes by `onError`. Returns how much is
   * buffered now, at most. Dropped once closing.
   * @param host an IP address of the socket's family; null: the connected peer
   */
  send(data: string | Uint8Array, host: string | null, port: number): number;
  /** One `onDrain` when at most `lowBytes` are buffered; never from inside this call. */
  notifyDrain(lowBytes: number): void;
  /** The system's error, or null. */
  set(setting: UdpSetting): Error | null;
  /** Sends what is buffered, then closes. No `onDatagram` after it. Idempotent. */
  close(): void;
  /** Closes at once. Idempotent. */
  abort(): void;
  ref(): void;
  unref(): void;
  /** Null once closed and not asked for before. */
  localAddress(): SocketAddress | null;
  /** Null when not connected. */
  remoteAddress(): SocketAddress | null;
}

/** Exactly one of the two calls, unless the request was cancelled. */
export interface ConnectSink {
  onConnect(stream: StreamHandle): void;
  onConnectError(error: Error): void;
}

export interface ConnectRequest {
  /** The socket is closed; the sink hears nothing more. */
  cancel(): void;
}

export interface FoundAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

export type LookupDone = (error: Error | null, addresses: readonly FoundAddress[]) => void;

export type ServiceDone = (error: Error | null, hostname: string, service: string) => void;

export interface BackendCounters {
  /** Open streams, closing ones included. */
  readonly streams: number;
  readonly listeners: number;
  readonly connecting: number;
  /** Open datagram sockets, closing ones included. */
  readonly datagrams: number;
  /** Bytes that wait to be written. */
  readonly writeBufferBytes: number;
}

/**
 * Parsers of the addon, over bytes of any origin. State and records are words that it shares with
 * the caller, one set for each thread: a call is read before the next one is made.
 */
export interface ByteParsers {
  /** 32 words of state, then records: `native/parse/http1.h`. */
  readonly http1: Int32Array;
  /** Parses `bytes` in [from, to); returns how many words of records there are. */
  parseHttp1(bytes: Uint8Array, from: number, to: number): number;
  /** Bytes XOR the four of the key, the first one lowest; `phase` bytes came before. */
  maskWebSocket(bytes: Uint8Array, key: number, phase: number): void;
  /** Where a call stopped, two more figures, then marks: `native/parse/postgres.h`. */
  readonly postgres: Int32Array;
  /**
   * Converts text of the DataRow messages in [from, to), of columns of these kinds: 1 text, 2 json,
   * 3 jsonb. Gives one string of what is ASCII; the figures are the length of `postgresWide()`, and
   * the items of `postgresJson()`, an array.
   */
  postgresTexts(bytes: Uint8Array, from: number, to: number, kinds: Uint8Array): string;
  postgresWide(): string;
  postgresJson(): string;
  /** Payloads of CopyData messages in [from, to), to `target` from `at` on; figures: both ends. */
  postgresCopy(bytes: Uint8Array, from: number, to: number, target: Uint8Array, at: number): void;
}

export interface Backend {
  readonly name: 'uv' | 'io_uring' | 'pure' | 'simulated';
  /** Monotonic milliseconds on the clock of `performance.now()`. */
  now(): number;
  /**
   * Uniform in [0, 1), for jitter: the only chance in the library. A simulation gives that of its
   * seed; left out: `Math.random`.
   */
  random?(): number;
  /** `host.onTurn()` once, soon, after I/O and Node's own callbacks. Idempotent until then. */
  requestTurn(): void;
  /** `host.onTimers()` at that time. Replaces the one before; Infinity: none. */
  armTimer(deadlineMs: number): void;
  /** Whether the armed timer keeps the process alive. */
  setTimerRef(ref: boolean): void;
  listenTcp(options: ListenTcp, sink: ListenerSink): ListenerHandle;
  listenUnix(options: ListenUnix, sink: ListenerSink): ListenerHandle;
  /**
   * These take over what others have opened; left out: ENOTSUP. They throw the system's error, and
   * then the descriptor stays the caller's. The caller sets `sink` at once.
   */
  adoptSocket?(socket: number | import('node:net').Socket): StreamHandle;
  /** One end of a pipe, a tty or a socket, for one direction. */
  adoptPipe?(fd: number, writes: boolean): StreamHandle;
  listenFd?(options: ListenFd, sink: ListenerSink): ListenerHandle;
  /**
   * Calls `onReady` in each turn in which the descriptor is ready for what is of interest (bits; 0:
   * no more). Throws the system's error. Left out: ENOTSUP.
   */
  watchFd?(fd: number, interest: number, onReady: (interest: number) => void): void;
  connectTcp(options: ConnectTcp, sink: ConnectSink): ConnectRequest;
  connectUnix(path: string, sink: ConnectSink): ConnectRequest;
  openUdp(options: OpenUdp, sink: DatagramSink): DatagramHandle;
  /** The system's resolver; `family` 0 means both. Returns a cancel function. */
  lookup(hostname: string, family: 0 | 4 | 6, done: LookupDone): () => void;
  /** The names of an IP address and a port. Returns a cancel function. */
  lookupService(address: string, port: number, done: ServiceDone): () => void;
  /**
   * A TLS engine of the backend's own (see tls.ts). Null when it cannot do what `start` asks for;
   * null or left out: the generic one over node:tls is used.
   */
  tlsEngine?(start: TlsStart, sink: TlsSink): TlsEngine | null;
  counters(): BackendCounters;
  /** Only the native backend has them. */
  readonly parsers?: ByteParsers;
  /** Aborts all streams, closes all listeners, disarms; `done` when nothing is left open. */
  close(done: () => void): void;
}

/** Makes the backend of one loop. */
export type BackendFactory = (host: BackendHost) => Backend;
