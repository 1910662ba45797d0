/**
 * Frames that go out.
 *
 * In: payloads. Out: the bytes of whole frames. Never: fragments; memory of its own for a small
 * frame that is written at once.
 */
import { Buffer } from 'node:buffer';
import { type Masker, nextMaskKey } from './mask.ts';

const maxHeaderBytes = 14;
/** Payloads up to this many bytes are framed in one place. */
const scratchBytes = 65_536;

/** Used again by the next frame: what writes it takes its bytes at once. Made for the first one. */
let scratch: Buffer | null = null;

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

/** Of a payload whose bytes follow in a write of their own: a frame without a mask. */
export function makeHeader(opcode: number, length: number): Buffer {
  const into = Buffer.allocUnsafe(maxHeaderBytes);
  return into.subarray(putHeader(into, maxHeaderBytes, 0x80 | opcode, length, false));
}

/** More bytes than that are not copied to stand behind their header. */
export const maxCopiedBytes: number = scratchBytes;

/**
 * A whole frame. Valid until the next call, unless `owned`.
 * @param opcode with RSV1 (0x40) when `data` is compressed
 * @param mask null: it has none
 */
export function makeFrame(
  opcode: number,
  data: string | Uint8Array,
  mask: Masker | null,
  owned: boolean = false,
): Buffer {
  const text = typeof data === 'string';
  const small = !owned && data.length * (text ? 3 : 1) <= scratchBytes;
  const into = small ? bufferForAll() : bufferFor(data);
  const at = maxHeaderBytes;
  let length: number;
  if (text) {
    length = into.write(data, at, 'utf8');
  } else {
    into.set(data, at);
    length = data.length;
  }
  const start = putHeader(into, at, 0x80 | opcode, length, mask !== null);
  if (mask !== null) {
    const key = nextMaskKey();
    into.writeInt32LE(key, at - 4);
    mask(into.subarray(at, at + length), key, 0);
  }
  return into.subarray(start, at + length);
}

function bufferForAll(): Buffer {
  scratch ??= Buffer.allocUnsafeSlow(maxHeaderBytes + scratchBytes);
  return scratch;
}

function bufferFor(data: string | Uint8Array): Buffer {
  const bytes = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
  return Buffer.allocUnsafe(maxHeaderBytes + bytes);
}
