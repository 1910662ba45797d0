/** Sessions that speak HTTP/2, with servers of ours. Run on every policy. */
import { describe, expect } from 'vitest';
import {
  Application,
  ClientConnectionError,
  ClientSession,
  ClientTimeoutError,
  type ConnectorOptions,
  type Handler,
  type HttpServer,
  Response,
  type ServeOptions,
} from '../../lib/http/index.ts';
import {
  CancelledError,
  ClosedResourceError,
  createTask,
  Event,
  gather,
  moveOnAfter,
  sleep,
} from '../../lib/index.ts';
import { serverTls } from '../io/tls-support.ts';
import { failure, runTest } from '../task/support.ts';
import { large, makeApp, tls } from './client-support.ts';
import { settled } from './http2-support.ts';
import { withHandler, withServer } from './support.ts';

interface Pair {
  readonly session: ClientSession;
  readonly url: string;
  readonly server: HttpServer;
}

async function withPair(
  app: Application | Handler,
  test: (pair: Pair) => unknown,
  options: { connector?: ConnectorOptions; serve?: ServeOptions } = {},
): Promise<void> {
  const run = async (url: string, server: HttpServer): Promise<void> => {
    const connector = { http2: true, ...options.connector };
    await using session = new ClientSession({ tls, connector });
    await test({ session, url, server });
  };
  const serving = { tls: serverTls, http2: true, ...options.serve };
  if (typeof app === 'function') await withHandler(app, run, serving);
  else await withServer(app, run, serving);
}

