/** Servers with clients from outside: files, bridges, TLS, proxies. Not on a simulated network. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import express from 'express';
import { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { contentDisposition } from '../../lib/http/file-response.ts';
import {
  type AccessRecord,
  Application,
  fileResponse,
  Response,
  runApp,
  serve,
} from '../../lib/http/index.ts';
import { openUnixConnection } from '../../lib/index.ts';
import { fromRequestListener, toRequestListener } from '../../lib/node/index.ts';
import { foreignEnv } from '../support/foreign.ts';
import { policyName } from '../support/policy.ts';
import { failure, runTest } from '../task/support.ts';
import { exchangeRaw, readToEnd, withHandler, withServer } from './support.ts';

let folder = '';
const large = 'abcdefghij'.repeat(20_000);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'uvio-http-'));
  const root = join(folder, 'root');
  mkdirSync(join(root, 'sub'), { recursive: true });
  mkdirSync(join(root, 'empty'));
  writeFileSync(join(root, 'a.txt'), '0123456789');
  writeFileSync(join(root, 'large.txt'), large);
  writeFileSync(join(root, 'ä b.html'), '<p>');
  writeFileSync(join(root, '.secret'), 'secret');
  writeFileSync(join(root, 'sub', 'index.html'), 'index');
  writeFileSync(join(root, 'packed.js'), 'plain');
  writeFileSync(join(root, 'packed.js.gz'), gzipSync('plain'));
  writeFileSync(join(folder, 'outside.txt'), 'secret');
  symlinkSync(join(folder, 'outside.txt'), join(root, 'link.txt'));
  symlinkSync(join(root, 'a.txt'), join(root, 'inside.txt'));
});

afterAll(() => rmSync(folder, { recursive: true }));

const root = (name = ''): string => join(folder, 'root', name);

// covers: aiohttp/fileresponse
describe('a file', () => {
  type Case = [string, Record<string, string>, number, string, Record<string, string>];
  const cases: Case[] = [
    ['whole', {}, 200, '0123456789', { 'content-length': '10', 'accept-ranges': 'bytes' }],
    ['its start', { range: 'bytes=0-3' }, 206, '0123', { 'content-range': 'bytes 0-3/10' }],
    ['its rest', { range: 'bytes=7-' }, 206, '789', { 'content-range': 'bytes 7-9/10' }],
    ['its end', { range: 'bytes=-2' }, 206, '89', { 'content-range': 'bytes 8-9/10' }],
    ['more than it has', { range: 'bytes=5-99' }, 206, '56789', {}],
    ['nothing of it', { range: 'bytes=10-' }, 416, '', { 'content-range': 'bytes */10' }],
    ['whole for nonsense', { range: 'bytes=x' }, 200, '0123456789', {}],
    ['whole for another unit', { range: 'lines=1-2' }, 200, '0123456789', {}],
    ['whole for overlapping ranges', { range: 'bytes=0-8,1-9' }, 200, '0123456789', {}],
    ['whole for another version', { range: 'bytes=0-1', 'if-range': '"x"' }, 200, '0123456789', {}],
    [
      'not when it was not changed',
      { 'if-modified-since': 'Fri, 01 Jan 2100 00:00:00 GMT' },
      304,
      '',
      {},
    ],
    ['not for any tag', { 'if-none-match': '*' }, 304, '', {}],
    ['not for another tag', { 'if-match': '"x"' }, 412, '', {}],
    [
      'not when changed since',
      { 'if-unmodified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' },
      412,
      '',
      {},
    ],
  ];
  for (const [what, headers, status, text, expected] of cases) {
    runTest(`is given ${what}`, () =>
      withHandler(
        () => fileResponse(root('a.txt')),
        async (url) => {
          const response = await fetch(url, { headers });
          expect([response.status, await response.text()]).toEqual([status, text]);
          for (const name of Object.keys(expected)) {
            expect(response.headers.get(name)).toBe(expected[name]);
          }
        },
      ),
    );
  }

  runTest('is not sent again when its tag is known', () =>
    withHandler(
      () => fileResponse(root('a.txt')),
      async (url) => {
        const etag = (await fetch(url)).headers.get('etag') as string;
        const same = await fetch(url, { headers: { 'if-none-match': `"x", W/${etag}` } });
        expect([same.status, same.headers.get('etag')]).toEqual([304, etag]);
        const part = await fetch(url, { headers: { range: 'bytes=0-1', 'if-range': etag } });
        expect(part.status).toBe(206);
      },
    ),
  );

  runTest('of several ranges comes in parts', () =>
    withHandler(
      () => fileResponse(root('a.txt')),
      async (url) => {
        const response = await fetch(url, { headers: { range: 'bytes=0-1,8-9' } });
        const text = await response.text();
        expect(response.status).toBe(206);
        expect(response.headers.get('content-type')).toMatch(/^multipart\/byteranges; boundary=/);
        expect(text).toMatch(/bytes 0-1\/10\r\n\r\n01\r\n--[\s\S]*bytes 8-9\/10\r\n\r\n89\r\n--/);
      },
    ),
  );

  runTest('that is large comes whole, and in parts', () =>
    withHandler(
      () => fileResponse(root('large.txt')),
      async (url) => {
        expect(await (await fetch(url)).text()).toBe(large);
        const part = await fetch(url, { headers: { range: 'bytes=100-150099' } });
        expect(await part.text()).toBe(large.slice(100, 150_100));
        const head = await fetch(url, { method: 'HEAD' });
        expect(head.headers.get('content-length')).toBe(String(large.length));
      },
    ),
  );

  runTest('that is missing, or none, is a 404', async () => {
    for (const path of [root('none'), root('sub'), root('a\0b')]) {
      await withHandler(
        () => fileResponse(path),
        async (url) => expect((await fetch(url)).status).toBe(404),
      );
    }
  });

  test.each([
    ['a.txt', 'attachment; filename="a.txt"'],
    ['ä "b".txt', `attachment; filename="_ _b_.txt"; filename*=UTF-8''%C3%A4%20%22b%22.txt`],
    ['a\r\nb', `attachment; filename="a__b"; filename*=UTF-8''a%0D%0Ab`],
  ])('is a download named %j', (name, expected) => {
    expect(contentDisposition(name)).toBe(expected);
  });
});

