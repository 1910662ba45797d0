/**
 * Many compressed messages of every size, with every kind of agreement: what the public test suites
 * of the protocol have as groups 12 and 13. Against streams of zlib that live as long as the
 * connection, on both sides. `UVIO_LONG=1`: a thousand messages of each size, as there.
 */
import { constants, createDeflateRaw, createInflateRaw } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { openWebSocket } from '../../lib/http/client/open-socket.ts';
import { acceptOf } from '../../lib/http/websocket/handshake.ts';
import { type Connection, startServer } from '../../lib/index.ts';
import { inRun } from '../task/support.ts';
import { realNetwork } from './support.ts';
import { echo, frame, lengthOf, rawClient, withSockets } from './websocket-support.ts';

const FIN = 0x80;
const long = process.env['UVIO_LONG'] === '1';
const sizes = [16, 64, 256, 1_024, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072];
const timeoutMs = long ? 1_000_000 : 30_000;

/** Fewer of large ones; what is sent differs from message to message. */
function countOf(size: number): number {
  return long ? 1_000 : Math.max(4, Math.min(60, Math.floor(200_000 / size)));
}

/** Binary is noise by half, which deflates badly. */
function messageOf(size: number, n: number, binary: boolean): Buffer {
  const message = Buffer.alloc(size, `{"id":${n},"of":"${size * n}","list":[${n % 7},null]},`);
  let state = size + n;
  for (let i = 0; binary && i < size; i += 2) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    message[i] = state >>> 16;
  }
  return message;
}

/** The peer's half: streams that are begun anew for each message where nothing is taken over. */
class Peer {
  readonly #sendBits: number;
  readonly #receiveBits: number;
  readonly #sendAlone: boolean;
  readonly #receiveAlone: boolean;
  #deflater: ReturnType<typeof createDeflateRaw> | null = null;
  #inflater: ReturnType<typeof createInflateRaw> | null = null;

  constructor(sendBits: number, sendAlone: boolean, receiveBits: number, receiveAlone: boolean) {
    this.#sendBits = Math.max(sendBits, 9);
    this.#receiveBits = receiveBits;
    this.#sendAlone = sendAlone;
    this.#receiveAlone = receiveAlone;
  }

  async deflate(data: Buffer): Promise<Buffer> {
    this.#deflater ??= createDeflateRaw({ windowBits: this.#sendBits });
    const deflated = await through(this.#deflater, data);
    if (this.#sendAlone) this.#dropDeflater();
    return deflated.subarray(0, -4);
  }

  async inflate(data: Buffer): Promise<Buffer> {
    this.#inflater ??= createInflateRaw({ windowBits: this.#receiveBits });
    const whole = Buffer.concat([data, Buffer.from([0, 0, 0xff, 0xff])]);
    const inflated = await through(this.#inflater, whole);
    if (this.#receiveAlone) this.#dropInflater();
    return inflated;
  }

  #dropDeflater(): void {
    this.#deflater?.close();
    this.#deflater = null;
  }

  #dropInflater(): void {
    this.#inflater?.close();
    this.#inflater = null;
  }

  [Symbol.dispose](): void {
    this.#dropDeflater();
    this.#dropInflater();
  }
}

async function through(
  stream: ReturnType<typeof createDeflateRaw> | ReturnType<typeof createInflateRaw>,
  data: Buffer,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  const take = (part: Buffer): void => void parts.push(part);
  stream.on('data', take);
  stream.write(data);
  await new Promise<void>((resolve) => stream.flush(constants.Z_SYNC_FLUSH, resolve));
  stream.off('data', take);
  return Buffer.concat(parts);
}

/** First byte and payload, unmasked. */
async function readFrame(from: Connection): Promise<{ first: number; payload: Buffer }> {
  const [first, second] = (await from.readExactly(2)) as unknown as [number, number];
  const short = second & 0x7f;
  let length = short;
  if (short === 126) length = (await from.readExactly(2)).readUInt16BE(0);
  else if (short === 127) length = Number((await from.readExactly(8)).readBigUInt64BE(0));
  const key = second >= 0x80 ? await from.readExactly(4) : null;
  const payload = Buffer.from(await from.readExactly(length));
  for (let i = 0; key !== null && i < length; i++) {
    payload[i] = (payload[i] as number) ^ (key[i & 3] as number);
  }
  return { first, payload };
}

function unmasked(first: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([first]), lengthOf(payload.length), payload]);
}

