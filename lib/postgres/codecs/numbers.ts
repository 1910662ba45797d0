/**
 * bool, integers, floats, oid kinds and numeric.
 *
 * In: binary fields, or numbers, bigints and decimal text. Out: numbers, bigints, text. Never:
 * a value that was rounded without a word.
 */
import type { Buffer } from 'node:buffer';
import type { Writer } from '../writer.ts';
import { type Codec, checkBytes, FieldError, type Inline, refuse } from './codec.ts';

export const boolCodec: Codec = {
  name: 'bool',
  binary: true,
  inline: 'bool',
  decode(buffer, _view, at, end) {
    checkBytes('bool', at, end, 1);
    return buffer[at] !== 0;
  },
  encode(out, value) {
    if (typeof value !== 'boolean') throw refuse('a boolean', value);
    out.byte(value ? 1 : 0);
  },
};

const digits = /^[+-]?\d{1,40}$/;

/** A whole number from a number, a bigint or decimal digits. */
export function wholeNumber(value: unknown, min: number, max: number): number {
  let whole: unknown = value;
  if (typeof value === 'bigint' || (typeof value === 'string' && digits.test(value))) {
    whole = Number(value);
  }
  if (typeof whole !== 'number' || !Number.isInteger(whole) || whole < min || whole > max) {
    throw refuse(`an integer from ${min} to ${max}`, value);
  }
  return whole;
}

function smallInt(name: string, inline: Inline, bytes: 2 | 4, signed: boolean): Codec {
  const max = signed ? 2 ** (bytes * 8 - 1) - 1 : 2 ** (bytes * 8) - 1;
  const min = signed ? -max - 1 : 0;
  return {
    name,
    binary: true,
    inline,
    decode(_buffer, view, at, end) {
      checkBytes(name, at, end, bytes);
      if (bytes === 2) return view.getInt16(at);
      return signed ? view.getInt32(at) : view.getUint32(at);
    },
    encode(out, value) {
      const whole = wholeNumber(value, min, max);
      if (bytes === 2) out.int16(whole);
      else out.int32(whole | 0);
    },
  };
}

export const int2Codec: Codec = smallInt('int2', 'int2', 2, true);
export const int4Codec: Codec = smallInt('int4', 'int4', 4, true);

/** oid, xid and cid. */
export function oidCodec(name: string): Codec {
  return smallInt(name, 'oid', 4, false);
}

const minInt8 = -(2n ** 63n);
const maxInt8 = 2n ** 63n - 1n;

function toInt8(value: unknown): bigint {
  let big: bigint | undefined;
  if (typeof value === 'bigint') big = value;
  else if (typeof value === 'number' && Number.isSafeInteger(value)) big = BigInt(value);
  else if (typeof value === 'string' && digits.test(value)) big = BigInt(value.replace('+', ''));
  if (big === undefined || big < minInt8 || big > maxInt8) {
    throw refuse('a bigint or safe integer within 64 bits', value);
  }
  return big;
}

function encodeInt8(out: Writer, value: unknown): void {
  if (typeof value === 'number' && Number.isSafeInteger(value)) {
    out.ensure(8);
    const high = Math.floor(value / 2 ** 32);
    out.view.setInt32(out.at, high);
    out.view.setUint32(out.at + 4, value - high * 2 ** 32);
    out.at += 8;
  } else {
    out.int64(toInt8(value));
  }
}

/** As a bigint, a number (RangeError beyond 2^53) or text. */
export function int8Codec(kind: 'bigint' | 'number' | 'string', name: string = 'int8'): Codec {
  if (kind === 'bigint') {
    return {
      name,
      binary: true,
      inline: 'int8',
      decode(_buffer, view, at, end) {
        checkBytes(name, at, end, 8);
        return view.getBigInt64(at);
      },
      encode: encodeInt8,
    };
  }
  return {
    name,
    binary: true,
    decode(_buffer, view, at, end) {
      checkBytes(name, at, end, 8);
      if (kind === 'string') return String(view.getBigInt64(at));
      const whole = view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4);
      if (Number.isSafeInteger(whole)) return whole;
      throw new RangeError(`${view.getBigInt64(at)} does not fit a number (int8: 'number')`);
    },
    encode: encodeInt8,
  };
}

export const xid8Codec: Codec = {
  name: 'xid8',
  binary: true,
  decode(_buffer, view, at, end) {
    checkBytes('xid8', at, end, 8);
    return view.getBigUint64(at);
  },
  encode(out, value) {
    if (typeof value !== 'bigint' || value < 0n || value >= 2n ** 64n) {
      throw refuse('a bigint of at most 64 bits', value);
    }
    out.int64(BigInt.asIntN(64, value));
  },
};

function toFloat(value: unknown): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint') return Number(value);
  if (typeof value === 'string' && decimal.test(value)) return Number(value);
  throw refuse('a number', value);
}

