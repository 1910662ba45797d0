/** Transactions, cursors, prepared statements, codecs of the user. */
import { expect } from 'vitest';
import type { Connection } from '../../lib/postgres/types.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { failure } from '../task/support.ts';
import { connectionTest, withServer } from './support.ts';

async function table(connection: Connection): Promise<() => Promise<number[]>> {
  await connection.execute('CREATE TEMP TABLE t (a int)');
  return async () => (await connection.fetch('SELECT a FROM t ORDER BY a')).map((row) => row[0]);
}

const insert = 'INSERT INTO t VALUES ($1)';

// covers: asyncpg/transaction
withServer('transactions', () => {
  connectionTest('commit what the function did, and give its result', async (connection) => {
    const rows = await table(connection);
    const result = await connection.transaction(async (same) => {
      expect(connection.inTransaction).toBe(true);
      await same.execute(insert, 1);
      return 'result';
    });
    expect(result).toBe('result');
    expect(connection.inTransaction).toBe(false);
    expect(await rows()).toEqual([1]);
  });

  connectionTest('roll back when it throws', async (connection) => {
    const rows = await table(connection);
    const broken = connection.transaction(async () => {
      await connection.execute(insert, 1);
      throw new Error('no');
    });
    expect((await failure(broken)).message).toBe('no');
    expect(connection.inTransaction).toBe(false);
    expect(await rows()).toEqual([]);
  });

  connectionTest('inside one another are savepoints', async (connection) => {
    const rows = await table(connection);
    await connection.transaction(async () => {
      await connection.execute(insert, 1);
      await failure(
        connection.transaction(async () => {
          await connection.execute(insert, 2);
          await connection.fetch('SELECT 1/0');
        }),
      );
      await connection.transaction(() => connection.execute(insert, 3));
    });
    expect(await rows()).toEqual([1, 3]);
  });

  connectionTest('after an error that was swallowed do not claim to commit', async (connection) => {
    const rows = await table(connection);
    const broken = connection.transaction(async () => {
      await connection.execute(insert, 1);
      await failure(connection.fetch('SELECT 1/0'));
    });
    expect((await failure(broken)).message).toMatch(/rolled back/);
    expect(await rows()).toEqual([]);
    expect(connection.inTransaction).toBe(false);
  });

  connectionTest('have isolation, readonly and deferrable', async (connection) => {
    const options = { isolation: 'serializable', readonly: true, deferrable: true } as const;
    await connection.transaction(async () => {
      const sql = `SELECT current_setting('transaction_isolation'),
        current_setting('transaction_read_only'), current_setting('transaction_deferrable')`;
      expect([...((await connection.fetchRow(sql)) ?? [])]).toEqual(['serializable', 'on', 'on']);
    }, options);
    for (const isolation of ['repeatable_read', 'read_committed', 'read_uncommitted'] as const) {
      await connection.transaction(
        async () => {
          const name = await connection.fetchVal("SELECT current_setting('transaction_isolation')");
          expect(name).toBe(isolation.replace('_', ' '));
        },
        { isolation },
      );
    }
    const wrong = connection.transaction(() => 1, { isolation: 'x' as never });
    expect(await failure(wrong)).toMatchObject({ name: 'InterfaceError' });
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });

  connectionTest('as objects start, commit and roll back once', async (connection) => {
    const rows = await table(connection);
    const first = connection.transaction();
    await first.start();
    await connection.execute(insert, 1);
    await first.commit();
    const second = connection.transaction();
    await second.start();
    await connection.execute(insert, 2);
    await second.rollback();
    expect(await rows()).toEqual([1]);
    for (const work of [first.start(), first.commit(), second.rollback()]) {
      expect(await failure(work)).toMatchObject({ name: 'InterfaceError' });
    }
    const unused = connection.transaction();
    expect((await failure(unused.commit())).message).toMatch(/not started/);
  });

  connectionTest('as objects roll back when disposed without commit', async (connection) => {
    const rows = await table(connection);
    {
      await using transaction = connection.transaction();
      await transaction.start();
      await connection.execute(insert, 1);
    }
    expect(connection.inTransaction).toBe(false);
    expect(await rows()).toEqual([]);
  });

  connectionTest('roll back when they are cancelled', async (connection) => {
    const rows = await table(connection);
    const scope = new CancelScope({ timeoutMs: 30 });
    await scope.run(() =>
      connection.transaction(async () => {
        await connection.execute(insert, 1);
        await connection.fetch('SELECT pg_sleep(5)');
      }),
    );
    expect(scope.cancelledCaught).toBe(true);
    expect(connection.inTransaction).toBe(false);
    expect(await rows()).toEqual([]);
  });
});

