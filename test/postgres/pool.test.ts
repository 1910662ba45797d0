/** Pools: sizes, fairness, hooks, ends, restarts. */
import { expect } from 'vitest';
import type { Connection } from '../../lib/postgres/index.ts';
import { createPool } from '../../lib/postgres/pool.ts';
import { CancelScope, moveOnAfter } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { PrivatePostgres } from '../support/postgres.ts';
import { failure } from '../task/support.ts';
import { openPool, poolTest, serverTest, where, withServer } from './support.ts';

// covers: asyncpg/pool, seeds/C35
withServer('a pool', () => {
  poolTest('runs queries on its connections', async (pool) => {
    expect(await pool.fetchVal('SELECT $1::int', 1)).toBe(1);
    expect(await pool.fetch('SELECT 1 AS a')).toEqual([{ a: 1 }]);
    expect(await pool.fetchRow('SELECT 1 AS a')).toEqual({ a: 1 });
    expect(await pool.execute('SELECT 1')).toBe('SELECT 1');
    expect(await pool.sql`SELECT ${'x'}::text AS a`).toEqual([{ a: 'x' }]);
    expect(await pool.fetchMany('SELECT $1::int AS a', [[1], [2]])).toEqual([{ a: 1 }, { a: 2 }]);
    const limited = pool.with({ timeoutMs: 20 }).fetch('SELECT pg_sleep(5)');
    expect(await failure(limited)).toMatchObject({ name: 'TimeoutError' });
    // It is ended on the server meanwhile.
    await expect.poll(() => pool.idle).toBe(1);
    expect([pool.size, pool.idle]).toEqual([1, 1]);
  });

  poolTest('grows to maxSize, and no further', async (pool) => {
    // Longer than a connection takes to be made on a busy machine.
    const queries = Array.from({ length: 8 }, () => pool.fetch('SELECT pg_sleep(0.1)'));
    await sleep(15);
    expect(pool.size).toBeLessThanOrEqual(3);
    await Promise.all(queries);
    expect([pool.size, pool.idle, pool.waiting]).toEqual([3, 3, 0]);
    expect([pool.minSize, pool.maxSize, pool.closing]).toEqual([1, 3, false]);
  });

  poolTest(
    'serves those who wait in their order',
    async (pool) => {
      const order: number[] = [];
      const first = await pool.acquire();
      const rest = [1, 2, 3, 4].map((i) => pool.use(async () => void order.push(i)));
      expect(pool.waiting).toBe(4);
      await first.release();
      await Promise.all(rest);
      expect(order).toEqual([1, 2, 3, 4]);
    },
    { maxSize: 1 },
  );

  poolTest(
    'loses nothing to those who give up waiting',
    async (pool) => {
      const first = await pool.acquire();
      const scope = new CancelScope();
      const cancelled = scope.run(() => pool.acquire());
      const limited = failure(pool.acquire({ timeoutMs: 20 }));
      const controller = new AbortController();
      const aborted = failure(pool.acquire({ signal: controller.signal }));
      const served = pool.fetchVal('SELECT 1');
      scope.cancel();
      controller.abort(new Error('no more'));
      await cancelled;
      expect(await limited).toMatchObject({ name: 'TimeoutError' });
      expect((await aborted).message).toBe('no more');
      await first.release();
      expect(await served).toBe(1);
      expect([pool.size, pool.idle, pool.waiting]).toEqual([1, 1, 0]);
    },
    { maxSize: 1 },
  );

  poolTest('a loan ends with its block, once, and is of no use then', async (pool) => {
    let kept: Connection;
    {
      await using connection = await pool.acquire();
      kept = connection;
      expect(await connection.fetchVal('SELECT 1')).toBe(1);
      expect(pool.idle).toBe(0);
    }
    expect(pool.idle).toBe(1);
    expect(await failure(kept.fetch('SELECT 1'))).toMatchObject({ name: 'InterfaceError' });
    await kept.close();
    const loan = await pool.acquire();
    await pool.release(loan);
    await loan.release();
    expect(await failure(pool.release({} as never))).toBeInstanceOf(TypeError);
    expect([pool.size, pool.idle]).toEqual([1, 1]);
  });

  poolTest(
    'gives out no session with what another one left in it',
    async (pool) => {
      await pool.use(async (connection) => {
        await connection.execute("SET application_name = 'left'; BEGIN");
        await connection.addListener('c', () => {});
      });
      await pool.use(async (connection) => {
        expect(connection.inTransaction).toBe(false);
        expect(await connection.fetchVal('SHOW application_name')).toBe('');
      });
      await pool.execute("SET application_name = 'left'");
      expect(await pool.fetchVal('SHOW application_name')).toBe('');
    },
    { maxSize: 1 },
  );

  poolTest(
    'takes a session back from a query that was cancelled',
    async (pool) => {
      for (let i = 0; i < 5; i++) {
        await moveOnAfter(10, () => pool.fetch('SELECT pg_sleep(5)'));
        expect(await pool.fetchVal('SELECT $1::int', i)).toBe(i);
      }
      expect([pool.size, pool.idle]).toEqual([1, 1]);
    },
    { maxSize: 1 },
  );

  serverTest('calls init once, setup and reset for each loan', async () => {
    const calls: string[] = [];
    const pool = await openPool({
      maxSize: 1,
      init: async (connection) => {
        calls.push('init');
        await connection.setTypeCodec('int4', { encode: String, decode: (text) => `<${text}>` });
      },
      setup: async () => void calls.push('setup'),
      reset: async () => void calls.push('reset'),
    });
    expect(await pool.fetchVal('SELECT 1')).toBe('<1>');
    await pool.use(() => {});
    expect(calls).toEqual(['init', 'setup', 'reset', 'setup', 'reset']);
    await pool.close();
  });

  serverTest('keeps nothing of a borrower, also when reset does nothing', async () => {
    const heard: string[] = [];
    const states: boolean[] = [];
    const reset = async (connection: Connection): Promise<void> => {
      states.push(connection.inTransaction);
      if (states.length === 1) await connection.execute('BEGIN');
    };
    const pool = await openPool({ maxSize: 1, reset });
    await pool.use(async (connection) => {
      connection.addTerminationListener(() => heard.push('termination'));
      connection.addLogListener(() => heard.push('log'));
      connection.addQueryLogger(() => heard.push('query'));
      await connection.execute('BEGIN; SELECT 1');
    });
    heard.length = 0;
    await pool.use(async (connection) => {
      expect(connection.inTransaction).toBe(false);
      await connection.execute("DO $$ BEGIN RAISE NOTICE 'x'; END $$");
    });
    expect(states).toEqual([false, false]);
    await pool.close();
    expect(heard).toEqual([]);
  });

  serverTest('lets go of a session whose hook fails', async () => {
    let broken = true;
    const pool = await openPool({
      maxSize: 1,
      setup: () => {
        if (broken) throw new Error('of setup');
      },
    });
    expect((await failure(pool.acquire())).message).toBe('of setup');
    broken = false;
    expect(await pool.fetchVal('SELECT 1')).toBe(1);
    expect(pool.size).toBe(1);
    await pool.close();
    const init = createPool({
      ...(await where()),
      init: () => {
        throw new Error('of init');
      },
    });
    expect((await failure(init)).message).toBe('of init');
  });

  poolTest(
    'replaces a session after maxQueries',
    async (pool) => {
      const pids = new Set<unknown>();
      for (let i = 0; i < 6; i++) pids.add(await pool.fetchVal('SELECT pg_backend_pid()'));
      expect(pids.size).toBe(3);
    },
    { maxSize: 1, maxQueries: 2 },
  );

  poolTest(
    'closes what was idle for long, down to minSize',
    async (pool) => {
      await Promise.all([1, 2, 3].map(() => pool.fetch('SELECT pg_sleep(0.01)')));
      for (let i = 0; i < 300 && pool.size > 1; i++) await sleep(10);
      expect([pool.size, pool.idle]).toEqual([1, 1]);
    },
    { maxIdleMs: 40 },
  );

  poolTest('replaces all after expireConnections', async (pool) => {
    const before = await pool.fetchVal('SELECT pg_backend_pid()');
    const loan = await pool.acquire();
    await pool.expireConnections();
    expect(await loan.fetchVal('SELECT pg_backend_pid()')).toBe(before);
    await loan.release();
    expect(await pool.fetchVal('SELECT pg_backend_pid()')).not.toBe(before);
    pool.setConnectOptions({ ...(await where()), serverSettings: { application_name: 'later' } });
    await pool.expireConnections();
    expect(await pool.fetchVal('SHOW application_name')).toBe('later');
  });

  serverTest('close waits for loans, and refuses new ones', async () => {
    const pool = await openPool();
    const loan = await pool.acquire();
    const waiting = failure(Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]));
    let closed = false;
    const closing = pool.close().then(() => (closed = true));
    expect(await waiting).toMatchObject({ name: 'InterfaceError' });
    expect(await failure(pool.fetch('SELECT 1'))).toMatchObject({ name: 'InterfaceError' });
    expect([closed, pool.closing]).toEqual([false, true]);
    expect(await loan.fetchVal('SELECT 1')).toBe(1);
    pool.terminate();
    await closing;
    await pool.close();
  });

  serverTest('terminate ends all at once', async () => {
    const pool = await openPool();
    const query = failure(pool.fetch('SELECT pg_sleep(5)'));
    await sleep(20);
    pool.terminate();
    expect(await query).toMatchObject({ name: 'PostgresConnectionError' });
    expect(pool.size).toBe(0);
  });

  serverTest('that cannot connect is an error, with nothing left', async () => {
    const wrong = createPool({ ...(await where()), database: 'no_such_database' });
    expect(await failure(wrong)).toMatchObject({ code: '3D000' });
    for (const options of [{ maxSize: 0 }, { minSize: 5, maxSize: 2 }, { setup: 5 as never }]) {
      expect((await failure(openPool(options))).message).toMatch(/maxSize|minSize|setup/);
    }
  });

  poolTest('a session that ends is replaced', async (pool) => {
    const pid = await pool.fetchVal('SELECT pg_backend_pid()');
    await pool.use(async (connection) => connection.terminate());
    for (let i = 0; i < 100 && pool.size > 0; i++) await sleep(1);
    expect(await pool.fetchVal('SELECT pg_backend_pid()')).not.toBe(pid);
  });
});

