/**
 * The masking of RFC 6455 §5.3.
 *
 * In: bytes and four bytes of key. Out: the bytes XOR the key, in place or to another place.
 * Never: one byte at a time where four fit.
 */
import { randomFillSync } from 'node:crypto';

/** Below this, setting up words costs more than they save. */
const minWordBytes = 48;

const keyBytes = new Uint8Array(4);
const keyWord = new Int32Array(keyBytes.buffer);

/** @param phase how many bytes of the payload came before: which byte of the key is next */
export function maskInPlace(bytes: Uint8Array, key: Uint8Array, phase: number): void {
  const { length } = bytes;
  let at = 0;
  if (length >= minWordBytes) {
    while (((bytes.byteOffset + at) & 3) !== 0) {
      bytes[at] = (bytes[at] as number) ^ (key[(phase + at) & 3] as number);
      at++;
    }
    for (let i = 0; i < 4; i++) keyBytes[i] = key[(phase + at + i) & 3] as number;
    const word = keyWord[0] as number;
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, (length - at) >> 2);
    for (let i = 0; i < words.length; i++) words[i] = (words[i] as number) ^ word;
    at += words.length * 4;
  }
  for (; at < length; at++) {
    bytes[at] = (bytes[at] as number) ^ (key[(phase + at) & 3] as number);
  }
}

const pool = new Uint8Array(8192);
let used = pool.length;

/** Four bytes that a peer cannot foresee, written to `target[at …]`. */
export function putMaskKey(target: Uint8Array, at: number): void {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  for (let i = 0; i < 4; i++) target[at + i] = pool[used + i] as number;
  used += 4;
}
