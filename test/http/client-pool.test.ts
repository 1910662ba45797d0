/** The connections of the client: limits, order, reuse. */
import { describe, expect, test } from 'vitest';
import { ClientSession, Connector, ServerDisconnectedError } from '../../lib/http/index.ts';
import {
  CancelledError,
  ClosedResourceError,
  createTask,
  gather,
  InvalidStateError,
  run,
  sleep,
} from '../../lib/index.ts';
import { testPolicy } from '../support/policy.ts';
import { inRun, runTest, virtualTest } from '../task/support.ts';
import { failsWith, makeApp, ok, withRaw, withSession } from './client-support.ts';
import { withServer } from './support.ts';

// covers: aiohttp/tcpconnector, seeds/C9, seeds/C35
describe('the pool', () => {
  runTest('opens no more connections than its limits, and serves in order', () =>
    withServer(makeApp(), async (url, server) => {
      for (const limit of [3, 1]) {
        await withSession({ connector: { limit } }, async (session) => {
          const order: number[] = [];
          let most = 0;
          const get = async (i: number): Promise<void> => {
            await session.get(`${url}/slow`).text();
            most = Math.max(most, session.connector.stats().open);
            order.push(i);
          };
          const all = Array.from({ length: 8 }, (_, i) => i);
          const work = gather(...all.map((i) => () => get(i)));
          await sleep(0);
          expect(session.connector.stats().waiting).toBe(8 - limit);
          await work;
          expect(most).toBe(limit);
          // Several connections may overtake one another.
          expect(limit === 1 ? order : [...order].sort()).toEqual(all);
          expect(session.connector.stats()).toEqual({ open: limit, idle: limit, waiting: 0 });
          expect(server.connections).toBeGreaterThanOrEqual(limit);
        });
      }
    }),
  );

  runTest('has a limit per host, which holds back no other host', () =>
    withServer(makeApp(), (url) =>
      withServer(makeApp(), (other) =>
        withSession({ connector: { limit: 4, limitPerHost: 1 } }, async (session) => {
          const first = await session.get(`${url}/large`);
          const second = session.get(url).text();
          await sleep(1);
          expect(await session.get(other).text()).toBe('ok');
          expect(session.connector.stats()).toEqual({ open: 2, idle: 1, waiting: 1 });
          await first.text();
          expect(await second).toBe('ok');
        }),
      ),
    ),
  );

  runTest('gives up a kept connection for another host when it is full', () =>
    withServer(makeApp(), (url) =>
      withServer(makeApp(), (other) =>
        withSession({ connector: { limit: 1 } }, async (session) => {
          for (let i = 0; i < 3; i++) {
            expect(await session.get(url).text()).toBe('ok');
            expect(await session.get(other).text()).toBe('ok');
          }
          const all = [url, other, url, other].map(
            (one) => () => session.get(`${one}/slow`).text(),
          );
          expect(await gather(...all)).toEqual(['ok', 'ok', 'ok', 'ok']);
          expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
        }),
      ),
    ),
  );

  runTest('goes on with the next one when a waiting request is cancelled', () =>
    withServer(makeApp(), (url) =>
      withSession({ connector: { limit: 1 } }, async (session) => {
        const held = await session.get(`${url}/large`);
        const tasks = [0, 1, 2].map(() => createTask(() => session.get(url).text()));
        await sleep(1);
        tasks[0]?.cancel();
        await held.release();
        tasks[1]?.cancel();
        expect(await tasks[2]).toBe('ok');
        for (const task of tasks.slice(0, 2)) {
          await failsWith(Promise.resolve(task), CancelledError);
        }
        expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
      }),
    ),
  );

  virtualTest('closes connections that were idle for too long', async () => {
    const app = makeApp();
    await withServer(app, (url, server) =>
      withSession({ connector: { keepAliveMs: 1_000 } }, async (session) => {
        await gather(
          () => session.get(url).text(),
          () => session.get(`${url}/slow`).text(),
        );
        expect(session.connector.stats().idle).toBe(2);
        await sleep(900);
        await session.get(url).text();
        await sleep(500);
        expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
        await sleep(2_000);
        expect([session.connector.stats().open, server.connections]).toEqual([0, 0]);
        await session.get(url).text();
      }),
    );
  });

  virtualTest('keeps a connection no longer than its server says', () =>
    withRaw(
      (request) => {
        const seconds = /GET \/(\d)/.exec(request)?.[1];
        return ok.replace('\r\n\r\n', `\r\nkeep-alive: max=9, timeout=${seconds}\r\n\r\n`);
      },
      (url) =>
        withSession({}, async (session) => {
          await session.get(`${url}/1`).text();
          expect(session.connector.stats().open).toBe(0);
          await session.get(`${url}/3`).text();
          await sleep(1_900);
          expect(session.connector.stats().open).toBe(1);
          await sleep(200);
          expect(session.connector.stats().open).toBe(0);
        }),
    ),
  );

  test('outlives a run, and serves the next one', async () => {
    const session = new ClientSession();
    for (let i = 0; i < 2; i++) {
      const main = (): Promise<void> =>
        withServer(makeApp(), async (url) => expect(await session.get(url).text()).toBe('ok'));
      await run(main, { policy: testPolicy() });
      expect(session.connector.stats()).toEqual({ open: 0, idle: 0, waiting: 0 });
    }
    await session.close();
  });

  runTest('keeps none when told so, by the session, the request or the server', () =>
    withServer(makeApp(), (url) =>
      withSession({ connector: { keepAliveMs: 0 } }, async (session) => {
        await session.get(url).text();
        expect(session.connector.stats().open).toBe(0);
        await using other = new ClientSession();
        await other.get(url, { headers: { connection: 'close' } }).text();
        expect(other.connector.stats().open).toBe(0);
      }),
    ),
  );

  runTest('may be shared by sessions, and is then closed by whoever made it', () =>
    withServer(makeApp(), async (url) => {
      await using connector = new Connector();
      for (let i = 0; i < 2; i++) {
        await withSession({ connector }, async (session) => void (await session.get(url).text()));
      }
      expect(connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
      await using session = new ClientSession({ connector });
      await failsWith(
        inRun(() => session.get(url)),
        InvalidStateError,
      );
      await connector.close();
      await failsWith(session.get(url), ClosedResourceError);
    }),
  );

  runTest('tries again, once, when a kept connection was dead', async () => {
    let seen = 0;
    const answer = (request: string): unknown => {
      seen++;
      // Every second request on a connection is not answered.
      return request.includes('/dead') ? null : ok;
    };
    await withRaw(answer, (url) =>
      withSession({}, async (session) => {
        await session.get(url).text();
        await failsWith(session.get(`${url}/dead`), ServerDisconnectedError);
        expect(seen).toBe(3);
        await session.get(url).text();
        await failsWith(session.post(`${url}/dead`), ServerDisconnectedError);
        expect(seen).toBe(5);
        await failsWith(session.get(`${url}/dead`), ServerDisconnectedError);
        expect(seen).toBe(6);
      }),
    );
  });

  runTest('ends what waits, opens or runs when it is closed', () =>
    withServer(makeApp(), async (url) => {
      const lookup = (): Promise<never> => new Promise(() => {});
      const session = new ClientSession({ connector: { limit: 2, lookup } });
      const all = [`${url}/slow`, 'http://never.test/', url].map((one) => {
        return failsWith(session.get(one), ClosedResourceError);
      });
      await sleep(1);
      expect(session.connector.stats()).toEqual({ open: 2, idle: 0, waiting: 1 });
      await session.close();
      await Promise.all(all);
      expect(session.connector.stats()).toEqual({ open: 0, idle: 0, waiting: 0 });
    }),
  );

  runTest('keeps no connection whose request says close, whatever the server says', () =>
    withRaw(
      () => ok,
      (url, log) =>
        withSession({ headers: { 'transfer-encoding': 'x', te: 'y' } }, async (session) => {
          await session
            .get(url, { headers: { connection: 'Close', 'content-length': '9' } })
            .text();
          expect(session.connector.stats().open).toBe(0);
          expect(log[0]).toMatch('connection: close');
          expect(log[0]).not.toMatch(/content-length|transfer-encoding|^te:/m);
        }),
    ),
  );

  runTest('asks for a name once, by the given look-up', () =>
    withServer(makeApp(), async (url) => {
      let asked = 0;
      const lookup = async () => {
        asked++;
        return [{ address: '127.0.0.1', port: 0, family: 'IPv4' as const }];
      };
      const named = url.replace('127.0.0.1', 'some.test');
      await withSession({ connector: { lookup, keepAliveMs: 0 } }, async (session) => {
        for (let i = 0; i < 3; i++) expect(await session.get(named).text()).toBe('ok');
        expect(asked).toBe(1);
      });
    }),
  );
});
