/**
 * Responses of HTTP/1 out of bytes that come in any pieces. (RFC 9112)
 *
 * In: chunks of a connection. Out: calls of a `ResponseSink`. Never: leniency: what could be read
 * in two ways is an error, as is what is beyond a limit.
 *
 * Everything about the wire is behind `ResponseParser`; a parser of the addon can take its place.
 */
import { Buffer } from 'node:buffer';
import { isFieldText, isToken } from '../headers.ts';
import type { HeaderSource } from '../wire.ts';

/** Status line and header lines of one response; trailers have as much. */
export const maxHeadBytes = 32_768;
export const maxHeaders = 256;
/** A longer head is not kept for the next response. */
const maxKeptHeadBytes = 2_048;
/** Responses 1xx before the one that counts. */
export const maxInterims = 16;
/** One line with the size of a chunk; its extensions are dropped. */
export const maxChunkLineBytes = 4_096;
/** Such lines of one body together, beyond the sizes themselves. */
export const maxChunkExtensionBytes = 16_384;

/** What is wrong with a response. */
export class FramingError extends Error {}

/** `bodyBytes` of a body whose length is not declared. */
export const chunkedBody = -1;
export const untilCloseBody = -2;

/** Status line and headers of a response; names in lower case. */
export class ResponseHead implements HeaderSource {
  readonly status: number;
  readonly statusText: string;
  readonly httpVersion: '1.0' | '1.1' | '2';
  /** Flat. */
  readonly lines: readonly string[];
  /** Whether the server keeps the connection. */
  readonly keepAlive: boolean;
  /** 0: none; `chunkedBody`, `untilCloseBody`. */
  readonly bodyBytes: number;

  constructor(status: StatusLine, lines: readonly string[], keepAlive: boolean, bodyBytes: number) {
    this.status = status.status;
    this.statusText = status.reason;
    this.httpVersion = status.version;
    this.lines = lines;
    this.keepAlive = keepAlive;
    this.bodyBytes = bodyBytes;
  }

  get headerCount(): number {
    return this.lines.length / 2;
  }

  header(name: string): string | null {
    const { lines } = this;
    let found: string | null = null;
    for (let i = 0; i < lines.length; i += 2) {
      if (lines[i] !== name) continue;
      found = found === null ? (lines[i + 1] as string) : `${found}, ${lines[i + 1]}`;
    }
    return found;
  }

  headerList(): readonly string[] {
    return this.lines;
  }
}

export interface ResponseSink {
  /** A response 1xx. */
  onInterim(status: number): void;
  onHead(head: ResponseHead): void;
  /** A response 101 that was asked for; `rest` is what came behind it. */
  onUpgrade(head: ResponseHead, rest: Buffer): void;
  onBody(chunk: Buffer): void;
  /** @param clean no byte came after it */
  onEnd(clean: boolean): void;
}

interface StatusLine {
  readonly status: number;
  readonly reason: string;
  readonly version: '1.0' | '1.1' | '2';
}

const idle = 0;
const inHead = 1;
const inBody = 2;
const untilClose = 3;
const inChunkSize = 4;
const inChunk = 5;
const afterChunk = 6;
const inTrailers = 7;

const statusForm = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
const chunkForm = /^([0-9A-Fa-f]{1,13})(?:[\t ]*;[\t\x20-\x7e]*)?$/;
const lengthForm = /^\d{1,15}$/;

/** Nearly all names are among few: checked and lowered once. Bounded, as they come from outside. */
const knownNames: Map<string, string> = new Map();

function checkName(name: string): string {
  const known = knownNames.get(name);
  if (known !== undefined) return known;
  if (!isToken(name)) throw new FramingError('The name of a header is not a token');
  const lower = name.toLowerCase();
  if (knownNames.size < 512) knownNames.set(name, lower);
  return lower;
}

function trimBlanks(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && (text.charCodeAt(from) === 32 || text.charCodeAt(from) === 9)) from++;
  while (to > from && (text.charCodeAt(to - 1) === 32 || text.charCodeAt(to - 1) === 9)) to--;
  return text.slice(from, to);
}

/** `[name, value]` of one line. */
function readField(line: string): [string, string] {
  const colon = line.indexOf(':');
  if (colon <= 0) throw new FramingError('A header line has no name');
  const value = trimBlanks(line.slice(colon + 1));
  if (!isFieldText(value)) throw new FramingError('A header holds a control character');
  return [checkName(line.slice(0, colon)), value];
}

function readStatus(line: string): StatusLine {
  const found = statusForm.exec(line);
  if (found === null) throw new FramingError('The status line is not one of HTTP/1');
  const version = found[1] === '1' ? '1.1' : '1.0';
  return { status: Number(found[2]), reason: found[3] ?? '', version };
}

/** What headers say about the rest of the message. */
interface Framing {
  length: string | null;
  coding: string | null;
  close: boolean;
  keep: boolean;
}

