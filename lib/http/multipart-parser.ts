/**
 * The bytes of a multipart body (RFC 2046 5.1), strictly, however they were cut.
 *
 * In: chunks and the end of the body. Out: heads, bytes and ends of parts. Never: more kept than
 * the head of one part; a guess at what a malformed body means: an HttpError instead.
 */
import { Buffer } from 'node:buffer';
import { HttpHeaders } from './headers.ts';
import { HttpError } from './http-error.ts';

/** More parts than that, or more in the head of one: 413. */
const maxParts = 1_000;
const maxHeadBytes = 16_384;
const maxPartHeaders = 32;
/** What may follow a boundary in its line: dashes and padding. */
const maxLineBytes = 128;

const headEnd = '\r\n\r\n';
const none = Buffer.alloc(0);

export interface MultipartSink {
  onPart(headers: HttpHeaders): void;
  onData(chunk: Buffer): void;
  onPartEnd(): void;
}

/** How much of `data` was used; -1: more bytes are needed. */
type Step = (data: Buffer) => number;

export class MultipartParser {
  readonly #sink: MultipartSink;
  readonly #delimiter: Buffer;
  /** Not used yet. The first delimiter may stand without a line end before it. */
  #held: Buffer = Buffer.from('\r\n');
  #step: Step = (data) => this.#content(data);
  #parts = 0;
  #inPart = false;
  #closed = false;

  constructor(boundary: string, sink: MultipartSink) {
    this.#sink = sink;
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  }

  /** The last delimiter was there. */
  get closed(): boolean {
    return this.#closed;
  }

  /** @throws HttpError 400 for a malformed body, 413 above a limit; nothing may follow */
  feed(chunk: Buffer): void {
    let data = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = none;
    while (data.length > 0 && !this.#closed) {
      const used = this.#step(data);
      if (used < 0) {
        this.#held = data;
        return;
      }
      data = data.subarray(used);
    }
  }

  /** @throws HttpError 400 when the last delimiter was not there */
  end(): void {
    const last = this.#step === this.#line && this.#held.length <= maxLineBytes;
    if (last && /^--[\t ]*$/.test(this.#held.toString('latin1'))) this.#closed = true;
    if (!this.#closed) throw malformed('ends early');
  }

  /** Of a part, or the preamble, which is nobody's. */
  #content(data: Buffer): number {
    const at = data.indexOf(this.#delimiter);
    if (at < 0) {
      const safe = this.#beforeDelimiter(data);
      if (safe > 0) this.#give(data.subarray(0, safe));
      return safe > 0 ? safe : -1;
    }
    if (at > 0) this.#give(data.subarray(0, at));
    this.#endPart();
    return at + this.#delimiter.length;
  }

  /** Where a delimiter can have begun: it has one CR, at its start. */
  #beforeDelimiter(data: Buffer): number {
    const at = data.lastIndexOf(13);
    const begun = at >= 0 && this.#isPrefix(data.subarray(at));
    return begun ? at : data.length;
  }

  #isPrefix(bytes: Buffer): boolean {
    const length = Math.min(bytes.length, this.#delimiter.length);
    return this.#delimiter.compare(bytes, 0, length, 0, length) === 0;
  }

  #give(bytes: Buffer): void {
    if (this.#inPart) this.#sink.onData(bytes);
  }

  #endPart(): void {
    if (this.#inPart) this.#sink.onPartEnd();
    this.#inPart = false;
    this.#step = this.#line;
  }

  /** The rest of a delimiter's line. */
  readonly #line: Step = (data) => {
    const end = data.indexOf('\r\n');
    if (end > maxLineBytes || (end < 0 && data.length > maxLineBytes + 1)) {
      throw malformed('has more than a boundary in a line');
    }
    if (end < 0) return -1;
    const dashes = /^(--)?[\t ]*$/.exec(data.toString('latin1', 0, end));
    if (dashes === null) throw malformed('has more than a boundary in a line');
    if (dashes[1] !== undefined) this.#closed = true;
    else this.#step = this.#head;
    return end + 2;
  };

  readonly #head: Step = (data) => {
    const empty = data[0] === 13 && data[1] === 10;
    const end = empty ? 0 : data.indexOf(headEnd);
    if (end > maxHeadBytes || (end < 0 && data.length > maxHeadBytes + 3)) {
      throw new HttpError(413, 'The head of a part is too large');
    }
    if (end < 0) return -1;
    if (++this.#parts > maxParts) throw new HttpError(413, 'Too many parts');
    const lines = data.toString('latin1', 0, end);
    if (`\r\n${lines}`.includes(this.#delimiter.toString('latin1'))) {
      throw malformed('has a boundary in the head of a part');
    }
    const headers = parseHead(lines);
    this.#inPart = true;
    this.#step = this.#blank;
    this.#sink.onPart(headers);
    return empty ? end : end + 2;
  };

  /** The line between head and bytes, whose end can be that of a part without bytes. */
  readonly #blank: Step = (data) => {
    if (this.#isPrefix(data)) {
      if (data.length < this.#delimiter.length) return -1;
      this.#endPart();
      return this.#delimiter.length;
    }
    this.#step = (rest) => this.#content(rest);
    return 2;
  };
}

function parseHead(text: string): HttpHeaders {
  const headers = new HttpHeaders();
  if (text === '') return headers;
  // A folded line goes on with the one before it (RFC 5322 2.2.3).
  const lines = text.replace(/\r\n(?=[\t ])/g, '').split('\r\n');
  if (lines.length > maxPartHeaders) throw new HttpError(413, 'A part has too many headers');
  for (const line of lines) {
    const at = line.indexOf(':');
    const name = line.slice(0, Math.max(at, 0));
    if (/^content-(disposition|type)$/i.test(name) && headers.has(name)) {
      throw malformed(`has ${name} twice in a part`);
    }
    try {
      // Line ends within a value would be trimmed off its ends.
      if (/[\r\n]/.test(line)) throw malformed('has a bare line end in the head of a part');
      headers.append(name, line.slice(at + 1));
    } catch (error) {
      throw error instanceof HttpError ? error : malformed('has a bad header in a part', error);
    }
  }
  return headers;
}

export function malformed(what: string, cause?: unknown): HttpError {
  return new HttpError(400, `The multipart body ${what}`, { cause });
}
