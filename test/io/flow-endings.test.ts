/** Ends that come while data is pending, and reading that stops within a callback. */
import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { openConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Connection, ListenOptions, Server } from '../../lib/io/net-types.ts';
import type { BufferedProtocol, StreamProtocol, Transport } from '../../lib/io/protocols.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inRun } from '../task/support.ts';
import {
  catchExceptions,
  errorOf,
  localhost,
  nodeServer,
  pattern,
  Recorder,
  turn,
  until,
} from './support.ts';
import { clientTls, serverTls } from './tls-support.ts';

checkLeaks();

const mebibyte = 1024 * 1024;

/** A server of that protocol with one client of uvio; both ends are up. */
async function meet(
  protocol: StreamProtocol,
  secure: boolean,
): Promise<{ server: Server; client: Connection }> {
  const options: ListenOptions = { host: localhost, ...(secure && { tls: serverTls }) };
  const server = await currentLoop().createServer(() => protocol, options);
  const { port } = server;
  const client = await openConnection({ host: localhost, port, ...(secure && { tls: clientTls }) });
  return { server, client };
}

class Reader extends Recorder {
  readonly parts: Buffer[] = [];
  onPart: (transport: Transport) => void = () => {};

  get received(): Buffer {
    return Buffer.concat(this.parts);
  }

  override dataReceived(data: Buffer): void {
    this.parts.push(data);
    this.onPart(this.transport as Transport);
  }
}

const turns = async (count = 20): Promise<void> => {
  for (let i = 0; i < count; i++) await turn();
};

/** The same, once the server's side has begun. */
async function met(
  reader: Reader,
  secure: boolean,
): Promise<Awaited<ReturnType<typeof meet>> & { transport: Transport }> {
  const pair = await meet(reader, secure);
  await until(() => reader.transport !== undefined);
  return { ...pair, transport: reader.transport as Transport };
}

describe.each([
  ['plain', false],
  ['TLS', true],
])('%s', (_kind, secure) => {
  // covers: asyncio/transports
  test('reading paused with data pending, then close: no more data, one end', () =>
    inRun(async () => {
      const reader = new Reader();
      const { server, client, transport } = await met(reader, secure);
      transport.pauseReading();
      void client.write(pattern(mebibyte));
      await turns();
      transport.write('farewell');
      transport.close();
      transport.resumeReading();
      expect(String(await client.readExactly(8))).toBe('farewell');
      client.abort();
      await until(() => reader.log.some((line) => line.startsWith('lost')));
      await turns(5);
      expect(reader.parts).toEqual([]);
      expect(reader.log.filter((line) => line.startsWith('lost'))).toHaveLength(1);
      await server[Symbol.asyncDispose]();
    }));

  test('reading paused with data pending, then abort: the end comes at once', () =>
    inRun(async () => {
      const reader = new Reader();
      const { server, client, transport } = await met(reader, secure);
      transport.pauseReading();
      void client.write(pattern(mebibyte));
      await turns();
      transport.abort();
      await until(() => reader.log.includes('lost'));
      expect(reader.parts).toEqual([]);
      expect(await errorOf(client.readExactly(1))).toMatchObject({
        code: expect.stringMatching(/ERR_UVIO_(BROKEN|INCOMPLETE_READ)/),
      });
      client.abort();
      await server[Symbol.asyncDispose]();
    }));

  test('writing paused with data pending, then close: all of it arrives before the end', () =>
    inRun(async () => {
      const reader = new Reader();
      const { server, client, transport } = await met(reader, secure);
      const data = pattern(4 * mebibyte);
      transport.write(data);
      expect(transport.writeBufferBytes).toBeGreaterThan(0);
      transport.close();
      // At once: a virtual clock goes on to the limit of TLS's end when nobody does anything.
      const all = await client.readAll(8 * mebibyte);
      expect(all.equals(data)).toBe(true);
      await client.close();
      await until(() => reader.log.includes('lost'));
      await server[Symbol.asyncDispose]();
    }));

  test('pauseReading inside dataReceived: that is the last one until resumeReading', () =>
    inRun(async () => {
      const reader = new Reader();
      reader.onPart = (transport) => transport.pauseReading();
      const { server, client } = await meet(reader, secure);
      const data = pattern(300_000);
      void client.write(data);
      const sent = client.writeEof();
      for (let seen = 1; reader.received.length < data.length; seen++) {
        await until(() => reader.parts.length >= seen);
        await turns(5);
        expect(reader.parts).toHaveLength(seen);
        expect(reader.log).not.toContain('eof');
        expect(reader.transport?.reading).toBe(false);
        reader.transport?.resumeReading();
      }
      expect(reader.received.equals(data)).toBe(true);
      await sent;
      await until(() => reader.log.includes('eof'));
      await client.close();
      await server[Symbol.asyncDispose]();
    }));

  test('pauseReading and resumeReading inside dataReceived lose nothing', () =>
    inRun(async () => {
      const reader = new Reader();
      reader.onPart = (transport) => {
        transport.pauseReading();
        transport.resumeReading();
      };
      const { server, client } = await meet(reader, secure);
      const data = pattern(mebibyte);
      void client.write(data);
      await until(() => reader.received.length >= data.length);
      expect(reader.received.equals(data)).toBe(true);
      await client.close();
      await server[Symbol.asyncDispose]();
    }));

  test('pauseReading inside bufferUpdated stops getBuffer, too', () =>
    inRun(async () => {
      const memory = Buffer.alloc(1_000);
      const parts: Buffer[] = [];
      let transport: Transport | undefined;
      let asked = 0;
      const protocol: BufferedProtocol = {
        connectionMade: (made) => {
          transport = made;
        },
        getBuffer: () => {
          asked += 1;
          return memory;
        },
        bufferUpdated: (bytes) => {
          parts.push(Buffer.from(memory.subarray(0, bytes)));
          transport?.pauseReading();
        },
      };
      const { server, client } = await meet(protocol, secure);
      const data = pattern(20_000);
      void client.write(data);
      let seen = 0;
      while (Buffer.concat(parts).length < data.length) {
        await until(() => parts.length > seen);
        seen = parts.length;
        const before = asked;
        await turns(5);
        expect([parts.length, asked]).toEqual([seen, before]);
        transport?.resumeReading();
      }
      expect(Buffer.concat(parts).equals(data)).toBe(true);
      await client.close();
      await server[Symbol.asyncDispose]();
    }));

  test('close inside dataReceived with more pending: that was the last call but one', () =>
    inRun(async () => {
      const reader = new Reader();
      reader.onPart = (transport) => {
        transport.write('enough');
        transport.close();
      };
      const { server, client } = await meet(reader, secure);
      void client.write(pattern(mebibyte));
      expect(String(await client.readExactly(6))).toBe('enough');
      client.abort();
      await until(() => reader.log.some((line) => line.startsWith('lost')));
      expect(reader.parts).toHaveLength(1);
      await server[Symbol.asyncDispose]();
    }));
});

