/**
 * Responses: made like the Web's, without its cost.
 *
 * In: a body and an init. Out: what the server sends. Never: a header object, a stream or a copy
 * that nobody asked for.
 */
import { Buffer } from 'node:buffer';
import type { ReadableStream } from 'node:stream/web';
import { type Awaitable, argTypeError, type Data, rangeError } from '../base/errors.ts';
import type { ByteWriter } from '../io/net-types.ts';
import { bodyBytes, bodyStream, bodyType, textType, toArrayBuffer } from './body.ts';
import { type CookieOptions, deleteCookie, setCookie } from './cookies.ts';
import { type HeadersInit, HttpHeaders } from './headers.ts';
import type { HttpRequest } from './request.ts';
import type { HeaderList } from './wire.ts';

/** A function body writes as it goes; its `write` waits for a slow peer. */
export type Body =
  | Data
  | Blob
  | FormData
  | URLSearchParams
  | ReadableStream<Uint8Array>
  | AsyncIterable<Data>
  | Iterable<Data>
  | ((writer: ByteWriter) => Awaitable<void>);

export interface ResponseInit {
  /** Default 200. */
  status?: number;
  /** Default: the reason phrase of the status. */
  statusText?: string;
  headers?: HeadersInit;
  /** Compress for clients that accept it. Default: off. */
  compress?: boolean | 'gzip' | 'br' | 'deflate';
}

/** What a handler may return: this package's Response or the Web's. */
export interface ResponseLike {
  readonly status: number;
  readonly statusText: string;
  readonly headers: Headers;
  readonly body: unknown;
  arrayBuffer(): Promise<ArrayBuffer>;
}

const badReason = /[^\t\x20-\x7e\x80-\xff]/;
const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const withoutBody: ReadonlySet<number> = new Set([101, 204, 205, 304]);
const jsonType = 'application/json';
const textHeaders: HeaderList = Object.freeze(['content-type', textType]);
const jsonHeaders: HeaderList = Object.freeze(['content-type', jsonType]);
const noHeaders: HeaderList = Object.freeze([]);

/**
 * Made like the Web's Response, without its cost; also takes iterables and writer functions.
 * @throws RangeError for a status that is not 200 … 599; TypeError for a bad header or body
 */
export class Response implements ResponseLike {
  status: number;
  statusText: string;
  #headers: HttpHeaders | null = null;
  /** The head while there is no object for it. */
  #implied: HeaderList;
  #body: Body | null;
  #stream: ReadableStream<Uint8Array> | null = null;
  #used = false;
  /** @internal Completes the response when the request is known: files, events. */
  preparation: ((request: HttpRequest) => Awaitable<void>) | null = null;
  /** @internal */
  readonly compress: boolean | 'gzip' | 'br' | 'deflate';

