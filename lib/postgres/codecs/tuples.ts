/**
 * Codecs of the user over the parts of a value: dates as days, times as microseconds.
 *
 * In: [days], [micros], [micros, secondsWest], [months, days, micros]. Out: binary. Never: types
 * that have no parts.
 */
import { InterfaceError } from '../errors.ts';
import { type Codec, checkBytes, refuse } from './codec.ts';

/** Bytes of each part, and their order on the wire. */
const layouts: Readonly<Record<string, { sizes: readonly (4 | 8)[]; order: readonly number[] }>> = {
  date: { sizes: [4], order: [0] },
  time: { sizes: [8], order: [0] },
  timestamp: { sizes: [8], order: [0] },
  timestamptz: { sizes: [8], order: [0] },
  timetz: { sizes: [8, 4], order: [0, 1] },
  // On the wire: microseconds, days, months.
  interval: { sizes: [8, 4, 4], order: [2, 1, 0] },
};

interface UserCodec {
  encode(value: unknown): unknown;
  decode(value: unknown): unknown;
}

/** Parts of eight bytes are bigints. */
export function tupleCodec(name: string, type: string, codec: UserCodec): Codec {
  const layout = layouts[type];
  if (layout === undefined) throw new InterfaceError(`The format 'tuple' is not for ${type}`);
  const { sizes, order } = layout;
  const bytes = sizes.reduce((sum: number, size) => sum + size, 0);
  return {
    name,
    binary: true,
    decode(_buffer, view, at, end) {
      checkBytes(name, at, end, bytes);
      const parts: unknown[] = [];
      let p = at;
      for (const [i, size] of sizes.entries()) {
        parts[order[i] as number] = size === 8 ? view.getBigInt64(p) : view.getInt32(p);
        p += size;
      }
      return codec.decode(parts);
    },
    encode(out, value) {
      const parts = codec.encode(value);
      if (!Array.isArray(parts) || parts.length !== sizes.length) {
        throw refuse(`a codec whose encode() gives ${sizes.length} integers`, parts);
      }
      for (const [i, size] of sizes.entries()) {
        const part: unknown = parts[order[i] as number];
        if (typeof part !== 'bigint' && !Number.isInteger(part)) throw refuse('integers', parts);
        if (size === 8) out.int64(BigInt(part as bigint | number));
        else out.int32(Number(part));
      }
    },
  };
}
