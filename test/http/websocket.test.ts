import { describe, expect, test } from 'vitest';
import { openWebSocket } from '../../lib/http/client/open-socket.ts';
import { Application, HttpError, upgradeWebSocket } from '../../lib/http/index.ts';
import { createTask, gather, sleep } from '../../lib/index.ts';
import { failure, inRun, never, runTest } from '../task/support.ts';
import { exchangeRaw, statusesOf, withServer } from './support.ts';
import {
  echo,
  frame,
  handshake,
  rawClient,
  requestOf,
  withPair,
  withSockets,
} from './websocket-support.ts';

const FIN = 0x80;

// covers: aiohttp/websocketresponse
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
        const codes: unknown[] = [];
        for (const one of results) one.catch((error) => codes.push(error.code));
        await sleep(1);
        expect(codes).toContain('ERR_UVIO_BUFFER_FULL');
      },
      {},
      { maxBufferedBytes: 4 * 2 ** 20, closeTimeoutMs: 20 },
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
        await sleep(500);
        await server.send('alive');
        expect(await client.receive()).toBe('alive');
      },
      { heartbeatMs: 200 },
    ),
  );

  runTest('of a heartbeat let a connection live that nobody reads from for a while', () =>
    withPair(
      async (client, server) => {
        for (let i = 0; i < 100; i++) await client.send(String(i));
        await sleep(400);
        expect(server.open).toBe(true);
        for (let i = 0; i < 100; i++) expect(await server.receive()).toBe(String(i));
        await server.send('alive');
        expect(await client.receive()).toBe('alive');
      },
      { heartbeatMs: 100 },
    ),
  );

  runTest(
    'of a heartbeat end a connection that takes nothing, and so is not read from',
    async () => {
      let code: number | null = 0;
      const app = new Application().ws(
        '/',
        {
          messageReceived(socket) {
            const send = (): unknown => socket.send(Buffer.alloc(65_536)).catch(() => {});
            while (socket.bufferedBytes < 500_000) send();
          },
          connectionLost(socket) {
            code = socket.closeCode;
          },
        },
        { heartbeatMs: 50 },
      );
      await withServer(app, async (_url, { port }) => {
        await using raw = await rawClient(port);
        await raw.write(frame(FIN | 1, 'x'));
        while (code === 0) await sleep(5);
      });
      expect(code).toBe(1006);
    },
  );
});

describe('the handshake', () => {
  const manyHeaders = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x-${i}`, 'y']));
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
    // CVE-2024-37890
    ['with more headers than are taken', manyHeaders, 431],
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
