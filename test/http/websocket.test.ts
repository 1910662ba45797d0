/** WebSockets of both sides with each other, and with `ws`. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { deflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import WebSocketOfWs, { WebSocketServer } from 'ws';
import { Application, HttpError, upgradeWebSocket } from '../../lib/http/index.ts';
import { openWebSocket } from '../../lib/http/websocket/connect.ts';
import { createTask, gather, sleep, timeout } from '../../lib/index.ts';
import { failure, inRun, never, runTest } from '../task/support.ts';
import { exchangeRaw, realNetwork, statusesOf, withServer } from './support.ts';
import {
  closeCodeIn,
  echo,
  frame,
  handshake,
  rawClient,
  requestOf,
  withPair,
  withSockets,
} from './websocket-support.ts';

const FIN = 0x80;

describe('messages', () => {
  // covers: seeds/C42
  runTest('come in order, text as string and bytes as Buffer', () =>
    withSockets(echo, async (url) => {
      await using socket = await openWebSocket(url);
      const sent = ['a', Buffer.from([1, 2]), 'ü€😀', '', Buffer.alloc(0), 'x'.repeat(70_000)];
      for (const message of sent) await socket.send(message);
      for (const message of sent) expect(await socket.receive()).toEqual(message);
      expect(await socket.close()).toBe(undefined);
      expect([socket.closeCode, socket.closeReason, socket.open]).toEqual([1000, '', false]);
    }),
  );

  runTest('are JSON, text or bytes by request; the wrong kind stays for the next call', () =>
    withPair(async (client, server) => {
      await server.sendJson({ a: [1] });
      expect(await client.receiveJson()).toEqual({ a: [1] });
      await server.send('text');
      expect((await failure(client.receiveBytes())).name).toBe('TypeError');
      expect(await client.receiveText()).toBe('text');
      await server.send(Buffer.from('x'));
      expect((await failure(client.receiveText())).name).toBe('TypeError');
      expect(await client.receiveBytes()).toEqual(Buffer.from('x'));
      expect((await failure(client.sendJson(undefined))).name).toBe('TypeError');
      expect((await failure(client.send(5 as never))).name).toBe('TypeError');
    }),
  );

  runTest('are not lost when the one who waits is cancelled', () =>
    withPair(async (client, server) => {
      expect((await failure(client.receive({ timeoutMs: 5 }))).name).toBe('TimeoutError');
      const task = createTask(() => client.receive());
      await sleep(0);
      task.cancel();
      await task.wait();
      const signal = AbortSignal.abort('no');
      expect(await failure(client.receive({ signal }))).toBe('no');
      await server.send('kept');
      expect(await client.receive()).toBe('kept');
    }),
  );

  runTest('have one receiver at a time', () =>
    withPair(async (client, server) => {
      const first = client.receive();
      expect((await failure(client.receive())).name).toBe('BusyResourceError');
      await server.send('one');
      expect(await first).toBe('one');
    }),
  );

  runTest('that are held back do not grow without bound', () =>
    withPair(async (client, server) => {
      const big = Buffer.alloc(256 * 1024);
      const sender = createTask(async () => {
        for (let i = 0; i < 400; i++) await server.send(big);
      });
      await sleep(150);
      const waiting = server.bufferedBytes;
      expect([sender.done, waiting < 2 ** 20]).toEqual([false, true]);
      let bytes = 0;
      while (bytes < big.length * 400) bytes += (await client.receive()).length;
      await sender;
    }),
  );

  runTest('are refused above maxBufferedBytes when nobody waits', () =>
    withPair(
      async (client) => {
        const big = Buffer.alloc(1024 * 1024);
        const results = Array.from({ length: 30 }, () => client.send(big));
        const codes = await Promise.all(
          results.map((one) =>
            timeout(1, () => one).then(
              () => 'sent',
              (error) => error.code,
            ),
          ),
        );
        expect(codes).toContain('ERR_UVIO_BUFFER_FULL');
      },
      {},
      { maxBufferedBytes: 4 * 2 ** 20 },
    ),
  );
});

describe('the close', () => {
  runTest('carries code and reason, and ends iteration', () =>
    withPair(async (client, server) => {
      const seen: unknown[] = [];
      const reader = createTask(async () => {
        for await (const message of client) seen.push(message);
      });
      await server.send('last');
      await server.close(4001, 'done');
      await reader;
      expect([seen, client.closeCode, client.closeReason]).toEqual([['last'], 4001, 'done']);
      expect((await failure(client.receive())).code).toBe('ERR_UVIO_CLOSED');
      expect((await failure(client.send('x'))).code).toBe('ERR_UVIO_CLOSED');
      expect((await failure(client.ping())).code).toBe('ERR_UVIO_CLOSED');
      await client.close();
    }),
  );

  runTest('leaves messages before it to be received', () =>
    withPair(async (client, server) => {
      await server.send('one');
      await server.send('two');
      await server.close();
      expect([await client.receive(), await client.receive()]).toEqual(['one', 'two']);
      expect((await failure(client.receive())).name).toBe('ClosedResourceError');
    }),
  );

  runTest('refuses bad codes and reasons', () =>
    withPair(async (client) => {
      for (const code of [0, 999, 1004, 1005, 1006, 1015, 2000, 5000, 1000.5]) {
        expect((await failure(client.close(code))).name).toBe('RangeError');
      }
      expect((await failure(client.close('x' as never))).name).toBe('TypeError');
      expect((await failure(client.close(1000, 'x'.repeat(124)))).name).toBe('RangeError');
      expect(client.open).toBe(true);
    }),
  );

  runTest('may come from both at once, and twice', () =>
    withPair(async (client, server) => {
      await gather(client.close(), server.close(), client.close());
      expect([client.closeCode, server.closeCode]).toEqual([1000, 1000]);
      await client.close();
    }),
  );

  runTest('is 1006 when the connection just ends', () =>
    withSockets(echo, async (url, port) => {
      const raw = await rawClient(port);
      raw.abort();
      await using socket = await openWebSocket(url);
      await socket.send('others go on');
      expect(await socket.receive()).toBe('others go on');
    }),
  );

  runTest('does not wait longer than closeTimeoutMs for a peer that is silent', async () => {
    let code: number | null = 0;
    await withSockets(
      async (socket) => {
        await socket.close();
        code = socket.closeCode;
      },
      async (_url, port) => {
        await using raw = await rawClient(port);
        await raw.readAll().catch(() => {});
      },
      { closeTimeoutMs: 20 },
    );
    expect(code).toBe(1006);
  });

  runTest('of a cancelled task breaks the connection off', () =>
    withSockets(
      async (socket) => void (await failure(socket.receive())),
      async (url) => {
        const socket = await openWebSocket(url);
        const task = createTask(async () => {
          await sleep(never).catch(() => {});
          await socket.close();
        });
        await sleep(0);
        task.cancel();
        await task.wait();
        await socket.close();
        expect(socket.open).toBe(false);
      },
    ),
  );

  runTest(
    'comes with 1011 when the handler throws, and with 1001 when it is cancelled',
    async () => {
      const app = new Application()
        .ws('/throws', async () => {
          throw new HttpError(500);
        })
        .ws('/waits', async () => sleep(never));
      const codes: (number | null)[] = [];
      const reports: unknown[] = [];
      const { currentLoop } = await import('../../lib/task/frame.ts');
      currentLoop().setExceptionHandler((_loop, context) => reports.push(context.error));
      const waiting: Promise<unknown>[] = [];
      await withServer(
        app,
        async (url) => {
          const base = url.replace('http', 'ws');
          const throws = await openWebSocket(`${base}/throws`);
          await failure(throws.receive());
          codes.push(throws.closeCode);
          await throws.close();
          const waits = await openWebSocket(`${base}/waits`);
          waiting.push(
            failure(waits.receive()).then(async () => {
              codes.push(waits.closeCode);
              await waits.close();
            }),
          );
        },
        { shutdownTimeoutMs: 10 },
      );
      await Promise.all(waiting);
      expect([codes, reports.length]).toEqual([[1011, 1001], 1]);
    },
  );
});

describe('pings', () => {
  runTest('wait for their pong, in order, with data or without', () =>
    withPair(async (client, server) => {
      await client.ping();
      await client.ping(Buffer.from('abc'));
      await gather(client.ping(), client.ping(), server.ping());
      expect((await failure(client.ping(Buffer.alloc(126)))).name).toBe('TypeError');
    }),
  );

  runTest('fail when the connection ends first', () =>
    withSockets(echo, async (_url, port) => {
      await using raw = await rawClient(port);
      await raw.write(frame(FIN | 9, 'x'));
      expect(await raw.readExactly(3)).toEqual(Buffer.from([0x8a, 1, 0x78]));
    }),
  );

  runTest('of a heartbeat end a connection that has fallen silent', async () => {
    let error: { message: string } = { message: '' };
    await withSockets(
      async (socket) => {
        error = await failure(socket.receive());
        throw error;
      },
      async (_url, port) => {
        await using raw = await rawClient(port);
        const bytes = await raw.readAll().catch(() => Buffer.alloc(0));
        expect([...bytes.subarray(0, 3)]).toEqual([0x89, 1, 0]);
      },
      { heartbeatMs: 20 },
    );
    expect(error.message).toContain('silent');
  });

  runTest('of a heartbeat let a connection live that answers', () =>
    withPair(
      async (client, server) => {
        await sleep(60);
        await server.send('alive');
        expect(await client.receive()).toBe('alive');
      },
      { heartbeatMs: 10 },
    ),
  );
});

describe('the handshake', () => {
  const cases: [string, Record<string, string | null>, number][] = [
    ['as in the RFC', {}, 101],
    ['with any case', { upgrade: 'WebSocket', connection: 'keep-alive, upgrade' }, 101],
    ['without Upgrade', { upgrade: null }, 426],
    ['with Upgrade to something else', { upgrade: 'h2c' }, 426],
    ['without Connection', { connection: null }, 426],
    ['without a key', { 'sec-websocket-key': null }, 400],
    ['with a short key', { 'sec-websocket-key': 'AAAA' }, 400],
    ['with a key that is not base64', { 'sec-websocket-key': '*'.repeat(24) }, 400],
    ['with two keys', { 'sec-websocket-key': `${handshake['sec-websocket-key']}, x` }, 400],
    ['with version 8', { 'sec-websocket-version': '8' }, 426],
    ['without a version', { 'sec-websocket-version': null }, 426],
    ['with a bad subprotocol', { 'sec-websocket-protocol': 'a b' }, 400],
    ['with a subprotocol twice', { 'sec-websocket-protocol': 'a, a' }, 400],
    ['with a bad extension', { 'sec-websocket-extensions': 'a;;b' }, 400],
    ['with an extension nobody knows', { 'sec-websocket-extensions': 'x-a; b=1' }, 101],
  ];
  test('is strict', () =>
    inRun(() =>
      withSockets(
        async (socket) => socket.close(),
        async (_url, port) => {
          const seen: unknown[] = [];
          for (const [title, headers] of cases) {
            const answer = await exchangeRaw(
              port,
              requestOf({ connection: 'Upgrade, close', ...headers }) +
                frame(FIN | 8).toString('latin1'),
            );
            seen.push([title, statusesOf(answer)[0]]);
          }
          expect(seen).toEqual(cases.map(([title, , status]) => [title, status]));
        },
      ),
    ));

  runTest('agrees on a subprotocol by the server’s preference', () =>
    withSockets(
      async (socket) => socket.send(socket.protocol),
      async (url) => {
        const protocols = ['a', 'b', 'c'];
        await using socket = await openWebSocket(url, { protocols });
        expect([await socket.receive(), socket.protocol]).toEqual(['b', 'b']);
        const error = await failure(openWebSocket(url, { protocols: ['z'] }));
        expect([error.name, error.status]).toEqual(['WebSocketHandshakeError', 101]);
      },
      { protocols: ['b', 'a'] },
    ),
  );

  runTest('tells a client what came instead', () =>
    withServer(
      new Application().get('/', () => new Response('no') as never),
      async (url) => {
        const error = await failure(openWebSocket(url.replace('http', 'ws')));
        expect([error.name, error.status]).toEqual(['WebSocketHandshakeError', 200]);
        const gone = await failure(openWebSocket(`${url.replace('http', 'ws')}/other`));
        expect(gone.status).toBe(404);
        expect((await failure(openWebSocket('ftp://x'))).name).toBe('InvalidUrlError');
        expect((await failure(openWebSocket('nonsense'))).name).toBe('InvalidUrlError');
        expect((await failure(openWebSocket('ws://x/#f'))).name).toBe('InvalidUrlError');
        const refused = await failure(openWebSocket('ws://127.0.0.1:1/'));
        expect([refused.name, refused.code]).toEqual(['ClientConnectionError', 'ECONNREFUSED']);
      },
    ),
  );

  runTest('of a plain handler gives the socket when its response was sent', () => {
    const app = new Application().get('/chat', (request) => {
      const { socket, response } = upgradeWebSocket(request, { protocols: ['p'] });
      createTask(async () => {
        const { it } = { it: await socket.then((value) => ({ value })) };
        await it.value.send('hello');
        await it.value.close();
      });
      return response;
    });
    return withServer(app, async (url) => {
      await using socket = await openWebSocket(`${url.replace('http', 'ws')}/chat`);
      expect(await socket.receive()).toBe('hello');
      expect((await failure(() => upgradeWebSocket(new Request('http://x/')))).name).toBe(
        'TypeError',
      );
    });
  });
});

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

  const offers: [string, string | null][] = [
    ['permessage-deflate', 'permessage-deflate; server_no_context_takeover'],
    ['permessage-deflate; server_max_window_bits=10', 'server_max_window_bits=10'],
    ['permessage-deflate; server_max_window_bits=8', null],
    ['permessage-deflate; client_max_window_bits', 'permessage-deflate'],
    ['permessage-deflate; client_max_window_bits=16', null],
    ['permessage-deflate; server_max_window_bits', null],
    ['permessage-deflate; nonsense', null],
    ['permessage-deflate; nonsense, permessage-deflate', 'permessage-deflate'],
    ['x-webkit-deflate-frame', null],
  ];
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
              expect(await good.receive()).toEqual(big);
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
          await once(peer, 'open');
          const text = 'x'.repeat(5_000);
          peer.send(text);
          peer.send(Buffer.from([1, 2, 3]));
          const [first] = await once(peer, 'message');
          expect(String(first)).toBe(text);
          await once(peer, 'message');
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
      ['x'.repeat(20_000), 'WebSocketHandshakeError'],
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
    expect((await failure(openWebSocket(url, { timeoutMs: 20 }))).name).toBe('TimeoutError');
    server.close();
  });
});
