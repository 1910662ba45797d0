/** Through pgbouncer, which gives each transaction whatever server it likes. */
import { spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createPool } from '../../lib/postgres/pool.ts';
import type { Pool } from '../../lib/postgres/types.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { foreignEnv } from '../support/foreign.ts';
import { failure, inRun } from '../task/support.ts';
import { missing, where } from './support.ts';

const binary = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find((path) => existsSync(path));
const why = missing ?? (binary === undefined ? 'no pgbouncer' : null);

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}

function idsOfPostgres(): { uid?: number; gid?: number } {
  if (userInfo().uid !== 0) return {};
  const id = (flag: string): number => {
    const options = { encoding: 'utf8', env: foreignEnv() } as const;
    return Number(spawnSync('id', [flag, 'postgres'], options).stdout);
  };
  return { uid: id('-u'), gid: id('-g') };
}

/** Two servers for any number of clients. */
async function withPgbouncer(use: (port: number) => Promise<void>): Promise<void> {
  const server = await where();
  const folder = mkdtempSync(join(tmpdir(), 'uvio-pgbouncer-'));
  const port = await freePort();
  const ids = idsOfPostgres();
  const settings = `[databases]
* = host=${server.host} port=${server.port} user=${server.user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
logfile = ${join(folder, 'log')}
`;
  writeFileSync(join(folder, 'ini'), settings);
  if (ids.uid !== undefined) chownSync(folder, ids.uid, ids.gid ?? ids.uid);
  const options = { ...ids, cwd: folder, stdio: 'ignore', env: foreignEnv() } as const;
  const child = spawn(binary as string, [join(folder, 'ini')], options);
  try {
    await inRun(() => use(port));
  } finally {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null && child.kill('SIGKILL')) await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

async function openWhenUp(port: number): Promise<Pool> {
  const { user, database } = await where();
  for (let attempt = 0; ; attempt++) {
    try {
      return await createPool({
        ...{ host: '127.0.0.1', port, user, database, tls: 'disable' },
        ...{ minSize: 1, maxSize: 6, statementCacheSize: 0 },
      });
    } catch (error) {
      if (attempt === 500) throw error;
      await sleep(20);
    }
  }
}

test.skipIf(why !== null)(`pgbouncer in transaction mode${why ? ` (skipped: ${why})` : ''}`, () =>
  withPgbouncer(async (port) => {
    const pool = await openWhenUp(port);
    const pids = new Set<unknown>();
    const one = async (i: number): Promise<void> => {
      const row = await pool.fetchRow('SELECT $1::int AS i, pg_backend_pid() AS pid', i);
      expect(row?.['i']).toBe(i);
      pids.add(row?.['pid']);
      const text = `v${i}`;
      expect(await pool.fetch('SELECT $1::text AS t, $2::int4range AS r', text, null)).toEqual([
        { t: text, r: null },
      ]);
      expect(await failure(pool.fetchVal('SELECT $1::int / 0', i))).toMatchObject({
        code: '22012',
      });
    };
    await Promise.all(Array.from({ length: 30 }, (_, i) => one(i)));
    expect(pids.size).toBeLessThanOrEqual(2);
    await pool.use((connection) =>
      connection.transaction(async () => {
        await connection.execute('CREATE TEMP TABLE t (a int) ON COMMIT DROP');
        await connection.executeMany('INSERT INTO t VALUES ($1)', [[1], [2], [3]]);
        await connection.copyRecordsToTable('t', { records: [[4]] });
        expect(await connection.fetchVal('SELECT sum(a) FROM t')).toBe(10n);
      }),
    );
    for (const timeoutMs of [0, 30]) {
      await moveOnAfter(timeoutMs, () => pool.fetch('SELECT pg_sleep(60)'));
      expect(await pool.fetchVal('SELECT 5')).toBe(5);
    }
    await pool.close();
  }),
);
