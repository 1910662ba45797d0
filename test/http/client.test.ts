/** Requests and responses of the client, against uvio's server. */
import { createHash } from 'node:crypto';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect } from 'vitest';
import {
  ClientPayloadError,
  ClientResponseError,
  ClientSession,
  InvalidUrlError,
  Response,
} from '../../lib/http/index.ts';
import { ClosedResourceError, sleep } from '../../lib/index.ts';
import { failure, runTest } from '../task/support.ts';
import { echo, failsWith, withEcho, withRaw, withSession } from './client-support.ts';
import { withHandler } from './support.ts';

// covers: aiohttp/clientsession
describe('a session', () => {
  runTest('has a method for each verb', () =>
    withEcho(async (session, url) => {
      for (const verb of ['get', 'post', 'put', 'patch', 'delete', 'options'] as const) {
        expect((await session[verb](url).json()).method).toBe(verb.toUpperCase());
      }
      const head = await session.head(url);
      expect([head.status, await head.text()]).toEqual([200, '']);
      expect((await session.request('PROPFIND', url).json()).method).toBe('PROPFIND');
      expect((await session.request('get', url).json()).method).toBe('GET');
      expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
    }),
  );

  runTest('resolves URLs against its base and sends its headers', () =>
    withHandler(echo, (url) =>
      withSession(
        { baseUrl: `${url}/api/`, headers: { 'x-a': '1', 'x-b': '2' } },
        async (session) => {
          const told = await session
            .get('users?x=1', { headers: { 'X-B': '3' }, query: { y: [2, 3] } })
            .json();
          expect(told.path).toBe('/api/users');
          expect(told.query).toEqual([
            ['x', '1'],
            ['y', '2'],
            ['y', '3'],
          ]);
          expect(told.headers).toMatchObject({ 'x-a': '1', 'x-b': '3', 'user-agent': 'uvio' });
          expect((await session.get('/top').json()).path).toBe('/top');
        },
      ),
    ),
  );

  runTest('is of no use once closed', () =>
    withEcho(async (session, url) => {
      await session.get(url).text();
      const open = session.get(url);
      await session.close();
      await failsWith(open, ClosedResourceError);
      expect(session.closed).toBe(true);
      await failsWith(session.get(url), ClosedResourceError);
      expect(session.connector.stats()).toEqual({ open: 0, idle: 0, waiting: 0 });
      await session.close();
    }),
  );

  runTest('has the fetch of the Web', () =>
    withEcho(async (session, url) => {
      const { fetch } = session;
      const init = { method: 'POST', body: 'hi', headers: { 'x-a': 'b' } };
      for (const told of [await fetch(url, init), await fetch(new Request(url, init))]) {
        expect(await told.json()).toMatchObject({
          method: 'POST',
          body: 'hi',
          headers: { 'x-a': 'b' },
        });
      }
      const bytes = Buffer.from('xhix');
      const memory = bytes.buffer.slice(bytes.byteOffset + 1, bytes.byteOffset + 3);
      for (const body of [memory, new Uint16Array(memory), new DataView(memory)]) {
        const told = await fetch(url, { method: 'PUT', body });
        expect(await told.json()).toMatchObject({ method: 'PUT', body: 'hi' });
      }
      expect(await (await fetch(url, null as never)).json()).toMatchObject({ method: 'GET' });
    }),
  );
});

