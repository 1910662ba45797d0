/** HTTP/2 servers: what applications see is what they see of HTTP/1. Run on every policy. */
import { Buffer } from 'node:buffer';
import { describe, expect } from 'vitest';
import { Application, HttpError, Response, serve } from '../../lib/http/index.ts';
import { Event, openConnection, sleep } from '../../lib/index.ts';
import { serverTls } from '../io/tls-support.ts';
import { failure, runTest } from '../task/support.ts';
import { tls } from './client-support.ts';
import { answerOf, Client, settled, withH2 } from './http2-support.ts';
import { exchangeRaw, readToEnd, withHandler } from './support.ts';

const hello = (): Response => new Response('hello');
const megabyte = Buffer.alloc(1_048_576, 'x');

describe('an HTTP/2 server', () => {
  // covers: uvio/http2-server
  runTest('hands a request on as HTTP/1 does', () =>
    withH2(
      async (request) => {
        const { httpVersion: version, url, method, secure, ip } = request;
        const body = await request.text();
        const headers = [...request.headers];
        const alpn = request.tls?.alpn;
        return Response.json({ version, url, method, secure, ip, alpn, headers, body });
      },
      async (client) => {
        const answer = await client.ask(
          {
            ':path': '/a?b=1',
            ':method': 'POST',
            ':authority': 'server.test',
            cookie: ['a=1', 'b=2'],
            'x-name': 'caf\u00e9',
          },
          'hello',
        );
        expect(answer.status).toBe(200);
        expect(answer.headers['content-type']).toMatch(/json/);
        expect(answer.headers.date).toMatch(/GMT$/);
        expect(JSON.parse(Buffer.from(answer.body, 'latin1').toString())).toEqual({
          version: '2',
          url: 'https://server.test/a?b=1',
          method: 'POST',
          secure: true,
          ip: '127.0.0.1',
          alpn: 'h2',
          headers: [
            ['cookie', 'a=1; b=2'],
            ['host', 'server.test'],
            ['x-name', 'caf\u00e9'],
          ],
          body: 'hello',
        });
      },
    ),
  );

  runTest('speaks HTTP/1.1 with who asks for it, or for nothing', () =>
    withHandler(
      (request) => new Response(`${request.httpVersion} ${request.tls?.alpn}`),
      async (_url, server) => {
        for (const [ALPNProtocols, seen] of [
          [['h2', 'http/1.1'], null],
          [['http/1.1'], '1.1 http/1.1'],
          [undefined, '1.1 false'],
        ] as const) {
          const asked = ALPNProtocols === undefined ? {} : { ALPNProtocols: [...ALPNProtocols] };
          await using connection = await openConnection({
            host: '127.0.0.1',
            port: server.port,
            tls: { ...tls, ...asked },
          });
          if (seen === null) {
            expect(connection.tls?.alpn).toBe('h2');
            continue;
          }
          await connection.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
          expect(await readToEnd(connection)).toContain(seen);
        }
      },
      { tls: serverTls, http2: true },
    ),
  );

  runTest('is off unless it is asked for, and needs TLS', async () => {
    await withHandler(
      hello,
      async (_url, server) => {
        const wish = { ...tls, ALPNProtocols: ['h2', 'http/1.1'] };
        const where = { host: '127.0.0.1', port: server.port, tls: wish };
        await using connection = await openConnection(where);
        expect(connection.tls?.alpn).toBe('http/1.1');
      },
      { tls: serverTls },
    );
    await withHandler(hello, async (_url, server) => {
      expect(await exchangeRaw(server.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')).toMatch(
        / (4|5)\d\d /,
      );
    });
    const app = new Application();
    const local = { host: '127.0.0.1', port: 0 };
    for (const bad of [
      { http2: true },
      { http2: 1, tls: serverTls },
      { http2: true, tls: { ...serverTls, ALPNProtocols: ['http/1.1'] } },
      { maxConcurrentStreams: 0 },
      { writeTimeoutMs: Number.NaN },
    ]) {
      const error = await failure(serve(app, { ...local, ...(bad as object) }));
      expect(error.name).toMatch(/^(Type|Range)Error$/);
    }
  });

  const empty: [string, string, () => Response, number, string | undefined][] = [
    ['HEAD', 'HEAD', hello, 200, '5'],
    ['HEAD to a stream', 'HEAD', () => new Response(['a', 'b']), 200, undefined],
    ['204', 'GET', () => new Response(null, { status: 204 }), 204, undefined],
    ['205', 'GET', () => new Response(null, { status: 205 }), 205, '0'],
    ['304', 'GET', () => new Response(null, { status: 304 }), 304, undefined],
    ['no body', 'GET', () => new Response(null), 200, '0'],
    ['an empty body', 'GET', () => new Response(''), 200, '0'],
  ];
  runTest('sends no body where none may be', async () => {
    for (const [what, method, handler, status, length] of empty) {
      await withH2(handler, async (client) => {
        const answer = await client.ask({ ':method': method });
        expect([what, answer.status, answer.body, answer.headers['content-length']]).toEqual([
          what,
          status,
          '',
          length,
        ]);
        expect(answer.code).toBe(0);
      });
    }
  });

  runTest('sends headers that are its own to send, all of them', () =>
    withH2(
      () => {
        const response = new Response('x', {
          headers: { connection: 'close', te: 'x', 'X-A': 'b', vary: ['a', 'b'] },
        });
        return response.setCookie('a', '1').setCookie('b', '2');
      },
      async (client) => {
        const { headers } = await client.get('/');
        expect(headers['set-cookie']).toHaveLength(2);
        expect(headers.vary).toBe('a, b');
        expect(headers['x-a']).toBe('b');
        expect(headers.connection).toBeUndefined();
        expect(headers['te']).toBeUndefined();
        // Other requests go on.
        expect((await client.get('/')).status).toBe(200);
      },
    ),
  );

  runTest('handles requests side by side', async () => {
    const both = new Event();
    const waiting: string[] = [];
    await withH2(
      async (request) => {
        waiting.push(request.path);
        if (waiting.length === 3) both.set();
        await both.wait();
        return new Response(request.path);
      },
      async (client, server) => {
        const answers = await Promise.all(['/a', '/b', '/c'].map((path) => client.get(path)));
        expect(answers.map(({ body }) => body)).toEqual(['/a', '/b', '/c']);
        expect(server.connections).toBe(1);
        await settled(() => server.requests === 0);
      },
    );
  });

  runTest('answers with error pages and routes as always', async () => {
    const app = new Application({ maxBodyBytes: 10 })
      .get('/thrown', () => {
        throw new HttpError(418, 'short and stout');
      })
      .get('/id/:id', (request) => Response.json(request.params))
      .ws('/ws', () => {})
      .post('/small', async (request) => new Response(await request.text()));
    await withH2(app, async (client) => {
      expect((await client.get('/none')).status).toBe(404);
      expect((await client.get('/small')).headers.allow).toBe('POST');
      expect(await client.get('/thrown')).toMatchObject({ status: 418, body: 'short and stout' });
      expect((await client.get('/id/5')).body).toBe('{"id":"5"}');
      expect((await client.get('/ws')).status).toBe(426);
      const large = { ':method': 'POST', ':path': '/small' };
      expect((await client.ask(large, 'x'.repeat(11))).status).toBe(413);
      expect((await client.ask({ ...large, 'content-length': 11 }, 'x'.repeat(11))).status).toBe(
        413,
      );
      expect((await client.ask(large, 'x')).body).toBe('x');
    });
  });

  runTest('writes what an access log tells', async () => {
    const log: unknown[] = [];
    const accessLog = ({ method, path, status, bytes }: Record<string, unknown>): void => {
      log.push([method, path, status, bytes]);
    };
    await withH2(
      hello,
      async (client) => {
        await client.get('/a?b');
        await client.ask({ ':authority': 'a', host: 'b' });
      },
      { accessLog: accessLog as never },
    );
    expect(log).toEqual([
      ['GET', '/a', 200, 5],
      ['', '', 400, 0],
    ]);
  });
});

describe('HTTP/2 without TLS', () => {
  const cleartext = { http2: 'cleartext' } as const;

  // covers: uvio/http2-server
  runTest('is spoken with clients that know it before', () =>
    withHandler(
      async (request) => {
        const { httpVersion, secure, url } = request;
        return new Response(`${httpVersion} ${secure} ${url} ${(await request.text()).length}`);
      },
      async (_url, server) => {
        await using client = await Client.open(server.port, 'http');
        const bodies = [1, 100_000, 300_000].map((bytes) => 'x'.repeat(bytes));
        const asked = bodies.map((body) => client.ask({ ':path': '/a', ':method': 'POST' }, body));
        const answers = await Promise.all(asked);
        expect(answers.map(({ body }) => body)).toEqual(
          bodies.map(({ length }) => `2 false http://server.test/a ${length}`),
        );
        expect((await client.get('/b')).body).toBe('2 false http://server.test/b 0');
      },
      cleartext,
    ),
  );

  runTest('is all that is spoken: HTTP/1 is no answer, and an end', () =>
    withHandler(
      hello,
      async (_url, server) => {
        const seen = await exchangeRaw(server.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
        expect(seen).not.toContain('hello');
        await settled(() => server.connections === 0);
      },
      cleartext,
    ),
  );

  runTest('beside TLS, or a word nobody knows, is refused', async () => {
    for (const bad of [{ http2: 'cleartext', tls: serverTls }, { http2: 'h2c' }, { http2: true }]) {
      expect(await failure(serve(new Application(), { port: 0, ...bad } as never))).toBeInstanceOf(
        TypeError,
      );
    }
  });
});

describe('a body over HTTP/2', () => {
  runTest('goes both ways at once', () =>
    withH2(
      (request) =>
        new Response(async (writer) => {
          for await (const chunk of request.reader) await writer.write(chunk);
        }),
      async (client) => {
        const stream = client.session.request({ ':method': 'POST' });
        const answer = answerOf(stream);
        for (const part of ['one', 'two', 'three']) {
          const echoed = new Promise<void>((resolve) => stream.once('data', () => resolve()));
          stream.write(part);
          await echoed;
        }
        stream.end();
        expect((await answer).body).toBe('onetwothree');
      },
    ),
  );

  runTest('may be large, as one or in parts', async () => {
    const app = new Application({ maxBodyBytes: 3_000_000 })
      .get('/whole', () => new Response(megabyte))
      .get('/text', () => new Response(megabyte.toString()))
      .get('/parts', () => new Response([megabyte, megabyte]))
      .post('/in', async (request) => {
        let bytes = 0;
        for await (const chunk of request.reader) bytes += chunk.length;
        return new Response(String(bytes));
      });
    await withH2(app, async (client) => {
      expect((await client.get('/whole')).body.length).toBe(megabyte.length);
      expect((await client.get('/text')).body.length).toBe(megabyte.length);
      expect((await client.get('/parts')).body.length).toBe(2 * megabyte.length);
      const sent = await client.ask({ ':method': 'POST', ':path': '/in' }, megabyte);
      expect(sent.body).toBe(String(megabyte.length));
    });
  });

  runTest('that nobody reads holds its client back, and no other', async () => {
    const read = new Event();
    const app = new Application({ maxBodyBytes: 3_000_000 })
      .get('/other', hello)
      .post('/slow', async (request) => {
        const first = await request.reader.read();
        await read.wait();
        let bytes = first?.length ?? 0;
        for await (const chunk of request.reader) bytes += chunk.length;
        return new Response(String(bytes));
      });
    await withH2(app, async (client) => {
      const stream = client.session.request({ ':method': 'POST', ':path': '/slow' });
      const answer = answerOf(stream);
      stream.end(megabyte);
      expect((await client.get('/other')).body).toBe('hello');
      expect(stream.writableLength).toBeGreaterThan(500_000);
      read.set();
      expect((await answer).body).toBe(String(megabyte.length));
    });
  });

  runTest('waits for a slow client', async () => {
    let written = 0;
    await withH2(
      () =>
        new Response(async (writer) => {
          for (; written < 64; written++) await writer.write(megabyte.subarray(0, 16_384));
        }),
      async (client) => {
        const stream = client.session.request({ ':path': '/' });
        await new Promise((resolve) => stream.once('response', resolve));
        for (let i = 0; i < 20; i++) await sleep(1);
        // The window of the stream, what waits above it, and the client's own buffer.
        expect(written * 16_384).toBeLessThan(400_000);
        expect((await answerOf(stream)).body.length).toBe(64 * 16_384);
      },
    );
  });

  runTest('may be left unread: the answer comes all the same', () =>
    withH2(
      () => new Response('early', { status: 403 }),
      async (client, server) => {
        const stream = client.session.request({ ':method': 'POST' });
        const answer = answerOf(stream);
        stream.on('error', () => {});
        stream.write(megabyte);
        expect(await answer).toMatchObject({ status: 403, body: 'early', code: 0 });
        expect((await client.get('/')).status).toBe(403);
        expect(server.connections).toBe(1);
      },
    ),
  );

  runTest('is asked for when the client waits for that', () =>
    withH2(
      async (request) => {
        if (request.path === '/no') return new Response('no', { status: 403 });
        if (request.path === '/late') return new Response(request.reader);
        return new Response(await request.text());
      },
      async (client) => {
        const ask = async (path: string): Promise<[boolean, string]> => {
          const headers = { ':method': 'POST', ':path': path, expect: '100-continue' };
          const stream = client.session.request(headers);
          let continued = false;
          stream.on('continue', () => {
            continued = true;
            stream.end('body');
          });
          const { body } = await answerOf(stream);
          return [continued, body];
        };
        expect(await ask('/')).toEqual([true, 'body']);
        expect(await ask('/no')).toEqual([false, 'no']);
        // Behind the head of a response it is too late for that.
        const late = client.session.request({
          ':method': 'POST',
          ':path': '/late',
          expect: '100-continue',
        });
        late.on('response', () => late.end('body'));
        expect((await answerOf(late)).body).toBe('body');
        const other = { ':method': 'POST', expect: 'wonders' };
        expect((await client.ask(other, 'x')).status).toBe(417);
      },
    ),
  );

  runTest('loses its trailers; too many of them are an error', () =>
    withH2(
      async (request) => {
        const text = await request.text();
        return new Response(`${text} ${request.headers.has('x-trailer')}`);
      },
      async (client) => {
        const ask = (count: number): Promise<{ status: number; body: string }> => {
          const options = { waitForTrailers: true };
          const stream = client.session.request({ ':method': 'POST' }, options);
          stream.on('wantTrailers', () => {
            const lines = Array.from({ length: count }, (_, i) => [`x-${i}`, 'y']);
            stream.sendTrailers({ 'x-trailer': 'a', ...Object.fromEntries(lines) });
          });
          stream.end('body');
          return answerOf(stream);
        };
        expect((await ask(0)).body).toBe('body false');
        expect((await ask(20)).status).toBe(431);
      },
      { maxHeaders: 16 },
    ),
  );
});
