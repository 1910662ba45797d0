/** Peers that abuse HTTP/2, frame by frame. Run on every policy. */
import { Buffer } from 'node:buffer';
import { describe, expect } from 'vitest';
import {
  type Handler,
  type HttpServer,
  Response,
  type ServeOptions,
} from '../../lib/http/index.ts';
import { type Connection, Event, sleep, timeout } from '../../lib/index.ts';
import { serverTls } from '../io/tls-support.ts';
import { realTimeTest, runTest } from '../task/support.ts';
import {
  type Frame,
  frame,
  goawayOf,
  head,
  literal,
  openH2,
  preface,
  readFrames,
  uint32,
} from './http2-support.ts';
import { withHandler } from './support.ts';

const none = Buffer.alloc(0);
const settings = frame('settings', 0, 0, none);
const acknowledged = frame('settings', 1, 0, none);
const hello = Buffer.concat([preface, settings, acknowledged]);
const endStream = 1;
const endHeaders = 4;
/** What nghttp2 or we say to it; null: it was cut off before it could be told. */
const calmed = [2, 3, 11, null];

/** HEADERS of a GET. */
function get(id: number, path = '/', more: readonly (readonly [string, string])[] = []): Buffer {
  return frame('headers', endStream | endHeaders, id, head(path, more));
}

const reset = (id: number): Buffer => frame('reset', 0, id, uint32(8));
const window = (id: number, bytes: number): Buffer => frame('window', 0, id, uint32(bytes));

/** Odd numbers from 1. */
function* ids(count: number): Generator<number> {
  for (let i = 0; i < count; i++) yield 2 * i + 1;
}

interface Peer {
  readonly connection: Connection;
  readonly server: HttpServer;
  send(...frames: Buffer[]): Promise<void>;
  /** All frames until the server closes; fails when it does not. */
  end(): Promise<Frame[]>;
  until(last: (frame: Frame) => boolean): Promise<Frame[]>;
}

const ok: Handler = () => new Response('ok');

function withPeer(
  handler: Handler,
  test: (peer: Peer) => unknown,
  more: ServeOptions = {},
): Promise<void> {
  const run = async (_url: string, server: HttpServer): Promise<void> => {
    const connection = await openH2(server.port);
    const until = (last: (frame: Frame) => boolean): Promise<Frame[]> =>
      timeout(5_000, () => readFrames(connection, last));
    try {
      await test({
        connection,
        server,
        send: async (...frames) => {
          // The server may have closed it already.
          await connection.write(Buffer.concat(frames)).catch(() => {});
        },
        until,
        end: () => until(() => false),
      });
    } finally {
      connection.abort();
    }
  };
  return withHandler(handler, run, { tls: serverTls, http2: true, ...more });
}

const closes = (id: number) => (frame: Frame) =>
  frame.id === id && (frame.type === 'reset' || (frame.flags & endStream) !== 0);

