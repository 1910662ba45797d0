/**
 * The seam between the HTTP server and what speaks HTTP on a stream.
 *
 * In: accepted streams, one `WireConnection` for each. Out: one `Exchange` per request, given to
 * the `WireHost`. Never: routes, handlers, promises, header objects; a verdict that depends on how
 * the bytes were cut into reads, or on which wire reads them.
 *
 * Two wires implement it: node-wire.ts over node:http, native-wire.ts over the addon's parser. What
 * waits (body readers, response writers) is built once above it, in exchange-body.ts and
 * exchange-writer.ts; a wire only calls sinks. A third is for HTTP/2: in http2-wire.ts a stream
 * takes the place of a connection in rules 1 and 7 to 9: `abort` and bad input end one stream.
 *
 * Rules (numbered; tests name them):
 *  1. Requests of one connection are handled one after the other: `onRequest` for the next one
 *     comes when the response of the one before was given completely (`respond`, `endResponse`)
 *     and at most 64 KiB of it wait to be written. At most `maxPipelined` parsed heads wait; then
 *     the wire stops reading (a wire may finish the read it is in).
 *  2. `onRequest` and all calls of an `ExchangeSink` come inside `host.context`.
 *  3. An `ExchangeSink` is never called from inside a call that was made to the exchange.
 *  4. After `onAborted` no call of the sink comes; calls to the exchange are then without effect.
 *  5. Framing belongs to the wire: it writes `date`, `connection`, `content-length` and
 *     `transfer-encoding`; `headers` never hold any of these but `date`, which then replaces its
 *     own. Names and values were checked before.
 *  6. To HEAD, and with 204 and 304, no byte of a body is sent. 204 carries no content-length; to
 *     HEAD, and with 304, it says what the body would have had.
 *  7. A connection is kept after a response when the request allows it (HTTP/1.1 without
 *     `connection: close`; HTTP/1.0 with `connection: keep-alive`, which is then said back), its
 *     framing is beyond doubt, `keepAlive` is true, the host is not closing, and the rest of the
 *     request's body is there or at most `maxDiscardBytes` (declared) are still to come, which are
 *     read and dropped. Else the head says `connection: close`, the write side ends after the
 *     response, and what still comes is dropped for up to `lingerMs` before the stream is closed,
 *     so that no reset can overtake the response.
 *  8. The host answers `expect: 100-continue` by asking for the body: the interim response is sent
 *     at the first `readBody`. A response before that closes the connection when a body was
 *     declared. Another expectation: 417.
 *  9. Bad input is answered by the wire itself once earlier responses are out, and closes the
 *     connection: 400 for framing and syntax, 431 above a limit of the head, 408 for a late head,
 *     501 for CONNECT, 505 for a version that is not 1.0 or 1.1. A transfer coding that is not
 *     exactly `chunked` is bad framing: 400. A message whose head was delivered already gets
 *     `onBodyError` instead, with the same status.
 */
import type { Buffer } from 'node:buffer';
import type { Data } from '../base/errors.ts';
import type { CallbackContext, EventLoop, StreamHandle } from '../io/handles.ts';
import { defaultLimits } from '../io/limits.ts';
import type { SocketAddress, TlsInfo } from '../io/net-types.ts';
import type { StreamProtocol } from '../io/protocols.ts';
import { flagGone, Stream, unknownAddress } from '../io/stream.ts';
import { StreamTransport } from '../io/transport.ts';

/** Of an unread body, declared by content-length: read and dropped to keep the connection. */
export const maxDiscardBytes = 65_536;
/** How long what still comes is dropped after a last response. Milliseconds. */
export const lingerMs = 2_000;
/** Extensions of all chunks of one body together; above it 400. */
export const maxChunkExtensionBytes = 16_384;
/** A body that is read but comes slower than this many bytes in `slowBodyMs`: 408. */
export const slowBodyBytes = 1_500;
export const slowBodyMs = 15_000;

