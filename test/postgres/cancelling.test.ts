/** Cancellation and time limits: the server is told, and the connection goes on. */
import { expect } from 'vitest';
import type { Connection } from '../../lib/postgres/types.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/spawn.ts';
import { failure } from '../task/support.ts';
import {
  connectionTest,
  open,
  openPool,
  residentBytes,
  serverTest,
  withServer,
} from './support.ts';

async function usable(connection: Connection): Promise<void> {
  // Not by the limit of the connection, which may be short.
  expect(await connection.with({ timeoutMs: 30_000 }).fetchVal('SELECT 42')).toBe(42);
  expect(connection.closed).toBe(false);
}

/** Whether the server still runs something for the connection. */
async function busy({ serverPid }: Connection): Promise<number> {
  const other = await open();
  try {
    const sql = `SELECT count(*)::int FROM pg_stat_activity WHERE state = 'active' AND pid = $1`;
    return (await other.fetchVal(sql, serverPid)) as number;
  } finally {
    await other.close();
  }
}

// covers: uvio/query-cancellation
withServer('a query that is cancelled', () => {
  connectionTest('by a scope ends on the server', async (connection) => {
    const beginMs = performance.now();
    await moveOnAfter(30, () => connection.fetch('SELECT pg_sleep(5)'));
    await usable(connection);
    expect(performance.now() - beginMs).toBeLessThan(1_000);
    expect(await busy(connection)).toBe(0);
  });

  connectionTest('by its task ends on the server', async (connection) => {
    const task = createTask(() => connection.fetch('SELECT pg_sleep(5)'));
    await sleep(20);
    task.cancel();
    expect((await failure(task)).name).toBe('CancelledError');
    await usable(connection);
  });

  connectionTest('by a signal rejects with its reason', async (connection) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 20);
    const query = connection.with({ signal: controller.signal }).fetch('SELECT pg_sleep(5)');
    expect((await failure(query)).message).toBe('enough');
    await usable(connection);
    const late = connection.with({ signal: controller.signal }).fetch('SELECT 1');
    expect((await failure(late)).message).toBe('enough');
  });

  connectionTest('by timeoutMs rejects with TimeoutError', async (connection) => {
    const query = connection.with({ timeoutMs: 20 }).execute('SELECT pg_sleep(5)');
    expect(await failure(query)).toMatchObject({ name: 'TimeoutError', code: 'ETIMEDOUT' });
    await usable(connection);
    expect(await failure(connection.fetchVal('SELECT 1/0'))).toMatchObject({ code: '22012' });
  });

  connectionTest(
    'by commandTimeoutMs, likewise',
    async (connection) => {
      expect(await failure(connection.fetch('SELECT pg_sleep(5)'))).toMatchObject({
        name: 'TimeoutError',
      });
      await usable(connection);
    },
    { commandTimeoutMs: 250 },
  );

  connectionTest('while rows arrive is read to its end', async (connection) => {
    const sql = "SELECT repeat('x', 1000) FROM generate_series(1, 100000000)";
    await moveOnAfter(60, () => connection.fetch(sql));
    await usable(connection);
    expect(await busy(connection)).toBe(0);
  });

  connectionTest('in the middle of 100 MB, again and again', async (connection) => {
    const sql = "SELECT repeat('x', 1000) AS x FROM generate_series(1, $1::int)";
    const before = residentBytes();
    for (let i = 0; i < 5; i++) {
      const rows = await moveOnAfter(5 + 10 * i, () => connection.fetch(sql, 100_000));
      // A fast machine may have it all before.
      expect([0, 100_000]).toContain(rows?.length ?? 0);
      expect(await connection.fetchVal('SELECT $1::int', i)).toBe(i);
      expect(await busy(connection)).toBe(0);
      expect(connection.inTransaction).toBe(false);
    }
    await connection
      .transaction(() => moveOnAfter(20, () => connection.fetch(sql, 100_000)))
      .catch(() => {});
    await usable(connection);
    expect(residentBytes() - before).toBeLessThan(600e6);
  });

  connectionTest('while one huge row arrives is read to its end', async (connection) => {
    const sql = "SELECT repeat('x', 100000000)";
    const before = residentBytes();
    await moveOnAfter(100, () => connection.fetch(sql));
    await usable(connection);
    expect(residentBytes() - before).toBeLessThan(400e6);
  });

  connectionTest('while it is prepared, or its types are asked for', async (connection) => {
    await connection.execute("CREATE TYPE slow AS ENUM ('a')");
    for (let turns = 0; turns < 8; turns++) {
      const scope = new CancelScope();
      const query = scope.run(() => connection.fetch(`SELECT $1::slow, ${turns}`, 'a'));
      for (let i = 0; i < turns; i++) await sleep(0);
      scope.cancel();
      await query;
      await usable(connection);
      await connection.reloadSchemaState();
    }
    await connection.execute('DROP TYPE slow');
  });

  connectionTest('before it was sent is not sent', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int)');
    const scope = new CancelScope();
    const slow = connection.fetch('SELECT pg_sleep(0.05)');
    const waiting = scope.run(() => connection.execute('INSERT INTO t VALUES ($1)', 1));
    scope.cancel();
    await Promise.all([slow, waiting]);
    expect(await connection.fetchVal('SELECT count(*) FROM t')).toBe(0n);
  });

  connectionTest('leaves others of the same turn alone', async (connection) => {
    await connection.fetch('SELECT pg_sleep($1)', 0);
    const scope = new CancelScope({ timeoutMs: 30 });
    const [cancelled, value] = await Promise.all([
      scope.run(() => connection.fetch('SELECT pg_sleep($1)', 5)),
      connection.fetchVal('SELECT 7'),
    ]);
    expect([cancelled, value]).toEqual([undefined, 7]);
    await usable(connection);
  });

  connectionTest('inside a transaction aborts that', async (connection) => {
    await connection
      .transaction(async () => {
        await moveOnAfter(20, () => connection.fetch('SELECT pg_sleep(5)'));
        expect(await failure(connection.fetch('SELECT 1'))).toMatchObject({ code: '25P02' });
      })
      .catch(() => {});
    await usable(connection);
  });

  connectionTest('in COPY, in both directions', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a text)');
    await moveOnAfter(30, () =>
      connection.copyFromQuery("SELECT repeat('x', 1000) FROM generate_series(1, 100000000)", [], {
        output: () => {},
      }),
    );
    await usable(connection);
    await moveOnAfter(30, () =>
      connection.copyToTable('t', {
        source: (async function* () {
          for (;;) {
            yield 'row\n';
            await sleep(1);
          }
        })(),
      }),
    );
    await usable(connection);
    expect(await connection.fetchVal('SELECT count(*) FROM t')).toBe(0n);
  });

  connectionTest('in COPY by a time limit', async (connection) => {
    const slow = connection.copyFromQuery('SELECT pg_sleep(5)', [], {
      output: () => {},
      timeoutMs: 30,
    });
    expect(await failure(slow)).toMatchObject({ name: 'TimeoutError' });
    await usable(connection);
  });

  connectionTest('in executeMany undoes all', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int)');
    await moveOnAfter(30, () =>
      connection.executeMany(
        'INSERT INTO t VALUES ($1)',
        (async function* () {
          for (let i = 0; ; i++) {
            yield [i];
            await sleep(1);
          }
        })(),
      ),
    );
    await usable(connection);
    expect(await connection.fetchVal('SELECT count(*) FROM t')).toBe(0n);
  });

  connectionTest('at every turn, again and again, never spoils another', async (connection) => {
    for (let turns = 0; turns < 40; turns++) {
      const scope = new CancelScope();
      const query = scope.run(() => connection.fetch('SELECT pg_sleep($1)', turns % 2 ? 0 : 0.02));
      for (let i = 0; i < turns % 10; i++) await sleep(0);
      scope.cancel();
      await query;
      const value = await connection.fetchVal('SELECT $1::int', turns);
      expect(value).toBe(turns);
    }
  });
});

