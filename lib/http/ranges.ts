/**
 * Byte ranges and preconditions of RFC 9110.
 *
 * In: header values and what is known of a file. Out: decisions. Never: reading.
 */
import { trimBlanks } from './headers.ts';

export interface ByteRange {
  readonly start: number;
  /** Behind the last byte. */
  readonly end: number;
}

/** More in one request: the whole file is the answer, as the RFC allows. */
const maxRanges = 8;

/**
 * Null: no ranges, malformed, or too many (the whole file is sent); an empty list: none of them
 * fits (416).
 */
export function parseRanges(header: string | null, sizeBytes: number): ByteRange[] | null {
  const list = header === null ? null : /^bytes=([\d\s,-]+)$/i.exec(header);
  if (list === null) return null;
  const found: ByteRange[] = [];
  const specs = (list[1] as string).split(',');
  if (specs.length > maxRanges) return null;
  for (const spec of specs) {
    // A number of any length: what is too large for a number is behind every file.
    const parts = /^\s*(\d*)-(\d*)\s*$/.exec(spec);
    if (parts === null) return null;
    const [first, last] = [parts[1] as string, parts[2] as string];
    if (first === '' && last === '') return null;
    if (first === '') {
      const count = Math.min(Number(last), sizeBytes);
      if (count > 0) found.push({ start: sizeBytes - count, end: sizeBytes });
      continue;
    }
    const start = Number(first);
    if (last !== '' && Number(last) < start) return null;
    if (start >= sizeBytes) continue;
    found.push({ start, end: last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes) });
  }
  const sum = found.reduce((bytes, { start, end }) => bytes + end - start, 0);
  // Overlapping ranges would send more than the file.
  return sum > sizeBytes ? null : found;
}

/** What is known of a file. */
export interface Validators {
  readonly etag: string;
  readonly modifiedMs: number;
}

function matches(header: string, etag: string, weak: boolean): boolean {
  if (trimBlanks(header) === '*') return true;
  const plain = (tag: string): string => (weak ? tag.replace(/^W\//, '') : tag);
  // A comma inside of quotes is the tag's own.
  const tags = header.match(/(?:W\/)?"[^"]*"|[^\s,"]+/g) ?? [];
  return tags.some((tag) => plain(tag) === plain(etag));
}

/** HTTP dates have whole seconds. */
function notAfter(modifiedMs: number, date: string): boolean {
  const ms = Date.parse(date);
  return !Number.isNaN(ms) && Math.floor(modifiedMs / 1000) * 1000 <= ms;
}

/** 412, 304, or null: go on. (RFC 9110 13.2.2) */
export function checkConditions(
  method: string,
  header: (name: string) => string | null,
  { etag, modifiedMs }: Validators,
): 412 | 304 | null {
  const ifMatch = header('if-match');
  const ifUnmodified = header('if-unmodified-since');
  if (ifMatch !== null) {
    if (!matches(ifMatch, etag, false)) return 412;
  } else if (ifUnmodified !== null && !Number.isNaN(Date.parse(ifUnmodified))) {
    if (!notAfter(modifiedMs, ifUnmodified)) return 412;
  }
  const ifNone = header('if-none-match');
  const ifModified = header('if-modified-since');
  const reads = method === 'GET' || method === 'HEAD';
  if (ifNone !== null) {
    if (matches(ifNone, etag, true)) return reads ? 304 : 412;
  } else if (reads && ifModified !== null && notAfter(modifiedMs, ifModified)) {
    return 304;
  }
  return null;
}

/** Whether a range still means the same file. */
export function rangeHolds(ifRange: string | null, { etag, modifiedMs }: Validators): boolean {
  if (ifRange === null) return true;
  if (ifRange.startsWith('"')) return ifRange === etag;
  if (ifRange.startsWith('W/')) return false;
  return Date.parse(ifRange) === Math.floor(modifiedMs / 1000) * 1000;
}
