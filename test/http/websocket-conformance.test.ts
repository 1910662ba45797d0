/**
 * What a WebSocket makes of a peer, on both sides: the cases that the public test suites of the
 * protocol have in common, by their usual numbers, written from RFC 6455 and RFC 7692.
 */
import { constants, createDeflateRaw, createInflateRaw } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { openWebSocket } from '../../lib/http/client/open-socket.ts';
import { acceptOf } from '../../lib/http/websocket/handshake.ts';
import { maskInPlace } from '../../lib/http/websocket/mask.ts';
import { type Connection, startServer } from '../../lib/index.ts';
import { inRun } from '../task/support.ts';
import { deliver, realNetwork } from './support.ts';
import { echo, lengthOf, rawClient, frame as toServer, withSockets } from './websocket-support.ts';

const FIN = 0x80;
const [more, text, binary, close, ping, pong] = [0, 1, 2, 8, 9, 10] as const;

/** First byte and payload of a frame. */
type Piece = readonly [first: number, payload?: Buffer | string];
/** What is sent, and the frames that come back. */
type Case = readonly [id: string, sent: readonly Piece[], answer: readonly string[]];

const hex = (digits: string): Buffer => Buffer.from(digits, 'hex');
const x = (length: number): string => '*'.repeat(length);
const bytes = (length: number): Buffer => Buffer.alloc(length, 0xfe);
const code = (value: number, reason: Buffer | string = ''): Buffer => {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(value);
  return Buffer.concat([head, Buffer.from(reason as string)]);
};
const bye: Piece = [FIN | close, code(1000)];
const hello: Piece = [FIN | text, 'Hello'];
const show = (kind: string, payload: Buffer | string): string =>
  `${kind} ${payload.length} ${Buffer.from(payload as string).toString('hex', 0, 40)}`;
const gone = 'close 1000';
const broken = 'close 1002';
const garbled = 'close 1007';

function texts(payload: Buffer | string, size: number): Piece[] {
  const whole = Buffer.from(payload as string);
  const pieces: Piece[] = [];
  for (let at = 0; at < whole.length; at += size) {
    const last = at + size >= whole.length;
    pieces.push([(last ? FIN : 0) | (at === 0 ? text : more), whole.subarray(at, at + size)]);
  }
  return pieces;
}

const sizes = [0, 125, 126, 127, 128, 65_535, 65_536];
const good = [
  'cebae1bdb9cf83cebcceb5', // 6.2
  '00', // 6.6 and following: first and last of each length
  'c280',
  'dfbf',
  'e0a080',
  'ed9fbf',
  'ee8080',
  'efbfbf',
  'efbfbe',
  'f0908080',
  'f48fbfbf',
  'efbfbd',
];
const bad = [
  'cebae1bdb9cf83cebcceb5eda080656469746564', // 6.3
  'f4908080',
  '80',
  'bf',
  '80bf80bf',
  'c0',
  'e0',
  'f0',
  'f888808080',
  'fc8480808080',
  'c0af',
  'e080af',
  'f08080af',
  'c1bf',
  'e09fbf',
  'f08fbfbf',
  'eda080',
  'edbfbf',
  'eda080edb080',
  'fe',
  'ff',
];