describe('a peer of HTTP/2', () => {
  // covers: uvio/http2-server
  runTest('that speaks well is answered', () =>
    withPeer(ok, async (peer) => {
      await peer.send(hello, get(1));
      const frames = await peer.until(closes(1));
      expect(frames.map(({ type }) => type)).toContain('data');
      const answer = frames.find(({ type }) => type === 'data');
      expect(String(answer?.payload)).toBe('ok');
    }),
  );

  runTest('that resets each request at once is sent away (rapid reset)', async () => {
    let begun = 0;
    await withPeer(
      async () => {
        begun++;
        await sleep(1);
        return new Response('ok');
      },
      async (peer) => {
        const frames: Buffer[] = [];
        for (const id of ids(2_000)) frames.push(get(id), reset(id));
        await peer.send(hello, ...frames);
        expect(calmed).toContain(goawayOf(await peer.end()));
        expect(begun).toBeLessThan(300);
      },
    );
  });

  runTest('that makes the server reset its requests is sent away', () =>
    withPeer(
      async () => {
        await sleep(1);
        return new Response('ok');
      },
      async (peer) => {
        const frames: Buffer[] = [];
        // A window that overflows is an error of the stream. (CVE-2025-8671)
        for (const id of ids(2_000)) frames.push(get(id), window(id, 2 ** 31 - 1));
        await peer.send(hello, ...frames);
        expect(calmed).toContain(goawayOf(await peer.end()));
      },
    ),
  );

  runTest('that cancels now and then is not', () =>
    withPeer(
      async (request) => {
        if (request.path === '/slow') await sleep(1);
        return new Response('ok');
      },
      async (peer) => {
        await peer.send(hello);
        for (const id of ids(50)) await peer.send(get(id, '/slow'), reset(id));
        await peer.send(get(201));
        expect(goawayOf(await peer.until(closes(201)))).toBeNull();
      },
    ),
  );

  runTest('that opens more streams than it may is refused these', async () => {
    let most = 0;
    let now = 0;
    let ended = 0;
    await withPeer(
      async () => {
        most = Math.max(most, ++now);
        await sleep(5);
        now--;
        ended++;
        return new Response('ok');
      },
      async (peer) => {
        // Nor does it acknowledge the limit.
        const frames = [...ids(20)].map((id) => get(id));
        await peer.send(preface, settings, ...frames);
        const seen = await peer.until(closes(9));
        const refused = seen.filter(({ type }) => type === 'reset');
        expect(refused).toHaveLength(15);
        expect(refused.map(({ payload }) => payload.readUInt32BE())).toEqual(Array(15).fill(7));
        expect([most, ended]).toEqual([5, 5]);
      },
      { maxConcurrentStreams: 5 },
    );
  });

  const floods: [string, Buffer[]][] = [
    ['PING', Array(3_000).fill(frame('ping', 0, 0, Buffer.alloc(8)))],
    ['SETTINGS', Array(3_000).fill(settings)],
    [
      'empty DATA',
      [frame('headers', endHeaders, 1, head()), ...Array(3_000).fill(frame('data', 0, 1, none))],
    ],
    [
      'CONTINUATION',
      [
        frame('headers', endStream, 1, head()),
        ...Array(3_000).fill(frame('continuation', 0, 1, literal('x-a', 'b'.repeat(1_000)))),
      ],
    ],
    [
      'empty CONTINUATION',
      [
        frame('headers', endStream, 1, head()),
        ...Array(3_000).fill(frame('continuation', 0, 1, none)),
      ],
    ],
    [
      'requests that are refused',
      [...ids(3_000)].map((id) => get(id, '/', [['host', 'other.test']])),
    ],
    [
      'requests without a path',
      [...ids(3_000)].map((id) =>
        frame('headers', endStream | endHeaders, id, literal(':method', 'GET')),
      ),
    ],
  ];
  for (const [what, frames] of floods) {
    runTest(`that floods with ${what} is sent away`, () =>
      withPeer(
        async (request) => new Response(await request.text()),
        async (peer) => {
          await peer.send(hello, ...frames);
          await peer.end();
        },
      ),
    );
  }

  runTest('whose head is too large gets 431, or no answer far above', () =>
    withPeer(
      ok,
      async (peer) => {
        const lines = Array.from({ length: 20 }, (_, i) => [`x-${i}`, 'a'] as const);
        await peer.send(hello, get(1, '/', lines));
        await peer.send(get(3, '/', [['x-a', 'a'.repeat(1_500)]]));
        await peer.send(get(5, '/', [['x-a', 'a'.repeat(9_000)]]));
        await peer.send(get(7));
        const frames = await peer.until(closes(7));
        expect(frames.filter(({ type }) => type === 'reset').map(({ id }) => id)).toContain(5);
        const texts = frames
          .filter(({ type }) => type === 'data')
          .map(({ id, payload }) => [id, String(payload)]);
        expect(texts).toEqual([
          [1, 'Header fields too large\n'],
          [3, 'Header fields too large\n'],
          [7, 'ok'],
        ]);
      },
      { maxHeaders: 16, maxHeaderBytes: 1_024 },
    ),
  );

  runTest('whose head grows when it is unpacked gets no further (HPACK bomb)', () =>
    withPeer(ok, async (peer) => {
      // One entry of the dynamic table, named thousands of times by one byte each.
      const value = literal('x-bomb', 'b'.repeat(4_000));
      value[0] = 0x40;
      const bomb = Buffer.concat([head(), value, Buffer.alloc(10_000, 0xbe)]);
      await peer.send(hello, frame('headers', endStream | endHeaders, 1, bomb), get(3));
      const frames = await peer.until(closes(3));
      expect(frames.some(({ type, id }) => type === 'reset' && id === 1)).toBe(true);
    }),
  );

  runTest('that says two different names of a host gets 400, CONNECT gets 501', () =>
    withPeer(ok, async (peer) => {
      const connect = [literal(':method', 'CONNECT'), literal(':authority', 'server.test:443')];
      await peer.send(hello, get(1, '/', [['host', 'other.test']]));
      await peer.send(get(3, '/', [['host', 'server.test']]));
      await peer.send(frame('headers', endHeaders, 5, Buffer.concat(connect)));
      const frames = await peer.until(closes(5));
      const texts = frames
        .filter(({ type }) => type === 'data')
        .map(({ id, payload }) => [id, String(payload)]);
      expect(texts).toEqual([
        [1, 'Host is not :authority\n'],
        [3, 'ok'],
        [5, 'CONNECT is not supported\n'],
      ]);
    }),
  );

  const malformed: [string, Buffer][] = [
    ['upper case in a name', get(1, '/', [['X-A', 'b']])],
    ['a header of a connection', get(1, '/', [['connection', 'close']])],
    ['a transfer coding', get(1, '/', [['transfer-encoding', 'chunked']])],
    [
      'a pseudo-header at the end',
      get(1, '/', [
        ['x-a', 'b'],
        [':path', '/b'],
      ]),
    ],
    ['a second path', get(1, '/', [[':path', '/b']])],
    ['an unknown pseudo-header', get(1, '/', [[':x', '/b']])],
    ['a path without its slash', get(1, 'a')],
    ['a length without a body', get(1, '/', [['content-length', '5']])],
    [
      'two lengths',
      get(1, '/', [
        ['content-length', '0'],
        ['content-length', '1'],
      ]),
    ],
  ];
  runTest('whose request is malformed gets an error of the stream', async () => {
    for (const [what, bytes] of malformed) {
      let asked = 0;
      await withPeer(
        () => {
          asked++;
          return new Response('ok');
        },
        async (peer) => {
          await peer.send(hello, bytes, get(3, '/good'));
          const frames = await peer.until(closes(3));
          const first = frames.filter(({ id }) => id === 1).map(({ type }) => type);
          expect([what, first, asked]).toEqual([what, ['reset'], 1]);
        },
      );
    }
  });

  runTest('that smuggles a line into a value has that header left out', () =>
    withPeer(
      (request) => Response.json([...request.headers]),
      async (peer) => {
        await peer.send(hello, get(1, '/', [['x-a', 'b\r\nc: d']]));
        const frames = await peer.until(closes(1));
        const body = frames.find(({ type }) => type === 'data')?.payload;
        expect(JSON.parse(String(body))).toEqual([['host', 'server.test']]);
      },
    ),
  );

  runTest('that sends more of a body than it declared breaks its stream', async () => {
    const errors: string[] = [];
    const began = new Event();
    await withPeer(
      async (request) => {
        began.set();
        if (request.path === '/') {
          await request.text().catch((error: Error) => errors.push(error.name));
        }
        return new Response('ok');
      },
      async (peer) => {
        const declared = head('/', [['content-length', '3']]);
        await peer.send(hello, frame('headers', endHeaders, 1, declared));
        await began.wait();
        await peer.send(frame('data', endStream, 1, Buffer.from('longer')));
        await peer.send(get(3, '/good'));
        // Newer versions of nghttp2 end the connection.
        const frames = await peer.until(closes(3));
        const broken = frames.filter(({ type }) => type === 'reset' || type === 'goaway');
        expect(broken.length).toBeGreaterThan(0);
        expect(errors).toEqual(['BrokenResourceError']);
      },
    );
  });

  runTest('that does not speak HTTP/2 at all is closed', () =>
    withPeer(ok, async (peer) => {
      await peer.send(Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.padEnd(200, 'x')));
      await peer.end();
    }),
  );
});

