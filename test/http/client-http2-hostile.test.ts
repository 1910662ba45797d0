/** Sessions and servers that break HTTP/2, frame by frame. Run on every policy. */
import { Buffer } from 'node:buffer';
import { describe, expect } from 'vitest';
import {
  ClientPayloadError,
  ClientResponseError,
  ClientSession,
  type ConnectorOptions,
  ServerDisconnectedError,
} from '../../lib/http/index.ts';
import { type Connection, gather, sleep, startServer, timeout } from '../../lib/index.ts';
import { serverTls } from '../io/tls-support.ts';
import { failure, runTest, virtualTest } from '../task/support.ts';
import { tls } from './client-support.ts';
import { type Frame, frame, head, literal, readFrames, uint32 } from './http2-support.ts';

const endStream = 1;
const endHeaders = 4;
const settings = frame('settings', 0, 0, Buffer.alloc(0));

function answer(id: number, flags: number, more: readonly (readonly [string, string])[] = []) {
  const lines = [[':status', '200'], ...more] as [string, string][];
  const block = Buffer.concat(lines.map(([name, value]) => literal(name, value)));
  return frame('headers', flags | endHeaders, id, block);
}

const data = (id: number, text: string, flags = endStream): Buffer =>
  frame('data', flags, id, Buffer.from(text));
const good = (id: number): Buffer => Buffer.concat([answer(id, 0), data(id, 'ok')]);
const reset = (id: number, code: number): Buffer => frame('reset', 0, id, uint32(code));
const goaway = (last: number, code = 0): Buffer =>
  frame('goaway', 0, 0, Buffer.concat([uint32(last), uint32(code)]));

type Reply = (id: number, connection: Connection, count: number) => Buffer | null | Promise<Buffer>;

/** Answers each HEADERS; null: closes the connection. */
async function withFrames(
  reply: Reply,
  test: (session: ClientSession, url: string, connections: () => number) => unknown,
  greeting: Buffer | null = settings,
  limits: ConnectorOptions = {},
): Promise<void> {
  let connections = 0;
  let count = 0;
  const serveOne = async (connection: Connection): Promise<void> => {
    connections++;
    await connection.readExactly(24);
    if (greeting !== null) await connection.write(greeting);
    const open = ({ type }: Frame): boolean => type === 'headers' || type === 'goaway';
    for (;;) {
      const last = (await readFrames(connection, open)).at(-1);
      if (last?.type !== 'headers') return;
      const bytes = await reply(last.id, connection, count++);
      if (bytes === null) return;
      await connection.write(bytes).catch(() => {});
    }
  };
  const alpn = { ...serverTls, ALPNProtocols: ['h2'] };
  const where = { host: '127.0.0.1', port: 0, tls: alpn, tlsShutdownTimeoutMs: 50 };
  await using server = await startServer(serveOne, where);
  await using session = new ClientSession({ tls, connector: { http2: true, ...limits } });
  await test(session, `https://127.0.0.1:${server.port}`, () => connections);
}

