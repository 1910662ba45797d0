/**
 * The head of a request as the parser left it: bytes, and where its parts are.
 *
 * In: a validated head. Out: strings when asked for. Never: a header object; a second look at what
 * the parser has checked.
 */
import { Buffer } from 'node:buffer';
import { trimBlanks } from './headers.ts';
import type { HeaderList, HeaderSource } from './wire.ts';

/** Node's own slices: a quarter of the price of `toString`. */
interface Sliceable {
  latin1Slice(from: number, to: number): string;
}

export function latin1(bytes: Buffer, from: number, to: number): string {
  return (bytes as Buffer & Sliceable).latin1Slice(from, to);
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

const noBytes = Buffer.alloc(0);

export class NativeHead implements HeaderSource {
  readonly headerCount: number;
  /** Owned by the wire: never written again. */
  #bytes: Buffer;
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
        const value = trimBlanks(text, colon + 1, end);
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
      list.push(text.slice(at, colon), trimBlanks(text, colon + 1, end));
      at = end + 2;
    }
    return list;
  }

  /** What it is a part of may be much larger. */
  protected forgetBytes(): void {
    this.#lines();
    this.#bytes = noBytes;
  }

  #lines(): string {
    const text = this.#text ?? latin1(this.#bytes, this.#from, this.#to);
    this.#text = text;
    return text;
  }
}
