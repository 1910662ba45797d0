/**
 * Sockets of node:net whose reads go to one piece of memory for all of them.
 *
 * In: what a socket is made of; what was read. Out: sockets, and bytes that nobody writes to again.
 * Never: a chunk of malloc's for each read, of 64 KiB whatever came, as node:net makes it; the
 * machinery of streams on the way of data.
 *
 * node:net has a way for that, `onread`. Its buffer is lent to the kernel for the read alone, and
 * what came is told at once: so one buffer does for all. (Decision 0008.)
 */
import { Buffer } from 'node:buffer';
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';

const slabBytes = 64 * 1024;
const chunkBytes = 64 * 1024;
/** More than that is copied to memory of its own, so that a small piece holds no more. */
const pooledBytes = 4096;
/** A socket whose reads reach that gets memory of its own for them, which need not be copied. */
const bulkBytes = 16 * 1024;
/** Four times what libuv offers: large reads are fewer (decision 0008). */
const ownBytes = 256 * 1024;
/** So many, since a socket that rests keeps it. */
const mostOwners = 64;
/** After so many small reads in a row it goes back to the slab. */
const mostSmall = 8;

const slab: Buffer = Buffer.allocUnsafeSlow(slabBytes);
let chunk: Buffer = Buffer.allocUnsafeSlow(chunkBytes);
let used = 0;
let owners = 0;
/** Where the socket that was just told reads next. Null: where it did. A new one: to the slab. */
let next: Buffer | null = slab;

/** Others that say they are Node have node:net in their own ways. */
export const slabReads: boolean =
  process.versions['bun'] === undefined && process.versions['deno'] === undefined;

/** Where one socket reads to. */
export class ReadMemory {
  /** Null: the slab. */
  #own: Buffer | null = null;
  #next: Buffer | null = null;
  #small = 0;

  /** What came, for as long as the callback lasts. */
  lend(bytes: number): Buffer {
    return (this.#own ?? slab).subarray(0, bytes);
  }

  /** What came. Nobody writes to it again. */
  take(bytes: number): Buffer {
    if (this.#own !== null) return this.#takeOwn(this.#own, bytes);
    if (bytes >= bulkBytes && owners < mostOwners) {
      owners++;
      this.#next = this.#own = Buffer.allocUnsafeSlow(ownBytes);
    }
    return taken(slab, bytes);
  }

  #takeOwn(own: Buffer, bytes: number): Buffer {
    this.#small = bytes < bulkBytes ? this.#small + 1 : 0;
    if (this.#small === mostSmall) {
      this.leave();
      this.#next = slab;
    }
    if (bytes <= pooledBytes) return taken(own, bytes);
    if (this.#own !== null) {
      const short = own.length - bytes < slabBytes;
      this.#next = this.#own = short ? Buffer.allocUnsafeSlow(ownBytes) : own.subarray(bytes);
    }
    return own.subarray(0, bytes);
  }

  /** Behind all that users do with the bytes: they may make new sockets, which ask, too. */
  settle(): void {
    next = this.#next;
    this.#next = null;
  }

  /** It reads no more. */
  leave(): void {
    if (this.#own === null) return;
    this.#own = null;
    owners--;
  }
}

/** A copy of the first bytes. */
function taken(source: Buffer, bytes: number): Buffer {
  if (bytes > pooledBytes) {
    const whole = Buffer.allocUnsafeSlow(bytes);
    source.copy(whole, 0, 0, bytes);
    return whole;
  }
  if (used + bytes > chunkBytes) {
    chunk = Buffer.allocUnsafeSlow(chunkBytes);
    used = 0;
  }
  const at = used;
  used += bytes;
  source.copy(chunk, at, 0, bytes);
  return chunk.subarray(at, used);
}

/** Asked for a new socket, and behind each read. */
function nextMemory(): Buffer | null {
  const memory = next;
  next = slab;
  return memory;
}

/** @param told gets the socket as `this`, and how many bytes were read */
export function slabOnRead(told: (this: Socket, bytes: number) => true): OnReadOpts {
  return { buffer: nextMemory as unknown as () => Uint8Array, callback: told };
}

/** A socket around the handle of an accepted connection. */
export function slabSocket(handle: object, onread: OnReadOpts): Socket {
  // `handle` is how node:net itself makes them; its types do not know it.
  const options = { handle, onread, allowHalfOpen: true, readable: true, writable: true };
  return new Socket(options as SocketConstructorOpts);
}
