import { Buffer } from 'node:buffer';
import { describe, expect } from 'vitest';
import '../../lib/io/loop-methods.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { checkLeaks } from '../support/leaks.ts';
import { runTest } from '../task/support.ts';
import { errorOf, localhost, pattern, turn, until } from './support.ts';
import { clientTls, serverTls, tlsPair } from './tls-support.ts';

checkLeaks();

const mebibyte = 1024 * 1024;
const text = (bytes: Buffer | null): string | null => (bytes === null ? null : bytes.toString());

// covers: asyncio/tls-flow-control
describe('back-pressure', () => {
  runTest('a reader that does not read holds the peer back, and memory stays bounded', async () => {
    await using pair = await tlsPair();
    const { client, served } = pair;
    const piece = pattern(64 * 1024);
    let sent = 0;
    let most = 0;
    const total = 512;
    const writing = (async () => {
      for (; sent < total; sent++) {
        const wait = client.write(piece);
        most = Math.max(most, client.writeBufferBytes);
        await wait;
      }
      await client.writeEof();
    })();
    let stuckAt: number;
    do {
      stuckAt = sent;
      for (let i = 0; i < 50; i++) await turn();
    } while (sent !== stuckAt);
    expect(sent).toBeLessThan(total);
    // The mark and a write, which counts twice while its ciphertext is being made.
    expect(most).toBeLessThan(64 * 1024 + 2.1 * piece.length);
    let received = 0;
    let equal = true;
    for await (const chunk of served) {
      for (const byte of [0, chunk.length - 1]) {
        equal &&= chunk[byte] === piece[(received + byte) % piece.length];
      }
      received += chunk.length;
    }
    await writing;
    expect(received).toBe(total * piece.length);
    expect(equal).toBe(true);
  });

  runTest('no data comes to a protocol that paused reading, and all of it later', async () => {
    const loop = currentLoop();
    const received: Buffer[] = [];
    await using server = await startServer((connection) => connection.write(pattern(200_000)), {
      host: localhost,
      tls: serverTls,
      // A clock that jumps would find this test slow.
      tlsShutdownTimeoutMs: Infinity,
    });
    const [transport] = await loop.createConnection(
      () => ({
        dataReceived(chunk: Buffer): void {
          received.push(chunk);
          transport?.pauseReading();
        },
      }),
      { host: localhost, port: server.port, tls: clientTls },
    );
    let before = -1;
    for (let total = 0; total < 200_000; ) {
      await until(() => received.length > before);
      for (let i = 0; i < 3; i++) await turn();
      before = received.length;
      total = Buffer.concat(received).length;
      transport.resumeReading();
    }
    expect(Buffer.concat(received).equals(pattern(200_000))).toBe(true);
    transport.abort();
  });

  runTest('a protocol is told to pause writing and to go on', async () => {
    const loop = currentLoop();
    const told: string[] = [];
    await using pair = await tlsPair();
    const [transport] = await loop.createConnection(
      () => ({
        dataReceived(): void {},
        pauseWriting: () => void told.push('pause'),
        resumeWriting: () => void told.push('resume'),
      }),
      { host: localhost, port: pair.server.port, tls: clientTls },
    );
    transport.setWriteBufferLimits({ highBytes: 1000, lowBytes: 100 });
    expect(transport.write(Buffer.alloc(mebibyte * 8))).toBe(false);
    expect(transport.writeBufferBytes).toBeGreaterThan(1000);
    expect(told).toEqual(['pause']);
    transport.abort();
  });

  runTest('a buffered protocol gets its bytes in its own memory', async () => {
    const loop = currentLoop();
    const data = pattern(100_000);
    const memory = Buffer.alloc(1000);
    const received: Buffer[] = [];
    await using server = await startServer((connection) => connection.write(data), {
      host: localhost,
      tls: serverTls,
    });
    let lost = false;
    await loop.createConnection(
      () => ({
        getBuffer: () => memory,
        bufferUpdated: (bytes: number) =>
          void received.push(Buffer.from(memory.subarray(0, bytes))),
        connectionLost: () => {
          lost = true;
        },
      }),
      { host: localhost, port: server.port, tls: clientTls },
    );
    await until(() => lost);
    expect(Buffer.concat(received).equals(data)).toBe(true);
  });

  runTest(
    'a write that would exceed maxBufferedBytes is refused, the connection is intact',
    async () => {
      await using pair = await tlsPair({ connect: { maxBufferedBytes: 100_000 } });
      void pair.client.write(Buffer.alloc(mebibyte * 8));
      const error = await errorOf(pair.client.write(Buffer.alloc(200_000)));
      expect(error.code).toBe('ERR_UVIO_BUFFER_FULL');
      await pair.served.readExactly(mebibyte * 8);
      await pair.client.write('x');
      expect(text(await pair.served.read())).toBe('x');
    },
  );
});