const cases: readonly Case[] = [
  ...sizes.map((n): Case => [`1.1 ${n}`, [[FIN | text, x(n)], bye], [show('text', x(n)), gone]]),
  ...sizes.map(
    (n): Case => [`1.2 ${n}`, [[FIN | binary, bytes(n)], bye], [show('binary', bytes(n)), gone]],
  ),
  ['2.1', [[FIN | ping], bye], ['pong 0 ', gone]],
  ['2.3', [[FIN | ping, hex('00fffefdfcfb00ff')], bye], ['pong 8 00fffefdfcfb00ff', gone]],
  ['2.4', [[FIN | ping, bytes(125)], bye], [show('pong', bytes(125)), gone]],
  ['2.5', [[FIN | ping, bytes(126)], bye], [broken]],
  ['2.7', [[FIN | pong], [FIN | pong, 'x'], bye], [gone]],
  ['2.9', [[FIN | pong, 'x'], [FIN | ping, 'y'], bye], ['pong 1 79', gone]],
  [
    '2.10',
    [...Array.from({ length: 10 }, (_, i): Piece => [FIN | ping, `${i}`]), bye],
    [...Array.from({ length: 10 }, (_, i) => `pong 1 3${i}`), gone],
  ],
  ['3.1', [[FIN | 0x10 | text, 'x']], [broken]],
  ['3.2', [hello, [FIN | 0x20 | text, 'x'], [FIN | ping]], [show('text', 'Hello'), broken]],
  ['3.5', [[FIN | 0x50 | binary, bytes(8)]], [broken]],
  ['3.6', [[FIN | 0x60 | ping, 'x']], [broken]],
  ['3.7', [[FIN | 0x70 | close]], [broken]],
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(
    (op): Case => [
      `4 ${op}`,
      [hello, [FIN | op, 'x'], [FIN | ping]],
      [show('text', 'Hello'), broken],
    ],
  ),
  [
    '5.1',
    [
      [ping, 'a'],
      [FIN | more, 'b'],
    ],
    [broken],
  ],
  [
    '5.2',
    [
      [pong, 'a'],
      [FIN | more, 'b'],
    ],
    [broken],
  ],
  ['5.3', [...texts('fragment', 4), bye], [show('text', 'fragment'), gone]],
  [
    '5.6',
    [[text, 'frag'], [FIN | ping, 'p'], [FIN | more, 'ment'], bye],
    ['pong 1 70', show('text', 'fragment'), gone],
  ],
  ['5.9', [[FIN | more, 'x'], hello], [broken]],
  ['5.12', [[more, 'x'], hello], [broken]],
  ['5.15', [...texts('fragment', 4), [more, 'x']], [show('text', 'fragment'), broken]],
  [
    '5.18',
    [
      [text, 'a'],
      [FIN | text, 'b'],
    ],
    [broken],
  ],
  [
    '5.19',
    [[text, '1'], [more, '2'], [FIN | ping, 'p'], [more, '3'], [FIN | ping, 'q'], [FIN, '4'], bye],
    ['pong 1 70', 'pong 1 71', show('text', '1234'), gone],
  ],
  ['6.1', [[text], [more], [FIN | more], bye], ['text 0 ', gone]],
  ['6.1.3', [[text], [more, 'm'], [FIN | more], bye], ['text 1 6d', gone]],
  ...good.map(
    (digits): Case => [
      `6 ${digits}`,
      [[FIN | text, hex(digits)], ...texts(hex(digits), 1), bye],
      [show('text', hex(digits)), show('text', hex(digits)), gone],
    ],
  ),
  ...bad.map((digits): Case => [`6 ${digits}`, [[FIN | text, hex(digits)]], [garbled]]),
  // Refused at the first bad byte: nothing comes behind it.
  ['6.4.1', [[text, hex('cebae1bdb9cf83cebcceb5f4908080')]], [garbled]],
  [
    '6.4.2',
    [
      [text, hex('cebae1bdb9cf83cebcceb5f4')],
      [more, hex('90')],
    ],
    [garbled],
  ],
  ['7.1.1', [hello, bye], [show('text', 'Hello'), gone]],
  ['7.1.2', [bye, bye], [gone]],
  ['7.1.3', [bye, [FIN | ping, 'x']], [gone]],
  ['7.1.4', [bye, hello], [gone]],
  ['7.1.5', [[text, 'a'], bye, [FIN | more, 'b']], [gone]],
  [
    '7.1.6',
    [[FIN | text, x(262_144)], hello, bye, [FIN | ping]],
    [show('text', x(262_144)), show('text', 'Hello'), gone],
  ],
  ['7.3.1', [[FIN | close]], ['close 1005']],
  ['7.3.2', [[FIN | close, 'a']], [broken]],
  ['7.3.4', [[FIN | close, code(1000, 'Hello')]], [gone]],
  ['7.3.5', [[FIN | close, code(1000, x(123))]], [gone]],
  ['7.3.6', [[FIN | close, code(1000, x(124))]], [broken]],
  ['7.5.1', [[FIN | close, code(1000, hex('cebaeda080'))]], [garbled]],
  ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999].map(
    (value): Case => [`7.7 ${value}`, [[FIN | close, code(value)]], [`close ${value}`]],
  ),
  ...[0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535].map(
    (value): Case => [`7.9 ${value}`, [[FIN | close, code(value)]], [broken]],
  ),
  ['9.3', [...texts(x(1_048_576), 4_096), bye], [show('text', x(1_048_576)), gone]],
  ['10.1', [...texts(x(65_536), 1_300), bye], [show('text', x(65_536)), gone]],
];

