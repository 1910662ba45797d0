/**
 * Checks of numbers that users give. Durations are milliseconds, sizes are bytes.
 *
 * In: a name and what was given. Out: the number. Never: silent clamping or conversion.
 */
import { argTypeError, rangeError } from './errors.ts';

/** The largest finite duration or deadline, in ms: beyond it doubles lose whole milliseconds. */
export const maxMs: number = 2 ** 53;

/** Milliseconds. Infinity means never; negative means now. NaN and non-numbers: TypeError. */
export function checkMs(name: string, value: unknown): number {
  if (typeof value !== 'number' || Number.isNaN(value)) {
    throw argTypeError(name, 'a number of milliseconds', value);
  }
  return value;
}

/** A whole number within [min, max]. Non-numbers: TypeError; others: RangeError. */
export function checkInteger(
  name: string,
  value: unknown,
  min: number = 0,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number') throw argTypeError(name, 'an integer', value);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw rangeError(name, `an integer >= ${min} and <= ${max}`, value);
  }
  return value;
}

/** A number of things; Infinity means no bound. */
export function checkCount(name: string, value: unknown, min: number = 0): number {
  if (value === Infinity) return value;
  return checkInteger(name, value, min);
}

/** A number of bytes; Infinity means no bound. */
export function checkBytes(name: string, value: unknown, min: number = 0): number {
  return checkCount(name, value, min);
}

/** 0 … 65535. */
export function checkPort(name: string, value: unknown): number {
  return checkInteger(name, value, 0, 65_535);
}

/** Beyond it fractions are left alone: computed delays have them, hardly ever meant in seconds. */
const secondsBelow = 10;
const maxNoted = 100;
const noted: Set<string> = new Set();

/**
 * For debug mode: warns, once per kind and value, of a delay that looks like seconds. That is one
 * between 0 and 10 with a fraction of at most two digits, such as 0.5 or 1.25: people write those,
 * while delays that are computed have longer fractions, and whole milliseconds are common.
 */
export function noteSeconds(what: string, ms: number): void {
  if (!(ms > 0 && ms < secondsBelow) || Number.isInteger(ms)) return;
  if (Number(ms.toFixed(2)) !== ms || noted.size >= maxNoted) return;
  const text = `${what} of ${ms} ms looks like seconds: uvio counts milliseconds`;
  if (noted.has(text)) return;
  noted.add(text);
  process.emitWarning(text, { type: 'UvioWarning', code: 'UVIO_MILLISECONDS' });
}
