/**
 * Multipart bodies, part by part.
 *
 * In: a byte reader and the content type. Out: parts, each a byte reader. Never: more of the body
 * in memory than one read brings; nested parsing.
 */
import { Buffer } from 'node:buffer';
import { type BrokenResourceError, isCancelled } from '../base/errors.ts';
import { defaultLimits } from '../io/limits.ts';
import type { ByteReader } from '../io/net-types.ts';
import { ReadingStream } from '../io/reading-stream.ts';
import { flagEnded, flagGone, flagReadingPaused } from '../io/stream.ts';
import type { HttpHeaders } from './headers.ts';
import { HttpError } from './http-error.ts';
import { MultipartParser, malformed } from './multipart-parser.ts';
import { parseParameters } from './parameters.ts';
import { ReadingHandle } from './reading-handle.ts';

/** One part of a multipart body; must be read before the next. */
export interface BodyPart extends ByteReader {
  readonly name: string | null;
  readonly filename: string | null;
  readonly headers: Headers;
  bytes(): Promise<Buffer>;
  text(): Promise<string>;
  json<T = unknown>(): Promise<T>;
}

class Part extends ReadingStream implements BodyPart {
  readonly headers: HttpHeaders;
  readonly name: string | null;
  readonly filename: string | null;
  /** The next part was asked for: what comes is nobody's. */
  skipped = false;
  readonly #pump: () => void;

  constructor(headers: HttpHeaders, pump: (part: Part) => void) {
    const { name, filename } = parseDisposition(headers.get('content-disposition'));
    const handle = new ReadingHandle();
    super(handle, defaultLimits);
    handle.target = this;
    this.headers = headers;
    this.name = name;
    this.filename = filename;
    this.#pump = () => pump(this);
    this.mark(flagReadingPaused);
  }

  get complete(): boolean {
    return this.has(flagEnded) || this.has(flagGone);
  }

  /** Somebody waits for more of it. */
  get wanted(): boolean {
    return !this.complete && !this.has(flagReadingPaused);
  }

  bytes(): Promise<Buffer> {
    return this.readAll();
  }

  async text(): Promise<string> {
    return (await this.readAll()).toString('utf8');
  }

  async json<T = unknown>(): Promise<T> {
    try {
      return JSON.parse(await this.text()) as T;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw new HttpError(400, 'A part is not JSON', { cause: error });
    }
  }

  pauseBody(): void {}

  resumeBody(): void {
    this.#pump();
  }

  onDrain(): void {}
  finish(): void {}
  abort(): void {}
  protected settle(): void {}

  protected override lossOf(error: Error): BrokenResourceError {
    return error as BrokenResourceError;
  }
}

/** What `for await` over `request.multipart()` goes through. */
export class MultipartLoop implements AsyncIterable<BodyPart>, AsyncIterator<BodyPart, undefined> {
  readonly #reader: Pick<ByteReader, 'read'>;
  readonly #asError: (error: unknown) => unknown;
  readonly #parser: MultipartParser;
  #ready: Part[] = [];
  #current: Part | null = null;
  /** The part whose bytes come now. */
  #coming: Part | null = null;
  #done = false;
  #error: unknown = null;
  #stepping: Promise<void> | null = null;

  /**
   * @param asError of what is malformed, or more than may be
   * @throws HttpError 415 for another type, 400 without a boundary
   */
  constructor(
    reader: Pick<ByteReader, 'read'>,
    contentType: string | null,
    asError: (error: unknown) => unknown = (error) => error,
  ) {
    this.#reader = reader;
    this.#asError = asError;
    this.#parser = new MultipartParser(boundaryOf(contentType ?? ''), {
      onPart: (headers) => this.#begin(headers),
      onData: (chunk) => {
        const part = this.#coming;
        if (part !== null && !part.skipped && !part.complete) part.onData(chunk);
      },
      onPartEnd: () => {
        if (this.#coming?.complete === false) this.#coming.onEof();
        this.#coming = null;
      },
    });
  }

  [Symbol.asyncIterator](): AsyncIterator<BodyPart, undefined> {
    return this;
  }

  async next(): Promise<IteratorResult<BodyPart, undefined>> {
    const last = this.#current;
    if (last !== null) last.skipped = true;
    while (this.#ready.length === 0) {
      if (this.#error !== null) throw this.#error;
      if (this.#done) return { value: undefined, done: true };
      await this.#step();
    }
    const part = this.#ready.shift() as Part;
    this.#current = part;
    return { value: part, done: false };
  }

  return(): Promise<IteratorResult<BodyPart, undefined>> {
    return Promise.resolve({ value: undefined, done: true });
  }

  #begin(headers: HttpHeaders): void {
    const part = new Part(headers, (one) => this.#pump(one));
    this.#coming = part;
    this.#ready.push(part);
  }

  #fail(error: unknown): void {
    this.#error ??= this.#asError(error);
    const part = this.#coming;
    if (part !== null && !part.complete) part.onClosed(this.#error as Error);
  }

  /** Brings bytes while somebody waits for those of a part. */
  async #pump(part: Part): Promise<void> {
    try {
      while (part.wanted && this.#error === null && !this.#done) await this.#step();
    } catch (error) {
      // A cancelled read has ended the reader's own wait, too; another one goes on.
      if (isCancelled(error)) part.mark(flagReadingPaused);
      else this.#fail(error);
    }
  }

  #step(): Promise<void> {
    this.#stepping ??= this.#read().finally(() => {
      this.#stepping = null;
    });
    return this.#stepping;
  }

  async #read(): Promise<void> {
    const chunk = await this.#reader.read();
    try {
      if (chunk !== null) this.#parser.feed(chunk);
      else this.#parser.end();
      this.#done = this.#parser.closed;
    } catch (error) {
      this.#fail(error);
    }
  }
}

function boundaryOf(contentType: string): string {
  if (!/^multipart\/[\w.+-]+[\t ]*(;|$)/i.test(contentType)) {
    throw new HttpError(415, 'The body is not multipart');
  }
  const boundary = parseParameters(contentType)?.get('boundary') ?? '';
  if (!/^[ -~]{0,69}[!-~]$/.test(boundary)) {
    throw new HttpError(400, 'The multipart body has no boundary');
  }
  return boundary;
}

function parseDisposition(header: string | null): Pick<BodyPart, 'name' | 'filename'> {
  const parameters = parseParameters(header ?? '');
  if (parameters === null) throw malformed('has a malformed Content-Disposition');
  const name = utf8(parameters.get('name'));
  const filename = extended(parameters.get('filename*')) ?? utf8(parameters.get('filename'));
  // No folder of the client's.
  return { name, filename: filename === null ? null : (filename.split(/[/\\]/).pop() ?? '') };
}

/** RFC 8187; of one that cannot be read, the plain parameter counts. */
function extended(value: string | undefined): string | null {
  const [, coded] = /^UTF-8'[^']*'(.*)$/i.exec(value ?? '') ?? [];
  if (coded === undefined || /%([01]|7f)/i.test(coded)) return null;
  try {
    return decodeURIComponent(coded);
  } catch {
    return null;
  }
}

/** Header bytes came as Latin-1; forms are UTF-8. */
function utf8(text: string | undefined): string | null {
  if (text === undefined || !/[\x80-\xff]/.test(text)) return text ?? null;
  return Buffer.from(text, 'latin1').toString('utf8');
}
