import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { openConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Connection, Server } from '../../lib/io/net-types.ts';
import type { BufferedProtocol, Protocol, Transport } from '../../lib/io/protocols.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { checkLeaks } from '../support/leaks.ts';
import { localhost, NodeClient, pattern } from './support.ts';

checkLeaks();

const kibibyte = 1024;
const sizes = [
  1,
  2,
  63,
  64,
  1_000,
  4_095,
  4_096,
  4_097,
  16_384,
  65_535,
  65_536,
  65_537,
  100_000,
  256 * kibibyte,
  1024 * kibibyte,
  8 * 1024 * kibibyte,
];

class EchoProtocol implements Protocol {
  transport: Transport | undefined;

  connectionMade(transport: Transport): void {
    this.transport = transport;
  }

  dataReceived(data: Buffer): void {
    this.transport?.write(data);
  }

  pauseWriting(): void {
    this.transport?.pauseReading();
  }

  resumeWriting(): void {
    this.transport?.resumeReading();
  }
}

class BufferedEcho implements BufferedProtocol {
  transport: Transport | undefined;
  readonly #memory = Buffer.alloc(32 * kibibyte);

  connectionMade(transport: Transport): void {
    this.transport = transport;
  }

  getBuffer(): Uint8Array {
    return this.#memory;
  }

  bufferUpdated(bytes: number): void {
    this.transport?.write(this.#memory.subarray(0, bytes));
  }

  pauseWriting(): void {
    this.transport?.pauseReading();
  }

  resumeWriting(): void {
    this.transport?.resumeReading();
  }
}

async function echoHandler(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.write(chunk);
}

const servers: [string, () => Promise<Server>][] = [
  ['Connection', () => startServer(echoHandler, { host: localhost })],
  ['Protocol', () => currentLoop().createServer(() => new EchoProtocol(), { host: localhost })],
  [
    'BufferedProtocol',
    () => currentLoop().createServer(() => new BufferedEcho(), { host: localhost }),
  ],
];

function digest(data: Uint8Array): string {
  return createHash('sha1').update(data).digest('hex');
}

describe.each(servers)('echo by %s', (_name, start) => {
  test('gives every size back, byte for byte, and then the end', { timeout: 30_000 }, async () => {
    await using server = await start();
    await using connection = await openConnection({ host: localhost, port: server.port });
    for (const size of sizes) {
      const data = pattern(size, size);
      const writing = connection.write(data);
      const answer = await connection.readExactly(size);
      await writing;
      expect(digest(answer)).toBe(digest(data));
    }
    await connection.writeEof();
    expect(await connection.read()).toBe(null);
  });

  test('keeps the order of many writes of all lengths', async () => {
    await using server = await start();
    await using connection = await openConnection({ host: localhost, port: server.port });
    const parts: Buffer[] = [];
    for (let i = 0; i < 2_000; i++) parts.push(pattern(1 + ((i * 7) % 300), i + 1));
    const sending = (async () => {
      for (const part of parts) await connection.write(part);
      await connection.writeEof();
    })();
    const answer = await connection.readAll();
    await sending;
    expect(digest(answer)).toBe(digest(Buffer.concat(parts)));
  });

  test('talks to a client of Node’s own', async () => {
    await using server = await start();
    const client = new NodeClient(server.port);
    const data = pattern(300_000);
    client.socket.write(data);
    expect(digest(await client.bytes(data.length))).toBe(digest(data));
    client.socket.end();
    await client.closed;
    expect(client.error).toBe(undefined);
  });

  test('strings are UTF-8', async () => {
    await using server = await start();
    await using connection = await openConnection({ host: localhost, port: server.port });
    const text = 'grüße, Ω, 漢字, 🙂\n'.repeat(5_000);
    const writing = connection.write(text);
    const answer = await connection.readExactly(Buffer.byteLength(text));
    await writing;
    expect(answer.toString()).toBe(text);
  });
});

test('what was received is never written again', async () => {
  await using server = await startServer(echoHandler, { host: localhost });
  await using connection = await openConnection({ host: localhost, port: server.port });
  const kept: Buffer[] = [];
  const sent: Buffer[] = [];
  for (let i = 0; i < 3_000; i++) {
    const data = pattern(100, i + 1);
    await connection.write(data);
    sent.push(data);
    kept.push(await connection.readExactly(100));
  }
  expect(kept.every((chunk, i) => chunk.equals(sent[i] as Buffer))).toBe(true);
});

test('memory given to write may be used again at once', async () => {
  await using server = await startServer(echoHandler, { host: localhost });
  await using connection = await openConnection({ host: localhost, port: server.port });
  const memory = Buffer.alloc(100_000);
  for (let i = 1; i <= 5; i++) {
    memory.fill(i);
    void connection.write(memory);
    memory.fill(0xff);
  }
  for (let i = 1; i <= 5; i++) {
    const answer = await connection.readExactly(memory.length);
    expect(answer.every((byte) => byte === i)).toBe(true);
  }
});
