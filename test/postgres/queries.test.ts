/** Queries, rows, errors, statements, pipelining. */
import diagnostics from 'node:diagnostics_channel';
import { expect } from 'vitest';
import type { Connection, QueryRecord } from '../../lib/postgres/types.ts';
import { failure } from '../task/support.ts';
import { connectionTest, withServer } from './support.ts';

const series = 'SELECT i, i::text AS t FROM generate_series(1, $1::int) i';

// biome-ignore lint/suspicious/noExplicitAny: looks behind the connection.
function sessionOf(connection: Connection): any {
  // biome-ignore lint/suspicious/noExplicitAny: the same.
  return (connection as any).session;
}

// covers: asyncpg/execute
withServer('queries', () => {
  connectionTest('fetch gives all rows', async (connection) => {
    expect(await connection.fetch(series, 3)).toEqual([
      { i: 1, t: '1' },
      { i: 2, t: '2' },
      { i: 3, t: '3' },
    ]);
    expect(await connection.fetch(series, 0)).toEqual([]);
  });

  connectionTest('fetchRow gives the first row or null', async (connection) => {
    expect(await connection.fetchRow(series, 5)).toEqual({ i: 1, t: '1' });
    expect(await connection.fetchRow(series, 0)).toBe(null);
  });

  connectionTest('fetchVal gives the first value or null', async (connection) => {
    expect(await connection.fetchVal(series, 5)).toBe(1);
    expect(await connection.fetchVal(series, 0)).toBe(null);
    expect(await connection.fetchVal('SELECT NULL')).toBe(null);
  });

  connectionTest(
    'bytes of any length are their own, whatever is read later',
    async (connection) => {
      const sql = `SELECT n, NULL::bytea AS no,
        decode(repeat(to_hex(16 + n % 200), n), 'hex') AS bytes
      FROM unnest($1::int[]) n`;
      const lengths = [0, 1, 255, 256, 257, 1_000, 16_384, 16_385, 40_000, 100_000, 300, 9_000];
      const many = Array.from({ length: 8 }, () => lengths).flat();
      const rows = await connection.fetch<{ n: number; bytes: Buffer; no: null }>(sql, many);
      await connection.fetch(sql, many);
      for (const [i, { n, bytes, no }] of rows.entries()) {
        const same = bytes.equals(Buffer.alloc(n, 16 + (n % 200)));
        expect([n, bytes.length, same, no]).toEqual([many[i], n, true, null]);
        bytes.fill(0);
      }
    },
  );

  connectionTest('text of any length and alphabet, in few rows and in many', async (connection) => {
    const sql = `SELECT n, repeat($2, n) AS a, NULL::text AS no,
        repeat('Żółć 𝄞 é ' || n, n % 9) AS b,
        CASE WHEN n % 2 = 0 THEN repeat('é', n) END AS c FROM unnest($1::int[]) n`;
    const lengths = [0, 1, 7, 8, 9, 24, 25, 128, 129, 511, 512, 513, 1_023, 1_024, 1_025, 40_000];
    for (const times of [1, 8, 40]) {
      const many = Array.from({ length: times }, () =>
        lengths.slice(0, times === 40 ? 9 : 16),
      ).flat();
      const expected = many.map((n) => ({
        n,
        a: 'x'.repeat(n),
        no: null,
        b: `Żółć 𝄞 é ${n}`.repeat(n % 9),
        c: n % 2 === 0 ? 'é'.repeat(n) : null,
      }));
      const rows = await connection.fetch(sql, many, 'x');
      expect(rows.length).toBe(expected.length);
      expect(JSON.stringify(rows)).toBe(JSON.stringify(expected));
    }
  });

  connectionTest('JSON of any length and alphabet, in few rows and in many', async (connection) => {
    const sql = `SELECT n, to_jsonb(s) AS a, CASE WHEN n > 0 THEN json_build_array(n, s) END AS b,
        jsonb_build_object('__proto__', n, 'é', repeat('é', n % 3)) AS c
      FROM (SELECT n, repeat('ab', n) AS s FROM unnest($1::int[]) n) t`;
    for (const times of [1, 30]) {
      const many = Array.from({ length: times }, () => [0, 1, 2, 3, 510, 511, 512, 5_000]).flat();
      const expected = many.map((n) => {
        const s = 'ab'.repeat(n);
        const c = JSON.parse(`{"é": "${'é'.repeat(n % 3)}", "__proto__": ${n}}`);
        return { n, a: s, b: n > 0 ? [n, s] : null, c };
      });
      const rows = await connection.fetch<{ c: object }>(sql, many);
      expect(rows.length).toBe(expected.length);
      expect(rows).toEqual(expected);
      expect(rows.every(({ c }) => Object.hasOwn(c, '__proto__'))).toBe(true);
    }
  });

  connectionTest('memory for messages is only lent', async (connection) => {
    // biome-ignore lint/suspicious/noExplicitAny: looks behind the connection.
    const { wire } = sessionOf(connection) as any;
    const held = (): number => wire.buffer.length + wire.out.buffer.length;
    const long = 'x'.repeat(200_000);
    expect(await connection.fetchVal('SELECT $1::text', long)).toBe(long);
    expect(held()).toBe(0);
    const [one, two] = await Promise.all([
      connection.fetchVal('SELECT $1::text', 'one'),
      connection.fetchVal('SELECT $1::text', 'two'),
    ]);
    expect([one, two, held()]).toEqual(['one', 'two', 0]);
  });

  connectionTest('execute gives the command tag', async (connection) => {
    expect(await connection.execute('CREATE TEMP TABLE t (a int)')).toBe('CREATE TABLE');
    expect(await connection.execute('INSERT INTO t VALUES ($1), ($2)', 1, 2)).toBe('INSERT 0 2');
    expect(await connection.execute('UPDATE t SET a = 3')).toBe('UPDATE 2');
    expect(await connection.execute('SELECT * FROM t WHERE a = $1', 3)).toBe('SELECT 2');
  });

  connectionTest('execute without arguments takes several statements', async (connection) => {
    expect(await connection.execute('SELECT 1; SELECT 2; CREATE TEMP TABLE u ()')).toBe(
      'CREATE TABLE',
    );
    expect(await connection.execute('')).toBe('');
    expect(await connection.fetch('')).toEqual([]);
  });

  connectionTest('fetchMany gives the rows of all arguments', async (connection) => {
    expect(await connection.fetchMany('SELECT $1::int * 2 AS x', [[1], [2], [3]])).toEqual([
      { x: 2 },
      { x: 4 },
      { x: 6 },
    ]);
  });

  connectionTest('sql is a template whose values are bound', async (connection) => {
    const name = "'; DROP TABLE users; --";
    expect(await connection.sql`SELECT ${name}::text AS a, ${2}::int + ${3} AS b`).toEqual([
      { a: name, b: 5 },
    ]);
  });

  connectionTest('large values and many rows come whole', async (connection) => {
    const text = 'é'.repeat(300_000);
    expect(await connection.fetchVal('SELECT $1::text', text)).toBe(text);
    const bytes = Buffer.alloc(3_000_000, 7);
    expect(bytes.equals((await connection.fetchVal('SELECT $1::bytea', bytes)) as Buffer)).toBe(
      true,
    );
    const rows = await connection.fetch(series, 30_000);
    expect(rows.length).toBe(30_000);
    expect(rows.every((row, i) => row['i'] === i + 1 && row['t'] === String(i + 1))).toBe(true);
  });

  connectionTest('a query is no string: an error', async (connection) => {
    expect(await failure(connection.fetch(5 as never))).toMatchObject({ name: 'InterfaceError' });
    expect((await failure(connection.fetch('SELECT \0'))).message).toMatch(/NUL/);
    expect((await failure(connection.execute('SELECT \0'))).message).toMatch(/NUL/);
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });
});

