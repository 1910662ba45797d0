/** Time limits of connections, and the end of servers. Run on every policy, and wire. */
import { describe, expect, test } from 'vitest';
import {
  Application,
  ClientSession,
  type HttpRequest,
  Response,
  serve,
} from '../../lib/http/index.ts';
import {
  CancelledError,
  Event,
  getRunningLoop,
  openConnection,
  run,
  sleep,
} from '../../lib/index.ts';
import { failure, runTest, virtualPolicy, virtualTest } from '../task/support.ts';
import { readToEnd, statusesOf, withHandler } from './support.ts';

const get = (path: string, lines = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${lines}\r\n`;
const post = (body: string, lines = ''): string =>
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n${lines}\r\n${body}`;

const connect = (port: number): ReturnType<typeof openConnection> =>
  openConnection({ host: '127.0.0.1', port });

/** A promise that knows nothing of cancellation, for handlers, and what is reported of them. */
function deaf(): { foreign: Promise<void>; release: () => void; messages: unknown[] } {
  const messages: unknown[] = [];
  getRunningLoop().setExceptionHandler((_loop, { message }) => messages.push(message));
  let release = (): void => {};
  const foreign = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { foreign, release, messages };
}

// covers: aiohttp/limits
// CVE-2018-12122, CVE-2019-5737, CVE-2020-8251: slow clients.
describe('time', () => {
  const limits = { headersTimeoutMs: 1_000, keepAliveMs: 5_000, requestTimeoutMs: 3_000 };
  const text = async (request: HttpRequest): Promise<Response> =>
    new Response(request.path === '/unread' ? 'no' : await request.text());
  const unread = post('hello').replace('/', '/unread');
  const cases: [string, string, number, number[]][] = [
    ['nothing is sent', '', 1_000, []],
    ['half a head is sent', 'GET / HTTP/1.1\r\nHo', 1_000, [408]],
    ['half a body is sent', post('hello').slice(0, -2), 3_000, [408]],
    ['a kept connection is idle', get('/'), 5_000, [200]],
    ['half a body that nobody wants is sent', unread.slice(0, -2), 5_000, [200]],
    ['a body that nobody wants comes late', unread, 5_000, [200]],
  ];
  for (const [what, request, afterMs, statuses] of cases) {
    virtualTest(`is over ${afterMs} ms after ${what}`, () =>
      withHandler(
        text,
        async (_url, server) => {
          const loop = getRunningLoop();
          const startMs = loop.time();
          await using connection = await connect(server.port);
          await connection.write(request.slice(0, -1));
          await sleep(1);
          await connection.write(request.slice(-1));
          expect(statusesOf(await readToEnd(connection))).toEqual(statuses);
          expect(Math.round((loop.time() - startMs) / 100) * 100).toBe(afterMs);
        },
        limits,
      ),
    );
  }

  virtualTest('of a later head begins with its first byte, not with the idle time before it', () =>
    withHandler(
      text,
      async (_url, server) => {
        const loop = getRunningLoop();
        await using connection = await connect(server.port);
        for (let i = 0; i < 2; i++) {
          await connection.write(get('/'));
          await connection.readUntil('\r\n\r\n');
          await sleep(4_800);
          await connection.write('GET / HTTP/1.1\r\n');
          await sleep(900);
          await connection.write('Host: a\r\n\r\n');
          expect(String(await connection.readUntil('\r\n\r\n'))).toMatch(/^HTTP\/1.1 200 /);
        }
        await sleep(4_800);
        const startMs = loop.time();
        await connection.write('GET / HT');
        expect(statusesOf(await readToEnd(connection))).toEqual([408]);
        expect(Math.round((loop.time() - startMs) / 100) * 100).toBe(1_000);
      },
      limits,
    ),
  );

  virtualTest('is over for a handler that does not hear of its cancellation', async () => {
    const loop = getRunningLoop();
    const { foreign, release, messages } = deaf();
    const app = new Application().get('/', async () => {
      await foreign;
      return new Response('late');
    });
    const cleaned: number[] = [];
    app.onCleanup(() => void cleaned.push(loop.time()));
    const log: number[] = [];
    const accessLog = ({ status }: { status: number }): unknown => log.push(status);
    const server = await serve(app, { host: '127.0.0.1', port: 0, accessLog });
    await using connection = await connect(server.port);
    await connection.write(get('/'));
    while (server.requests === 0) await sleep(1);
    const startMs = loop.time();
    await server.close({ timeoutMs: 5_000 });
    expect(Math.round((loop.time() - startMs) / 1000)).toBe(10);
    expect([cleaned.length, server.requests, server.connections, log]).toEqual([1, 0, 0, [503]]);
    expect(statusesOf(await readToEnd(connection))).toEqual([503]);
    expect(messages).toEqual([expect.stringContaining('goes on although it was cancelled')]);
    release();
    await sleep(1);
    expect([server.requests, messages.length]).toEqual([0, 1]);
  });

  test('is over for the program, too: a run ends without what was left behind', async () => {
    const ended = await run(
      async () => {
        const { foreign, release, messages } = deaf();
        const app = new Application().get('/', async () => {
          await foreign;
          return new Response('late');
        });
        const server = await serve(app, { host: '127.0.0.1', port: 0 });
        await using connection = await connect(server.port);
        await connection.write(get('/'));
        while (server.requests === 0) await sleep(1);
        await server.close({ timeoutMs: 5_000 });
        return { release, messages };
      },
      { policy: virtualPolicy() },
    );
    expect(ended.messages).toHaveLength(1);
    // It goes on in a loop that is closed, and nobody hears of it.
    ended.release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(ended.messages).toHaveLength(1);
  });

  virtualTest('is over for a WebSocket whose handler does not hear of it', async () => {
    const loop = getRunningLoop();
    const { foreign, release, messages } = deaf();
    const app = new Application().ws('/', () => foreign);
    const server = await serve(app, { host: '127.0.0.1', port: 0 });
    await using session = new ClientSession();
    const socket = await session.wsConnect(server.url);
    const other = new ClientSession();
    await other.wsConnect(server.url);
    await other.close();
    const startMs = loop.time();
    await server.close({ timeoutMs: 5_000 });
    expect(Math.round((loop.time() - startMs) / 1000)).toBe(10);
    expect([server.requests, server.connections]).toEqual([0, 0]);
    expect(await socket.receive().catch((error: Error) => error)).toBeInstanceOf(Error);
    expect(socket.closeCode).toBe(1001);
    expect(messages).toEqual(Array(2).fill(expect.stringContaining('although it was cancelled')));
    release();
    await sleep(1);
    expect(messages.length).toBe(2);
  });

  virtualTest('for a head counts from its start, not from its last byte', () =>
    withHandler(
      text,
      async (_url, server) => {
        const loop = getRunningLoop();
        const startMs = loop.time();
        await using connection = await connect(server.port);
        const answer = readToEnd(connection);
        for (const byte of 'GET / HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaa') {
          await connection.write(byte).catch(() => {});
          await sleep(100);
          if (!connection.open) break;
        }
        expect(statusesOf(await answer)).toEqual([408]);
        expect(loop.time() - startMs).toBeGreaterThan(900);
      },
      limits,
    ),
  );

  virtualTest('is over for a body that trickles', () =>
    withHandler(
      text,
      async (_url, server) => {
        const loop = getRunningLoop();
        const startMs = loop.time();
        await using connection = await connect(server.port);
        const answer = readToEnd(connection);
        await connection.write(post('x'.repeat(1_000)).slice(0, -900));
        for (let i = 0; i < 300 && connection.open; i++) {
          await connection.write('y').catch(() => {});
          await sleep(100);
        }
        expect(statusesOf(await answer)).toEqual([408]);
        expect(Math.round((loop.time() - startMs) / 1_000)).toBeLessThanOrEqual(30);
      },
      { requestTimeoutMs: Infinity },
    ),
  );
});

describe("a client's FIN", () => {
  runTest('all requests that came before it are answered', () =>
    withHandler(
      async (request) => {
        await sleep(2);
        return new Response(request.method === 'POST' ? await request.text() : 'got');
      },
      async (_url, server) => {
        for (const [text, statuses] of [
          [get('/1') + get('/2') + get('/3'), [200, 200, 200]],
          [get('/1') + post('hello').slice(0, -2), [200, 400]],
          [`${get('/1')}GET / HT`, [200, 400]],
        ] as const) {
          await using connection = await connect(server.port);
          await connection.write(text);
          await connection.writeEof();
          expect(statusesOf(await readToEnd(connection))).toEqual(statuses);
        }
      },
    ),
  );
});

// covers: aiohttp/run-app, aiohttp/on-startup
describe('close', () => {
  runTest('waits for what is under way, and says that it is the last response', async () => {
    const [begun, closing] = [new Event(), new Event()];
    const handler = async (): Promise<Response> => {
      begun.set();
      await closing.wait();
      return new Response('done');
    };
    await withHandler(handler, async (_url, server) => {
      await using idle = await connect(server.port);
      await using busy = await connect(server.port);
      await busy.write(get('/'));
      await begun.wait();
      expect(server.requests).toBe(1);
      const closed = server.close();
      await sleep(1);
      closing.set();
      expect(await readToEnd(busy)).toMatch(/connection: close[\s\S]*done$/i);
      await closed;
      expect(await readToEnd(idle)).toBe('');
      expect([server.connections, server.requests]).toEqual([0, 0]);
    });
  });

  runTest('cancels what takes too long', async () => {
    let error: unknown;
    await withHandler(
      async () => {
        try {
          await sleep(60_000);
        } catch (caught) {
          error = caught;
          throw caught;
        }
        return new Response('x');
      },
      async (_url, server) => {
        await using connection = await connect(server.port);
        await connection.write(get('/'));
        await sleep(5);
        await server.close({ timeoutMs: 10 });
        expect(statusesOf(await readToEnd(connection))).toEqual([503]);
      },
    );
    expect(error).toBeInstanceOf(CancelledError);
  });

  runTest("aborts a request's signal with that, also one asked for at once", async () => {
    const begun = new Event();
    let reason: unknown;
    await withHandler(
      async ({ signal }) => {
        begun.set();
        // As code does that knows nothing of uvio.
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        reason = signal.reason;
        return new Response('left');
      },
      async (_url, server) => {
        await using connection = await connect(server.port);
        await connection.write(get('/'));
        await begun.wait();
        await server.close({ timeoutMs: 10 });
        expect(statusesOf(await readToEnd(connection))).toEqual([200]);
      },
    );
    expect(reason).toBeInstanceOf(CancelledError);
  });

  runTest('calls the hooks in their order, cleans up last, and may be called again', async () => {
    const seen: string[] = [];
    const [begun, closing] = [new Event(), new Event()];
    const app = new Application().get('/', async () => {
      begun.set();
      await closing.wait();
      seen.push('handled');
      return new Response('x');
    });
    app.onStartup(() => void seen.push('startup'));
    app.onShutdown(() => {
      seen.push('shutdown');
      closing.set();
    });
    app.onCleanup(() => void seen.push('cleanup 1'));
    app.onCleanup(() => void seen.push('cleanup 2'));
    app.cleanupContext(async function* () {
      seen.push('context');
      yield;
      seen.push('context end');
    });
    const server = await serve(app, { host: '127.0.0.1', port: 0 });
    await using connection = await connect(server.port);
    await connection.write(get('/'));
    await begun.wait();
    const waiting = server.waitClosed();
    await Promise.all([server.close(), server.close()]);
    await waiting;
    await server.waitClosed();
    expect(seen).toEqual([
      'context',
      'startup',
      'shutdown',
      'handled',
      'cleanup 2',
      'cleanup 1',
      'context end',
    ]);
    expect(await failure(connect(server.port))).toMatchObject({ code: 'ECONNREFUSED' });
    expect(await failure(server.listen({ port: 0 }))).toMatchObject({ code: 'ERR_UVIO_CLOSED' });
  });
});
