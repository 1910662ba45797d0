/**
 * Frames that go out.
 *
 * In: payloads. Out: the bytes of whole frames. Never: fragments; memory of its own for a small
 * frame that is written at once.
 */
import { Buffer } from 'node:buffer';
import { maskInPlace, nextMaskKey } from './mask.ts';

const maxHeaderBytes = 14;
/** Strings up to this many code units, and bytes up to this many, are framed in one place. */
const smallBytes = 16_384;

/** Used again by the next frame: what writes it takes its bytes at once. */
const scratch: Buffer = Buffer.allocUnsafeSlow(maxHeaderBytes + smallBytes * 3);

/** Writes the header in front of `at`; where it begins. */
function putHeader(
  into: Buffer,
  at: number,
  first: number,
  length: number,
  masked: boolean,
): number {
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const start = at - 2 - extended - (masked ? 4 : 0);
  into[start] = first;
  into[start + 1] = (masked ? 0x80 : 0) | (extended === 0 ? length : extended === 2 ? 126 : 127);
  if (extended === 2) {
    into.writeUInt16BE(length, start + 2);
  } else if (extended === 8) {
    into.writeUInt32BE(Math.floor(length / 2 ** 32), start + 2);
    into.writeUInt32BE(length >>> 0, start + 6);
  }
  return start;
}

/** Masks the payload at `at`, behind its key. */
function mask(into: Buffer, at: number, end: number): void {
  const key = nextMaskKey();
  into.writeInt32LE(key, at - 4);
  maskInPlace(into.subarray(at, end), key, 0);
}

/**
 * A whole frame. Valid until the next call, unless `owned`.
 * @param opcode with RSV1 (0x40) when `data` is compressed
 */
export function makeFrame(
  opcode: number,
  data: string | Uint8Array,
  masked: boolean,
  owned: boolean = false,
): Buffer {
  const small = data.length <= smallBytes && !owned;
  const into = small ? scratch : bufferFor(data);
  const at = maxHeaderBytes;
  let length: number;
  if (typeof data === 'string') {
    length = into.write(data, at, 'utf8');
  } else {
    into.set(data, at);
    length = data.length;
  }
  const start = putHeader(into, at, 0x80 | opcode, length, masked);
  if (masked) mask(into, at, at + length);
  return into.subarray(start, at + length);
}

function bufferFor(data: string | Uint8Array): Buffer {
  const bytes = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
  return Buffer.allocUnsafe(maxHeaderBytes + bytes);
}
