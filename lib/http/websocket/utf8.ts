/**
 * UTF-8 that comes in pieces, refused at its first bad byte.
 *
 * In: pieces of a text. Out: whether it can still become valid. Never: a copy of the text.
 */
import { isUtf8 } from 'node:buffer';

/** Bytes that a character with this first byte has; 0: none begins with it. */
function lengthOf(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/** Whether a second byte may follow: no overlong forms, no surrogates, nothing above U+10FFFF. */
function fits(first: number, second: number): boolean {
  if (first === 0xe0) return second >= 0xa0 && second < 0xc0;
  if (first === 0xed) return second >= 0x80 && second < 0xa0;
  if (first === 0xf0) return second >= 0x90 && second < 0xc0;
  if (first === 0xf4) return second >= 0x80 && second < 0x90;
  return (second & 0xc0) === 0x80;
}

/** Where the character begins that the piece ends inside of; without one its length. */
function unfinished(piece: Uint8Array): number {
  const { length } = piece;
  for (let back = 1; back <= 3 && back <= length; back++) {
    const byte = piece[length - back] as number;
    if ((byte & 0xc0) === 0x80) continue;
    return lengthOf(byte) > back ? length - back : length;
  }
  return length;
}

export class Utf8Checker {
  /** The beginning of a character whose rest has not come. */
  #open: number[] = [];

  /** False: it is not UTF-8, whatever follows. */
  push(piece: Uint8Array): boolean {
    let at = 0;
    while (this.#open.length > 0 && at < piece.length) {
      if (!this.#next(piece[at++] as number)) return false;
    }
    if (at === piece.length) return true;
    const rest = at === 0 ? piece : piece.subarray(at);
    const end = unfinished(rest);
    if (!isUtf8(end === rest.length ? rest : rest.subarray(0, end))) return false;
    for (let i = end; i < rest.length; i++) {
      if (!this.#next(rest[i] as number)) return false;
    }
    return true;
  }

  /** The text is complete: false when it ends inside of a character. */
  end(): boolean {
    const complete = this.#open.length === 0;
    this.#open = [];
    return complete;
  }

  #next(byte: number): boolean {
    const open = this.#open;
    if (open.length === 0) {
      if (lengthOf(byte) === 0) return false;
    } else if (open.length === 1 ? !fits(open[0] as number, byte) : (byte & 0xc0) !== 0x80) {
      return false;
    }
    open.push(byte);
    if (open.length === lengthOf(open[0] as number)) this.#open = [];
    return true;
  }
}
