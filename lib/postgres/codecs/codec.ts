/**
 * What converts the values of one type.
 *
 * In: bytes of a field, or a value of the user. Out: a value, or bytes. Never: a message to the
 * user; `refuse` says what was expected, and who encodes adds which parameter it was.
 */
import type { Buffer } from 'node:buffer';
import { inspect } from 'node:util';
import type { Writer } from '../writer.ts';

/** How the generated row decoder reads a column without a call. */
export type Inline =
  | 'int2'
  | 'int4'
  | 'oid'
  | 'int8'
  | 'bool'
  | 'char'
  | 'float8'
  | 'text'
  | 'bytea'
  | 'json'
  | 'jsonb';

export interface Codec {
  /** The name of the type, for errors. */
  readonly name: string;
  /** The format on the wire; false: text. */
  readonly binary: boolean;
  readonly inline?: Inline;
  /** Of a field that is not null. `buffer` and `view` are of the same memory. */
  decode(buffer: Buffer, view: DataView, at: number, end: number): unknown;
  /** Of a value that is not null. @throws ValueError */
  encode(out: Writer, value: unknown): void;
}

/** A value that a type cannot take; becomes an InterfaceError that names the parameter. */
export class ValueError extends Error {}

export function refuse(expected: string, value: unknown): ValueError {
  const text = inspect(value, { depth: 0, breakLength: Infinity, maxStringLength: 60 });
  const shown = text.length > 80 ? `${text.slice(0, 77)}...` : text;
  return new ValueError(`expected ${expected}, got ${shown}`);
}

/** A field that has not the form of its type: only this query fails. */
export class FieldError extends Error {
  constructor(type: string, why: string) {
    super(`The server sent a malformed ${type}: ${why}`);
  }
}

/**
 * Whether it has some of these keys, and of its own no others: a Date, or what another library has
 * in its place, would be taken as one that has nothing.
 */
export function hasOnly(value: unknown, keys: readonly string[]): value is object {
  if (typeof value !== 'object' || value === null) return false;
  return keys.some((key) => key in value) && Object.keys(value).every((key) => keys.includes(key));
}

export function checkBytes(type: string, at: number, end: number, wanted: number): void {
  if (end - at !== wanted) throw new FieldError(type, `${end - at} bytes instead of ${wanted}`);
}

interface RawReader extends Buffer {
  utf8Slice(start: number, end: number): string;
  latin1Slice(start: number, end: number): string;
}

/** Without the checks of `toString`. */
export function readText(buffer: Buffer, at: number, end: number): string {
  return (buffer as RawReader).utf8Slice(at, end);
}

export function readLatin1(buffer: Buffer, at: number, end: number): string {
  return (buffer as RawReader).latin1Slice(at, end);
}
