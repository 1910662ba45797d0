/**
 * Sizes of stream buffers.
 *
 * In: StreamOptions. Out: one frozen record that all streams of a server share. Never: per stream.
 */
import { rangeError } from '../base/errors.ts';
import { checkBytes } from '../base/units.ts';
import type { StreamOptions } from './net-types.ts';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

export interface StreamLimits {
  /** Longest line or separated part, and read-ahead. */
  readonly limitBytes: number;
  readonly highWaterBytes: number;
  readonly lowWaterBytes: number;
  /** Bound of the write buffer for writers who do not wait. */
  readonly maxBufferedBytes: number;
}

export const defaultLimits: StreamLimits = Object.freeze({
  limitBytes: 64 * kibibyte,
  highWaterBytes: 64 * kibibyte,
  lowWaterBytes: 16 * kibibyte,
  maxBufferedBytes: 16 * mebibyte,
});

/** Water marks; a missing one follows from the other, as in asyncio. */
export function checkWaterMarks(
  lowBytes: number | undefined,
  highBytes: number | undefined,
): { lowWaterBytes: number; highWaterBytes: number } {
  const low = lowBytes === undefined ? undefined : checkBytes('lowWaterBytes', lowBytes);
  const high = highBytes === undefined ? undefined : checkBytes('highWaterBytes', highBytes);
  const highWaterBytes =
    high ?? (low === undefined ? defaultLimits.highWaterBytes : Math.max(low * 4, 0));
  const lowWaterBytes = low ?? Math.floor(highWaterBytes / 4);
  if (lowWaterBytes > highWaterBytes) {
    throw rangeError('lowWaterBytes', `<= highWaterBytes (${highWaterBytes})`, lowWaterBytes);
  }
  return { lowWaterBytes, highWaterBytes };
}

export function makeLimits(options: StreamOptions): StreamLimits {
  const { limitBytes, highWaterBytes, lowWaterBytes, maxBufferedBytes } = options;
  const limit = limitBytes ?? defaultLimits.limitBytes;
  const max = maxBufferedBytes ?? defaultLimits.maxBufferedBytes;
  return {
    limitBytes: checkBytes('limitBytes', limit, 1),
    ...checkWaterMarks(lowWaterBytes, highWaterBytes),
    maxBufferedBytes: checkBytes('maxBufferedBytes', max),
  };
}