withServer('a pool whose loans are cancelled', () => {
  serverTest('keeps its size, and nothing of theirs', async () => {
    const pool = await openPool({ minSize: 2, maxSize: 2 });
    const table = `cancelled_${process.pid}`;
    await pool.execute(`CREATE TABLE ${table} (a text)`);
    const pids = async (): Promise<unknown[]> => {
      const both = await Promise.all([pool.acquire(), pool.acquire()]);
      const found = both.map(({ serverPid }) => serverPid).sort();
      for (const one of both) await one.release();
      return found;
    };
    const before = await pids();
    const large = "SELECT repeat('x', 1000) FROM generate_series(1, 100000)";
    const ways: readonly ((connection: Connection) => Promise<unknown>)[] = [
      (connection) => connection.fetch(large),
      (connection) => connection.copyFromQuery(large, [], { output: () => sleep(1) }),
      (connection) =>
        connection.copyToTable(table, {
          source: (async function* () {
            for (;;) yield `${'x'.repeat(10_000)}\n`;
          })(),
        }),
      (connection) =>
        connection.transaction(async () => {
          await connection.execute("CREATE TABLE never (a int); SET work_mem = '1MB'");
          await connection.fetch(large);
        }),
      (connection) =>
        connection.transaction(async () => {
          for await (const _ of connection.cursor(large)) await sleep(0);
        }),
    ];
    for (const way of ways) {
      for (const delayMs of [0, 10]) {
        await moveOnAfter(delayMs, () => Promise.allSettled([pool.use(way), pool.use(way)]));
        expect([pool.size, pool.idle, pool.waiting]).toEqual([2, 2, 0]);
        expect(await pool.fetchVal('SELECT $1::int', delayMs)).toBe(delayMs);
      }
    }
    expect(await pids()).toEqual(before);
    const left = `SELECT (SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)
      AND pid <> pg_backend_pid() AND state <> 'idle') + (SELECT count(*) FROM pg_class
      WHERE relname = 'never')`;
    expect(await pool.fetchVal(left, before)).toBe(0n);
    expect(await pool.fetchVal(`SELECT count(*) FROM ${table}`)).toBe(0n);
    await pool.execute(`DROP TABLE ${table}`);
    await pool.close();
  });
});

