/**
 * One exchange on a stream of HTTP/2.
 *
 * In: what an exchange sends; events of a stream of node:http2. Out: calls of the exchange. Never:
 * a call after the exchange is over; a body that is shorter than its head says taken for whole.
 */
import { Buffer } from 'node:buffer';
import type { ClientHttp2Stream, IncomingHttpStatusHeader, OutgoingHttpHeaders } from 'node:http2';
import type { Data } from '../../base/errors.ts';
import { ClientConnectionError } from '../client-errors.ts';
import type { Carrier } from './carrier.ts';
import type { ClientExchange, Outgoing } from './exchange.ts';
import { disconnectedError, malformedError } from './exchange-errors.ts';
import type { Http2Session } from './http2-session.ts';
import { owned } from './outgoing.ts';
import { chunkedBody, FramingError, maxInterims, ResponseHead } from './response-parser.ts';

const endStreamFlag = 1;
const refusedStream = 7;
const cancelled = 8;
const nothing = Buffer.alloc(0);
/** A request that got no answer for so long, and is given up, may have had a dead connection. */
const silentMs = 1_000;

/** Belong to HTTP/1, beyond what no request takes from its user. (RFC 9113 8.2.2) */
const ofConnections: ReadonlySet<string> = new Set(['host', 'http2-settings', 'proxy-connection']);

function headersOf(plan: Outgoing, more: boolean): OutgoingHttpHeaders {
  const { lines } = plan;
  const headers: OutgoingHttpHeaders = {
    ':method': plan.method,
    ':scheme': 'https',
    ':authority': plan.host,
    ':path': plan.target,
  };
  for (let i = 0; i < lines.length; i += 2) {
    const name = lines[i] as string;
    const value = lines[i + 1] as string;
    if (name === 'host') headers[':authority'] = value;
    if (owned.has(name) || ofConnections.has(name)) continue;
    const before = headers[name];
    const separator = name === 'cookie' ? '; ' : ', ';
    headers[name] = before === undefined ? value : `${before}${separator}${value}`;
  }
  const bytes = plan.body === null ? plan.declaredBytes : Buffer.byteLength(plan.body);
  if (bytes !== null) headers['content-length'] = String(bytes);
  if (plan.expectContinue && more) headers['expect'] = '100-continue';
  return headers;
}

function headOf(method: string, all: readonly string[], flags: number): ResponseHead {
  const lines: string[] = [];
  let status = 0;
  let length: string | null = null;
  for (let i = 0; i < all.length; i += 2) {
    const name = all[i] as string;
    const value = all[i + 1] as string;
    if (name === ':status') status = Number(value);
    else lines.push(name, value);
    if (name === 'content-length') length = value;
  }
  const none =
    (flags & endStreamFlag) !== 0 || method === 'HEAD' || status === 204 || status === 304;
  const bodyBytes = none ? 0 : length === null ? chunkedBody : Number(length);
  return new ResponseHead({ status, reason: '', version: '2' }, lines, true, bodyBytes);
}

export class Http2Stream implements Carrier {
  exchange: ClientExchange | null = null;
  uses: number;
  started = false;
  refused = false;
  /** A stream is not kept. */
  readonly leftBytes: number = Infinity;
  readonly #session: Http2Session;
  #stream: ClientHttp2Stream | null = null;
  #error: Error | undefined;
  #interims = 0;
  #bodyBytes = 0;
  /** The server said that nothing follows; a stream that is reset ends as well. */
  #whole = false;
  #sinceMs = 0;

  constructor(session: Http2Session) {
    this.#session = session;
    this.uses = session.connection.uses++;
  }

  get open(): boolean {
    return this.#session.connection.open;
  }

  get bufferedBytes(): number {
    return this.#stream?.writableLength ?? 0;
  }