const kinds: Record<number, string> = { 1: 'text', 2: 'binary', 9: 'ping', 10: 'pong' };

/** Frames out of bytes, as `answer` names them. */
function readFrames(stream: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; at + 2 <= stream.length; ) {
    const second = stream[at + 1] as number;
    const short = second & 0x7f;
    let from = at + (short === 126 ? 4 : short === 127 ? 10 : 2);
    let length = short;
    if (short === 126) length = stream.readUInt16BE(at + 2);
    else if (short === 127) length = Number(stream.readBigUInt64BE(at + 2));
    const mask = second >= 0x80 ? stream.subarray(from, from + 4) : null;
    if (mask !== null) from += 4;
    const payload = Buffer.from(stream.subarray(from, from + length));
    if (mask !== null) maskInPlace(payload, mask.readInt32LE(), 0);
    const opcode = (stream[at] as number) & 0x0f;
    if (opcode !== close) found.push(show(kinds[opcode] ?? `opcode ${opcode}`, payload));
    else found.push(`close ${length >= 2 ? payload.readUInt16BE(0) : 1005}`);
    at = from + length;
  }
  return found;
}

function toClient(first: number, payload: Buffer | string = ''): Buffer {
  const body = Buffer.from(payload as string);
  return Buffer.concat([Buffer.from([first]), lengthOf(body.length), body]);
}

/** Sends the case and gives what came back before the end. */
async function play(peer: Connection, stream: Buffer, how: 'whole' | 'bytes'): Promise<string[]> {
  const sent = deliver(peer, stream, how).catch(() => {});
  let received = Buffer.alloc(0);
  try {
    for await (const chunk of peer) {
      received = Buffer.concat([received, chunk]);
      if (readFrames(received).some((one) => one.startsWith('close'))) break;
    }
  } catch {
    // A reset behind the close frame.
  }
  await sent;
  return readFrames(received);
}

async function shakeHands(peer: Connection, extension: string): Promise<string> {
  const head = (await peer.readUntil('\r\n\r\n')).toString('latin1');
  const key = /sec-websocket-key: (\S+)/i.exec(head)?.[1] as string;
  await peer.write(
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      `Sec-WebSocket-Accept: ${acceptOf(key)}\r\n${extension}\r\n`,
  );
  return head;
}

/** A client of ours that echoes, and what its peer does. */
async function withClient(
  options: Parameters<typeof openWebSocket>[1],
  extension: string,
  peer: (connection: Connection, requestHead: string) => Promise<void>,
): Promise<void> {
  let failure: unknown = null;
  await using server = await startServer(
    async (connection) => {
      try {
        await peer(connection, await shakeHands(connection, extension));
      } catch (error) {
        failure = error;
      }
    },
    { host: '127.0.0.1', port: 0 },
  );
  const socket = await openWebSocket(`ws://127.0.0.1:${server.port}/`, options);
  await echo(socket).catch(() => {});
  await socket.close();
  if (failure !== null) throw failure;
}

const limits = { maxMessageBytes: 2 ** 22, maxBufferedBytes: 2 ** 23 };

describe.each(['whole', 'bytes'] as const)('frames that come %s', (how) => {
  const fit = cases
    .map(([id, sent, answer]) => ({ id, sent, answer }))
    .filter(({ sent }) => {
      const total = sent.reduce((sum, [, payload = '']) => sum + payload.length, 0);
      return how === 'whole' || total < 300;
    });

  test('have the answers of the protocol, from a server', () =>
    inRun(() =>
      withSockets(
        echo,
        async (_url, port) => {
          for (const { id, sent, answer } of fit) {
            await using peer = await rawClient(port);
            const stream = Buffer.concat(sent.map(([first, payload]) => toServer(first, payload)));
            expect([id, ...(await play(peer, stream, how))]).toEqual([id, ...answer]);
          }
        },
        limits,
      ),
    ));

  test('have the answers of the protocol, from a client', () =>
    inRun(async () => {
      for (const { id, sent, answer } of fit) {
        const stream = Buffer.concat(sent.map(([first, payload]) => toClient(first, payload)));
        let seen: string[] = [];
        await withClient(limits, '', async (peer) => {
          seen = await play(peer, stream, how);
        });
        expect([id, ...seen]).toEqual([id, ...answer]);
      }
    }));
});

