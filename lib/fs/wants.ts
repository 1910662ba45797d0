/**
 * What a read waits for.
 *
 * In: the window, and whether the file has ended. Out: the result, or that more is needed. Never:
 * a byte taken without a result.
 */
import type { Buffer } from 'node:buffer';
import type { ByteWindow } from './byte-window.ts';
import type { Codec } from './codecs.ts';

/** More has to be read. Never the answer once the file has ended. */
export const notYet: unique symbol = Symbol('notYet');

export interface Want<T> {
  readonly label: string;
  /** Bytes that are missing, as far as known. Infinity: all that there are. */
  readonly missingBytes: number;
  take(window: ByteWindow, ended: boolean): T | typeof notYet;
}

type Text = string | Buffer;

export class WantAll<D extends Text> implements Want<D> {
  readonly label: string = 'read';
  readonly missingBytes: number = Infinity;
  readonly #codec: Codec<D>;

  constructor(codec: Codec<D>) {
    this.#codec = codec;
  }

  take(window: ByteWindow, ended: boolean): D | typeof notYet {
    return ended ? this.#codec.take(window, window.bytes) : notYet;
  }
}

/** A number of characters. */
export class WantSome<D extends Text> implements Want<D> {
  readonly label: string = 'read';
  /** Each character has at least one byte. */
  missingBytes: number;
  readonly #codec: Codec<D>;
  /** Bytes that were counted. */
  #counted = 0;

  constructor(codec: Codec<D>, count: number) {
    this.#codec = codec;
    this.missingBytes = count;
  }

  take(window: ByteWindow, ended: boolean): D | typeof notYet {
    this.#count(window);
    if (this.missingBytes > 0 && !ended) return notYet;
    // At the end, what is left is less than wanted, or half a character.
    return this.#codec.take(window, this.missingBytes > 0 ? window.bytes : this.#counted);
  }

  #count(window: ByteWindow): void {
    const { data, start, end } = window;
    const codec = this.#codec;
    let at = start + this.#counted;
    let missing = this.missingBytes;
    if (codec.width > 0) {
      const bytes = Math.min(missing, end - at);
      at += bytes;
      missing -= bytes;
    } else {
      while (missing > 0 && at < end) {
        const bytes = codec.charBytes(data, at, end);
        if (bytes === 0) break;
        at += bytes;
        missing--;
      }
    }
    this.#counted = at - start;
    this.missingBytes = missing;
  }
}

/** Where the first line ends, or -1; remembers what was searched. */
class LineSearch {
  readonly #codec: Codec<Text>;
  #searched = 0;

  constructor(codec: Codec<Text>) {
    this.#codec = codec;
  }

  bytes(window: ByteWindow, ended: boolean): number {
    const { data, start, end } = window;
    const found = this.#codec.lineEnd(data, start, start + this.#searched, end);
    if (found >= 0) return found - start;
    if (ended) return window.bytes;
    this.#searched = Math.max(0, window.bytes - this.#codec.newlineBytes + 1);
    return -1;
  }
}

export class WantLine<D extends Text> implements Want<D> {
  readonly label: string = 'readLine';
  readonly missingBytes: number = 1;
  readonly #codec: Codec<D>;
  readonly #search: LineSearch;

  constructor(codec: Codec<D>) {
    this.#codec = codec;
    this.#search = new LineSearch(codec);
  }

  take(window: ByteWindow, ended: boolean): D | typeof notYet {
    const bytes = this.#search.bytes(window, ended);
    return bytes < 0 ? notYet : this.#codec.take(window, bytes);
  }
}

/** All lines. */
export class WantLines<D extends Text> implements Want<D[]> {
  readonly label: string = 'readLines';
  readonly missingBytes: number = Infinity;
  readonly #codec: Codec<D>;

  constructor(codec: Codec<D>) {
    this.#codec = codec;
  }

  take(window: ByteWindow, ended: boolean): D[] | typeof notYet {
    if (!ended) return notYet;
    const before = { start: window.start, offset: window.offset };
    try {
      return this.#takeLines(window);
    } catch (error) {
      // A line that is too long for a string: those before it come back.
      Object.assign(window, before);
      throw error;
    }
  }

  #takeLines(window: ByteWindow): D[] {
    const lines: D[] = [];
    while (window.bytes > 0) {
      const { data, start, end } = window;
      const found = this.#codec.lineEnd(data, start, start, end);
      lines.push(this.#codec.take(window, (found < 0 ? end : found) - start));
    }
    return lines;
  }
}

/** Bytes for memory of the user's. They go there at the end, so that a cancelled read has none. */
export class WantInto implements Want<number> {
  readonly label: string = 'readInto';
  readonly #target: Uint8Array;

  constructor(target: Uint8Array) {
    this.#target = target;
  }

  get missingBytes(): number {
    return this.#target.length;
  }

  take(window: ByteWindow, ended: boolean): number | typeof notYet {
    const { data, start, bytes } = window;
    if (bytes < this.#target.length && !ended) return notYet;
    const count = Math.min(bytes, this.#target.length);
    this.#target.set(data.subarray(start, start + count));
    window.skip(count);
    return count;
  }
}

/** The next step of a loop over the file. */
export type Step<D> = IteratorResult<D, undefined>;

const end: Step<never> = { value: undefined, done: true };

export class WantNextLine implements Want<Step<string>> {
  readonly label: string = 'readLine';
  readonly missingBytes: number = 1;
  readonly #line: WantLine<string>;

  constructor(codec: Codec<string>) {
    this.#line = new WantLine(codec);
  }

  take(window: ByteWindow, ended: boolean): Step<string> | typeof notYet {
    const line = this.#line.take(window, ended);
    if (line === notYet) return notYet;
    return line === '' ? end : { value: withoutNewline(line), done: false };
  }
}

function withoutNewline(line: string): string {
  if (!line.endsWith('\n')) return line;
  return line.slice(0, line.endsWith('\r\n') ? -2 : -1);
}

export const wantNextChunk: Want<Step<Buffer>> = {
  label: 'read',
  missingBytes: 1,
  take(window: ByteWindow, ended: boolean): Step<Buffer> | typeof notYet {
    if (window.bytes > 0) return { value: window.take(window.bytes), done: false };
    return ended ? end : notYet;
  },
};
