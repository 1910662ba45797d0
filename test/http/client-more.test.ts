import { describe, expect, test } from 'vitest';
import { retryAfterMs } from '../../lib/http/client/retry.ts';
import {
  Application,
  ClientConnectionError,
  type ClientMiddleware,
  ClientResponseError,
  type ClientSession,
  ClientTimeoutError,
  CookieJar,
  type HttpRequest,
  InvalidUrlError,
  Response,
  TooManyRedirectsError,
} from '../../lib/http/index.ts';
import { createTask, RateLimiter, sleep, TimeoutError, timeout } from '../../lib/index.ts';
import { failure, runTest } from '../task/support.ts';
import { echo, failsWith, ok, withRaw, withSession } from './client-support.ts';
import { withHandler, withServer } from './support.ts';

describe('a redirect', () => {
  const app = (): Application =>
    new Application()
      .route('*', '/to/:status', async (request) => {
        await request.text();
        const to = request.query.get('to') ?? '/end';
        return Response.redirect(to, Number(request.params.status));
      })
      .get('/loop', () => Response.redirect('/loop'))
      .get('/bad', () => new Response(null, { status: 302, headers: { location: 'ftp://x/' } }))
      .get('/none', () => new Response('none', { status: 302 }))
      .route('*', '/end', echo);

  runTest('keeps the method or turns it into GET as RFC 9110 says', () =>
    withServer(app(), (url) =>
      withSession({}, async (session) => {
        const cases: [number, string, string, string][] = [
          [301, 'POST', 'GET', ''],
          [302, 'POST', 'GET', ''],
          [303, 'POST', 'GET', ''],
          [303, 'PUT', 'GET', ''],
          [302, 'PUT', 'PUT', 'x'],
          [307, 'POST', 'POST', 'x'],
          [308, 'POST', 'POST', 'x'],
        ];
        for (const [status, method, then, body] of cases) {
          const response = await session.request(method, `${url}/to/${status}`, { body: 'x' });
          expect(response.history.map((one) => one.status)).toEqual([status]);
          expect([response.redirected, response.url]).toEqual([true, `${url}/end`]);
          const told = await response.json();
          expect([status, told.method, told.body]).toEqual([status, then, body]);
          if (then === 'GET') expect(told.headers['content-type']).toBe(undefined);
        }
        expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
      }),
    ),
  );

  runTest('is followed as often as it is allowed, or not', () =>
    withServer(app(), (url) =>
      withSession({}, async (session) => {
        const error = await failsWith(
          session.get(`${url}/loop`, { maxRedirects: 3 }),
          TooManyRedirectsError,
        );
        expect((error as TooManyRedirectsError).history.length).toBe(3);
        await failsWith(session.get(`${url}/loop`, { maxRedirects: 0 }), TooManyRedirectsError);
        await failsWith(session.get(`${url}/loop`, { redirect: 'error' }), ClientResponseError);
        expect((await session.get(`${url}/loop`, { redirect: 'manual' })).status).toBe(302);
        await failsWith(session.get(`${url}/bad`), InvalidUrlError);
        expect(await session.get(`${url}/none`).text()).toBe('none');
        const stream = {
          body: async (w: { write(data: string): unknown }): Promise<void> =>
            void (await w.write('x')),
        };
        await failsWith(session.post(`${url}/to/307`, stream), ClientResponseError);
      }),
    ),
  );

  // CVE-2023-45143, CVE-2024-24758, CVE-2024-30260
  runTest('to another origin takes no credentials along', () =>
    withServer(app(), (url) =>
      withHandler(echo, (other) =>
        withSession({ auth: { bearer: 'secret' } }, async (session) => {
          const options = {
            headers: { cookie: 'a=b', 'proxy-authorization': 'x', 'x-kept': '1' },
            cookies: { c: 'd' },
          };
          const target = `${url}/to/302?to=${encodeURIComponent(`${other}/end`)}`;
          const told = await session.get(target, options).json();
          expect(told.headers).toMatchObject({ 'x-kept': '1', host: other.slice(7) });
          for (const name of ['authorization', 'cookie', 'proxy-authorization']) {
            expect(told.headers[name]).toBe(undefined);
          }
          const same = await session.get(`${url}/to/302`, options).json();
          expect(same.headers).toMatchObject({
            authorization: 'Bearer secret',
            cookie: 'a=b; c=d',
          });
        }),
      ),
    ),
  );
});