/** All messages there and back, whole or in fragments of 1 KiB. */
async function exchange(
  connection: Connection,
  peer: Peer,
  toFrame: (first: number, payload: Buffer) => Buffer,
): Promise<void> {
  for (const size of sizes) {
    for (let n = 0; n < countOf(size); n++) {
      const binary = n % 2 === 1;
      const message = messageOf(size, n, binary);
      const first = 0x40 | (binary ? 2 : 1);
      const deflated = await peer.deflate(message);
      const step = n % 3 === 2 ? 1_024 : Math.max(1, deflated.length);
      for (let at = 0; at < deflated.length; at += step) {
        const last = at + step >= deflated.length ? FIN : 0;
        await connection.write(
          toFrame(last | (at === 0 ? first : 0), deflated.subarray(at, at + step)),
        );
      }
      const answer = await readFrame(connection);
      const plain =
        (answer.first & 0x40) !== 0 ? await peer.inflate(answer.payload) : answer.payload;
      if (!plain.equals(message)) throw new Error(`${size} bytes, message ${n}: not the same`);
    }
  }
}

const limits = { maxMessageBytes: 2 ** 22, maxBufferedBytes: 2 ** 23 };

/** What a client offers, our options, and the windows: from the client, to the client. */
const asServer: readonly [offer: string, bits: number, from: number, to: number][] = [
  ['', 15, 15, 15],
  ['; client_max_window_bits', 9, 9, 9],
  ['; client_max_window_bits=9; server_max_window_bits=9', 15, 9, 9],
  ['; client_max_window_bits=15; server_max_window_bits=15', 15, 15, 15],
  ['; client_no_context_takeover; server_no_context_takeover', 15, 15, 15],
  ['; client_no_context_takeover; server_max_window_bits=9', 12, 15, 9],
  ['; server_no_context_takeover; client_max_window_bits=11', 15, 11, 15],
];

describe.skipIf(!realNetwork)('a server of ours, a client that offers', () => {
  test.each(asServer)(
    'permessage-deflate%s (windows of %d bits)',
    (offer, windowBits, from, to) =>
      inRun(() =>
        withSockets(
          echo,
          async (_url, port) => {
            await using connection = await rawClient(port, `permessage-deflate${offer}`);
            using peer = new Peer(
              from,
              offer.includes('client_no'),
              to,
              offer.includes('server_no'),
            );
            await exchange(connection, peer, frame);
            await connection.write(frame(FIN | 8));
            expect((await readFrame(connection)).first).toBe(FIN | 8);
          },
          { ...limits, compress: { windowBits, minBytes: 0 } },
        ),
      ),
    timeoutMs,
  );
});

/** What a server answers, our options, and the windows: from the server, to the server. */
const asClient: readonly [answer: string, bits: number, from: number, to: number][] = [
  ['', 15, 15, 15],
  ['; server_max_window_bits=9; client_max_window_bits=9', 12, 9, 9],
  ['; server_no_context_takeover', 12, 15, 12],
  ['; server_no_context_takeover; client_no_context_takeover', 15, 15, 15],
  ['; server_max_window_bits=12; client_no_context_takeover', 12, 12, 12],
];

describe.skipIf(!realNetwork)('a client of ours, a server that answers', () => {
  test.each(asClient)(
    'permessage-deflate%s (windows of %d bits)',
    (answer, windowBits, from, to) =>
      inRun(async () => {
        let failure: unknown = null;
        const serve = async (connection: Connection): Promise<void> => {
          const head = (await connection.readUntil('\r\n\r\n')).toString('latin1');
          const key = /sec-websocket-key: (\S+)/i.exec(head)?.[1] as string;
          await connection.write(
            'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
              `Sec-WebSocket-Accept: ${acceptOf(key)}\r\n` +
              `Sec-WebSocket-Extensions: permessage-deflate${answer}\r\n\r\n`,
          );
          using peer = new Peer(
            from,
            answer.includes('server_no'),
            to,
            answer.includes('client_no'),
          );
          try {
            await exchange(connection, peer, unmasked);
            await connection.write(unmasked(FIN | 8, Buffer.from([0x03, 0xe8])));
            await readFrame(connection);
          } catch (error) {
            failure = error;
          }
        };
        await using server = await startServer(serve, { host: '127.0.0.1', port: 0 });
        const socket = await openWebSocket(`ws://127.0.0.1:${server.port}/`, {
          ...limits,
          compress: { windowBits, minBytes: 0 },
        });
        await echo(socket);
        await socket.close();
        expect([failure, socket.closeCode]).toEqual([null, 1000]);
      }),
    timeoutMs,
  );
});