// covers: asyncpg/record
withServer('rows', () => {
  connectionTest('have columns by name and by index, and can be iterated', async (connection) => {
    const row = await connection.fetchRow('SELECT 1 AS a, $1::text AS "b c", NULL AS d', 'x');
    expect(row?.['a']).toBe(1);
    expect([row?.[0], row?.[1], row?.[2], row?.[3]]).toEqual([1, 'x', null, undefined]);
    expect([...(row ?? [])]).toEqual([1, 'x', null]);
    const [first, second] = row ?? [];
    expect([first, second]).toEqual([1, 'x']);
  });

  connectionTest('spread and become JSON', async (connection) => {
    const row = await connection.fetchRow('SELECT 1 AS a, true AS b');
    expect({ ...row }).toEqual({ a: 1, b: true });
    expect(JSON.stringify(row)).toBe('{"a":1,"b":true}');
    expect(Object.entries(row ?? {})).toEqual([
      ['a', 1],
      ['b', true],
    ]);
  });

  connectionTest('keep all values of columns with one name', async (connection) => {
    const row = await connection.fetchRow('SELECT 1 AS a, 2 AS a, 3 AS b');
    expect([...(row ?? [])]).toEqual([1, 2, 3]);
    expect([row?.['a'], row?.[0], row?.[1]]).toEqual([2, 1, 2]);
  });

  connectionTest('have columns of any name, and run none of it', async (connection) => {
    const sql = `SELECT 1 AS "__proto__", 2 AS "constructor", 3 AS "0", 4 AS "a""];throw 1;//",
      5 AS "\${x}\`\\", 6 AS "toString", 7`;
    const row = await connection.fetchRow(sql);
    expect(
      Object.entries(row ?? {})
        .map(([, value]) => value)
        .sort(),
    ).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(Object.getOwnPropertyDescriptor(row, '__proto__')?.value).toBe(1);
    expect(row?.['a"];throw 1;//']).toBe(4);
    expect(row?.['?column?']).toBe(7);
  });

  connectionTest('have no column, or more than a thousand', async (connection) => {
    expect([...((await connection.fetchRow('SELECT')) ?? [])]).toEqual([]);
    const list = Array.from({ length: 1_200 }, (_, i) => `${i} AS c${i}`).join(', ');
    const row = await connection.fetchRow(`SELECT ${list}`);
    expect([row?.['c1199'], row?.[600]]).toEqual([1199, 600]);
  });

  connectionTest('of one statement have one class', async (connection) => {
    const [a, b] = await connection.fetch(series, 2);
    const c = await connection.fetchRow(series, 1);
    expect(Object.getPrototypeOf(a)).toBe(Object.getPrototypeOf(b));
    expect(Object.getPrototypeOf(a)).toBe(Object.getPrototypeOf(c));
  });
});