// covers: aiohttp/cookiejar
describe('cookies', () => {
  runTest('are kept, sent back, and given to their site and path only', () =>
    withServer(
      new Application()
        .get('/set', () =>
          new Response('').setCookie('a', '1').setCookie('b', '2', { path: '/deep' }),
        )
        .get('/*', echo),
      (url) =>
        withSession({ cookieJar: new CookieJar({ unsafe: true }) }, async (session) => {
          const cookie = async (path: string, options = {}): Promise<string | undefined> =>
            (await session.get(url + path, options).json()).headers.cookie;
          expect(await cookie('/x')).toBe(undefined);
          await session.get(`${url}/set`).text();
          expect(await cookie('/set2')).toBe('a=1');
          expect(await cookie('/deep/x')).toBe('b=2; a=1');
          expect(await cookie('/x', { cookies: { own: '3' } })).toBe('a=1; own=3');
          const copy = CookieJar.fromJSON(JSON.parse(JSON.stringify(session.cookieJar)));
          expect(copy.get(`${url}/deep/`)).toBe('b=2; a=1');
          session.cookieJar?.clear((one) => one.name === 'a');
          expect(await cookie('/deep/')).toBe('b=2');
          session.cookieJar?.clear();
          expect(await cookie('/deep/')).toBe(undefined);
        }),
    ),
  );

  runTest('of a jar follow RFC 6265', () => {
    const jar = new CookieJar();
    jar.set('a=1; Domain=example.com', 'https://www.example.com/');
    jar.set('b=2; Secure', 'https://www.example.com/');
    jar.set('c=3; Domain=other.org', 'https://www.example.com/');
    jar.set('d=4; Domain=com', 'https://www.example.com/');
    jar.set('e=5', 'http://127.0.0.1/');
    jar.set(`f=${'x'.repeat(9000)}`, 'https://www.example.com/');
    jar.set('nonsense', 'https://www.example.com/');
    expect(jar.get('https://www.example.com/')).toBe('a=1; b=2');
    expect(jar.get('http://example.com/')).toBe('a=1');
    expect(jar.get('http://other.org/')).toBe('');
    expect(jar.get('http://127.0.0.1/')).toBe('');
    expect(() => CookieJar.fromJSON({})).toThrow(TypeError);
  });

  test('that TLS has set are not replaced without it, and odd ones are dropped', () => {
    const jar = new CookieJar();
    const secure = 'https://www.example.com/';
    jar.set('a=1; Secure; Domain=example.com', secure);
    jar.set('b=1', secure);
    for (const line of ['a=2', 'a=3; Domain=example.com', 'a=4; Path=/deep', 'b=2', 'c=2']) {
      jar.set(line, 'http://www.example.com/');
    }
    expect(jar.get(`${secure}deep/`)).toBe('a=1; b=2; c=2');
    expect(jar.get('http://www.example.com/')).toBe('b=2; c=2');
    jar.set('a=5', secure);
    jar.set('a=2; Path=/', 'http://other.org/');
    expect(jar.get('http://other.org/')).toBe('a=2');
    expect(jar.get(secure)).toBe('a=1; b=2; c=2; a=5');
    jar.clear();
    // What no header can hold would make each later request fail.
    for (const line of ['a=\u2603', '\u2603=a', '__host-a=1; Path=/', '__SECURE-a=1']) {
      jar.set(line, secure);
    }
    expect(jar.get(secure)).toBe('');
    jar.set('__host-a=1; Path=/; Secure', secure);
    jar.set('__SECURE-a=1; Secure', secure);
    expect(jar.get(secure)).toBe('__host-a=1; __SECURE-a=1');
  });

  test('are not kept without bound: those that were used last are', () => {
    const jar = new CookieJar();
    jar.set('other=1', 'https://other.org/');
    for (let i = 0; i < 2_000; i++) jar.set(`c${i}=1; Path=/a${i % 2}`, 'https://example.com/');
    const count = (url: string): number => jar.get(url).split('; ').length;
    expect(count('https://example.com/a0') + count('https://example.com/a1')).toBeLessThan(250);
    expect(jar.get('https://example.com/a1')).toContain('c1999=1');
    expect(jar.get('https://other.org/')).toBe('other=1');
    for (let i = 0; i < 4_000; i++) jar.set('c=1', `https://h${i}.example.com/`);
    expect((jar.toJSON() as { cookies: unknown[] }).cookies.length).toBeLessThan(3_100);
    const copy = CookieJar.fromJSON(jar.toJSON());
    expect(copy.get('https://h3999.example.com/')).toBe('c=1');
    for (let i = 0; i < 200; i++) copy.set(`d${i}=1; Max-Age=0`, 'https://example.com/');
    expect(copy.get('https://h3999.example.com/')).toBe('c=1');
  });
});

