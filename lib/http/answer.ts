/**
 * The bytes of a response's head.
 *
 * In: a status, checked header lines, what the wire says about framing. Out: text. Never: a
 * character that could end a line; a date older than a tick of the sweep.
 */
import { Buffer } from 'node:buffer';
import { dataBytes, isAscii } from '../io/data.ts';
import { isFieldText } from './headers.ts';
import { reasonOf } from './reasons.ts';
import type { HeaderList } from './wire.ts';

const statusLines: Map<number, string> = new Map();

let dateLine = '';
let dateSecond = -1;

/** Makes the line of `date` anew: the wire's sweep calls it at each tick, no request does. */
export function refreshDate(): void {
  const now = Date.now();
  const second = Math.floor(now / 1000);
  if (second === dateSecond) return;
  dateSecond = second;
  dateLine = `date: ${new Date(now).toUTCString()}\r\n`;
}

function statusLine(status: number, statusText: string): string {
  if (statusText !== reasonOf(status)) {
    return `HTTP/1.1 ${status} ${checkedText(statusText)}\r\n`;
  }
  let line = statusLines.get(status);
  if (line === undefined) {
    line = `HTTP/1.1 ${status} ${statusText}\r\n`;
    statusLines.set(status, line);
  }
  return line;
}

/**
 * Checked by the callers, too; here because what gets through would split a response.
 * @throws TypeError ERR_INVALID_ARG_VALUE
 */
function checkedText(text: string): string {
  if (isFieldText(text)) return text;
  throw Object.assign(new TypeError('A response head holds a forbidden character'), {
    code: 'ERR_INVALID_ARG_VALUE',
  });
}

/** The latest short value of a name, and its line: most headers are the same each time. */
const lines: Map<string, { value: string; line: string }> = new Map();
const maxLines = 256;
const maxKeptLength = 128;

function headerLine(name: string, value: string): string {
  const known = lines.get(name);
  if (known !== undefined && known.value === value) return known.line;
  const line = `${checkedText(name)}: ${checkedText(value)}\r\n`;
  if (value.length > maxKeptLength) return line;
  if (known !== undefined) {
    known.value = value;
    known.line = line;
  } else if (lines.size < maxLines) {
    lines.set(name, { value, line });
  }
  return line;
}

/** Above it a body is not copied into one string with its head. */
const joinedLength = 8192;

/** The head up to the lines that the wire adds. Latin-1. */
export function headText(status: number, statusText: string, headers: HeaderList): string {
  let head = statusLine(status, statusText);
  let dated = false;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (name === 'date') dated = true;
    head += headerLine(name, headers[i + 1] as string);
  }
  return dated ? head : head + dateLine;
}

/** In place of a length: the body is chunked, or its end is that of the connection. */
export const lengthChunked: number = -1;
export const lengthUnsaid: number = -2;

/** A whole head. */
export interface Head {
  readonly text: string;
  /** Made when a second response has the same one. */
  bytes: Buffer | null;
}

/** What a head was made of. */
interface Kept {
  readonly head: Head;
  readonly status: number;
  readonly statusText: string;
  readonly headers: HeaderList;
  readonly lengthBytes: number;
  readonly ending: string;
  readonly dateLine: string;
}

/** By the last bits of the length, which is what differs most: the latest head of each. */
const heads: (Kept | undefined)[] = new Array(32).fill(undefined);
const maxHeadLength = 1024;
/** Heads in a row that were new. Where most are, few are kept: it costs more than it spares. */
let fresh = 0;

/** The whole head. @param ending the line about the connection, if any, and the empty one */
export function wholeHead(
  status: number,
  statusText: string,
  headers: HeaderList,
  lengthBytes: number,
  ending: string,
): Head {
  const place = lengthBytes & 31;
  const kept = heads[place];
  if (
    kept !== undefined &&
    kept.lengthBytes === lengthBytes &&
    kept.status === status &&
    kept.ending === ending &&
    kept.dateLine === dateLine &&
    kept.statusText === statusText &&
    sameLines(kept.headers, headers)
  ) {
    fresh = 0;
    const { head } = kept;
    head.bytes ??= Buffer.from(head.text, 'latin1');
    return head;
  }
  let text = headText(status, statusText, headers);
  if (lengthBytes >= 0) text += `content-length: ${lengthBytes}\r\n`;
  else if (lengthBytes === lengthChunked) text += 'transfer-encoding: chunked\r\n';
  text += ending;
  const head: Head = { text, bytes: null };
  fresh += 1;
  if ((fresh < 64 || fresh % 16 === 0) && text.length <= maxHeadLength) {
    // A frozen one is shared by all who add nothing: it is found again without a look at its lines.
    const own = Object.isFrozen(headers) ? headers : [...headers];
    heads[place] = { head, status, statusText, headers: own, lengthBytes, ending, dateLine };
  }
  return head;
}

function sameLines(one: HeaderList, other: HeaderList): boolean {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  for (let i = 0; i < one.length; i++) {
    if (one[i] !== other[i]) return false;
  }
  return true;
}

export interface Target {
  write(data: string | Uint8Array): number;
  writeLatin1?(text: string): number;
  writeMany?(parts: readonly Uint8Array[]): number;
}

/** A head goes out as Latin-1, whatever it holds; `write` takes strings as UTF-8. */
export function writeHead(target: Target, head: string): number {
  if (target.writeLatin1 !== undefined) return target.writeLatin1(head);
  return target.write(isAscii(head) ? head : Buffer.from(head, 'latin1'));
}

/** Head and body, as one write where they are short. @param bytes of the body */
export function writeWhole(
  target: Target,
  head: Head,
  body: string | Uint8Array,
  bytes: number,
): number {
  // As many bytes as characters: ASCII.
  const ascii = typeof body === 'string' && bytes === body.length && bytes < joinedLength;
  if (head.bytes !== null && target.writeLatin1 !== undefined) {
    // It collects what is written: two pieces cost less than a string made of both.
    target.write(head.bytes);
    return ascii ? target.writeLatin1(body) : target.write(body);
  }
  if (ascii) return writeHead(target, head.text + body);
  if (bytes < joinedLength && target.writeLatin1 === undefined) {
    // It writes at once: two pieces would be two system calls.
    return target.write(joined(head.text, body, bytes));
  }
  writeHead(target, head.text);
  return target.write(body);
}

function joined(head: string, body: string | Uint8Array, bytes: number): Buffer {
  const whole = Buffer.allocUnsafe(head.length + bytes);
  whole.write(head, 'latin1');
  if (typeof body === 'string') whole.write(body, head.length);
  else whole.set(body, head.length);
  return whole;
}

const lineEnd = Buffer.from('\r\n');
/** Shorter chunks are copied into what goes out at the end of the turn. */
const vectorBytes = 16_384;

/** One chunk of the chunked coding. */
export function writeChunk(target: Target, data: string | Uint8Array): number {
  const bytes = dataBytes(data);
  const size = `${bytes.toString(16)}\r\n`;
  if (typeof data === 'string' && data.length < joinedLength) {
    return target.write(`${size}${data}\r\n`);
  }
  if (target.writeMany !== undefined && bytes >= vectorBytes && typeof data !== 'string') {
    return target.writeMany([Buffer.from(size, 'latin1'), data, lineEnd]);
  }
  target.write(size);
  target.write(data);
  return target.write('\r\n');
}
