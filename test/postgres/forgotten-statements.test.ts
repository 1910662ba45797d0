/** Prepared statements that the server, a pool or their user has forgotten. */
import { expect } from 'vitest';
import { failure } from '../task/support.ts';
import { connectionTest, openPool, serverTest, withServer } from './support.ts';

const count = 'SELECT count(*)::int FROM pg_prepared_statements';

withServer('statements that are forgotten', () => {
  for (const sql of ['DISCARD ALL', 'DEALLOCATE ALL', 'SELECT 1; DEALLOCATE PREPARE ALL']) {
    connectionTest(`by ${sql} are prepared anew, also in a transaction`, async (connection) => {
      const prepared = await connection.prepare('SELECT $1::int + 2');
      expect(await connection.fetchVal('SELECT $1::int + 1', 1)).toBe(2);
      await connection.execute(sql);
      await connection.transaction(async () => {
        expect(await connection.fetchVal('SELECT $1::int + 1', 1)).toBe(2);
        expect(await prepared.fetchVal(1)).toBe(3);
        expect(await prepared.fetchVal(2)).toBe(4);
      });
    });
  }

  serverTest('by the hook of a pool do no harm to the next borrower', async () => {
    const reset = (connection: { execute(sql: string): Promise<string> }): Promise<void> =>
      connection.execute('DISCARD ALL').then(() => {});
    const pool = await openPool({ maxSize: 1, reset });
    for (let i = 0; i < 3; i++) {
      await pool.use((connection) =>
        connection.transaction(async () => {
          expect(await connection.fetchVal('SELECT $1::int', i)).toBe(i);
        }),
      );
    }
    await pool.close();
  });

  serverTest('by their borrower are closed', async () => {
    const pool = await openPool({ maxSize: 1, statementCacheSize: 2 });
    for (let i = 0; i < 10; i++) {
      await pool.use(async (connection) => {
        const statement = await connection.prepare(`SELECT ${i}`);
        expect(await statement.fetchVal()).toBe(i);
      });
    }
    expect(await pool.fetchVal(count)).toBeLessThan(5);
    await pool.close();
  });

  connectionTest('since a type was altered are prepared anew', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int, b int); INSERT INTO t VALUES (1, 2)');
    const rows = await connection.prepare('SELECT t FROM t');
    const insert = await connection.prepare('INSERT INTO t (a) VALUES ($1)');
    expect(await rows.fetchVal()).toMatchObject({ a: 1, b: 2 });
    await connection.execute('ALTER TABLE t ADD c text; ALTER TABLE t ALTER a TYPE text');
    expect((await failure(rows.fetchVal())).message).toMatch(/3 attributes/);
    expect(await rows.fetchVal()).toMatchObject({ a: '1', b: 2, c: null });
    await insert.fetch('x');
    expect(await connection.fetchVal("SELECT a FROM t WHERE a = 'x'")).toBe('x');
  });
});