// covers: asyncpg/cursor
withServer('cursors', () => {
  const sql = 'SELECT i FROM generate_series(1, $1::int) i';
  const numbers = (rows: readonly Iterable<unknown>[]): unknown[] => rows.map(([value]) => value);

  connectionTest('iterate over all rows, some at a time', async (connection) => {
    await connection.transaction(async () => {
      for (const prefetch of [1, 3, 10, 1_000]) {
        const found: number[] = [];
        for await (const row of connection.cursor(sql, 10).prefetch(prefetch)) found.push(row['i']);
        expect(found).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      }
    });
  });

  connectionTest('can be left early', async (connection) => {
    await connection.transaction(async () => {
      for await (const row of connection.cursor(sql, 1_000)) if (row['i'] === 3) break;
      expect(await connection.fetchVal("SELECT count(*) FROM pg_cursors WHERE name <> ''")).toBe(
        0n,
      );
    });
  });

  connectionTest('fetch, fetchRow and forward', async (connection) => {
    await connection.transaction(async () => {
      const cursor = connection.cursor(sql, 10);
      expect(numbers(await cursor.fetch(2))).toEqual([1, 2]);
      expect(await cursor.forward(3)).toBe(3);
      expect((await cursor.fetchRow())?.['i']).toBe(6);
      expect(numbers(await cursor.fetch(100))).toEqual([7, 8, 9, 10]);
      expect(await cursor.fetch(1)).toEqual([]);
      expect(await cursor.fetchRow()).toBe(null);
      expect(await cursor.forward(1)).toBe(0);
      const moved = connection.cursor(sql, 10);
      expect(await moved.forward(9)).toBe(9);
      expect(await moved.forward(9)).toBe(1);
    });
  });

  connectionTest('need a transaction, and a count', async (connection) => {
    expect((await failure(connection.cursor(sql, 1).fetch(1))).message).toMatch(/inside a trans/);
    await connection.transaction(async () => {
      expect(await failure(connection.cursor(sql, 1).fetch(0))).toBeInstanceOf(RangeError);
      expect(() => connection.cursor(sql, 1).prefetch(0)).toThrow(RangeError);
    });
  });

  connectionTest('run beside other queries', async (connection) => {
    await connection.transaction(async () => {
      const found: number[] = [];
      for await (const row of connection.cursor(sql, 6).prefetch(2)) {
        found.push((await connection.fetchVal('SELECT $1::int * 10', row['i'])) as number);
      }
      expect(found).toEqual([10, 20, 30, 40, 50, 60]);
    });
  });
});

