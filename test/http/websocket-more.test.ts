/** WebSockets: compression, topics, and `ws` as the other side. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { deflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import WebSocketOfWs, { WebSocketServer } from 'ws';
import { openWebSocket } from '../../lib/http/client/open-socket.ts';
import { Application } from '../../lib/http/index.ts';
import { parseExtensions } from '../../lib/http/websocket/extensions.ts';
import { createTask } from '../../lib/index.ts';
import { failure, inRun, runTest } from '../task/support.ts';
import { exchangeRaw, realNetwork, withServer } from './support.ts';
import {
  closeCodeIn,
  echo,
  frame,
  rawClient,
  requestOf,
  withSockets,
} from './websocket-support.ts';

const FIN = 0x80;

describe('compression', () => {
  const compressed = { compress: true };
  runTest('is agreed on by both and passes every size', () =>
    withSockets(
      echo,
      async (url) => {
        await using socket = await openWebSocket(url, compressed);
        for (const size of [0, 1, 1_000, 1_024, 70_000, 300_000]) {
          const text = 'ab€ '.repeat(size / 4);
          await socket.send(text);
          expect(await socket.receive()).toBe(text);
        }
      },
      compressed,
    ),
  );

  // What the server answers with windows of 4 KiB, the default.
  const offers: [string, string | null][] = [
    ['permessage-deflate', 'permessage-deflate; client_no_context_takeover\r\n'],
    [
      'permessage-deflate; client_max_window_bits',
      'permessage-deflate; client_max_window_bits=12\r\n',
    ],
    [
      'permessage-deflate; client_max_window_bits=8; server_max_window_bits=8',
      'permessage-deflate; server_max_window_bits=8; client_max_window_bits=8\r\n',
    ],
    [
      'permessage-deflate; server_max_window_bits="15"; client_max_window_bits=15',
      'permessage-deflate; server_max_window_bits=12; client_max_window_bits=12\r\n',
    ],
    [
      'permessage-deflate; server_no_context_takeover; client_max_window_bits',
      'permessage-deflate; server_no_context_takeover; client_max_window_bits=12\r\n',
    ],
    [
      'permessage-deflate; client_no_context_takeover; client_max_window_bits=9',
      'permessage-deflate; client_max_window_bits=9; client_no_context_takeover\r\n',
    ],
    ['permessage-deflate; client_max_window_bits=16', null],
    ['permessage-deflate; client_max_window_bits=7', null],
    ['permessage-deflate; client_max_window_bits=010', null],
    ['permessage-deflate; server_max_window_bits', null],
    ['permessage-deflate; server_no_context_takeover=1', null],
    ['permessage-deflate; nonsense', null],
    ['permessage-deflate; nonsense, permessage-deflate', 'permessage-deflate; client_no'],
    ['x-webkit-deflate-frame', null],
  ];
  // CVE-2026-2229: bits of a window that are none.
  test('answers each offer', () =>
    inRun(() =>
      withSockets(
        async (socket) => socket.close(),
        async (_url, port) => {
          for (const [offer, answer] of offers) {
            const headers = { 'sec-websocket-extensions': offer };
            const text = await exchangeRaw(
              port,
              requestOf(headers) + frame(FIN | 8).toString('latin1'),
            );
            if (answer === null) expect(text).not.toContain('sec-websocket-extensions');
            else expect(text).toContain(answer);
          }
        },
        compressed,
      ),
    ));

  // CVE-2021-32640
  test('is offered in long headers at no more cost than their bytes', () => {
    const size = 500_000;
    const before = process.cpuUsage().user;
    expect(parseExtensions(`${'a,'.repeat(size / 2)}a`)).toHaveLength(size / 2 + 1);
    const parameters = Array.from({ length: size / 10 }, (_, i) => `; p${i}`).join('');
    expect(parseExtensions(`a${parameters}`)?.[0]?.parameters.size).toBe(size / 10);
    const blanks = ' '.repeat(size);
    for (const bad of [
      `a${blanks}b`,
      `a;${blanks}"`,
      `${blanks}"`,
      `a${parameters}"`,
      `${'a'.repeat(size)}"`,
      `a;${'b='.repeat(size / 2)}`,
      `a${'; b'.repeat(size / 3)}`,
      'a\xa0',
      '\x0ba',
    ]) {
      expect(parseExtensions(bad)).toBe(null);
    }
    // About 0.3 s; with backtracking: minutes.
    expect(process.cpuUsage().user - before).toBeLessThan(4_000_000);
  });

  // CVE-2026-1526, CVE-2026-54274, CVE-2026-13350
  test('refuses bombs, broken data and bad text', () =>
    inRun(() =>
      withSockets(
        echo,
        async (_url, port) => {
          const bomb = deflateRawSync(Buffer.alloc(5_000_000)).subarray(0, -1);
          for (const [payload, code, first] of [
            [bomb, 1009, 0xc2],
            [Buffer.from([0xff, 0xff, 0xff]), 1007, 0xc2],
            [
              deflateRawSync(Buffer.from([0xff, 0xfe]), { finishFlush: 2 }).subarray(0, -4),
              1007,
              0xc1,
            ],
          ] as const) {
            await using raw = await rawClient(port, 'permessage-deflate');
            await raw.write(frame(first, payload));
            expect(closeCodeIn(await raw.readAll().catch(() => Buffer.alloc(0)))).toBe(code);
          }
        },
        { ...compressed, maxMessageBytes: 100_000 },
      ),
    ));
});

describe('topics', () => {
  runTest('reach all subscribers but the publisher, until they leave', () => {
    const app = new Application().ws('/:room', async (socket, request) => {
      socket.subscribe(request.params.room);
      await socket.send('in');
      for await (const message of socket) {
        if (message === 'leave') socket.unsubscribe(request.params.room);
        else await socket.send(String(socket.publish(request.params.room, message)));
      }
    });
    return withServer(app, async (url) => {
      const base = url.replace('http', 'ws');
      await using a = await openWebSocket(`${base}/x`);
      await using b = await openWebSocket(`${base}/x`, { compress: true });
      await using c = await openWebSocket(`${base}/y`);
      for (const one of [a, b, c]) expect(await one.receive()).toBe('in');
      await a.send('hi');
      expect([await a.receive(), await b.receive()]).toEqual(['1', 'hi']);
      expect(app.publish('y', Buffer.from('z'))).toBe(1);
      expect(await c.receive()).toEqual(Buffer.from('z'));
      await b.send('leave');
      await b.ping();
      await a.send('nobody');
      expect(await a.receive()).toBe('0');
      await a.close();
      expect(app.publish('x', 'gone')).toBe(0);
      expect((await failure(() => c.subscribe('y'))).name).toBe('RangeError');
    });
  });

  for (const whenSlow of ['close', 'drop'] as const) {
    runTest(
      `have a subscriber who never reads ${whenSlow === 'close' ? 'closed' : 'left out'}`,
      async () => {
        const app = new Application().ws(
          '/',
          async (socket) => {
            socket.subscribe('feed');
            await socket.send('in');
            await socket.receive();
          },
          { whenSlow, maxBufferedBytes: 2 ** 20 },
        );
        await withServer(
          app,
          async (url, server) => {
            await using good = await openWebSocket(url.replace('http', 'ws'));
            await good.receive();
            const slow = await rawClient(server.port);
            const big = Buffer.alloc(2 ** 18);
            let both = 0;
            for (let i = 0; i < 60; i++) {
              if (app.publish('feed', big) === 2) both++;
              expect((await good.receive()).length).toBe(big.length);
            }
            expect(both).toBeLessThan(60);
            slow.abort();
          },
          { shutdownTimeoutMs: 5 },
        );
      },
    );
  }
});

describe.runIf(realNetwork)('with ws', () => {
  runTest('as client of our server', () =>
    withSockets(
      echo,
      async (url) => {
        const peer = new WebSocketOfWs(url, { perMessageDeflate: true });
        const task = createTask(async () => {
          const messages: string[] = [];
          peer.on('message', (data) => messages.push(String(data)));
          await once(peer, 'open');
          const text = 'x'.repeat(5_000);
          peer.send(text);
          peer.send(Buffer.from('abc'));
          while (messages.length < 2) await once(peer, 'message');
          expect(messages).toEqual([text, 'abc']);
          peer.close(3000, 'ok');
          const [code] = await once(peer, 'close');
          expect(code).toBe(3000);
        });
        await task;
      },
      { compress: true },
    ),
  );

  runTest('as server of our client', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: true });
    await once(server, 'listening');
    server.on('connection', (socket) => {
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
    const { port } = server.address() as { port: number };
    for (const compress of [false, true]) {
      await using socket = await openWebSocket(`ws://127.0.0.1:${port}/`, { compress });
      for (const message of ['a', 'b'.repeat(70_000), Buffer.alloc(130, 7)]) {
        await socket.send(message);
        expect(await socket.receive()).toEqual(message);
      }
      await socket.ping();
      await socket.close(4000);
      expect(socket.closeCode).toBe(4000);
    }
    server.close();
    await once(server, 'close');
  });

  runTest('a server that answers nonsense, much, or nothing', async () => {
    for (const [answer, name] of [
      ['HTTP/2 101 x\r\n\r\n', 'WebSocketHandshakeError'],
      ['x'.repeat(40_000), 'WebSocketHandshakeError'],
      ['HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n', 'WebSocketHandshakeError'],
      [null, 'ServerDisconnectedError'],
    ] as const) {
      const server = createServer((socket) => {
        socket.on('error', () => {});
        if (answer === null) socket.destroy();
        else socket.write(answer);
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      expect((await failure(openWebSocket(`ws://127.0.0.1:${port}/`))).name).toBe(name);
      server.close();
    }
  });

  runTest('a server that never answers ends with the time limit', async () => {
    const server = createServer(() => {}).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const url = `ws://127.0.0.1:${port}/`;
    expect((await failure(openWebSocket(url, { timeoutMs: 20 }))).name).toBe('ClientTimeoutError');
    server.close();
  });
});
