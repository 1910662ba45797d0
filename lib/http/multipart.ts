/**
 * Multipart bodies, part by part.
 *
 * In: a byte reader and the content type. Out: parts, each a byte reader. Never: more of the body
 * in memory than one read brings; nested parsing.
 */
import { Buffer } from 'node:buffer';
import { Dicer } from '@fastify/busboy';
import { type BrokenResourceError, isCancelled } from '../base/errors.ts';
import { defaultLimits } from '../io/limits.ts';
import type { ByteReader } from '../io/net-types.ts';
import { ReadingStream } from '../io/reading-stream.ts';
import { flagEnded, flagGone, flagReadingPaused } from '../io/stream.ts';
import { HttpHeaders } from './headers.ts';
import { HttpError } from './http-error.ts';
import { ReadingHandle } from './reading-handle.ts';

/** More parts than that: 413. */
const maxParts = 1_000;
const maxPartHeaderBytes = 16_384;
const maxPartHeaders = 32;

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
  readonly headers: HttpHeaders = new HttpHeaders();
  name: string | null = null;
  filename: string | null = null;
  /** The next part was asked for: what comes is nobody's. */
  skipped = false;
  readonly #pump: () => void;

  constructor(pump: () => void) {
    const handle = new ReadingHandle();
    super(handle, defaultLimits);
    handle.target = this;
    this.#pump = pump;
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
  readonly #reader: ByteReader;
  readonly #dicer: Dicer;
  #ready: Part[] = [];
  #current: Part | null = null;
  /** The part whose bytes come now. */
  #coming: Part | null = null;
  #parts = 0;
  #done = false;
  #error: unknown = null;
  #stepping: Promise<void> | null = null;

  /** @throws HttpError 415 for another type, 400 without a boundary */
  constructor(reader: ByteReader, contentType: string | null) {
    this.#reader = reader;
    const boundary = boundaryOf(contentType ?? '');
    this.#dicer = new Dicer({
      boundary,
      maxHeaderPairs: maxPartHeaders,
      maxHeaderSize: maxPartHeaderBytes,
    } as never);
    this.#dicer.on('part', (stream) => this.#begin(stream));
    this.#dicer.on('finish', () => {
      this.#done = true;
    });
    this.#dicer.on('error', (error: Error) => this.#fail(badForm(error)));
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

  #begin(stream: NodeJS.ReadableStream): void {
    // What the same chunk brings behind a failure is nobody's; its reader would wait for ever.
    if (this.#error !== null) {
      stream.resume();
      return;
    }
    const part = new Part(() => this.#pump(part));
    this.#coming = part;
    if (++this.#parts > maxParts) this.#fail(new HttpError(413, 'Too many parts'));
    stream.on('header', (header: Record<string, string[]>) => this.#head(part, header));
    stream.on('data', (chunk: Buffer) => {
      if (!part.skipped && !part.complete) part.onData(chunk);
    });
    stream.on('end', () => {
      if (!part.complete) part.onEof();
    });
    stream.on('error', () => {});
  }

  #head(part: Part, header: Record<string, string[]>): void {
    try {
      for (const name of Object.keys(header)) {
        for (const value of header[name] as string[]) part.headers.append(name, value);
      }
    } catch (error) {
      this.#fail(badForm(error));
      return;
    }
    const disposition = parseDisposition(part.headers.get('content-disposition') ?? '');
    part.name = disposition.name;
    part.filename = disposition.filename;
    this.#ready.push(part);
  }

  #fail(error: unknown): void {
    this.#error ??= error;
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
    await new Promise<void>((resolve) => {
      // Ends of parts come in the next tick.
      const done = (): unknown => setImmediate(resolve);
      if (chunk !== null) this.#dicer.write(chunk, done);
      else this.#dicer.end(done);
    });
    if (chunk === null && !this.#done) this.#fail(badForm(undefined));
  }
}

function badForm(cause: unknown): HttpError {
  return new HttpError(400, 'The multipart body is malformed', { cause });
}

function boundaryOf(contentType: string): string {
  if (!/^multipart\/[\w.+-]+\s*(;|$)/i.test(contentType)) {
    throw new HttpError(415, 'The body is not multipart');
  }
  const boundary = parameter(contentType, 'boundary');
  if (boundary === null || boundary === '' || boundary.length > 70) {
    throw new HttpError(400, 'The multipart body has no boundary');
  }
  return boundary;
}

/** A parameter of a header's value: a token, or quoted. */
function parameter(header: string, name: string): string | null {
  for (const [, key = '', quoted, plain = ''] of header.matchAll(
    /;\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))/g,
  )) {
    if (key.toLowerCase() !== name) continue;
    // Browsers escape quotes only; a backslash may be the name's own.
    return quoted === undefined ? plain : quoted.replaceAll('\\"', '"');
  }
  return null;
}

function parseDisposition(header: string): { name: string | null; filename: string | null } {
  const name = utf8(parameter(header, 'name'));
  const extended = parameter(header, 'filename*');
  let filename = utf8(parameter(header, 'filename'));
  const coded = /^UTF-8'[^']*'(.*)$/i.exec(extended ?? '');
  if (coded !== null) {
    try {
      filename = decodeURIComponent(coded[1] as string);
    } catch {
      // The plain one counts.
    }
  }
  // No folder of the client's.
  return { name, filename: filename === null ? null : (filename.split(/[/\\]/).pop() ?? '') };
}

/** Header bytes came as Latin-1; forms are UTF-8. */
function utf8(text: string | null): string | null {
  if (text === null || !/[\x80-\xff]/.test(text)) return text;
  return Buffer.from(text, 'latin1').toString('utf8');
}
