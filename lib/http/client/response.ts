/**
 * Responses as users see them.
 *
 * In: an exchange whose head has come. Out: the surface of the Web's Response, each part made when
 * first asked for. Never: a body that failed half-way and keeps its connection.
 */

import { Buffer } from 'node:buffer';
import { ReadableStream } from 'node:stream/web';
import { notSupportedError } from '../../base/errors.ts';
import type { ByteReader } from '../../io/net-types.ts';
import { cancelledPromise, takeCancellation } from '../../task/waiter.ts';
import { toArrayBuffer } from '../body.ts';
import { ClientPayloadError, ClientResponseError } from '../client-errors.ts';
import type { ServerSentEvent } from '../events.ts';
import { readForm } from '../forms.ts';
import { HttpHeaders } from '../headers.ts';
import { HttpError } from '../http-error.ts';
import { type BodyPart, MultipartLoop } from '../multipart.ts';
import { readEvents } from './event-reader.ts';
import type { ClientExchange } from './exchange.ts';
import { releasedError } from './exchange-errors.ts';
import { parseLinks } from './links.ts';
import type { ResponseHead } from './response-parser.ts';
import type { ClientResponse } from './types.ts';

/** A body that is read as a whole may grow by this factor beyond `bombBytes`, and no more. */
export const bombFactor = 100;
export const bombBytes = 16_777_216;

function asBytes(bytes: Buffer): Buffer {
  return bytes;
}

