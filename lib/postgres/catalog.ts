/**
 * What is known of the database's types: those of PostgreSQL by heart, others by asking.
 *
 * In: rows of pg_type. Out: descriptions by oid. Never: a query by itself; a codec.
 */

export type TypeKind = 'base' | 'array' | 'composite' | 'domain' | 'enum' | 'range' | 'multirange';

export interface TypeInfo {
  readonly oid: number;
  readonly name: string;
  readonly schema: string;
  readonly kind: TypeKind;
  /** Of an array its element, of a domain its base, of a range its bound, of multiranges ranges. */
  readonly inner: number;
  readonly delimiter: string;
  readonly attributes: readonly { readonly name: string; readonly oid: number }[];
}

/** oid, name and oid of the array type. */
const baseTypes = `16 bool 1000,17 bytea 1001,18 char 1002,19 name 1003,20 int8 1016,21 int2 1005,
23 int4 1007,24 regproc 1008,25 text 1009,26 oid 1028,27 tid 1010,28 xid 1011,29 cid 1012,
114 json 199,142 xml 143,194 pg_node_tree 0,600 point 1017,601 lseg 1018,602 path 1019,603 box 1020,
604 polygon 1027,628 line 629,650 cidr 651,700 float4 1021,701 float8 1022,705 unknown 0,
718 circle 719,774 macaddr8 775,790 money 791,829 macaddr 1040,869 inet 1041,1033 aclitem 1034,
1042 bpchar 1014,1043 varchar 1015,1082 date 1182,1083 time 1183,1114 timestamp 1115,
1184 timestamptz 1185,1186 interval 1187,1266 timetz 1270,1560 bit 1561,1562 varbit 1563,
1700 numeric 1231,1790 refcursor 2201,2202 regprocedure 2207,2203 regoper 2208,
2204 regoperator 2209,2205 regclass 2210,2206 regtype 2211,2249 record 2287,2275 cstring 1263,
2278 void 0,2950 uuid 2951,2970 txid_snapshot 2949,3220 pg_lsn 3221,3614 tsvector 3643,
3615 tsquery 3645,3642 gtsvector 3644,3734 regconfig 3735,3769 regdictionary 3770,3802 jsonb 3807,
4072 jsonpath 4073,4089 regnamespace 4090,4096 regrole 4097,4191 regcollation 4192,
5038 pg_snapshot 5039,5069 xid8 271`;

/** oid, name, oid of the array type, oid of the bound. */
const ranges = `3904 int4range 3905 23,3906 numrange 3907 1700,3908 tsrange 3909 1114,
3910 tstzrange 3911 1184,3912 daterange 3913 1082,3926 int8range 3927 20`;

/** The same with the oid of the range. */
const multiranges = `4451 int4multirange 6150 3904,4532 nummultirange 6151 3906,
4533 tsmultirange 6152 3908,4534 tstzmultirange 6153 3910,4535 datemultirange 6155 3912,
4536 int8multirange 6157 3926`;

function describe(oid: number, name: string, kind: TypeKind, inner: number): TypeInfo {
  const delimiter = name === '_box' ? ';' : ',';
  return { oid, name, schema: 'pg_catalog', kind, inner, delimiter, attributes: [] };
}

function addAll(into: Map<number, TypeInfo>, list: string, kind: TypeKind): void {
  for (const entry of list.split(/,\s*/)) {
    const [oid = '', name = '', array = '', inner = '0'] = entry.split(' ');
    into.set(Number(oid), describe(Number(oid), name, kind, Number(inner)));
    if (array === '0') continue;
    into.set(Number(array), describe(Number(array), `_${name}`, 'array', Number(oid)));
  }
}

let builtins: ReadonlyMap<number, TypeInfo> | undefined;

function builtinTypes(): ReadonlyMap<number, TypeInfo> {
  if (builtins === undefined) {
    const all = new Map<number, TypeInfo>();
    addAll(all, baseTypes, 'base');
    addAll(all, ranges, 'range');
    addAll(all, multiranges, 'multirange');
    all.set(22, describe(22, 'int2vector', 'array', 21));
    all.set(30, describe(30, 'oidvector', 'array', 26));
    builtins = all;
  }
  return builtins;
}

/** Oids below this belong to PostgreSQL itself, and mean the same in every database. */
export const firstUserOid = 16_384;

/** Shared by the connections of a pool. */
export class Catalog {
  readonly #known: Map<number, TypeInfo> = new Map();
  /** Called when the schema has changed: each session has made codecs of what was known. */
  readonly watchers: Set<() => void> = new Set();

  get(oid: number): TypeInfo | undefined {
    return builtinTypes().get(oid) ?? this.#known.get(oid);
  }

  add(info: TypeInfo): void {
    this.#known.set(info.oid, info);
  }

  /** The schema has changed. */
  clear(): void {
    this.#known.clear();
    for (const watcher of this.watchers) watcher();
  }
}

/** @param multiranges PostgreSQL 14 and later */
export function introspectionQuery(multirange: boolean): string {
  const ranged = multirange ? 'r.rngmultitypid = t.oid' : 'false';
  return `SELECT t.oid, t.typname, n.nspname,
  CASE WHEN t.typtype = 'b' AND t.typlen = -1 AND t.typelem <> 0
       AND EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid)
       THEN 'a' ELSE t.typtype::text END,
  CASE t.typtype WHEN 'b' THEN t.typelem WHEN 'd' THEN t.typbasetype
    WHEN 'r' THEN (SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid)
    WHEN 'm' THEN (SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE ${ranged})
    ELSE 0::oid END,
  CASE WHEN t.typelem = 0 THEN ',' ELSE
    (SELECT e.typdelim::text FROM pg_catalog.pg_type e WHERE e.oid = t.typelem) END,
  ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE t.typtype = 'c'
    AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
  ARRAY(SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE t.typtype = 'c'
    AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid = ANY($1)`;
}

/** Types of the columns of the query above. */
export const introspectionOids: readonly number[] = [26, 19, 19, 25, 26, 25, 1009, 1028];

const kinds: Readonly<Record<string, TypeKind>> = {
  a: 'array',
  b: 'base',
  c: 'composite',
  d: 'domain',
  e: 'enum',
  m: 'multirange',
  r: 'range',
};

/** From a row of the query above. */
export function infoFromRow(row: readonly unknown[]): TypeInfo {
  const [oid, name, schema, kind, inner, delimiter, names, oids] = row as [
    number,
    string,
    string,
    string,
    number | null,
    string | null,
    string[],
    number[],
  ];
  return {
    oid,
    name,
    schema,
    kind: kinds[kind] ?? 'base',
    inner: inner ?? 0,
    delimiter: delimiter ?? ',',
    attributes: names.map((attribute, i) => ({ name: attribute, oid: oids[i] as number })),
  };
}