/** Some parsers do not know the value any more, and read on until the connection ends. */
function refuseTab(line: string): void {
  let at = line.length - 1;
  while (line.charCodeAt(at) === 32) at--;
  if (line.charCodeAt(at) === 9) throw new FramingError('A tab stands behind its framing');
}

function noteFraming(framing: Framing, name: string, value: string, line: string): void {
  if (name === 'content-length') {
    refuseTab(line);
    // Equal ones are one (RFC 9110 8.6); a list of them is too.
    for (const one of value.split(',')) {
      const length = trimBlanks(one);
      if (!lengthForm.test(length)) throw new FramingError('Its content-length is no number');
      if (framing.length !== null && Number(framing.length) !== Number(length)) {
        throw new FramingError('It has more than one content-length');
      }
      framing.length = length;
    }
  } else if (name === 'transfer-encoding') {
    refuseTab(line);
    framing.coding = framing.coding === null ? value : `${framing.coding},${value}`;
  } else if (name === 'connection') {
    for (const option of value.toLowerCase().split(',')) {
      const word = trimBlanks(option);
      if (word === 'close') framing.close = true;
      else if (word === 'keep-alive') framing.keep = true;
    }
  }
}

/** What its head says of framing and of the connection counts for none (RFC 9110 9.3.6). */
function isTunnel(method: string, { status }: StatusLine): boolean {
  return method === 'CONNECT' && status >= 200 && status <= 299;
}

function bodyBytesOf(method: string, status: StatusLine, framing: Framing): number {
  const { length, coding } = framing;
  if (coding !== null) {
    if (length !== null) throw new FramingError('It has content-length and transfer-encoding');
    if (status.version === '1.0') throw new FramingError('A response of HTTP/1.0 is not chunked');
    if (coding.toLowerCase() !== 'chunked') {
      throw new FramingError('Its transfer-encoding is not chunked');
    }
  }
  const code = status.status;
  if (method === 'HEAD' || code === 204 || code === 304) return 0;
  if (coding !== null) return chunkedBody;
  return length === null ? untilCloseBody : Number(length);
}

/** @throws FramingError */
function readHead(method: string, text: string): ResponseHead {
  let end = text.indexOf('\r\n');
  if (end < 0) end = text.length;
  const status = readStatus(text.slice(0, end));
  const framing: Framing = { length: null, coding: null, close: false, keep: false };
  const lines: string[] = [];
  while (end < text.length) {
    const start = end + 2;
    end = text.indexOf('\r\n', start);
    if (end < 0) end = text.length;
    const line = text.slice(start, end);
    const [name, value] = readField(line);
    lines.push(name, value);
    const { length } = name;
    if (length === 10 || length === 14 || length === 17) noteFraming(framing, name, value, line);
  }
  if (lines.length > 2 * maxHeaders) throw new FramingError('It has too many headers');
  if (isTunnel(method, status)) return new ResponseHead(status, lines, true, 0);
  const bodyBytes = bodyBytesOf(method, status, framing);
  const kept = status.version === '1.1' ? !framing.close : framing.keep && !framing.close;
  return new ResponseHead(status, lines, kept && bodyBytes !== untilCloseBody, bodyBytes);
}

function checkLineEnds(bytes: Buffer, from: number): void {
  for (let at = bytes.indexOf(10, from); at >= 0; at = bytes.indexOf(10, at + 1)) {
    if (at === 0 || bytes[at - 1] !== 13) throw new FramingError('A line of its head has no CR');
  }
}

export class ResponseParser {
  readonly #sink: ResponseSink;
  #state = idle;
  #method = 'GET';
  #upgrade = false;
  /** The start of a head whose rest has not come. */
  #held: Buffer | null = null;
  /** The start of a line in a chunked body. */
  #line = '';
  /** Of the body, or of the chunk. */
  #left = 0;
  #interims = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;
  #trailers = 0;
  /** The last final head: servers say the same again and again, until their clock moves on. */
  #lastHead: ResponseHead | null = null;
  #lastText = '';
  #lastMethod = '';
  /** A byte of the response has come. */
  started = false;

  constructor(sink: ResponseSink) {
    this.#sink = sink;
  }

  /** A request with this method was sent. @param upgrade which may be answered by 101 */
  begin(method: string, upgrade: boolean = false): void {
    this.#upgrade = upgrade;
    this.#state = inHead;
    this.#method = method;
    this.#interims = 0;
    this.started = false;
  }

  /** Nothing is expected. */
  get idle(): boolean {
    return this.#state === idle;
  }

