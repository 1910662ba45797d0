/**
 * Content encodings of a response. (RFC 9110 8.4)
 *
 * In: encoded bytes. Out: decoded bytes, into a body. Never: more than zlib's buffers in between:
 * a body that nobody reads holds the encoded one back.
 *
 * A large body, or one that comes slowly, is decoded by threads of Node: not on the virtual clock
 * of a simulation, which does not wait for them.
 */
import { Buffer } from 'node:buffer';
import type { Transform } from 'node:stream';
import {
  brotliDecompressSync,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  gunzipSync,
  inflateRawSync,
  inflateSync,
} from 'node:zlib';
import { currentLoop } from '../../task/frame.ts';
import { ClientPayloadError } from '../client-errors.ts';
import type { ReadingTarget } from '../reading-handle.ts';
import type { ResponseBody } from './response-body.ts';

/** More encodings on top of each other than that are an attack. */
const maxEncodings = 3;

const known = new Set(['gzip', 'x-gzip', 'deflate', 'br']);

/**
 * The encodings to be undone, last one first; null: none, or one that is not known, with which the
 * body is given as it is.
 * @throws ClientPayloadError for too many
 */
export function encodingsOf(header: string | null): readonly string[] | null {
  if (header === null) return null;
  const names = header
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && name !== 'identity');
  if (names.length > maxEncodings) throw new ClientPayloadError('Too many content encodings');
  if (names.length === 0 || !names.every((name) => known.has(name))) return null;
  return names.reverse();
}

/** With or without the frame of zlib: servers disagree about what deflate means. */
function isFramed(bytes: Buffer): boolean {
  return ((bytes[0] as number) & 0x0f) === 8;
}

/** @param first null: not known, what the standard says is taken for granted (RFC 9110 8.4.1.2) */
function makeTransform(encoding: string, first: Buffer | null): Transform {
  if (encoding === 'br') return createBrotliDecompress();
  if (encoding !== 'deflate') return createGunzip();
  return first === null || isFramed(first) ? createInflate() : createInflateRaw();
}

/** A body that has come already is decoded at once when both sides are at most as large. */
const maxSyncBytes = 65_536;
const maxSyncOutputBytes = 1_048_576;

function decodeSync(encoding: string, bytes: Buffer): Buffer {
  const options = { maxOutputLength: maxSyncOutputBytes };
  if (encoding === 'br') return brotliDecompressSync(bytes, options);
  if (encoding !== 'deflate') return gunzipSync(bytes, options);
  return isFramed(bytes) ? inflateSync(bytes, options) : inflateRawSync(bytes, options);
}

export class Decoder {
  readonly #encodings: readonly string[];
  readonly #source: ReadingTarget;
  readonly #onFailure: (error: Error) => void;
  #body: ResponseBody | null = null;
  /** What came before there was a chain. */
  #first: Buffer[] = [];
  /** In the order of the data. */
  #chain: Transform[] = [];
  #ended = false;
  #dead = false;

  /** @param source is told to pause while zlib is behind */
  constructor(
    encodings: readonly string[],
    source: ReadingTarget,
    onFailure: (error: Error) => void,
  ) {
    this.#encodings = encodings;
    this.#source = source;
    this.#onFailure = onFailure;
  }

  set body(body: ResponseBody) {
    this.#body = body;
  }

  write(chunk: Buffer): void {
    if (this.#dead || chunk.length === 0) return;
    if (this.#chain.length > 0) {
      this.#feed(chunk);
      return;
    }
    this.#first.push(chunk);
    // Nearly all bodies come as a whole with their heads: in the same turn.
    if (this.#first.length === 1) currentLoop().callSoon(() => this.#begin());
  }

  end(): void {
    this.#ended = true;
    if (this.#chain.length > 0) (this.#chain[0] as Transform).end();
    else if (this.#first.length === 0) this.#body?.onEof();
    else if (!this.#decodeAtOnce()) this.#begin();
  }

  /** The reader has enough for now, or wants more. */
  pauseBody(): void {
    this.#chain.at(-1)?.pause();
  }

  resumeBody(): void {
    this.#chain.at(-1)?.resume();
  }

  destroy(): void {
    this.#dead = true;
    for (const transform of this.#chain) transform.destroy();
  }

  /** False: it is too large for that. */
  #decodeAtOnce(): boolean {
    let bytes: Buffer = Buffer.concat(this.#first);
    if (this.#dead || bytes.length > maxSyncBytes) return false;
    try {
      for (const encoding of this.#encodings) bytes = decodeSync(encoding, bytes);
    } catch (error) {
      if ((error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE') return false;
      this.#fail(error as Error);
      return true;
    }
    this.#first = [];
    if (bytes.length > 0) this.#body?.onData(bytes);
    this.#body?.onEof();
    return true;
  }

  #feed(chunk: Buffer): void {
    if (!(this.#chain[0] as Transform).write(chunk)) this.#source.pauseBody();
  }

  /** What has come goes through zlib's streams, and so does the rest. */
  #begin(): void {
    const chunks = this.#first;
    this.#first = [];
    if (this.#dead || chunks.length === 0) return;
    this.#makeChain(chunks[0] as Buffer);
    for (const chunk of chunks) this.#feed(chunk);
    if (this.#ended) (this.#chain[0] as Transform).end();
  }

  #makeChain(start: Buffer): void {
    for (const encoding of this.#encodings) {
      // What comes out of another one begins otherwise.
      const transform = makeTransform(encoding, this.#chain.length === 0 ? start : null);
      transform.on('error', (error) => this.#fail(error));
      this.#chain.at(-1)?.pipe(transform);
      this.#chain.push(transform);
    }
    const first = this.#chain[0] as Transform;
    const last = this.#chain.at(-1) as Transform;
    first.on('drain', () => {
      if (!this.#dead && !this.#ended) this.#source.resumeBody();
    });
    last.on('data', (decoded: Buffer) => {
      if (!this.#dead) this.#body?.onData(decoded);
    });
    last.on('end', () => {
      if (!this.#dead) this.#body?.onEof();
    });
  }

  #fail(cause: Error): void {
    if (this.#dead) return;
    this.destroy();
    const message = `The body is not what its content-encoding says: ${cause.message}`;
    this.#onFailure(new ClientPayloadError(message, { cause }));
  }
}
