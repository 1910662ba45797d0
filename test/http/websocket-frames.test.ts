/** What a server makes of frames, however they are cut: RFC 6455 as a table. */
import { describe, expect, test } from 'vitest';
import { Compression } from '../../lib/http/websocket/deflate.ts';
import { FrameError, FrameReader, type FrameSink } from '../../lib/http/websocket/frames.ts';
import { maskInPlace } from '../../lib/http/websocket/mask.ts';
import { Utf8Checker } from '../../lib/http/websocket/utf8.ts';
import { inRun } from '../task/support.ts';
import { deliver } from './support.ts';
import { closeCodeIn, echo, frame, lengthOf, rawClient, withSockets } from './websocket-support.ts';

const FIN = 0x80;
const text = 0x1;
const binary = 0x2;
const close = 0x8;
const ping = 0x9;
const pong = 0xa;
const maxBytes = 70_000;

function closing(code: number, reason: Buffer | string = ''): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return frame(FIN | close, Buffer.concat([head, Buffer.from(reason as string)]));
}

const bye = closing(1000);

/** What is sent, and the messages and the close code that come of it. */
const vectors: readonly [string, Buffer[], string[], number][] = [
  ['a text', [frame(FIN | text, 'hello'), bye], ['hello'], 1000],
  ['an empty text', [frame(FIN | text), bye], [''], 1000],
  ['binary', [frame(FIN | binary, Buffer.from([0, 255])), bye], ['b:00ff'], 1000],
  ['125 bytes', [frame(FIN | text, 'x'.repeat(125)), bye], ['x'.repeat(125)], 1000],
  ['126 bytes', [frame(FIN | text, 'x'.repeat(126)), bye], ['x'.repeat(126)], 1000],
  ['65,535 bytes', [frame(FIN | text, 'x'.repeat(65_535)), bye], ['x'.repeat(65_535)], 1000],
  ['65,536 bytes', [frame(FIN | text, 'x'.repeat(65_536)), bye], ['x'.repeat(65_536)], 1000],
  ['fragments', [frame(text, 'ab'), frame(0, 'c'), frame(FIN, 'd'), bye], ['abcd'], 1000],
  ['empty fragments', [frame(text), frame(0), frame(FIN), bye], [''], 1000],
  [
    'a ping between fragments',
    [frame(text, 'a'), frame(FIN | ping, 'p'), frame(FIN, 'b'), bye],
    ['ab'],
    1000,
  ],
  ['a pong that nobody asked for', [frame(FIN | pong, 'x'), bye], [], 1000],
  ['a ping of 125 bytes', [frame(FIN | ping, 'x'.repeat(125)), bye], [], 1000],
  ['a ping of 126 bytes', [frame(FIN | ping, 'x'.repeat(126))], [], 1002],
  ['a ping without FIN', [frame(ping)], [], 1002],
  ['RSV1 without an extension', [frame(FIN | 0x40 | text, 'x')], [], 1002],
  ['RSV2', [frame(FIN | 0x20 | text, 'x')], [], 1002],
  ['RSV3', [frame(FIN | 0x10 | ping)], [], 1002],
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode): [string, Buffer[], string[], number] => [
    `opcode ${opcode}`,
    [frame(FIN | opcode, 'x')],
    [],
    1002,
  ]),
  ['a continuation of nothing', [frame(FIN, 'x')], [], 1002],
  ['a text inside of a message', [frame(text, 'a'), frame(FIN | text, 'b')], [], 1002],
  ['a frame without a mask', [Buffer.from([FIN | text, 1, 0x61])], [], 1002],
  [
    'a length in 16 bits that 7 would hold',
    [frame(FIN | text, 'x', Buffer.from([0xfe, 0, 1]))],
    [],
    1002,
  ],
  [
    'a length in 64 bits that 16 would hold',
    [frame(FIN | text, 'x', Buffer.from([0xff, 0, 0, 0, 0, 0, 0, 0, 200]))],
    [],
    1002,
  ],
  [
    'a length with its highest bit',
    [frame(FIN | text, 'x', Buffer.from([0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]))],
    [],
    1002,
  ],
  ['a length above the limit', [frame(FIN | binary, 'x', lengthOf(maxBytes + 1, 0x80))], [], 1009],
  [
    'fragments above the limit',
    [frame(binary, 'x'.repeat(65_000)), frame(FIN, 'x'.repeat(6_000))],
    [],
    1009,
  ],
  ['bad UTF-8', [frame(FIN | text, Buffer.from([0x61, 0xff]))], [], 1007],
  ['a surrogate in UTF-8', [frame(FIN | text, Buffer.from([0xed, 0xa0, 0x80]))], [], 1007],
  ['UTF-8 that ends early', [frame(FIN | text, Buffer.from([0xe2, 0x82]))], [], 1007],
  [
    'a character over two fragments',
    [frame(text, Buffer.from([0xe2, 0x82])), frame(FIN, Buffer.from([0xac])), bye],
    ['€'],
    1000,
  ],
  [
    'bad UTF-8 in a fragment that is not the last',
    [frame(text, Buffer.from([0xf4, 0x90]))],
    [],
    1007,
  ],
  [
    'bad UTF-8 before the frame is complete',
    [frame(text, Buffer.from([0xce, 0xba, 0xed, 0xa0, 1]))],
    [],
    1007,
  ],
  ['a close without a code', [frame(FIN | close)], [], 1005],
  ['a close of one byte', [frame(FIN | close, 'x')], [], 1002],
  ['a close with a reason', [closing(1001, 'bye')], [], 1001],
  ['a close with a bad reason', [closing(1000, Buffer.from([0xff]))], [], 1007],
  ...[1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999].map(
    (code): [string, Buffer[], string[], number] => [
      `close code ${code}`,
      [closing(code)],
      [],
      code,
    ],
  ),
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map(
    (code): [string, Buffer[], string[], number] => [
      `close code ${code}`,
      [closing(code)],
      [],
      1002,
    ],
  ),
  ['nothing after a close', [bye, frame(FIN | text, 'late')], [], 1000],
];