// covers: asyncpg/263-error-classes
withServer('errors', () => {
  connectionTest('carry what the server says', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int CONSTRAINT positive CHECK (a > 0))');
    const error = await failure(connection.execute('INSERT INTO t VALUES ($1)', -1));
    expect(error).toMatchObject({
      name: 'PostgresError',
      code: '23514',
      condition: 'check_violation',
      severity: 'ERROR',
      table: 't',
      constraint: 'positive',
      query: 'INSERT INTO t VALUES ($1)',
    });
    expect(error.schema).toMatch(/^pg_temp/);
    expect(error.detail).toMatch(/Failing row/);
    expect('hint' in error).toBe(false);
  });

  connectionTest('have a position and a hint', async (connection) => {
    const error = await failure(connection.fetch('SELECT lenght(1)'));
    expect(error).toMatchObject({ code: '42883', condition: 'undefined_function', position: 8 });
    expect(error.hint).toMatch(/No function matches/);
  });

  connectionTest('leave the connection usable', async (connection) => {
    for (const sql of ['SELEC', 'SELECT 1/0', 'SELECT * FROM nowhere']) {
      await failure(connection.fetch(sql));
      await failure(connection.execute(sql));
    }
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });

  connectionTest('in the middle of rows give no rows', async (connection) => {
    const error = await failure(
      connection.fetch('SELECT 1/(5000-i) FROM generate_series(1,9000) i'),
    );
    expect(error.code).toBe('22012');
    expect(await connection.fetchVal('SELECT 2')).toBe(2);
  });

  connectionTest('COPY as a query is refused', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int)');
    for (const sql of ['COPY t FROM STDIN', 'COPY t TO STDOUT']) {
      expect((await failure(connection.execute(sql))).message).toMatch(/copy… methods/);
      expect((await failure(connection.fetch(sql))).message).toMatch(/copy… methods/);
    }
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });
});