// covers: asyncio/transports
describe('a reset by the peer while much is being flushed', () => {
  const lost = (log: readonly string[]): string[] => log.filter((line) => line.startsWith('lost'));

  test('of a transport: connectionLost with the error, once; no resumeWriting', () =>
    inRun(async () => {
      const exceptions = catchExceptions();
      await using peer = await nodeServer((socket) => socket.pause());
      const calls: string[] = [];
      const recorder = Object.assign(new Recorder(), {
        pauseWriting: () => void calls.push('pause'),
        resumeWriting: () => void calls.push('resume'),
      });
      const loop = currentLoop();
      const at = { host: localhost, port: peer.port };
      const [transport] = await loop.createConnection(() => recorder, at);
      const socket = await peer.accepted();
      expect(transport.write(Buffer.alloc(32 * mebibyte))).toBe(false);
      await turns();
      socket.resetAndDestroy();
      await until(() => lost(recorder.log).length > 0);
      expect((recorder.lost as NodeJS.ErrnoException).code).toMatch(/^(ECONNRESET|EPIPE)$/);
      expect(transport.write('dropped')).toBe(false);
      transport.close();
      transport.abort();
      await turns(5);
      expect(lost(recorder.log)).toHaveLength(1);
      expect(calls).toEqual(['pause']);
      expect(exceptions).toEqual([]);
    }));

  test('of a transport that is closing: connectionLost once', () =>
    inRun(async () => {
      await using peer = await nodeServer((socket) => socket.pause());
      const recorder = new Recorder();
      const at = { host: localhost, port: peer.port };
      const [transport] = await currentLoop().createConnection(() => recorder, at);
      const socket = await peer.accepted();
      transport.write(Buffer.alloc(32 * mebibyte));
      transport.close();
      await turns();
      expect(lost(recorder.log)).toEqual([]);
      socket.resetAndDestroy();
      await until(() => lost(recorder.log).length > 0);
      await turns(5);
      expect(lost(recorder.log)).toHaveLength(1);
      expect((recorder.lost as NodeJS.ErrnoException).code).toMatch(/^(ECONNRESET|EPIPE)$/);
    }));

  test('of a connection: each write that waits, drain, the end and close reject', () =>
    inRun(async () => {
      await using peer = await nodeServer((socket) => socket.pause());
      const connection = await openConnection({ host: localhost, port: peer.port });
      const socket = await peer.accepted();
      const waits = [
        connection.write(Buffer.alloc(12 * mebibyte)),
        connection.write('more'),
        connection.writeEof(),
        connection.read(),
      ].map(errorOf);
      const closing = errorOf(connection.close());
      await turns();
      socket.resetAndDestroy();
      const errors = await Promise.all(waits);
      expect(errors.map(({ code }) => code)).toEqual([
        'ERR_UVIO_BROKEN',
        'ERR_UVIO_BROKEN',
        'ERR_UVIO_BROKEN',
        'ERR_UVIO_CLOSED',
      ]);
      expect(await closing).toMatchObject({ code: 'ERR_UVIO_BROKEN' });
      // Told once.
      await connection.close();
    }));

  test('of a TLS connection: its waits reject, and nobody else hears of it', () =>
    inRun(async () => {
      const exceptions = catchExceptions();
      const protocol = new Recorder();
      const { server, client } = await meet(protocol, true);
      await until(() => protocol.transport !== undefined);
      protocol.transport?.pauseReading();
      const writing = errorOf(client.write(Buffer.alloc(32 * mebibyte)));
      const reading = errorOf(client.readExactly(1));
      await turns();
      protocol.transport?.abort();
      expect(await writing).toMatchObject({ code: 'ERR_UVIO_BROKEN' });
      expect((await reading).code).toMatch(/ERR_UVIO_(BROKEN|INCOMPLETE_READ)/);
      await turns(5);
      expect([exceptions, lost(protocol.log)]).toEqual([[], ['lost']]);
      client.abort();
      await server[Symbol.asyncDispose]();
    }));
});
