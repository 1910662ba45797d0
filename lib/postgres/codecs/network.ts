/**
 * inet, cidr, macaddr and macaddr8: text in the form that PostgreSQL writes.
 *
 * In: binary fields, or text. Out: text, or binary. Never: a name that would have to be looked up.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { type Codec, FieldError, refuse } from './codec.ts';

const familyV4 = 2;
const familyV6 = 3;

function textV6(bytes: Uint8Array): string {
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2)
    words.push(((bytes[i] as number) << 8) | (bytes[i + 1] as number));
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && words[i + length] === 0) length++;
    if (length > best.length) best = { at: i, length };
  }
  // An IPv4 address inside, as PostgreSQL shows it: behind ::ffff, or six words of zeros.
  const mapped = best.length === 5 && words[5] === 0xffff;
  if (best.at === 0 && (best.length === 6 || mapped)) {
    return `::${mapped ? 'ffff:' : ''}${bytes.subarray(12).join('.')}`;
  }
  const hex = words.map((word) => word.toString(16));
  if (best.at < 0) return hex.join(':');
  return `${hex.slice(0, best.at).join(':')}::${hex.slice(best.at + best.length).join(':')}`;
}

function bytesV6(address: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const [head = '', tail] = address.split('::');
  const words = (text: string): number[] =>
    text === ''
      ? []
      : text.split(':').flatMap((word) => {
          if (!word.includes('.')) return [Number.parseInt(word, 16)];
          const [a = 0, b = 0, c = 0, d = 0] = word.split('.').map(Number);
          return [(a << 8) | b, (c << 8) | d];
        });
  const first = words(head);
  const last = tail === undefined ? [] : words(tail);
  const all = [...first, ...new Array(8 - first.length - last.length).fill(0), ...last];
  for (const [i, word] of all.entries()) {
    bytes[i * 2] = word >> 8;
    bytes[i * 2 + 1] = word & 0xff;
  }
  return bytes;
}

function inetLike(name: 'inet' | 'cidr'): Codec {
  return {
    name,
    binary: true,
    decode(buffer, _view, at, end) {
      const [family, bits, , size] = buffer.subarray(at, at + 4);
      const bytes = buffer.subarray(at + 4, end);
      const wanted = family === familyV4 ? 4 : 16;
      if (end - at < 4 || bytes.length !== wanted || size !== wanted) {
        throw new FieldError(name, 'its length');
      }
      const address = wanted === 4 ? bytes.join('.') : textV6(bytes);
      return name === 'inet' && bits === wanted * 8 ? address : `${address}/${bits}`;
    },
    encode(out, value) {
      const [, address = '', bits] = /^([0-9a-fA-F.:]+)(?:\/(\d{1,3}))?$/.exec(String(value)) ?? [];
      const v4 = isIPv4(address);
      const max = v4 ? 32 : 128;
      if (typeof value !== 'string' || (!v4 && !isIPv6(address)) || Number(bits ?? 0) > max) {
        throw refuse("an address such as '192.168.0.1' or '::1/64'", value);
      }
      const bytes = v4 ? Uint8Array.from(address.split('.').map(Number)) : bytesV6(address);
      out.byte(v4 ? familyV4 : familyV6);
      out.byte(bits === undefined ? max : Number(bits));
      out.byte(name === 'cidr' ? 1 : 0);
      out.byte(bytes.length);
      out.bytes(bytes);
    },
  };
}

export const inetCodec: Codec = inetLike('inet');
export const cidrCodec: Codec = inetLike('cidr');

export function macaddrCodec(name: 'macaddr' | 'macaddr8', bytes: 6 | 8): Codec {
  const form = new RegExp(`^[0-9a-f]{2}(?:[:-]?[0-9a-f]{2}){${bytes - 1}}$`, 'i');
  return {
    name,
    binary: true,
    decode(buffer, _view, at, end) {
      if (end - at !== bytes) throw new FieldError(name, 'its length');
      const parts: string[] = [];
      for (let i = at; i < end; i++)
        parts.push((buffer[i] as number).toString(16).padStart(2, '0'));
      return parts.join(':');
    },
    encode(out, value) {
      if (typeof value !== 'string' || !form.test(value)) {
        throw refuse(`text of ${bytes} bytes such as '08:00:2b:01:02:03'`, value);
      }
      const digits = value.replace(/[:-]/g, '');
      for (let i = 0; i < digits.length; i += 2) {
        out.byte(Number.parseInt(digits.slice(i, i + 2), 16));
      }
    },
  };
}
