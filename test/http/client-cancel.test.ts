/** Requests that are cancelled at every await. */
import { describe, expect } from 'vitest';
import { Application, ClientSession, Response } from '../../lib/http/index.ts';
import {
  CancelledError,
  CancelScope,
  ClosedResourceError,
  createTask,
  gather,
  sleep,
} from '../../lib/index.ts';
import { identity } from '../io/tls-support.ts';
import { failure, runTest } from '../task/support.ts';
import { large, makeApp, tls, withProxy, withSession } from './client-support.ts';
import { withServer } from './support.ts';

type Scenario = (session: ClientSession, url: string) => unknown;

const text = 'x'.repeat(100);
async function* parts(): AsyncGenerator<string> {
  for (let i = 0; i < 3; i++) {
    await sleep(1);
    yield text;
  }
}

const scenarios: Record<string, Scenario> = {
  'a request': (session, url) => session.get(url).text(),
  'a slow one': (session, url) => session.get(`${url}/slow`).text(),
  'a large body': (session, url) => session.get(`${url}/large`).bytes(),
  'a compressed body': (session, url) => session.get(`${url}/gzip`).text(),
  'a body in chunks': (session, url) => session.get(`${url}/chunks`).text(),
  'a body read in pieces': async (session, url) => {
    await using response = await session.get(`${url}/chunks`);
    for await (const _chunk of response.reader) await sleep(0);
  },
  'a body as a Web stream': async (session, url) => {
    await using response = await session.get(`${url}/chunks`);
    await new globalThis.Response(response.body).text();
  },
  'a body that is dropped': async (session, url) => {
    await using _response = await session.get(`${url}/large`);
  },
  'a body that is released': async (session, url) => {
    await (await session.get(`${url}/chunks`)).release();
  },
  'two at once': (session, url) =>
    gather(
      () => session.get(`${url}/slow`).text(),
      () => session.get(url).text(),
    ),
  'more than the limit': (session, url) =>
    gather(...[0, 1, 2, 3].map(() => () => session.get(`${url}/slow`).text())),
  'a posted text': (session, url) => session.post(`${url}/echo`, { body: text }).text(),
  'a posted stream': (session, url) => session.post(`${url}/echo`, { body: parts() }).text(),
  'a posted function': (session, url) =>
    session.post(`${url}/echo`, { body: async (writer) => await writer.write(large) }).text(),
  'a large posted text': (session, url) => session.post(`${url}/echo`, { body: large }).text(),
  'a posted form': (session, url) => {
    const form = new FormData();
    form.append('a', 'b');
    return session.post(`${url}/echo`, { body: form }).text();
  },
  'a wait for 100': (session, url) =>
    session.post(`${url}/echo`, { body: text, expectContinue: true }).text(),
  'a redirect': (session, url) => session.get(`${url}/302`).text(),
  'a redirect with a body': (session, url) => session.post(`${url}/307`, { body: text }).text(),
  'a retry': (session, url) => session.get(`${url}/fail`, { retry: { delayMs: 1 } }).text(),
  'an error status': (session, url) =>
    failure(session.get(`${url}/fail`, { raiseForStatus: true })).then((error) => {
      if (error instanceof CancelledError) throw error;
    }),
  'a middleware': (session, url) =>
    session
      .get(url, {
        middlewares: [
          async (request, next): Promise<Awaited<ReturnType<typeof next>>> => {
            await sleep(1);
            const response = await next(request);
            return response;
          },
        ],
      })
      .text(),
  'all limits': (session, url) =>
    session.get(url, { timeout: { totalMs: 5_000, connectMs: 5_000, readMs: 5_000 } }).text(),
  'a signal': (session, url) => session.get(url, { signal: new AbortController().signal }).text(),
  'parts of a form': async (session, url) => {
    await using response = await session.get(`${url}/parts`);
    for await (const part of response.multipart()) await part.text();
  },
  events: async (session, url) => {
    await using response = await session.get(`${url}/events`);
    for await (const _event of response.events()) await sleep(0);
  },
  cookies: async (session, url) => {
    await session.get(`${url}/cookie`).text();
    await session.get(url).text();
  },
  'a challenge of Digest': (session, url) =>
    session
      .get(`${url}/digest`, { auth: { username: 'u', password: 'p', scheme: 'digest' } })
      .text(),
  'the end of a session': async (_session, url) => {
    await using other = new ClientSession();
    await gather(
      () => other.get(url).text(),
      () => other.get(`${url}/slow`).text(),
    );
    await other.close();
  },
  fetch: async (session, url) => (await session.fetch(url)).text(),
  'a connection that is refused': (session) =>
    failure(session.get('http://127.0.0.1:1/')).then((error) => {
      if (error instanceof CancelledError) throw error;
    }),
  'a WebSocket': async (session, url) => {
    await using socket = await session.wsConnect(`${url}/ws`);
    await socket.send('hello');
    await socket.receive();
  },
  'two requests, one after the other': async (session, url) => {
    await session.get(url).text();
    await session.get(`${url}/chunks`).text();
  },
};

