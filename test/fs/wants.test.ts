/** What reads take from the window, at every split of the input. */
import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { ByteWindow } from '../../lib/fs/byte-window.ts';
import { bytesCodec, type Codec, textCodecOf } from '../../lib/fs/codecs.ts';
import {
  notYet,
  type Want,
  WantAll,
  WantInto,
  WantLine,
  WantLines,
  WantNextLine,
  WantSome,
} from '../../lib/fs/wants.ts';
import { Dice } from './support.ts';

const utf8 = textCodecOf('utf8');
const utf16 = textCodecOf('utf16le');

/** A file that comes in these parts, each when a read asks for more. */
class Source {
  readonly window: ByteWindow = new ByteWindow();
  readonly #parts: Buffer[];

  constructor(parts: readonly Buffer[]) {
    this.#parts = parts.filter((part) => part.length > 0);
  }

  read<T>(want: Want<T>): T {
    for (let ended = false; ; ) {
      const result = want.take(this.window, ended);
      if (result !== notYet) return result as T;
      expect(ended).toBe(false);
      expect(want.missingBytes).toBeGreaterThan(0);
      const part = this.#parts.shift();
      ended = part === undefined;
      if (part === undefined) continue;
      this.window.reserve(part.length);
      part.copy(this.window.data, this.window.end);
      this.window.end += part.length;
    }
  }

  /** Reads until nothing comes; checks the position after each. */
  all<D extends string | Buffer>(codec: Codec<D>, make: () => Want<D>): D[] {
    const found: D[] = [];
    for (;;) {
      const before = this.window.offset;
      const one = this.read(make());
      if (one.length === 0) return found;
      if (typeof one !== 'string') expect(this.window.offset - before).toBe(one.length);
      else if (!one.includes('\uFFFD')) {
        expect(this.window.offset - before).toBe(codec.encode(one).length);
      }
      found.push(one);
    }
  }
}

/** Every way to cut it into three. */
function* splits(whole: Buffer): Generator<Buffer[]> {
  for (let first = 0; first <= whole.length; first++) {
    for (let second = first; second <= whole.length; second++) {
      yield [whole.subarray(0, first), whole.subarray(first, second), whole.subarray(second)];
    }
  }
}

function bytewise(whole: Buffer): Buffer[] {
  return [...whole].map((byte) => Buffer.of(byte));
}

const mixed = 'aé€😀\r\nz\n\n\u2028ß😀';

describe('characters', () => {
  test('read(n) gives n code points at every split of UTF-8', () => {
    for (let count = 1; count <= 4; count++) {
      const points = [...mixed];
      const wanted: string[] = [];
      while (points.length > 0) wanted.push(points.splice(0, count).join(''));
      for (const parts of splits(Buffer.from(mixed))) {
        const source = new Source(parts);
        expect(source.all(utf8, () => new WantSome(utf8, count))).toEqual(wanted);
      }
    }
  });

  test('read(n) gives n code points at every split of UTF-16', () => {
    for (const parts of splits(Buffer.from(mixed, 'utf16le'))) {
      const source = new Source(parts);
      expect(source.all(utf16, () => new WantSome(utf16, 1))).toEqual([...mixed]);
    }
  });

  test('a byte is a character in latin1 and ascii', () => {
    for (const name of ['latin1', 'binary', 'ascii']) {
      const codec = textCodecOf(name);
      const source = new Source(bytewise(Buffer.from([0x61, 0xe9, 0x7a])));
      const second = name === 'ascii' ? 'i' : 'é';
      expect(source.all(codec, () => new WantSome(codec, 2))).toEqual([`a${second}`, 'z']);
    }
  });

  test('read(0) gives nothing and wants nothing', () => {
    const source = new Source([Buffer.from('abc')]);
    expect(source.read(new WantSome(utf8, 0))).toBe('');
    expect(source.read(new WantSome(bytesCodec, 0))).toEqual(Buffer.alloc(0));
    expect(source.read(new WantAll(utf8))).toBe('abc');
  });

  test('a character that the file ends in becomes U+FFFD, and is taken', () => {
    for (const cut of [1, 2, 3]) {
      const source = new Source([Buffer.from('a😀').subarray(0, 1 + cut)]);
      expect(source.all(utf8, () => new WantSome(utf8, 1))).toEqual(['a', '\uFFFD']);
      expect(source.window.offset).toBe(1 + cut);
    }
    const half = new Source([Buffer.from([0x61, 0x00, 0x62])]);
    expect(half.all(utf16, () => new WantSome(utf16, 1))).toEqual(['a', '\uFFFD']);
    const lone = new Source([Buffer.from('\ud83d', 'utf16le')]);
    expect(lone.all(utf16, () => new WantSome(utf16, 5))).toEqual(['\ud83d']);
  });

  test('bytes that are no UTF-8 are cut as by the decoders of Node and the Web', () => {
    // Of all kinds of bytes, so that sequences begin, break off and are forbidden.
    const kinds = [0x00, 0x0a, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2];
    kinds.push(0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff);
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    for (let seed = 1; seed <= 3000; seed++) {
      const dice = new Dice(seed);
      const bytes = Buffer.from(Array.from({ length: 12 }, () => dice.pick(kinds)));
      const wanted = decoder.decode(bytes);
      const count = 1 + dice.below(3);
      const source = new Source(dice.below(2) === 0 ? bytewise(bytes) : [bytes]);
      const pieces = source.all(utf8, () => new WantSome(utf8, count));
      const shown = `seed ${seed}: ${bytes.toString('hex')}`;
      expect(pieces.join(''), shown).toBe(wanted);
      expect(pieces.slice(0, -1).every((piece) => [...piece].length === count)).toBe(true);
      expect(new Source([bytes]).read(new WantAll(utf8)), shown).toBe(wanted);
    }
  });
});

