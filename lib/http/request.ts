/**
 * What a handler gets: the surface of the Web's Request over an exchange.
 *
 * In: an exchange and the route that fits. Out: its parts, each made when first asked for. Never: a
 * URL, a header object, a signal or a stream that nobody asked for.
 */
import { Buffer } from 'node:buffer';
import { ReadableStream } from 'node:stream/web';
import { notSupportedError } from '../base/errors.ts';
import type { ByteReader, TlsInfo } from '../io/net-types.ts';
import { cancelledPromise, takeCancellation } from '../task/waiter.ts';
import type { Application } from './application.ts';
import { toArrayBuffer } from './body.ts';
import type { Call } from './call.ts';
import { parseCookies } from './cookies.ts';
import { readForm } from './forms.ts';
import { HttpHeaders } from './headers.ts';
import { HttpError } from './http-error.ts';
import { type BodyPart, MultipartLoop } from './multipart.ts';
import { noParams, type PathParams } from './path-params.ts';
import { type Forwarded, readForwarded, unmapped } from './proxy.ts';
import { type State, StateMap } from './state.ts';
import type { Exchange } from './wire.ts';

/**
 * What a handler gets: the surface of a Web Request, and more, made without its cost. It is not
 * one for `new Request(request)`: give that `request.toWeb()`.
 */
export interface HttpRequest<P extends string = string> extends Request {
  /** Decoded values of the route's `:name` parts. */
  readonly params: PathParams<P>;
  /** As sent: not decoded, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly cookies: ReadonlyMap<string, string>;
  /** Of the peer, or of the client when `trustProxy` allows it. */
  readonly ip: string;
  readonly httpVersion: '1.0' | '1.1' | '2';
  readonly secure: boolean;
  readonly tls: TlsInfo | null;
  /** Aborts when the client is gone, or the handler was cancelled. */
  readonly signal: AbortSignal;
  readonly state: State;
  readonly app: Application;
  /** The body as a byte stream; `text()`, `json()`, `formData()` … read all of it. */
  readonly reader: ByteReader;
  /** HttpError 413 above maxBodyBytes, 400 for bad JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: as the Web's.
  json<T = any>(): Promise<T>;
  bytes(): Promise<Buffer>;
  multipart(): AsyncIterable<BodyPart>;
  /** A real Web Request with the same body. */
  toWeb(): Request;
}

export class ServerRequest implements HttpRequest {
  /** @internal */
  readonly call: Call;
  readonly method: string;
  #params: Record<string, string> = noParams;
  #headers: HttpHeaders | null = null;
  #url: string | null = null;
  #query: URLSearchParams | null = null;
  #cookies: ReadonlyMap<string, string> | null = null;
  #state: StateMap | null = null;
  #forwarded: Forwarded | null = null;
  #stream: ReadableStream<Uint8Array> | null = null;
  #bodyUsed = false;

  constructor(call: Call) {
    this.call = call;
    this.method = call.exchange.method;
  }

  // ---- where it came from ----

  get params(): PathParams<string> {
    return this.#params;
  }

  /** @internal */
  setParams(params: Record<string, string>): void {
    this.#params = params;
  }

  get path(): string {
    return this.call.path;
  }

  get query(): URLSearchParams {
    if (this.#query === null) {
      const { target } = this.call.exchange;
      const at = target.indexOf('?');
      // With its '?': the next one belongs to the first name.
      this.#query = new URLSearchParams(at < 0 ? '' : target.slice(at));
    }
    return this.#query;
  }

  get url(): string {
    this.#url ??= this.#makeUrl();
    return this.#url;
  }