/** Connections and waits; the little rest of a body may still be on its way to nobody. */
async function inUse({ connector }: ClientSession): Promise<[number, number]> {
  const busy = (): number => connector.stats().open - connector.stats().idle;
  for (let i = 0; i < 100 && busy() > 0; i++) await sleep(2);
  return [busy(), connector.stats().waiting];
}

/** Cancels after each turn of the loop until it is through, in turn by task and by scope. */
async function cancelEverywhere(
  work: Scenario,
  session: ClientSession,
  url: string,
): Promise<number> {
  let count = 0;
  for (let turns = 0; ; turns += turns < 16 ? 1 : 4) {
    const scope = new CancelScope();
    const task = createTask(() => scope.run(() => work(session, url)));
    for (let i = 0; i < turns && !task.done; i++) await sleep(0);
    const { done } = task;
    if (count++ % 2 === 0) scope.cancel();
    else task.cancel();
    await task.wait();
    expect([turns, ...(await inUse(session))]).toEqual([turns, 0, 0]);
    if (count % 4 === 0 || done) expect(await session.get(url).text()).toBe('ok');
    if (done || turns > 50) return turns;
  }
}

// covers: seeds/C36
describe('cancelled at every await, nothing is left, and the next request is right:', () => {
  for (const [title, work] of Object.entries(scenarios)) {
    runTest(title, () =>
      withServer(
        makeApp(),
        async (url, server) => {
          await withSession({ connector: { limit: 2 } }, async (session) => {
            expect(await cancelEverywhere(work, session, url)).toBeGreaterThan(1);
          });
          for (let i = 0; i < 100 && server.connections > 0; i++) await sleep(2);
          expect(server.connections).toBe(0);
        },
        { shutdownTimeoutMs: 0 },
      ),
    );
  }

  runTest('TLS', () =>
    withServer(
      makeApp(),
      (url) =>
        withSession({ tls, connector: { limit: 2, keepAliveMs: 0 } }, async (session) => {
          await cancelEverywhere(scenarios['a request'] as Scenario, session, url);
        }),
      { tls: identity('server'), shutdownTimeoutMs: 0 },
    ),
  );

  runTest('a proxy', () =>
    withProxy((proxy) =>
      withServer(
        makeApp(),
        (url) =>
          withSession({ tls, proxy, connector: { limit: 2, keepAliveMs: 0 } }, async (session) => {
            await cancelEverywhere(scenarios['a request'] as Scenario, session, url);
          }),
        { tls: identity('server'), shutdownTimeoutMs: 0 },
      ),
    ),
  );
});

describe('a session that is closed', () => {
  const app = new Application().post('/early', () => new Response('no'));

  runTest('waits for what still sends a body, which is cancelled', () =>
    withServer(app, async (url) => {
      let ended = false;
      async function* endless(): AsyncGenerator<string> {
        try {
          for (;;) {
            yield text;
            await sleep(1);
          }
        } finally {
          // As files and streams of Node do, which are closed in turns of their own.
          for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
          ended = true;
        }
      }
      const session = new ClientSession();
      expect(await session.post(`${url}/early`, { body: endless() }).text()).toBe('no');
      await session.close();
      expect(ended).toBe(true);
    }),
  );

  runTest('by the body that it sends does not wait for that', () =>
    withServer(app, async (url) => {
      const session = new ClientSession();
      const body = async (): Promise<void> => {
        await session.close();
      };
      const error = await failure(session.post(`${url}/early`, { body }));
      expect(error).toBeInstanceOf(ClosedResourceError);
    }),
  );
});
