/**
 * The memory that bytes of the server are read into.
 *
 * In: bytes, behind those that have come before. Out: whole messages, in one piece. Never: memory
 * for bytes that were only announced; a byte that is used after the next read, so who keeps one
 * copies it.
 *
 * It is used again and again: a connection that reads large results asks for no memory, and what it
 * reads is still in the cache of the processor when it is decoded.
 */
import { Buffer } from 'node:buffer';

const usualBytes = 64 * 1024;
/** With less room than this the next read would be a small one. */
const leastRoom = 16 * 1024;

export class Inbox {
  buffer: Buffer = Buffer.alloc(0);
  /** The same memory. */
  view: DataView = new DataView(new ArrayBuffer(0));
  /** The first byte that is not used yet. */
  from = 0;
  /** The end of what has come. */
  to = 0;

  constructor() {
    this.#take(usualBytes);
  }

  /** What a read may fill; `to` is moved by who has read. */
  room(): Uint8Array {
    return this.to === 0 ? this.buffer : this.buffer.subarray(this.to);
  }

  /**
   * All whole messages are used: makes room for what follows.
   *
   * @param message bytes of the one that has begun
   * @param idle nothing else is awaited
   */
  settle(message: number, idle: boolean): void {
    if (this.from === this.to) {
      this.from = 0;
      this.to = 0;
      if (idle && this.buffer.length > usualBytes) this.#take(usualBytes);
      return;
    }
    const { buffer, from, to } = this;
    const { length } = buffer;
    if (length - to >= leastRoom) return;
    // Twice what has come, if that much is needed.
    if (message > length && length - (to - from) < leastRoom) this.#take(length * 2);
    else if (from === 0) return;
    buffer.copy(this.buffer, 0, from, to);
    this.from = 0;
    this.to = to - from;
  }

  #take(bytes: number): void {
    this.buffer = Buffer.allocUnsafeSlow(bytes);
    this.view = new DataView(this.buffer.buffer, 0, bytes);
  }
}
