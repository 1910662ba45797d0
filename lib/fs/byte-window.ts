/**
 * A stretch of a file in memory: the bytes that were read and that nobody took yet.
 *
 * In: bytes read at its end. Out: bytes from its front, counted. Never: waiting; memory that was
 * handed out and is written again.
 */
import { Buffer } from 'node:buffer';

const noBytes: Buffer = Buffer.alloc(0);
/** As much as a read of Node's streams. */
const startBytes = 1 << 16;
/** More memory than that is let go when it is empty. */
const keepBytes = 1 << 20;

export class ByteWindow {
  /** Bytes [start, end) of it are in the window. */
  data: Buffer = noBytes;
  start = 0;
  end = 0;
  /** Where in the file the window begins: the position of the user. */
  offset = 0;

  get bytes(): number {
    return this.end - this.start;
  }

  /** Bytes that can be read at its end. */
  get room(): number {
    return this.data.length - this.end;
  }

  /** Makes room for at least `bytes` more. */
  reserve(bytes: number): void {
    if (this.room >= bytes) return;
    const { data, start, end } = this;
    const length = end - start;
    const fits = length + bytes <= data.length && start >= length;
    // Twice as much each time, so that a long line is not copied for each of its chunks.
    const target = fits
      ? data
      : Buffer.allocUnsafeSlow(Math.max(length + bytes, length * 2, startBytes));
    data.copy(target, 0, start, end);
    this.data = target;
    this.start = 0;
    this.end = length;
  }

  /** The user has got the first `count` bytes. */
  skip(count: number): void {
    this.start += count;
    this.offset += count;
    if (this.start === this.end) this.empty();
  }

  /** The first `count` bytes, the receiver's own. */
  take(count: number): Buffer {
    const view = this.data.subarray(this.start, this.start + count);
    // A view, unless it would pin much more memory than it shows, or there is more to come.
    const whole = count === this.bytes && count * 2 >= this.data.length;
    const taken = whole ? view : Buffer.from(view);
    this.skip(count);
    if (whole) this.data = noBytes;
    return taken;
  }

  /** Forgets what was read ahead; it will be read again. */
  moveTo(offset: number): void {
    this.offset = offset;
    this.empty();
  }

  private empty(): void {
    this.start = 0;
    this.end = 0;
    if (this.data.length > keepBytes) this.data = noBytes;
  }
}
