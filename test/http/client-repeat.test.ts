/** Requests that are made again: their plan, their head and the response's are kept from before. */
import { describe, expect } from 'vitest';
import { createTask, sleep } from '../../lib/index.ts';
import { failure, runTest } from '../task/support.ts';
import { ok, withRaw, withSession } from './client-support.ts';

const head = (...lines: string[]): string => `HTTP/1.1 200 OK\r\n${lines.join('\r\n')}\r\n\r\n`;

const times = async (count: number, act: () => Promise<unknown>): Promise<unknown[]> => {
  const found: unknown[] = [];
  for (let i = 0; i < count; i++) found.push(await act());
  return found;
};

describe('a request that repeats', () => {
  runTest('is the same on the wire, and each has its own answer', () => {
    let count = 0;
    const answer = (): string => `${head('content-length: 1', 'x-same: 1')}${count++}`;
    return withRaw(answer, (url, log) =>
      withSession({ headers: { 'x-mine': 'a' } }, async (session) => {
        expect(await times(4, () => session.get(`${url}/a?b=1`).text())).toEqual([...'0123']);
        expect(new Set(log).size).toBe(1);
        expect(log[0]).toMatch(/^GET \/a\?b=1 HTTP\/1\.1\r\n/);
        expect(log[0]).toContain('\r\nx-mine: a\r\n');
      }),
    );
  });

  runTest('may be answered otherwise each time', () => {
    const bodies = ['', 'a', 'bb', 'a', 'ccc'];
    let next = 0;
    const answer = (): string => {
      const body = bodies[next++ % bodies.length] as string;
      return `${head(`content-length: ${body.length}`)}${body}`;
    };
    return withRaw(answer, (url) =>
      withSession({}, async (session) => {
        expect(await times(10, () => session.get(url).text())).toEqual([...bodies, ...bodies]);
      }),
    );
  });

  runTest('headers that were changed in one response are not changed in the next', () =>
    withRaw(
      () => `${head('content-length: 2', 'x-a: 1')}ok`,
      (url) =>
        withSession({}, async (session) => {
          for (let i = 0; i < 3; i++) {
            const response = await session.get(url);
            expect(response.headers.get('x-a')).toBe('1');
            response.headers.set('x-a', 'changed');
            expect(await response.text()).toBe('ok');
          }
        }),
    ),
  );

  runTest('of another method has no body where that has none', () =>
    withRaw(
      (request) => (request.startsWith('HEAD') ? head('content-length: 2') : ok),
      (url) =>
        withSession({}, async (session) => {
          for (let i = 0; i < 3; i++) {
            expect(await session.get(url).text()).toBe('ok');
            expect(await (await session.head(url)).text()).toBe('');
          }
        }),
    ),
  );

  runTest('is redirected again', () =>
    withRaw(
      (request) =>
        request.startsWith('GET /from')
          ? 'HTTP/1.1 302 Found\r\nlocation: /to\r\ncontent-length: 0\r\n\r\n'
          : ok,
      (url, log) =>
        withSession({}, async (session) => {
          for (let i = 0; i < 3; i++) {
            const response = await session.get(`${url}/from`);
            expect([response.url, response.history.length]).toEqual([`${url}/to`, 1]);
            expect(await response.text()).toBe('ok');
          }
          expect(log.length).toBe(6);
        }),
    ),
  );

  runTest('sends a cookie that came in between, and no longer one that ended', () => {
    const lines = ['x-a: 1', 'set-cookie: k=v', 'x-a: 1', 'set-cookie: k=v; max-age=0', 'x-a: 1'];
    let next = 0;
    return withRaw(
      () => `${head('content-length: 2', lines[next++] ?? 'x-a: 1')}ok`,
      (url, log) =>
        withSession({}, async (session) => {
          // An address would get no cookies.
          const named = url.replace('127.0.0.1', 'localhost');
          await times(6, () => session.get(named).text());
          const sent = log.map((request) => /cookie: (.*)\r/.exec(request)?.[1] ?? null);
          expect(sent).toEqual([null, null, 'k=v', 'k=v', null, null]);
        }),
    );
  });

  runTest('over a connection that was closed meanwhile is sent by another', () => {
    let count = 0;
    return withRaw(
      async (_request, connection) => {
        if (++count % 2 === 1) return ok;
        // The answer to every second one is the end of the connection.
        await connection.close();
        return null;
      },
      (url) =>
        withSession({}, async (session) => {
          expect(await times(5, () => session.get(url).text())).toEqual(Array(5).fill('ok'));
          expect(session.connector.stats().waiting).toBe(0);
        }),
    );
  });

  runTest('is cancelled while it waits, and the next one is right', () =>
    withRaw(
      async (request) => {
        if (request.includes('x-slow')) await sleep(60_000);
        return ok;
      },
      (url) =>
        withSession({}, async (session) => {
          await times(2, () => session.get(url).text());
          const task = createTask(() => session.get(url, { headers: { 'x-slow': '1' } }).text());
          await sleep(5);
          await task.cancelAndWait();
          const again = createTask(() => session.get(url).text());
          again.cancel();
          await again.wait();
          expect(await times(2, () => session.get(url).text())).toEqual(['ok', 'ok']);
          expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
        }),
    ),
  );

  runTest('has its whole time limit each time', () => {
    let count = 0;
    return withRaw(
      async () => {
        if (++count === 4) await sleep(60_000);
        await sleep(15);
        return ok;
      },
      (url) =>
        withSession({ timeoutMs: 400 }, async (session) => {
          await times(3, () => session.get(url).text());
          await sleep(350);
          expect((await failure(session.get(url).text())).name).toBe('ClientTimeoutError');
          expect(await session.get(url).text()).toBe('ok');
        }),
    );
  });

  runTest('to many addresses: those kept make room for others', () =>
    withRaw(
      (request) => {
        const path = request.split(' ', 2)[1] as string;
        return `${head(`content-length: ${path.length}`)}${path}`;
      },
      (url) =>
        withSession({}, async (session) => {
          for (let i = 0; i < 400; i++) {
            const path = `/${i % 130}`;
            expect(await session.get(`${url}${path}`).text()).toBe(path);
          }
        }),
    ),
  );

  runTest('takes no null for its options, and no change of the session’s', () =>
    withRaw(
      () => 'HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nok',
      async (url) => {
        const options = { raiseForStatus: true };
        await withSession(options, async (session) => {
          options.raiseForStatus = false;
          for (let i = 0; i < 3; i++) {
            expect((await failure(session.get(url, null as never))).name).toBe('TypeError');
            expect((await failure(session.get(url))).name).toBe('ClientResponseError');
            expect((await failure(session.get(url, {}))).name).toBe('ClientResponseError');
          }
        });
      },
    ),
  );
});
