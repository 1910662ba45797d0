/**
 * The two 32-bit words of a double: what is stored as small integers is no object of the heap.
 *
 * In: words. Out: the double. Never: an allocation for each call.
 */
const double = new Float64Array([2]);
const words = new Int32Array(double.buffer);

/** Where a double's word of sign and exponent is, in this machine's order. */
export const highWord: 0 | 1 = words[1] === 0 ? 0 : 1;
export const lowWord: 0 | 1 = highWord === 1 ? 0 : 1;

export function joinWords(high: number, low: number): number {
  words[highWord] = high;
  words[lowWord] = low;
  return double[0] as number;
}
