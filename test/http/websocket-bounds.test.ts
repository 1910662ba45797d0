/** Compressed messages at the limits of what a socket takes, and holds. */
import { constants, deflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { Application, type WebSocketConnection } from '../../lib/http/index.ts';
import { FrameReader, type FrameSink } from '../../lib/http/websocket/frames.ts';
import { maskInPlace } from '../../lib/http/websocket/mask.ts';
import { Event, sleep } from '../../lib/index.ts';
import { failure, runTest } from '../task/support.ts';
import { readToEnd, withServer } from './support.ts';
import { closeCodeIn, frame, rawClient, withPair, withSockets } from './websocket-support.ts';

const FIN = 0x80;
const compressedText = FIN | 0x40 | 1;

function deflated(text: string): Buffer {
  const bytes = deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH });
  return bytes.subarray(0, -4);
}

/** That deflate makes longer. */
function noiseOf(length: number): Buffer {
  const noise = Buffer.alloc(length);
  let state = 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    noise[i] = state >>> 16;
  }
  return noise;
}

describe('a message that cannot be compressed', () => {
  for (const windowBits of [8, 12, 15]) {
    runTest(`of as many bytes as may be comes through windows of ${windowBits} bits`, () =>
      withPair(
        async (client, server) => {
          const noise = noiseOf(50_000);
          await client.send(noise);
          expect((await server.receiveBytes()).equals(noise)).toBe(true);
          await client.send(Buffer.concat([noise, noise.subarray(0, 1)]));
          await failure(server.receive());
          await failure(client.receive());
          expect(client.closeCode).toBe(1009);
        },
        { compress: { windowBits }, maxMessageBytes: 50_000 },
        { compress: { windowBits } },
      ),
    );
  }

  runTest('is refused as long as before when it comes as it is', () =>
    withPair(
      async (client, server) => {
        await client.send(noiseOf(50_001));
        await failure(server.receive());
        await failure(client.receive());
        expect(client.closeCode).toBe(1009);
      },
      { compress: true, maxMessageBytes: 50_000 },
      { compress: { minBytes: 100_000 } },
    ),
  );
});

describe('messages of one chunk', () => {
  const count = 200;
  const text = 'a'.repeat(2_000);
  const numbered = (i: number): Buffer => frame(compressedText, deflated(`${i} ${text}`));
  const messages = Buffer.concat(Array.from({ length: count }, (_, i) => numbered(i)));
  const bye = frame(FIN | 8, Buffer.from([0x03, 0xe8]));
  const wanted = Array.from({ length: count }, (_, i) => i);

  test('are not decompressed while those before them wait', () => {
    const mask = maskInPlace;
    const reader = new FrameReader({ masked: true, mask, compressed: true, maxMessageBytes: 9e9 });
    let waiting = 0;
    let held: Buffer | null = Buffer.from(messages);
    const sink: FrameSink = {
      partial: null,
      stopped: false,
      get full() {
        return waiting >= 10;
      },
      hold(rest) {
        held = rest;
      },
      onMessage: () => void waiting++,
      onControl: () => {},
    };
    const seen: number[] = [];
    while (held !== null) {
      const rest: Buffer = held;
      held = null;
      reader.push(sink, rest);
      seen.push(waiting);
      waiting = 0;
    }
    expect(seen).toEqual(Array.from({ length: count / 10 }, () => 10));
  });

  for (const [how, end] of [
    ['and stay open', false],
    ['and end the connection', true],
  ] as const) {
    runTest(`come to a slow handler in order ${how}`, async () => {
      const got: number[] = [];
      const over = new Event();
      let ended: WebSocketConnection | null = null;
      await withSockets(
        async (socket) => {
          for await (const message of socket) {
            got.push(Number.parseInt(message as string, 10));
            await sleep(got.length % 50 === 0 ? 5 : 0);
          }
          ended = socket;
          over.set();
        },
        async (_url, port) => {
          await using client = await rawClient(port, 'permessage-deflate');
          await client.write(Buffer.concat([messages, bye]));
          if (end) await client.writeEof();
          const answer = Buffer.from(await readToEnd(client), 'latin1');
          expect(closeCodeIn(answer)).toBe(1000);
          await over.wait();
        },
        { compress: true },
      );
      expect(got).toEqual(wanted);
      expect((ended as WebSocketConnection | null)?.closeCode).toBe(1000);
    });
  }

  runTest('do not keep the close frame behind them from a socket that closes', async () => {
    const codes: unknown[] = [];
    const over = new Event();
    await withSockets(
      async (socket) => {
        await socket.receive();
        await socket.close(4000);
        codes.push(socket.closeCode);
        over.set();
      },
      async (_url, port) => {
        await using client = await rawClient(port, 'permessage-deflate');
        await client.write(Buffer.concat([messages, bye]));
        await readToEnd(client);
        await over.wait();
      },
      { compress: true },
    );
    expect(codes).toEqual([1000]);
  });

  runTest('come to callbacks whose answers nobody reads for a while', () => {
    const got: number[] = [];
    const app = new Application().ws(
      '/',
      {
        messageReceived(socket, message) {
          got.push(Number.parseInt(message as string, 10));
          socket.send(Buffer.alloc(60_000)).catch(() => {});
        },
      },
      { compress: { minBytes: 1e9 }, maxBufferedBytes: 1e9 },
    );
    return withServer(app, async (_url, server) => {
      await using client = await rawClient(server.port, 'permessage-deflate');
      await client.write(Buffer.concat([messages, bye]));
      await sleep(20);
      const answer = Buffer.from(await readToEnd(client), 'latin1');
      expect(closeCodeIn(answer)).toBe(1000);
      expect(got).toEqual(wanted);
    });
  });
});
