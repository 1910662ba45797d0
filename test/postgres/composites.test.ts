/** Composites, records and arrays of what is no simple value; types that were altered. */
import { expect } from 'vitest';
import type { Connection } from '../../lib/postgres/types.ts';
import { failure } from '../task/support.ts';
import { connectionTest, openPool, serverTest, withServer } from './support.ts';

/** Types live in the schema of temporary tables, and end with the connection. */
async function types(connection: Connection, sql: string): Promise<void> {
  await connection.execute(
    `CREATE TEMP TABLE any_one (); SET search_path = pg_temp, public; ${sql}`,
  );
}

// covers: asyncpg/set-type-codec
withServer('composites', () => {
  connectionTest('that are sent as text have the values of binary ones', async (connection) => {
    await types(
      connection,
      `CREATE TYPE pg_temp.part AS (a int, at timestamptz);
      CREATE TYPE pg_temp.mixed AS (m money, j jsonb, k json, b bytea, c "char", f real,
        t timestamptz, u timestamp, d date, n int8, i int[], p pg_temp.part, list pg_temp.part[],
        s text);
      CREATE TYPE pg_temp.short AS (m money, j int, k int, b bytea)`,
    );
    const value = {
      m: '$1.00',
      j: { a: [1, 'x"y\\'] },
      k: 'text',
      b: Buffer.from([0, 92, 255]),
      c: 'z',
      f: 1.5,
      t: new Date('2020-01-01T00:00:00.500Z'),
      u: new Date('0044-03-15T00:00:00Z'),
      d: new Date('2020-02-29T00:00:00Z'),
      n: 5n,
      i: [1, null, 2],
      p: { a: 1, at: new Date(0) },
      list: [{ a: 2, at: null }, null],
      s: 'x, "y" (z)',
    };
    const got = await connection.fetchVal('SELECT $1::pg_temp.mixed', value);
    expect({ ...got }).toEqual(value);
    await connection.execute("SET bytea_output = 'escape'");
    const bytes = "SELECT ROW('$1', NULL, NULL, '\\x005cff')::pg_temp.short";
    expect((await connection.fetchVal(bytes))['b']).toEqual(value.b);
    const short = connection.fetch('SELECT $1::pg_temp.short', ['$1']);
    expect((await failure(short)).message).toMatch(/expected 4 attributes/);
    const wrong = connection.fetch('SELECT $1::pg_temp.short', { z: 1 });
    expect((await failure(wrong)).message).toMatch(/no attribute 'z'/);
  });

  connectionTest('with a codec of the user keep the values of the others', async (connection) => {
    await types(connection, 'CREATE TYPE pg_temp.priced AS (price numeric, j jsonb)');
    await connection.setTypeCodec('numeric', { encode: String, decode: Number });
    const value = { price: 1.5, j: { a: 1 } };
    const got = await connection.fetchVal('SELECT $1::pg_temp.priced', value);
    expect({ ...got }).toEqual(value);
  });

  connectionTest('take no attribute from the prototype of objects', async (connection) => {
    await types(
      connection,
      'CREATE TYPE pg_temp.odd AS (a int, constructor text, "toString" text)',
    );
    const got = await connection.fetchVal('SELECT $1::pg_temp.odd', { a: 1 });
    expect({ ...got }).toEqual({ a: 1, constructor: null, toString: null });
  });

  connectionTest('that were altered are no longer read as they were', async (connection) => {
    await types(connection, 'CREATE TYPE pg_temp.changing AS (a int, b int)');
    await connection.execute('CREATE TABLE pg_temp.t OF pg_temp.changing');
    await connection.execute('INSERT INTO pg_temp.t VALUES (1, 1234)');
    const sql = 'SELECT t FROM pg_temp.t';
    expect({ ...(await connection.fetchVal(sql)) }).toEqual({ a: 1, b: 1234 });
    // The text has as many bytes as the integer had.
    await connection.execute('ALTER TYPE pg_temp.changing ALTER ATTRIBUTE b TYPE text CASCADE');
    expect((await failure(connection.fetch(sql))).message).toMatch(/b has another type/);
    expect({ ...(await connection.fetchVal(sql)) }).toEqual({ a: 1, b: '1234' });
  });

  serverTest('that were altered are new to all connections of a pool', async () => {
    const pool = await openPool({ minSize: 2, maxSize: 2 });
    const sql = 'SELECT altered_t FROM altered_t';
    const read = (connection: Connection): Promise<unknown> => connection.fetchVal(sql);
    try {
      await pool.execute('CREATE TABLE altered_t (a int, b int)');
      await pool.execute('INSERT INTO altered_t VALUES (1, 1234)');
      await pool.use((one) => pool.use((other) => Promise.all([read(one), read(other)])));
      await pool.execute('ALTER TABLE altered_t ALTER b TYPE text');
      await pool.use(async (one) => {
        await failure(read(one));
        const expected = { a: 1, b: '1234' };
        expect(await read(one)).toMatchObject(expected);
        await pool.use(async (other) => expect(await read(other)).toMatchObject(expected));
      });
    } finally {
      await pool.execute('DROP TABLE altered_t');
      await pool.close();
    }
  });
});