// covers: asyncpg/statement-cache, seeds/C11
withServer('the statement cache', () => {
  const names = 'SELECT count(*) FROM pg_prepared_statements';

  connectionTest('prepares a query once', async (connection) => {
    for (let i = 0; i < 5; i++) await connection.fetch(series, i);
    const sql = 'SELECT count(*) FROM pg_prepared_statements WHERE statement = $1';
    expect(await connection.fetchVal(sql, series)).toBe(1n);
  });

  connectionTest(
    'forgets what was not used for longest',
    async (connection) => {
      for (let i = 0; i < 10; i++) await connection.fetch(`SELECT ${i}`);
      // The last one to go is closed with the next query.
      expect(await connection.fetchVal(names)).toBe(4n);
      expect(sessionOf(connection).statements.size).toBe(3);
    },
    { statementCacheSize: 3 },
  );

  connectionTest(
    'is off at size 0, as a pooler needs it',
    async (connection) => {
      await connection.fetch(series, 2);
      await connection.execute('CREATE TYPE pair0 AS (a int, b text)');
      expect(await connection.fetchVal("SELECT row(1, 'x')::pair0")).toEqual({ a: 1, b: 'x' });
      expect(await connection.fetchVal('SELECT $1::pair0', { a: 1, b: 'y' })).toEqual({
        a: 1,
        b: 'y',
      });
      await connection.execute('DROP TYPE pair0');
      expect(await connection.fetchVal(names)).toBe(0n);
    },
    { statementCacheSize: 0 },
  );

  connectionTest(
    'prepares anew after its lifetime, and long queries each time',
    async (connection) => {
      await connection.fetch('SELECT 1');
      const first = sessionOf(connection).statements.get('SELECT 1');
      first.expiresMs = 1;
      await connection.fetch('SELECT 1');
      expect(sessionOf(connection).statements.get('SELECT 1')).not.toBe(first);
      await connection.fetch(`SELECT 1${' '.repeat(100)}`);
      expect(sessionOf(connection).statements.size).toBe(1);
    },
    { maxCacheableStatementBytes: 50 },
  );

  connectionTest('follows a change of the schema', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t AS SELECT 1 AS a');
    expect(await connection.fetch('SELECT * FROM t')).toEqual([{ a: 1 }]);
    await connection.execute('ALTER TABLE t ADD COLUMN b int DEFAULT 2');
    expect(await connection.fetch('SELECT * FROM t')).toEqual([{ a: 1, b: 2 }]);
    await connection.execute('ALTER TABLE t ALTER a TYPE text');
    expect(await connection.fetch('SELECT * FROM t')).toEqual([{ a: '1', b: 2 }]);
  });

  connectionTest('does not run a query again inside a transaction', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t AS SELECT 1 AS a');
    await connection.fetch('SELECT * FROM t');
    await connection.execute('ALTER TABLE t ADD COLUMN b int DEFAULT 2');
    const broken = connection.transaction(() => connection.fetch('SELECT * FROM t'));
    expect(await failure(broken)).toMatchObject({ code: '0A000' });
    expect(await connection.fetch('SELECT * FROM t')).toEqual([{ a: 1, b: 2 }]);
  });

  connectionTest('survives DISCARD ALL', async (connection) => {
    await connection.fetch(series, 1);
    await connection.execute('DISCARD ALL');
    expect(await connection.fetch(series, 1)).toEqual([{ i: 1, t: '1' }]);
  });

  connectionTest('follows a change of a composite type', async (connection) => {
    await connection.execute('CREATE TYPE pair1 AS (a int)');
    expect(await connection.fetchVal('SELECT row(1)::pair1')).toEqual({ a: 1 });
    await connection.execute('ALTER TYPE pair1 ADD ATTRIBUTE b int');
    await failure(connection.fetchVal('SELECT row(1,2)::pair1'));
    expect(await connection.fetchVal('SELECT row(1,2)::pair1')).toEqual({ a: 1, b: 2 });
    await connection.execute('DROP TYPE pair1');
  });
});

