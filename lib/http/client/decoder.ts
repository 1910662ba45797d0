/**
 * Content encodings of a response. (RFC 9110 8.4)
 *
 * In: encoded bytes. Out: decoded bytes, into a body. Never: more than zlib's buffers in between:
 * a body that nobody reads holds the encoded one back.
 */
import type { Buffer } from 'node:buffer';
import type { Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib';
import { ClientPayloadError } from '../client-errors.ts';
import type { ReadingTarget } from '../reading-handle.ts';
import type { ResponseBody } from './response-body.ts';

/** More encodings on top of each other than that are an attack. */
const maxEncodings = 5;

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
function makeInflate(chunk: Buffer): Transform {
  return ((chunk[0] as number) & 0x0f) === 8 ? createInflate() : createInflateRaw();
}

function makeTransform(encoding: string, chunk: Buffer): Transform {
  if (encoding === 'br') return createBrotliDecompress();
  return encoding === 'deflate' ? makeInflate(chunk) : createGunzip();
}

export class Decoder {
  readonly #encodings: readonly string[];
  readonly #source: ReadingTarget;
  readonly #onFailure: (error: Error) => void;
  #body: ResponseBody | null = null;
  /** In the order of the data; made with the first bytes. */
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
    if (this.#chain.length === 0) this.#begin(chunk);
    if (!(this.#chain[0] as Transform).write(chunk)) this.#source.pauseBody();
  }

  end(): void {
    this.#ended = true;
    const first = this.#chain[0];
    if (first === undefined) this.#body?.onEof();
    else first.end();
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

  #begin(chunk: Buffer): void {
    for (const encoding of this.#encodings) {
      const transform = makeTransform(encoding, chunk);
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
