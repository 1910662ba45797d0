/**
 * Text kinds, bytes, uuid, JSON and bit strings.
 *
 * In: binary fields, or strings, bytes and values for JSON. Out: the same. Never: a string made of
 * something else: a number for a text parameter is a mistake that the user hears of.
 */
import { Buffer } from 'node:buffer';
import type { Writer } from '../writer.ts';
import { type Codec, checkBytes, FieldError, readLatin1, readText, refuse } from './codec.ts';

function writeString(out: Writer, value: unknown): void {
  if (typeof value !== 'string') throw refuse('a string', value);
  out.text(value);
}

/** A type whose binary form is its text, in UTF-8. */
export function textCodec(name: string): Codec {
  return {
    name,
    binary: true,
    inline: 'text',
    decode: (buffer, _view, at, end) => readText(buffer, at, end),
    encode: writeString,
  };
}

/** A type that is exchanged as text, since its binary form is of no use here. */
export function textOnlyCodec(name: string): Codec {
  return { ...textCodec(name), binary: false };
}

/** "char": one byte; that of zero is no text, as the server writes it. */
export const charCodec: Codec = {
  name: 'char',
  binary: true,
  inline: 'char',
  decode: (buffer, _view, at, end) => (buffer[at] === 0 ? '' : readLatin1(buffer, at, end)),
  encode(out, value) {
    if (typeof value !== 'string' || value.length > 1 || value.charCodeAt(0) > 0xff) {
      throw refuse('a string of one character of one byte', value);
    }
    out.byte(value === '' ? 0 : value.charCodeAt(0));
  },
};

export const byteaCodec: Codec = {
  name: 'bytea',
  binary: true,
  inline: 'bytea',
  decode(buffer, _view, at, end) {
    const bytes = Buffer.allocUnsafe(end - at);
    buffer.copy(bytes, 0, at, end);
    return bytes;
  },
  encode(out, value) {
    if (value instanceof Uint8Array) {
      out.bytes(value);
    } else if (value instanceof ArrayBuffer) {
      out.bytes(new Uint8Array(value));
    } else if (ArrayBuffer.isView(value)) {
      out.bytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    } else {
      throw refuse('a Buffer, a Uint8Array or an ArrayBuffer', value);
    }
  },
};

const uuidForm = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
const hex: string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export const uuidCodec: Codec = {
  name: 'uuid',
  binary: true,
  decode(buffer, _view, at, end) {
    checkBytes('uuid', at, end, 16);
    let text = '';
    for (let i = 0; i < 16; i++) {
      text += hex[buffer[at + i] as number];
      if (i === 3 || i === 5 || i === 7 || i === 9) text += '-';
    }
    return text;
  },
  encode(out, value) {
    if (typeof value !== 'string' || !uuidForm.test(value)) throw refuse('a UUID', value);
    out.bytes(Buffer.from(value.replaceAll('-', ''), 'hex'));
  },
};

function toJson(value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw refuse(`a value for JSON.stringify (${(error as Error).message})`, value);
  }
  if (text === undefined) throw refuse('a value for JSON.stringify', value);
  return text;
}

export const jsonCodec: Codec = {
  name: 'json',
  binary: true,
  inline: 'json',
  decode: (buffer, _view, at, end) => JSON.parse(readText(buffer, at, end)) as unknown,
  encode: (out, value) => out.text(toJson(value)),
};

/** jsonb and jsonpath have a version in front of their text. */
function versioned(name: string, write: (out: Writer, value: unknown) => void): Codec {
  const parse = name === 'jsonb';
  return {
    name,
    binary: true,
    ...(parse ? { inline: 'jsonb' as const } : {}),
    decode(buffer, _view, at, end) {
      if (buffer[at] !== 1) throw new FieldError(name, `version ${buffer[at]}`);
      const text = readText(buffer, at + 1, end);
      return parse ? (JSON.parse(text) as unknown) : text;
    },
    encode(out, value) {
      out.byte(1);
      write(out, value);
    },
  };
}

export const jsonbCodec: Codec = versioned('jsonb', (out, value) => out.text(toJson(value)));
export const jsonpathCodec: Codec = versioned('jsonpath', writeString);

/** bit and varbit: '0101'. */
export function bitCodec(name: string): Codec {
  return {
    name,
    binary: true,
    decode(buffer, view, at, end) {
      const bits = end - at < 4 ? -1 : view.getInt32(at);
      if (bits < 0 || end - at - 4 !== Math.ceil(bits / 8)) throw new FieldError(name, 'length');
      let text = '';
      for (let i = at + 4; i < end; i++) text += (buffer[i] as number).toString(2).padStart(8, '0');
      return text.slice(0, bits);
    },
    encode(out, value) {
      if (typeof value !== 'string' || !/^[01]*$/.test(value)) {
        throw refuse("a string of '0' and '1'", value);
      }
      out.int32(value.length);
      for (let i = 0; i < value.length; i += 8) {
        out.byte(Number.parseInt(value.slice(i, i + 8).padEnd(8, '0'), 2));
      }
    },
  };
}

/** (block,offset) of a row. */
export const tidCodec: Codec = {
  name: 'tid',
  binary: true,
  decode(_buffer, view, at, end) {
    checkBytes('tid', at, end, 6);
    return `(${view.getUint32(at)},${view.getUint16(at + 4)})`;
  },
  encode(out, value) {
    const [, block, offset] = /^\((\d{1,10}),(\d{1,5})\)$/.exec(String(value)) ?? [];
    if (block === undefined || offset === undefined) throw refuse("'(block,offset)'", value);
    out.int32(Number(block) | 0);
    out.int16(Number(offset));
  },
};

export const lsnCodec: Codec = {
  name: 'pg_lsn',
  binary: true,
  decode(_buffer, view, at, end) {
    checkBytes('pg_lsn', at, end, 8);
    const [high, low] = [view.getUint32(at), view.getUint32(at + 4)];
    return `${high.toString(16)}/${low.toString(16)}`.toUpperCase();
  },
  encode(out, value) {
    const [, high, low] = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})$/i.exec(String(value)) ?? [];
    if (high === undefined || low === undefined)
      throw refuse("an LSN such as '16/B374D848'", value);
    out.int32(Number.parseInt(high, 16) | 0);
    out.int32(Number.parseInt(low, 16) | 0);
  },
};
