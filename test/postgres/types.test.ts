/** The values of all built-in types: as asyncpg has them, and back to the server unchanged. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Connection } from '../../lib/postgres/types.ts';
import { sharedPostgres } from '../support/postgres.ts';
import { inRun } from '../task/support.ts';
import { connectionTest, open, withServer } from './support.ts';

interface Entry {
  readonly type: string;
  readonly literal: string;
  readonly value: string;
}

const entries = JSON.parse(readFileSync(new URL('types.json', import.meta.url), 'utf8')) as Entry[];

function floatText(value: number): string {
  if (Number.isNaN(value)) return 'f:nan';
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return `f:${bytes.toString('hex')}`;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const pairs = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(pairs.map(([key, item]) => [key, sorted(item)]));
}

const whole = new Set(['int2', 'int4', 'int8', 'oid', 'xid', 'cid', 'xid8', 'int2vector']);
whole.add('oidvector').add('int4range').add('int8range');
whole.add('int4multirange').add('int8multirange');
const dates = /^(date|time|tsrange|tsmulti|tstz)/;

// biome-ignore lint/suspicious/noExplicitAny: values of all types.
type Value = any;

function geometry(value: Value): string {
  if ('points' in value) {
    return `g:${value.closed ? 'closed ' : ''}${value.points.map(geometry).join(';')}`;
  }
  if ('x' in value) return `g:${floatText(value.x)} ${floatText(value.y)}`;
  if ('high' in value) return `g:${geometry(value.high)};${geometry(value.low)}`;
  if ('start' in value) return `g:${geometry(value.start)};${geometry(value.end)}`;
  if ('radius' in value) return `g:${geometry(value.center)};${floatText(value.radius)}`;
  return `g:${[value.a, value.b, value.c].map(floatText).join(' ')}`;
}

function objectText(value: Value, type: string): string {
  if ('microseconds' in value) {
    const days = Math.trunc(value.months / 12) * 365 + (value.months % 12) * 30 + value.days;
    return `i:${BigInt(days) * 86_400_000_000n + BigInt(value.microseconds)}`;
  }
  if ('lowerInclusive' in value) {
    if (value.empty) return 'r:empty';
    const bounds = `${canon(value.lower, type)},${canon(value.upper, type)}`;
    return `r:${value.lowerInclusive ? '[' : '('}${bounds}${value.upperInclusive ? ']' : ')'}`;
  }
  return geometry(value);
}

/** The form of scripts/dump-postgres-types.py. */
function canon(value: Value, full: string): string {
  const type = full.replace(/\[\]$/, '');
  if (/^jsonb?$/.test(type) && (full === type || !Array.isArray(value) || value.length < 2)) {
    return `j:${JSON.stringify(sorted(value))}`;
  }
  if (value === null) return 'null';
  if (Array.isArray(value)) return `[${value.map((item) => canon(item, type)).join(',')}]`;
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (typeof value === 'number') {
    if (whole.has(type)) return String(value);
    return floatText(type === 'float4' ? Math.fround(value) : value);
  }
  if (typeof value === 'string') {
    const text = type === 'timetz' ? value : value.replace(/\+00$/, '');
    return `${dates.test(type) ? 't' : 's'}:${text}`;
  }
  if (Buffer.isBuffer(value)) return `x:${value.toString('hex')}`;
  return objectText(value, type);
}

function literal({ type, literal: text }: Entry): string {
  return `'${text.replaceAll("'", "''")}'::${type}`;
}

async function check(connection: Connection, entry: Entry): Promise<void> {
  const { type } = entry;
  const [row] = await connection.fetch(`SELECT ${literal(entry)} AS value`);
  const value = row?.['value'];
  expect(canon(value, type), `${type} ${entry.literal}`).toBe(entry.value);
  // As a parameter null is SQL's, not JSON's.
  if (value === null) return;
  const cast = type === 'char(5)' ? 'bpchar' : type;
  const text = type === 'json' ? 'jsonb::text' : 'text';
  const same = await connection.fetchRow(
    `SELECT ($1::${cast})::${text} IS NOT DISTINCT FROM (${literal(entry)})::${text} AS same,
      ($1::${cast})::text AS sent`,
    value,
  );
  expect(`${same?.['sent']} ${same?.['same']}`, `${type} ${entry.literal} sent`).toMatch(/true$/);
}