withServer('parameters of a statement that is known', () => {
  connectionTest('have the types that their columns have by now', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a text)');
    const insert = 'INSERT INTO t VALUES ($1)';
    const select = 'SELECT a FROM t WHERE a = $1';
    await connection.execute(insert, '1');
    await connection.executeMany(insert, [['2']]);
    await connection.execute('ALTER TABLE t ALTER a TYPE int USING a::int');
    await connection.execute(insert, 3);
    expect(await connection.fetchVal(select, 3)).toBe(3);
    expect((await failure(connection.execute(insert, 'x'))).message).toMatch(/\$1 \(int4\)/);
    await connection.execute('ALTER TABLE t ALTER a TYPE text');
    await failure(connection.executeMany(insert, [['x']]));
    await connection.executeMany(insert, [['y']]);
    // The server would go on with an integer.
    await failure(connection.fetchVal(select, 3));
    expect(await connection.fetchVal(select, '3')).toBe('3');
  });

  connectionTest('have the attributes that their types have by now', async (connection) => {
    await types(connection, 'CREATE TYPE pg_temp.growing AS (a int)');
    const sql = 'SELECT $1::pg_temp.growing';
    expect(await connection.fetchVal(sql, { a: 1 })).toMatchObject({ a: 1 });
    await connection.execute('ALTER TYPE pg_temp.growing ADD ATTRIBUTE b text');
    expect(await connection.fetchVal(sql, { a: 1, b: 'x' })).toMatchObject({ a: 1, b: 'x' });
    expect((await failure(connection.fetch(sql, { c: 1 }))).message).toMatch(/no attribute 'c'/);
  });
});

withServer('records without a name', () => {
  connectionTest('learn the types that they show', async (connection) => {
    await types(connection, "CREATE TYPE pg_temp.mood AS ENUM ('fine')");
    const sql = "SELECT ROW('fine'::pg_temp.mood, 'X'::citext, 1)";
    // Only the value says what is in it, one type at a time.
    for (let i = 0; i < 2; i++) {
      expect((await failure(connection.fetch(sql))).message).toMatch(/the next query will know/);
    }
    expect(await connection.fetchVal(sql)).toEqual({ f1: 'fine', f2: 'X', f3: 1 });
  });

  connectionTest('give no bytes of a type that is read as text', async (connection) => {
    for (const value of ["'1'::money", "'pg_class'::regclass", "'a'::tsvector"]) {
      const broken = connection.fetch(`SELECT ROW(${value}, 1)`);
      expect(await failure(broken)).toMatchObject({ name: 'InterfaceError' });
    }
    const sql = "SELECT ROW(NULL::money, '<a/>'::xml, 'pg_class'::regclass::text)";
    expect(await connection.fetchVal(sql)).toEqual({ f1: null, f2: '<a/>', f3: 'pg_class' });
  });
});

withServer('arrays', () => {
  connectionTest(
    'of multiranges, and of domains over arrays, are lists of lists',
    async (connection) => {
      await types(connection, 'CREATE DOMAIN pg_temp.ints AS int[]');
      const ranges = [[{ lower: 1, upper: 2 }], [], null];
      const got = await connection.fetchVal('SELECT $1::int4multirange[]', ranges);
      expect(got).toMatchObject([[{ lower: 1, upper: 2 }], [], null]);
      const lists = [[1, 2], [3], []];
      expect(await connection.fetchVal('SELECT $1::pg_temp.ints[]', lists)).toEqual(lists);
    },
  );

  connectionTest(
    'have all dates that PostgreSQL has',
    async (connection) => {
      const dates = ['5874897-12-31', '4714-11-24 BC', 'infinity'];
      expect(await connection.fetchVal('SELECT $1::date[]', dates)).toEqual(dates);
    },
    { dates: 'string' },
  );
});