/** A stream of zlib that keeps its state from message to message, as others have it. */
function streams(sendBits: number, receiveBits: number) {
  const deflater = createDeflateRaw({ windowBits: Math.max(sendBits, 9) });
  const inflater = createInflateRaw({ windowBits: receiveBits, chunkSize: 64 });
  const through = async (
    stream: typeof deflater | typeof inflater,
    data: Buffer,
  ): Promise<Buffer> => {
    const parts: Buffer[] = [];
    const take = (part: Buffer) => parts.push(part);
    stream.on('data', take);
    stream.write(data);
    await new Promise<void>((resolve) => stream.flush(constants.Z_SYNC_FLUSH, resolve));
    stream.off('data', take);
    return Buffer.concat(parts);
  };
  return {
    deflate: async (data: Buffer) => (await through(deflater, data)).subarray(0, -4),
    inflate: (data: Buffer) => through(inflater, Buffer.concat([data, hex('0000ffff')])),
    close(): void {
      deflater.close();
      inflater.close();
    },
  };
}

/** The next frame that a server sent. */
async function readFrame(peer: Connection): Promise<{ first: number; payload: Buffer }> {
  const head = await peer.readExactly(2);
  const short = (head[1] as number) & 0x7f;
  let length = short;
  if (short === 126) length = (await peer.readExactly(2)).readUInt16BE(0);
  else if (short === 127) length = Number((await peer.readExactly(8)).readBigUInt64BE(0));
  return { first: head[0] as number, payload: await peer.readExactly(length) };
}

// covers: aiohttp/ws-connect
describe.skipIf(!realNetwork)('compressed messages of a peer that keeps its streams', () => {
  const messages = [16, 64, 256, 1_024, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072].flatMap(
    (length) =>
      [1, 2].map((n) => Buffer.from(`{"id":${n},"name":"${length}"},`.repeat(length / 16))),
  );
  const offers: readonly [offer: string, windowBits: number, send: number, receive: number][] = [
    ['permessage-deflate; client_max_window_bits', 12, 12, 12],
    ['permessage-deflate; client_max_window_bits; server_max_window_bits=8', 12, 12, 8],
    ['permessage-deflate; client_max_window_bits=8; server_max_window_bits=9', 15, 8, 9],
    ['permessage-deflate; client_max_window_bits=15; server_max_window_bits=15', 15, 15, 15],
    ['permessage-deflate; server_no_context_takeover; client_max_window_bits=10', 12, 10, 12],
  ];

  test.each(offers)('%s', (offer, windowBits, sendBits, receiveBits) =>
    inRun(() =>
      withSockets(
        echo,
        async (_url, port) => {
          await using peer = await rawClient(port, offer);
          const { deflate, inflate, close: end } = streams(sendBits, receiveBits);
          for (const message of messages) {
            await peer.write(toServer(FIN | 0x40 | text, await deflate(message)));
            const { first, payload } = await readFrame(peer);
            const plain = first === (FIN | 0x40 | text) ? await inflate(payload) : payload;
            expect(plain.equals(message)).toBe(true);
          }
          end();
          await peer.write(toServer(FIN | close));
        },
        { ...limits, compress: { windowBits, minBytes: 0 } },
      ),
    ),
  );

  test('a client offers windows that it can keep, and refuses others', () =>
    inRun(async () => {
      const compress = { windowBits: 10 };
      const answers: readonly [string, boolean][] = [
        ['permessage-deflate; server_max_window_bits=10', true],
        ['permessage-deflate; server_max_window_bits=8; client_max_window_bits=8', true],
        ['permessage-deflate; server_no_context_takeover', true],
        ['permessage-deflate', false],
        ['permessage-deflate; server_max_window_bits=11', false],
        ['permessage-deflate; server_max_window_bits=10; client_max_window_bits', false],
        ['permessage-deflate; server_max_window_bits=10; x', false],
        ['x-other', false],
      ];
      for (const [answer, good] of answers) {
        const attempt = withClient(
          { compress },
          `Sec-WebSocket-Extensions: ${answer}\r\n`,
          async (peer) => {
            await peer.write(toClient(FIN | close, code(1000)));
            await peer.readExactly(8).catch(() => {});
          },
        );
        const name = await attempt.then(
          () => 'open',
          (error: Error) => error.name,
        );
        expect([answer, name]).toEqual([answer, good ? 'open' : 'WebSocketHandshakeError']);
      }
    }));
});
