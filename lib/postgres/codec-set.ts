/**
 * The codecs of one connection: by oid, with what the user has set.
 *
 * In: descriptions of types, codecs of the user. Out: a codec, or the oids that must be asked for.
 * Never: recursion without an end: a composite that contains itself is an error.
 */
import { type Catalog, firstUserOid, type TypeInfo } from './catalog.ts';
import type { Codec } from './codecs/codec.ts';
import {
  type Attribute,
  arrayCodec,
  compositeCodec,
  multirangeCodec,
  rangeCodec,
  recordCodec,
} from './codecs/containers.ts';
import {
  dateCodec,
  intervalCodec,
  timeCodec,
  timestampCodec,
  timetzCodec,
} from './codecs/dates.ts';
import * as geometry from './codecs/geometry.ts';
import { cidrCodec, inetCodec, macaddrCodec } from './codecs/network.ts';
import * as numbers from './codecs/numbers.ts';
import * as texts from './codecs/text.ts';
import { textArrayCodec, textCompositeCodec } from './codecs/text-forms.ts';
import { makeShape, shapeOf } from './rows.ts';

export interface CodecOptions {
  readonly int8: 'bigint' | 'number' | 'string';
  readonly dates: 'date' | 'string';
}

/** Types that are exchanged as text. */
const textOnly = ['regproc', 'xml', 'pg_node_tree', 'money', 'aclitem', 'regprocedure', 'regoper'];
textOnly.push('regoperator', 'regclass', 'regtype', 'txid_snapshot', 'tsvector', 'tsquery');
textOnly.push('gtsvector', 'regconfig', 'regdictionary', 'regnamespace', 'regrole', 'regcollation');
textOnly.push('pg_snapshot');

const textKinds = ['text', 'varchar', 'bpchar', 'name', 'unknown', 'cstring', 'refcursor', 'void'];

const fixedCodecs: readonly Codec[] = [
  numbers.boolCodec,
  numbers.int2Codec,
  numbers.int4Codec,
  numbers.float4Codec,
  numbers.float8Codec,
  numbers.numericCodec,
  numbers.xid8Codec,
  ...['oid', 'xid', 'cid'].map(numbers.oidCodec),
  ...textOnly.map(texts.textOnlyCodec),
  ...textKinds.map(texts.textCodec),
  texts.charCodec,
  texts.byteaCodec,
  texts.uuidCodec,
  texts.jsonCodec,
  texts.jsonbCodec,
  texts.jsonpathCodec,
  texts.tidCodec,
  texts.lsnCodec,
  ...['bit', 'varbit'].map(texts.bitCodec),
  timeCodec,
  timetzCodec,
  intervalCodec,
  inetCodec,
  cidrCodec,
  macaddrCodec('macaddr', 6),
  macaddrCodec('macaddr8', 8),
  geometry.pointCodec,
  geometry.lineCodec,
  geometry.lsegCodec,
  geometry.boxCodec,
  geometry.pathCodec,
  geometry.polygonCodec,
  geometry.circleCodec,
];

const shared: Map<string, ReadonlyMap<string, Codec>> = new Map();

/** By name. The same objects for the same options, so that row decoders are shared. */
function baseCodecs({ int8, dates }: CodecOptions): ReadonlyMap<string, Codec> {
  const key = `${int8} ${dates}`;
  let found = shared.get(key);
  if (found === undefined) {
    const all = new Map(fixedCodecs.map((codec) => [codec.name, codec]));
    all.set('int8', numbers.int8Codec(int8));
    all.set('date', dateCodec(dates));
    all.set('timestamp', timestampCodec(dates, false));
    all.set('timestamptz', timestampCodec(dates, true));
    found = all;
    shared.set(key, found);
  }
  return found;
}

const maxDepth = 64;

const derived: WeakMap<Codec, Codec> = new WeakMap();

/** One array codec for one element codec, for the sake of shared row decoders. */
function sharedArray(element: Codec, oid: number): Codec {
  let codec = derived.get(element);
  if (codec === undefined) {
    codec = arrayCodec(element, oid);
    derived.set(element, codec);
  }
  return codec;
}

