/** Answers that are right or wrong in unusual ways, and what is made of them. */
import { deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readEvents } from '../../lib/http/client/event-reader.ts';
import { environmentProxy } from '../../lib/http/client/proxy-env.ts';
import {
  Application,
  ClientError,
  ClientPayloadError,
  type ClientResponse,
  ClientResponseError,
  CookieJar,
  openWebSocket,
  Response,
  WebSocketHandshakeError,
} from '../../lib/http/index.ts';
import { acceptOf } from '../../lib/http/websocket/handshake.ts';
import { type ByteReader, type Connection, Event, sleep } from '../../lib/index.ts';
import { failure, realTimeTest, runTest } from '../task/support.ts';
import { echo, failsWith, withRaw, withSession } from './client-support.ts';
import { withHandler, withServer } from './support.ts';

function answer(body: string | Buffer, headers: string): Buffer {
  const bytes = Buffer.from(body as string);
  const head = `HTTP/1.1 200 OK\r\ncontent-length: ${bytes.length}\r\n${headers}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), bytes]);
}

function redirectTo(location: string, status = 302): string {
  return `HTTP/1.1 ${status} Elsewhere\r\nlocation: ${location}\r\ncontent-length: 0\r\n\r\n`;
}

describe('a redirect', () => {
  runTest('of a WebSocket may name the scheme of WebSockets', () =>
    withServer(
      new Application().ws('/ws', (socket) => socket.send('hello')),
      (url) =>
        withRaw(
          () => redirectTo(`${url.replace('http', 'WS')}/ws`),
          (other) =>
            withSession({}, async (session) => {
              await using socket = await session.wsConnect(other);
              expect(await socket.receiveText()).toBe('hello');
              await failsWith(session.get(other), ClientError);
            }),
        ),
    ),
  );

  runTest('to a user whom Basic cannot name is an error of the client', () =>
    withRaw(
      () => redirectTo('http://a%3Ab:secret@127.0.0.1:1/'),
      (url) =>
        withSession({}, async (session) => {
          const error = await failsWith(session.get(url), ClientResponseError);
          expect(error.message).not.toContain('secret');
          expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
        }),
    ),
  );

  runTest('names its bytes, also where they are no UTF-8', async () => {
    for (const [location, asked] of [
      ['/\xc3\xa9?\xc3\xa9#\xc3\xa9', '/%C3%A9?%C3%A9'],
      ['/\xe9?\xe9', '/%E9?%E9'],
      ['/%e9', '/%e9'],
    ] as const) {
      await withRaw(
        (request) => {
          if (request.startsWith('GET / ')) return Buffer.from(redirectTo(location), 'latin1');
          return answer(request.split(' ')[1] as string, 'a: b');
        },
        (url) =>
          withSession({}, async (session) => {
            expect(await session.get(url).text()).toBe(asked);
          }),
      );
    }
    await withRaw(
      () => Buffer.from(redirectTo('http://\xc3\xa9.invalid/'), 'latin1'),
      (url) =>
        withSession({}, async (session) => {
          const response = await session.get(url, { redirect: 'manual' });
          expect(response.status).toBe(302);
          const error = await failsWith(session.get(url), ClientError);
          expect(error.message).toContain('xn--9ca.invalid');
        }),
    );
  });

  runTest('with 303 leaves GET and its body as they are', () =>
    withServer(
      new Application().get('/to', () => Response.redirect('/end', 303)).get('/end', echo),
      (url) =>
        withSession({}, async (session) => {
          const options = { body: 'x', headers: { 'content-type': 'a/b' } };
          const told = await session.get(`${url}/to`, options).json();
          expect([told.body, told.headers['content-type']]).toEqual(['x', 'a/b']);
          const usedUp = session.get(`${url}/to`, { body: ['x'].values() });
          await failsWith(usedUp, ClientResponseError);
        }),
    ),
  );
});

runTest('cookies of a request stand in for those of the jar with their names', () =>
  withHandler(echo, (url) => {
    const cookieJar = new CookieJar({ unsafe: true });
    for (const cookie of ['a=jar', 'b=jar', 'c=jar']) cookieJar.set(cookie, url);
    return withSession({ cookieJar }, async (session) => {
      const options = { cookies: { a: 'own' }, headers: { cookie: 'b=head' } };
      const { headers } = await session.get(url, options).json();
      expect(headers.cookie).toBe('b=head; c=jar; a=own');
      expect((await session.get(url).json()).headers.cookie).toBe('a=jar; b=jar; c=jar');
    });
  }),
);

runTest('a cookie that a redirect sets stands in for that of the request', () =>
  withServer(
    new Application()
      .get('/to', () => Response.redirect('/end').setCookie('a', 'set').setCookie('b', 'set'))
      .get('/end', echo),
    async (url) => {
      for (const [cookieJar, cookie] of [
        [new CookieJar({ unsafe: true }), 'a=set; b=set; c=own'],
        [null, 'a=own; c=own'],
      ] as const) {
        await withSession({ cookieJar }, async (session) => {
          const { headers } = await session
            .get(`${url}/to`, { cookies: { a: 'own', c: 'own' } })
            .json();
          expect(headers.cookie).toBe(cookie);
        });
      }
    },
  ),
);

test('no_proxy names addresses of IPv6 in brackets and without', () => {
  const before = { ...process.env };
  process.env['http_proxy'] = 'http://proxy.test:1';
  try {
    const cases: [list: string, url: string, proxied: boolean][] = [
      ['localhost,::1', 'http://[::1]:81/', false],
      ['[::1]', 'http://[::1]:81/', false],
      ['[::1]:81', 'http://[::1]:81/', false],
      ['0:0:0:0:0:0:0:1', 'http://[::1]/', false],
      ['[::1]:82', 'http://[::1]:81/', true],
      ['::1', 'http://[::11]/', true],
      ['::1', 'http://1/', true],
      ['a.test:80', 'http://b.a.test/', false],
      ['a.test:81', 'http://a.test/', true],
    ];
    for (const [list, url, proxied] of cases) {
      process.env['no_proxy'] = list;
      expect([list, url, environmentProxy(new URL(url), null) !== null]).toEqual([
        list,
        url,
        proxied,
      ]);
    }
  } finally {
    process.env = before;
  }
});

runTest('101 of HTTP/1.0 makes no WebSocket', () =>
  withRaw(
    (request) => {
      const key = /^sec-websocket-key: (.*)\r$/m.exec(request)?.[1] as string;
      const head = 'HTTP/1.0 101 Yes\r\nconnection: Upgrade\r\nupgrade: websocket\r\n';
      return `${head}sec-websocket-accept: ${acceptOf(key)}\r\n\r\n`;
    },
    (url) => failsWith(openWebSocket(url), WebSocketHandshakeError),
  ),
);

describe('a body', () => {
  realTimeTest('of zlib’s format within gzip is decompressed, large ones as well', () => {
    const noise = Buffer.alloc(100_000);
    for (let i = 0; i < noise.length; i++) noise[i] = (i * 7919) >>> (i % 13);
    const packed = gzipSync(deflateSync(noise, { level: 0 }), { level: 0 });
    return withRaw(
      () => answer(packed, 'content-encoding: deflate, gzip'),
      (url) =>
        withSession({}, async (session) => {
          expect((await session.get(url).bytes()).equals(noise)).toBe(true);
        }),
    );
  });

  const form = (value: string | Buffer): Buffer =>
    Buffer.concat([
      Buffer.from('--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n'),
      Buffer.from(value as string),
      Buffer.from('\r\n--x--\r\n'),
    ]);
  const formType = 'content-type: multipart/form-data; boundary=x';

  realTimeTest('with a bomb in a form is stopped', () => {
    const bomb = gzipSync(form(Buffer.alloc(64 * 1024 * 1024)));
    return withRaw(
      () => answer(bomb, `${formType}\r\ncontent-encoding: gzip`),
      (url) =>
        withSession({}, async (session) => {
          const response = await session.get(url);
          const error = await failsWith(response.formData(), ClientPayloadError);
          expect(error.message).toContain('grows too much');
        }),
    );
  });

  runTest('that is no form, or a bad one, is an error of the client and of no handler', () => {
    const cut = form('value').subarray(0, -12);
    const answers: Record<string, Buffer> = {
      type: answer('text', 'content-type: text/plain'),
      boundary: answer(form('value'), 'content-type: multipart/form-data'),
      cut: answer(cut, formType),
      nameless: answer(form('').toString().replace('; name="a"', ''), formType),
      // What follows never comes: nobody is to wait for it.
      bad: Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: 99\r\n${formType}\r\n\r\n--x-\r\n`),
    };
    return withRaw(
      (request) => answers[/^GET \/(\w+)/.exec(request)?.[1] as string],
      (url) =>
        withSession({}, async (session) => {
          for (const name of Object.keys(answers)) {
            const response = await session.get(`${url}/${name}`);
            await failsWith(response.formData(), ClientPayloadError);
            if (name === 'type') expect(await response.text()).toBe('text');
            if (name === 'nameless') continue;
            const read = async (): Promise<void> => {
              const parts = (await session.get(`${url}/${name}`)).multipart();
              for await (const part of parts) await part.text();
            };
            await failsWith(read(), ClientPayloadError);
          }
          const { open, idle } = session.connector.stats();
          expect(open).toBe(idle);
        }),
    );
  });

  runTest('that was dropped half-way is no shorter body', async () => {
    let gate = new Event();
    const answerHalf = async (request: string, connection: Connection): Promise<Buffer> => {
      const mine = gate;
      const zipped = request.includes('/zipped');
      const bytes = zipped ? gzipSync(Buffer.alloc(100_000)) : Buffer.from('hello, world');
      const coding = zipped ? 'content-encoding: gzip\r\n' : '';
      const head = `HTTP/1.1 500 No\r\n${coding}content-length: ${bytes.length}\r\n\r\n`;
      await connection.write(Buffer.concat([Buffer.from(head), bytes.subarray(0, 5)]));
      await mine.wait();
      return bytes.subarray(5);
    };
    const drops = [
      (response: ClientResponse) => response.release(),
      async (response: ClientResponse) => failure(async () => response.raiseForStatus()),
    ];
    await withRaw(answerHalf, (url) =>
      withSession({}, async (session) => {
        for (const path of ['/', '/zipped']) {
          for (const drop of drops) {
            for (const later of [false, true]) {
              gate = new Event();
              const response = await session.get(url + path);
              await drop(response);
              if (!later) await failsWith(response.text(), ClientPayloadError);
              gate.set();
              while (session.connector.stats().idle < session.connector.stats().open) {
                await sleep(1);
              }
              if (later) await failsWith(response.text(), ClientPayloadError);
            }
          }
        }
        expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
      }),
    );
  });

  runTest('that was read by its stream is used', () =>
    withHandler(
      () => new Response('text'),
      (url) =>
        withSession({}, async (session) => {
          const response = await session.get(url);
          const { body } = response;
          expect(response.bodyUsed).toBe(false);
          for await (const chunk of body as ReadableStream<Uint8Array>) {
            expect(chunk.length).toBe(4);
          }
          expect(response.bodyUsed).toBe(true);
          expect(await failure(response.text())).toBeInstanceOf(TypeError);
          const left = await session.get(url);
          await left.body?.cancel();
          expect(left.bodyUsed).toBe(true);
          expect(await failure(left.text())).toBeInstanceOf(TypeError);
        }),
    ),
  );
});

test('an event of lines without end is refused, also when they are empty', async () => {
  async function* endless(): AsyncGenerator<Buffer> {
    for (const chunk = Buffer.from('data\n'.repeat(100_000)); ; ) yield chunk;
  }
  const events = readEvents(endless() as unknown as ByteReader);
  expect(await failure(events.next())).toBeInstanceOf(ClientPayloadError);
});