  sendHead(plan: Outgoing, body: Data | null, more: boolean): void {
    this.#sinceMs = this.#session.now;
    if (plan.upgrade !== null) {
      const { host, port } = this.#session.connection;
      const where = { code: 'EPROTO', host, port };
      throw new ClientConnectionError('HTTP/2 was agreed on, and a WebSocket needs 1.1', where);
    }
    const headers = headersOf(plan, more);
    let stream: ClientHttp2Stream;
    try {
      stream = this.#session.request(headers, body === null && !more);
    } catch (error) {
      // It was closed before anything was sent.
      this.refused = true;
      throw disconnectedError(
        this.exchange as ClientExchange,
        this.#session.connection,
        error as Error,
      );
    }
    this.#stream = stream;
    this.#watchEnd(stream);
    stream.on('error', (error: Error) => {
      this.#error = error;
    });
    stream.on('headers', (given) => this.#tell((exchange) => this.#interim(exchange, given)));
    stream.on('response', (_headers, flags, lines?: string[]) => {
      const head = headOf(plan.method, lines as string[], flags);
      this.#tell((exchange) => exchange.onHead(head));
      // Not before: 'data' would overtake this.
      this.#read(stream);
    });
    stream.on('drain', () => this.exchange?.writer?.drained());
    stream.on('close', () => this.lost(this.#error));
    if (body !== null) stream.end(ownCopy(body));
  }

  /**
   * Node ends a stream for END_STREAM, and for RST_STREAM with NO_ERROR too, and tells nobody for
   * which; only for the latter it has counted it as closed before.
   */
  #watchEnd(stream: ClientHttp2Stream): void {
    const { push } = stream;
    stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
      if (chunk === null && !stream.closed) this.#whole = true;
      return push.call(stream, chunk, encoding);
    };
  }

  #read(stream: ClientHttp2Stream): void {
    stream.on('data', (chunk: Buffer) => {
      this.#bodyBytes += chunk.length;
      this.#tell((exchange) => exchange.onBody(chunk));
    });
    stream.on('end', () => this.#tell((exchange) => this.#ended(exchange)));
  }

  sendBody(data: Data): void {
    if (data.length > 0) this.#stream?.write(ownCopy(data));
  }

  endBody(): void {
    this.#stream?.end();
  }

  pauseReading(): void {
    this.#stream?.pause();
  }

  resumeReading(): void {
    this.#stream?.resume();
  }

  free(): void {
    this.exchange = null;
    this.#session.leave(this);
  }

  drop(): void {
    const stream = this.#stream;
    const session = this.#session;
    this.exchange = null;
    if (stream !== null && !stream.closed) {
      // Else Node ends the stream before it resets it: a body that broke off would look complete.
      if (!stream.pending && !stream.writableEnded) stream.write(nothing);
      stream.close(cancelled);
    }
    if (stream !== null && !this.started && session.now - this.#sinceMs >= silentMs) {
      session.retire();
    }
    session.leave(this);
  }

  release(): never {
    throw new Error('uvio bug: a stream of HTTP/2 is upgraded');
  }

  /** The stream, or its connection, is gone. */
  lost(error: Error | undefined): void {
    if (this.#stream?.rstCode === refusedStream) this.refused = true;
    const { exchange } = this;
    if (exchange !== null) {
      this.#session.enter(() => {
        exchange.crash(disconnectedError(exchange, this.#session.connection, error));
      });
    }
    this.#session.leave(this);
  }

  #interim(exchange: ClientExchange, headers: IncomingHttpStatusHeader): void {
    this.#interims++;
    if (this.#interims > maxInterims) {
      exchange.crash(malformedError(exchange, new FramingError('Too many responses 1xx')));
    } else exchange.onInterim(headers[':status'] ?? 0);
  }

  #ended(exchange: ClientExchange): void {
    const { head } = exchange;
    // Else 'close' follows.
    if (head === null || !this.#whole || this.#stream?.rstCode !== 0) return;
    if (head.bodyBytes > 0 && head.bodyBytes !== this.#bodyBytes) return;
    exchange.onEnd(true);
  }

  #tell(call: (exchange: ClientExchange) => void): void {
    const { exchange } = this;
    if (exchange === null) return;
    this.started = true;
    this.#session.enter(() => call(exchange));
  }
}

/** Node keeps what it cannot send at once; the caller may change it. */
function ownCopy(data: Data): string | Buffer {
  return typeof data === 'string' ? data : Buffer.from(data);
}
