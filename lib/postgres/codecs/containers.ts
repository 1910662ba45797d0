/**
 * Arrays, ranges, multiranges and composites in binary, of any codec that is binary itself.
 *
 * In: binary fields, or arrays and objects. Out: arrays, ranges and rows. Never: recursion without
 * a bound; an element read beyond its container.
 */
import type { Buffer } from 'node:buffer';
import { InterfaceError } from '../errors.ts';
import { canGenerate, fixedReads, type RowShape } from '../rows.ts';
import type { Writer } from '../writer.ts';
import { type Codec, FieldError, hasOnly, refuse, ValueError } from './codec.ts';

/** PostgreSQL's MAXDIM. */
const maxDimensions = 6;

interface ArrayHead {
  readonly sizes: readonly number[];
  readonly at: number;
}

function arrayHead(name: string, view: DataView, at: number, end: number): ArrayHead {
  const dimensions = end - at < 12 ? -1 : view.getInt32(at);
  if (dimensions < 0 || dimensions > maxDimensions || end - at < 12 + dimensions * 8) {
    throw new FieldError(name, 'its header');
  }
  const sizes: number[] = [];
  let count = dimensions === 0 ? 0 : 1;
  for (let i = 0; i < dimensions; i++) {
    const size = view.getInt32(at + 12 + i * 8);
    if (size < 0) throw new FieldError(name, 'its dimensions');
    sizes.push(size);
    count *= size;
  }
  const body = at + 12 + dimensions * 8;
  // Each element takes four bytes at least: no array is made for sizes that are only claimed.
  if (count * 4 > end - body) throw new FieldError(name, 'its dimensions');
  return { sizes, at: body };
}

/** Reads elements in order. */
class ElementReader {
  readonly #codec: Codec;
  readonly #buffer: Buffer;
  readonly #view: DataView;
  readonly #end: number;
  at: number;

  constructor(codec: Codec, buffer: Buffer, view: DataView, at: number, end: number) {
    this.#codec = codec;
    this.#buffer = buffer;
    this.#view = view;
    this.#end = end;
    this.at = at;
  }