describe('lines', () => {
  const endings: [string, string[]][] = [
    ['ab\ncd\n', ['ab\n', 'cd\n']],
    ['ab\r\ncd', ['ab\r\n', 'cd']],
    ['\n\r\n\n', ['\n', '\r\n', '\n']],
    ['a\rb\r', ['a\rb\r']],
    ['é€\n😀\r\n', ['é€\n', '😀\r\n']],
    // A newline in the upper or lower half of a code unit is none.
    ['\u0a0a\u000a\u0a00\u010a', ['\u0a0a\n', '\u0a00\u010a']],
  ];

  test.each(endings)('%j splits into %j at every split of the input', (whole, lines) => {
    for (const codec of [utf8, utf16]) {
      for (const parts of splits(codec.encode(whole))) {
        expect(new Source(parts).all(codec, () => new WantLine(codec))).toEqual(lines);
        expect(new Source(parts).read(new WantLines(codec))).toEqual(lines);
      }
    }
    for (const parts of splits(Buffer.from(whole))) {
      const found = new Source(parts).all(bytesCodec, () => new WantLine(bytesCodec));
      expect(found.map(String)).toEqual(lines);
    }
  });

  test('a loop gives them without \\n and \\r\\n, and ends', () => {
    for (const parts of splits(Buffer.from('ab\r\n\ncd\re\n\r\nf'))) {
      const source = new Source(parts);
      const found: string[] = [];
      for (;;) {
        const step = source.read(new WantNextLine(utf8));
        if (step.done) break;
        found.push(step.value);
      }
      expect(found).toEqual(['ab', '', 'cd\re', '', 'f']);
    }
  });

  test('a newline is searched once, also in a line of many chunks', () => {
    const chunk = Buffer.alloc(1000, 'x');
    const parts = [...new Array(2000).fill(chunk), Buffer.from('\nrest')];
    const source = new Source(parts);
    let searchedBytes = 0;
    const counting: Codec<Buffer> = {
      ...bytesCodec,
      lineEnd(bytes, start, from, end) {
        searchedBytes += end - from;
        return bytesCodec.lineEnd(bytes, start, from, end);
      },
    };
    expect(source.read(new WantLine(counting)).length).toBe(2_000_001);
    expect([searchedBytes, source.window.offset]).toEqual([2_000_005, 2_000_001]);
  });
});

describe('readInto', () => {
  test('fills the target at every split, and less at the end', () => {
    for (const parts of splits(Buffer.from('0123456789'))) {
      const source = new Source(parts);
      const target = Buffer.alloc(4);
      const found: string[] = [];
      for (let count = 4; count === 4; ) {
        count = source.read(new WantInto(target));
        found.push(target.toString('latin1', 0, count));
      }
      expect(found).toEqual(['0123', '4567', '89']);
      expect(source.read(new WantInto(target))).toBe(0);
    }
  });
});

describe('ByteWindow', () => {
  test('hands out memory that is never written again', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const dice = new Dice(seed);
      const whole = Buffer.from(Array.from({ length: 5000 }, () => dice.below(256)));
      const parts: Buffer[] = [];
      for (let at = 0; at < whole.length; ) {
        const size = 1 + dice.below(700);
        parts.push(whole.subarray(at, at + size));
        at += size;
      }
      const source = new Source(parts);
      const taken = source.all(bytesCodec, () => new WantSome(bytesCodec, 1 + dice.below(900)));
      expect(Buffer.concat(taken).equals(whole), `seed ${seed}`).toBe(true);
    }
  });

  test('gives a big read without a copy, and a small one without the memory around it', () => {
    const source = new Source([Buffer.alloc(60_000, 'a'), Buffer.alloc(10, 'b')]);
    const big = source.read(new WantSome(bytesCodec, 60_000));
    expect(big.buffer.byteLength).toBe(65_536);
    const small = source.read(new WantSome(bytesCodec, 10));
    expect(small.toString()).toBe('bbbbbbbbbb');
    expect(small.buffer).not.toBe(source.window.data.buffer);
  });

  test('does not keep much memory when it is empty', () => {
    const source = new Source([Buffer.alloc(5_000_000, 'a'), Buffer.from('b')]);
    expect(source.read(new WantAll(utf8)).length).toBe(5_000_001);
    expect(source.window.data.length).toBe(0);
  });
});

describe('encodings', () => {
  test('have the names of Node, in any case', () => {
    for (const name of ['utf8', 'utf-8', 'UTF-8', 'Utf8']) expect(textCodecOf(name)).toBe(utf8);
    for (const name of ['utf16le', 'utf-16le', 'ucs2', 'UCS-2']) {
      expect(textCodecOf(name)).toBe(utf16);
    }
    expect(textCodecOf('latin1').encode('é')).toEqual(Buffer.from([0xe9]));
    expect(textCodecOf('binary').encode('é')).toEqual(Buffer.from([0xe9]));
    expect(textCodecOf('ascii').encode('a')).toEqual(Buffer.from('a'));
  });

  test.each(['hex', 'base64', 'base64url', 'utf16be', 'nonsense', '', 1, undefined, {}])(
    '%j is none',
    (name) => {
      expect(() => textCodecOf(name)).toThrow(
        expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }),
      );
    },
  );
});
