/**
 * The public shapes of connections, servers and their options.
 *
 * In: types only. Out: the names of `net`. Never: behaviour.
 */
import type { Buffer } from 'node:buffer';
import type { Duplex } from 'node:stream';
import type { ReadableStream, WritableStream } from 'node:stream/web';
import type { ConnectionOptions, PeerCertificate, SecureVersion, TlsOptions } from 'node:tls';
import type { Awaitable, Data, WaitOptions } from '../base/errors.ts';
import type { SocketAddress } from '../loop/backend.ts';

export type { SocketAddress } from '../loop/backend.ts';

/** As in node:tls; `servername`, `ALPNProtocols`, `ca`, `cert`, `key`, `rejectUnauthorized` … */
export type TlsClientOptions = Omit<ConnectionOptions, 'host' | 'port' | 'socket' | 'path'>;

/** As of a server in node:tls; `key`, `cert`, `SNICallback`, `requestCert`, `ticketKeys` … */
export type TlsServerOptions = Omit<TlsOptions, 'ALPNCallback'> & {
  /** Chooses one of the client's names; undefined fails the handshake. */
  ALPNCallback?:
    | ((offer: { servername: string; protocols: string[] }) => string | undefined)
    | undefined;
};

export interface TlsTimes {
  /** Until the handshake must be done: TimeoutError. Default 60_000 (asyncio). */
  tlsHandshakeTimeoutMs?: number | undefined;
  /**
   * How long `close()` waits for what is buffered to leave (else it rejects), and then for the
   * peer's close_notify. Default 30_000 (asyncio: ssl_shutdown_timeout).
   */
  tlsShutdownTimeoutMs?: number | undefined;
}

/** The side that opened the connection needs not be the client of TLS. */
export type StartTlsOptions = (TlsClientOptions | (TlsServerOptions & { isServer: true })) &
  TlsTimes &
  WaitOptions;

/** Of a TLS connection. It answers after the end of the connection, too. */
export interface TlsInfo {
  readonly protocol: SecureVersion;
  /** OpenSSL's name, as `TLS_AES_256_GCM_SHA384`. */
  readonly cipher: string;
  /** False when nothing was agreed on. */
  readonly alpn: string | false;
  /** What the client asked for; null: nothing. */
  readonly servername: string | null;
  /** The peer sent a certificate and it is trusted. False for a server that did not ask for one. */
  readonly authorized: boolean;
  /** With `rejectUnauthorized: false`: the code of what is wrong with the peer, else null. */
  readonly authorizationError: string | null;
  readonly peerCertificate: PeerCertificate | null;
  readonly sessionReused: boolean;
  /**
   * Client: the last ticket, for `tls: { session }` of a later connect; null before one came. With
   * TLS 1.3 it comes after the handshake, as a rule with the first data.
   */
  readonly session: Buffer | null;
  /**
   * Bytes that both ends, and nobody else, can compute (RFC 5705), for channel binding.
   * @throws InvalidStateError when the connection is gone
   */
  exportKeyingMaterial(bytes: number, label: string, context?: Buffer): Buffer;
}

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
  /**
   * Into the caller's memory; bytes read, 0 at the end. Once it has ended, cancelled or not, the
   * memory is the caller's alone again. On native() what comes while it waits is received straight
   * into a `target` of 16 KiB or more; else it is copied there.
   * TypeError ERR_UVIO_BUFFER_DETACHED when the memory is transferred or resized away meanwhile.
   */
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
  /** One write for all parts. Large ones are not joined first: the system gathers them. */
  writeLines(parts: Iterable<Data>, options?: WaitOptions): Promise<void>;
  /** Flushes and closes this half. Resolves when its FIN is in line behind the data. */
  writeEof(options?: WaitOptions): Promise<void>;
  readonly writeBufferBytes: number;
}

