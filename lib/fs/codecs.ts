/**
 * What the bytes of a file mean: text in some encoding, or bytes.
 *
 * In: bytes of a window. Out: strings or Buffers, cut at the borders of characters, so that the
 * position in bytes is known after each. Never: state between two calls (node:string_decoder keeps
 * the bytes of half a character to itself, and positions would be wrong by them).
 */
import { Buffer } from 'node:buffer';
import { argTypeError } from '../base/errors.ts';
import type { ByteWindow } from './byte-window.ts';

export interface Codec<D extends string | Buffer> {
  /** Bytes of each character; 0 when they differ. */
  readonly width: number;
  /** Bytes of a newline. */
  readonly newlineBytes: number;
  /** Bytes of the character at `at`; 0 when `end` comes before its end. */
  charBytes(bytes: Buffer, at: number, end: number): number;
  /** Just behind the first newline at or after `from`, or -1. A line begins at `start`. */
  lineEnd(bytes: Buffer, start: number, from: number, end: number): number;
  take(window: ByteWindow, bytes: number): D;
  encode(text: string): Buffer;
}

const newline = 10;
const replacement = '\uFFFD';

function byteLineEnd(bytes: Buffer, _start: number, from: number, end: number): number {
  const at = bytes.indexOf(newline, from);
  return at < 0 || at >= end ? -1 : at + 1;
}

export const bytesCodec: Codec<Buffer> = {
  width: 1,
  newlineBytes: 1,
  charBytes: () => 1,
  lineEnd: byteLineEnd,
  take: (window, bytes) => window.take(bytes),
  encode: (text) => Buffer.from(text),
};

/**
 * Bytes of the UTF-8 character at `at`. Bytes that are none are cut as decoders do: the longest
 * beginning of a character, or one byte, becomes one U+FFFD. (Unicode 3.9, "maximal subpart")
 */
function utf8Bytes(bytes: Buffer, at: number, end: number): number {
  const lead = bytes[at] as number;
  if (lead < 0xc2 || lead > 0xf4) return 1;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte excludes forms that are too long, surrogates and what is above U+10FFFF.
  let low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  let high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  for (let i = 1; i < length; i++) {
    if (at + i >= end) return 0;
    const byte = bytes[at + i] as number;
    if (byte < low || byte > high) return i;
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

/** Text whose encoding is `name`; the members that differ are given. */
function textCodec(name: BufferEncoding, differs: Partial<Codec<string>>): Codec<string> {
  return {
    width: 1,
    newlineBytes: 1,
    charBytes: () => 1,
    lineEnd: byteLineEnd,
    take(window: ByteWindow, bytes: number): string {
      // First the text, which may be too long for a string: then nothing was taken.
      const text = window.data.toString(name, window.start, window.start + bytes);
      window.skip(bytes);
      return text;
    },
    encode: (text) => Buffer.from(text, name),
    ...differs,
  };
}

const utf8: Codec<string> = textCodec('utf8', { width: 0, charBytes: utf8Bytes });

function isSurrogate(bytes: Buffer, at: number, first: number): boolean {
  return ((bytes[at + 1] as number) & 0xfc) === first;
}

const utf16le: Codec<string> = textCodec('utf16le', {
  width: 0,
  newlineBytes: 2,
  charBytes(bytes, at, end) {
    if (at + 2 > end) return 0;
    if (!isSurrogate(bytes, at, 0xd8)) return 2;
    if (at + 4 > end) return 0;
    return isSurrogate(bytes, at + 2, 0xdc) ? 4 : 2;
  },
  lineEnd(bytes, start, from, end) {
    let at = bytes.indexOf(newline, from);
    while (at >= 0 && at + 1 < end) {
      if ((at - start) % 2 === 0 && bytes[at + 1] === 0) return at + 2;
      at = bytes.indexOf(newline, at + 1);
    }
    return -1;
  },
  take(window, bytes) {
    // Half a code unit at the end of the file: Node would leave it out.
    const half = bytes % 2 === 1 ? replacement : '';
    const text = window.data.toString('utf16le', window.start, window.start + bytes) + half;
    window.skip(bytes);
    return text;
  },
});

const byName: ReadonlyMap<string, Codec<string>> = new Map([
  ['utf8', utf8],
  ['utf16le', utf16le],
  ['ucs2', utf16le],
  ['latin1', textCodec('latin1', {})],
  ['binary', textCodec('latin1', {})],
  ['ascii', textCodec('ascii', {})],
]);

/**
 * 'utf8' (the default), 'utf16le', 'latin1' or 'ascii' with their other names. TypeError for what
 * is no encoding of text: base64, base64url and hex write bytes as text, not text as bytes.
 */
export function textCodecOf(encoding: unknown): Codec<string> {
  const name = typeof encoding === 'string' ? encoding.toLowerCase().replace('-', '') : '';
  const codec = byName.get(name);
  if (codec !== undefined) return codec;
  const known = "'utf8', 'utf16le', 'latin1' or 'ascii'";
  throw argTypeError('options.encoding', known, encoding);
}