// covers: asyncpg/type-map
withServer('types', () => {
  const byType = new Map<string, Entry[]>();
  for (const entry of entries) byType.set(entry.type, [...(byType.get(entry.type) ?? []), entry]);

  test.each([...byType.keys()])('%s is what asyncpg has, and goes back unchanged', async (type) => {
    await sharedPostgres();
    await inRun(async () => {
      const connection = await open({ dates: 'string', statementCacheSize: 0 });
      try {
        await Promise.all((byType.get(type) ?? []).map((entry) => check(connection, entry)));
      } finally {
        await connection.close();
      }
    });
  });

  connectionTest('of the server are all among them', async (connection) => {
    const names = await connection.fetchVal<string[]>(
      `SELECT array_agg(format_type(oid, NULL)) FROM pg_type WHERE typtype IN ('b', 'r', 'm')
        AND typnamespace = 'pg_catalog'::regnamespace AND typcategory <> 'A'`,
    );
    const known = await connection.fetchVal<string[]>(
      'SELECT array_agg(format_type(t::regtype, NULL)) FROM unnest($1::text[]) t',
      [...byType.keys()].map((type) => type.replace(/\(.*\)/, '')),
    );
    // Of these no value can be written: the server has no input function for them.
    const closed = /^(pg_node_tree|pg_ndistinct|pg_dependencies|pg_mcv_list|pg_brin_.*|gtsvector)$/;
    const missing = (names ?? []).filter((name) => !known?.includes(name) && !closed.test(name));
    expect(missing).toEqual([]);
    expect(names?.length).toBeGreaterThan(60);
  });

  connectionTest('null goes in and out of every type', async (connection) => {
    for (const type of byType.keys()) {
      const row = await connection.fetchRow(`SELECT $1::${type} AS value`, null);
      expect(row?.['value'], type).toBe(null);
    }
  });
});

withServer('dates', () => {
  connectionTest('are Date, in UTC, by default', async (connection) => {
    const row = await connection.fetchRow(
      "SELECT '2020-02-03'::date d, '2020-02-03 04:05:06.789'::timestamp t, " +
        "'2020-02-03 04:05:06.789+02'::timestamptz z",
    );
    expect(row?.['d']).toEqual(new Date('2020-02-03T00:00:00Z'));
    expect(row?.['t']).toEqual(new Date('2020-02-03T04:05:06.789Z'));
    expect(row?.['z']).toEqual(new Date('2020-02-03T02:05:06.789Z'));
  });

  connectionTest('microseconds are cut off towards the past', async (connection) => {
    const value = await connection.fetchVal("SELECT '1999-12-31 23:59:59.999999'::timestamp");
    expect(value).toEqual(new Date('1999-12-31T23:59:59.999Z'));
  });

  connectionTest('infinity is the number', async (connection) => {
    const row = await connection.fetchRow(
      "SELECT 'infinity'::date a, '-infinity'::timestamptz b, $1::timestamp::text c",
      Infinity,
    );
    expect([...(row ?? [])]).toEqual([Infinity, -Infinity, 'infinity']);
  });

  connectionTest('Date goes in as it came out', async (connection) => {
    const date = new Date('1969-07-20T20:17:40.123Z');
    expect(await connection.fetchVal('SELECT $1::timestamptz', date)).toEqual(date);
    expect(await connection.fetchVal('SELECT $1::date::text', date)).toBe('1969-07-20');
  });

  connectionTest('text is taken, too', async (connection) => {
    const sql = 'SELECT ($1::timestamptz AT TIME ZONE $2)::text';
    const text = await connection.fetchVal(sql, '2020-01-01T12:00:00.000001+02:00', 'UTC');
    expect(text).toBe('2020-01-01 10:00:00.000001');
    expect(await connection.fetchVal('SELECT $1::date::text', '0044-03-15 BC')).toBe(
      '0044-03-15 BC',
    );
  });

  connectionTest('a year beyond Date is an error of that query', async (connection) => {
    const far = connection.fetchVal("SELECT '280000-01-01'::timestamptz");
    await expect(far).rejects.toThrow(RangeError);
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });

  connectionTest(
    'all years of PostgreSQL fit text',
    async (connection) => {
      for (const text of ['280000-01-01 00:00:00', '4713-01-01 00:00:00 BC', 'infinity']) {
        expect(await connection.fetchVal(`SELECT '${text}'::timestamp`)).toBe(text);
        expect(await connection.fetchVal('SELECT $1::timestamp::text', text)).toBe(text);
      }
    },
    { dates: 'string' },
  );
});

