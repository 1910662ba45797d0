/** Transactions of several tasks on one connection, and what a rollback takes with it. */
import { expect } from 'vitest';
import { InterfaceError } from '../../lib/postgres/errors.ts';
import type { Connection } from '../../lib/postgres/types.ts';
import { Event } from '../../lib/sync/event.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { spawn } from '../../lib/task/spawn.ts';
import { failure } from '../task/support.ts';
import { connectionTest, withServer } from './support.ts';

async function table(connection: Connection): Promise<() => Promise<number[]>> {
  await connection.execute('CREATE TEMP TABLE t (a int)');
  return async () => (await connection.fetch('SELECT a FROM t ORDER BY a')).map((row) => row[0]);
}

const insert = 'INSERT INTO t VALUES ($1)';

withServer('a transaction that another task has begun inside of this one', () => {
  connectionTest('is not committed half done', async (connection) => {
    const rows = await table(connection);
    const [begun, ended] = [new Event(), new Event()];
    const other = spawn(async () => {
      await begun.wait();
      await connection.transaction(async () => {
        await connection.execute(insert, 2);
        begun.clear();
        await ended.wait();
      });
    });
    const heard = failure(other);
    const outer = connection.transaction(async () => {
      await connection.execute(insert, 1);
      begun.set();
      while (begun.isSet) await connection.execute('SELECT 1');
    });
    const error = await failure(outer);
    expect(error).toBeInstanceOf(InterfaceError);
    expect(error.message).toMatch(/of another task .* rolled back/);
    ended.set();
    expect((await heard).message).toMatch(/around it has ended/);
    expect(await rows()).toEqual([]);
    await connection.transaction(() => connection.execute(insert, 3));
    expect(await rows()).toEqual([3]);
  });

  connectionTest('is a savepoint if it ends first, as one of a child', async (connection) => {
    const rows = await table(connection);
    await connection.transaction(async () => {
      await taskGroup((group) => {
        group.startSoon(() => connection.transaction(() => connection.execute(insert, 1)));
      });
      const undone = spawn(() =>
        connection.transaction(async () => {
          await connection.execute(insert, 2);
          throw new Error('undone');
        }),
      );
      expect((await failure(undone)).message).toBe('undone');
    });
    expect(await rows()).toEqual([1]);
  });
});

withServer('a transaction of the same task that is left open', () => {
  connectionTest('ends with the one around it', async (connection) => {
    const rows = await table(connection);
    const outer = connection.transaction();
    await outer.start();
    {
      const inner = connection.transaction();
      await inner.start();
      await connection.execute(insert, 1);
      await outer.commit();
      expect((await failure(inner.commit())).message).toMatch(/around it has ended/);
      await inner[Symbol.asyncDispose]();
    }
    expect(connection.inTransaction).toBe(false);
    expect(await rows()).toEqual([1]);
  });

  connectionTest('is undone with it', async (connection) => {
    const rows = await table(connection);
    const [outer, inner] = [connection.transaction(), connection.transaction()];
    await outer.start();
    await inner.start();
    await connection.execute(insert, 1);
    await outer.rollback();
    await inner[Symbol.asyncDispose]();
    expect(await rows()).toEqual([]);
  });
});

withServer('a listener', () => {
  connectionTest('hears also if the LISTEN of another one was undone', async (connection) => {
    const heard: string[] = [];
    const undone = connection.transaction(async () => {
      await connection.addListener('c', ({ payload }) => heard.push(`first ${payload}`));
      throw new Error('undone');
    });
    expect((await failure(undone)).message).toBe('undone');
    await connection.addListener('c', ({ payload }) => heard.push(`second ${payload}`));
    await connection.execute("NOTIFY c, 'x'");
    await connection.fetchVal('SELECT 1');
    expect(heard).toEqual(['first x', 'second x']);
  });
});