function asUtf8(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function asText(bytes: Buffer, type: string | null): string {
  const charset = type === null ? undefined : /;\s*charset\s*=\s*"?([\w:.-]+)/i.exec(type)?.[1];
  if (charset === undefined || /^utf-?8$/i.test(charset)) return asUtf8(bytes);
  return new TextDecoder(charset).decode(bytes);
}

function asJson(bytes: Buffer): unknown {
  return JSON.parse(asUtf8(bytes));
}

export class ReceivedResponse implements ClientResponse {
  readonly url: string;
  readonly history: readonly ClientResponse[];
  readonly type: 'default' = 'default';
  readonly #exchange: ClientExchange;
  readonly #head: ResponseHead;
  #headers: HttpHeaders | null = null;
  #stream: ReadableStream<Uint8Array> | null = null;
  #used = false;
  /** Decoded, and kept by whoever reads. */
  #wholeBytes = 0;

  constructor(exchange: ClientExchange, url: string, history: readonly ClientResponse[]) {
    this.#exchange = exchange;
    this.#head = exchange.head as ResponseHead;
    this.url = url;
    this.history = history;
  }

  get status(): number {
    return this.#head.status;
  }

  get statusText(): string {
    return this.#head.statusText;
  }

  get ok(): boolean {
    return this.status >= 200 && this.status <= 299;
  }

  get redirected(): boolean {
    return this.history.length > 0;
  }

  get httpVersion(): '1.0' | '1.1' | '2' {
    return this.#head.httpVersion;
  }

  get headers(): Headers {
    this.#headers ??= HttpHeaders.from(this.#head);
    return this.#headers;
  }

  get cookies(): ReadonlyMap<string, string> {
    const found = new Map<string, string>();
    for (const line of this.headers.getSetCookie()) {
      const [, name, value] = /^\s*([^=;\s]+)\s*=\s*([^;]*)/.exec(line) ?? [];
      if (name !== undefined) found.set(name, (value as string).trim());
    }
    return found;
  }

  get links(): ReadonlyMap<string, URL> {
    return parseLinks(this.headers.get('link'), this.url);
  }

  // ---- the body ----

  get reader(): ByteReader {
    return this.#exchange.body;
  }

  get bodyUsed(): boolean {
    return this.#used || (this.#stream?.locked ?? false);
  }

  get body(): ReadableStream<Uint8Array> | null {
    if (this.#head.bodyBytes === 0) return null;
    this.#stream ??= this.#makeStream();
    return this.#stream;
  }

  bytes(): Promise<Buffer> {
    return this.#whole(asBytes);
  }

  /** UTF-8, or what the content type says. RangeError for a charset that nobody knows. */
  text(): Promise<string> {
    return this.#whole(asText);
  }

  /** SyntaxError for what is not JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: as the Web's.
  json<T = any>(): Promise<T> {
    return this.#whole(asJson) as Promise<T>;
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return toArrayBuffer(await this.bytes());
  }

  async blob(): Promise<Blob> {
    const type = this.#head.header('content-type') ?? '';
    return new Blob([await this.arrayBuffer()], { type });
  }

  /** ClientPayloadError for what is no form, or a malformed one. */
  async formData(): Promise<FormData> {
    try {
      const form = await readForm({
        headers: this.headers,
        text: () => this.text(),
        multipart: () => this.#parts({ read: () => this.#readBounded() }),
      });
      this.#exchange.discard();
      return form;
    } catch (error) {
      const refusal = asPayloadError(error);
      if (this.#used) this.#exchange.crash(refusal);
      throw refusal;
    }
  }

  multipart(): AsyncIterable<BodyPart> {
    return this.#parts(this.#exchange.body);
  }

  /** @throws ClientPayloadError */
  #parts(reader: Pick<ByteReader, 'read'>): AsyncIterable<BodyPart> {
    const asError = (error: unknown): unknown => {
      const refusal = asPayloadError(error);
      this.#exchange.crash(refusal);
      return refusal;
    };
    if (this.bodyUsed) throw usedError();
    try {
      const parts = new MultipartLoop(reader, this.#head.header('content-type'), asError);
      this.#used = true;
      return parts;
    } catch (error) {
      throw asPayloadError(error);
    }
  }

  events(): AsyncIterable<ServerSentEvent> {
    this.#use();
    const exchange = this.#exchange;
    return readEvents(exchange.body, {
      entered: () => exchange.readsEvents(),
      left: () => exchange.crash(releasedError()),
    });
  }

  raiseForStatus(): this {
    const { status, statusText, headers, url, history } = this;
    if (status < 400) return this;
    this.#exchange.discard();
    const message = `${url} answers ${status}${statusText === '' ? '' : ` ${statusText}`}`;
    throw new ClientResponseError(message, { status, headers, url, history });
  }

  release(): Promise<void> {
    this.#exchange.discard();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  /** Its body can be read once. Error with code ENOTSUP. */
  clone(): never {
    throw notSupportedError('clone', 'read the body once and pass it on');
  }

  get [Symbol.toStringTag](): string {
    return 'Response';
  }

  #use(): void {
    if (this.bodyUsed) throw usedError();
    this.#used = true;
  }

  #whole<T>(decode: (bytes: Buffer, type: string | null) => T): Promise<T> {
    try {
      const taken = this.take(decode);
      return taken instanceof Promise ? taken : Promise.resolve(taken);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * @internal Nearly all bodies are there when they are asked for: then no read is made for them,
   * and no promise either.
   */
  take<T>(decode: (bytes: Buffer, type: string | null) => T): T | Promise<T> {
    const type = this.#head.header('content-type');
    const refusal = takeCancellation();
    if (refusal !== null) {
      this.#exchange.crash(refusal);
      return cancelledPromise(refusal);
    }
    this.#use();
    const bytes = this.#exchange.takeWhole();
    if (bytes !== null) return decode(bytes, type);
    return this.#readWhole(type, decode);
  }

  async #readWhole<T>(
    type: string | null,
    decode: (bytes: Buffer, type: string | null) => T,
  ): Promise<T> {
    let bytes: Buffer;
    try {
      const encoded = this.#exchange.plan.decompress && this.#head.header('content-encoding');
      bytes = encoded ? await this.#readDecoded() : await this.#exchange.body.readAll();
    } catch (error) {
      this.#exchange.crash(error);
      throw error;
    }
    return decode(bytes, type);
  }

  async #readDecoded(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for (;;) {
      const chunk = await this.#readBounded();
      if (chunk === null) return Buffer.concat(chunks);
      chunks.push(chunk);
    }
  }

  /** Of a body that is kept as a whole, unless it grows as only an attack does. */
  async #readBounded(): Promise<Buffer | null> {
    const chunk = await this.#exchange.body.read();
    if (chunk !== null) this.#wholeBytes += chunk.length;
    const bytes = this.#wholeBytes;
    if (bytes > bombBytes && bytes > bombFactor * this.#exchange.bodyBytes) {
      this.#exchange.discard();
      throw new ClientPayloadError('The body grows too much when it is decompressed');
    }
    return chunk;
  }

  #makeStream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller): Promise<void> => {
          this.#used = true;
          const chunk = await this.#exchange.body.read();
          if (chunk === null) controller.close();
          else controller.enqueue(new Uint8Array(Buffer.from(chunk)));
        },
        cancel: (): void => {
          this.#used = true;
          this.release();
        },
      },
      { highWaterMark: 0 },
    );
  }
}

// What middlewares return may be a response of their own.

export function takeText(response: ClientResponse): string | Promise<string> {
  return response instanceof ReceivedResponse ? response.take(asText) : response.text();
}

export function takeJson(response: ClientResponse): unknown {
  return response instanceof ReceivedResponse ? response.take(asJson) : response.json();
}

export function takeBytes(response: ClientResponse): Buffer | Promise<Buffer> {
  return response instanceof ReceivedResponse ? response.take(asBytes) : response.bytes();
}

/** What is an answer on a server is none here: it would be taken for that of a handler. */
function asPayloadError(error: unknown): unknown {
  if (!(error instanceof HttpError)) return error;
  return new ClientPayloadError(error.message, { cause: error });
}

function usedError(): TypeError {
  return new TypeError('The body of this response was used already');
}