describe('a session with HTTP/2', () => {
  // covers: uvio/http2-client
  runTest('sends and gets what it does over HTTP/1', () =>
    withPair(makeApp(), async ({ session, url }) => {
      const first = await session.get(url);
      expect([first.httpVersion, first.status, await first.text()]).toEqual(['2', 200, 'ok']);
      expect((await session.get(`${url}/large`).text()) === large).toBe(true);
      expect((await session.get(`${url}/gzip`).text()) === large).toBe(true);
      expect(await session.get(`${url}/chunks`).text()).toBe('partpartpart');
      expect(await session.post(`${url}/echo`, { body: 'text' }).text()).toBe('text');
      expect((await session.post(`${url}/echo`, { body: large }).text()) === large).toBe(true);
      expect(await session.post(`${url}/echo`, { json: { a: 1 } }).json()).toEqual({ a: 1 });
      const writer = session.post(`${url}/echo`, {
        body: async (out) => {
          for (let i = 0; i < 40; i++) await out.write(large.slice(0, 10_000));
        },
      });
      expect(await writer.text()).toBe(large.slice(0, 10_000).repeat(40));
      expect(await session.post(`${url}/307`, { body: 'again' }).text()).toBe('again');
      expect((await session.head(`${url}/large`)).headers.get('content-length')).toBe('400000');
      expect((await session.get(`${url}/fail`)).status).toBe(503);
      expect((await session.get(`${url}/cookie`)).cookies.get('a')).toBe('b');
      const waited = { body: 'x', expectContinue: true };
      expect(await session.post(`${url}/echo`, waited).text()).toBe('x');
      expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
    }),
  );

  runTest('sends and gets headers as over HTTP/1', () => {
    const app = new Application()
      .get('/', (request) => {
        const { headers } = request;
        const told = [headers.get('cookie'), headers.get('x-name'), headers.get('x-more')];
        return Response.json(told, { headers: { 'x-name': 'é', 'x-utf8': 'Ã©' } });
      })
      .get('/to', () => new Response('', { status: 302, headers: { location: '/Ã©' } }))
      .get('/é', () => new Response('é'));
    return withPair(app, async ({ session, url }) => {
      const headers = [
        ['cookie', 'a=1'],
        ['cookie', 'b=2'],
        ['x-name', 'é'],
        ['x-more', '1'],
        ['x-more', '2'],
      ] as const;
      const response = await session.get(url, { headers });
      expect(response.httpVersion).toBe('2');
      expect([response.headers.get('x-name'), response.headers.get('x-utf8')]).toEqual(['é', 'Ã©']);
      expect(await response.json()).toEqual(['a=1; b=2', 'é', '1, 2']);
      expect(await session.get(`${url}/to`).text()).toBe('é');
    });
  });

  runTest('shares one connection, from the first request on', async () => {
    let most = 0;
    let now = 0;
    await withPair(
      async (request) => {
        most = Math.max(most, ++now);
        await sleep(5);
        now--;
        return new Response(request.path);
      },
      async ({ session, url, server }) => {
        const paths = Array.from({ length: 30 }, (_, i) => `/${i}`);
        const texts = await gather(...paths.map((path) => () => session.get(url + path).text()));
        expect(texts).toEqual(paths);
        expect(most).toBeGreaterThan(20);
        expect(server.connections).toBe(1);
        expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
      },
    );
  });

  runTest('takes another connection when one is full, within its limits', async () => {
    for (const [limitPerHost, connections] of [
      [2, 2],
      [1, 1],
    ] as const) {
      await withPair(
        async () => {
          await sleep(2);
          return new Response('ok');
        },
        async ({ session, url, server }) => {
          const asks = Array.from({ length: 12 }, () => () => session.get(url).text());
          expect(await gather(...asks)).toEqual(Array(12).fill('ok'));
          expect(server.connections).toBe(connections);
          const { open, idle, waiting } = session.connector.stats();
          expect([open, idle, waiting]).toEqual([connections, connections, 0]);
        },
        { connector: { limitPerHost }, serve: { maxConcurrentStreams: 3 } },
      );
    }
  });

  runTest('speaks HTTP/1.1 with servers that do no more', () =>
    withPair(
      async (request) => {
        await sleep(2);
        return new Response(request.httpVersion);
      },
      async ({ session, url, server }) => {
        const asks = Array.from({ length: 4 }, () => () => session.get(url).text());
        expect(await gather(...asks)).toEqual(Array(4).fill('1.1'));
        expect(server.connections).toBe(4);
      },
      { serve: { http2: false } },
    ),
  );

  runTest('does not ask for it unless it is told to', async () => {
    const version: Handler = (request) => new Response(request.httpVersion);
    await withPair(
      version,
      async ({ session, url }) => expect(await session.get(url).text()).toBe('1.1'),
      { connector: { http2: false } },
    );
    expect(() => new ClientSession({ connector: { http2: 1 as never } })).toThrow(TypeError);
  });

  runTest('has WebSockets over HTTP/1.1 beside it', () =>
    withPair(makeApp(), async ({ session, url }) => {
      expect(await session.get(url).text()).toBe('ok');
      await using socket = await session.wsConnect(`${url}/ws`);
      await socket.send('hello');
      expect(await socket.receive()).toBe('hello');
      const alpn = { ...tls, ALPNProtocols: ['h2'] };
      const refused = await failure(session.wsConnect(`${url}/ws`, { tls: alpn }));
      expect(refused).toBeInstanceOf(ClientConnectionError);
      expect(await session.get(url).text()).toBe('ok');
    }),
  );

  runTest('drops a connection that was idle for too long', () =>
    withPair(
      () => new Response('ok'),
      async ({ session, url, server }) => {
        await session.get(url).text();
        expect(session.connector.stats().idle).toBe(1);
        await settled(() => session.connector.stats().open === 0);
        await settled(() => server.connections === 0);
        expect(await session.get(url).text()).toBe('ok');
      },
      { connector: { keepAliveMs: 20 } },
    ),
  );

  runTest('goes to a new connection when the server leaves; what goes on ends well', async () => {
    const began = new Event();
    const go = new Event();
    const slow: Handler = async () => {
      began.set();
      await go.wait();
      return new Response('late');
    };
    await withPair(slow, async ({ session, url, server }) => {
      const late = session.get(url).text();
      await began.wait();
      const closed = server.close();
      await sleep(5);
      go.set();
      expect(await late).toBe('late');
      await closed;
      await settled(() => session.connector.stats().open === 0);
      expect(await failure(session.get(url))).toBeInstanceOf(ClientConnectionError);
    });
  });
});