/** Limits of one server. Times in milliseconds; Infinity: none. */
export interface WireLimits {
  /** Request line and header lines of one message with their line ends; trailers count on. 431. */
  readonly maxHeaderBytes: number;
  /** Header lines of one message, trailers included. 431. */
  readonly maxHeaders: number;
  /** Parsed heads that wait for their turn on one connection; above it the wire stops reading. */
  readonly maxPipelined: number;
  /** Without a byte since the last response: closed silently. */
  readonly keepAliveMs: number;
  /** From connect, or from the first byte of a later head, to its end: 408. Silent without one. */
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to its last; a deadline, not an idle time. 408. */
  readonly requestTimeoutMs: number;
  /** HTTP/2: for one more piece of a response to be taken; else its stream is reset. */
  readonly writeTimeoutMs: number;
  /** HTTP/2: requests under way on one connection. Above it streams are refused. */
  readonly maxConcurrentStreams: number;
}

/** The server above a wire. */
export interface WireHost {
  readonly loop: EventLoop;
  readonly limits: WireLimits;
  /** That of whoever made the server; `StreamSink.context` of its connections. */
  readonly context: CallbackContext;
  /** Graceful close is under way: responses carry `connection: close`. */
  readonly closing: boolean;
  /**
   * A head was read and is valid. May answer before it returns. Never throws. The body is held back
   * until `readBody`.
   */
  onRequest(exchange: Exchange): void;
  /**
   * The wire answered bad input itself (rule 9). For logs. `status` 0: closed without an answer.
   */
  onRefused(connection: WireConnection, status: number, reason: string): void;
}

/** Makes the connection of an accepted stream, sets it as the sink of `stream`, starts to read. */
export type OpenWire = (stream: StreamHandle, host: WireHost) => WireConnection;

/**
 * One connection. The server links it into its list (`owner`), counts it, and is told of its end
 * through `leaveOwner()`, which the wire calls from `StreamSink.onClosed`.
 */
export abstract class WireConnection extends Stream {
  readonly host: WireHost;
  readonly context: CallbackContext;
  #takenBytes: number;
  #stalls: number;
  #handedOver: boolean;

  constructor(handle: StreamHandle, host: WireHost) {
    super(handle, defaultLimits);
    this.host = host;
    this.context = host.context;
    this.#takenBytes = 0;
    this.#stalls = 0;
    this.#handedOver = false;
  }

  /** Of responses, given to the stream so far; what frames them may be left out. */
  abstract readonly sentBytes: number;
  /** A request is under way or waits for its turn. */
  abstract readonly busy: boolean;
  /** Graceful close: now if not `busy`, else after the responses that are under way. Idempotent. */
  abstract closeWhenIdle(): void;

  get secure(): boolean {
    return this.tls !== null;
  }

  get remoteAddress(): SocketAddress {
    return this.handle.remoteAddress() ?? unknownAddress;
  }

  get localAddress(): SocketAddress {
    return this.handle.localAddress() ?? unknownAddress;
  }

  protected get unsentBytes(): number {
    return this.handle.unsentBytes ?? this.handle.bufferedBytes;
  }

  /** How often in a row, with this time, bytes waited and the client had taken none of them. */
  countStalls(): number {
    const waitingBytes = this.#handedOver || this.has(flagGone) ? 0 : this.unsentBytes;
    const takenBytes = this.sentBytes - waitingBytes;
    this.#stalls = waitingBytes === 0 || takenBytes > this.#takenBytes ? 0 : this.#stalls + 1;
    this.#takenBytes = takenBytes;
    return this.#stalls;
  }

  override finish(): void {
    this.handle.close();
  }

  override abort(): void {
    this.handle.abort();
  }

  /** The stream goes on under a transport, which takes this one's place in the server's list. */
  protected handOver(handle: StreamHandle, protocol: StreamProtocol): StreamTransport {
    this.#handedOver = true;
    const transport = new StreamTransport(this.host.loop, handle, this.limits, this.context);
    handle.sink = transport;
    this.owner?.streamReplaced(this, transport);
    transport.protocol = protocol;
    return transport;
  }
}

/** What tells of an exchange's body and end. Set with `readBody` or `watch`. */
export interface ExchangeSink {
  /** Owned by the receiver. Not while paused. */
  onBodyData(chunk: Buffer): void;
  /** Its end; the last call about the body. */
  onBodyEnd(): void;
  /**
   * The body is malformed, late or too large in its framing; the last call about the body. The
   * response may still be given, and the connection is closed after it.
   */
  onBodyError(status: number, reason: string): void;
  /** Asked for with `notifyDrain`. */
  onDrain(): void;
  /**
   * The client ended its side after a complete request: it has probably gone, but the response is
   * still sent. At most once, not after the response is complete.
   */
  onClientEnd(): void;
  /** Client or connection are gone, before the response was complete. Last call. */
  onAborted(error: Error | undefined): void;
}

