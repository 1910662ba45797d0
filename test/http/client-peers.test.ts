/** The client with servers that are not of uvio, and in the examples of the seeds. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createGzip } from 'node:zlib';
import { describe, expect, vi } from 'vitest';
import * as e02 from '../../examples/seeds/e02-three-urls.ts';
import * as e15 from '../../examples/seeds/e15-errors-of-a-request.ts';
import * as e21 from '../../examples/seeds/e21-five-urls.ts';
import * as e32 from '../../examples/seeds/e32-first-characters.ts';
import * as x02 from '../../examples/seeds/x02-scrape.ts';
import * as x04 from '../../examples/seeds/x04-many-apis.ts';
import { Application, ClientSession, Response } from '../../lib/http/index.ts';
import { Barrier, CancelledError, createTask, sleep } from '../../lib/index.ts';
import { failure, realTimeTest, runTest } from '../task/support.ts';
import { withSession } from './client-support.ts';
import { withServer } from './support.ts';

async function withNode(
  listener: RequestListener,
  test: (url: string, server: Server) => unknown,
  keepAliveTimeout: number = 5_000,
): Promise<void> {
  const server = createServer({ keepAliveTimeout }, listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await test(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, server);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

describe('node:http as the server', () => {
  realTimeTest('takes all kinds of bodies, and sends all kinds', () =>
    withNode(
      (request, response) => {
        if (request.url === '/gzip') {
          response.setHeader('content-encoding', 'gzip');
          const gzip = createGzip();
          gzip.pipe(response);
          request.pipe(gzip);
          return;
        }
        request.pipe(response);
      },
      (url) =>
        withSession({}, async (session) => {
          const text = 'uvio '.repeat(50_000);
          async function* parts(): AsyncGenerator<string> {
            for (let i = 0; i < 50; i++) yield 'uvio '.repeat(1_000);
          }
          for (const path of ['/', '/gzip']) {
            for (const body of [text, parts(), new Blob([text])]) {
              expect(await session.post(url + path, { body }).text()).toBe(text);
            }
          }
          const head = { body: text, expectContinue: true };
          expect(await session.put(url, head).text()).toBe(text);
          expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
        }),
    ),
  );

  realTimeTest('may close kept connections at any time', () =>
    withNode(
      (_request, response) => response.end('ok'),
      (url, server) =>
        withSession({}, async (session) => {
          for (let i = 0; i < 10; i++) {
            expect(await session.get(url).text()).toBe('ok');
            if (i % 3 === 0) server.closeIdleConnections();
            await sleep(i);
          }
          expect(session.connector.stats().open).toBeLessThanOrEqual(1);
        }),
    ),
  );
});

/** What is printed meanwhile. */
async function printed(work: () => Promise<unknown>): Promise<unknown[]> {
  const lines: unknown[] = [];
  const log = vi.spyOn(console, 'log').mockImplementation((line) => void lines.push(line));
  try {
    await work();
  } finally {
    log.mockRestore();
  }
  return lines;
}

describe('examples', () => {
  /** @param together of the first requests, each waits for the others */
  const makeApp = (together = 0): Application => {
    const first = new Barrier(Math.max(together, 1));
    let count = 0;
    return new Application()
      .get('/slow', async () => {
        await sleep(10_000);
        return new Response('late');
      })
      .get('/:letter', async (request) => {
        if (++count <= together) await first.wait();
        else await sleep(20);
        return new Response(request.params.letter.repeat(150));
      });
  };

  runTest('E2 and E32 fetch three URLs at once', () =>
    withServer(makeApp(3), async (url) => {
      const urls = ['a', 'b', 'c'].map((letter) => `${url}/${letter}`);
      const lines = await printed(() => e02.main(urls));
      expect(lines).toEqual(Array(3).fill('Fetched 150 characters'));
      const sizes = await printed(() => e21.main(urls));
      expect(sizes.slice(0, -1)).toEqual(urls.map((each) => `${each}: 150 characters`));
      expect(sizes.at(-1)).toMatch(/^Took \d+\.\d seconds$/);
      const firsts = await printed(() => e32.main(urls));
      expect(firsts).toEqual(['a', 'b', 'c'].map((letter) => letter.repeat(100)));
    }),
  );

  runTest('X2 scrapes pages, five of a host at a time, titles in order; X4 merges answers', () => {
    let busy = 0;
    let most = 0;
    const app = new Application()
      .get('/page/:n', async (request) => {
        most = Math.max(most, ++busy);
        await sleep(5);
        busy--;
        return new Response(`<html><title>Page ${request.params.n}</title></html>`);
      })
      .get('/api/:name', (request) => Response.json({ [request.params.name]: true }));
    return withServer(app, async (url) => {
      const numbers = Array.from({ length: 30 }, (_, n) => n);
      const lines = await printed(() => x02.main(numbers.map((n) => `${url}/page/${n}`)));
      expect(lines).toEqual(numbers.map((n) => `Page ${n}`));
      expect(most).toBe(5);
      const merged = await printed(() => x04.main(['a', 'b'].map((name) => `${url}/api/${name}`)));
      expect(merged).toEqual(['{"a":true,"b":true}']);
    });
  });

  runTest('E15 tells what went wrong, and lets a cancellation through', () =>
    withServer(
      makeApp(),
      (url) =>
        withSession({}, async (session) => {
          const lines = await printed(async () => {
            expect(await e15.fetchOrNull(session, `${url}/slow`, 20)).toBe(null);
            expect(await e15.fetchOrNull(session, `${url}/a/b`)).toBe(null);
            expect(await e15.fetchOrNull(session, `${url}/a`)).toBe('a'.repeat(150));
          });
          expect(lines).toEqual([
            `Timed out: ${url}/slow`,
            `Client error: ${url}/a/b answers 404 Not Found`,
          ]);
          const task = createTask(() => e15.fetchOrNull(session, `${url}/slow`));
          await sleep(20);
          task.cancel();
          expect(await failure(task)).toBeInstanceOf(CancelledError);
        }),
      { handlerCancellation: true, shutdownTimeoutMs: 0 },
    ),
  );
});

// covers: seeds/C44
runTest('a service that calls another one ends the call when its client is gone', async () => {
  let began = false;
  let ended = '';
  const below = new Application().get('/', async () => {
    began = true;
    try {
      await sleep(10_000);
    } catch (error) {
      ended = (error as Error).name;
      throw error;
    }
    return new Response('late');
  });
  const options = { handlerCancellation: true, shutdownTimeoutMs: 0 };
  const belowServed = (url: string): Promise<void> =>
    withSession({}, async (inner) => {
      const above = new Application().get('/', async (request) => {
        return new Response(await inner.get(url, { signal: request.signal }).text());
      });
      await withServer(
        above,
        async (front) => {
          await using session = new ClientSession();
          const task = createTask(() => session.get(front).text());
          while (!began) await sleep(1);
          await task.cancelAndWait();
          while (ended === '') await sleep(1);
          expect(ended).toBe('CancelledError');
          expect(inner.connector.stats().open).toBe(0);
        },
        options,
      );
    });
  await withServer(below, belowServed, options);
});