// covers: aiohttp/clienttimeout
describe('a time limit', () => {
  const slow = async (request: HttpRequest): Promise<Response> => {
    if (request.path === '/head') await sleep(5_000);
    return new Response(async (writer) => {
      await writer.write('first');
      await sleep(5_000);
    });
  };
  const withSlow = (test: (session: ClientSession, url: string) => unknown): Promise<void> =>
    withHandler(slow, (url) => withSession({}, (session) => test(session, url)), {
      handlerCancellation: true,
      shutdownTimeoutMs: 0,
    });

  runTest('counts for the whole request, its body included', () =>
    withSlow(async (session, url) => {
      for (const path of ['/head', '/body']) {
        const error = await failsWith(
          session.get(url + path, { timeoutMs: 30 }).text(),
          ClientTimeoutError,
        );
        expect([(error as ClientTimeoutError).phase, error instanceof TimeoutError]).toEqual([
          'total',
          true,
        ]);
      }
      expect(session.connector.stats().open).toBe(0);
    }),
  );

  runTest('counts between two reads', () =>
    withSlow(async (session, url) => {
      for (const path of ['/head', '/body']) {
        const error = await failsWith(
          session.get(url + path, { timeout: { readMs: 30 } }).text(),
          ClientTimeoutError,
        );
        expect((error as ClientTimeoutError).phase).toBe('read');
      }
    }),
  );

  runTest('counts for the wait for a connection', () =>
    withHandler(
      slow,
      (url) =>
        withSession({ connector: { limit: 1 } }, async (session) => {
          const first = session.get(`${url}/body`);
          await using _held = await first;
          const error = await failsWith(
            session.get(url, { timeout: { connectMs: 20 } }),
            ClientTimeoutError,
          );
          expect((error as ClientTimeoutError).phase).toBe('connect');
          const total = await failsWith(session.get(url, { timeoutMs: 20 }), ClientTimeoutError);
          expect((total as ClientTimeoutError).phase).toBe('total');
          expect(session.connector.stats()).toEqual({ open: 1, idle: 0, waiting: 0 });
        }),
      { handlerCancellation: true, shutdownTimeoutMs: 0 },
    ),
  );

  runTest('of the task around cancels the request', () =>
    withSlow(async (session, url) => {
      await failsWith(
        timeout(20, () => session.get(`${url}/head`)),
        TimeoutError,
      );
      expect(session.connector.stats().open).toBe(0);
      const controller = new AbortController();
      const { signal } = controller;
      const response = await session.get(`${url}/body`, { signal });
      const reading = failure(response.text());
      controller.abort(new Error('enough'));
      expect((await reading).message).toBe('enough');
      expect((await failure(session.get(url, { signal }))).message).toBe('enough');
    }),
  );
});