/** A flat list of names and values: `[name, value, name, value …]`. */
export type HeaderList = readonly string[];

/** Headers as the wire holds them: decoded when asked for. */
export interface HeaderSource {
  /** Header lines. */
  readonly headerCount: number;
  /**
   * The value of a header by its name in lower case; null without one. Several lines are joined
   * with ', ' (cookie: '; ') in order. Latin-1, without blanks around.
   */
  header(name: string): string | null;
  /** All lines in order, names as they were sent. A new array or one that is never changed. */
  headerList(): HeaderList;
}

/** One request and its response. */
export interface Exchange extends HeaderSource {
  /** A valid token, as sent. */
  readonly method: string;
  /** As sent: origin form, absolute form, or '*' (OPTIONS only). Never empty. */
  readonly target: string;
  readonly httpVersion: '1.0' | '1.1' | '2';
  readonly secure: boolean;
  readonly tls: TlsInfo | null;
  /** Of the peer. Made when asked for. */
  readonly remoteAddress: SocketAddress;
  readonly localAddress: SocketAddress;
  /** Declared length; 0: no body; -1: unknown (chunked). */
  readonly bodyBytes: number;
  readonly expectsContinue: boolean;
  /** False once the client is gone. */
  readonly open: boolean;
  /** Whether rule 7 keeps the connection so far. Set it to false before the response to close. */
  keepAlive: boolean;

  /** Calls of the sink begin with the next turn, or with the next bytes. Once. */
  readBody(sink: ExchangeSink): void;
  pauseBody(): void;
  resumeBody(): void;
  /** Instead of `readBody`: the whole body, if it has come. Null: no, too long, or asked for. */
  takeBody?(maxBytes: number): Buffer | null;
  /**
   * Sets the sink without asking for the body: for `onAborted` and `onDrain`. May be called before
   * `readBody`, which then must give the same one.
   */
  watch(sink: ExchangeSink): void;

  /** The whole response, in one write. Ends the exchange. `headers`: see rule 5. */
  respond(
    status: number,
    statusText: string,
    headers: HeaderList,
    body: string | Uint8Array | null,
  ): void;
  /**
   * The head of a response whose body follows. `bodyBytes` null: chunked, or for HTTP/1.0 until the
   * end of the connection. Goes out with the first bytes of the body, or at the end of the turn.
   */
  startResponse(
    status: number,
    statusText: string,
    headers: HeaderList,
    bodyBytes: number | null,
  ): void;
  /**
   * Body bytes, consumed before it returns. Returns how many bytes are buffered now, at most.
   * More or fewer than `bodyBytes` in all: the caller's mistake, which it checks itself.
   */
  write(data: Data): number;
  /** One `onDrain` when at most `lowBytes` are buffered. */
  notifyDrain(lowBytes: number): void;
  /** Bytes of the response that the kernel has not taken yet. */
  readonly bufferedBytes: number;
  endResponse(): void;
  /** Breaks the connection: the response cannot be completed. */
  abort(): void;

  /** The request asks for `upgrade: websocket` with GET on HTTP/1.1 and without a body. */
  readonly upgradeable: boolean;
  /**
   * Answers 101 with these headers (which hold `connection` and `upgrade` here) and hands the
   * stream over: `connectionMade`, then what was read already, through the protocol. The wire is
   * done with it; the connection stays in the server's list until it is closed.
   */
  upgrade(headers: HeaderList, protocol: StreamProtocol): void;

  /**
   * A part of a file as body bytes, by the kernel: bytes sent, 0 at the file's end, or a negative
   * errno of the file; EAGAIN: `notifyWritable` tells when to go on. Absent where the wire cannot;
   * `sendsFiles` is false where this response cannot: encrypted, chunked, without a body.
   */
  sendFile?(fd: number, position: number, maxBytes: number): number;
  readonly sendsFiles?: boolean;
  /** One `onDrain` when nothing is buffered and there is room. */
  notifyWritable?(): void;
}