// covers: aiohttp/request-options, aiohttp/formdata
describe('a body', () => {
  runTest('is text, bytes, JSON, a form, a Blob, an iterable, a stream or a function', () =>
    withEcho(async (session, url) => {
      async function* parts(): AsyncGenerator<string | Uint8Array> {
        yield 'a';
        await sleep(1);
        yield Buffer.from('bc');
      }
      const cases: [object, string, string | undefined, boolean][] = [
        [{ body: 'é' }, 'é', 'text/plain;charset=UTF-8', false],
        [{ body: Buffer.from('abc') }, 'abc', undefined, false],
        [{ json: { a: [1] } }, '{"a":[1]}', 'application/json', false],
        [{ form: { a: '1 2' } }, 'a=1+2', 'application/x-www-form-urlencoded;charset=UTF-8', false],
        [{ body: new Blob(['abc'], { type: 'text/x' }) }, 'abc', 'text/x', false],
        [{ body: parts() }, 'abc', undefined, true],
        [{ body: new Blob(['abc']).stream() }, 'abc', undefined, true],
        [
          { body: (w: { write(data: string): unknown }): unknown => w.write('abc') },
          'abc',
          undefined,
          true,
        ],
        [{ body: 'x'.repeat(200_000) }, 'x'.repeat(200_000), 'text/plain;charset=UTF-8', false],
      ];
      for (const [options, body, type, chunked] of cases) {
        const told = await session.put(url, options).json();
        expect([told.body, told.headers['content-type']]).toEqual([body, type]);
        expect(told.headers['transfer-encoding']).toBe(chunked ? 'chunked' : undefined);
      }
      expect((await session.post(url).json()).headers['content-length']).toBe('0');
      expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
    }),
  );

  runTest('of a form arrives in parts', () =>
    withHandler(
      async (request) => {
        const form = await request.formData();
        return Response.json([form.get('a'), await (form.get('f') as File).text()]);
      },
      (url) =>
        withSession({}, async (session) => {
          const form = new FormData();
          form.append('a', 'ü');
          form.append('f', new Blob(['data']), 'name.txt');
          expect(await session.post(url, { body: form }).json()).toEqual(['ü', 'data']);
        }),
    ),
  );

  runTest('waits for 100 when asked to, and is kept back when the server refuses', () =>
    withHandler(
      async (request) => {
        if (request.path === '/no') return new Response('no', { status: 413 });
        return new Response(await request.text());
      },
      (url) =>
        withSession({}, async (session) => {
          const options = { body: 'x'.repeat(100_000), expectContinue: true };
          expect((await session.post(url, options).text()).length).toBe(100_000);
          expect((await session.post(`${url}/no`, options)).status).toBe(413);
        }),
    ),
  );

  runTest('that fails rejects the request with its error', () =>
    withEcho(async (session, url) => {
      const body = (): never => {
        throw new Error('mine');
      };
      expect((await failure(session.post(url, { body }))).message).toBe('mine');
      const short = { body: async (): Promise<void> => {}, headers: { 'content-length': '5' } };
      expect(await failure(session.post(url, short))).toBeInstanceOf(RangeError);
      expect(session.connector.stats().open).toBe(0);
    }),
  );
});

// covers: aiohttp/request-options
describe('credentials', () => {
  runTest('are Basic, Bearer, or of the URL', () =>
    withEcho(async (session, url) => {
      const get = async (target: string, options = {}): Promise<string> =>
        (await session.get(target, options).json()).headers.authorization;
      const basic = `Basic ${Buffer.from('u:pä').toString('base64')}`;
      expect(await get(url, { auth: { username: 'u', password: 'pä' } })).toBe(basic);
      expect(await get(url, { auth: { bearer: 't.o' } })).toBe('Bearer t.o');
      const inUrl = url.replace('//', '//u:p%C3%A4@');
      expect(await get(inUrl)).toBe(basic);
      expect((await session.get(inUrl)).url).toBe(`${url}/`);
    }),
  );

  // CVE-2023-23936, CVE-2023-49081, CVE-2023-49082, CVE-2026-1525, CVE-2026-1527
  runTest('and arguments that are wrong are refused before anything is sent', () =>
    withEcho(async (session, url) => {
      const bad: [object, RegExp][] = [
        [{ auth: { username: 'a:b', password: '' } }, /username/],
        [{ auth: { bearer: 'a b' } }, /bearer/],
        [{ body: 'a', json: 1 }, /one of/],
        [{ json: undefined, body: 7 }, /body/],
        [{ headers: { 'a b': 'c' } }, /token/],
        [{ headers: { a: 'b\r\nc: d' } }, /character/],
        [{ cookies: { a: 'b;c' } }, /cookies/],
        [{ redirect: 'maybe' }, /redirect/],
        [{ timeoutMs: Number.NaN }, /timeoutMs/],
        [{ retry: 0 }, /attempts/],
        [{ maxRedirects: -1 }, /maxRedirects/],
      ];
      for (const [options, message] of bad) {
        expect((await failure(session.post(url, options as object))).message).toMatch(message);
      }
      for (const target of ['nonsense', 'ftp://host/', 'http://', '//host/']) {
        await failsWith(session.get(target), InvalidUrlError);
      }
      await failsWith(session.request('CONNECT', url), TypeError);
      await failsWith(session.request('G T', url), TypeError);
      expect(session.connector.stats().open).toBe(0);
      expect(() => new ClientSession({ connector: { limit: 0 } })).toThrow(RangeError);
    }),
  );
});

