/** Answers on their way out, when something is wrong with them. Run on every policy, and wire. */
import { describe, expect } from 'vitest';
import { Application, HttpError, Response } from '../../lib/http/index.ts';
import { getRunningLoop } from '../../lib/index.ts';
import { runTest } from '../task/support.ts';
import { exchangeRaw, statusesOf, withHandler, withServer } from './support.ts';

const ask = (path: string, lines = '', method = 'GET'): string =>
  `${method} ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${lines}\r\n`;

runTest('a slash in the query of an absolute target is no path', () => {
  const app = new Application()
    .get('/', (request) => new Response(`root ${request.path} ${request.query.get('q')}`))
    .get('/admin', () => new Response('admin'));
  return withServer(app, async (_url, server) => {
    expect(await exchangeRaw(server.port, ask('http://a?q=/admin'))).toMatch(/root \/ \/admin$/);
    expect(await exchangeRaw(server.port, ask('http://a/admin?q=/'))).toMatch(/admin$/);
  });
});

describe('a response that cannot be sent', () => {
  const changed = (change: (response: Response) => void) => (): Response => {
    const response = new Response('x');
    change(response);
    return response;
  };
  const locked = (): Response => {
    const stream = new ReadableStream<Uint8Array>();
    stream.getReader();
    return new Response(stream as never);
  };
  const cases: [string, () => unknown][] = [
    ['the error of the Web, which has no status', () => globalThis.Response.error()],
    ['a status that was set out of range', changed((response) => (response.status = 1000))],
    ['an interim status', changed((response) => (response.status = 100))],
    [
      'a status with a line end',
      changed((response) => (response.status = '200 OK\r\nx-evil: 1' as never)),
    ],
    ['a reason with a line end', changed((response) => (response.statusText = 'a\r\nx-evil: 1'))],
    ['a stream that is read elsewhere', locked],
  ];
  for (const [what, handler] of cases) {
    runTest(`is a 500: ${what}`, () => {
      getRunningLoop().setExceptionHandler(() => {});
      return withHandler(handler as never, async (_url, server) => {
        const answer = await exchangeRaw(server.port, ask('/'));
        expect(statusesOf(answer)).toEqual([500]);
        expect(answer).not.toContain('x-evil');
      });
    });
  }

  const thrower = (): Application =>
    new Application().get('/', () => {
      throw new Error('of the handler');
    });
  const hooked = (error: Error): Application =>
    new Application()
      .get('/', () => new Response('x'))
      .onResponse(() => {
        throw error;
      });
  const applications: [string, () => Application, number][] = [
    [
      'of an error handler that returns none',
      () => thrower().onError(() => undefined as never),
      500,
    ],
    ['of a hook that throws', () => hooked(new Error('of the hook')), 500],
    ['of a hook that throws an HttpError', () => hooked(new HttpError(403)), 403],
  ];
  for (const [what, make, status] of applications) {
    runTest(`is a ${status}: ${what}`, () => {
      getRunningLoop().setExceptionHandler(() => {});
      return withServer(make(), async (_url, server) => {
        expect(statusesOf(await exchangeRaw(server.port, ask('/')))).toEqual([status]);
      });
    });
  }
});

describe('what was not modified', () => {
  const cases: [string, Record<string, string>, string | null][] = [
    ['has no length when none is known', {}, null],
    ['has the length that the handler knows', { 'content-length': '77' }, '77'],
  ];
  for (const [what, headers, length] of cases) {
    runTest(what, () =>
      withHandler(
        () => new Response(null, { status: 304, headers }),
        async (_url, server) => {
          const answer = await exchangeRaw(server.port, ask('/'));
          expect(/content-length: (\d+)/i.exec(answer)?.[1] ?? null).toBe(length);
        },
      ),
    );
  }
});

describe('the connection after', () => {
  const stream = async function* (): AsyncGenerator<string> {
    yield 'a';
    yield 'b';
  };
  const old = (method: string, path: string, connection = 'keep-alive'): string =>
    `${method} ${path} HTTP/1.0\r\nConnection: ${connection}\r\n\r\n`;
  const early =
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc';
  const unread =
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n';
  const cases: [string, string, number][] = [
    ['204 to HTTP/1.0 is kept', old('GET', '/204'), 2],
    ['304 to HTTP/1.0 is kept', old('GET', '/304'), 2],
    ['a stream to HEAD of HTTP/1.0 is kept', old('HEAD', '/stream'), 2],
    ['a stream to HTTP/1.0 is closed', old('GET', '/stream'), 1],
    ['both options of HTTP/1.0 is closed', old('GET', '/', 'close, keep-alive'), 1],
    ['a chunked body that nobody read is kept', unread, 2],
    ['an answer before 100 Continue is closed, also when the body came', early, 1],
  ];
  for (const [what, request, answers] of cases) {
    runTest(what, () =>
      withHandler(
        ({ path }) => {
          if (path === '/stream') return new Response(stream());
          return path === '/'
            ? new Response('x')
            : new Response(null, { status: Number(path.slice(1)) });
        },
        async (_url, server) => {
          const answer = await exchangeRaw(server.port, `${request}${ask('/')}`);
          expect(statusesOf(answer)).toHaveLength(answers);
        },
      ),
    );
  }

  runTest('HEAD says how the body would be framed', () =>
    withHandler(
      () => new Response(stream()),
      async (_url, server) => {
        const answer = await exchangeRaw(server.port, ask('/', '', 'HEAD'));
        expect(answer).toMatch(/transfer-encoding: chunked\r\n/i);
        expect(answer).toMatch(/\r\n\r\n$/);
      },
    ),
  );
});

// Node's parser loses what came with it.
runTest('a request behind one that asks for another protocol is answered, or not begun', () =>
  withHandler(
    ({ path }) => new Response(path),
    async (_url, server) => {
      const upgrade = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n';
      const answer = await exchangeRaw(server.port, `${upgrade}${ask('/2')}`);
      expect(answer.endsWith('/2') || /connection: close\r\n/i.test(answer)).toBe(true);
    },
  ),
);

describe('a method that the Web does not know', () => {
  runTest('is a 501 where its Request is needed', () =>
    withServer(
      { fetch: (request) => new globalThis.Response(request.method), webRequest: true },
      async (_url, server) => {
        expect(statusesOf(await exchangeRaw(server.port, ask('/', '', 'TRACE')))).toEqual([501]);
      },
    ),
  );
});

runTest('the access log counts what is sent', async () => {
  const log: unknown[] = [];
  await withHandler(
    () => new Response('hello'),
    async (_url, server) => {
      for (const method of ['GET', 'HEAD']) await exchangeRaw(server.port, ask('/', '', method));
    },
    { accessLog: ({ method, bytes }) => log.push([method, bytes]) },
  );
  expect(log).toEqual([
    ['GET', 5],
    ['HEAD', 0],
  ]);
});

runTest('a head of exactly as many bytes as are allowed passes, and no more', async () => {
  const headOf = (bytes: number): string => {
    const head = ask('/', 'X: ');
    return head.replace('X: ', `X: ${'y'.repeat(bytes - head.length - 2)}\r\n`);
  };
  await withHandler(
    () => new Response('x'),
    async (_url, server) => {
      for (const [bytes, status] of [
        [1000, 200],
        [1001, 431],
        [1002, 431],
      ] as const) {
        expect(headOf(bytes)).toHaveLength(bytes);
        expect(statusesOf(await exchangeRaw(server.port, headOf(bytes)))).toEqual([status]);
      }
    },
    { maxHeaderBytes: 1000 },
  );
});