// CVE-2026-1528: lengths of 64 bits.
describe.each(['whole', 'bytes', 'random'] as const)('delivered %s', (how) => {
  // One server for all of them: a test each would be slower than the vectors.
  test('every vector has its verdict', async () => {
    const verdicts: unknown[] = [];
    const wanted: unknown[] = [];
    await inRun(() => {
      let messages: string[] = [];
      return withSockets(
        async (socket) => {
          for await (const message of socket) {
            messages.push(typeof message === 'string' ? message : `b:${message.toString('hex')}`);
          }
        },
        async (_url, port) => {
          for (const [title, parts, expected, code] of vectors) {
            const bytes = Buffer.concat(parts);
            if (how !== 'whole' && bytes.length > 1_000) continue;
            messages = [];
            await using connection = await rawClient(port);
            const sent = deliver(connection, bytes, how).catch(() => {});
            const answer = await connection.readAll().catch(() => Buffer.alloc(0));
            await sent;
            verdicts.push([title, messages, closeCodeIn(answer)]);
            wanted.push([title, expected, code]);
          }
        },
        { maxMessageBytes: maxBytes },
      );
    });
    expect(verdicts).toEqual(wanted);
  }, 20_000);
});

function sinkFor(onMessage: (payload: Buffer) => void = () => {}): FrameSink {
  const full = false;
  return { partial: null, stopped: false, full, hold: () => {}, onMessage, onControl: () => {} };
}