// covers: aiohttp/clientresponse, aiohttp/payload-stream
describe('a response', () => {
  const text = 'line 1\nline 2\nlast';

  runTest('tells status, headers, cookies and links', () =>
    withRaw(
      () =>
        'HTTP/1.1 201 Made\r\nX-A: 1\r\nx-a: 2\r\nset-cookie: a=b; path=/\r\nset-cookie: c=d\r\n' +
        'link: </2>; rel="next prefetch", <http://x/>; rel=last; title="a, b"\r\n' +
        'content-length: 0\r\n\r\n',
      (url) =>
        withSession({}, async (session) => {
          const response = await session.get(`${url}/1`);
          expect([response.status, response.statusText, response.ok]).toEqual([201, 'Made', true]);
          expect([response.httpVersion, response.url]).toEqual(['1.1', `${url}/1`]);
          expect(response.headers.get('x-a')).toBe('1, 2');
          expect([...response.cookies]).toEqual([
            ['a', 'b'],
            ['c', 'd'],
          ]);
          expect(response.links.get('next')?.href).toBe(`${url}/2`);
          expect(response.links.get('last')?.href).toBe('http://x/');
          expect(response.body).toBe(null);
        }),
    ),
  );

  runTest('is read as text, bytes, JSON, a Blob, lines, chunks or a Web stream', () =>
    withHandler(
      (request) => (request.path === '/json' ? Response.json({ a: 1 }) : new Response(text)),
      (url) =>
        withSession({}, async (session) => {
          expect((await session.get(url).bytes()).toString()).toBe(text);
          expect(await session.get(`${url}/json`).json()).toEqual({ a: 1 });
          expect(await (await (await session.get(url)).blob()).text()).toBe(text);
          const lines: string[] = [];
          for await (const line of (await session.get(url)).reader.lines()) lines.push(line);
          expect(lines).toEqual(['line 1', 'line 2', 'last']);
          expect((await (await session.get(url)).reader.readExactly(4)).toString()).toBe('line');
          const web = (await session.get(url)).body as ReadableStream<Uint8Array>;
          expect(await new globalThis.Response(web).text()).toBe(text);
          const twice = await session.get(url);
          await twice.text();
          await failsWith(twice.text(), TypeError);
        }),
    ),
  );

  runTest('of another charset is decoded', () =>
    withRaw(
      () =>
        Buffer.from(
          'HTTP/1.1 200 OK\r\ncontent-type: a/b; charset=latin1\r\ncontent-length: 1\r\n\r\n\xe4',
          'latin1',
        ),
      (url) => withSession({}, async (session) => expect(await session.get(url).text()).toBe('ä')),
    ),
  );

  runTest('ends with the connection when nothing else says how', () =>
    withRaw(
      async (_request, connection) => {
        await connection.write('HTTP/1.0 200 OK\r\n\r\nuntil');
        await connection.write(' the end');
        return null;
      },
      (url) =>
        withSession({}, async (session) => {
          expect(await session.get(url).text()).toBe('until the end');
          expect(session.connector.stats().open).toBe(0);
        }),
    ),
  );

  runTest('that is large waits for its reader, and comes whole', () => {
    const block = Buffer.alloc(65_536, 7);
    return withHandler(
      () =>
        new Response(async (writer) => {
          for (let i = 0; i < 32; i++) await writer.write(block);
        }),
      (url) =>
        withSession({}, async (session) => {
          const response = await session.get(url);
          await sleep(20);
          const hash = createHash('sha1')
            .update(await response.bytes())
            .digest('hex');
          const whole = createHash('sha1')
            .update(Buffer.alloc(32 * 65_536, 7))
            .digest('hex');
          expect(hash).toBe(whole);
          await expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
        }),
    );
  });

  runTest('that nobody reads gives its connection back when it is small, else closes it', () =>
    withHandler(
      (request) => new Response('x'.repeat(request.path === '/large' ? 5_000_000 : 10)),
      (url) =>
        withSession({}, async (session) => {
          {
            await using _response = await session.get(url);
          }
          expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
          const large = await session.get(`${url}/large`);
          await large.release();
          expect(session.connector.stats().open).toBe(0);
          await failsWith(large.text(), ClientPayloadError);
        }),
    ),
  );

  runTest('of 400 and above throws when asked to', () =>
    withHandler(
      () => new Response('gone', { status: 410 }),
      (url) =>
        withSession({ raiseForStatus: true }, async (session) => {
          const error = await failure(session.get(url));
          expect(error).toBeInstanceOf(ClientResponseError);
          expect([error.status, error.url]).toEqual([410, `${url}/`]);
          const response = await session.get(url, { raiseForStatus: false });
          expect(() => response.raiseForStatus()).toThrow(ClientResponseError);
          expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
        }),
    ),
  );

  runTest('in parts is read part by part', () => {
    const form = new FormData();
    form.append('a', '1');
    return withHandler(
      () => new Response(form),
      (url) =>
        withSession({}, async (session) => {
          const names: unknown[] = [];
          for await (const part of (await session.get(url)).multipart()) {
            names.push([part.name, await part.text()]);
          }
          expect(names).toEqual([['a', '1']]);
          expect((await (await session.get(url)).formData()).get('a')).toBe('1');
        }),
    );
  });

  runTest('in gzip, deflate, raw deflate, brotli or several is decompressed', () => {
    const body = 'hello '.repeat(1000);
    const encoders: Record<string, (data: Buffer | string) => Buffer> = {
      gzip: gzipSync,
      deflate: deflateSync,
      raw: deflateRawSync,
      br: brotliCompressSync,
      'gzip, br': (data) => brotliCompressSync(gzipSync(data)),
      identity: (data) => Buffer.from(data),
    };
    return withHandler(
      (request) => {
        const coding = request.query.get('coding') as string;
        const encoded = (encoders[coding] as (data: string) => Buffer)(body);
        const headers = { 'content-encoding': coding === 'raw' ? 'deflate' : coding };
        return new Response(encoded, { headers });
      },
      (url) =>
        withSession({}, async (session) => {
          for (const coding of Object.keys(encoders)) {
            const response = await session.get(url, { query: { coding } });
            expect(response.headers.has('content-encoding')).toBe(true);
            expect([coding, await response.text()]).toEqual([coding, body]);
          }
          const plain = { decompress: false, query: { coding: 'gzip' } };
          expect((await session.get(url, plain).bytes()).length).toBeLessThan(500);
          expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
        }),
    );
  });

  // covers: aiohttp/server-sent-events
  runTest('of events is read event by event', () =>
    withRaw(
      async (_request, connection) => {
        await connection.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n');
        for (const part of [
          '\ufeff: hi\ndata: a\r',
          '\ndata: b\n\n',
          'id: 7\nevent: x\nretry: 5\ndata\n\n',
          'data: lost',
        ]) {
          await connection.write(part);
          await sleep(1);
        }
        return null;
      },
      (url) =>
        withSession({}, async (session) => {
          const events: unknown[] = [];
          for await (const event of (await session.get(url)).events()) events.push(event);
          expect(events).toEqual([{ data: 'a\nb' }, { data: '', event: 'x', id: '7', retryMs: 5 }]);
        }),
    ),
  );
});
