/**
 * One request that the addon's parser found, and its response.
 *
 * In: a head, pieces of a body; a response. Out: bytes on the stream; calls of the sink. Never: a
 * decision about other requests of the connection: that is its home's.
 */
import type { Buffer } from 'node:buffer';
import { constants } from 'node:os';
import type { Data } from '../base/errors.ts';
import { dataBytes } from '../io/data.ts';
import type { StreamHandle } from '../io/handles.ts';
import type { SocketAddress, TlsInfo } from '../io/net-types.ts';
import type { StreamProtocol } from '../io/protocols.ts';
import {
  type Head,
  lengthChunked,
  lengthUnsaid,
  type Target,
  wholeHead,
  writeChunk,
  writeHead,
  writeWhole,
} from './answer.ts';
import { NativeBody } from './native-body.ts';
import { NativeHead } from './native-head.ts';
import {
  FLAG_CHUNKED,
  FLAG_EXPECT_CONTINUE,
  FLAG_HAS_BODY,
  FLAG_HTTP_10,
  FLAG_KEEP_ALIVE,
  FLAG_UPGRADE,
} from './native-records.ts';
import { type Exchange, type ExchangeSink, type HeaderList, maxDiscardBytes } from './wire.ts';

type FileTarget = Pick<
  StreamHandle,
  'bufferedBytes' | 'notifyDrain' | 'notifyWritable' | 'sendFile'
>;

/** The connection of an exchange. */
export interface ExchangeHome {
  readonly handle: Target & FileTarget;
  readonly closing: boolean;
  readonly secure: boolean;
  readonly tls: TlsInfo | null;
  readonly remoteAddress: SocketAddress;
  readonly localAddress: SocketAddress;
  sentBytes: number;
  /** A file goes on when there is room. */
  fileWaits: boolean;
  /** Its body is asked for, or wanted again. */
  bodyWanted(exchange: NativeExchange): void;
  /** All of the response was written; `keep` is what its head said. */
  answered(exchange: NativeExchange, keep: boolean, bufferedBytes: number): void;
  abort(): void;
  /** @returns what can still be asked of it */
  upgrade(exchange: NativeExchange, headers: HeaderList, protocol: StreamProtocol): ExchangeHome;
}

const { errno } = constants;
/** The connection is closed, or broken. */
const goneErrnos: ReadonlySet<number> = new Set([-errno.EBADF, -errno.EPIPE, -errno.ECONNRESET]);

const closeEnding = 'connection: close\r\n\r\n';
const keepEnding = 'connection: keep-alive\r\n\r\n';
const continueText = 'HTTP/1.1 100 Continue\r\n\r\n';

export class NativeExchange extends NativeHead implements Exchange {
  readonly method: string;
  readonly target: string;
  readonly bodyBytes: number;
  keepAlive: boolean;
  /** The response is complete, or cannot be. */
  over: boolean;
  /** Null: without a body. */
  readonly body: NativeBody | null;
  /** @internal */
  sink: ExchangeSink | null;
  #home: ExchangeHome;
  readonly #flags: number;
  /** How the body of the response is framed. */
  #chunked: boolean;
  /** The sink is to hear that there is no body. */
  #emptyAsked: boolean;
  #bodyless: boolean;
  #keep: boolean;

  constructor(
    home: ExchangeHome,
    bytes: Buffer,
    from: number,
    to: number,
    headerCount: number,
    method: string,
    target: string,
    flags: number,
    lengthBytes: number,
  ) {
    super(bytes, from, to, headerCount);
    this.#home = home;
    this.method = method;
    this.target = target;
    this.#flags = flags;
    this.bodyBytes = (flags & FLAG_CHUNKED) !== 0 ? -1 : lengthBytes;
    this.body = (flags & FLAG_HAS_BODY) !== 0 ? new NativeBody() : null;
    // What follows a handshake may not be HTTP.
    this.keepAlive = (flags & (FLAG_KEEP_ALIVE | FLAG_UPGRADE)) === FLAG_KEEP_ALIVE;
    this.over = false;
    this.sink = null;
    this.#chunked = false;
    this.#emptyAsked = false;
    this.#bodyless = false;
    this.#keep = false;
  }

