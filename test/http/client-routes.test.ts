/** Where the client's connections go: TLS, proxies, WebSockets. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  Application,
  ClientConnectionError,
  ClientResponseError,
  Response,
  serve,
  WebSocketHandshakeError,
} from '../../lib/http/index.ts';
import { ca, identity } from '../io/tls-support.ts';
import { inMemory } from '../support/policy.ts';
import { inRun, runTest } from '../task/support.ts';
import { failsWith, large, makeApp, tls, withProxy, withSession } from './client-support.ts';
import { withServer } from './support.ts';

describe('a route', () => {
  runTest('goes over TLS, and checks whom it talks to', () =>
    withServer(
      makeApp(),
      (url) =>
        withSession({ tls }, async (session) => {
          expect(url).toMatch(/^https:/);
          expect(await session.get(url).text()).toBe('ok');
          expect((await session.get(`${url}/large`).text()).length).toBe(large.length);
          expect(await session.get(`${url}/302`).text()).toBe('ok');
          expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
          const other = { ca, servername: 'other.test' };
          const error = await failsWith(session.get(url, { tls: other }), ClientConnectionError);
          expect(error.code).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
          expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
        }),
      { tls: identity('server') },
    ),
  );

  runTest('goes through a proxy, in the clear and by CONNECT', () =>
    withProxy((proxy, log) =>
      withServer(makeApp(), (url) =>
        withServer(
          makeApp(),
          (secure) =>
            withSession({ proxy, tls }, async (session) => {
              expect(await session.get(`${url}/slow?a=b`).text()).toBe('ok');
              expect(log[0]).toMatch(`GET ${url}/slow?a=b HTTP/1.1\r\nhost: ${url.slice(7)}`);
              expect(await session.get(secure).text()).toBe('ok');
              expect(log[1]).toMatch(`CONNECT ${secure.slice(8)} HTTP/1.1`);
              expect(log[1]).not.toMatch('accept');
              // By its address, which the certificate has, too.
              const byAddress = await session.get(secure, { tls: { ca } }).text();
              expect(byAddress).toBe('ok');
              const foreign = session.get(secure, { tls: {} });
              await failsWith(foreign, ClientConnectionError);
              const wrong = proxy.replace('u:p', 'u:x');
              const error = await failsWith(
                session.get(secure, { proxy: wrong }),
                ClientResponseError,
              );
              expect((error as ClientResponseError).status).toBe(407);
              expect((await session.get(url, { proxy: wrong })).status).toBe(407);
              expect(await session.get(url, { proxy: null }).text()).toBe('ok');
            }),
          { tls: identity('server') },
        ),
      ),
    ),
  );

  runTest(
    'goes through a proxy whatever it says about a connection that is a tunnel now',
    async () => {
      const headers = ['connection: close', 'content-length: 7', 'transfer-encoding: chunked'];
      const answers = [
        'HTTP/1.0 200 Established',
        ...headers.map((one) => `HTTP/1.1 200\r\n${one}`),
      ];
      for (const answer of answers) {
        await withProxy(
          (proxy) =>
            withServer(
              makeApp(),
              (secure) =>
                withSession({ proxy, tls }, async (session) => {
                  expect(await session.get(secure).text()).toBe('ok');
                  expect(await session.get(secure).text()).toBe('ok');
                  expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
                }),
              { tls: identity('server') },
            ),
          `${answer}\r\n\r\n`,
        );
      }
    },
  );

  runTest('follows the environment when it is trusted', () =>
    withProxy((proxy, log) =>
      withServer(makeApp(), async (url) => {
        const before = { ...process.env };
        process.env['http_proxy'] = proxy;
        try {
          await withSession({ trustEnv: true, connector: { keepAliveMs: 0 } }, async (session) => {
            expect(await session.get(url).text()).toBe('ok');
            for (const [list, count] of [
              ['127.0.0.1', 1],
              ['x.test,*', 1],
              ['.0.0.1:1', 2],
            ] as const) {
              process.env['no_proxy'] = list;
              expect(await session.get(url).text()).toBe('ok');
              expect([list, log.length]).toEqual([list, count]);
            }
          });
          await withSession({}, async (session) => void (await session.get(url).text()));
          expect(log.length).toBe(2);
        } finally {
          process.env = before;
        }
      }),
    ),
  );

  test.skipIf(inMemory)('goes over a UNIX socket', () =>
    inRun(async () => {
      const path = join(tmpdir(), `uvio-client-${process.pid}.sock`);
      await using _server = await serve(makeApp(), { path });
      await withSession({ connector: { socketPath: path } }, async (session) => {
        expect(await session.get('http://any.host/').text()).toBe('ok');
        await using socket = await session.wsConnect('ws://any.host/ws');
        await socket.send('hello');
        expect(await socket.receiveText()).toBe('hello');
      });
    }),
  );

  // covers: aiohttp/ws-connect
  runTest('becomes a WebSocket with the cookies and headers of the session', () =>
    withServer(
      new Application()
        .get('/', () => new Response('').setCookie('a', 'b'))
        .ws('/ws', async (socket, request) => {
          const cookie = request.headers.get('cookie');
          await socket.send([cookie, request.headers.get('x-a'), request.query.get('q')].join(' '));
        }),
      (url) => {
        const named = url.replace('127.0.0.1', 'localhost');
        return withSession({ baseUrl: named, headers: { 'x-a': '1' } }, async (session) => {
          await session.get('/').text();
          await using socket = await session.wsConnect('/ws', { query: { q: 2 } });
          expect(await socket.receiveText()).toBe('a=b 1 2');
          await failsWith(session.wsConnect(`${named}/none`), WebSocketHandshakeError);
          await session.get('/').text();
          expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
        });
      },
    ),
  );

  runTest('becomes a WebSocket through a proxy, and where it is redirected to', () =>
    withProxy((proxy, log) =>
      withServer(
        new Application()
          .get('/old', () => Response.redirect('/ws'))
          .ws('/ws', async (socket, request) => {
            await socket.send(request.headers.get('authorization') ?? 'nobody');
          }),
        (url) => {
          const { host } = new URL(url);
          return withSession({ proxy }, async (session) => {
            await using socket = await session.wsConnect(`ws://a:b@${host}/old`);
            expect(await socket.receiveText()).toBe('Basic YTpi');
            const first = log.map((head) => head.split(' HTTP')[0]);
            // A server does not keep a connection that was to become something else.
            expect(first).toEqual([`CONNECT ${host}`, `CONNECT ${host}`]);
            expect(log[0]).not.toMatch('websocket');
            const manual = session.wsConnect(`ws://${host}/old`, { redirect: 'manual' });
            const error = await failsWith(manual, WebSocketHandshakeError);
            expect((error as WebSocketHandshakeError).status).toBe(302);
            const nobody = { proxy: proxy.replace('u:p', 'u:x') };
            await failsWith(session.wsConnect(`ws://${host}/ws`, nobody), ClientResponseError);
          });
        },
      ),
    ),
  );
});