withServer('int8', () => {
  connectionTest(
    "'number' refuses what a number cannot hold",
    async (connection) => {
      expect(await connection.fetchVal('SELECT 9007199254740991::int8')).toBe(2 ** 53 - 1);
      const big = connection.fetchVal('SELECT 9007199254740993::int8');
      await expect(big).rejects.toThrow(RangeError);
      expect(await connection.fetchVal('SELECT -5::int8')).toBe(-5);
    },
    { int8: 'number' },
  );

  connectionTest(
    "'string' is the digits",
    async (connection) => {
      expect(await connection.fetchVal('SELECT 9007199254740993::int8')).toBe('9007199254740993');
      expect(await connection.fetchVal('SELECT $1::int8', '-12')).toBe('-12');
    },
    { int8: 'string' },
  );
});

describe('parameters of a wrong kind', () => {
  const wrong: readonly (readonly [string, unknown, RegExp])[] = [
    ['int4', 'abc', /\$1 \(int4\): expected an integer/],
    ['int4', 1.5, /\$1 \(int4\)/],
    ['int4', 2 ** 31, /from -2147483648 to 2147483647/],
    ['int2', 40_000, /\$1 \(int2\)/],
    ['int8', 2n ** 63n, /\$1 \(int8\)/],
    ['int8', 2 ** 60, /safe integer/],
    ['oid', -1, /\$1 \(oid\)/],
    ['bool', 1, /expected a boolean/],
    ['float8', 'x', /expected a number/],
    ['float4', 1e300, /float4/],
    ['numeric', 'abc', /decimal text/],
    ['numeric', {}, /decimal text/],
    ['text', 5, /\$1 \(text\): expected a string, got 5/],
    ['bytea', 'text', /a Buffer/],
    ['uuid', 'not one', /a UUID/],
    ['jsonb', undefined, /./],
    ['json', () => 1, /JSON.stringify/],
    ['date', 'yesterday', /a Date or text/],
    ['date', '2021-02-29', /a day that exists/],
    ['timestamptz', new Date(Number.NaN), /a valid Date/],
    ['time', 5, /23:59/],
    ['interval', '1 day', /an interval/],
    ['inet', '300.0.0.1', /an address/],
    ['macaddr', 'xx', /text of 6 bytes/],
    ['varbit', '012', /'0' and '1'/],
    ['point', [1, 2], /a number as x/],
    ['int4range', [1, 2], /a range/],
    ['int4[]', 5, /an array of int4/],
    ['int4[]', [1, 'x'], /\$1 \(int4\[\]\)/],
    ['int4[]', [[1, 2], [3]], /rows have one length/],
    ['pg_lsn', 'x', /an LSN/],
    ['tid', 'x', /block,offset/],
    ['"char"', 'ab', /one character/],
  ];
  withServer('are refused by name', () => {
    connectionTest(
      'each with what was expected, and the connection goes on',
      async (connection) => {
        for (const [type, value, message] of wrong) {
          if (value === undefined) continue;
          const error = await connection.fetchVal(`SELECT $1::${type}`, value).catch((e) => e);
          expect(error, type).toMatchObject({ name: 'InterfaceError' });
          expect(error.message).toMatch(message);
        }
        expect(await connection.fetchVal('SELECT 1')).toBe(1);
      },
    );

    connectionTest('the number of arguments must be right', async (connection) => {
      await expect(connection.fetch('SELECT $1::int')).rejects.toThrow(/1 parameter, and 0/);
      await expect(connection.fetch('SELECT 1', 2)).rejects.toThrow(/0 parameters, and 1/);
      const many = connection.fetch('SELECT 1', ...new Array(70_000).fill(1));
      await expect(many).rejects.toThrow(/0 parameters, and 70000/);
      const first = connection.fetch('SELECT 2', ...new Array(70_000).fill(1));
      await expect(first).rejects.toThrow(/65535/);
    });
  });
});
