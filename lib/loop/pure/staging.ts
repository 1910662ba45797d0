/**
 * Private memory for what is written, so that callers may reuse theirs (rule 4).
 *
 * In: bytes of the caller. Out: writes from memory that stays untouched while the kernel has not
 * taken it. Never: an allocation for a write that the kernel takes at once, which is nearly all.
 */
import type { Socket } from 'node:net';

const blockBytes = 64 * 1024;

export class Staging {
  #block: Buffer = Buffer.allocUnsafeSlow(0);
  /** What is before it belongs to writes under way. */
  #free = 0;

  /** For a socket with nothing buffered. */
  write(socket: Socket, data: Uint8Array): void {
    const bytes = data.byteLength;
    if (bytes > blockBytes) {
      socket.write(Buffer.from(data));
      return;
    }
    if (bytes > this.#block.length - this.#free) {
      this.#block = Buffer.allocUnsafeSlow(blockBytes);
      this.#free = 0;
    }
    const end = this.#free + bytes;
    const copy = this.#block.subarray(this.#free, end);
    copy.set(data);
    socket.write(copy);
    if (socket.writableLength > 0) this.#free = end;
  }
}
