/**
 * Arrays and composites in text form, for elements that have no binary codec.
 *
 * In: '{a,"b c",NULL}' and '(a,"b c",)'. Out: arrays and rows of what the element's codec makes of
 * each text. Never: a regular expression that backtracks; recursion beyond six dimensions.
 */
import { Buffer } from 'node:buffer';
import type { RowShape } from '../rows.ts';
import { Writer } from '../writer.ts';
import { dateText, timestampText } from './calendar.ts';
import { type Codec, FieldError, readText, refuse, ValueError } from './codec.ts';
import {
  type ArrayCodec,
  type Attribute,
  attributeValues,
  type CompositeCodec,
  takesArrays,
} from './containers.ts';

function decodeBytes(codec: Codec, bytes: Buffer): unknown {
  const { buffer, byteOffset, length } = bytes;
  const [whole, view] = [Buffer.from(buffer), new DataView(buffer)];
  return codec.decode(whole, view, byteOffset, byteOffset + length);
}

function encodeBytes(codec: Codec, value: unknown): Buffer {
  const out = new Writer();
  codec.encode(out, value);
  return out.take();
}

function decodeText(codec: Codec, text: string): unknown {
  return codec.binary ? binaryValue(codec, text) : decodeBytes(codec, Buffer.from(text));
}

/** Codecs that take what the server writes, and give something else. */
const parsing = new Set(['int8', 'date', 'timestamp', 'timestamptz']);

/**
 * A type that is binary otherwise: the same value, but for intervals, ranges and geometry, which
 * are text here.
 */
function binaryValue(codec: Codec, text: string): unknown {
  // '1 2' is an int2vector.
  if ('element' in codec && /^[[{]/.test(text)) return textArrayOf(codec as ArrayCodec).parse(text);
  if ('attributes' in codec) return textCompositeOf(codec as CompositeCodec).parse(text);
  if (parsing.has(codec.name)) return parsed(codec, text);
  if (codec.name === 'float4') return Number(text);
  switch (codec.inline) {
    case undefined:
    case 'text':
    case 'char':
      return text;
    case 'bool':
      return text === 't';
    case 'json':
    case 'jsonb':
      return JSON.parse(text) as unknown;
    case 'bytea':
      return bytesOf(text);
    default:
      return Number(text);
  }
}

/** With another DateStyle than ISO it stays text. */
function parsed(codec: Codec, text: string): unknown {
  let bytes: Buffer;
  try {
    bytes = encodeBytes(codec, text);
  } catch (error) {
    if (error instanceof ValueError) return text;
    throw error;
  }
  return decodeBytes(codec, bytes);
}

/** bytea_output may be 'escape': bytes in octal, and a backslash twice. */
function bytesOf(text: string): Buffer {
  if (text.startsWith('\\x')) return Buffer.from(text.slice(2), 'hex');
  const plain = text.replace(/\\(\\|[0-7]{3})/g, (_, code: string) => {
    return code === '\\' ? code : String.fromCharCode(Number.parseInt(code, 8));
  });
  return Buffer.from(plain, 'latin1');
}

function encodeText(codec: Codec, value: unknown): string {
  return codec.binary ? binaryText(codec, value) : encodeBytes(codec, value).toString('utf8');
}

function binaryText(codec: Codec, value: unknown): string {
  if ('element' in codec) return textArrayOf(codec as ArrayCodec).format(value);
  if ('attributes' in codec) return textCompositeOf(codec as CompositeCodec).format(value);
  const { inline, name } = codec;
  if (inline === 'json') return encodeBytes(codec, value).toString('utf8');
  if (inline === 'jsonb') return encodeBytes(codec, value).toString('utf8', 1);
  if (inline === 'bytea') return `\\x${encodeBytes(codec, value).toString('hex')}`;
  if (value instanceof Date && parsing.has(name)) return dateOf(codec, value);
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (['string', 'number', 'bigint'].includes(typeof value)) return String(value);
  throw refuse(`text of type ${name}`, value);
}

/** Through the binary form, which refuses what is no date. */
function dateOf(codec: Codec, value: Date): string {
  const bytes = encodeBytes(codec, value);
  if (codec.name === 'date') return dateText(bytes.readInt32BE());
  return timestampText(bytes.readBigInt64BE(), codec.name === 'timestamptz' ? '+00' : '');
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

/** Both ways between a value and its text. */
interface TextForm {
  parse(text: string): unknown;
  format(value: unknown): string;
}

function textArray(element: Codec, delimiter: string): TextForm {
  const name = `${element.name}[]`;
  const stops = `${delimiter}}`;
  const nests = !takesArrays(element);
  const read = (scan: Scanner, depth: number): unknown[] => {
    const items: unknown[] = [];
    scan.take('{');
    if (depth > 6) throw new FieldError(name, 'its dimensions');
    while (scan.next !== '}') {
      if (items.length > 0) scan.take(delimiter);
      if (scan.next === '{') {
        items.push(read(scan, depth + 1));
      } else {
        const text = scan.item(stops, 'NULL');
        items.push(text === null ? null : decodeText(element, text));
      }
    }
    scan.take('}');
    return items;
  };
  const write = (value: unknown, depth: number): string => {
    if (value === null || value === undefined) return 'NULL';
    if (!Array.isArray(value) || (depth > 0 && !nests)) return quote(encodeText(element, value));
    if (depth > 6) throw refuse('an array of at most 6 dimensions', value);
    return `{${value.map((item) => write(item, depth + 1)).join(delimiter)}}`;
  };
  return {
    parse(text) {
      const scan = new Scanner(text, name);
      // '[0:1]={a,b}': bounds that do not begin at 1.
      if (scan.next === '[') scan.at = scan.text.indexOf('=') + 1;
      return read(scan, 1);
    },
    format(value) {
      if (!Array.isArray(value)) throw refuse(`an array of ${element.name}`, value);
      return write(value, 0);
    },
  };
}

function textComposite(name: string, attributes: readonly Attribute[], shape: RowShape): TextForm {
  return {
    parse(text) {
      const scan = new Scanner(text, name);
      scan.take('(');
      const list = attributes.map(({ codec }, i) => {
        if (i > 0) scan.take(',');
        const item = scan.item(',)', '');
        return item === null ? null : decodeText(codec, item);
      });
      scan.take(')');
      return shape.make(list);
    },
    format(value) {
      const list = attributeValues(value, attributes).map((item, i) => {
        const { codec } = attributes[i] as Attribute;
        return item === null || item === undefined ? '' : quote(encodeText(codec, item));
      });
      return `(${list.join(',')})`;
    },
  };
}

/** Inside of a text a binary array is one, too. */
function textArrayOf({ element }: ArrayCodec): TextForm {
  return textArray(element, element.name === 'box' ? ';' : ',');
}

function textCompositeOf({ name, attributes, shape }: CompositeCodec): TextForm {
  return textComposite(name, attributes, shape);
}

function codecOf(name: string, { parse, format }: TextForm): Codec {
  return {
    name,
    binary: false,
    decode: (buffer, _view, at, end) => parse(readText(buffer, at, end)),
    encode: (out, value) => out.text(format(value)),
  };
}

export function textArrayCodec(element: Codec, delimiter: string): Codec & { element: Codec } {
  return { ...codecOf(`${element.name}[]`, textArray(element, delimiter)), element };
}

export function textCompositeCodec(
  name: string,
  attributes: readonly Attribute[],
  shape: RowShape,
): CompositeCodec {
  return { ...codecOf(name, textComposite(name, attributes, shape)), attributes, shape };
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
