/**
 * Row classes and row decoders, generated for each list of columns.
 *
 * In: names and codecs of columns; the bytes of DataRow messages. Out: objects of one class.
 * Never: code made from a name as it is (names go through JSON.stringify); a value read beyond its
 * message.
 *
 * Measured on Node 20: a generated class and decoder takes 80–190 ns for a row of five columns, one
 * that walks over arrays of names and codecs four times as much. Where V8 may not generate code
 * (`--disallow-code-generation-from-strings`) the latter is used.
 */
import { Buffer } from 'node:buffer';
import type { ByteParsers } from '../io/handles.ts';
import { type Codec, FieldError } from './codecs/codec.ts';
import { ProtocolError } from './errors.ts';
import type { Row } from './types.ts';

/** Decodes the DataRow messages from `at` on, at most `limit`; gives the end of the last one. */
export type RowRun = (
  buffer: Buffer,
  view: DataView,
  at: number,
  end: number,
  rows: unknown[],
  limit: number,
) => number;

export interface RowShape {
  /** A row of values, for composites and tests of columns. */
  readonly make: (values: readonly unknown[]) => Row;
  readonly run: RowRun;
}

const DATA_ROW = 0x44;
/**
 * Text up to this length, in bytes, is cut from one string of all bytes around it, after a loop has
 * seen that it is ASCII: 15–60 ns, where a call of Node takes 65–80. Above it Node is faster.
 */
const shortText = 128;
/** Of that string. From 128 KiB on V8 gives a string pages of its own: 100 µs and not 5. */
const windowBytes = 32 * 1024;

/**
 * Bytes of a length from here to `longBytes` are views of one copy of all bytes around them: 29 µs
 * and not 34 for 100 of 1 KiB. Shorter ones, kept, would keep too much; longer ones gain nothing.
 */
const shortBytes = 256;
const longBytes = 16 * 1024;

/** More rows follow: their text or bytes, too. */
function windowEnd(at: number, end: number): number {
  return at + windowBytes < end ? at + windowBytes : end;
}

const species = (Buffer as unknown as { [Symbol.species]?: BytesOf })[Symbol.species];

interface BytesOf {
  new (memory: ArrayBufferLike, at: number, length: number): Buffer;
  readonly prototype: Buffer;
}

/**
 * Node's class of buffers, which it names for the methods of Uint8Array: 125 ns, where `subarray`
 * takes 160 with the calls around it.
 */
const FastBuffer: unknown =
  species?.prototype === Buffer.prototype
    ? species
    : function slower(memory: ArrayBuffer, at: number, length: number): Buffer {
        return Buffer.from(memory, at, length);
      };

function copyOf(buffer: Buffer, at: number, end: number): ArrayBufferLike {
  const copy = Buffer.allocUnsafeSlow(end - at);
  buffer.copy(copy, 0, at, end);
  return copy.buffer;
}

/** From as many bytes of rows on the addon converts their text: a call of it takes 300 ns. */
const nativeBytes = 1024;
/** The same in native/parse/postgres.h: `kLongText`, `kInvalid`, and where its marks begin. */
const nativeText = 1024;
const invalidMark = -(2 ** 31);
const firstMark = 3;

function bad(): never {
  throw new ProtocolError('a row whose fields do not fill its message');
}

const values: unique symbol = Symbol('values');

/** A name that plain assignment would not make a property of. */
function needsDefine(name: string): boolean {
  return name === '__proto__' || /^(0|[1-9]\d{0,9})$/.test(name);
}

interface GeneratedRow {
  new (...values: unknown[]): Row;
}

let mayGenerate: boolean | undefined;

/** Whether V8 lets us; asked once. */
export function canGenerate(): boolean {
  if (mayGenerate === undefined) {
    try {
      mayGenerate = new Function('return true')() === true;
    } catch {
      mayGenerate = false;
    }
  }
  return mayGenerate;
}