  constructor(body?: Body | null, init?: ResponseInit) {
    this.#body = body ?? null;
    this.#implied = typeof body === 'string' ? textHeaders : noHeaders;
    this.status = 200;
    this.statusText = '';
    this.compress = false;
    if (init === undefined) {
      if (typeof body !== 'string') this.#setType();
      return;
    }
    const { status, statusText, headers, compress } = init;
    if (status !== undefined) this.status = checkStatus(status);
    if (statusText !== undefined) this.statusText = checkReason(statusText);
    this.compress = compress ?? false;
    if (body != null && withoutBody.has(this.status)) {
      throw new TypeError(`A response with status ${this.status} has no body`);
    }
    if (headers !== undefined) this.#headers = new HttpHeaders(headers);
    if (typeof body !== 'string' || this.#headers !== null) this.#setType();
  }

  /** Type application/json. @throws TypeError for what JSON cannot express */
  static json(value: unknown, init?: ResponseInit): Response {
    const text = JSON.stringify(value);
    if (text === undefined) throw argTypeError('value', 'expressible as JSON', value);
    if (init?.headers !== undefined) {
      const headers = new HttpHeaders(init.headers);
      if (!headers.has('content-type')) headers.put('content-type', jsonType);
      return new Response(text, { ...init, headers });
    }
    const response = new Response(text, init);
    response.#implied = jsonHeaders;
    return response;
  }

  /** @param status default 302; 301, 303, 307, 308. @throws RangeError for another one */
  static redirect(url: string | URL, status: number = 302): Response {
    if (!redirects.has(status)) throw rangeError('status', 'a redirect status', status);
    const headers = new HttpHeaders();
    headers.append('location', locationOf(url));
    return new Response(null, { status, headers });
  }

  get headers(): Headers {
    if (this.#headers === null) {
      this.#headers = new HttpHeaders();
      const [name, value] = this.#implied;
      if (name !== undefined && value !== undefined) this.#headers.put(name, value);
    }
    return this.#headers;
  }

  /** As a Web stream; null without a body. Made when first asked for. */
  get body(): ReadableStream<Uint8Array> | null {
    if (this.#body === null) return null;
    this.#stream ??= bodyStream(this.#body);
    return this.#stream;
  }

  get bodyUsed(): boolean {
    if (this.#used) return true;
    // Locked by whoever reads it, here or where it came from.
    return ((this.#stream ?? this.#body) as { locked?: boolean } | null)?.locked === true;
  }

  /** True for 200 … 299. */
  get ok(): boolean {
    return this.status >= 200 && this.status <= 299;
  }

  setCookie(name: string, value: string, options?: CookieOptions): this {
    this.headers.append('set-cookie', setCookie(name, value, options));
    return this;
  }

  deleteCookie(name: string, options?: Pick<CookieOptions, 'domain' | 'path'>): this {
    this.headers.append('set-cookie', deleteCookie(name, options));
    return this;
  }

  async bytes(): Promise<Buffer> {
    const body = this.takeBody();
    return body === null ? Buffer.alloc(0) : await bodyBytes(body);
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return toArrayBuffer(await this.bytes());
  }

  async text(): Promise<string> {
    return (await this.bytes()).toString('utf8');
  }

  // biome-ignore lint/suspicious/noExplicitAny: as the Web's.
  async json<T = any>(): Promise<T> {
    return JSON.parse(await this.text()) as T;
  }

  /** @internal */
  peekBody(): Body | null {
    return this.#body;
  }

  /** @internal What is to be sent; it can be taken once. */
  takeBody(): Body | null {
    if (this.#body === null) return null;
    if (this.bodyUsed) throw new TypeError('The body of this response was used already');
    this.#used = true;
    return this.#stream ?? this.#body;
  }

  /** @internal Nobody has asked for its headers: they are what the body implies. */
  get plain(): boolean {
    return this.#headers === null;
  }

  /** @internal Without making a header object where none was asked for. */
  headerList(): HeaderList {
    return this.#headers === null ? this.#implied : this.#headers.toList();
  }

  /** @internal Sends another body under the same head. */
  replaceBody(body: Body | null): void {
    this.#body = body;
    this.#stream = null;
    this.#used = false;
  }

  #setType(): void {
    const body = this.#body;
    if (body === null) return;
    const made = bodyType(body);
    if (made.body !== body) this.#body = made.body;
    if (made.type === null) return;
    this.#headers ??= new HttpHeaders();
    if (!this.#headers.has('content-type')) this.#headers.append('content-type', made.type);
  }
}

/** Also of what is sent: a status can be set, and Response.error() of the Web has none. */
export function checkStatus(status: number): number {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw rangeError('status', '200 … 599', status);
  }
  return status;
}

export function checkReason(statusText: string): string {
  if (typeof statusText !== 'string' || badReason.test(statusText)) {
    throw argTypeError('statusText', 'text without control characters', statusText);
  }
  return statusText;
}

/** Characters that cannot be in a header are escaped as a browser would. */
function locationOf(url: string | URL): string {
  if (url instanceof URL) return url.href;
  if (/[\r\n\0]/.test(url)) throw argTypeError('url', 'free of line ends', url);
  return encodeURI(url).replaceAll('%25', '%');
}
