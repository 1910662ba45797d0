/** How transactions end when they are cancelled, or when the server has its own opinion. */
import { expect } from 'vitest';
import type { Connection } from '../../lib/postgres/types.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { failure } from '../task/support.ts';
import { connectionTest, withServer } from './support.ts';

const insert = 'INSERT INTO t VALUES ($1)';

async function table(connection: Connection): Promise<() => Promise<number[]>> {
  await connection.execute('CREATE TEMP TABLE t (a int)');
  return async () => (await connection.fetch('SELECT a FROM t ORDER BY a')).map((row) => row[0]);
}

/** Runs `work` in a scope that has been cancelled, and whose cancellation was swallowed once. */
async function afterDeadline(work: () => Promise<unknown>): Promise<void> {
  await moveOnAfter(1, async () => {
    await failure(sleep(60_000));
    await work();
  });
}

// covers: asyncpg/transaction
withServer('the end of a transaction', () => {
  connectionTest('whose scope was cancelled before COMMIT is ROLLBACK', async (connection) => {
    const rows = await table(connection);
    await moveOnAfter(30, () =>
      connection.transaction(async () => {
        await connection.execute(insert, 1);
        await failure(sleep(60_000));
      }),
    );
    expect(connection.inTransaction).toBe(false);
    expect(await rows()).toEqual([]);
    await connection.transaction(() => connection.execute(insert, 2));
    expect(connection.inTransaction).toBe(false);
    expect(await rows()).toEqual([2]);
  });

  connectionTest('inside another one, cancelled before it ends, too', async (connection) => {
    const rows = await table(connection);
    await connection.transaction(async () => {
      await connection.execute(insert, 1);
      await moveOnAfter(30, () =>
        connection.transaction(async () => {
          await connection.execute(insert, 2);
          await failure(sleep(60_000));
        }),
      );
      await connection.execute(insert, 3);
    });
    expect(await rows()).toEqual([1, 3]);
  });

  connectionTest('that could not begin leaves the one around it alone', async (connection) => {
    const rows = await table(connection);
    await connection.transaction(async () => {
      await connection.execute(insert, 1);
      await afterDeadline(() => connection.transaction(() => connection.execute(insert, 2)));
      await connection.execute(insert, 3);
    });
    expect(await rows()).toEqual([1, 3]);
    await afterDeadline(() => connection.transaction(() => connection.execute(insert, 4)));
    expect(connection.inTransaction).toBe(false);
  });

  connectionTest('is not told as commit when a query not awaited failed', async (connection) => {
    const rows = await table(connection);
    const broken = connection.transaction(async () => {
      await connection.execute(insert, 1);
      void failure(connection.fetch('SELECT 1/0'));
    });
    expect((await failure(broken)).message).toMatch(/rolled back/);
    expect(await rows()).toEqual([]);
  });

  connectionTest('inside another one that fails undoes only its own work', async (connection) => {
    const rows = await table(connection);
    await connection.transaction(async () => {
      await connection.execute(insert, 1);
      const broken = connection.transaction(async () => {
        await connection.execute(insert, 2);
        void failure(connection.fetch('SELECT 1/0'));
      });
      expect((await failure(broken)).message).toMatch(/rolled back/);
      await connection.execute(insert, 3);
    });
    expect(await rows()).toEqual([1, 3]);
  });

  connectionTest('of a constraint that is checked by COMMIT is an error', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)');
    const broken = connection.transaction(async () => {
      await connection.execute(insert, 1);
      await connection.transaction(() => connection.execute(insert, 1));
    });
    expect(await failure(broken)).toMatchObject({ code: '23505' });
    expect(connection.inTransaction).toBe(false);
    expect(await connection.fetchVal('SELECT count(*) FROM t')).toBe(0n);
  });

  connectionTest('of explain that is cancelled leaves none behind', async (connection) => {
    const rows = await table(connection);
    const slow = await connection.prepare('SELECT pg_sleep(60)');
    await moveOnAfter(30, () => slow.explain({ analyze: true }));
    expect(connection.inTransaction).toBe(false);
    await connection.execute(insert, 1);
    await connection.transaction(async () => {
      await connection.execute(insert, 2);
      await moveOnAfter(30, () => slow.explain({ analyze: true }));
      await connection.execute(insert, 3);
    });
    expect(await rows()).toEqual([1, 2, 3]);
  });
});
