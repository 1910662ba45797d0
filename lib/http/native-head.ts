/**
 * The head of a request as the parser left it: bytes, and where its parts are.
 *
 * In: a validated head. Out: strings when asked for. Never: a header object; a second look at what
 * the parser has checked.
 */
import type { Buffer } from 'node:buffer';
import type { HeaderList, HeaderSource } from './wire.ts';

/** Node's own slices: a quarter of the price of `toString`. */
interface Sliceable {
  latin1Slice(from: number, to: number): string;
}

export function latin1(bytes: Buffer, from: number, to: number): string {
  return (bytes as Buffer & Sliceable).latin1Slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9;
}

/** Without the blanks around; not `trim()`, which takes characters of Latin-1, too. */
function trimmed(text: string, from: number, to: number): string {
  let first = from;
  let last = to;
  while (first < last && isBlank(text.charCodeAt(first))) first++;
  while (last > first && isBlank(text.charCodeAt(last - 1))) last--;
  return text.slice(first, last);
}

/** `name` is in lower case. */
function sameName(text: string, from: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    let code = text.charCodeAt(from + i);
    if (code >= 65 && code <= 90) code += 32;
    if (code !== name.charCodeAt(i)) return false;
  }
  return true;
}

export class NativeHead implements HeaderSource {
  readonly headerCount: number;
  /** Owned by the wire: never written again. */
  readonly #bytes: Buffer;
  /** Of the header lines, up to the empty one. */
  readonly #from: number;
  readonly #to: number;
  #text: string | null;

  constructor(bytes: Buffer, from: number, to: number, headerCount: number) {
    this.#bytes = bytes;
    this.#from = from;
    this.#to = to;
    this.#text = null;
    this.headerCount = headerCount;
  }

  header(name: string): string | null {
    const text = this.#lines();
    let found: string | null = null;
    for (let at = 0; at < text.length; ) {
      const colon = text.indexOf(':', at);
      const end = text.indexOf('\r\n', colon);
      if (colon - at === name.length && sameName(text, at, name)) {
        const value = trimmed(text, colon + 1, end);
        found = found === null ? value : found + (name === 'cookie' ? '; ' : ', ') + value;
      }
      at = end + 2;
    }
    return found;
  }

  headerList(): HeaderList {
    const text = this.#lines();
    const list: string[] = [];
    for (let at = 0; at < text.length; ) {
      const colon = text.indexOf(':', at);
      const end = text.indexOf('\r\n', colon);
      list.push(text.slice(at, colon), trimmed(text, colon + 1, end));
      at = end + 2;
    }
    return list;
  }

  #lines(): string {
    const text = this.#text ?? latin1(this.#bytes, this.#from, this.#to);
    this.#text = text;
    return text;
  }
}
