/**
 * Compressed bodies for clients that accept them.
 *
 * In: a response that wants it, a request. Out: the same response with an encoded body. Never: a
 * body that is small, encoded already, or of a type that gains nothing.
 */

import { Buffer } from 'node:buffer';
import {
  type BrotliCompress,
  constants,
  createBrotliCompress,
  createDeflate,
  createGzip,
  type Deflate,
  type Gzip,
} from 'node:zlib';
import type { Data } from '../base/errors.ts';
import { joinData } from '../io/data.ts';
import type { ByteWriter } from '../io/net-types.ts';
import { chunksOf } from './body.ts';
import { trimBlanks } from './headers.ts';
import type { HttpRequest } from './request.ts';
import type { Body, Response } from './response.ts';

export type Encoding = 'gzip' | 'br' | 'deflate';

/** Below it the head costs more than is saved. */
const minBytes = 860;
const preferred: readonly Encoding[] = ['br', 'gzip', 'deflate'];
const packed =
  /^(?:image\/(?!svg)|video\/|audio\/|font\/woff|application\/(?:zip|gzip|zstd|x-7z|pdf|wasm))/i;

/** The one that the client likes best, of several equal ones ours; null: none. (RFC 9110 12.5.3) */
export function chooseEncoding(
  header: string | null,
  offered: readonly Encoding[] = preferred,
): Encoding | null {
  if (header === null) return null;
  const weights = new Map<string, number>();
  for (const entry of header.toLowerCase().split(',').slice(0, 50)) {
    const [name = '', ...parameters] = entry.split(';').map((part) => trimBlanks(part));
    const q = parameters.find((part) => part.startsWith('q='))?.slice(2) ?? '1';
    const weight = /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(q) ? Number(q) : 0;
    if (name !== '' && !weights.has(name)) weights.set(name, weight);
  }
  let best: Encoding | null = null;
  let bestWeight = 0;
  for (const encoding of offered) {
    const weight =
      weights.get(encoding) ??
      (encoding === 'gzip' ? weights.get('x-gzip') : undefined) ??
      weights.get('*') ??
      0;
    if (weight > bestWeight) {
      best = encoding;
      bestWeight = weight;
    }
  }
  return best;
}

/** Changes the response when its client wants that; else only says that it depends on it. */
export function compressResponse(request: HttpRequest, response: Response): void {
  const { headers } = response;
  const type = headers.get('content-type') ?? '';
  const done = headers.has('content-encoding') || headers.has('content-range');
  const noTransform = /\bno-transform\b/i.test(headers.get('cache-control') ?? '');
  if (done || noTransform || packed.test(type) || response.status === 206) return;
  const body = response.peekBody();
  // Of a file that HEAD asks for only the length is known.
  const declared = headers.get('content-length');
  const bytes = body === null ? 0 : (sizeOf(body) ?? (declared === null ? Infinity : +declared));
  if (body === null || bytes < minBytes) return;
  addVary(headers, 'accept-encoding');
  const wanted = response.compress;
  const offered = typeof wanted === 'string' ? [wanted] : preferred;
  const encoding = chooseEncoding(request.headers.get('accept-encoding'), offered);
  if (encoding === null) return;
  headers.set('content-encoding', encoding);
  headers.delete('content-length');
  const etag = headers.get('etag');
  // The bytes are not the same ones any more.
  if (etag?.startsWith('"')) headers.set('etag', `W/${etag}`);
  const plain = response.takeBody() as Body;
  response.replaceBody((writer: ByteWriter) => writeCompressed(plain, encoding, writer));
}

function sizeOf(body: Body): number | null {
  if (typeof body === 'string' || body instanceof Uint8Array) return Buffer.byteLength(body);
  return body instanceof Blob ? body.size : null;
}

export function addVary(headers: Headers, name: string): void {
  const vary = headers.get('vary');
  if (vary === null) headers.set('vary', name);
  else if (!vary.toLowerCase().includes(name) && vary !== '*')
    headers.set('vary', `${vary}, ${name}`);
}

type Encoder = BrotliCompress | Deflate | Gzip;

/** @param flushed every write goes out at once: a stream of events waits for nobody */
function makeEncoder(encoding: Encoding, flushed: boolean): Encoder {
  if (encoding === 'br') {
    const flush = flushed ? constants.BROTLI_OPERATION_FLUSH : constants.BROTLI_OPERATION_PROCESS;
    return createBrotliCompress({ flush, params: { [constants.BROTLI_PARAM_QUALITY]: 4 } });
  }
  const flush = flushed ? constants.Z_SYNC_FLUSH : constants.Z_NO_FLUSH;
  return encoding === 'gzip' ? createGzip({ flush }) : createDeflate({ flush });
}

/** What a body function writes to: an encoder in front of the real writer. */
class Compressor implements ByteWriter {
  readonly #encoder: Encoder;
  readonly #writer: ByteWriter;
  #written: Promise<void> = Promise.resolve();

  constructor(encoder: Encoder, writer: ByteWriter) {
    this.#encoder = encoder;
    this.#writer = writer;
    encoder.on('data', (chunk: Buffer) => {
      this.#written = writer.write(chunk);
      this.#written.catch(() => encoder.destroy());
    });
  }

  get writeBufferBytes(): number {
    return this.#writer.writeBufferBytes;
  }

  async write(data: Data): Promise<void> {
    // A rejected write of before is told now.
    await this.#written;
    await new Promise<void>((resolve, reject) => {
      this.#encoder.write(data, (error) => (error ? reject(error) : resolve()));
    });
    await this.#written;
  }

  writeLines(parts: Iterable<Data>): Promise<void> {
    return this.write(joinData(parts));
  }

  async writeEof(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#encoder.once('error', reject);
      this.#encoder.once('end', resolve);
      this.#encoder.end();
    });
    await this.#written;
  }
}

async function writeCompressed(body: Body, encoding: Encoding, writer: ByteWriter): Promise<void> {
  const whole = typeof body === 'string' || body instanceof Uint8Array;
  const encoder = makeEncoder(encoding, !whole);
  const compressor = new Compressor(encoder, writer);
  try {
    if (whole) await compressor.write(body);
    else if (typeof body === 'function') await body(compressor);
    else for await (const chunk of chunksOf(body, writer)) await compressor.write(chunk);
    await compressor.writeEof();
  } finally {
    encoder.destroy();
  }
}