describe('a request over HTTP/2', () => {
  type Place = [what: string, run: (session: ClientSession, url: string) => Promise<unknown>];
  const places: Place[] = [
    ['before its response', (session, url) => session.get(`${url}/never`)],
    ['in the body of its response', (session, url) => session.get(`${url}/endless`).text()],
    [
      'while it sends a body',
      (session, url) =>
        session.post(`${url}/never`, {
          body: async (out) => {
            for (;;) await out.write(large);
          },
        }),
    ],
  ];

  for (const [what, ask] of places) {
    runTest(`that is cancelled ${what} ends its stream, not its connection`, async () => {
      let gone = 0;
      let begun = new Event();
      const app = new Application()
        .get('/ok', () => new Response('ok'))
        .route('*', '/never', async (request) => {
          request.signal.addEventListener('abort', () => gone++);
          begun.set();
          await new Event().wait();
          return new Response('');
        })
        .get('/endless', (request) => {
          request.signal.addEventListener('abort', () => gone++);
          begun.set();
          return new Response(async (writer) => {
            for (;;) {
              await writer.write('part');
              await sleep(1);
            }
          });
        });
      await withPair(
        app,
        async ({ session, url, server }) => {
          await session.get(`${url}/ok`).text();
          const ends: ((work: () => Promise<unknown>) => Promise<unknown>)[] = [
            async (work) => {
              const task = createTask(work);
              await begun.wait();
              task.cancel();
              expect(await failure(task.join())).toBeInstanceOf(CancelledError);
            },
            async (work) => {
              const scope = moveOnAfter(20, work);
              await scope;
            },
          ];
          for (const end of ends) {
            begun = new Event();
            await end(() => ask(session, url));
            await settled(() => server.requests === 0);
            expect(await session.get(`${url}/ok`).text()).toBe('ok');
          }
          expect(gone).toBe(2);
          expect(server.connections).toBe(1);
          expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
        },
        { serve: { handlerCancellation: true } },
      );
    });
  }

  runTest('that is aborted by a signal, or late, ends the same way', () =>
    withPair(
      async (request) => {
        if (request.path === '/ok') return new Response('ok');
        await new Event().wait();
        return new Response('');
      },
      async ({ session, url, server }) => {
        await session.get(`${url}/ok`).text();
        const controller = new AbortController();
        const aborted = session.get(url, { signal: controller.signal });
        await settled(() => server.requests === 1);
        controller.abort(new Error('enough'));
        expect((await failure(aborted)).message).toBe('enough');
        expect(await failure(session.get(url, { timeoutMs: 10 }))).toBeInstanceOf(
          ClientTimeoutError,
        );
        expect(await session.get(`${url}/ok`).text()).toBe('ok');
        expect(session.connector.stats().open).toBe(1);
      },
      { serve: { handlerCancellation: true } },
    ),
  );

  runTest('whose body breaks off is not taken for complete', async () => {
    const seen: string[] = [];
    const read = async (request: Request): Promise<Response> => {
      const text = request.text();
      seen.push(await text.then(String, (error: Error) => error.name));
      return new Response('x');
    };
    await withPair(read as Handler, async ({ session, url }) => {
      const body = async function* (): AsyncGenerator<string> {
        yield 'part';
        await sleep(20);
        throw new Error('on purpose');
      };
      expect((await failure(session.post(url, { body: body() }))).message).toBe('on purpose');
      while (seen.length === 0) await sleep(1);
      expect(seen).toEqual(['BrokenResourceError']);
    });
  });

  runTest('that waits for a place may be cancelled', () =>
    withPair(
      async () => {
        await sleep(20);
        return new Response('ok');
      },
      async ({ session, url }) => {
        const first = createTask(() => session.get(url).text());
        await settled(() => session.connector.stats().open === 1);
        const second = createTask(() => session.get(url).text());
        await settled(() => session.connector.stats().waiting === 1);
        second.cancel();
        expect(await failure(second.join())).toBeInstanceOf(CancelledError);
        expect(await first.join()).toBe('ok');
        expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
      },
      { connector: { limitPerHost: 1 }, serve: { maxConcurrentStreams: 1 } },
    ),
  );

  runTest('that is answered early stops sending', () =>
    withPair(
      (request) =>
        request.path === '/ok' ? new Response('ok') : new Response('too much', { status: 413 }),
      async ({ session, url, server }) => {
        const answer = await session.post(url, {
          body: async (out) => {
            for (;;) await out.write(large);
          },
        });
        expect([answer.status, await answer.text()]).toEqual([413, 'too much']);
        expect(await session.get(`${url}/ok`).text()).toBe('ok');
        expect(server.connections).toBe(1);
      },
    ),
  );

  runTest('rejects when its session is closed, and frees its connection', () =>
    withPair(
      async () => {
        await new Event().wait();
        return new Response('');
      },
      async ({ session, url, server }) => {
        const asks = [session.get(url), session.get(url)].map((ask) => failure(ask));
        await settled(() => server.requests === 2);
        await session.close();
        for (const error of await Promise.all(asks)) {
          expect(error).toBeInstanceOf(ClosedResourceError);
        }
        expect(session.connector.stats().open).toBe(0);
      },
      { serve: { handlerCancellation: true } },
    ),
  );

  runTest('whose body is not read holds back its own stream alone', () =>
    withPair(makeApp(), async ({ session, url }) => {
      const unread = await session.get(`${url}/large`);
      expect(await session.get(url).text()).toBe('ok');
      expect(await unread.text()).toBe(large);
      const released = await session.get(`${url}/large`);
      await released.release();
      expect(await session.get(url).text()).toBe('ok');
      expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
    }),
  );
});
