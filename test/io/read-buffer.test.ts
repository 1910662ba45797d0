import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { ReadBuffer } from '../../lib/io/read-buffer.ts';

function filled(...parts: string[]): ReadBuffer {
  const buffer = new ReadBuffer();
  for (const part of parts) buffer.push(Buffer.from(part));
  return buffer;
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('taking', () => {
  test('a chunk that is wanted whole is the very chunk that was pushed', () => {
    const chunk = Buffer.from('hello');
    const buffer = new ReadBuffer();
    buffer.push(chunk);
    expect(buffer.take(5)).toBe(chunk);
    expect(buffer.bytes).toBe(0);
  });

  test('a part of a chunk shares its memory', () => {
    const chunk = Buffer.from('hello');
    const buffer = new ReadBuffer();
    buffer.push(chunk);
    const part = buffer.take(2);
    expect(part.toString()).toBe('he');
    expect(part.buffer).toBe(chunk.buffer);
    expect(buffer.take(3).toString()).toBe('llo');
  });

  test('bytes of several chunks are joined in order', () => {
    const buffer = filled('ab', 'cd', 'ef');
    expect(buffer.take(5).toString()).toBe('abcde');
    expect(buffer.take(1).toString()).toBe('f');
  });

  test('takeChunk gives what is left of the front chunk', () => {
    const buffer = filled('abc', 'de');
    buffer.take(1);
    expect(buffer.takeChunk().toString()).toBe('bc');
    expect(buffer.takeChunk().toString()).toBe('de');
  });

  test('takeInto fills as far as there are bytes', () => {
    const buffer = filled('abc', 'de');
    const target = Buffer.alloc(4, '.');
    expect(buffer.takeInto(target)).toBe(4);
    expect(target.toString()).toBe('abcd');
    expect(buffer.takeInto(target)).toBe(1);
    expect(target.toString()).toBe('ebcd');
  });

  test('10,000 chunks of one byte come out in order and cost no view each', () => {
    const buffer = new ReadBuffer();
    const sent = Array.from({ length: 10_000 }, (_, i) => i & 255);
    for (const byte of sent) buffer.push(Buffer.from([byte]));
    const kept = buffer.take(20);
    for (const byte of sent) buffer.push(Buffer.from([byte]));
    const rest = buffer.take(buffer.bytes);
    expect([...kept, ...rest]).toEqual([...sent, ...sent]);
    expect([...kept]).toEqual(sent.slice(0, 20));
  });

  test('any mixture of pushes and takes keeps all bytes in order', () => {
    const buffer = new ReadBuffer();
    const out: Buffer[] = [];
    let next = 0;
    let state = 7;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % below;
    };
    for (let round = 0; round < 3_000; round++) {
      const chunk = Buffer.alloc(random(40) === 0 ? 3_000 : 1 + random(20));
      for (let i = 0; i < chunk.length; i++) chunk[i] = next++ & 255;
      buffer.push(chunk);
      if (random(3) > 0) out.push(buffer.take(random(buffer.bytes + 1)));
      else if (random(2) === 0 && buffer.bytes > 0) out.push(buffer.takeChunk());
    }
    out.push(buffer.take(buffer.bytes));
    const all = Buffer.concat(out);
    expect(all.length).toBe(next);
    expect(all.every((byte, i) => byte === (i & 255))).toBe(true);
  });
});

describe('searching', () => {
  test('a separator is found at every split of the bytes', () => {
    const text = 'abxabyabzab';
    for (let first = 1; first < text.length; first++) {
      for (let second = first; second < text.length; second++) {
        const parts = [text.slice(0, first), text.slice(first, second), text.slice(second)];
        const buffer = filled(...parts.filter((part) => part !== ''));
        for (const separator of ['a', 'abz', 'xabyab', 'zab', text]) {
          expect(buffer.indexOf(bytes(separator), 0)).toBe(text.indexOf(separator));
        }
        expect(buffer.indexOf(bytes('abq'), 0)).toBe(-1);
        expect(buffer.indexOf(bytes('ab'), 4)).toBe(6);
      }
    }
  });

  test('taken bytes are not found any more', () => {
    const buffer = filled('aXb', 'Xc');
    buffer.take(2);
    expect(buffer.indexOf(bytes('X'), 0)).toBe(1);
    expect(buffer.indexOf(bytes('bX'), 0)).toBe(0);
    expect(buffer.indexOf(bytes('aX'), 0)).toBe(-1);
  });
});

describe('lines', () => {
  test('lose \\n or \\r\\n, but no other \\r', () => {
    const buffer = filled('one\ntwo\r\nth\rree\n\r\n\n');
    const lines: string[] = [];
    while (buffer.bytes > 0) lines.push(buffer.takeLine(buffer.indexOf(bytes('\n'), 0) + 1));
    expect(lines).toEqual(['one', 'two', 'th\rree', '', '']);
  });

  test('a character that is cut in two by chunks stays whole', () => {
    const buffer = new ReadBuffer();
    const data = Buffer.from('grüße\n');
    for (const byte of data) buffer.push(Buffer.from([byte]));
    expect(buffer.takeLine(data.length)).toBe('grüße');
  });
});
