/**
 * Received bytes that nobody has read yet: a queue of chunks, seen as one run of bytes.
 *
 * In: chunks, owned. Out: bytes in order, each once; a chunk that is wanted whole is not copied.
 * Never: waiting, limits, ends.
 */
import { Buffer } from 'node:buffer';

const newline = 10;
const carriageReturn = 13;
/** Chunks up to this size are joined when many of them are queued: a view costs more than they. */
const smallBytes = 1024;
const joinFrom = 8;
const storeBytes = 8192;
/** Taken chunks are cut off the front of the list when it has so many of them. */
const compactAt = 32;

export class ReadBuffer {
  /** Bytes to be read. */
  bytes: number;
  readonly #chunks: Buffer[];
  /** Index of the front chunk. */
  #front: number;
  /** Bytes of the front chunk that were taken. */
  #taken: number;
  /** Where small chunks are collected: the last chunk is then a view of its used part. */
  #store: Buffer | null;
  #storeEnd: number;

  constructor() {
    this.bytes = 0;
    this.#chunks = [];
    this.#front = 0;
    this.#taken = 0;
    this.#store = null;
    this.#storeEnd = 0;
  }

  push(chunk: Buffer): void {
    this.bytes += chunk.length;
    if (chunk.length <= smallBytes && this.#chunks.length - this.#front >= joinFrom) {
      this.collect(chunk);
    } else {
      this.#store = null;
      this.#chunks.push(chunk);
    }
  }

  /** What is left of the front chunk, not copied. Not on an empty buffer. */
  takeChunk(): Buffer {
    const chunk = this.#chunks[this.#front] as Buffer;
    const rest = this.#taken === 0 ? chunk : chunk.subarray(this.#taken);
    this.bytes -= rest.length;
    this.dropFront();
    return rest;
  }

  /** The next `count` bytes, at most `bytes`; copied only when they lie in several chunks. */
  take(count: number): Buffer {
    if (count === 0) return Buffer.alloc(0);
    const chunk = this.#chunks[this.#front] as Buffer;
    const available = chunk.length - this.#taken;
    if (count === available) return this.takeChunk();
    if (count < available) {
      const start = this.#taken;
      this.#taken += count;
      this.bytes -= count;
      return chunk.subarray(start, start + count);
    }
    const joined = Buffer.allocUnsafe(count);
    this.takeInto(joined);
    return joined;
  }

  /** Fills `target` as far as there are bytes; returns their number. */
  takeInto(target: Uint8Array): number {
    let filled = 0;
    while (filled < target.length && this.bytes > 0) {
      const chunk = this.#chunks[this.#front] as Buffer;
      const count = Math.min(chunk.length - this.#taken, target.length - filled);
      target.set(chunk.subarray(this.#taken, this.#taken + count), filled);
      filled += count;
      this.skip(count);
    }
    return filled;
  }

  /** The next `count` bytes as UTF-8 text without the \n or \r\n at their end. */
  takeLine(count: number): string {
    const chunk = this.#chunks[this.#front] as Buffer | undefined;
    if (chunk === undefined || count > chunk.length - this.#taken) {
      const joined = this.take(count);
      return joined.toString('utf8', 0, lineEnd(joined, 0, count));
    }
    const start = this.#taken;
    const text = chunk.toString('utf8', start, lineEnd(chunk, start, start + count));
    this.skip(count);
    return text;
  }

  /** Offset of the first `separator` at or after `from`, or -1. */
  indexOf(separator: Uint8Array, from: number): number {
    let start = 0;
    for (let i = this.#front; i < this.#chunks.length; i++) {
      const chunk = this.#chunks[i] as Buffer;
      const skipped = i === this.#front ? this.#taken : 0;
      const length = chunk.length - skipped;
      const local = Math.max(0, from - start);
      if (local < length) {
        const needle = separator.length === 1 ? (separator[0] as number) : separator;
        const found = chunk.indexOf(needle, skipped + local);
        if (found >= 0) return start + found - skipped;
        // A match may begin in the last bytes of this chunk and end in a later one.
        const first = Math.max(local, length - separator.length + 1);
        for (let at = first; at < length; at++) {
          if (this.matchesAt(separator, i, skipped + at)) return start + at;
        }
      }
      start += length;
    }
    return -1;
  }

  clear(): void {
    this.#store = null;
    this.#chunks.length = 0;
    this.#front = 0;
    this.#taken = 0;
    this.bytes = 0;
  }

  /** A peer that sends byte by byte must not cost a view (and a pinned slab) for each of them. */
  private collect(chunk: Buffer): void {
    if (this.#store === null || this.#storeEnd + chunk.length > this.#store.length) {
      this.#store = Buffer.allocUnsafeSlow(storeBytes);
      this.#storeEnd = 0;
      this.#chunks.push(this.#store);
    }
    this.#store.set(chunk, this.#storeEnd);
    this.#storeEnd += chunk.length;
    // What was handed out before stays as it is: only bytes behind it are written.
    const view = this.#store.subarray(0, this.#storeEnd);
    this.#chunks[this.#chunks.length - 1] = view;
  }

  private matchesAt(separator: Uint8Array, chunkIndex: number, at: number): boolean {
    let chunk = this.#chunks[chunkIndex];
    let position = at;
    for (const byte of separator) {
      while (chunk !== undefined && position === chunk.length) {
        chunk = this.#chunks[++chunkIndex];
        position = 0;
      }
      if (chunk === undefined || chunk[position++] !== byte) return false;
    }
    return true;
  }

  /** Takes bytes of the front chunk. */
  private skip(count: number): void {
    this.#taken += count;
    this.bytes -= count;
    if (this.#taken === this.#chunks[this.#front]?.length) this.dropFront();
  }

  private dropFront(): void {
    this.#taken = 0;
    if (++this.#front === this.#chunks.length) {
      this.#store = null;
      this.#chunks.length = 0;
      this.#front = 0;
      return;
    }
    this.#chunks[this.#front - 1] = noBytes;
    if (this.#front >= compactAt) {
      this.#chunks.splice(0, this.#front);
      this.#front = 0;
    }
  }
}

/** In place of a taken chunk, so that the list keeps its shape and the chunk can be collected. */
const noBytes: Buffer = Buffer.alloc(0);

function lineEnd(bytes: Buffer, start: number, end: number): number {
  if (end === start || bytes[end - 1] !== newline) return end;
  return end - start > 1 && bytes[end - 2] === carriageReturn ? end - 2 : end - 1;
}
