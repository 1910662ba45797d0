/** Arrays whose elements have one length, and what only looks like them. */
import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';
import { type Codec, FieldError } from '../../lib/postgres/codecs/codec.ts';
import { arrayCodec } from '../../lib/postgres/codecs/containers.ts';
import * as numbers from '../../lib/postgres/codecs/numbers.ts';
import { int32 } from './fake.ts';

const oid = 77;

function read(codec: Codec, bytes: Buffer): unknown {
  // Not at the beginning of its memory, and not at its end.
  const memory = Buffer.concat([Buffer.alloc(3, 0xff), bytes, Buffer.alloc(9)]);
  const view = new DataView(memory.buffer, memory.byteOffset, memory.length);
  return arrayCodec(codec, oid).decode(memory, view, 3, 3 + bytes.length);
}

function field(bytes: Buffer | null): Buffer {
  return bytes === null ? int32(-1) : Buffer.concat([int32(bytes.length), bytes]);
}

function array(sizes: readonly number[], fields: readonly (Buffer | null)[]): Buffer {
  const dimensions = sizes.flatMap((size) => [int32(size), int32(1)]);
  const parts = [int32(sizes.length), int32(0), int32(oid), ...dimensions];
  return Buffer.concat([...parts, ...fields.map(field)]);
}

function double(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes;
}

const short = Buffer.from([0xff, 0xfe]);
const long = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
const kinds: [string, Codec, Buffer, unknown][] = [
  ['int2', numbers.int2Codec, short, -2],
  ['int4', numbers.int4Codec, int32(-7), -7],
  ['oid', numbers.oidCodec('oid'), int32(-7), 2 ** 32 - 7],
  ['int8', numbers.int8Codec('bigint'), long, -2n],
  ['float8', numbers.float8Codec, double(1.5), 1.5],
  ['bool', numbers.boolCodec, Buffer.from([1]), true],
];

test.each(kinds)('elements of %s', (_name, codec, bytes, value) => {
  for (const count of [1, 2, 100]) {
    const [list, values] = [Array(count).fill(bytes), Array(count).fill(value)];
    expect(read(codec, array([count], list))).toEqual(values);
    expect(read(codec, array([count + 1], [...list, null]))).toEqual([...values, null]);
    expect(read(codec, array([2, count], [...list, ...list]))).toEqual([values, values]);
    for (const wrong of [count - 1, count + 1, -1, 2 ** 31 - 1]) {
      expect(() => read(codec, array([wrong], list))).toThrow(FieldError);
    }
  }
  expect(read(codec, array([], []))).toEqual([]);
  const whole = array([2], [bytes, bytes]);
  for (let length = 0; length < whole.length; length++) {
    expect(() => read(codec, whole.subarray(0, length))).toThrow(FieldError);
  }
  const wrong = array([2], [bytes, Buffer.concat([bytes, bytes])]);
  expect(() => read(codec, wrong)).toThrow(FieldError);
});