withServer('the end of a connection', () => {
  serverTest('close waits for what was asked before', async () => {
    const connection = await open();
    const value = connection.fetchVal('SELECT pg_sleep(0.03) IS NULL');
    await connection.close();
    expect(await value).toBe(false);
    expect(connection.closed).toBe(true);
    await connection.close();
    expect(await failure(connection.fetch('SELECT 1'))).toMatchObject({
      name: 'PostgresConnectionError',
    });
  });

  serverTest('close has a limit', async () => {
    const connection = await open();
    const query = failure(connection.fetch('SELECT pg_sleep(5)'));
    expect(await failure(connection.close({ timeoutMs: 30 }))).toMatchObject({
      name: 'TimeoutError',
    });
    expect(await query).toMatchObject({ name: 'PostgresConnectionError' });
    expect(connection.closed).toBe(true);
  });

  serverTest('terminate ends queries at once', async () => {
    const connection = await open();
    const query = failure(connection.fetch('SELECT pg_sleep(5)'));
    let told = 0;
    connection.addTerminationListener(() => told++);
    connection.terminate();
    expect(await query).toMatchObject({ name: 'PostgresConnectionError' });
    expect(told).toBe(1);
  });

  serverTest('by the administrator is told with his reason', async () => {
    const connection = await open();
    const other = await open();
    const query = failure(connection.fetch('SELECT pg_sleep(5)'));
    await other.fetch('SELECT pg_terminate_backend($1)', connection.serverPid);
    expect(await query).toMatchObject({ name: 'PostgresConnectionError', code: '57P01' });
    expect(connection.closed).toBe(true);
    await other.close();
  });

  connectionTest('reset makes it as new', async (connection) => {
    await connection.execute("SET application_name = 'x'; BEGIN");
    await connection.fetch('SELECT pg_advisory_lock(5)');
    await connection.addListener('channel', () => {});
    await connection.reset();
    expect(connection.inTransaction).toBe(false);
    expect(await connection.fetchVal('SHOW application_name')).toBe('');
    expect(
      await connection.fetchVal(
        'SELECT count(*) FROM pg_locks WHERE objid = 5 AND pid = pg_backend_pid()',
      ),
    ).toBe(0n);
  });
});