/** Names that are there twice: by name the last one, by index and iteration all. */
function plainNames(names: readonly string[]): boolean {
  return new Set(names).size === names.length && !names.some(needsDefine);
}

function generateClass(names: readonly string[]): GeneratedRow {
  const parameters = names.map((_, i) => `v${i}`);
  const keys = names.map((name) => JSON.stringify(name));
  const fields = keys.map((key, i) => `this[${key}] = v${i};`).join('\n');
  const getters = keys.map((key, i) => `get ${i}() { return this[${key}]; }`).join('\n');
  const list = keys.map((key) => `this[${key}]`).join(', ');
  return new Function(`'use strict';
return class Row {
constructor(${parameters.join(', ')}) { ${fields} }
${getters}
[Symbol.iterator]() { return [${list}][Symbol.iterator](); }
};`)() as GeneratedRow;
}

interface SlowRow {
  readonly [values]: readonly unknown[];
}

/** The same without generated code, and for names that need care. */
function makeSlowClass(names: readonly string[]): new (list: readonly unknown[]) => Row {
  class Row {
    constructor(list: readonly unknown[]) {
      Object.defineProperty(this, values, { value: list });
      const own = { enumerable: true, writable: true, configurable: true };
      for (let i = 0; i < names.length; i++) {
        Object.defineProperty(this, names[i] as string, { ...own, value: list[i] });
      }
    }

    [Symbol.iterator](): Iterator<unknown> {
      return (this as unknown as SlowRow)[values][Symbol.iterator]();
    }
  }
  for (let i = 0; i < names.length; i++) {
    Object.defineProperty(Row.prototype, i, {
      get(this: SlowRow) {
        return this[values][i];
      },
    });
  }
  return Row as unknown as new (
    list: readonly unknown[],
  ) => Row;
}

/** Types of one length, in bytes, and how they are read at `p`. */
export const fixedReads: Partial<Record<NonNullable<Codec['inline']>, readonly [number, string]>> =
  {
    int2: [2, 'view.getInt16(p)'],
    int4: [4, 'view.getInt32(p)'],
    oid: [4, 'view.getUint32(p)'],
    int8: [8, 'view.getBigInt64(p)'],
    bool: [1, 'buffer[p] !== 0'],
    char: [1, 'chars[buffer[p]]'],
    float8: [8, 'view.getFloat64(p)'],
  };

/** As in `charCodec`: zero is no text. */
const chars: readonly string[] = Array.from({ length: 256 }, (_, i) =>
  i === 0 ? '' : String.fromCharCode(i),
);

/** The kinds of columns that the addon converts: `Kind` in native/parse/postgres.h. */
const kindOf: Partial<Record<NonNullable<Codec['inline']>, number>> = {
  text: 1,
  json: 2,
  jsonb: 3,
};

/**
 * All documents by one call: it takes a third less time than a call for each, as V8 expects an item
 * of an array to have the form of the one before. Null when one is malformed: then each for itself.
 */
function parseAll(text: string, count: number): unknown[] | null {
  try {
    const items = JSON.parse(text) as unknown[];
    return items.length === count ? items : null;
  } catch {
    return null;
  }
}

/**
 * The addon has text of this row: its marks say where. It has also seen that the row is well
 * formed.
 */
function nativeTextCode(i: number): string {
  return `if (at < stop && l > 0 && l <= ${nativeText}) {
  k = marks[m++];
  if (k >= 0) v${i} = narrow.substring(k, k + l);
  else if (k !== ${invalidMark}) v${i} = wide.substring(~k, marks[m++]);
  else v${i} = buffer.utf8Slice(p, p + l);
  p += l;
} else `;
}