// covers: asyncpg/prepare
withServer('prepared statements', () => {
  connectionTest('know their parameters and columns', async (connection) => {
    const statement = await connection.prepare('SELECT $1::int4 AS a, $2::text[] AS b');
    expect(statement.query).toBe('SELECT $1::int4 AS a, $2::text[] AS b');
    expect(statement.name).toMatch(/^uvio_/);
    expect(statement.parameters).toEqual([
      { name: '$1', type: 'int4', oid: 23 },
      { name: '$2', type: '_text', oid: 1009 },
    ]);
    expect(statement.attributes.map(({ name, oid }) => [name, oid])).toEqual([
      ['a', 23],
      ['b', 1009],
    ]);
  });

  connectionTest('run with arguments', async (connection) => {
    const statement = await connection.prepare<{ x: number }>('SELECT $1::int + 1 AS x');
    expect(await statement.fetch(1)).toEqual([{ x: 2 }]);
    expect(await statement.fetchRow(2)).toEqual({ x: 3 });
    expect(await statement.fetchVal(3)).toBe(4);
    await connection.transaction(async () => {
      expect(await statement.cursor(4).fetch(9)).toEqual([{ x: 5 }]);
    });
    await connection.execute('CREATE TEMP TABLE t (a int)');
    const many = await connection.prepare('INSERT INTO t VALUES ($1)');
    await many.executeMany([[1], [2]]);
    expect(await connection.fetchVal('SELECT sum(a) FROM t')).toBe(3n);
    expect(many.attributes).toEqual([]);
  });

  connectionTest('explain, and analyze without effect', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int)');
    const statement = await connection.prepare('INSERT INTO t VALUES ($1)');
    const plan = (await statement.explain({}, 1)) as { Plan: object }[];
    expect(plan[0]?.Plan).toMatchObject({ 'Node Type': 'ModifyTable' });
    const analyzed = (await statement.explain({ analyze: true }, 1)) as object[];
    expect(analyzed[0]).toHaveProperty('Execution Time');
    await connection.transaction(() => statement.explain({ analyze: true }, 1));
    expect(await connection.fetchVal('SELECT count(*) FROM t')).toBe(0n);
  });

  connectionTest('with an error are none', async (connection) => {
    expect(await failure(connection.prepare('SELECT nothing'))).toMatchObject({ code: '42703' });
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });
});

