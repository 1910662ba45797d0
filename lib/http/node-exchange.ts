/**
 * One request of node:http (or of node:http2's compatible half) as an Exchange.
 *
 * In: an IncomingMessage and a ServerResponse. Out: calls of the sink. Never: a decision about
 * other requests of the connection: that is its owner's.
 */
import { Buffer } from 'node:buffer';
import type { Data } from '../base/errors.ts';
import { ignore } from '../base/quiet.ts';
import { readHeld } from '../base/read-held.ts';
import type { CallbackContext } from '../io/handles.ts';
import type { SocketAddress, TlsInfo } from '../io/net-types.ts';
import type { StreamProtocol } from '../io/protocols.ts';
import { type Head, lengthUnsaid, refreshDate, wholeHead } from './answer.ts';
import { ExchangeBase } from './exchange-base.ts';
import { http2Fields, lineOf } from './headers.ts';
import type { RequestMessage, ResponseMessage } from './light-message.ts';
import { type Exchange, type HeaderList, maxDiscardBytes } from './wire.ts';

/** Whose exchange it is: a connection of the wire, or a server of Node's own. */
export interface ExchangeOwner {
  readonly context: CallbackContext;
  readonly secure: boolean;
  readonly tls: TlsInfo | null;
  readonly closing: boolean;
  readonly remoteAddress: SocketAddress;
  readonly localAddress: SocketAddress;
  readonly waitingBytes: number;
  /** Calls back once, later, when some of the bytes that wait have gone. */
  onProgress(call: () => void): void;
  /**
   * A whole response past the ServerResponse, whose queues and checks cost more than all of a
   * handler. False: not now. Absent: never.
   */
  answer?(
    exchange: NodeExchange,
    head: Head,
    body: string | Uint8Array | null,
    bytes: number,
  ): boolean;
  /** The head of the response says that the connection is closed after it. */
  lastResponse(): void;
  /** The body of the request is asked for, or complete: time limits. */
  bodyWanted(exchange: NodeExchange): void;
  bodyDone(exchange: NodeExchange): void;
  abort(): void;
  upgrade(headers: HeaderList, protocol: StreamProtocol): void;
  /** Trailers and the head together above a limit. */
  tooManyTrailers(exchange: NodeExchange): boolean;
}

/** What a response of HTTP/2 has instead: it has no reason. */
interface Http2Writer {
  writeHead(status: number, headers: object): unknown;
}

export class NodeExchange extends ExchangeBase implements Exchange {
  readonly request: RequestMessage;
  readonly response: ResponseMessage;
  readonly owner: ExchangeOwner;
  readonly expectsContinue: boolean;
  readonly upgradeable: boolean;
  readonly bodyBytes: number;
  /** By a parser of bodies that is around the application: there is nothing to wait for. */
  readBefore = false;
  /** Bytes of the body that came. */
  receivedBytes = 0;
  /** `100 Continue` was sent, or it is too late for it: the head of the response was given. */
  #continued = false;
  #draining = false;

  constructor(
    request: RequestMessage,
    response: ResponseMessage,
    owner: ExchangeOwner,
    upgradeable: boolean,
    expectsContinue: boolean,
  ) {
    const bodyBytes = upgradeable ? 0 : bodyBytesOf(request);
    super(owner.context, bodyBytes === 0);
    this.request = request;
    this.response = response;
    this.owner = owner;
    this.upgradeable = upgradeable;
    this.bodyBytes = bodyBytes;
    this.expectsContinue = expectsContinue && !this.bodyComplete;
  }

  get method(): string {
    return this.request.method as string;
  }

  get target(): string {
    return this.request.url as string;
  }

  get httpVersion(): '1.0' | '1.1' | '2' {
    const { httpVersion } = this.request;
    return httpVersion === '2.0' ? '2' : (httpVersion as '1.0' | '1.1');
  }

  get secure(): boolean {
    return this.owner.secure;
  }

  get tls(): TlsInfo | null {
    return this.owner.tls;
  }

  get remoteAddress(): SocketAddress {
    return this.owner.remoteAddress;
  }

  get localAddress(): SocketAddress {
    return this.owner.localAddress;
  }

  get open(): boolean {
    return !this.over && !this.response.destroyed;
  }

  get headerCount(): number {
    return this.headerList().length / 2;
  }