// covers: aiohttp/client-middlewares
describe('middlewares, retries and tracing', () => {
  runTest('wrap each request, redirects included', () =>
    withServer(
      new Application().get('/a', () => Response.redirect('/b')).get('/b', echo),
      async (url) => {
        const seen: string[] = [];
        const limiter = new RateLimiter({ rate: 100 });
        const log: ClientMiddleware = async (request, next) => {
          request.headers.set('x-log', '1');
          const response = await next(request);
          seen.push(`${request.url.pathname} ${response.status}`);
          return response;
        };
        const limited: ClientMiddleware = async (request, next) => {
          await limiter.acquire();
          return await next(request);
        };
        await withSession({ middlewares: [log, limited] }, async (session) => {
          expect((await session.get(`${url}/a`).json()).headers['x-log']).toBe('1');
          expect(seen).toEqual(['/a 302', '/b 200']);
          const late: ClientMiddleware = async (request, next) => {
            await sleep(1_000);
            return await next(request);
          };
          await failsWith(
            session.get(url, { middlewares: [late], timeoutMs: 10 }),
            ClientTimeoutError,
          );
        });
      },
    ),
  );

  runTest('try again what may be tried again', async () => {
    let count = 0;
    const answer = (): unknown => {
      count++;
      if (count === 1) return null;
      if (count === 2) return 'HTTP/1.1 503 X\r\nretry-after: 0\r\ncontent-length: 1\r\n\r\nx';
      return ok;
    };
    await withRaw(answer, (url) =>
      withSession({ retry: { attempts: 3, delayMs: 1 } }, async (session) => {
        expect(await session.get(url).text()).toBe('ok');
        expect(count).toBe(3);
        count = 0;
        await failsWith(session.post(url), ClientConnectionError);
        expect(count).toBe(1);
        count = 1;
        expect((await session.get(url, { retry: false })).status).toBe(503);
        count = 1;
        expect((await session.get(url, { retry: 1 })).status).toBe(503);
      }),
    );
  });

  test('wait as long as Retry-After says, if it says something', () => {
    const at = Date.parse('Fri, 31 Dec 1999 23:59:59 GMT') - 5_000;
    for (const [header, ms] of [
      ['3', 3_000],
      ['0', 0],
      ['99999999999', 99_999_999_999_000],
      ['Fri, 31 Dec 1999 23:59:59 GMT', 5_000],
      ['Friday, 31-Dec-99 23:59:59 GMT', 5_000],
      ['Fri Dec 31 23:59:59 1999', 5_000],
      ['Fri, 31 Dec 1999 23:59:00 GMT', 0],
    ] as const) {
      expect(retryAfterMs(header, at), header).toBe(ms);
    }
    // V8 takes each of them for a day that is long past.
    for (const header of ['1.5', '-5', '+3', '3, 4', '0x3', '', 'soon', '2099-01-01']) {
      expect(retryAfterMs(header, at), header).toBe(null);
    }
    expect(retryAfterMs(null, at)).toBe(null);
  });

  runTest('wait no longer than their signal', () =>
    withHandler(
      () => new Response('later', { status: 503, headers: { 'retry-after': '20' } }),
      (url) =>
        withSession({ retry: 3 }, async (session) => {
          const controller = new AbortController();
          const { signal } = controller;
          const waiting = createTask(() => timeout(5_000, () => session.get(url, { signal })));
          while (session.connector.stats().idle === 0) await sleep(1);
          const reason = new Error('enough');
          controller.abort(reason);
          expect(await failure(waiting)).toBe(reason);
        }),
    ),
  );

  runTest('tell what happens', () =>
    withServer(
      new Application().get('/a', () => Response.redirect('/b')).get('/b', echo),
      async (url) => {
        const seen: string[] = [];
        const names = [
          'requestStart',
          'requestEnd',
          'requestError',
          'redirect',
          'connectionQueued',
          'connectionCreated',
          'connectionReused',
        ];
        const hooks = Object.fromEntries(
          names.map((name) => [name, (): void => void seen.push(name)]),
        );
        await withSession({ trace: [hooks], connector: { limit: 1 } }, async (session) => {
          await session.get(`${url}/a`).text();
          expect(seen).toEqual([
            'requestStart',
            'connectionCreated',
            'redirect',
            'connectionReused',
            'requestEnd',
          ]);
          seen.length = 0;
          await failure(session.get('http://127.0.0.1:1/'));
          expect(seen).toEqual(['requestStart', 'requestError']);
        });
      },
    ),
  );
});

// covers: aiohttp/error-tree
runTest('a server that is not there is a ClientConnectionError', () =>
  withSession({}, async (session) => {
    const error = await failsWith(session.get('http://127.0.0.1:1/'), ClientConnectionError);
    expect(error).toMatchObject({ code: 'ECONNREFUSED', host: '127.0.0.1', port: 1 });
    await expectNothingOpen(session);
  }),
);

function expectNothingOpen(session: ClientSession): void {
  expect(session.connector.stats()).toEqual({ open: 0, idle: 0, waiting: 0 });
}
