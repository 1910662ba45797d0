/**
 * The bytes of a response's head.
 *
 * In: a status, checked header lines, what the wire says about framing. Out: text. Never: a
 * character that could end a line; a date older than a second.
 */
import { Buffer } from 'node:buffer';
import { isAscii } from '../io/data.ts';
import { isFieldText } from './headers.ts';
import { reasonOf } from './reasons.ts';
import type { HeaderList } from './wire.ts';

const statusLines: Map<number, string> = new Map();

let dateLine = '';
let dateSecond = -1;

/** The line of `date`, made once a second. */
function dateNow(): string {
  const now = Date.now();
  const second = Math.floor(now / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateLine = `date: ${new Date(now).toUTCString()}\r\n`;
  }
  return dateLine;
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

/** Above it a body is not copied into one string with its head. */
const joinedLength = 8192;

/** The head up to the lines that the wire adds. Latin-1. */
export function headText(status: number, statusText: string, headers: HeaderList): string {
  let head = statusLine(status, statusText);
  let dated = false;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (name === 'date') dated = true;
    head += `${checkedText(name)}: ${checkedText(headers[i + 1] as string)}\r\n`;
  }
  return dated ? head : head + dateNow();
}

export interface Target {
  write(data: string | Uint8Array): number;
}

/** A head goes out as Latin-1, whatever it holds; strings are written as UTF-8. */
export function writeHead(target: Target, head: string): number {
  return target.write(isAscii(head) ? head : Buffer.from(head, 'latin1'));
}

/** Head and body, as one write where they are short. */
export function writeWhole(target: Target, head: string, body: string | Uint8Array): number {
  if (typeof body === 'string' && body.length < joinedLength && isAscii(head)) {
    return target.write(head + body);
  }
  writeHead(target, head);
  return target.write(body);
}

/** One chunk of the chunked coding. */
export function writeChunk(target: Target, data: string | Uint8Array): number {
  const bytes = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
  const size = `${bytes.toString(16)}\r\n`;
  if (typeof data === 'string' && data.length < joinedLength) {
    return target.write(`${size}${data}\r\n`);
  }
  target.write(size);
  target.write(data);
  return target.write('\r\n');
}
