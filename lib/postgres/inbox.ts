/**
 * The memory that bytes of the server are read into.
 *
 * In: bytes, behind those that have come before. Out: whole messages, in one piece. Never: memory
 * for bytes that were only announced; a byte that is used after the next read, so who keeps one
 * copies it.
 *
 * It is lent from a few pieces that all connections share, and only until all messages in it are
 * used: an idle connection has none, and what is read is still in the cache when it is decoded.
 */
import { Buffer } from 'node:buffer';

const usualBytes = 64 * 1024;
/** With less room than this the next read would be a small one. */
const leastRoom = 16 * 1024;
const maxFree = 8;

interface Piece {
  readonly buffer: Buffer;
  /** The same memory. */
  readonly view: DataView;
}

function makePiece(bytes: number): Piece {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  return { buffer, view: new DataView(buffer.buffer, 0, bytes) };
}

const nothing: Piece = makePiece(0);
const free: Piece[] = [];

export class Inbox {
  #piece: Piece = nothing;
  /** The first byte that is not used yet. */
  from = 0;
  /** The end of what has come. */
  to = 0;

  get buffer(): Buffer {
    return this.#piece.buffer;
  }

  get view(): DataView {
    return this.#piece.view;
  }

  /** What a read may fill; `to` is moved by who has read. */
  room(): Uint8Array {
    if (this.#piece === nothing) this.#piece = free.pop() ?? makePiece(usualBytes);
    const { buffer } = this.#piece;
    return this.to === 0 ? buffer : buffer.subarray(this.to);
  }

  /**
   * All whole messages are used: makes room for what follows.
   *
   * @param message bytes of the one that has begun
   * @param idle nothing else is awaited
   */
  settle(message: number, idle: boolean): void {
    const piece = this.#piece;
    const { buffer } = piece;
    const { length } = buffer;
    if (this.from === this.to) {
      this.from = 0;
      this.to = 0;
      if (length === usualBytes) {
        if (free.length < maxFree) free.push(piece);
        this.#piece = nothing;
      } else if (idle) {
        this.#piece = nothing;
      }
      return;
    }
    const { from, to } = this;
    if (length - to >= leastRoom) return;
    // Twice what has come, if that much is needed.
    if (message > length && length - (to - from) < leastRoom) this.#piece = makePiece(length * 2);
    else if (from === 0) return;
    buffer.copy(this.#piece.buffer, 0, from, to);
    this.from = 0;
    this.to = to - from;
  }
}