// covers: uvio/pipelining
withServer('queries of one turn', () => {
  connectionTest('share one write', async (connection) => {
    await connection.fetchVal('SELECT $1::int', 0);
    const { transport } = sessionOf(connection).wire;
    let writes = 0;
    const write = transport.write.bind(transport);
    transport.write = (data: Uint8Array) => {
      writes++;
      return write(data);
    };
    const values = Array.from({ length: 100 }, (_, i) => connection.fetchVal('SELECT $1::int', i));
    expect(await Promise.all(values)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(writes).toBe(1);
  });

  connectionTest('have each its own error', async (connection) => {
    const sql = 'SELECT 10 / $1::int';
    const results = await Promise.allSettled([5, 0, 2, 0].map((i) => connection.fetchVal(sql, i)));
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
    ]);
  });

  connectionTest('run in order, also when some must be prepared', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int)');
    await connection.fetch('SELECT array_agg(a) FROM t');
    const [, rows] = await Promise.all([
      connection.execute('INSERT INTO t VALUES ($1)', 7),
      connection.fetchVal('SELECT array_agg(a) FROM t'),
      connection.execute('INSERT INTO t VALUES ($1 + 0)', 8),
    ]);
    expect(rows).toEqual([7]);
  });

  connectionTest('one that cannot be encoded does not disturb the others', async (connection) => {
    const sql = 'SELECT $1::int';
    await connection.fetchVal(sql, 1);
    const results = await Promise.allSettled([1, 'x', 3].map((i) => connection.fetchVal(sql, i)));
    expect(results.map((result) => ('value' in result ? result.value : 'error'))).toEqual([
      1,
      'error',
      3,
    ]);
  });

  connectionTest('pipeline waits for what was not awaited', async (connection) => {
    let late = 0;
    const result = await connection.pipeline((pipe) => {
      void pipe.fetchVal('SELECT 5').then((value) => (late = value));
      return pipe.fetchVal('SELECT 6');
    });
    expect([result, late]).toEqual([6, 5]);
  });
});

// covers: asyncpg/execute
withServer('executeMany', () => {
  connectionTest('runs all arguments', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int, b text)');
    function* args(): Generator<readonly unknown[]> {
      for (let i = 0; i < 5_000; i++) yield [i, `text ${i}`];
    }
    await connection.executeMany('INSERT INTO t VALUES ($1, $2)', args());
    async function* more(): AsyncGenerator<readonly unknown[]> {
      yield [-1, null];
    }
    await connection.executeMany('INSERT INTO t VALUES ($1, $2)', more());
    expect(await connection.fetchVal('SELECT count(*) FROM t')).toBe(5_001n);
  });

  connectionTest('does all or nothing', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int PRIMARY KEY)');
    const sql = 'INSERT INTO t VALUES ($1)';
    const failing = [
      [[1], [2], [1]],
      [[1], ['x']],
      [[1], 5],
    ] as never[];
    for (const args of failing) await failure(connection.executeMany(sql, args));
    const thrower = function* (): Generator<readonly unknown[]> {
      yield [1];
      throw new Error('of the iterator');
    };
    expect((await failure(connection.executeMany(sql, thrower()))).message).toBe('of the iterator');
    expect(await connection.fetchVal('SELECT count(*) FROM t')).toBe(0n);
    await connection.executeMany(sql, []);
    await connection.executeMany(sql, [[1]]);
    expect(await connection.fetchVal('SELECT count(*) FROM t')).toBe(1n);
  });

  connectionTest('takes no string and no number', async (connection) => {
    for (const args of [5, 'text', null] as never[]) {
      const error = await failure(connection.executeMany('SELECT $1::int', args));
      expect(error.name).toBe('InterfaceError');
    }
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });
});

withServer('what happens on a connection', () => {
  // covers: asyncpg/listeners
  connectionTest('is told to query loggers and diagnostics channels', async (connection) => {
    const records: QueryRecord[] = [];
    const log = (record: QueryRecord): unknown => records.push(record);
    connection.addQueryLogger(log);
    await connection.fetch('SELECT $1::int', 1);
    await failure(connection.fetch('SELECT 1/0'));
    connection.removeQueryLogger(log);
    await connection.fetch('SELECT 2');
    expect(records).toMatchObject([
      { query: 'SELECT $1::int', args: [1] },
      { query: 'SELECT 1/0', error: { code: '22012' } },
    ]);
    expect(records[0]?.durationMs).toBeGreaterThan(0);
    const channel: unknown[] = [];
    const subscriber = (message: unknown): unknown => channel.push(message);
    diagnostics.subscribe('uvio:postgres.query', subscriber);
    sessionOf(connection).watchQueries();
    await connection.fetch('SELECT 3');
    diagnostics.unsubscribe('uvio:postgres.query', subscriber);
    expect(channel).toMatchObject([{ query: 'SELECT 3' }]);
  });

  // covers: asyncpg/server-pid
  connectionTest('has a pid, a version and settings', async (connection) => {
    expect(connection.serverPid).toBe(await connection.fetchVal('SELECT pg_backend_pid()'));
    expect(connection.serverVersion.major).toBeGreaterThanOrEqual(9);
    expect(connection.settings['client_encoding']).toBe('UTF8');
    await connection.execute("SET application_name = 'tests'");
    expect(connection.settings['application_name']).toBe('tests');
  });
});