  list(count: number): unknown[] {
    const codec = this.#codec;
    const [buffer, view, end] = [this.#buffer, this.#view, this.#end];
    const items: unknown[] = new Array(count);
    let at = this.at;
    for (let i = 0; i < count; i++) {
      if (at + 4 > end) throw new FieldError(codec.name, 'the end of its array');
      const length = view.getInt32(at);
      at += 4;
      if (length < -1 || at + length > end) throw new FieldError(codec.name, 'its length');
      if (length === -1) {
        items[i] = null;
      } else {
        items[i] = codec.decode(buffer, view, at, at + length);
        at += length;
      }
    }
    this.at = at;
    return items;
  }

  nested(sizes: readonly number[], depth: number): unknown[] {
    const size = sizes[depth] as number;
    if (depth === sizes.length - 1) return this.list(size);
    const items: unknown[] = [];
    for (let i = 0; i < size; i++) items.push(this.nested(sizes, depth + 1));
    return items;
  }
}

type ListReader = (view: DataView, at: number, end: number) => unknown[] | null;

const listReaders: Map<Codec['inline'], ListReader | null> = new Map();

/**
 * Reads elements of one length that are not null, without a call for each: half of the time. Null:
 * not all are. Null in its place: the codec is none of those, or V8 may not generate code.
 */
function listReader({ inline }: Codec): ListReader | null {
  let reader = listReaders.get(inline);
  if (reader === undefined) {
    const [bytes, read] = (inline && fixedReads[inline]) ?? [0, ''];
    // `buffer` and `chars` are none of its names.
    const possible = read.startsWith('view.') && canGenerate();
    reader = possible ? generateListReader(bytes, read) : null;
    listReaders.set(inline, reader);
  }
  return reader;
}

function generateListReader(bytes: number, read: string): ListReader {
  return new Function(`'use strict';
return function list(view, at, end) {
  const count = (end - at) / ${bytes + 4};
  if (count !== Math.floor(count)) return null;
  const items = [];
  for (let p = at + 4; p < end; p += ${bytes + 4}) {
    if (view.getInt32(p - 4) !== ${bytes}) return null;
    items.push(${read});
  }
  return items;
};`)() as ListReader;
}

/** The lengths of a nested array, from outside in. */
function sizesOf(value: readonly unknown[], element: Codec): number[] {
  const sizes: number[] = [];
  let level: unknown = value;
  const nests = !takesArrays(element);
  while (Array.isArray(level)) {
    sizes.push(level.length);
    if (!nests || sizes.length > maxDimensions) break;
    level = level[0];
  }
  return sizes;
}

/** Whether one value of it may be an array, so that an array inside an array is no dimension. */
export function takesArrays(element: Codec): boolean {
  if (element.name === 'json' || element.name === 'jsonb') return true;
  return 'attributes' in element || 'element' in element || 'range' in element;
}

function writeElements(
  out: Writer,
  items: readonly unknown[],
  sizes: readonly number[],
  depth: number,
  element: Codec,
): boolean {
  let nulls = false;
  if (items.length !== sizes[depth]) throw refuse('an array whose rows have one length', items);
  for (const item of items) {
    if (depth < sizes.length - 1) {
      if (!Array.isArray(item)) throw refuse('an array whose rows have one length', items);
      nulls = writeElements(out, item, sizes, depth + 1, element) || nulls;
    } else if (item === null || item === undefined) {
      out.int32(-1);
      nulls = true;
    } else {
      writeField(out, element, item);
    }
  }
  return nulls;
}

/** A value with its length in front. */
export function writeField(out: Writer, codec: Codec, value: unknown): void {
  const mark = out.mark();
  out.int32(0);
  codec.encode(out, value);
  out.patchLength(mark);
}

export interface ArrayCodec extends Codec {
  readonly element: Codec;
}

/**
 * @param oid that of the element, which stands in the array
 * @param first the index of the first element: that of int2vector and oidvector is 0
 */
export function arrayCodec(element: Codec, oid: number, first: 0 | 1 = 1): ArrayCodec {
  const name = `${element.name}[]`;
  const readList = listReader(element);
  return {
    name,
    element,
    binary: true,
    decode(buffer, view, at, end) {
      // One dimension, and as many elements as there is room for.
      if (readList !== null && end - at > 20 && view.getInt32(at) === 1) {
        const items = readList(view, at + 20, end);
        if (items !== null && items.length === view.getInt32(at + 12)) return items;
      }
      const head = arrayHead(name, view, at, end);
      const reader = new ElementReader(element, buffer, view, head.at, end);
      if (head.sizes.length === 0) return [];
      const items = reader.nested(head.sizes, 0);
      if (reader.at !== end) throw new FieldError(name, 'its length');
      return items;
    },
    encode(out, value) {
      const list = toList(value, element);
      const sizes = sizesOf(list, element);
      if (sizes.length > maxDimensions) throw refuse('an array of at most 6 dimensions', value);
      const empty = sizes.includes(0);
      out.int32(empty ? 0 : sizes.length);
      const flag = out.mark();
      out.int32(0);
      out.int32(oid | 0);
      if (empty) return;
      for (const size of sizes) {
        out.int32(size);
        out.int32(first);
      }
      if (writeElements(out, list, sizes, 0, element)) out.patchInt32(flag, 1);
    },
  };
}

function toList(value: unknown, element: Codec): readonly unknown[] {
  if (Array.isArray(value)) return value;
  const iterable = typeof value === 'object' && value !== null && Symbol.iterator in value;
  if (iterable && !(value instanceof Map)) return [...(value as Iterable<unknown>)];
  throw refuse(`an array of ${element.name}`, value);
}

/** A range; a bound that is null is infinite. */
export interface Range<T = unknown> {
  readonly lower: T | null;
  readonly upper: T | null;
  /** Whether the bound itself belongs to the range. */
  readonly lowerInclusive: boolean;
  readonly upperInclusive: boolean;
  readonly empty: boolean;
}

const rangeKeys: readonly string[] = [
  'lower',
  'upper',
  'lowerInclusive',
  'upperInclusive',
  'empty',
];

const EMPTY = 1;
const LOWER_INCLUSIVE = 2;
const UPPER_INCLUSIVE = 4;
const LOWER_INFINITE = 8;
const UPPER_INFINITE = 16;

export function rangeCodec(name: string, bound: Codec): Codec {
  return {
    name,
    binary: true,
    decode(buffer, view, at, end): Range {
      const flags = at < end ? (buffer[at] as number) : EMPTY | 0x80;
      if ((flags & 0x80) !== 0) throw new FieldError(name, 'its flags');
      const reader = new ElementReader(bound, buffer, view, at + 1, end);
      const read = (infinite: number): unknown =>
        (flags & (infinite | EMPTY)) === 0 ? reader.list(1)[0] : null;
      const lower = read(LOWER_INFINITE);
      const upper = read(UPPER_INFINITE);
      if (reader.at !== end) throw new FieldError(name, 'its length');
      return {
        lower,
        upper,
        lowerInclusive: (flags & LOWER_INCLUSIVE) !== 0,
        upperInclusive: (flags & UPPER_INCLUSIVE) !== 0,
        empty: (flags & EMPTY) !== 0,
      };
    },
    encode(out, value) {
      if (!hasOnly(value, rangeKeys)) {
        throw refuse('a range { lower, upper, lowerInclusive, upperInclusive }', value);
      }
      const range = value as Partial<Range>;
      if (range.empty === true) return out.byte(EMPTY);
      const lower = range.lower ?? null;
      const upper = range.upper ?? null;
      let flags = lower === null ? LOWER_INFINITE : 0;
      if (upper === null) flags |= UPPER_INFINITE;
      // [lower, upper) unless it says otherwise.
      if (lower !== null && range.lowerInclusive !== false) flags |= LOWER_INCLUSIVE;
      if (upper !== null && range.upperInclusive === true) flags |= UPPER_INCLUSIVE;
      out.byte(flags);
      if (lower !== null) writeField(out, bound, lower);
      if (upper !== null) writeField(out, bound, upper);
    },
  };
}

export function multirangeCodec(name: string, range: Codec): Codec & { readonly range: Codec } {
  return {
    name,
    range,
    binary: true,
    decode(buffer, view, at, end) {
      const count = end - at < 4 ? -1 : view.getInt32(at);
      if (count < 0 || count * 4 > end - at) throw new FieldError(name, `${count} ranges`);
      const reader = new ElementReader(range, buffer, view, at + 4, end);
      const ranges = reader.list(count);
      if (reader.at !== end) throw new FieldError(name, 'its length');
      return ranges;
    },
    encode(out, value) {
      if (!Array.isArray(value)) throw refuse('an array of ranges', value);
      out.int32(value.length);
      for (const one of value) writeField(out, range, one);
    },
  };
}

export interface Attribute {
  readonly name: string;
  readonly oid: number;
  readonly codec: Codec;
}

/** In the order of the type. */
export function attributeValues(
  value: unknown,
  attributes: readonly Attribute[],
): readonly unknown[] {
  if (Array.isArray(value)) {
    if (value.length === attributes.length) return value;
    throw refuse(`${attributes.length} attributes`, value);
  }
  if (typeof value !== 'object' || value === null) throw refuse('an object or an array', value);
  const names = new Set(attributes.map(({ name }) => name));
  const extra = Object.keys(value).find((key) => !names.has(key));
  if (extra !== undefined) throw new ValueError(`it has no attribute '${extra}'`);
  return attributes.map(({ name }) => {
    // 'constructor' is one of every object, and none that somebody gave.
    const inherited = name in Object.prototype && !Object.hasOwn(value, name);
    return inherited ? undefined : (value as Record<string, unknown>)[name];
  });
}

export interface CompositeCodec extends Codec {
  readonly attributes: readonly Attribute[];
  readonly shape: RowShape;
}

/** Most likely it was altered since it was asked for. */
function outdated(name: string, why: string): FieldError {
  return new FieldError(name, `${why}. If the type was altered, the next query knows it`);
}

/** A composite: a row out, an object or an array in. */
export function compositeCodec(
  name: string,
  attributes: readonly Attribute[],
  shape: RowShape,
): CompositeCodec {
  return {
    name,
    attributes,
    shape,
    binary: true,
    decode(buffer, view, at, end) {
      const count = end - at < 4 ? -1 : view.getInt32(at);
      if (count !== attributes.length) throw outdated(name, `${count} attributes`);
      let p = at + 4;
      const list = attributes.map(({ name: attribute, oid, codec }) => {
        if (p + 8 > end) throw new FieldError(name, 'its length');
        if (view.getUint32(p) !== oid) throw outdated(name, `${attribute} has another type`);
        const reader = new ElementReader(codec, buffer, view, p + 4, end);
        const [value] = reader.list(1);
        p = reader.at;
        return value;
      });
      if (p !== end) throw new FieldError(name, 'its length');
      return shape.make(list);
    },
    encode(out, value) {
      const list = attributeValues(value, attributes);
      out.int32(attributes.length);
      for (const [i, { name: attribute, oid, codec }] of attributes.entries()) {
        out.int32(oid | 0);
        const item = list[i];
        try {
          if (item === null || item === undefined) out.int32(-1);
          else writeField(out, codec, item);
        } catch (error) {
          if (error instanceof ValueError) error.message = `${attribute}: ${error.message}`;
          throw error;
        }
      }
    },
  };
}

/** An anonymous record: its types stand in the value, and may be unknown until then. */
export function recordCodec(
  codecOf: (oid: number) => Codec | undefined,
  shapeFor: (names: readonly string[]) => RowShape,
): Codec {
  return {
    name: 'record',
    binary: true,
    decode(buffer, view, at, end) {
      const count = end - at < 4 ? -1 : view.getInt32(at);
      if (count < 0 || count * 8 > end - at - 4) throw new FieldError('record', 'its length');
      const list: unknown[] = [];
      let p = at + 4;
      for (let i = 0; i < count; i++) {
        const codec = codecOf(view.getUint32(p));
        if (codec === undefined) {
          const why = `a field of the type ${view.getUint32(p)}, which the next query will know`;
          throw new FieldError('record', why);
        }
        // The fields are binary, whatever the client would rather have.
        const isNull = end - p >= 8 && view.getInt32(p + 4) === -1;
        if (!codec.binary && !isNull && codec.name !== 'xml') {
          const what = `a record without a name has a field of type ${codec.name}`;
          throw new InterfaceError(`${what}, which is read as text only: cast it to text`);
        }
        const reader = new ElementReader(codec, buffer, view, p + 4, end);
        list.push(reader.list(1)[0]);
        p = reader.at;
      }
      if (p !== end) throw new FieldError('record', 'its length');
      return shapeFor(list.map((_, i) => `f${i + 1}`)).make(list);
    },
    encode(_out, value) {
      throw refuse('a type with a name (an anonymous record cannot be a parameter)', value);
    },
  };
}