/** A connected byte stream: TCP, TLS or UNIX. (asyncio streams, trio.SocketStream) */
export interface Connection extends ByteReader, ByteWriter, AsyncDisposable {
  readonly localAddress: SocketAddress;
  readonly remoteAddress: SocketAddress;
  readonly tls: TlsInfo | null;
  /** False from `close()`, `abort()` or the loss of the connection on. */
  readonly open: boolean;
  /** Aborts when the connection is gone. */
  readonly signal: AbortSignal;
  /**
   * Flushes and closes; aborts at once when the task is cancelled. May be called again. While bytes
   * of the peer are unread the system closes by a reset, which takes with it what the peer has not
   * received yet (so do asyncio and uvloop): where that matters, read to the end first.
   */
  close(): Promise<void>;
  /** Closes at once; buffered data is lost; waits throw BrokenResourceError. */
  abort(reason?: unknown): void;
  /**
   * Turns this connection into a TLS one; `tls` is set then. As a client it needs `servername`
   * (or a `checkServerIdentity`): nobody else knows whom the certificate must be for.
   * InvalidStateError when bytes were received and not read: they came in the clear, and would be
   * taken for what came by TLS. Rejects as `openConnection` with `tls`; after that, and after a
   * cancellation, the connection is gone. (asyncio: StreamWriter.start_tls)
   */
  startTls(options?: StartTlsOptions): Promise<void>;
  setNoDelay(enable?: boolean): void;
  /**
   * After `idleMs` without data the system asks the peer each second; when it has asked ten times
   * in vain, the connection breaks with `ETIMEDOUT`. With no `idleMs`, the system's own figures
   * count.
   */
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
   * @throws BusyResourceError while a task reads or `startTls` goes on; ClosedResourceError,
   *   BrokenResourceError when it is not open; InvalidStateError the second time
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

export interface ConnectOptions extends WaitOptions, StreamOptions, TlsTimes {
  /** Default 'localhost'. */
  host?: string;
  port: number;
  /**
   * True for the system's defaults. The certificate must be for `servername`, by default the host.
   */
  tls?: boolean | TlsClientOptions;
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
  /** Asked for names instead of the system's resolver. Its order of addresses is kept. */
  lookup?: LookupFunction;
}

/**
 * What finds the addresses of a name: `lookup` itself, or that of a `DnsCache`. It should give up
 * when `signal` aborts; what it says after that is dropped.
 */
export type LookupFunction = (
  hostname: string,
  options?: WaitOptions & { family?: 0 | 4 | 6 },
) => Promise<readonly SocketAddress[]>;

export interface UnixConnectOptions extends WaitOptions, StreamOptions, TlsTimes {
  /** `servername` says whom the certificate must be for. */
  tls?: boolean | TlsClientOptions;
}

export interface ListenOptions extends WaitOptions, StreamOptions, TlsTimes {
  /** Default: all interfaces. A name stands for all its addresses. */
  host?: string | readonly string[];
  /** Default 0: any free port, the same for all hosts. */
  port?: number;
  /** Default 511. */
  backlog?: number;
  /**
   * Each connection begins with a handshake, and no handler hears of one that fails: see the
   * diagnostics channel `uvio:tls.failed`. One that takes too long is dropped.
   */
  tls?: TlsServerOptions;
  /** Several processes or threads may listen on the port. Default false. */
  reusePort?: boolean;
  /** Default true. */
  noDelay?: boolean;
  /**
   * A listening stream socket, TCP or UNIX, that was opened elsewhere, as by systemd (see
   * `systemdSockets`): instead of host and port. The server closes it. EBADF, ENOTSOCK, EPROTOTYPE
   * (no stream), EINVAL (it does not listen): then it stays the caller's.
   */
  fd?: number;
  /** Another thread listens on `fd`, too, and closes it. @internal */
  shareFd?: boolean;
  /** A UNIX socket instead of host and port: what `runServer` hands on. @internal */
  path?: string;
  /** Further connections wait in the backlog. Default Infinity. */
  maxConnections?: number;
  /** False: the address is bound, but nothing is accepted before `server.start()`. Default true. */
  start?: boolean;
}

export type UnixListenOptions = Omit<ListenOptions, 'host' | 'port' | 'fd' | 'path'>;

/** (asyncio.Server) */
export interface Server extends AsyncDisposable {
  readonly addresses: readonly SocketAddress[];
  /** Of the first address. */
  readonly port: number;
  /** True between `start` and `close`. */
  readonly listening: boolean;
  /** Open ones, and those whose TLS handshake goes on. */
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

export interface UdpOptions extends WaitOptions {
  /** Default: all interfaces. Of a name's addresses the first that can be bound counts. */
  localHost?: string;
  /** Default 0: any free port. */
  localPort?: number;
  /** Connects the socket: it sends to this peer, and hears of no other. With `remotePort`. */
  remoteHost?: string;
  remotePort?: number;
  /** Default: that of the addresses given, else 4. A socket of 6 talks to IPv4 peers, too. */
  family?: 4 | 6;
  /** Several sockets may have the port; each datagram comes to one of them. Default false. */
  reusePort?: boolean;
  /** Allows to send to a broadcast address. Default false. */
  broadcast?: boolean;
  /** Received datagrams kept; later ones are dropped, and counted. Default 64. */
  maxQueued?: number;
  /** Asked for names instead of the system's resolver, also by `send`. */
  lookup?: LookupFunction;
}

export interface Datagram {
  /** The receiver's own. As with streams, a small one may keep up to 64 KiB alive. */
  readonly data: Buffer;
  /** Of the sender. Frozen: datagrams of one peer may share it. */
  readonly address: SocketAddress;
}

/**
 * Settings of a datagram socket, in Node's words. Each throws the system's error (EINVAL,
 * EADDRNOTAVAIL …), ClosedResourceError once closed.
 */
export interface DatagramSettings {
  setBroadcast(enable: boolean): void;
  /** Hops that a datagram may take, 1 … 255. */
  setTTL(hops: number): void;
  /** The same for those to a group, 0 … 255. Default of the system: 1. */
  setMulticastTTL(hops: number): void;
  /** Whether sockets of this machine get what is sent to their group. The system's default: yes. */
  setMulticastLoopback(enable: boolean): void;
  /** Where to send to groups: an address of the interface; for IPv6 `::%eth0`. */
  setMulticastInterface(multicastInterface: string): void;
  /** Joins a group. Without an interface the system chooses one. */
  addMembership(group: string, multicastInterface?: string): void;
  dropMembership(group: string, multicastInterface?: string): void;
}

/**
 * A datagram socket that tasks use. (asyncio's datagram endpoints; trio.socket, curio.socket)
 *
 * An error that came by itself (the peer does not listen: ECONNREFUSED on a connected socket; a
 * datagram that could not be sent) is told by the next `receive` or `send`, and the socket goes on.
 */
export interface UdpSocket extends DatagramSettings, AsyncDisposable, AsyncIterable<Datagram> {
  readonly localAddress: SocketAddress;
  /** Null when not connected. */
  readonly remoteAddress: SocketAddress | null;
  /** Datagrams dropped because `maxQueued` were waiting. */
  readonly dropped: number;
  /**
   * Sends one datagram; without `to` to the connected peer. An IP address is fastest: it goes out
   * at the end of this turn, in order. A name is looked up for each send. The promise is resolved
   * while at most 64 KiB wait for the kernel, else when they have drained to 16 KiB; cancelled
   * then, the datagram is sent all the same, before it, none is.
   *
   * Rejects with EMSGSIZE above 65,507 bytes (65,527 with IPv6), EDESTADDRREQ without any peer,
   * EISCONN with `to` on a connected socket, EAFNOSUPPORT for an address of the other family,
   * ERR_UVIO_BUFFER_FULL (16 MiB wait), ClosedResourceError.
   */
  send(data: Data, to?: { host: string; port: number }, options?: WaitOptions): Promise<void>;
  /**
   * The next datagram, in order of arrival. A cancelled one loses none. A second receiver at a time
   * gets BusyResourceError; ClosedResourceError once closed.
   */
  receive(options?: WaitOptions): Promise<Datagram>;
  /** Sends what waits, then closes. Datagrams that nobody has received are dropped. Idempotent. */
  close(): void;
  /** `close()`, and waits until it is; at once when the task is cancelled. */
  [Symbol.asyncDispose](): Promise<void>;
  /** As `receive()`; ends with ClosedResourceError. Leaving the loop keeps the socket. */
  [Symbol.asyncIterator](): AsyncIterator<Datagram, undefined>;
}