describe('the reader', () => {
  test('takes random frames at every cut as it takes them whole', () => {
    let state = 7;
    const random = (below: number): number => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return state % below;
    };
    for (let round = 0; round < 200; round++) {
      const parts: Buffer[] = [];
      const wanted: string[] = [];
      for (let i = 0; i < 5; i++) {
        const payload = Buffer.alloc(random(300), 97 + i);
        parts.push(frame(FIN | binary, payload));
        wanted.push(payload.toString('hex'));
      }
      const stream = Buffer.concat(parts);
      const seen: string[] = [];
      const sink = sinkFor((payload) => seen.push(payload.toString('hex')));
      const rules = { masked: true, mask: maskInPlace, compressed: false, maxMessageBytes: 1_000 };
      const reader = new FrameReader(rules);
      for (let at = 0; at < stream.length; ) {
        const size = 1 + random(40);
        reader.push(sink, Buffer.from(stream.subarray(at, at + size)));
        at += size;
      }
      expect(seen).toEqual(wanted);
      expect(sink.partial).toBe(null);
    }
  });

  test('keeps memory by what came, not by what was announced', () => {
    const rules = { masked: true, mask: maskInPlace, compressed: false, maxMessageBytes: 2 ** 31 };
    const reader = new FrameReader(rules);
    const before = process.memoryUsage().arrayBuffers;
    reader.push(sinkFor(), frame(FIN | binary, 'x', lengthOf(2 ** 30, 0x80)));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
  });

  test('gives messages that take no more memory than they have bytes', () => {
    const rules = { masked: true, mask: maskInPlace, compressed: false, maxMessageBytes: 2 ** 21 };
    const reader = new FrameReader(rules);
    const sizes: number[][] = [];
    const sink = sinkFor((payload) => sizes.push([payload.length, payload.buffer.byteLength]));
    for (const lengths of [[2 ** 20], [300_000, 2 ** 20]]) {
      const frames = lengths.map((length, i) => {
        const last = i === lengths.length - 1 ? FIN : 0;
        return frame(last | (i === 0 ? binary : 0), Buffer.alloc(length));
      });
      const stream = Buffer.concat(frames);
      // Cut so that doubling what there is comes to lie just below the end.
      for (let at = 0; at < stream.length; at += 65_531) {
        reader.push(sink, Buffer.from(stream.subarray(at, at + 65_531)));
      }
    }
    expect(sizes).toEqual([2 ** 20, 2 ** 20 + 300_000].map((length) => [length, length]));
  });

  test('refuses a masked frame of a server', () => {
    const rules = { masked: false, mask: maskInPlace, compressed: false, maxMessageBytes: 100 };
    const reader = new FrameReader(rules);
    expect(() => reader.push(sinkFor(), frame(FIN | text, 'x'))).toThrow(FrameError);
  });

  test('masks from any phase at any length as byte by byte', () => {
    const key = Buffer.from([1, 2, 3, 4]);
    for (let length = 0; length < 140; length++) {
      for (let offset = 0; offset < 4; offset++) {
        const room = Buffer.alloc(length + 4, 0x55);
        maskInPlace(room.subarray(offset, offset + length), key.readInt32LE(), offset);
        const plain = Buffer.alloc(length + 4, 0x55).map((byte, i) =>
          i < offset || i >= offset + length
            ? byte
            : byte ^ (key[(offset + i - offset) & 3] as number),
        );
        expect(room.equals(plain)).toBe(true);
      }
    }
  });

  test('inflates streams that follow one another, and not thousands of them', () => {
    const agreement = { sendBits: 12, sendTakeover: true, receiveBits: 12, receiveTakeover: true };
    // A stored block of one byte that says it is the last one.
    const stream = Buffer.from([0x01, 0x01, 0x00, 0xfe, 0xff, 0x61]);
    const some = Buffer.concat(Array.from({ length: 40 }, () => stream));
    expect(new Compression(agreement).inflate(some, 1_000).toString()).toBe('a'.repeat(40));
    const many = Buffer.concat(Array.from({ length: 5_000 }, () => stream));
    expect(() => new Compression(agreement).inflate(many, 1e6)).toThrow(/too many streams/);
  });

  test('checks UTF-8 in pieces as it does whole', () => {
    const texts = ['κόσμε', '€uro', '𝄞 and 😀', 'plain'].map((one) => Buffer.from(one));
    for (const bytes of texts) {
      for (let cut = 0; cut <= bytes.length; cut++) {
        const checker = new Utf8Checker();
        const good = checker.push(bytes.subarray(0, cut)) && checker.push(bytes.subarray(cut));
        expect([bytes.toString(), cut, good, checker.end()]).toEqual([
          bytes.toString(),
          cut,
          true,
          true,
        ]);
      }
    }
    for (const bad of ['c0af', 'eda080', 'f4908080', 'f8888080', '80', 'e0809f', 'f08fbfbf']) {
      const checker = new Utf8Checker();
      const bytes = Buffer.from(bad, 'hex');
      const taken = [...bytes].every((byte) => checker.push(Buffer.from([byte]))) && checker.end();
      expect([bad, taken]).toEqual([bad, false]);
    }
  });
});

test('echo works at all', () =>
  inRun(() =>
    withSockets(echo, async (_url, port) => {
      await using connection = await rawClient(port);
      await connection.write(frame(FIN | text, 'ping'));
      expect(await connection.readExactly(6)).toEqual(Buffer.from('\x81\x04ping', 'latin1'));
      await connection.write(bye);
    }),
  ));
