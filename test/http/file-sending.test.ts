/** Large files as responses: by the kernel on native, by copies on pure. Same bytes on both. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { Application, fileResponse, type HttpServer } from '../../lib/http/index.ts';
import { type Connection, openConnection, sleep } from '../../lib/index.ts';
import { NativeStream } from '../../lib/loop/native/stream.ts';
import { policyName } from '../support/policy.ts';
import { runTest } from '../task/support.ts';
import { exchangeRaw, withServer } from './support.ts';

let folder = '';
const sizeBytes = 12 << 20;
const content = Buffer.alloc(sizeBytes);
for (let i = 0; i < sizeBytes; i += 4) content.writeUInt32LE(i, i);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'uvio-files-'));
  writeFileSync(join(folder, 'large'), content);
});
afterAll(() => rmSync(folder, { recursive: true }));

const request = (lines = ''): string => `GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\n`;

function serveLarge(
  test: (server: HttpServer) => unknown,
  options: { name?: string; writeTimeoutMs?: number } = {},
): Promise<void> {
  const { name = 'large', ...rest } = options;
  const app = new Application().get('/', () => fileResponse(join(folder, name)));
  return withServer(app, (_url, server) => test(server), rest);
}

/** How often a part of a file went through the kernel while `body` ran. */
async function countSent(body: () => Promise<void>): Promise<number> {
  const { sendFile } = NativeStream.prototype;
  let sent = 0;
  NativeStream.prototype.sendFile = function (this: NativeStream, ...args) {
    sent++;
    return sendFile.apply(this, args);
  };
  try {
    await body();
  } finally {
    NativeStream.prototype.sendFile = sendFile;
  }
  return sent;
}

async function ask(connection: Connection, lines: string): Promise<{ head: string; body: Buffer }> {
  await connection.write(request(lines));
  const head = String(await connection.readUntil('\r\n\r\n'));
  const bytes = Number(/content-length: (\d+)/.exec(head)?.[1]);
  return { head, body: await connection.readExactly(bytes) };
}

// covers: aiohttp/fileresponse
describe('a large file', () => {
  runTest('comes whole and in ranges, one request after the other on one connection', () =>
    serveLarge(async ({ port }) => {
      const sent = await countSent(async () => {
        await using client = await openConnection({ host: '127.0.0.1', port });
        const whole = await ask(client, '');
        expect(whole.body.equals(content)).toBe(true);
        const part = await ask(client, 'Range: bytes=1000001-9000000\r\n');
        expect(part.head).toMatch(/^HTTP\/1.1 206 .*content-range: bytes 1000001-9000000\//s);
        expect(part.body.equals(content.subarray(1_000_001, 9_000_001))).toBe(true);
        const both = await ask(client, 'Range: bytes=0-99999,-100000\r\n');
        expect(both.body.includes(content.subarray(0, 100_000))).toBe(true);
        expect(both.body.includes(content.subarray(-100_000))).toBe(true);
        expect((await ask(client, 'Range: bytes=0-9\r\n')).body.length).toBe(10);
      });
      expect(sent > 0).toBe(policyName === 'native');
    }),
  );

  runTest('that nobody reads costs its client the connection', () =>
    serveLarge(
      async (server) => {
        await using client = await openConnection({ host: '127.0.0.1', port: server.port });
        await client.write(request());
        while (server.connections > 0) await sleep(5);
      },
      { writeTimeoutMs: 100 },
    ),
  );

  runTest('that becomes shorter meanwhile breaks the connection', () => {
    writeFileSync(join(folder, 'short'), content);
    return serveLarge(
      async ({ port }) => {
        await using client = await openConnection({ host: '127.0.0.1', port });
        await client.write(request());
        await client.readUntil('\r\n\r\n');
        truncateSync(join(folder, 'short'), 5 << 20);
        let bytes = 0;
        try {
          for await (const chunk of client) bytes += chunk.length;
        } catch {
          // Reset.
        }
        expect(bytes).toBeLessThan(sizeBytes);
      },
      { name: 'short' },
    );
  });

  runTest('to a client that goes away leaves the server as it was', () =>
    serveLarge(async (server) => {
      const client = await openConnection({ host: '127.0.0.1', port: server.port });
      await client.write(request());
      await client.readExactly(100);
      client.abort();
      while (server.connections > 0) await sleep(1);
      const answer = await exchangeRaw(server.port, request('Connection: close\r\n'));
      expect(answer.length).toBeGreaterThan(sizeBytes);
    }),
  );
});