  get httpVersion(): '1.0' | '1.1' {
    return (this.#flags & FLAG_HTTP_10) !== 0 ? '1.0' : '1.1';
  }

  get secure(): boolean {
    return this.#home.secure;
  }

  get tls(): TlsInfo | null {
    return this.#home.tls;
  }

  get remoteAddress(): SocketAddress {
    return this.#home.remoteAddress;
  }

  get localAddress(): SocketAddress {
    return this.#home.localAddress;
  }

  get expectsContinue(): boolean {
    return (this.#flags & FLAG_EXPECT_CONTINUE) !== 0;
  }

  get upgradeable(): boolean {
    return (this.#flags & FLAG_UPGRADE) !== 0;
  }

  get open(): boolean {
    return !this.over;
  }

  // ---- body ----

  /** All of the request came. */
  get complete(): boolean {
    return this.body === null || this.body.complete;
  }

  watch(sink: ExchangeSink): void {
    this.sink = sink;
  }

  readBody(sink: ExchangeSink): void {
    this.sink = sink;
    if (this.over) return;
    const { body } = this;
    if (body === null) {
      this.#emptyAsked = true;
    } else {
      if (body.wanted) return;
      body.wanted = true;
      if (this.expectsContinue && !body.continued) {
        body.continued = true;
        this.#home.handle.write(continueText);
      }
    }
    this.#later();
  }

  takeBody(maxBytes: number): Buffer | null {
    const { body } = this;
    if (body === null || this.over || this.expectsContinue) return null;
    return body.takeAll(maxBytes);
  }

  pauseBody(): void {
    if (this.body !== null) this.body.paused = true;
  }

  resumeBody(): void {
    const { body } = this;
    if (body === null || !body.paused) return;
    body.paused = false;
    this.#later();
  }

  #later(): void {
    queueMicrotask(() => {
      if (!this.over) this.#home.bodyWanted(this);
    });
  }

  /** What came of the body, to the sink. Inside the server's context. */
  deliverBody(): void {
    const { body, sink } = this;
    if (sink === null || this.over) return;
    if (body !== null) {
      body.deliver(sink);
    } else if (this.#emptyAsked) {
      this.#emptyAsked = false;
      sink.onBodyEnd();
    }
  }

  /** The rest of the body will not come, or is wrong. */
  failBody(status: number, reason: string): void {
    const { body } = this;
    if (body === null || body.complete || body.failure !== null) return;
    body.failure = { status, reason };
    this.keepAlive = false;
  }

  // ---- response ----

  respond(
    status: number,
    statusText: string,
    headers: HeaderList,
    body: string | Uint8Array | null,
  ): void {
    if (this.over) return;
    const bytes = body === null ? 0 : dataBytes(body);
    const head = this.#head(status, statusText, headers, bytes);
    const { handle } = this.#home;
    this.#home.sentBytes += head.text.length + bytes;
    const bufferedBytes =
      bytes === 0 || this.#bodyless
        ? writeHead(handle, head.text)
        : writeWhole(handle, head, body as string | Uint8Array, bytes);
    this.#end(bufferedBytes);
  }

  startResponse(
    status: number,
    statusText: string,
    headers: HeaderList,
    bodyBytes: number | null,
  ): void {
    if (this.over) return;
    // The backend sends what was written in one turn at once, the head with the first bytes.
    writeHead(this.#home.handle, this.#head(status, statusText, headers, bodyBytes).text);
  }

  write(data: Data): number {
    if (this.over || data.length === 0 || this.#bodyless) return this.bufferedBytes;
    const { handle } = this.#home;
    this.#home.sentBytes += data.length;
    return this.#chunked ? writeChunk(handle, data) : handle.write(data);
  }

  get bufferedBytes(): number {
    return this.over ? 0 : this.#home.handle.bufferedBytes;
  }

  notifyDrain(lowBytes: number): void {
    if (!this.over) this.#home.handle.notifyDrain(lowBytes);
  }

  get sendsFiles(): boolean {
    return this.#home.handle.sendFile !== undefined && !this.#chunked && !this.#bodyless;
  }

  sendFile(fd: number, position: number, maxBytes: number): number {
    const sent = this.#home.handle.sendFile?.(fd, position, maxBytes) ?? 0;
    if (sent > 0) this.#home.sentBytes += sent;
    if (!goneErrnos.has(sent)) return sent;
    // `onAborted` tells that, as ever.
    this.#home.abort();
    return -errno.EAGAIN;
  }

  notifyWritable(): void {
    const home = this.#home;
    home.fileWaits = true;
    home.handle.notifyWritable?.(() => {
      home.fileWaits = false;
      this.sink?.onDrain();
    });
  }

  endResponse(): void {
    if (this.over) return;
    const { handle } = this.#home;
    const sent = this.#chunked && !this.#bodyless;
    this.#end(sent ? handle.write('0\r\n\r\n') : handle.write(''));
  }

  abort(): void {
    this.over = true;
    this.sink = null;
    this.#home.abort();
  }

  upgrade(headers: HeaderList, protocol: StreamProtocol): void {
    if (this.over || !this.upgradeable) return;
    this.over = true;
    this.sink = null;
    // Whoever keeps the request keeps no parser, and none of the bytes that were read with it.
    this.forgetBytes();
    this.#home = this.#home.upgrade(this, headers, protocol);
  }

  /** The client, or the connection, is gone. Inside the server's context. */
  lost(error: Error | undefined): void {
    if (this.over) return;
    this.over = true;
    const { sink } = this;
    this.sink = null;
    sink?.onAborted(error);
  }

  /** The whole head; decides on framing and on the connection's end. */
  #head(status: number, statusText: string, headers: HeaderList, bodyBytes: number | null): Head {
    const http10 = (this.#flags & FLAG_HTTP_10) !== 0;
    const empty = status === 204 || status === 304;
    this.#bodyless = empty || this.method === 'HEAD';
    this.#chunked = bodyBytes === null && !http10;
    let length = lengthUnsaid;
    if (bodyBytes !== null) {
      if (status !== 204) length = bodyBytes;
    } else if (http10 && !this.#bodyless) {
      this.keepAlive = false;
    } else if (!http10 && !empty) {
      length = lengthChunked;
    }
    this.#keep = this.#mayKeep();
    if (this.body !== null) this.body.continued = true;
    let ending = '\r\n';
    if (!this.#keep) ending = closeEnding;
    else if (http10) ending = keepEnding;
    return wholeHead(status, statusText, headers, length, ending);
  }

  /** Rule 7 of the seam. */
  #mayKeep(): boolean {
    if (!this.keepAlive || this.#home.closing) return false;
    const { body } = this;
    if (body === null) return true;
    // Also when it came unasked: how the bytes were cut decides nothing.
    if (this.expectsContinue && !body.continued) return false;
    if (body.complete) return true;
    if (body.failure !== null) return false;
    return this.bodyBytes >= 0 && this.bodyBytes - body.receivedBytes <= maxDiscardBytes;
  }

  #end(bufferedBytes: number): void {
    this.over = true;
    this.sink = null;
    if (this.body !== null) this.body.drop();
    this.#home.answered(this, this.#keep, bufferedBytes);
  }
}