/** The shortest decimal that is this float4: 0.1 and not 0.10000000149011612. */
function shortFloat4(value: number): number {
  // Up to 2^24 all whole numbers are float4.
  if (!Number.isFinite(value) || (Number.isInteger(value) && Math.abs(value) <= 2 ** 24)) {
    return value;
  }
  for (let precision = 6; precision <= 9; precision++) {
    const short = Number(value.toPrecision(precision));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

export const float4Codec: Codec = {
  name: 'float4',
  binary: true,
  decode(_buffer, view, at, end) {
    checkBytes('float4', at, end, 4);
    return shortFloat4(view.getFloat32(at));
  },
  encode(out, value) {
    const number = toFloat(value);
    const single = Math.fround(number);
    if (!Number.isFinite(single) && Number.isFinite(number)) {
      throw refuse('a number within the range of float4', value);
    }
    out.ensure(4);
    out.view.setFloat32(out.at, single);
    out.at += 4;
  },
};

export const float8Codec: Codec = {
  name: 'float8',
  binary: true,
  inline: 'float8',
  decode(_buffer, view, at, end) {
    checkBytes('float8', at, end, 8);
    return view.getFloat64(at);
  },
  encode: (out, value) => out.float64(toFloat(value)),
};

const SIGN_NEGATIVE = 0x4000;
const SIGN_NAN = 0xc000;
const SIGN_INFINITY = 0xd000;
const SIGN_MINUS_INFINITY = 0xf000;
const pad4 = (digit: number): string => String(digit).padStart(4, '0');

function numericText(view: DataView, at: number, count: number): string {
  const weight = view.getInt16(at + 2);
  const sign = view.getUint16(at + 4);
  const scale = view.getUint16(at + 6);
  if (sign === SIGN_NAN) return 'NaN';
  if (sign === SIGN_INFINITY) return 'Infinity';
  if (sign === SIGN_MINUS_INFINITY) return '-Infinity';
  if (sign !== 0 && sign !== SIGN_NEGATIVE) throw new FieldError('numeric', `sign ${sign}`);
  const digit = (place: number): number => {
    const index = weight - place;
    return index >= 0 && index < count ? view.getUint16(at + 8 + index * 2) : 0;
  };
  let whole = weight >= 0 ? String(digit(weight)) : '0';
  for (let place = weight - 1; place >= 0; place--) whole += pad4(digit(place));
  let text = sign === SIGN_NEGATIVE ? `-${whole}` : whole;
  if (scale > 0) {
    let fraction = '';
    for (let place = -1; fraction.length < scale; place--) fraction += pad4(digit(place));
    text += `.${fraction.slice(0, scale)}`;
  }
  return text;
}

const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,6})?$/;

function writeSpecial(out: Writer, sign: number): void {
  out.int32(0);
  out.int32(sign << 16);
}

/** Decimal text without exponent: [whole, fraction]. */
function plainDecimal(text: string): [string, string] {
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e');
  let [whole = '', fraction = ''] = mantissa.split('.');
  const shift = Number(exponent);
  if (Math.abs(shift) > 131_072) throw refuse('a numeric within its range', text);
  if (shift > 0) {
    fraction = fraction.padEnd(shift, '0');
    whole += fraction.slice(0, shift);
    fraction = fraction.slice(shift);
  } else if (shift < 0) {
    whole = whole.padStart(-shift, '0');
    fraction = whole.slice(shift) + fraction;
    whole = whole.slice(0, shift);
  }
  return [whole.replace(/^0+/, ''), fraction];
}

function writeNumeric(out: Writer, text: string): void {
  const negative = text.startsWith('-');
  const [whole, fraction] = plainDecimal(text.replace(/^[+-]/, ''));
  const scale = fraction.length;
  const groups: number[] = [];
  const left = whole.padStart(Math.ceil(whole.length / 4) * 4, '0');
  for (let i = 0; i < left.length; i += 4) groups.push(Number(left.slice(i, i + 4)));
  let weight = groups.length - 1;
  const right = fraction.padEnd(Math.ceil(scale / 4) * 4, '0');
  for (let i = 0; i < right.length; i += 4) groups.push(Number(right.slice(i, i + 4)));
  while (groups.length > 0 && groups[0] === 0) {
    groups.shift();
    weight--;
  }
  while (groups.length > 0 && groups[groups.length - 1] === 0) groups.pop();
  if (groups.length === 0) weight = 0;
  if (weight > 32_767 || scale > 16_383) throw refuse('a numeric within its range', text);
  out.int16(groups.length);
  out.int16(weight);
  out.int16(negative && groups.length > 0 ? SIGN_NEGATIVE : 0);
  out.int16(scale);
  for (const group of groups) out.int16(group);
}

export const numericCodec: Codec = {
  name: 'numeric',
  binary: true,
  decode(_buffer: Buffer, view, at, end) {
    if (end - at < 8) throw new FieldError('numeric', `${end - at} bytes`);
    const count = view.getUint16(at);
    if (end - at !== 8 + count * 2) throw new FieldError('numeric', `${count} digits`);
    return numericText(view, at, count);
  },
  encode(out, value) {
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'bigint') {
      throw refuse('decimal text, a number or a bigint', value);
    }
    const text = String(value).trim();
    if (/^nan$/i.test(text)) writeSpecial(out, SIGN_NAN);
    else if (/^\+?inf(inity)?$/i.test(text)) writeSpecial(out, SIGN_INFINITY);
    else if (/^-inf(inity)?$/i.test(text)) writeSpecial(out, SIGN_MINUS_INFINITY);
    else if (decimal.test(text)) writeNumeric(out, text);
    else throw refuse('decimal text, a number or a bigint', value);
  },
};