  #makeUrl(): string {
    const { exchange } = this;
    const { target } = exchange;
    const scheme = this.secure ? 'https' : 'http';
    let path = target === '*' ? '/' : target;
    let host = this.#proxied()?.host ?? exchange.header('host') ?? '';
    if (path.charCodeAt(0) !== 47) {
      if (URL.canParse(target)) return new URL(target).href;
      // Of the right form, but no host of the Web.
      path = /^\w+:\/\/[^/?]*(.*)$/.exec(target)?.[1] ?? '';
      host = '';
    }
    if (host === '') host = hostOf(exchange);
    const text = `${scheme}://${host}${path}`;
    return URL.canParse(text) ? new URL(text).href : `${scheme}://${hostOf(exchange)}${path}`;
  }

  get ip(): string {
    return this.#proxied()?.ip ?? unmapped(this.exchange.remoteAddress.address);
  }

  get secure(): boolean {
    const scheme = this.#proxied()?.scheme ?? null;
    return scheme === null ? this.exchange.secure : scheme === 'https';
  }

  #proxied(): Forwarded | null {
    const { trust } = this.call.settings;
    if (trust === null) return null;
    this.#forwarded ??= readForwarded(this.exchange, this.exchange.remoteAddress.address, trust);
    return this.#forwarded;
  }

  get tls(): TlsInfo | null {
    return this.exchange.tls;
  }

  get httpVersion(): '1.0' | '1.1' | '2' {
    return this.exchange.httpVersion;
  }

  get headers(): Headers {
    this.#headers ??= HttpHeaders.from(this.exchange);
    return this.#headers;
  }

  get cookies(): ReadonlyMap<string, string> {
    this.#cookies ??= parseCookies(this.exchange.header('cookie'));
    return this.#cookies;
  }

  get signal(): AbortSignal {
    return this.call.signal;
  }

  get state(): State {
    this.#state ??= new StateMap();
    return this.#state;
  }

  get app(): Application {
    return this.call.app;
  }

  private get exchange(): Exchange {
    return this.call.exchange;
  }

  // ---- the body ----

  get reader(): ByteReader {
    return this.call.reader;
  }

  get bodyUsed(): boolean {
    return this.#bodyUsed || (this.#stream?.locked ?? false);
  }

  get body(): ReadableStream<Uint8Array> | null {
    if (this.exchange.bodyBytes === 0) return null;
    this.#stream ??= readerStream(this.reader);
    return this.#stream;
  }

  bytes(): Promise<Buffer> {
    if (this.bodyUsed) {
      return Promise.reject(new TypeError('The body of this request was used already'));
    }
    this.#bodyUsed = true;
    const cancelled = takeCancellation();
    if (cancelled !== null) return cancelledPromise(cancelled);
    const whole = this.call.takeBody();
    return whole === null ? this.reader.readAll() : Promise.resolve(whole);
  }

  async text(): Promise<string> {
    return decode(await this.bytes());
  }

  // biome-ignore lint/suspicious/noExplicitAny: as the Web's.
  async json<T = any>(): Promise<T> {
    const text = decode(await this.bytes());
    try {
      return JSON.parse(text) as T;
    } catch (error) {
      throw new HttpError(400, 'The body is not JSON', { cause: error });
    }
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return toArrayBuffer(await this.bytes());
  }

  async blob(): Promise<Blob> {
    const type = this.exchange.header('content-type') ?? '';
    return new Blob([await this.arrayBuffer()], { type });
  }

  formData(): Promise<FormData> {
    return readForm(this);
  }

  multipart(): AsyncIterable<BodyPart> {
    if (this.bodyUsed) throw new TypeError('The body of this request was used already');
    this.#bodyUsed = true;
    return new MultipartLoop(this.reader, this.exchange.header('content-type'));
  }

  toWeb(): Request {
    const { method } = this;
    // The Web's Request takes none of them.
    if (notOfTheWeb.test(method)) throw new HttpError(501, `${method} is not supported`);
    const body = /^(?:get|head)$/i.test(method) ? null : this.body;
    const init: Record<string, unknown> = { method, headers: [...this.headers] };
    if (body !== null) Object.assign(init, { body, duplex: 'half' });
    init['signal'] = this.signal;
    return new Request(this.url, init as never);
  }

  /** Not of a request that came: its body can be read once. Error with code ENOTSUP. */
  clone(): never {
    throw notSupportedError('clone', 'read the body once and pass it on');
  }

  // ---- what a Web Request says of fetches only ----

  get cache(): 'default' {
    return 'default';
  }

  get credentials(): 'same-origin' {
    return 'same-origin';
  }

  get destination(): '' {
    return '';
  }

  get duplex(): 'half' {
    return 'half';
  }

  get integrity(): '' {
    return '';
  }

  get keepalive(): boolean {
    return false;
  }

  get mode(): 'cors' {
    return 'cors';
  }

  get redirect(): 'follow' {
    return 'follow';
  }

  get referrer(): string {
    return 'about:client';
  }

  get referrerPolicy(): '' {
    return '';
  }

  get [Symbol.toStringTag](): string {
    return 'Request';
  }
}

const notOfTheWeb = /^(?:trace|track|connect)$/i;

function hostOf(exchange: Exchange): string {
  const { address, port, family } = exchange.localAddress;
  if (family === 'unix' || address === '') return 'localhost';
  return `${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

/** As the Web does: malformed bytes become U+FFFD, a mark at the start is dropped. */
function decode(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function readerStream(reader: ByteReader): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller): Promise<void> {
        const chunk = await reader.read();
        if (chunk === null) controller.close();
        else controller.enqueue(new Uint8Array(Buffer.from(chunk)));
      },
    },
    { highWaterMark: 0 },
  );
}
