/**
 * date, time, timetz, timestamp, timestamptz and interval.
 *
 * In: binary fields, or Date, ISO text and intervals. Out: Date (in UTC, milliseconds; infinity is
 * the number ±Infinity, of an interval all three) or text with microseconds. Never: the time zone
 * of this machine.
 */
import type { Writer } from '../writer.ts';
import {
  dateText,
  parseDate,
  parseTime,
  parseTimestamp,
  parseZone,
  timestampText,
  timeText,
  zoneText,
} from './calendar.ts';
import { type Codec, checkBytes, hasOnly, refuse } from './codec.ts';

/** 2000-01-01 in milliseconds of Date. */
const epochMs = 946_684_800_000;
const dayMs = 86_400_000;
const positive = 2 ** 31 - 1;
const negative = -(2 ** 31);
const infiniteMicros = 2n ** 63n - 1n;
const minusInfiniteMicros = -(2n ** 63n);
const maxDateMs = 8.64e15;

/** `infinity` as what a column of dates gives: a number, or text. */
function infinity(sign: 1 | -1, text: boolean): unknown {
  if (text) return sign > 0 ? 'infinity' : '-infinity';
  return sign * Infinity;
}

function signOf(value: unknown): 1 | -1 | 0 {
  if (value === Infinity || value === 'infinity') return 1;
  return value === -Infinity || value === '-infinity' ? -1 : 0;
}

function madeDate(ms: number, type: string): Date {
  if (Math.abs(ms) > maxDateMs) {
    throw new RangeError(`A ${type} beyond the years of Date (use dates: 'string')`);
  }
  return new Date(ms);
}

function dateMs(value: unknown, expected: string): number {
  if (!(value instanceof Date)) throw refuse(expected, value);
  const ms = value.getTime();
  if (Number.isNaN(ms)) throw refuse('a valid Date', value);
  return ms;
}

export function dateCodec(kind: 'date' | 'string'): Codec {
  const text = kind === 'string';
  return {
    name: 'date',
    binary: true,
    decode(_buffer, view, at, end) {
      checkBytes('date', at, end, 4);
      const days = view.getInt32(at);
      if (days === positive) return infinity(1, text);
      if (days === negative) return infinity(-1, text);
      return text ? dateText(days) : madeDate(days * dayMs + epochMs, 'date');
    },
    encode(out, value) {
      const sign = signOf(value);
      if (sign !== 0) out.int32(sign > 0 ? positive : negative);
      else if (typeof value === 'string') out.int32(parseDate(value));
      else {
        const ms = dateMs(value, "a Date or text such as '2000-01-31'");
        out.int32(Math.floor((ms - epochMs) / dayMs));
      }
    },
  };
}

function writeMicros(out: Writer, value: unknown, zoned: boolean): void {
  const sign = signOf(value);
  if (sign !== 0) {
    out.int64(sign > 0 ? infiniteMicros : minusInfiniteMicros);
  } else if (typeof value === 'string') {
    out.int64(parseTimestamp(value, zoned));
  } else {
    const ms = dateMs(value, "a Date or text such as '2000-01-31 12:00:00'") - epochMs;
    const micros = ms * 1000;
    if (!Number.isSafeInteger(micros)) {
      out.int64(BigInt(ms) * 1000n);
      return;
    }
    const high = Math.floor(micros / 2 ** 32);
    out.int32(high);
    out.int32(micros - high * 2 ** 32);
  }
}

export function timestampCodec(kind: 'date' | 'string', zoned: boolean): Codec {
  const name = zoned ? 'timestamptz' : 'timestamp';
  const text = kind === 'string';
  return {
    name,
    binary: true,
    decode(_buffer, view, at, end) {
      checkBytes(name, at, end, 8);
      const high = view.getInt32(at);
      const micros = high * 2 ** 32 + view.getUint32(at + 4);
      if (!text && Number.isSafeInteger(micros))
        return new Date(Math.floor(micros / 1000) + epochMs);
      const exact = view.getBigInt64(at);
      if (exact === infiniteMicros) return infinity(1, text);
      if (exact === minusInfiniteMicros) return infinity(-1, text);
      if (text) return timestampText(exact, zoned ? '+00' : '');
      return madeDate(Number(exact / 1000n) + epochMs, name);
    },
    encode: (out, value) => writeMicros(out, value, zoned),
  };
}

export const timeCodec: Codec = {
  name: 'time',
  binary: true,
  decode(_buffer, view, at, end) {
    checkBytes('time', at, end, 8);
    return timeText(view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4));
  },
  encode(out, value) {
    if (typeof value !== 'string') throw refuse("text such as '23:59:59.999'", value);
    out.int64(BigInt(parseTime(value)));
  },
};

export const timetzCodec: Codec = {
  name: 'timetz',
  binary: true,
  decode(_buffer, view, at, end) {
    checkBytes('timetz', at, end, 12);
    const micros = view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4);
    return timeText(micros) + zoneText(-view.getInt32(at + 8));
  },
  encode(out, value) {
    const [, time, zone] = /^([\d:.]+)(Z|[+-].*)$/.exec(String(value)) ?? [];
    if (time === undefined || zone === undefined) throw refuse("text such as '12:00+02'", value);
    out.int64(BigInt(parseTime(time)));
    out.int32(-parseZone(zone));
  },
};

interface Parts {
  readonly months?: unknown;
  readonly days?: unknown;
  readonly microseconds?: unknown;
}

function part(value: unknown, interval: unknown): number {
  if (value === undefined) return 0;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw refuse('an interval { months, days, microseconds } of integers', interval);
}

const intervalKeys: readonly string[] = ['months', 'days', 'microseconds'];

function intervalParts(value: object): [months: number, days: number, micros: number] {
  const { months, days, microseconds } = value as Parts;
  const parts = [part(months, value), part(days, value)] as const;
  if (parts.some((count) => Math.abs(count) > positive)) {
    throw refuse('an interval within its range', value);
  }
  return [...parts, part(microseconds, value)];
}

/** Of PostgreSQL 17: all parts have their outermost value. */
function intervalSign(value: object): 1 | -1 | 0 {
  const { months, days, microseconds } = value as Parts;
  return months === days && days === microseconds ? signOf(months) : 0;
}

export const intervalCodec: Codec = {
  name: 'interval',
  binary: true,
  decode(_buffer, view, at, end) {
    checkBytes('interval', at, end, 16);
    const [high, low] = [view.getInt32(at), view.getUint32(at + 4)];
    const [months, days] = [view.getInt32(at + 12), view.getInt32(at + 8)];
    const most = high === positive && low === 2 ** 32 - 1;
    if (most && months === positive && days === positive) return infiniteInterval(1);
    const least = high === negative && low === 0;
    if (least && months === negative && days === negative) return infiniteInterval(-1);
    return { months, days, microseconds: high * 2 ** 32 + low };
  },
  encode(out, value) {
    if (!hasOnly(value, intervalKeys)) {
      throw refuse('an interval { months, days, microseconds }', value);
    }
    const sign = intervalSign(value);
    if (sign !== 0) {
      out.int64(sign > 0 ? infiniteMicros : minusInfiniteMicros);
      out.int32(sign > 0 ? positive : negative);
      out.int32(sign > 0 ? positive : negative);
      return;
    }
    const [months, days, micros] = intervalParts(value);
    out.int64(BigInt(micros));
    out.int32(days);
    out.int32(months);
  },
};

function infiniteInterval(sign: 1 | -1): object {
  const part = sign * Infinity;
  return { months: part, days: part, microseconds: part };
}
