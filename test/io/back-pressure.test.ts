import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';
import { openConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Protocol, Transport } from '../../lib/io/protocols.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { checkLeaks } from '../support/leaks.ts';
import { localhost, nodeServer, pattern, tcpPair, turn, until } from './support.ts';

checkLeaks();

const mebibyte = 1024 * 1024;

test('an awaiting writer never has more than mark plus one write buffered', async () => {
  await using peer = await nodeServer((socket) => socket.pause());
  await using connection = await openConnection({ host: localhost, port: peer.port });
  const socket = await peer.accepted();
  const piece = pattern(32 * 1024);
  let most = 0;
  let sent = 0;
  const writing = (async () => {
    for (; sent < 1_000; sent++) {
      const wait = connection.write(piece);
      most = Math.max(most, connection.writeBufferBytes);
      await wait;
    }
    await connection.writeEof();
  })();
  await until(() => most > 64 * 1024);
  // The kernel's buffers may still grow for a while.
  let stuckAt: number;
  do {
    stuckAt = sent;
    for (let i = 0; i < 50; i++) await turn();
  } while (sent !== stuckAt);
  expect(sent).toBeLessThan(1_000);
  // It went above the high mark, and has not drained to the low one since.
  expect(connection.writeBufferBytes).toBeGreaterThan(16 * 1024);
  let received = 0;
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  socket.resume();
  await writing;
  await until(() => received === 1_000 * piece.length);
  expect(most).toBeLessThanOrEqual(64 * 1024 + piece.length);
});

test('a reader that does not read holds the peer back', async () => {
  await using pair = await tcpPair();
  const { client, served } = pair;
  const piece = Buffer.alloc(mebibyte, 1);
  let sent = 0;
  const writing = (async () => {
    for (; sent < 64; sent++) await client.write(piece);
    await client.writeEof();
  })();
  // What the kernel takes, a mark and a read-ahead: far below all of it.
  await until(() => client.writeBufferBytes > 0);
  for (let i = 0; i < 50; i++) await turn();
  expect(sent).toBeLessThan(40);
  let received = 0;
  for await (const chunk of served) received += chunk.length;
  await writing;
  expect(received).toBe(64 * mebibyte);
});

test('pauseReading stops dataReceived at once, resumeReading brings the rest', async () => {
  const seen: Buffer[] = [];
  let transport: Transport | undefined;
  const protocol: Protocol = {
    connectionMade(made) {
      transport = made;
      made.pauseReading();
    },
    dataReceived(data) {
      seen.push(data);
      transport?.pauseReading();
    },
  };
  const server = await currentLoop().createServer(() => protocol, { host: localhost });
  await using connection = await openConnection({ host: localhost, port: server.port });
  const data = pattern(mebibyte);
  void connection.write(data);
  await until(() => transport !== undefined);
  for (let i = 0; i < 10; i++) await turn();
  expect(seen).toEqual([]);
  expect(transport?.reading).toBe(false);
  let chunks = 0;
  while (Buffer.concat(seen).length < data.length) {
    transport?.resumeReading();
    await until(() => seen.length > chunks);
    chunks = seen.length;
    await turn();
    expect(seen.length).toBe(chunks);
  }
  expect(Buffer.concat(seen).equals(data)).toBe(true);
  transport?.abort();
  await server[Symbol.asyncDispose]();
});

test('EOF is held back while reading is paused', async () => {
  let ended = false;
  let transport: Transport | undefined;
  const protocol: Protocol = {
    connectionMade(made) {
      transport = made;
      made.pauseReading();
    },
    dataReceived() {},
    eofReceived() {
      ended = true;
    },
  };
  await using server = await currentLoop().createServer(() => protocol, { host: localhost });
  await using connection = await openConnection({ host: localhost, port: server.port });
  await connection.writeEof();
  await until(() => transport !== undefined);
  for (let i = 0; i < 10; i++) await turn();
  expect(ended).toBe(false);
  transport?.resumeReading();
  await until(() => ended);
});

test('pauseWriting and resumeWriting come in turn, at the marks', async () => {
  const calls: string[] = [];
  let transport: Transport | undefined;
  const protocol: Protocol = {
    connectionMade(made) {
      transport = made;
      made.setWriteBufferLimits({ highBytes: 100_000, lowBytes: 1_000 });
    },
    dataReceived() {},
    pauseWriting() {
      calls.push(`pause ${(transport?.writeBufferBytes ?? 0) > 100_000}`);
    },
    resumeWriting() {
      calls.push(`resume ${(transport?.writeBufferBytes ?? Infinity) <= 1_000}`);
    },
  };
  await using peer = await nodeServer((socket) => socket.pause());
  const loop = currentLoop();
  await loop.createConnection(() => protocol, { host: localhost, port: peer.port });
  const socket = await peer.accepted();
  const piece = Buffer.alloc(50_000);
  while (transport?.write(piece)) await turn();
  expect(transport?.write(piece)).toBe(false);
  expect(calls).toEqual(['pause true']);
  socket.resume();
  await until(() => calls.length === 2);
  expect(calls).toEqual(['pause true', 'resume true']);
  expect(transport?.write('x')).toBe(true);
  transport?.close();
});