// covers: aiohttp/application
// CVE-2024-23334, CVE-2024-42367, CVE-2025-69226: paths and links that lead out of it.
describe('a directory', () => {
  const cases: [string, number, string][] = [
    ['/s/a.txt', 200, '0123456789'],
    ['/s/%C3%A4%20b.html', 200, '<p>'],
    ['/s/sub/', 200, 'index'],
    ['/s/inside.txt', 200, '0123456789'],
    ['/s/link.txt', 404, 'Not Found'],
    ['/s/.secret', 404, 'Not Found'],
    ['/s/none', 404, 'Not Found'],
    ['/s/a.txt/', 404, 'Not Found'],
    ['/s/empty/', 404, 'Not Found'],
    ['/s/../outside.txt', 404, 'Not Found'],
    ['/s/%2e%2e/outside.txt', 404, 'Not Found'],
    ['/s/..%2foutside.txt', 404, 'Not Found'],
    ['/s/%2e%2e%2foutside.txt', 404, 'Not Found'],
    ['/s/sub/..%5c..%5coutside.txt', 404, 'Not Found'],
    ['/s//a.txt', 404, 'Not Found'],
    ['/s/a.txt%00', 404, 'Not Found'],
  ];
  for (const [path, status, text] of cases) {
    runTest(`answers ${path} with ${status}`, () =>
      withServer(new Application().static('/s', root()), async (_url, server) => {
        const request = `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
        const answer = await exchangeRaw(server.port, request);
        expect(answer.slice(9, 12)).toBe(String(status));
        expect(answer.split('\r\n\r\n')[1]).toBe(text);
      }),
    );
  }

  runTest('without its slash is redirected; a listing shows what may be seen', () =>
    withServer(
      new Application().static('/s', root(), { listing: true, maxAgeSeconds: 60 }),
      async (url) => {
        const moved = await fetch(`${url}/s/sub`, { redirect: 'manual' });
        expect([moved.status, moved.headers.get('location')]).toEqual([301, '/s/sub/']);
        const page = await (await fetch(`${url}/s/`)).text();
        expect(page).toContain('a.txt');
        expect(page).not.toContain('secret');
        const file = await fetch(`${url}/s/a.txt`);
        expect(file.headers.get('cache-control')).toBe('public, max-age=60');
      },
    ),
  );

  runTest('gives the packed form of a file to who takes it', () =>
    withServer(new Application().static('/s', root()), async (url) => {
      for (const [accepted, coding] of [
        ['gzip', 'gzip'],
        ['identity', null],
      ] as const) {
        const response = await fetch(`${url}/s/packed.js`, {
          headers: { 'accept-encoding': accepted },
        });
        expect(response.headers.get('content-encoding')).toBe(coding);
        expect(response.headers.get('vary')).toBe('accept-encoding');
        expect(await response.text()).toBe('plain');
      }
    }),
  );
});

describe('a proxy in front', () => {
  type Case = [boolean | string[] | undefined, Record<string, string>, string];
  const cases: Case[] = [
    [undefined, { 'x-forwarded-for': '1.2.3.4', 'x-forwarded-proto': 'https' }, '127.0.0.1 http'],
    [
      true,
      { 'x-forwarded-for': '1.2.3.4, 5.6.7.8', 'x-forwarded-proto': 'https' },
      '1.2.3.4 https',
    ],
    [true, { 'x-forwarded-for': '1.2.3.4', 'x-forwarded-proto': 'HTTPS' }, '1.2.3.4 https'],
    [['127.0.0.1'], { 'x-forwarded-for': '1.2.3.4, 5.6.7.8' }, '5.6.7.8 http'],
    [['127.0.0.0/8', '5.6.7.8'], { 'x-forwarded-for': '1.2.3.4, 5.6.7.8' }, '1.2.3.4 http'],
    [['10.0.0.1'], { 'x-forwarded-for': '1.2.3.4' }, '127.0.0.1 http'],
    [true, { forwarded: 'for="[2001:db8::1]:80";proto=https;host=ex.org' }, '2001:db8::1 https'],
    [true, { forwarded: 'for=unknown' }, '127.0.0.1 http'],
    // Of a proxy that knows X-Forwarded-For only: the client has said the other one.
    [true, { 'x-forwarded-for': '1.2.3.4', forwarded: 'for=6.6.6.6;proto=https' }, '1.2.3.4 http'],
    [true, { 'x-forwarded-for': 'nonsense' }, '127.0.0.1 http'],
  ];
  for (const [trustProxy, headers, expected] of cases) {
    runTest(`trusted ${JSON.stringify(trustProxy)} says ${JSON.stringify(headers)}`, () =>
      withHandler(
        (request) => new Response(`${request.ip} ${new URL(request.url).protocol.slice(0, -1)}`),
        async (url) => expect(await (await fetch(url, { headers })).text()).toBe(expected),
        trustProxy === undefined ? {} : { trustProxy },
      ),
    );
  }
});

describe('serve', () => {
  runTest('logs each request', async () => {
    const records: AccessRecord[] = [];
    await withHandler(
      () => new Response('hello'),
      async (url, server) => {
        await (await fetch(`${url}/x?y`)).text();
        await exchangeRaw(server.port, 'nonsense\r\n\r\n');
      },
      { accessLog: (record) => records.push(record) },
    );
    expect(records).toMatchObject([
      { method: 'GET', path: '/x', status: 200, bytes: 5, ip: '127.0.0.1' },
      { method: '', status: 400 },
    ]);
  });

  runTest('listens on UNIX sockets, and on one more address', async () => {
    const app = new Application().get('/', (request) => new Response(request.url));
    const path = join(folder, 'socket');
    await using server = await serve(app, { path });
    await using connection = await openUnixConnection(path);
    await connection.write('GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n');
    expect(await readToEnd(connection)).toMatch(/http:\/\/localhost\/$/);
    await server.listen({ host: '127.0.0.1', port: 0 });
    expect(server.addresses.map(({ family }) => family)).toEqual(['unix', 'IPv4']);
  });

  // covers: systemd/listen-fds
  test('serves on a listening socket that it was started with', async () => {
    const listening = createServer().listen(0, '127.0.0.1');
    await once(listening, 'listening');
    const url = `http://127.0.0.1:${(listening.address() as AddressInfo).port}/`;
    const { fd } = (listening as unknown as { _handle: { fd: number } })._handle;
    const program = fileURLToPath(new URL('./programs/inherited.ts', import.meta.url));
    const loader = fileURLToPath(new URL('../task/ts-loader.mjs', import.meta.url));
    const flags = ['--disable-warning=DEP0205', '--import', loader, program, policyName];
    const child = spawn(process.execPath, flags, { stdio: ['ignore', 'inherit', 'inherit', fd] });
    listening.close();
    const over = once(child, 'close');
    expect(await (await fetch(url)).text()).toBe(url);
    expect(await over).toEqual([0, null]);
  }, 60_000);

  runTest('rejects what it cannot do', async () => {
    const app = new Application();
    await using server = await serve(app, { host: '127.0.0.1', port: 0 });
    const { port } = server;
    expect(await failure(serve(app, { host: '127.0.0.1', port }))).toMatchObject({
      code: 'EADDRINUSE',
    });
    for (const bad of [
      { port: -1 },
      { keepAliveMs: Number.NaN },
      { maxHeaders: 0 },
      { accessLog: 1 },
      { trustProxy: ['x'] },
      { tls: 1 },
      { fd: 3, port },
      { fd: 3, path: '/x' },
      { fd: 'x' },
    ]) {
      expect(await failure(serve(app, bad as never))).toBeInstanceOf(Error);
    }
    expect(await failure(serve({ port: 0 } as never))).toBeInstanceOf(TypeError);
  });

  runTest('speaks TLS', async () => {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost'];
    execFileSync('openssl', [...request, '-days', '2', '-keyout', key, '-out', cert], {
      stdio: 'ignore',
      env: foreignEnv(),
    });
    const tls = { key: readFileSync(key), cert: readFileSync(cert) };
    await withHandler(
      async (asked) => new Response(`${asked.url} ${asked.tls?.protocol} ${await asked.text()}`),
      async (url) => {
        const body = await new Promise<string>((resolve, reject) => {
          const options = { rejectUnauthorized: false, method: 'POST', agent: false };
          const sent = https.request(`${url}/x`, options, async (answer) => {
            let text = '';
            for await (const chunk of answer) text += chunk;
            resolve(text);
          });
          sent.on('error', reject);
          sent.end('hi');
        });
        expect(body).toBe(`${url}/x TLSv1.3 hi`);
      },
      { tls },
    );
  });

  runTest('runs until its signal aborts', async () => {
    const controller = new AbortController();
    const app = new Application();
    const print = (text: string): void => {
      expect(text).toMatch(/^Running on http:\/\/127\.0\.0\.1:\d+\/$/);
      controller.abort(new Error('enough'));
    };
    const { signal } = controller;
    const options = { host: '127.0.0.1', port: 0, print, signal, handleSignals: false } as const;
    expect((await failure(runApp(app, options))).message).toBe('enough');
    expect(await failure(runApp({} as never, options))).toBeInstanceOf(TypeError);
  });
});

describe('frameworks', () => {
  runTest('a Hono app is served', async () => {
    const hono = new Hono();
    hono.get('/hi/:name', (c) => c.text(`hi ${c.req.param('name')} ${c.req.query('a')}`));
    hono.post('/json', async (c) => c.json(await c.req.json()));
    for (const webRequest of [false, true]) {
      await withServer({ fetch: hono.fetch as never, webRequest }, async (url) => {
        expect(await (await fetch(`${url}/hi/ada?a=1`)).text()).toBe('hi ada 1');
        const init = { method: 'POST', body: '{"b":2}' };
        expect(await (await fetch(`${url}/json`, init)).json()).toEqual({ b: 2 });
        expect((await fetch(`${url}/none`)).status).toBe(404);
      });
    }
  });

  runTest('bodies of a fetch handler are bounded, by 1 MiB if nothing is said', async () => {
    const read = async (request: Request): Promise<globalThis.Response> =>
      new globalThis.Response(String((await request.text()).length));
    const send = (url: string, bytes: number): Promise<globalThis.Response> =>
      fetch(url, { method: 'POST', body: 'x'.repeat(bytes) });
    await withServer({ fetch: read as never }, async (url) => {
      expect(await (await send(url, 2 ** 20)).text()).toBe(String(2 ** 20));
      expect((await send(url, 2 ** 20 + 1)).status).toBe(413);
    });
    await withServer({ fetch: read as never, maxBodyBytes: 10 }, async (url) => {
      expect((await send(url, 10)).status).toBe(200);
      expect((await send(url, 11)).status).toBe(413);
    });
    const bad = { fetch: read as never, maxBodyBytes: -1 };
    expect(await failure(serve(bad))).toBeInstanceOf(RangeError);
  });

  runTest('an Express app is a handler', async () => {
    const old = express();
    old.use(express.json());
    old.post('/old/json', (request, response) => {
      response.json({ got: request.body as unknown, ip: request.ip });
    });
    old.get('/old/text', (_request, response) => {
      response.status(201).set('x-a', 'b').send('text');
    });
    const app = new Application().route('*', '/old/*', fromRequestListener(old as never) as never);
    await withServer(app, async (url) => {
      const headers = { 'content-type': 'application/json' };
      const posted = await fetch(`${url}/old/json`, { method: 'POST', body: '{"a":1}', headers });
      expect(await posted.json()).toEqual({ got: { a: 1 }, ip: '127.0.0.1' });
      const got = await fetch(`${url}/old/text`);
      expect([got.status, got.headers.get('x-a'), await got.text()]).toEqual([201, 'b', 'text']);
      expect((await fetch(`${url}/old/none`)).status).toBe(404);
    });
  });

  runTest('an application runs in node:http and in Express', async () => {
    const app = new Application().get('/ours/:id', (request) => Response.json(request.params));
    app.post('/ours', async (request) => new Response(await request.text()));
    app.get('/stream', () => new Response(['a', 'b']));
    const outer = express();
    outer.use(toRequestListener(app));
    outer.get('/theirs', (_request, response) => {
      response.send('theirs');
    });
    for (const listener of [toRequestListener(app), outer as never]) {
      const server = http.createServer(listener);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
      expect(await (await fetch(`${url}/ours/5`)).json()).toEqual({ id: '5' });
      expect(await (await fetch(`${url}/ours`, { method: 'POST', body: 'x' })).text()).toBe('x');
      expect(await (await fetch(`${url}/stream`)).text()).toBe('ab');
      expect((await fetch(`${url}/theirs`)).status).toBe(listener === (outer as never) ? 200 : 404);
      server.closeAllConnections();
      server.close();
    }
    expect(() => toRequestListener({} as never)).toThrow(TypeError);
    expect(() => fromRequestListener({} as never)).toThrow(TypeError);
  });

  runTest('a body that Express has read is no body to wait for', async () => {
    const app = new Application().post('/*rest', async (request) => {
      return new Response(await request.text());
    });
    const outer = express()
      .use(express.json())
      .use(toRequestListener(app) as never);
    const server = http.createServer(outer as never);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
    const headers = { 'content-type': 'application/json' };
    const taken = await fetch(url, { method: 'POST', body: '{}', headers });
    expect([taken.status, await taken.text()]).toEqual([500, expect.stringContaining('read')]);
    expect(await (await fetch(url, { method: 'POST', body: 'text' })).text()).toBe('text');
    server.closeAllConnections();
    server.close();
  });
});