// covers: uvio/listen-over-reconnects
withServer('a server that is restarted', () => {
  serverTest('loses no pool, no listener, and answers every query once', async () => {
    const server = await PrivatePostgres.start();
    const { host, port, user, database } = server.server;
    const pool = await createPool({ host, port, user, database, minSize: 1, maxSize: 4 });
    await pool.execute('CREATE TABLE t (a int)');
    const heard: [string, boolean][] = [];
    const listening = (async () => {
      for await (const { payload, reconnected } of pool.listen('c')) {
        heard.push([payload, reconnected]);
        if (payload === 'last') return;
      }
    })();
    const done: number[] = [];
    let next = 0;
    let running = true;
    const worker = async (): Promise<void> => {
      while (running) {
        const i = next++;
        await pool.execute('INSERT INTO t VALUES ($1)', i).then(
          () => done.push(i),
          () => sleep(5),
        );
      }
    };
    const workers = [worker(), worker(), worker(), worker()];
    while (heard.length === 0) {
      await pool.execute("NOTIFY c, 'first'");
      await sleep(5);
    }
    await server.stop();
    await sleep(20);
    await server.restart();
    const before = done.length;
    while (done.length < before + 20) await sleep(5);
    running = false;
    await Promise.all(workers);
    for (let i = 0; i < 400 && !heard.some(([payload]) => payload === 'last'); i++) {
      await pool.execute("NOTIFY c, 'last'");
      await sleep(10);
    }
    await listening;
    const rows = (await pool.fetch('SELECT a FROM t')).map((row) => row['a']);
    const kept = new Set(rows);
    // None is lost that was answered, and none ran twice.
    expect(done.filter((i) => !kept.has(i))).toEqual([]);
    expect(kept.size).toBe(rows.length);
    expect(heard[0]).toEqual(['first', false]);
    expect(heard.at(-1)).toEqual(['last', true]);
    expect(pool.size).toBeLessThanOrEqual(4);
    await pool.close();
    await server.end();
  });

  poolTest('close waits for a loan that began in the same turn', async (pool) => {
    const acquired = pool.acquire();
    const closed = pool.close();
    const connection = await acquired;
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
    await connection.release();
    await closed;
    expect(await failure(pool.acquire())).toMatchObject({ name: 'InterfaceError' });
  });

  poolTest('a loan that began in the turn of terminate() fails', async (pool) => {
    const acquired = failure(pool.acquire());
    const asked = failure(pool.fetchVal('SELECT 1'));
    pool.terminate();
    expect(await acquired).toMatchObject({ name: 'InterfaceError' });
    expect(await asked).toMatchObject({ name: 'InterfaceError' });
  });

  poolTest('pool.listen gives notifications in order, and ends with the pool', async (pool) => {
    // Files of both policies share the server, and its channels.
    const many = `many_${process.pid}_${Date.now()}`;
    const heard: string[] = [];
    let began = false;
    const listening = (async () => {
      for await (const { payload } of pool.listen(many)) {
        if (payload !== 'begin') heard.push(payload);
        else began = true;
        if (heard.length === 3_000) break;
      }
    })();
    while (!began) {
      await pool.execute(`NOTIFY ${many}, 'begin'`);
      await sleep(5);
    }
    await pool.execute(`SELECT pg_notify('${many}', i::text) FROM generate_series(1, 3000) i`);
    await listening;
    expect(heard).toEqual(Array.from({ length: 3_000 }, (_, i) => String(i + 1)));
    const ending = (async () => {
      for await (const _ of pool.listen('other'));
    })();
    // Opened by now, or not: the end of the pool is its end.
    const late = (async () => {
      await sleep(30);
      for await (const _ of pool.listen('late'));
    })();
    await sleep(30);
    await pool.close();
    await ending;
    await late;
    expect(() => pool.listen('x')).toThrow(/closing/);
  });
});
