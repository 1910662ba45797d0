/** Clients that do not read what they asked for. Run on every policy, and wire. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect } from 'vitest';
import { type HttpServer, Response } from '../../lib/http/index.ts';
import {
  BrokenResourceError,
  type Connection,
  Event,
  getRunningLoop,
  openConnection,
  sleep,
} from '../../lib/index.ts';
import { failure, realTimeTest, runTest } from '../task/support.ts';
import { exchangeRaw, readToEnd, statusesOf, withHandler } from './support.ts';

const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const large = 'x'.repeat(16 << 20);
const writeTimeoutMs = 200;

const open = ({ port }: HttpServer): Promise<Connection> =>
  openConnection({ host: '127.0.0.1', port });

/** What JavaScript holds. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

// covers: aiohttp/limits
describe('a client that does not read', () => {
  runTest('loses its connection after writeTimeoutMs, and its handler is told', async () => {
    const loop = getRunningLoop();
    const told = new Event();
    let error: unknown = null;
    let waitedMs = 0;
    const handler = (): Response =>
      new Response(async (writer) => {
        let sinceMs = 0;
        error = await failure(async () => {
          for (;;) {
            sinceMs = loop.time();
            await writer.write(large.slice(0, 100_000));
          }
        });
        waitedMs = loop.time() - sinceMs;
        told.set();
      });
    await withHandler(
      handler,
      async (_url, server) => {
        await using client = await open(server);
        await client.write(get);
        await told.wait();
        expect(error).toBeInstanceOf(BrokenResourceError);
        expect(waitedMs).toBeGreaterThanOrEqual(writeTimeoutMs);
        while (server.connections > 0) await sleep(1);
        expect((await readToEnd(client)).length).toBeLessThan(large.length);
      },
      { writeTimeoutMs },
    );
  });

  realTimeTest('loses it when all of its response was given at once', () =>
    withHandler(
      () => new Response(large),
      async (_url, server) => {
        await using client = await open(server);
        await client.write(get);
        while (server.connections > 0) await sleep(1);
        expect((await readToEnd(client)).length).toBeLessThan(large.length);
      },
      { writeTimeoutMs },
    ),
  );

  runTest('keeps it while it reads slowly', async () => {
    const part = large.slice(0, 1 << 20);
    const handler = (): Response =>
      new Response(async (writer) => {
        for (let i = 0; i < 24; i++) await writer.write(part);
      });
    await withHandler(
      handler,
      async (_url, server) => {
        await using client = await open(server);
        await client.write(get);
        // So much that the kernel's buffers hold a part of it only.
        for (let i = 0; i < 12; i++) {
          await client.readExactly(3 << 19);
          await sleep(writeTimeoutMs / 4);
        }
        expect(server.connections).toBe(1);
        await client.readExactly(5 << 20);
      },
      { writeTimeoutMs },
    );
  });

  // CVE-2026-54273
  runTest('and pipelines costs few MiB, and nobody else', async () => {
    const some = Buffer.from(get.repeat(2_000));
    let handled = 0;
    await withHandler(
      () => {
        handled++;
        return new Response('hello');
      },
      async (_url, server) => {
        await exchangeRaw(server.port, get.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
        const before = heldBytes();
        await using client = await open(server);
        let sent = 0;
        // Ends with the connection: a loop that went on then would never let the loop turn.
        const sending = (async () => {
          for (; ; sent++) await client.write(some);
        })().catch(() => {});
        // Until it can send no more, since the server does not take it.
        for (let seen = -1; seen !== handled || seen === 0; await sleep(60)) seen = handled;
        expect(handled).toBeLessThan(sent * 2_000);
        // 4 for the server; its client and what V8 compiles meanwhile are in this process, too.
        expect(heldBytes() - before).toBeLessThan(8 << 20);
        const other = await exchangeRaw(
          server.port,
          `${get.slice(0, -2)}Connection: close\r\n\r\n`,
        );
        expect(statusesOf(other)).toEqual([200]);
        while (server.connections > 0) await sleep(10);
        await client.close().catch(() => {});
        await sending;
      },
      { writeTimeoutMs: 500 },
    );
  });
});
