/**
 * What a reader wants: one object for each kind of read.
 *
 * In: the read buffer, and whether the stream has ended. Out: the result, or `notYet`.
 * Never: waiting. A want that cannot be met, or throws, has taken
 * nothing; only IncompleteReadError carries the bytes away.
 */
import type { Buffer } from 'node:buffer';
import { argTypeError, type Data, IncompleteReadError, LimitOverrunError } from '../base/errors.ts';
import { checkAttached, checkData, isEmpty, memoryError, toBytes } from './data.ts';
import type { ReadBuffer } from './read-buffer.ts';

/** More bytes, or the end, must come first. */
export const notYet: unique symbol = Symbol('notYet');

export interface Want<T> {
  /** Shown by inspectors as what the task waits for. */
  readonly label: string;
  take(buffer: ReadBuffer, ended: boolean, limitBytes: number): T | typeof notYet;
  /** What to keep while waiting, when the want itself is shared and cannot remember anything. */
  remember?(buffer: ReadBuffer): Want<T>;
}

/** What is there, at most `maxBytes`. */
export class WantSome implements Want<Buffer | null> {
  readonly label: string = 'read';
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  take(buffer: ReadBuffer, ended: boolean): Buffer | null | typeof notYet {
    if (buffer.bytes > 0) return buffer.take(Math.min(buffer.bytes, this.#maxBytes));
    return ended ? null : notYet;
  }
}

/** `read()` without a maximum. */
export const wantAny: Want<Buffer | null> = new WantSome(Infinity);

/** The next step of `for await (const chunk of connection)`. */
export const wantChunk: Want<IteratorResult<Buffer, undefined>> = {
  label: 'read',
  take(buffer: ReadBuffer, ended: boolean) {
    if (buffer.bytes > 0) return { value: buffer.takeChunk(), done: false };
    return ended ? { value: undefined, done: true } : notYet;
  },
};

export class WantExactly implements Want<Buffer> {
  readonly label: string = 'readExactly';
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  take(buffer: ReadBuffer, ended: boolean): Buffer | typeof notYet {
    if (buffer.bytes >= this.#count) return buffer.take(this.#count);
    if (!ended) return notYet;
    // As in asyncio, the partial bytes leave with the error.
    throw new IncompleteReadError(buffer.take(buffer.bytes), this.#count);
  }
}

export class WantAll implements Want<Buffer> {
  readonly label: string = 'readAll';
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  take(buffer: ReadBuffer, ended: boolean): Buffer | typeof notYet {
    if (buffer.bytes > this.#maxBytes) {
      const message = `The stream is longer than ${this.#maxBytes} bytes`;
      throw new LimitOverrunError(buffer.bytes, message);
    }
    return ended ? buffer.take(buffer.bytes) : notYet;
  }
}

/** Shorter reads would cost a system call each, where one chunk serves many of them. */
const directBytes = 16 * 1024;

export class WantInto implements Want<number> {
  readonly label: string = 'readInto';
  readonly #target: Uint8Array;

  constructor(target: Uint8Array) {
    this.#target = target;
  }

  /** It is worth being received into. */
  get direct(): boolean {
    return this.#target.length >= directBytes;
  }

  /**
   * Where to receive.
   * @throws TypeError ERR_UVIO_BUFFER_DETACHED
   */
  memory(): Uint8Array {
    if (!isEmpty(this.#target)) return this.#target;
    // It was longer when the read began.
    checkAttached(this.#target);
    throw memoryError('resized to nothing');
  }

  take(buffer: ReadBuffer, ended: boolean): number | typeof notYet {
    if (buffer.bytes === 0) return ended ? 0 : notYet;
    return buffer.takeInto(this.memory());
  }
}

/** Up to one of several separators: the one that ends first, however the bytes are split. */
export class WantUntil implements Want<Buffer> {
  readonly label: string = 'readUntil';
  readonly #separators: readonly Uint8Array[];
  readonly #longestBytes: number;
  /** Bytes that were searched are not searched again. */
  #searchedBytes: number;

  constructor(separators: readonly Uint8Array[]) {
    this.#separators = separators;
    this.#longestBytes = Math.max(...separators.map((separator) => separator.length));
    this.#searchedBytes = 0;
  }

  take(buffer: ReadBuffer, ended: boolean, limitBytes: number): Buffer | typeof notYet {
    const end = this.#find(buffer, limitBytes);
    if (end > 0) return buffer.take(end);
    if (!ended) return notYet;
    throw new IncompleteReadError(buffer.take(buffer.bytes), null);
  }

  /** The end of the first separator, or 0 when there is none yet. */
  #find(buffer: ReadBuffer, limitBytes: number): number {
    let end = 0;
    let start = 0;
    for (const separator of this.#separators) {
      const at = buffer.indexOf(separator, this.#searchedBytes);
      if (at >= 0 && (end === 0 || at + separator.length < end)) {
        start = at;
        end = at + separator.length;
      }
    }
    if (end === 0) {
      // The earliest place where a separator can still begin.
      start = Math.max(0, buffer.bytes - this.#longestBytes + 1);
      this.#searchedBytes = start;
    }
    if (start > limitBytes) throw new LimitOverrunError(buffer.bytes);
    return end;
  }
}

const newline: Uint8Array = toBytes('\n');

/** The end of the first line, 0 when there is none. */
function findLine(buffer: ReadBuffer, searchedBytes: number, limitBytes: number): number {
  const at = buffer.indexOf(newline, searchedBytes);
  if ((at < 0 ? buffer.bytes : at) > limitBytes) throw new LimitOverrunError(buffer.bytes);
  return at + 1;
}

function takeLine(buffer: ReadBuffer, end: number, ended: boolean): string | null | typeof notYet {
  if (end > 0) return buffer.takeLine(end);
  if (!ended) return notYet;
  return buffer.bytes > 0 ? buffer.takeLine(buffer.bytes) : null;
}

/** A line of which no newline is in the first `searchedBytes`. */
class WantRestOfLine implements Want<string | null> {
  readonly label: string = 'readLine';
  #searchedBytes: number;

  constructor(searchedBytes: number) {
    this.#searchedBytes = searchedBytes;
  }

  take(buffer: ReadBuffer, ended: boolean, limitBytes: number): string | null | typeof notYet {
    const end = findLine(buffer, this.#searchedBytes, limitBytes);
    if (end === 0) this.#searchedBytes = buffer.bytes;
    return takeLine(buffer, end, ended);
  }
}

/** A line; shared, as the usual line is there at once. */
export const wantLine: Want<string | null> = {
  label: 'readLine',
  take(buffer: ReadBuffer, ended: boolean, limitBytes: number) {
    return takeLine(buffer, findLine(buffer, 0, limitBytes), ended);
  },
  remember: (buffer: ReadBuffer) => new WantRestOfLine(buffer.bytes),
};

/** The next step of `for await (const line of connection.lines())`. */
export class WantNextLine implements Want<IteratorResult<string, undefined>> {
  readonly label: string = 'readLine';
  readonly #line: Want<string | null>;

  constructor(line: Want<string | null>) {
    this.#line = line;
  }

  take(
    buffer: ReadBuffer,
    ended: boolean,
    limitBytes: number,
  ): IteratorResult<string, undefined> | typeof notYet {
    const line = this.#line.take(buffer, ended, limitBytes);
    if (line === notYet) return notYet;
    return line === null ? { value: undefined, done: true } : { value: line, done: false };
  }

  remember(buffer: ReadBuffer): WantNextLine {
    const rest = this.#line.remember?.(buffer);
    return rest === undefined ? this : new WantNextLine(rest);
  }
}

export const wantNextLine: WantNextLine = new WantNextLine(wantLine);

/** What `readUntil` was given, as bytes. */
export function checkSeparators(separator: Data | readonly Data[]): Uint8Array[] {
  const list = Array.isArray(separator) ? separator : [separator];
  if (list.length === 0) throw argTypeError('separator', 'at least one separator', separator);
  return list.map((one: Data) => {
    const bytes = toBytes(checkData(one));
    if (bytes.length === 0) throw argTypeError('separator', 'at least one byte long', one);
    return bytes;
  });
}
