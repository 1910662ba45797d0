/** Connections for the tests of PostgreSQL. */
import { describe, test } from 'vitest';
import { connect } from '../../lib/postgres/connection.ts';
import { createPool } from '../../lib/postgres/pool.ts';
import type { Connection, ConnectOptions, Pool, PoolOptions } from '../../lib/postgres/types.ts';
import { missingPostgres, sharedPostgres } from '../support/postgres.ts';
import { inRun } from '../task/support.ts';

export const missing: string | null = missingPostgres();

/** Where the server of this run is. */
export async function where(): Promise<{
  host: string;
  port: number;
  user: string;
  database: string;
}> {
  const { host, port, user, database } = await sharedPostgres();
  return { host, port, user, database };
}

export async function open(options: ConnectOptions = {}): Promise<Connection> {
  return await connect({ ...(await where()), ...options });
}

export async function openPool(options: PoolOptions = {}): Promise<Pool> {
  return await createPool({ ...(await where()), minSize: 1, maxSize: 3, ...options });
}

/** A chapter that is skipped, visibly, where there is no server. */
export function withServer(title: string, chapter: () => void): void {
  const shown = missing === null ? title : `${title} (skipped: ${missing})`;
  describe.skipIf(missing !== null)(shown, chapter);
}

/** A test in a run of its own, with a connection that it closes. */
export function connectionTest(
  title: string,
  body: (connection: Connection) => unknown,
  options: ConnectOptions = {},
): void {
  test(title, async () => {
    await sharedPostgres();
    await inRun(async () => {
      const connection = await open(options);
      try {
        await body(connection);
      } finally {
        await connection.close().catch(() => {});
      }
    });
  });
}

/** The same with a pool. */
export function poolTest(
  title: string,
  body: (pool: Pool) => unknown,
  options: PoolOptions = {},
): void {
  test(title, async () => {
    await sharedPostgres();
    await inRun(async () => {
      const pool = await openPool(options);
      try {
        await body(pool);
      } finally {
        await pool.close().catch(() => {});
      }
    });
  });
}

/** A test in a run, of whatever it opens. */
export function serverTest(title: string, body: () => unknown): void {
  test(title, async () => {
    await sharedPostgres();
    await inRun(body as () => Promise<void>);
  });
}

/** Resident memory; always 0 under sanitizers, which keep what was freed. */
export function residentBytes(): number {
  return process.env['UVIO_SANITIZED'] === '1' ? 0 : process.memoryUsage().rss;
}
