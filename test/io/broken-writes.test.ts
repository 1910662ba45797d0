/** A loop of writes to a peer that has gone ends: it leaves the loop time to find that out. */
import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';
import { openConnection } from '../../lib/io/connect.ts';
import type { Connection } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inRun } from '../task/support.ts';
import { errorOf, localhost } from './support.ts';
import { clientTls, serverTls } from './tls-support.ts';

checkLeaks();

const most = 1_000_000_000;

async function writeOn(connection: Connection, data: Buffer): Promise<void> {
  // With an end, or a failure would be a test that never ends.
  for (let bytes = 0; bytes < most; bytes += data.length * 100) await connection.write(data);
}

const sizes = [64, 1024, 10_000, 65_536, 1_000_000];

test.each(sizes.flatMap((size) => [[size, 'plain'] as const, [size, 'TLS'] as const]))(
  'writes of %i bytes, %s',
  (size, kind) =>
    inRun(async () => {
      const secure = kind === 'TLS';
      const server = await startServer((connection) => connection.abort(), {
        host: localhost,
        ...(secure ? { tls: serverTls } : {}),
      });
      const client = await openConnection({
        host: localhost,
        port: server.port,
        ...(secure ? { tls: clientTls } : {}),
      });
      const error = await errorOf(writeOn(client, Buffer.alloc(size)));
      expect(['ERR_UVIO_BROKEN', 'ERR_UVIO_CLOSED']).toContain(error.code);
      client.abort();
      await server[Symbol.asyncDispose]();
    }),
);