/** The statements that read column `i` into `v<i>` and move `p` behind it. */
function columnCode(codec: Codec, i: number, native: boolean): string {
  const length = `l = view.getInt32(p); p += 4;`;
  const size = codec.inline === undefined ? undefined : fixedReads[codec.inline];
  if (size !== undefined) {
    const [bytes, read] = size;
    return `${length}
if (l === ${bytes}) { v${i} = ${read}; p += ${bytes}; }
else if (l === -1) v${i} = null; else wrong(${i}, p, l, next);`;
  }
  if (codec.inline === 'text') {
    return `${length}
${native ? nativeTextCode(i) : ''}if (p + l > next) bad();
else if (l > ${shortText}) { v${i} = buffer.utf8Slice(p, p + l); p += l; }
else if (l >= 0) {
  q = p; e = p + l;
  if (l > 24) {
    while (q + 8 <= e && ((view.getInt32(q) | view.getInt32(q + 4)) & 0x80808080) === 0) q += 8;
  }
  while (q < e && buffer[q] < 128) q++;
  if (q === e) {
    if (e > edge) {
      base = p;
      edge = next === end || buffer[next] !== ${DATA_ROW} ? next : windowEnd(p, end);
      s = buffer.latin1Slice(base, edge);
    }
    v${i} = s.substring(p - base, e - base);
  } else v${i} = buffer.utf8Slice(p, e);
  p = e;
} else if (l === -1) v${i} = null; else bad();`;
  }
  if (codec.inline === 'bytea') {
    return `${length}
if (l >= ${shortBytes} && l <= ${longBytes}) {
  e = p + l;
  if (e > next) bad();
  if (e > copyEdge) {
    from = p;
    copyEdge = next === end || buffer[next] !== ${DATA_ROW} ? next : windowEnd(p, end);
    memory = copyOf(buffer, from, copyEdge);
  }
  v${i} = new FastBuffer(memory, p - from, l);
  p = e;
} else ${decodeCode(i)}`;
  }
  if (native && (codec.inline === 'json' || codec.inline === 'jsonb')) {
    return `${length}
if (at < stop && l >= 0 && marks[m++] === 1 && items !== null) { v${i} = items[j++]; p += l; }
else ${decodeCode(i)}`;
  }
  return `${length}
${decodeCode(i)}`;
}

/** By the codec, which checks what it reads. */
function decodeCode(i: number): string {
  return `if (l >= 0) {
  if (p + l > next) bad();
  v${i} = c${i}.decode(buffer, view, p, p + l);
  p += l;
}
else if (l === -1) v${i} = null; else bad();`;
}

/** Has the addon convert the text of as many rows as there are, and as it has room for. */
const windowCode = `
    if (at >= stop && limit > 8 && end - at >= ${nativeBytes}) {
      narrow = parsers.postgresTexts(buffer, at, end, kinds);
      stop = marks[0];
      wide = marks[1] > 0 ? parsers.postgresWide() : '';
      items = marks[2] > 0 ? parseAll(parsers.postgresJson(), marks[2]) : null;
      m = ${firstMark};
      j = 0;
    }`;

