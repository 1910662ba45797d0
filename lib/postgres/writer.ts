/**
 * Memory that messages are written into.
 *
 * In: numbers, text, bytes. Out: one piece of bytes for all that was written since the last `take`.
 * Never: memory that is written again once it was taken: transports may still hold it; memory of
 * its own between a `take` and the next write, so that an idle connection has none.
 */
import { Buffer } from 'node:buffer';
import { ValueError } from './codecs/codec.ts';

/** PostgreSQL takes no message above it; lengths have 31 bits, and longer ones would wrap. */
export const maxMessageBytes: number = 2 ** 30 - 1;

const chunkBytes = 64 * 1024;
/** Less room than this is not worth keeping. */
const smallRest = 2 * 1024;
/** Up to this length a loop over the characters is faster than a call of Node. */
const shortText = 48;

const maxFree = 32;

interface RawWriter extends Buffer {
  utf8Write(text: string, at: number): number;
}

/** Memory of which a part is still to be written. */
interface Rest {
  readonly buffer: Buffer;
  readonly view: DataView;
  readonly at: number;
}

function makeRest(bytes: number): Rest {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  return { buffer, view: new DataView(buffer.buffer, 0, bytes), at: 0 };
}

const nothing: Rest = makeRest(0);
/** What writers have left, for whoever writes next. */
const free: Rest[] = [];

export class Writer {
  /** Public for codecs, which write at `at` after `ensure`. */
  buffer: Buffer;
  view: DataView;
  at: number;
  #start: number;
  /** The mark of the message at work. */
  #message: number;

  constructor() {
    this.buffer = nothing.buffer;
    this.view = nothing.view;
    this.at = 0;
    this.#start = 0;
    this.#message = 0;
  }

  /** Bytes that wait to be taken. */
  get length(): number {
    return this.at - this.#start;
  }

  /** Room for that many bytes at `at`. */
  ensure(bytes: number): void {
    if (this.at + bytes > this.buffer.length) this.#grow(bytes);
  }

  #grow(bytes: number): void {
    const kept = this.at - this.#start;
    const { buffer: old } = this;
    // `at` is moved by #use.
    const [from, to] = [this.#start, this.at];
    const wanted = kept + bytes;
    const last = free.at(-1);
    if (last !== undefined && last.buffer.length - last.at >= wanted) {
      free.pop();
      this.#use(last);
    } else {
      const size = wanted <= smallRest ? 0 : 2 ** Math.ceil(Math.log2(wanted * 1.5));
      this.#use(makeRest(Math.max(chunkBytes, size)));
    }
    if (kept === 0) return;
    old.copy(this.buffer, this.at, from, to);
    this.at += kept;
  }

  #use({ buffer, view, at }: Rest): void {
    this.buffer = buffer;
    this.view = view;
    this.at = at;
    this.#start = at;
  }

  /** Everything since the last call. It is the caller's own. */
  take(): Buffer {
    const { buffer, view, at } = this;
    const taken = buffer.subarray(this.#start, at);
    const useful = buffer.length === chunkBytes && buffer.length - at >= smallRest;
    if (useful && free.length < maxFree) free.push({ buffer, view, at });
    this.#use(nothing);
    return taken;
  }

  /** A place to go back to, also when the memory has moved meanwhile. */
  mark(): number {
    return this.at - this.#start;
  }

  /** Takes back what was written since `mark`. */
  rewind(mark: number): void {
    this.at = this.#start + mark;
  }

  /** Writes the number of bytes since `mark` in front of them. `mark` is that of its four bytes. */
  patchLength(mark: number, extra: number = 0): void {
    const at = this.#start + mark;
    this.view.setInt32(at, this.at - at - 4 + extra);
  }

  patchInt32(mark: number, value: number): void {
    this.view.setInt32(this.#start + mark, value);
  }

  byte(value: number): void {
    this.ensure(1);
    this.buffer[this.at++] = value;
  }

  int16(value: number): void {
    this.ensure(2);
    this.view.setInt16(this.at, value);
    this.at += 2;
  }

  int32(value: number): void {
    this.ensure(4);
    this.view.setInt32(this.at, value);
    this.at += 4;
  }

  int64(value: bigint): void {
    this.ensure(8);
    this.view.setBigInt64(this.at, value);
    this.at += 8;
  }

  float64(value: number): void {
    this.ensure(8);
    this.view.setFloat64(this.at, value);
    this.at += 8;
  }

  /** @throws ValueError before memory is asked for, if the message is above 1 GiB then */
  bytes(data: Uint8Array): void {
    const { length } = data;
    if (length + this.mark() - this.#message > maxMessageBytes) {
      throw new ValueError(`${length} bytes, more than 1 GiB in all`);
    }
    this.ensure(length);
    this.buffer.set(data, this.at);
    this.at += length;
  }

  /** UTF-8. */
  text(text: string): void {
    const { length } = text;
    this.ensure(length * 3);
    const { buffer } = this;
    if (length > shortText) {
      this.at += (buffer as RawWriter).utf8Write(text, this.at);
      return;
    }
    let at = this.at;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) {
        this.at += (buffer as RawWriter).utf8Write(text, this.at);
        return;
      }
      buffer[at++] = code;
    }
    this.at = at;
  }

  /** UTF-8 with a NUL behind it. The caller has made sure that there is none inside. */
  cstring(text: string): void {
    this.text(text);
    this.byte(0);
  }

  /** Starts a message; `endMessage` writes its length. */
  message(type: number): number {
    this.byte(type);
    const mark = this.mark();
    this.#message = mark;
    this.int32(0);
    return mark;
  }

  endMessage(mark: number): void {
    this.view.setInt32(this.#start + mark, this.at - this.#start - mark);
  }
}
