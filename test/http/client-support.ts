/** Servers that say what a test tells them, and sessions for them. */
import { gzipSync } from 'node:zlib';
import { expect } from 'vitest';
import {
  Application,
  ClientSession,
  type HttpRequest,
  Response,
  type SessionOptions,
} from '../../lib/http/index.ts';
import {
  type Connection,
  gather,
  isCancelled,
  openConnection,
  sleep,
  startServer,
  type TlsClientOptions,
} from '../../lib/index.ts';
import { ca } from '../io/tls-support.ts';
import { failure } from '../task/support.ts';
import { withHandler } from './support.ts';

/** Requests come here as text; what it gives is written. Null: the connection is closed. */
export type Answer = (request: string, connection: Connection) => unknown;

/** The head of the next request and its declared body; null at the end. */
export async function readRequest(connection: Connection): Promise<string | null> {
  let head: Buffer;
  try {
    head = await connection.readUntil('\r\n\r\n');
  } catch (error) {
    if (isCancelled(error)) throw error;
    return null;
  }
  const text = head.toString('latin1');
  const length = Number(/content-length: (\d+)/.exec(text)?.[1] ?? 0);
  return text + (await connection.readExactly(length)).toString('latin1');
}

/** A server of raw bytes: each answer is one write. */
export async function withRaw(
  answer: Answer,
  test: (url: string, log: string[]) => unknown,
): Promise<void> {
  const log: string[] = [];
  const serveOne = async (connection: Connection): Promise<void> => {
    for (;;) {
      const request = await readRequest(connection);
      if (request === null) return;
      log.push(request);
      const text = await answer(request, connection);
      if (typeof text !== 'string' && !(text instanceof Uint8Array)) return;
      await connection.write(text);
    }
  };
  await using server = await startServer(serveOne, { host: '127.0.0.1', port: 0 });
  await test(`http://127.0.0.1:${server.port}`, log);
}

export async function withSession(
  options: SessionOptions,
  test: (session: ClientSession) => unknown,
): Promise<void> {
  await using session = new ClientSession(options);
  await test(session);
}

export const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

/** The pool is clean and the next request is right. */
export async function expectClean(session: ClientSession, url: string): Promise<void> {
  expect(session.connector.stats().open).toBeLessThanOrEqual(1);
  expect(await session.get(url).text()).toBe('ok');
}

/** Fails with an error of this class; its name and message. */
export async function failsWith(
  work: PromiseLike<unknown>,
  kind: abstract new (...args: never[]) => Error,
): Promise<Error & { code?: string }> {
  const error = await failure(work);
  expect(error).toBeInstanceOf(kind);
  return error;
}

export const large: string = 'abcdefgh'.repeat(50_000);

/** Answers to many questions. */
export function makeApp(): Application {
  return new Application({ maxBodyBytes: 10_000_000 })
    .onError(() => new Response(null, { status: 500 }))
    .get('/', () => new Response('ok'))
    .get('/large', () => new Response(large))
    .get('/slow', async () => {
      await sleep(3);
      return new Response('ok');
    })
    .get('/gzip', () => {
      // Not by the server: its streams of zlib are not on the clock of a simulation.
      return new Response(gzipSync(large), { headers: { 'content-encoding': 'gzip' } });
    })
    .get('/parts', () => {
      const form = new FormData();
      form.append('a', 'b');
      return new Response(form);
    })
    .get(
      '/chunks',
      () =>
        new Response(async (writer) => {
          for (let i = 0; i < 3; i++) {
            await writer.write('part');
            await sleep(1);
          }
        }),
    )
    .get('/events', () => new Response('data: a\n\ndata: b\n\n'))
    .get('/digest', (request) => {
      const answered = request.headers.get('authorization')?.startsWith('Digest ');
      const headers = { 'www-authenticate': 'Digest realm="r", nonce="n", qop="auth"' };
      return answered ? new Response('ok') : new Response('no', { status: 401, headers });
    })
    .get('/cookie', () => new Response('').setCookie('a', 'b'))
    .get('/fail', () => new Response('no', { status: 503 }))
    .route('*', '/307', () => Response.redirect('/echo', 307))
    .get('/302', () => Response.redirect('/slow'))
    .route('*', '/echo', async (request: HttpRequest) => {
      // The client may leave half-way.
      return new Response(await request.text().catch((error) => String(error)));
    })
    .ws('/ws', async (socket) => {
      for await (const message of socket) await socket.send(message);
    });
}

/** What a proxy does when one of its sides breaks. */
function leave(error: unknown): void {
  if (isCancelled(error)) throw error;
}

/** A proxy for CONNECT and absolute targets; tells what it was asked. */
export async function withProxy(
  test: (url: string, log: string[]) => unknown,
  established: string = 'HTTP/1.1 200 Yes\r\n\r\n',
): Promise<void> {
  const log: string[] = [];
  const pass = async (from: Connection, to: Connection): Promise<void> => {
    for await (const chunk of from) await to.write(chunk);
    await to.writeEof();
  };
  const proxy = async (client: Connection): Promise<void> => {
    const request = await readRequest(client);
    if (request === null) return;
    log.push(request);
    if (!request.includes('proxy-authorization: Basic dTpw')) {
      await client.write('HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    const target = /^\S+ (?:http:\/\/)?[\w.]+:(\d+)/.exec(request)?.[1];
    await using server = await openConnection({ host: '127.0.0.1', port: Number(target) });
    if (request.startsWith('CONNECT')) await client.write(established);
    else await server.write(request.replace(/http:\/\/[^/]*/, ''));
    await gather(
      () => pass(client, server),
      () => pass(server, client),
    );
  };
  await using server = await startServer((client) => proxy(client).catch(leave), {
    host: '127.0.0.1',
    port: 0,
  });
  await test(`http://u:p@127.0.0.1:${server.port}`, log);
}

/** Trusts the server of the tests. */
export const tls: TlsClientOptions = { ca, servername: 'server.test' };

/** Says what it got. */
export async function echo(request: HttpRequest): Promise<Response> {
  const headers = Object.fromEntries(request.headers);
  const { method, path } = request;
  return Response.json({
    method,
    path,
    query: [...request.query],
    headers,
    body: await request.text(),
  });
}

export function withEcho(test: (session: ClientSession, url: string) => unknown): Promise<void> {
  return withHandler(echo, (url) => withSession({}, (session) => test(session, url)));
}