export class CodecSet {
  readonly catalog: Catalog;
  readonly #base: ReadonlyMap<string, Codec>;
  readonly #custom: Map<number, Codec> = new Map();
  readonly #made: Map<number, Codec> = new Map();
  readonly #record: Codec;
  /** Types that records without a name have shown. */
  readonly #seen: Set<number> = new Set();
  /** Oids that were asked for and are no types any more. */
  readonly #absent: Set<number> = new Set();

  constructor(catalog: Catalog, options: CodecOptions) {
    this.catalog = catalog;
    this.#base = baseCodecs(options);
    this.#record = recordCodec(
      (oid) => this.find(oid, this.#seen),
      (names) => shapeOf(names, []),
    );
  }

  /** The codec, or undefined with the oids it lacks added to `missing`. */
  find(oid: number, missing: Set<number>): Codec | undefined {
    return this.#find(oid, missing, 0);
  }

  /** Types that will be needed, though no statement names them. */
  addSeen(missing: Set<number>): void {
    for (const oid of this.#seen) this.find(oid, missing);
  }

  /** Some oids were asked for: those that were not found are text from now on. */
  asked(oids: Iterable<number>): void {
    for (const oid of oids) if (this.catalog.get(oid) === undefined) this.#absent.add(oid);
  }

  /** A codec that comes with the client, by the name of its type. */
  builtin(name: string): Codec | undefined {
    return this.#base.get(name);
  }

  set(oid: number, codec: Codec): void {
    this.#custom.set(oid, codec);
    this.#made.clear();
  }

  reset(oid: number): void {
    this.#custom.delete(oid);
    this.#made.clear();
  }

  clear(): void {
    this.#made.clear();
    this.#absent.clear();
  }

  #find(oid: number, missing: Set<number>, depth: number): Codec | undefined {
    const known = this.#custom.get(oid) ?? this.#made.get(oid);
    if (known !== undefined) return known;
    const info = this.catalog.get(oid);
    if (info === undefined) {
      if (this.#absent.has(oid)) return texts.textOnlyCodec(`type ${oid}`);
      missing.add(oid);
      return undefined;
    }
    if (depth > maxDepth) throw new Error(`The type ${info.name} contains itself`);
    const codec = this.#make(info, missing, depth + 1);
    if (codec !== undefined) this.#made.set(oid, codec);
    return codec;
  }

  #make(info: TypeInfo, missing: Set<number>, depth: number): Codec | undefined {
    const { name, kind } = info;
    if (kind === 'base') return this.#baseOf(info);
    if (kind === 'enum') return texts.textCodec(name);
    if (kind === 'composite') return this.#composite(info, missing, depth);
    const inner = this.#find(info.inner, missing, depth);
    if (inner === undefined) return undefined;
    if (kind === 'domain') return inner;
    if (kind === 'array') {
      if (!inner.binary) return textArrayCodec(inner, info.delimiter);
      if (info.name === 'int2vector' || info.name === 'oidvector') {
        return arrayCodec(inner, info.inner, 0);
      }
      const shares = info.oid < firstUserOid && !this.#custom.has(info.inner);
      return shares ? sharedArray(inner, info.inner) : arrayCodec(inner, info.inner);
    }
    if (!inner.binary) return texts.textOnlyCodec(name);
    return kind === 'range' ? rangeCodec(name, inner) : multirangeCodec(name, inner);
  }

  /** A type of an extension is exchanged as text, but for citext, which is text. */
  #baseOf({ name, schema }: TypeInfo): Codec {
    if (schema !== 'pg_catalog') {
      return name === 'citext' ? texts.textCodec(name) : texts.textOnlyCodec(name);
    }
    if (name === 'record') return this.#record;
    return this.#base.get(name) ?? texts.textOnlyCodec(name);
  }

  #composite(info: TypeInfo, missing: Set<number>, depth: number): Codec | undefined {
    const attributes: Attribute[] = [];
    for (const { name, oid } of info.attributes) {
      const codec = this.#find(oid, missing, depth);
      if (codec !== undefined) attributes.push({ name, oid, codec });
    }
    if (attributes.length < info.attributes.length) return undefined;
    const names = attributes.map(({ name }) => name);
    const codecs = attributes.map(({ codec }) => codec);
    const shape = names.length === 0 ? makeShape([], []) : shapeOf(names, codecs);
    const binary = codecs.every((codec) => codec.binary);
    return (binary ? compositeCodec : textCompositeCodec)(info.name, attributes, shape);
  }
}
