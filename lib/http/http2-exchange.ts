/**
 * One stream of HTTP/2 as an Exchange.
 *
 * In: a stream of node:http2 whose head was checked. Out: calls of the sink. Never: a decision
 * about other streams of the connection; more than one write of the stream at a time, so that what
 * the client takes can be seen.
 */
import { Buffer } from 'node:buffer';
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Data } from '../base/errors.ts';
import { ignore } from '../base/quiet.ts';
import type { SocketAddress, TlsInfo } from '../io/net-types.ts';
import { ExchangeBase } from './exchange-base.ts';
import { http2Fields, lineOf } from './headers.ts';
import type { Http2Connection } from './http2-wire.ts';
import { type Exchange, type HeaderList, slowBodyBytes, slowBodyMs } from './wire.ts';

/** Of one write; a client that takes less in `writeTimeoutMs` is too slow. */
const pieceBytes = 65_536;

/** Codes of RST_STREAM and GOAWAY. (RFC 9113 7) */
export const noError = 0;
export const refusedStream = 7;
export const cancelled = 8;
export const enhanceYourCalm = 11;

const nothing = Buffer.alloc(0);

/** The head of a request without its pseudo-headers. */
export interface Http2Head {
  readonly method: string;
  readonly target: string;
  /** Flat; `host` comes first when it was `:authority`. */
  readonly lines: HeaderList;
}

export class Http2Exchange extends ExchangeBase implements Exchange {
  readonly method: string;
  readonly target: string;
  readonly httpVersion = '2';
  readonly upgradeable = false;
  readonly bodyBytes: number;
  readonly expectsContinue: boolean;
  readonly #stream: ServerHttp2Stream;
  readonly #owner: Http2Connection;
  readonly #lines: HeaderList;
  readonly #startMs: number;

  /** 100 was said, or it is too late for that: the head of the response was given. */
  #continued = false;
  #paused = false;
  #slowMs = Infinity;
  #slowBytes = 0;

  /** No byte of a body may follow. */
  #bodyless = false;
  #queue: (string | Uint8Array)[] = [];
  #queuedBytes = 0;
  #flyingBytes = 0;
  /** When the write that goes on began. */
  #flyingMs = 0;
  #ending = false;
  #drainLowBytes = -1;

