/**
 * Arrays and composites in text form, for elements that have no binary codec.
 *
 * In: '{a,"b c",NULL}' and '(a,"b c",)'. Out: arrays and rows of what the element's codec makes of
 * each text. Never: a regular expression that backtracks; recursion beyond six dimensions.
 */
import { Buffer } from 'node:buffer';
import type { RowShape } from '../rows.ts';
import { Writer } from '../writer.ts';
import { type Codec, FieldError, readText, refuse } from './codec.ts';
import type { Attribute } from './containers.ts';

function decodeText(codec: Codec, text: string): unknown {
  if (codec.binary) return plainValue(codec, text);
  const bytes = Buffer.from(text);
  const { buffer, byteOffset, length } = bytes;
  const [whole, view] = [Buffer.from(buffer), new DataView(buffer)];
  return codec.decode(whole, view, byteOffset, byteOffset + length);
}

/** A type that is binary otherwise: its common kinds as always, all else as text. */
function plainValue({ inline }: Codec, text: string): unknown {
  if (inline === undefined || inline === 'text') return text;
  if (inline === 'bool') return text === 't';
  return inline === 'int8' ? BigInt(text) : Number(text);
}

function encodeText(codec: Codec, value: unknown): string {
  if (codec.binary) {
    if (typeof value === 'boolean') return value ? 't' : 'f';
    if (['string', 'number', 'bigint'].includes(typeof value)) return String(value);
    throw refuse(`text of type ${codec.name}`, value);
  }
  const out = new Writer();
  codec.encode(out, value);
  return out.take().toString('utf8');
}

class Scanner {
  readonly text: string;
  readonly name: string;
  at = 0;

  constructor(text: string, name: string) {
    this.text = text;
    this.name = name;
  }

  get next(): string {
    return this.text[this.at] ?? '';
  }

  take(wanted: string): void {
    if (this.next !== wanted) throw new FieldError(this.name, `its text at ${this.at}`);
    this.at++;
  }

  /** Up to one of `stops`; null for an unquoted `nullWord`. */
  item(stops: string, nullWord: string): string | null {
    let text = '';
    let quoted = false;
    for (;;) {
      const char = this.next;
      if (char === '') throw new FieldError(this.name, 'its text ends early');
      if (stops.includes(char)) break;
      if (char === '"') {
        quoted = true;
        text += this.#quoted();
      } else {
        if (char === '\\') this.at++;
        text += this.next;
        this.at++;
      }
    }
    return !quoted && text === nullWord ? null : text;
  }

  #quoted(): string {
    let text = '';
    this.at++;
    for (;;) {
      const char = this.next;
      if (char === '') throw new FieldError(this.name, 'its text ends early');
      this.at++;
      if (char === '"') {
        if (this.next !== '"') return text;
        this.at++;
        text += '"';
      } else if (char === '\\') {
        text += this.next;
        this.at++;
      } else {
        text += char;
      }
    }
  }
}

const quote = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

export function textArrayCodec(element: Codec, delimiter: string): Codec {
  const name = `${element.name}[]`;
  const stops = `${delimiter}}`;
  const parse = (scan: Scanner, depth: number): unknown[] => {
    const items: unknown[] = [];
    scan.take('{');
    if (depth > 6) throw new FieldError(name, 'its dimensions');
    while (scan.next !== '}') {
      if (items.length > 0) scan.take(delimiter);
      if (scan.next === '{') {
        items.push(parse(scan, depth + 1));
      } else {
        const text = scan.item(stops, 'NULL');
        items.push(text === null ? null : decodeText(element, text));
      }
    }
    scan.take('}');
    return items;
  };
  const format = (value: unknown): string => {
    if (value === null || value === undefined) return 'NULL';
    if (Array.isArray(value)) return `{${value.map(format).join(delimiter)}}`;
    return quote(encodeText(element, value));
  };
  return {
    name,
    binary: false,
    decode(buffer, _view, at, end) {
      const scan = new Scanner(readText(buffer, at, end), name);
      // '[0:1]={a,b}': bounds that do not begin at 1.
      if (scan.next === '[') scan.at = scan.text.indexOf('=') + 1;
      return parse(scan, 1);
    },
    encode(out, value) {
      if (!Array.isArray(value)) throw refuse(`an array of ${element.name}`, value);
      out.text(format(value));
    },
  };
}

export function textCompositeCodec(
  name: string,
  attributes: readonly Attribute[],
  shape: RowShape,
): Codec {
  return {
    name,
    binary: false,
    decode(buffer, _view, at, end) {
      const scan = new Scanner(readText(buffer, at, end), name);
      scan.take('(');
      const list = attributes.map(({ codec }, i) => {
        if (i > 0) scan.take(',');
        const text = scan.item(',)', '');
        return text === null ? null : decodeText(codec, text);
      });
      scan.take(')');
      return shape.make(list);
    },
    encode(out, value) {
      if (typeof value !== 'object' || value === null) throw refuse('an object', value);
      const list = attributes.map(({ name: key, codec }, i) => {
        const item = Array.isArray(value) ? value[i] : (value as Record<string, unknown>)[key];
        return item === null || item === undefined ? '' : quote(encodeText(codec, item));
      });
      out.text(`(${list.join(',')})`);
    },
  };
}

/** A codec of the user, over text or bytes. */
export function customCodec(
  name: string,
  codec: { encode(value: unknown): unknown; decode(value: unknown): unknown },
  binary: boolean,
): Codec {
  return {
    name,
    binary,
    decode(buffer, _view, at, end) {
      const raw = binary ? Buffer.from(buffer.subarray(at, end)) : readText(buffer, at, end);
      return codec.decode(raw);
    },
    encode(out, value) {
      const raw = codec.encode(value);
      if (typeof raw === 'string') out.text(raw);
      else if (raw instanceof Uint8Array) out.bytes(raw);
      else throw refuse('a codec whose encode() gives a string or bytes', raw);
    },
  };
}