  header(name: string): string | null {
    return lineOf(this.headerList(), name);
  }

  headerList(): HeaderList {
    const { httpVersionMajor, rawHeaders } = this.request;
    return httpVersionMajor < 2 ? rawHeaders : plainLines(rawHeaders);
  }

  // ---- body ----

  protected beginBody(): void {
    if (this.expectsContinue && !this.#continued) {
      this.#continued = true;
      this.response.writeContinue();
    }
    this.owner.bodyWanted(this);
    this.request.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length;
      this.tell((sink) => sink.onBodyData(chunk));
    });
    this.request.on('end', () => this.#bodyEnded());
    this.request.on('error', ignore);
    if (this.readBefore) process.nextTick(() => this.failBody(500, whyReadBefore));
    this.request.resume();
  }

  takeBody(maxBytes: number): Buffer | null {
    const { request } = this;
    const asked = this.over || this.bodyComplete || this.reading || this.failure !== null;
    if (asked || this.readBefore || !request.complete || request.readableLength > maxBytes)
      return null;
    // node:http2 calls a request complete that was aborted.
    if (request.httpVersionMajor > 1 || request.rawTrailers.length > 0) return null;
    const whole = readHeld(request);
    if (whole === null) return null;
    this.reading = true;
    this.bodyComplete = true;
    this.receivedBytes = whole.length;
    return whole;
  }

  pauseBody(): void {
    if (!this.over) this.request.pause();
  }

  resumeBody(): void {
    if (!this.over) this.request.resume();
  }

  #bodyEnded(): void {
    if (this.bodyComplete || this.failure !== null) return;
    // node:http2 ends what was aborted, too; `lost` follows.
    if (this.request.aborted === true) return;
    if (this.owner.tooManyTrailers(this)) {
      this.failBody(431, 'Header fields too large');
      return;
    }
    this.bodyComplete = true;
    this.owner.bodyDone(this);
    this.tell((sink) => sink.onBodyEnd());
  }

  // ---- response ----

  respond(
    status: number,
    statusText: string,
    headers: HeaderList,
    body: string | Uint8Array | null,
  ): void {
    if (this.over) return;
    const bytes = body === null ? 0 : Buffer.byteLength(body);
    if (!this.#answer(status, statusText, headers, body, bytes)) {
      this.#writeHead(status, statusText, headers, bytes);
      this.#sendEnd(body);
    }
    this.end();
    this.#dropRest();
  }

  /** False: it is for Node to write the response. */
  #answer(
    status: number,
    statusText: string,
    headers: HeaderList,
    body: string | Uint8Array | null,
    bytes: number,
  ): boolean {
    const { owner, request, response } = this;
    if (owner.answer === undefined || request.httpVersion !== '1.1' || !this.#mayKeep())
      return false;
    response.statusCode = status;
    refreshDate();
    const lengthBytes = status === 204 ? lengthUnsaid : bytes;
    const head = wholeHead(status, statusText, headers, lengthBytes, '\r\n');
    return this.bodyless
      ? owner.answer(this, head, null, 0)
      : owner.answer(this, head, body, bytes);
  }

  startResponse(
    status: number,
    statusText: string,
    headers: HeaderList,
    bodyBytes: number | null,
  ): void {
    if (this.over) return;
    this.#writeHead(status, statusText, headers, bodyBytes);
    // With the first bytes of the body, if they come at once.
    process.nextTick(() => {
      if (!this.over) this.response.flushHeaders();
    });
  }

  write(data: Data): number {
    if (this.over || data.length === 0) return this.bufferedBytes;
    if (this.bodyless) return 0;
    // Node keeps what it cannot write at once; the caller may change it.
    this.response.write(typeof data === 'string' ? data : Buffer.from(data));
    return this.bufferedBytes;
  }

  get bufferedBytes(): number {
    return this.response.writableLength + this.owner.waitingBytes;
  }

  notifyDrain(lowBytes: number): void {
    if (this.over || this.#draining) return;
    this.#draining = true;
    const check = (): void => {
      if (this.over) return;
      if (this.bufferedBytes > lowBytes) {
        this.owner.onProgress(check);
        return;
      }
      this.#draining = false;
      this.tell((sink) => sink.onDrain());
    };
    process.nextTick(check);
  }

  endResponse(): void {
    if (this.over) return;
    this.end();
    this.#sendEnd(null);
    this.#dropRest();
  }

  abort(): void {
    this.end();
    this.owner.abort();
  }

  upgrade(headers: HeaderList, protocol: StreamProtocol): void {
    if (this.over || !this.upgradeable) return;
    this.end();
    this.owner.upgrade(headers, protocol);
  }

  /** The client, or the connection, is gone. */
  lost(error: Error | undefined): void {
    if (!this.over) this.tellAborted(error);
  }

  /** FIN after a complete request. */
  clientEnded(): void {
    if (this.over) return;
    if (!this.bodyComplete) this.failBody(400, 'The body ended early');
    else this.tell((sink) => sink.onClientEnd());
  }

  /** No byte of a body may follow. */
  private get bodyless(): boolean {
    const { statusCode } = this.response;
    return this.method === 'HEAD' || statusCode === 204 || statusCode === 304;
  }

  #writeHead(
    status: number,
    statusText: string,
    headers: HeaderList,
    bodyBytes: number | null,
  ): void {
    const { response } = this;
    const list: string[] = [...headers];
    const { httpVersion } = this.request;
    response.statusCode = status;
    const bodyless = this.bodyless;
    if (bodyBytes !== null) {
      if (status !== 204) list.push('content-length', String(bodyBytes));
    } else if (httpVersion === '1.0' && !bodyless) {
      // Its end is that of the connection.
      this.keepAlive = false;
    } else if (httpVersion === '1.1' && status !== 204 && status !== 304) {
      // Node leaves it out for HEAD.
      list.push('transfer-encoding', 'chunked');
    }
    const kept = this.#mayKeep();
    if (httpVersion === '2.0') {
      // Without a reason, and a word on the connection: Node warns of both.
      this.#continued = true;
      (response as unknown as Http2Writer).writeHead(status, http2Fields(list));
      return;
    }
    if (!kept) {
      list.push('connection', 'close');
      this.owner.lastResponse();
    } else if (httpVersion === '1.0') {
      // Node would close behind a response without a length.
      list.push('connection', 'keep-alive');
    } else if (httpVersion === '1.1') {
      // Kept without being said.
      response.removeHeader('connection');
    }
    this.#continued = true;
    response.writeHead(status, statusText, list as never);
  }

  #sendEnd(body: string | Uint8Array | null): void {
    if (body === null || this.bodyless) this.response.end();
    else this.response.end(body);
  }

  /** Rule 7 of the seam. */
  #mayKeep(): boolean {
    if (!this.keepAlive || this.owner.closing || !this.response.shouldKeepAlive) return false;
    if (this.bodyComplete) return true;
    if (this.failure !== null || (this.expectsContinue && !this.#continued)) return false;
    // All of it came, and nobody read it. (node:http2 says so of what was aborted, too.)
    const { complete, httpVersionMajor } = this.request;
    if (complete && httpVersionMajor < 2) return !this.owner.tooManyTrailers(this);
    const declared = this.bodyBytes;
    return declared >= 0 && declared - this.receivedBytes <= maxDiscardBytes;
  }

  /** What is left of the request's body is dropped. */
  #dropRest(): void {
    if (this.bodyComplete) return;
    this.request.on('error', ignore);
    if (!this.reading) this.request.on('end', () => this.#bodyEnded());
    this.request.resume();
  }
}

const whyReadBefore = 'The body was read before, by what is around the application';

/** Without pseudo-headers; `host` comes first when it was `:authority`. */
function plainLines(rawHeaders: readonly string[]): HeaderList {
  const lines: string[] = [];
  let authority: string | null = null;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const [name, value] = [rawHeaders[i] as string, rawHeaders[i + 1] as string];
    if (name === ':authority') authority = value;
    else if (name.charCodeAt(0) !== 58) lines.push(name, value);
  }
  if (authority !== null && lineOf(lines, 'host') === null) lines.unshift('host', authority);
  return lines;
}

function bodyBytesOf(request: RequestMessage): number {
  const { headers } = request;
  if (headers['transfer-encoding'] !== undefined) return -1;
  const length = headers['content-length'];
  if (length !== undefined) return Number(length);
  // HTTP/2 needs none of them.
  const ended = request.httpVersionMajor < 2 || request.readableEnded || request.complete;
  return ended ? 0 : -1;
}