// covers: asyncpg/set-type-codec
withServer('types of the database', () => {
  connectionTest('enums, domains, composites and ranges are asked for', async (connection) => {
    await connection.execute(`CREATE TYPE mood AS ENUM ('sad', 'fine');
      CREATE DOMAIN positive AS int CHECK (VALUE > 0);
      CREATE TYPE inner_t AS (m mood, n positive[]);
      CREATE TYPE outer_t AS (a int, b inner_t, c inner_t[]);
      CREATE TYPE span AS RANGE (subtype = float8)`);
    try {
      const value = { a: 1, b: { m: 'sad', n: [1, 2] }, c: [{ m: null, n: null }, null] };
      const got = await connection.fetchVal('SELECT $1::outer_t', value);
      expect(JSON.parse(JSON.stringify(got))).toEqual(value);
      expect(await connection.fetchVal('SELECT $1::mood[]', ['fine', null])).toEqual([
        'fine',
        null,
      ]);
      expect(await connection.fetchVal('SELECT $1::positive', 5)).toBe(5);
      const range = { lower: 1.5, upper: null };
      expect(await connection.fetchVal('SELECT $1::span', range)).toMatchObject(range);
      const wrong = connection.fetch('SELECT $1::outer_t', { a: 1, z: 2 });
      expect((await failure(wrong)).message).toMatch(/\$1 \(outer_t\): it has no attribute 'z'/);
      const deep = connection.fetch('SELECT $1::outer_t', { a: 'x' });
      expect((await failure(deep)).message).toMatch(/a: expected an integer/);
    } finally {
      await connection.execute(
        'DROP TYPE outer_t, inner_t, span; DROP DOMAIN positive; DROP TYPE mood',
      );
    }
  });

  connectionTest('of extensions are text, also in arrays and composites', async (connection) => {
    expect(await connection.fetchVal("SELECT 'a=>1'::hstore")).toBe('"a"=>"1"');
    const list = ['"a"=>"1"', null, '"b"=>NULL'];
    expect(await connection.fetchVal('SELECT $1::hstore[]', list)).toEqual(list);
    expect(await connection.fetchVal('SELECT $1::citext = $2', 'ABC', 'abc')).toBe(true);
    await connection.execute('CREATE TYPE mixed AS (n int, h hstore, t text)');
    const value = { n: 5, h: '"a"=>"1"', t: 'x, "y" (z)' };
    const got = await connection.fetchVal('SELECT $1::mixed', value);
    expect({ ...(got as object) }).toEqual(value);
    await connection.execute('DROP TYPE mixed');
  });

  connectionTest('records without a name have the columns f1, f2 …', async (connection) => {
    const value = await connection.fetchVal("SELECT ROW(1, 'a', NULL, ARRAY[true])");
    expect(value).toEqual({ f1: 1, f2: 'a', f3: null, f4: [true] });
  });

  connectionTest('take codecs of the user: text, binary, tuple', async (connection) => {
    await connection.setTypeCodec('numeric', {
      encode: (value: number) => String(value),
      decode: (text: string) => Number(text),
    });
    expect(await connection.fetchVal('SELECT $1::numeric * 2', 1.5)).toBe(3);
    expect(await connection.fetchVal('SELECT ARRAY[1.5, 2]')).toEqual([1.5, 2]);
    await connection.setTypeCodec('int4', {
      format: 'binary',
      encode: (value: number) => Buffer.from([0, 0, 0, value]),
      decode: (bytes: Buffer) => bytes.toString('hex'),
    });
    expect(await connection.fetchVal('SELECT $1::int4', 5)).toBe('00000005');
    await connection.resetTypeCodec('int4');
    expect(await connection.fetchVal('SELECT $1::int4', 5)).toBe(5);
    await connection.setTypeCodec('interval', {
      format: 'tuple',
      encode: (parts: unknown) => parts,
      decode: (parts: unknown) => parts,
    });
    expect(await connection.fetchVal('SELECT $1::interval', [1, 2, 3n])).toEqual([1, 2, 3n]);
  });

  connectionTest('take codecs that come with the client', async (connection) => {
    await connection.setBuiltinTypeCodec('hstore', { codec: 'hstore' });
    const value = { a: '1', 'b "c"': null, 'd\\': 'x,y=>"z"' };
    const got = await connection.fetchVal('SELECT $1::hstore', value);
    expect({ ...(got as object) }).toEqual(value);
    // More than a pattern has a stack for; as much again that is one escape after the other.
    const long = { a: 'x"\\'.repeat(700_000), b: '\\'.repeat(500_000) };
    const big = await connection.fetchVal<typeof long>('SELECT $1::hstore', long);
    expect([big?.a === long.a, big?.b === long.b]).toEqual([true, true]);
    expect({ ...(await connection.fetchVal("SELECT ''::hstore")) }).toEqual({});
    const wrong = connection.setBuiltinTypeCodec('hstore', { codec: 'none' });
    expect((await failure(wrong)).message).toMatch(/no codec 'none'/);
  });

  connectionTest('that are none, and codecs that are none, are refused', async (connection) => {
    const codec = { encode: String, decode: String };
    expect((await failure(connection.setTypeCodec('nothing', codec))).message).toMatch(/no type/);
    expect((await failure(connection.setTypeCodec('int4[]', codec))).message).toMatch(/neither/);
    const half = connection.setTypeCodec('int4', { encode: String } as never);
    expect((await failure(half)).message).toMatch(/encode and decode/);
    const format = connection.setTypeCodec('int4', { ...codec, format: 'x' as never });
    expect((await failure(format)).message).toMatch(/format of a codec/);
    await connection.reloadSchemaState();
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });

  connectionTest('a codec that throws fails the query, and only that', async (connection) => {
    await connection.setTypeCodec('int4', {
      encode: String,
      decode: () => {
        throw new Error('of the codec');
      },
    });
    const rows = connection.fetch('SELECT i FROM generate_series(1, 20000) i');
    expect((await failure(rows)).message).toBe('of the codec');
    expect(await connection.fetchVal("SELECT 'fine'")).toBe('fine');
  });
});