  /** Bytes that are still to come, as far as it is known. */
  get leftBytes(): number {
    if (this.#state === inBody) return this.#left;
    return this.#state === untilClose ? Infinity : 0;
  }

  /** No call of the sink comes any more. */
  stop(): void {
    this.#state = idle;
    this.#held = null;
  }

  /** @throws FramingError */
  feed(chunk: Buffer): void {
    let bytes = chunk;
    let at = 0;
    this.started = true;
    while (at < bytes.length) {
      switch (this.#state) {
        case inHead: {
          const whole = this.#held;
          if (whole !== null) {
            bytes = Buffer.concat([whole, bytes.subarray(at)]);
            at = 0;
          }
          at = this.#feedHead(bytes, at, whole === null ? 0 : whole.length);
          break;
        }
        case inBody:
        case inChunk:
          at = this.#feedBody(bytes, at);
          break;
        case untilClose:
          this.#sink.onBody(at === 0 ? bytes : bytes.subarray(at));
          return;
        case idle:
          return;
        default:
          at = this.#feedLine(bytes, at);
      }
    }
  }

  /** The connection ended. True: so did the response. */
  end(): boolean {
    if (this.#state !== untilClose) return false;
    this.#finish(true);
    return true;
  }

  #feedHead(bytes: Buffer, at: number, seen: number): number {
    const end = bytes.indexOf('\r\n\r\n', at + Math.max(0, seen - 3), 'latin1');
    if (end < 0 || end - at > maxHeadBytes) {
      if (bytes.length - at > maxHeadBytes) throw new FramingError('Its head is too long');
      checkLineEnds(bytes, at + Math.max(0, seen - 1));
      this.#held = Buffer.from(bytes.subarray(at));
      return bytes.length;
    }
    this.#held = null;
    const head = this.#readHead(bytes.toString('latin1', at, end));
    const next = end + 4;
    if (head.status < 200) {
      if (head.status === 101) {
        if (!this.#upgrade) throw new FramingError('It switches to a protocol nobody asked for');
        this.#state = idle;
        this.#sink.onUpgrade(head, bytes.subarray(next));
        return bytes.length;
      }
      if (++this.#interims > maxInterims) throw new FramingError('Too many interim responses');
      this.#sink.onInterim(head.status);
      return next;
    }
    const { bodyBytes } = head;
    this.#left = bodyBytes;
    this.#line = '';
    this.#extensionBytes = 0;
    this.#trailerBytes = 0;
    this.#trailers = 0;
    if (bodyBytes === chunkedBody) this.#state = inChunkSize;
    else if (bodyBytes === untilCloseBody) this.#state = untilClose;
    else this.#state = inBody;
    this.#sink.onHead(head);
    if (bodyBytes === 0 && this.#state === inBody) this.#finish(next === bytes.length);
    return next;
  }

  /** Nothing changes a head, so that responses may have one in common. */
  #readHead(text: string): ResponseHead {
    const last = this.#lastHead;
    if (last !== null && text === this.#lastText && this.#method === this.#lastMethod) return last;
    const head = readHead(this.#method, text);
    if (head.status >= 200 && text.length <= maxKeptHeadBytes) {
      this.#lastHead = head;
      this.#lastText = text;
      this.#lastMethod = this.#method;
    }
    return head;
  }

  #feedBody(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    const whole = this.#state === inBody;
    this.#left -= end - at;
    this.#sink.onBody(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
    // The sink may have stopped it.
    if (this.#left > 0 || this.#state === idle) return end;
    if (whole) this.#finish(end === bytes.length);
    else this.#state = afterChunk;
    return end;
  }

  #feedLine(bytes: Buffer, at: number): number {
    const end = bytes.indexOf(10, at);
    const part = bytes.toString('latin1', at, end < 0 ? bytes.length : end);
    const line = this.#line + part;
    const limit = this.#state === inTrailers ? maxHeadBytes : maxChunkLineBytes;
    if (line.length > limit) throw new FramingError('A line of its chunked body is too long');
    if (end < 0) {
      this.#line = line;
      return bytes.length;
    }
    this.#line = '';
    if (line.charCodeAt(line.length - 1) !== 13) {
      throw new FramingError('A line of its chunked body does not end with CRLF');
    }
    this.#onLine(line.slice(0, -1), end + 1 === bytes.length);
    return end + 1;
  }

  #onLine(line: string, last: boolean): void {
    if (this.#state === afterChunk) {
      if (line !== '') throw new FramingError('A chunk is longer than its size');
      this.#state = inChunkSize;
      return;
    }
    if (this.#state === inChunkSize) {
      const found = chunkForm.exec(line);
      if (found === null) throw new FramingError('The size of a chunk is no number');
      const size = found[1] as string;
      this.#extensionBytes += line.length - size.length;
      if (this.#extensionBytes > maxChunkExtensionBytes) {
        throw new FramingError('The extensions of its chunks are too long');
      }
      this.#left = Number.parseInt(size, 16);
      this.#state = this.#left === 0 ? inTrailers : inChunk;
      return;
    }
    if (line === '') {
      this.#finish(last);
      return;
    }
    this.#trailerBytes += line.length + 2;
    if (this.#trailerBytes > maxHeadBytes || ++this.#trailers > maxHeaders) {
      throw new FramingError('Its trailers are too long');
    }
    readField(line);
  }

  #finish(clean: boolean): void {
    this.#state = idle;
    this.#sink.onEnd(clean);
  }
}