describe('a slow peer of HTTP/2', () => {
  runTest('that opens no window loses its stream in time', async () => {
    const errors: string[] = [];
    await withPeer(
      () =>
        new Response(async (writer) => {
          try {
            for (;;) await writer.write('x'.repeat(10_000));
          } catch (error) {
            errors.push((error as Error).name);
            throw error;
          }
        }),
      async (peer) => {
        const noWindow = frame('settings', 0, 0, Buffer.from([0, 4, 0, 0, 0, 0]));
        await peer.send(preface, noWindow, acknowledged, get(1));
        const frames = await peer.until(closes(1));
        expect(frames.at(-1)).toMatchObject({ type: 'reset', id: 1 });
        expect(errors).toEqual(['BrokenResourceError']);
      },
      { writeTimeoutMs: 20 },
    );
  });

  runTest('loses a response that was given as a whole, too', () =>
    withPeer(
      () => new Response('x'.repeat(10_000)),
      async (peer) => {
        const noWindow = frame('settings', 0, 0, Buffer.from([0, 4, 0, 0, 0, 0]));
        await peer.send(preface, noWindow, acknowledged, get(1), get(3));
        const frames = await peer.until(closes(3));
        expect(frames.at(-1)?.type).toBe('reset');
      },
      { writeTimeoutMs: 20 },
    ),
  );

  realTimeTest('that takes a little now and then keeps it', () =>
    withPeer(
      () => new Response('x'.repeat(393_000)),
      async (peer) => {
        await peer.send(hello, get(1), window(0, 400_000));
        const all = peer.until(closes(1));
        for (let i = 0; i < 5; i++) {
          await sleep(70);
          await peer.send(window(1, 65_536));
        }
        const frames = await all;
        expect(frames.some(({ type }) => type === 'reset')).toBe(false);
        const parts = frames.filter(({ type }) => type === 'data');
        expect(parts.reduce((sum, { payload }) => sum + payload.length, 0)).toBe(393_000);
      },
      { writeTimeoutMs: 250 },
    ),
  );

  runTest('that sends nothing of a body gets 408', () =>
    withPeer(
      async (request) => new Response(await request.text()),
      async (peer) => {
        await peer.send(hello, frame('headers', endHeaders, 1, head()));
        const frames = await peer.until(closes(1));
        expect(String(frames.find(({ type }) => type === 'data')?.payload)).toMatch(/too long/);
      },
      { requestTimeoutMs: 20 },
    ),
  );

  const silent: [string, Buffer[], ServeOptions][] = [
    ['says nothing', [], { headersTimeoutMs: 20 }],
    ['asks for nothing', [hello], { headersTimeoutMs: 20 }],
    [
      'does not end its head',
      [hello, frame('headers', endStream, 1, head())],
      { headersTimeoutMs: 20 },
    ],
    ['asks for nothing more', [hello, get(1)], { keepAliveMs: 20 }],
  ];
  for (const [what, frames, options] of silent) {
    runTest(`that ${what} is closed`, () =>
      withPeer(
        ok,
        async (peer) => {
          await peer.send(...frames);
          await peer.end();
          peer.connection.abort();
          while (peer.server.connections > 0) await sleep(1);
        },
        options,
      ),
    );
  }

  runTest('that reads nothing at all costs a bounded amount of memory', () =>
    withPeer(
      () => new Response('x'.repeat(60_000)),
      async (peer) => {
        const wide = frame('settings', 0, 0, Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff]));
        await peer.send(preface, wide, acknowledged, window(0, 2 ** 30));
        for (const id of ids(500)) {
          await peer.send(get(id));
          await sleep(0);
        }
        expect(peer.server.requests).toBeLessThanOrEqual(100);
      },
    ),
  );
});