function generateRun(
  codecs: readonly Codec[],
  row: GeneratedRow,
  parsers: ByteParsers | undefined,
): RowRun {
  const kinds = Uint8Array.from(codecs, ({ inline }) => (inline && kindOf[inline]) ?? 0);
  const native = parsers !== undefined && kinds.some((kind) => kind > 0);
  const variables = codecs.map((_, i) => `v${i}`);
  const called = codecs.map((codec, i) => ({ codec, i })).filter(({ codec }) => !inlined(codec));
  const wrong = (i: number, p: number, length: number, next: number): void => {
    if (length < -1 || p + length > next) bad();
    throw new FieldError((codecs[i] as Codec).name, `${length} bytes`);
  };
  const declared = variables.length > 0 ? `, ${variables.join(', ')}` : '';
  const code = `'use strict';
return function run(buffer, view, at, end, rows, limit) {
  let base = 0, edge = -1, s = '';
  let from = 0, copyEdge = -1, memory = null;
  let items = null, j = 0, stop = at, m = 0, k = 0, narrow = '', wide = '';
  let p = at, l = 0, q = 0, e = 0${declared};
  while (limit-- > 0 && end - at >= 7 && buffer[at] === ${DATA_ROW}) {${native ? windowCode : ''}
    const next = at + 1 + view.getInt32(at + 1);
    if (next > end) break;
    if (next < at + 7 || view.getUint16(at + 5) !== ${codecs.length}) bad();
    p = at + 7;
    ${codecs.map((codec, i) => columnCode(codec, i, native)).join('\n')}
    if (p !== next) bad();
    rows.push(new Row(${variables.join(', ')}));
    at = next;
  }
  return at;
};`;
  const marks = native ? parsers.postgres : null;
  const helpers = { bad, wrong, windowEnd, copyOf, FastBuffer, parseAll };
  const tools = { Row: row, ...helpers, chars, parsers, marks, kinds };
  const names = [...Object.keys(tools), ...called.map(({ i }) => `c${i}`)];
  const given = [...Object.values(tools), ...called.map(({ codec }) => codec)];
  return new Function(...names, code)(...given) as RowRun;
}

function inlined(codec: Codec): boolean {
  return codec.inline === 'text' || (codec.inline !== undefined && codec.inline in fixedReads);
}

/** The same by walking over the codecs. */
function walkingRun(
  codecs: readonly Codec[],
  make: (values: readonly unknown[]) => unknown,
): RowRun {
  const count = codecs.length;
  return (buffer, view, at, end, rows, limit) => {
    for (; limit > 0 && end - at >= 7 && buffer[at] === DATA_ROW; limit--) {
      const next = at + 1 + view.getInt32(at + 1);
      if (next > end) break;
      if (next < at + 7 || view.getUint16(at + 5) !== count) bad();
      const list: unknown[] = new Array(count);
      let p = at + 7;
      for (let i = 0; i < count; i++) {
        if (p + 4 > next) bad();
        const length = view.getInt32(p);
        p += 4;
        if (length < -1 || p + length > next) bad();
        if (length === -1) {
          list[i] = null;
        } else {
          list[i] = (codecs[i] as Codec).decode(buffer, view, p, p + length);
          p += length;
        }
      }
      if (p !== next) bad();
      rows.push(make(list));
      at = next;
    }
    return at;
  };
}

/** Above that many columns a generated function is too large to be optimized. */
const maxGenerated = 200;

/** The class and the decoder for these columns. */
export function makeShape(
  names: readonly string[],
  codecs: readonly Codec[],
  parsers?: ByteParsers,
): RowShape {
  if (!plainNames(names) || names.length > maxGenerated || !canGenerate()) {
    const Slow = makeSlowClass(names);
    const make = (list: readonly unknown[]): Row => new Slow(list);
    return { make, run: walkingRun(codecs, make) };
  }
  const Fast = generateClass(names);
  return { make: (list) => new Fast(...list), run: generateRun(codecs, Fast, parsers) };
}

const cacheLimit = 500;
const cache: Map<string, RowShape> = new Map();
const ids: WeakMap<Codec | ByteParsers, number> = new WeakMap();
let lastId = 0;

function idOf(used: Codec | ByteParsers): number {
  let id = ids.get(used);
  if (id === undefined) {
    id = ++lastId;
    ids.set(used, id);
  }
  return id;
}

/** The same, remembered: connections of a pool share the classes and the compiled code. */
export function shapeOf(
  names: readonly string[],
  codecs: readonly Codec[],
  parsers?: ByteParsers,
): RowShape {
  const key = JSON.stringify([names, codecs.map(idOf), parsers === undefined ? 0 : idOf(parsers)]);
  let shape = cache.get(key);
  if (shape === undefined) {
    if (cache.size >= cacheLimit) cache.clear();
    shape = makeShape(names, codecs, parsers);
    cache.set(key, shape);
  }
  return shape;
}