  constructor(stream: ServerHttp2Stream, owner: Http2Connection, head: Http2Head) {
    const length = lineOf(head.lines, 'content-length');
    const bodyBytes = stream.endAfterHeaders ? 0 : length === null ? -1 : Number(length);
    super(owner.context, bodyBytes === 0);
    this.#stream = stream;
    this.#owner = owner;
    this.#lines = head.lines;
    this.method = head.method;
    this.target = head.target;
    this.bodyBytes = bodyBytes;
    this.expectsContinue = this.header('expect') !== null && !this.bodyComplete;
    this.#startMs = owner.host.loop.time();
    stream.on('error', ignore);
    stream.on('aborted', () => this.lost(undefined));
    stream.on('close', () => this.#closed());
  }

  get secure(): boolean {
    return this.#owner.secure;
  }

  get tls(): TlsInfo | null {
    return this.#owner.tls;
  }

  get remoteAddress(): SocketAddress {
    return this.#owner.remoteAddress;
  }

  get localAddress(): SocketAddress {
    return this.#owner.localAddress;
  }

  get open(): boolean {
    return !this.over && !this.#stream.closed && !this.#stream.destroyed;
  }

  get headerCount(): number {
    return this.#lines.length / 2;
  }

  header(name: string): string | null {
    return lineOf(this.#lines, name);
  }

  headerList(): HeaderList {
    return this.#lines;
  }

  // ---- body ----

  protected beginBody(): void {
    const stream = this.#stream;
    if (this.expectsContinue && !this.#continued && this.open) {
      this.#continued = true;
      stream.additionalHeaders({ ':status': 100 });
    }
    this.#slowMs = this.#owner.host.loop.time();
    stream.on('data', (chunk: Buffer) => {
      this.#slowBytes += chunk.length;
      this.tell((sink) => sink.onBodyData(chunk));
    });
    stream.on('trailers', (_trailers, _flags, lines?: string[]) => this.#checkTrailers(lines));
    stream.on('end', () => this.#bodyEnded());
  }

  pauseBody(): void {
    this.#paused = true;
    if (this.open && this.reading) this.#stream.pause();
  }

  resumeBody(): void {
    this.#paused = false;
    this.#slowMs = this.#owner.host.loop.time();
    this.#slowBytes = 0;
    if (this.open && this.reading) this.#stream.resume();
  }

  #checkTrailers(lines: readonly string[] = []): void {
    const { maxHeaderBytes, maxHeaders } = this.#owner.host.limits;
    let bytes = 0;
    for (const part of this.#lines) bytes += part.length + 2;
    for (const part of lines) bytes += part.length + 2;
    const tooMany = (this.#lines.length + lines.length) / 2 > maxHeaders;
    if (tooMany || bytes > maxHeaderBytes) this.failBody(431, 'Header fields too large');
  }

  #bodyEnded(): void {
    if (this.bodyComplete || this.failure !== null) return;
    // The end of a stream that was reset is no end of the body: 'aborted' came before.
    if (this.#stream.aborted) return;
    this.bodyComplete = true;
    this.tell((sink) => sink.onBodyEnd());
  }

  // ---- response ----

  respond(
    status: number,
    _statusText: string,
    headers: HeaderList,
    body: string | Uint8Array | null,
  ): void {
    if (!this.open) return;
    const bytes = body === null ? 0 : Buffer.byteLength(body);
    this.#writeHead(status, headers, bytes, bytes === 0);
    this.#complete();
    if (this.#bodyless || body === null || bytes === 0) this.#afterEnd();
    else this.#put(body, bytes);
  }

  startResponse(
    status: number,
    _statusText: string,
    headers: HeaderList,
    bodyBytes: number | null,
  ): void {
    if (this.open) this.#writeHead(status, headers, bodyBytes, bodyBytes === 0);
  }

  #writeHead(status: number, list: HeaderList, bodyBytes: number | null, endStream: boolean): void {
    this.#bodyless =
      endStream || this.method === 'HEAD' || status === 204 || status === 205 || status === 304;
    this.#continued = true;
    const headers: OutgoingHttpHeaders = http2Fields(list);
    headers[':status'] = status;
    if (bodyBytes !== null && status !== 204) headers['content-length'] = String(bodyBytes);
    this.#stream.respond(headers, { endStream: this.#bodyless });
  }

  write(data: Data): number {
    if (!this.open || data.length === 0) return this.bufferedBytes;
    if (this.#bodyless) return 0;
    // It is kept until the client takes it; the caller may change it.
    const kept = typeof data === 'string' ? data : Buffer.from(data);
    this.#put(kept, Buffer.byteLength(kept));
    return this.bufferedBytes;
  }

  get bufferedBytes(): number {
    return this.#queuedBytes + this.#flyingBytes;
  }

  notifyDrain(lowBytes: number): void {
    this.#drainLowBytes = lowBytes;
    process.nextTick(() => this.#checkDrain());
  }

  #checkDrain(): void {
    if (this.over || this.#drainLowBytes < 0 || this.bufferedBytes > this.#drainLowBytes) return;
    this.#drainLowBytes = -1;
    this.tell((sink) => sink.onDrain());
  }

  endResponse(): void {
    if (!this.open) return;
    this.#complete();
    if (this.#bodyless) this.#afterEnd();
    else this.#pump();
  }

  #complete(): void {
    this.end();
    this.#ending = true;
  }

  /** Takes what is written over: in pieces, one after the other. */
  #put(data: string | Uint8Array, bytes: number): void {
    this.#queuedBytes += bytes;
    if (bytes <= pieceBytes) {
      this.#queue.push(data);
    } else {
      const whole = typeof data === 'string' ? Buffer.from(data) : data;
      for (let at = 0; at < bytes; at += pieceBytes) {
        this.#queue.push(whole.subarray(at, at + pieceBytes));
      }
    }
    this.#pump();
  }

  #pump(): void {
    const stream = this.#stream;
    if (this.#flyingBytes > 0 || stream.destroyed || stream.closed) return;
    const piece = this.#queue.shift();
    if (piece === undefined) {
      if (!this.#ending) return;
      stream.end();
      this.#afterEnd();
      return;
    }
    this.#flyingBytes = Buffer.byteLength(piece);
    this.#queuedBytes -= this.#flyingBytes;
    this.#flyingMs = this.#owner.host.loop.time();
    if (this.#ending && this.#queue.length === 0) {
      // Its last frame carries the end.
      stream.end(piece, () => this.#taken());
      this.#afterEnd();
    } else stream.write(piece, () => this.#taken());
  }

  /** The client took it, or is gone. */
  #taken(): void {
    this.#flyingBytes = 0;
    this.#pump();
    this.#checkDrain();
  }

  /** What is left of the request is not wanted: said so behind the response. (RFC 9113 8.1) */
  #afterEnd(): void {
    const stream = this.#stream;
    // Node does so where nobody has begun to read.
    if (!this.reading || this.bodyComplete) return;
    if (stream.writableFinished) stream.close(noError);
    else stream.once('finish', () => stream.close(noError));
  }

  abort(): void {
    this.end();
    this.#dropQueue();
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    // Node ends a stream that waits for nothing before it resets it, and the client would take what
    // came for all of it: not behind a write. (Before a head it would make one.)
    if (stream.headersSent && !stream.writableEnded) stream.write(nothing);
    stream.destroy(new Error('The response is broken'));
  }

  /** HTTP/2 has no upgrades. */
  upgrade(): void {}

  // ---- time ----

  /** When something about it will be late, as far as nothing happens until then. */
  get deadlineMs(): number {
    const { requestTimeoutMs, writeTimeoutMs } = this.#owner.host.limits;
    let deadlineMs = this.#flyingBytes > 0 ? this.#flyingMs + writeTimeoutMs : Infinity;
    if (this.reading && !this.bodyComplete && this.failure === null && !this.over) {
      deadlineMs = Math.min(deadlineMs, this.#startMs + requestTimeoutMs);
      if (!this.#paused) deadlineMs = Math.min(deadlineMs, this.#slowMs + slowBodyMs);
    }
    return deadlineMs;
  }

  /** Its deadline may have passed. */
  check(nowMs: number): void {
    if (nowMs < this.deadlineMs) return;
    const { requestTimeoutMs, writeTimeoutMs } = this.#owner.host.limits;
    if (this.#flyingBytes > 0 && nowMs >= this.#flyingMs + writeTimeoutMs) {
      this.#flyingMs = Infinity;
      this.lost(new Error('The client takes nothing of the response'));
      this.#stream.close(cancelled);
      return;
    }
    if (nowMs < this.#startMs + requestTimeoutMs && this.#slowBytes >= slowBodyBytes) {
      this.#slowMs = nowMs;
      this.#slowBytes = 0;
    } else this.failBody(408, 'The request took too long');
  }

  // ---- the end ----

  /** The client, or the connection, is gone. */
  lost(error: Error | undefined): void {
    this.#dropQueue();
    if (this.over) return;
    this.#owner.cutShort();
    this.tellAborted(error);
  }

  #dropQueue(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  #closed(): void {
    this.#flyingBytes = 0;
    this.lost(undefined);
    this.#owner.streamClosed(this);
  }
}