describe('a server of HTTP/2', () => {
  runTest('that refuses a stream is asked again, on a new connection', () =>
    withFrames(
      (id, _connection, count) => (count === 0 ? reset(id, 7) : good(id)),
      async (session, url, connections) => {
        expect(await session.post(url, { body: 'x' }).text()).toBe('ok');
        expect(connections()).toBe(2);
      },
    ),
  );

  runTest('that leaves before a request is asked again', () =>
    withFrames(
      (id, _connection, count) => (count === 1 ? goaway(1) : good(id)),
      async (session, url, connections) => {
        expect(await session.get(url).text()).toBe('ok');
        expect(await session.post(url, { body: 'x' }).text()).toBe('ok');
        expect(connections()).toBe(2);
        expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
      },
    ),
  );

  const broken: [string, Reply, abstract new (...args: never[]) => Error][] = [
    ['resets a stream', (id) => reset(id, 2), ServerDisconnectedError],
    ['closes the connection', () => null, ServerDisconnectedError],
    [
      'resets a stream in a body',
      (id) => Buffer.concat([answer(id, 0), data(id, 'part', 0), reset(id, 2)]),
      ClientPayloadError,
    ],
    [
      'ends a body without its end',
      (id) =>
        Buffer.concat([
          answer(id, 0, [['content-length', '9']]),
          data(id, 'part', 0),
          reset(id, 0),
        ]),
      ClientPayloadError,
    ],
    [
      'resets a stream in a body as if that were no error',
      (id) => Buffer.concat([answer(id, 0), data(id, 'part', 0), reset(id, 0)]),
      ClientPayloadError,
    ],
    [
      'sends less than it declared',
      (id) => Buffer.concat([answer(id, 0, [['content-length', '9']]), data(id, 'part')]),
      ClientPayloadError,
    ],
    [
      'leaves with an error in a body',
      (id) => Buffer.concat([answer(id, 0), data(id, 'part', 0), goaway(id, 2)]),
      ClientPayloadError,
    ],
    [
      'sends too large a head',
      (id) => {
        const line = literal('x-a', 'b'.repeat(10_000));
        const more = Array(8).fill(frame('continuation', 0, id, line));
        const start = frame('headers', endStream, id, literal(':status', '200'));
        return Buffer.concat([start, ...more, frame('continuation', endHeaders, id, line)]);
      },
      ServerDisconnectedError,
    ],
    [
      'sends too large a frame',
      (id) => answer(id, endStream, [['x-a', 'b'.repeat(60_000)]]),
      ServerDisconnectedError,
    ],
    [
      'sends no status',
      (id) => frame('headers', 5, id, literal('a', 'b')),
      ServerDisconnectedError,
    ],
    [
      'sends too many interim responses',
      (id) => {
        const one = frame('headers', endHeaders, id, literal(':status', '103'));
        return Buffer.concat([...Array(20).fill(one), good(id)]);
      },
      ClientResponseError,
    ],
    ['speaks something else', () => Buffer.from('x'.repeat(100)), ServerDisconnectedError],
  ];
  runTest('that breaks a response is told of, and leaves nothing behind', async () => {
    for (const [what, reply, kind] of broken) {
      await withFrames(
        (id, connection, count) => (count === 0 ? reply(id, connection, count) : good(id)),
        async (session, url) => {
          const error = await failure(
            timeout(5_000, () => session.post(url, { body: 'x' }).text()),
          );
          expect([what, error]).toEqual([what, expect.any(kind)]);
          expect([what, await session.get(url).text()]).toEqual([what, 'ok']);
          const { open, waiting } = session.connector.stats();
          expect([what, open, waiting]).toEqual([what, 1, 0]);
        },
      );
    }
  });

  runTest('that takes more requests than before gets those that wait', () => {
    const one = frame('settings', 0, 0, Buffer.from([0, 3, 0, 0, 0, 1]));
    const many = frame('settings', 0, 0, Buffer.from([0, 3, 0, 0, 0, 9]));
    let first = 0;
    return withFrames(
      (id) => {
        if (first !== 0) return Buffer.concat([good(id), good(first)]);
        first = id;
        return many;
      },
      async (session, url) => {
        const get = (): Promise<string> => session.get(url).text();
        expect(await timeout(5_000, () => gather(get, get))).toEqual(['ok', 'ok']);
        expect(session.connector.stats().open).toBe(1);
      },
      one,
      { limit: 1 },
    );
  });

  runTest('that pushes is not listened to', () => {
    const push = (id: number): Buffer => {
      const promised = Buffer.concat([uint32(id + 1), head('/pushed')]);
      const bytes = frame('headers', endHeaders, id, promised);
      bytes[3] = 5;
      return Buffer.concat([bytes, good(id + 1), good(id)]);
    };
    return withFrames(push, async (session, url) => {
      expect(await session.get(url).text()).toBe('ok');
      expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
    });
  });

  runTest('that does not say how much it takes is given up', () =>
    withFrames(
      good,
      async (session, url) => {
        const limits = { timeout: { connectMs: 30 } };
        expect(await failure(session.get(url, limits))).toMatchObject({ phase: 'connect' });
        expect(session.connector.stats()).toEqual({ open: 0, idle: 0, waiting: 0 });
      },
      null,
    ),
  );

  virtualTest('that has gone silent is not asked again on its connection', () =>
    withFrames(
      async (id, _connection, count) => {
        if (count === 1) await sleep(1_500);
        return good(id);
      },
      async (session, url, connections) => {
        expect(await session.get(url).text()).toBe('ok');
        expect(await failure(session.get(url, { timeoutMs: 1_050 }))).toMatchObject({
          phase: 'total',
        });
        expect(await session.get(url).text()).toBe('ok');
        expect(connections()).toBe(2);
      },
    ),
  );
});
