/**
 * Checks of bytes that users hand in.
 *
 * In: what was given to a write. Out: data that a backend may take. Never: a needless copy.
 */
import { Buffer } from 'node:buffer';
import { argTypeError, type Data } from '../base/errors.ts';

/** Below this every backend copies before it returns, shared memory or not. */
const shareCheckBytes = 4096;

/**
 * Returns what to write: `data` itself, or a copy when its memory is shared with other threads,
 * which could change it while it waits.
 * @throws TypeError for other types (ERR_INVALID_ARG_TYPE) and for memory that was transferred
 *   away (ERR_UVIO_BUFFER_DETACHED)
 */
export function checkData(data: Data): Data {
  if (typeof data === 'string') return data;
  if (!(data instanceof Uint8Array)) throw argTypeError('data', 'a string or a Uint8Array', data);
  if (isEmpty(data)) checkAttached(data);
  else if (data.length >= shareCheckBytes && data.buffer instanceof SharedArrayBuffer) {
    return Buffer.from(data);
  }
  return data;
}

/**
 * Whether it has no bytes, as whatever is detached. Compiled code of Node 20 and 22 that has seen
 * arrays of resizable memory takes the length that a detached one had, but no element of it.
 */
export function isEmpty(data: Uint8Array): boolean {
  return data.length === 0 || data[0] === undefined;
}

/** @throws TypeError ERR_UVIO_BUFFER_DETACHED. Only a view of no bytes can be detached. */
export function checkAttached(data: Uint8Array): void {
  if (!isEmpty(data)) return;
  const { buffer } = data;
  if (buffer.byteLength > 0 || buffer instanceof SharedArrayBuffer) return;
  try {
    // `ArrayBuffer.detached` is not on Node 20.
    buffer.slice(0, 0);
  } catch {
    throw memoryError('transferred away (detached)');
  }
}

/** ERR_UVIO_BUFFER_DETACHED. @param how it went */
export function memoryError(how: string): TypeError {
  const error = new TypeError(`The memory of the data was ${how}`);
  return Object.assign(error, { code: 'ERR_UVIO_BUFFER_DETACHED' });
}

/** Data in parts, for `StreamHandle.writeMany`. */
export class Parts {
  readonly list: readonly Uint8Array[];
  /** Of all. */
  readonly length: number;

  constructor(list: readonly Uint8Array[], length: number) {
    this.list = list;
    this.length = length;
  }
}

/** Parts are worth a system call of their own from here on: less waits for the end of the turn. */
const gatherWholeBytes = 16 * 1024;
/** On average: shorter parts cost more than copying them (bench/micro/write-lines.mjs). */
const gatherPartBytes = 1024;

/**
 * One piece of data for all parts. A single part is not copied.
 * @param gathers large parts may stay parts
 */
export function joinData(parts: Iterable<Data>): Data;
export function joinData(parts: Iterable<Data>, gathers: boolean): Data | Parts;
export function joinData(parts: Iterable<Data>, gathers: boolean = false): Data | Parts {
  if (typeof parts === 'string' || parts instanceof Uint8Array) {
    throw argTypeError('parts', 'an iterable of strings and Uint8Arrays', parts);
  }
  if (parts === null || typeof parts?.[Symbol.iterator] !== 'function') {
    throw argTypeError('parts', 'an iterable of strings and Uint8Arrays', parts);
  }
  const list: Data[] = [];
  let text = true;
  for (const part of parts) {
    list.push(checkData(part));
    if (typeof part !== 'string') text = false;
  }
  if (list.length === 1) return list[0] as Data;
  if (text) return list.join('');
  const bytes = list.map(toBytes);
  let length = 0;
  for (const one of bytes) length += one.length;
  const large = length > gatherWholeBytes && length >= gatherPartBytes * bytes.length;
  return gathers && large ? new Parts(bytes, length) : Buffer.concat(bytes, length);
}

export function toBytes(data: Data): Uint8Array {
  return typeof data === 'string' ? Buffer.from(data) : data;
}

/** Up to here looking at each character costs less than a call of Buffer.byteLength. */
const shortLength = 64;

/** The number of bytes that `data` takes on the wire. */
export function dataBytes(data: Data | Parts): number {
  if (typeof data !== 'string') return data.length;
  const { length } = data;
  if (length > shortLength) return Buffer.byteLength(data);
  for (let i = 0; i < length; i++) if (data.charCodeAt(i) > 127) return Buffer.byteLength(data);
  return length;
}

/** Whether a string is the same bytes in UTF-8, Latin-1 and ASCII. */
export function isAscii(text: string): boolean {
  return Buffer.byteLength(text, 'utf8') === text.length;
}
