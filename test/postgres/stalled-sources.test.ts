/** Arguments, records and bytes whose source stalls, or knows nothing of scopes and signals. */
import { ReadableStream } from 'node:stream/web';
import { expect } from 'vitest';
import type { Connection } from '../../lib/postgres/types.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/spawn.ts';
import { failure } from '../task/support.ts';
import { connectionTest, open, withServer } from './support.ts';

const insert = 'INSERT INTO t VALUES ($1)';

/** The items, and then nothing more, for ever. */
async function* stalled<T>(...items: T[]): AsyncGenerator<T> {
  yield* items;
  await new Promise(() => {});
}

type Options = { timeoutMs?: number; signal?: AbortSignal };
type Work = (connection: Connection, options: Options) => Promise<unknown>;

const works: readonly (readonly [string, Work])[] = [
  ['executeMany', (connection, options) => connection.executeMany(insert, stalled([1]), options)],
  [
    'copyToTable',
    (connection, options) => connection.copyToTable('t', { source: stalled('1\n'), ...options }),
  ],
  [
    'copyRecordsToTable',
    (connection, options) =>
      connection.copyRecordsToTable('t', { records: stalled([1]), ...options }),
  ],
];

withServer('a source that stalls', () => {
  for (const [name, work] of works) {
    connectionTest(`does not keep ${name} from its end`, async (connection) => {
      await connection.execute('CREATE TEMP TABLE t (a int PRIMARY KEY)');
      const late = await failure(work(connection, { timeoutMs: 20 }));
      expect(late).toMatchObject({ name: 'TimeoutError' });
      const controller = new AbortController();
      const aborted = work(connection, { signal: controller.signal });
      await sleep(5);
      controller.abort(new Error('of the signal'));
      expect((await failure(aborted)).message).toBe('of the signal');
      await moveOnAfter(20, () => work(connection, {}));
      const task = createTask(() => work(connection, {}));
      await sleep(5);
      task.cancel();
      expect(await failure(task)).toMatchObject({ name: 'CancelledError' });
      expect(await connection.fetchVal('SELECT count(*) FROM t')).toBe(0n);
    });
  }

  connectionTest('does not hold back what the server says', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int PRIMARY KEY)');
    const twice = connection.executeMany(insert, stalled([1], [1]));
    expect(await failure(twice)).toMatchObject({ code: '23505' });
    const text = connection.copyToTable('t', { source: stalled('x\n') });
    expect(await failure(text)).toMatchObject({ code: '22P02' });
    const other = await open();
    const lost = failure(connection.executeMany(insert, stalled([1])));
    await other.execute(`SELECT pg_terminate_backend(${connection.serverPid})`);
    expect(await lost).toMatchObject({ name: 'PostgresConnectionError' });
    await other.close();
  });

  connectionTest('is cancelled when it is a stream of the Web', async (connection) => {
    await connection.execute('CREATE TEMP TABLE t (a int)');
    const cancelled = new Promise((resolve) => {
      const source = new ReadableStream<Uint8Array>({ cancel: resolve });
      void failure(connection.copyToTable('t', { source, timeoutMs: 20 }));
    });
    await cancelled;
  });

  connectionTest('a receiver that waits on its own is left', async (connection) => {
    const sql = 'SELECT * FROM generate_series(1, 1000000)';
    const output = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));
    const controller = new AbortController();
    const copy = connection.copyFromQuery(sql, [], { output, signal: controller.signal });
    setTimeout(() => controller.abort(new Error('of the signal')), 20);
    expect((await failure(copy)).message).toBe('of the signal');
    expect(await moveOnAfter(20, () => connection.copyFromQuery(sql, [], { output }))).toBe(
      undefined,
    );
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });
});
