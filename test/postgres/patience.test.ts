/** Answers of many queries that are left to the kernel for a while. */
import { expect, test } from 'vitest';
import { connect } from '../../lib/postgres/connection.ts';
import type { ConnectOptions } from '../../lib/postgres/types.ts';
import { failure, inRun } from '../task/support.ts';
import { dataRow, int32, message, ready, withFake } from './fake.ts';
import { connectionTest, withServer } from './support.ts';

const sql = 'SELECT $1::int';

for (const tls of ['disable', 'require'] as const) {
  withServer(`with many queries in flight, TLS: ${tls}`, () => manyQueries({ tls }));
}

function manyQueries(options: ConnectOptions): void {
  connectionTest(
    'answers come before a slow one behind them has ended',
    async (connection) => {
      const slow = 'SELECT pg_sleep($1)';
      await Promise.all([connection.fetchVal(sql, 0), connection.fetchVal(slow, 0)]);
      const before = Array.from({ length: 5 }, (_, i) => connection.fetchVal(sql, i));
      const controller = new AbortController();
      const sleeping = connection.with({ signal: controller.signal });
      const slept = failure(sleeping.fetchVal(slow, 60));
      const behind = Array.from({ length: 50 }, (_, i) => connection.fetchVal(sql, i));
      expect(await Promise.all(before)).toEqual([0, 1, 2, 3, 4]);
      controller.abort();
      await slept;
      expect(await Promise.all(behind)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    },
    options,
  );

  connectionTest(
    'shorter answers than before are told of, too',
    async (connection) => {
      const text = "SELECT repeat('x', $1)";
      await connection.fetchVal(text, 5_000);
      for (const length of [5_000, 1, 0]) {
        const all = Array.from({ length: 30 }, () => connection.fetchVal(text, length));
        expect(await Promise.all(all)).toEqual(Array(30).fill('x'.repeat(length)));
      }
    },
    options,
  );

  connectionTest(
    'each one that fails has its own error',
    async (connection) => {
      const divided = 'SELECT 10 / $1::int';
      await connection.fetchVal(divided, 1);
      const all = Array.from({ length: 40 }, (_, i) => connection.fetchVal(divided, i % 2));
      const results = await Promise.allSettled(all);
      const failed = results.map(({ status }) => status === 'rejected');
      expect(failed).toEqual(Array.from({ length: 40 }, (_, i) => i % 2 === 0));
    },
    options,
  );
}

const one = [message('2'), dataRow(int32(7)), message('C', 'SELECT 1\0'), ready];

// covers: uvio/pipelining
test('an end in the middle of the answers is told of at once', async () => {
  await inRun(() =>
    withFake(
      async (client) => {
        await client.startStatement();
        await client.until('S');
        await client.send(...one);
        await client.until('S');
        await client.send(...one, ...one, message('2'));
      },
      async (port) => {
        const server = { host: '127.0.0.1', port, user: 'u', database: 'd' } as const;
        const connection = await connect({ ...server, tls: 'disable' });
        expect(await connection.fetchVal('SELECT x')).toBe(7);
        const all = Array.from({ length: 40 }, () => connection.fetchVal('SELECT x'));
        const results = await Promise.allSettled(all);
        const given = results.filter(({ status }) => status === 'fulfilled');
        expect(given).toHaveLength(2);
        await connection.close().catch(() => {});
      },
    ),
  );
});
