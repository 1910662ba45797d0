/**
 * The server with clients of others, and behind a proxy: curl, aiohttp, Go, nginx, a browser. What
 * is not installed is left out (Debian: curl, python3-aiohttp, golang, nginx-light, chromium).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openWebSocket } from '../../lib/http/client/open-socket.ts';
import type { HttpServer, ServeOptions } from '../../lib/http/index.ts';
import { foreignEnv } from '../support/foreign.ts';
import { goProgram, goVersion } from '../support/go.ts';
import { inRun } from '../task/support.ts';
import { withSession } from './client-support.ts';
import { large, makePeersApp, output, works } from './peers-support.ts';
import { withServer } from './support.ts';

const python = '/usr/bin/python3';
const nginx = '/usr/sbin/nginx';
const browser = '/usr/bin/chromium';
const program = (name: string): string =>
  fileURLToPath(new URL(`programs/${name}`, import.meta.url));

const version = goVersion();
let goClient = '';
beforeAll(() => {
  if (version !== null) goClient = goProgram('test/http/programs/go_client.go', version);
}, 120_000);

let folder = '';
let file = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'uvio-peers-'));
  file = join(folder, 'digits.txt');
  writeFileSync(file, '0123456789');
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function peerTest(
  title: string,
  there: boolean,
  main: (url: string, server: HttpServer) => unknown,
  options: ServeOptions = {},
): void {
  test.skipIf(!there)(
    there ? title : `${title} (which is not installed)`,
    () => inRun(() => withServer(makePeersApp(file), main, { shutdownTimeoutMs: 0, ...options })),
    60_000,
  );
}

describe('a server is spoken to by', () => {
  peerTest('curl', works('curl', ['--version'], /^curl/), async (url) => {
    const body = join(folder, 'body');
    writeFileSync(body, 'x'.repeat(300_000));
    const curl = (...args: string[]): Promise<string> => output('curl', ['-s', ...args]);
    const reuse = ['-w', ' %{http_code} %{num_connects}\n', `${url}/`, `${url}/parts`];
    expect(await curl(...reuse)).toBe('version 1.1 200 1\nabc 200 0\n');
    expect(await curl('-0', `${url}/`)).toBe('version 1.0');
    // It offers to go on with HTTP/2, which is not taken.
    expect(await curl('--http2', '-w', ' %{http_version}', `${url}/`)).toBe('version 1.1 1.1');
    expect(await curl('--compressed', `${url}/packed`)).toBe(large);
    expect(await curl('-I', `${url}/large`)).toMatch(/^HTTP\/1.1 200 OK\r\n[\s\S]*: 800000\r\n/);
    expect(await curl('-r', '2-4', `${url}/file`)).toBe('234');
    expect(await curl('-L', `${url}/moved`)).toBe('version 1.1');
    expect(await curl('-b', '', `${url}/cookies`, `${url}/cookies`)).toBe('noneyes');
    expect(await curl('-H', 'Expect: 100-continue', '-d', 'hello', `${url}/echo`)).toBe('hello');
    const sized = (way: string): string[] => ['-w', ' %{size_upload}', `${url}/${way}`];
    const chunked = ['-H', 'Transfer-Encoding: chunked', '--data-binary', `@${body}`];
    for (const way of ['echo', 'through']) {
      expect(await curl(...chunked, ...sized(way))).toMatch(/^x{300000} 3\d{5}$/);
    }
    const early = ['-w', ' %{http_code}', '-d', `@${body}`, `${url}/early`];
    expect(await curl(...early)).toBe('no 403');
    const form = ['-F', 'a=ä', '-F', `file=@${file}`, `${url}/form`];
    expect(JSON.parse(await curl(...form))).toEqual([
      ['a', 'ä'],
      ['file', 'digits.txt', '0123456789'],
    ]);
  });

  const hasAiohttp =
    existsSync(python) && works(python, ['-c', 'import aiohttp; print("yes")'], /yes/);
  peerTest("aiohttp's client", hasAiohttp, async (url) => {
    expect(JSON.parse(await output(python, [program('aiohttp_client.py'), url]))).toEqual({
      hello: [200, 'version 1.1'],
      connections: 1,
      large: [200, 800_000],
      packed: [200, 800_000],
      parts: [200, 'abc'],
      moved: [200, 'version 1.1'],
      range: [206, '234'],
      head: [200, 0],
      cookies: ['none', 'yes'],
      echo: [200, 'hello'],
      chunked: [200, 300_000],
      through: [200, 300_000],
      early: [403, 'no'],
      form: [200, '[["a","1 2"],["b","ä"]]'],
      multipart: [200, '[["a","ä"],["file","ö.txt","bytes"]]'],
      events: ['data: event 1', 'data: event 2', 'data: event 3'],
      socket: [[true, true, true], 1000],
      abandoned: 'timed out',
      many: Array.from({ length: 100 }, (_, i) => String(i)),
    });
  });

  peerTest("Go's client", version !== null, async (url) => {
    const told = await output(goClient, [url]);
    expect(told.trim().split('\n')).toEqual([
      'GET /: 200 version 1.1',
      'connections: 1',
      'GET /large: 200 800000 bytes',
      'GET /packed: 200 800000 bytes',
      'GET /parts: 200 abc',
      'GET /moved: 200 version 1.1',
      'HEAD /large: 200 ',
      'GET /file: 206 234',
      'POST /echo: 200 hello',
      'POST /echo: 200 300000 bytes',
      'POST /through: 200 300000 bytes',
      'POST /early: 403 no',
      'POST /form: 200 [["a","1 2"],["b","ä"]]',
      'abandoned: true',
      'right: 100',
    ]);
  });

  peerTest('a browser (chromium)', existsSync(browser), async (url) => {
    const { chromium } = await import('playwright-core');
    const window = await chromium.launch({
      executablePath: browser,
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
      env: foreignEnv() as Record<string, string>,
    });
    try {
      const page = await window.newPage();
      await page.goto(url);
      expect(await page.evaluate(inBrowser)).toEqual({
        parts: '200 abc',
        packed: 800_000,
        range: '206 234',
        moved: 'version 1.1',
        cookies: ['none', 'yes'],
        echo: 'hällo',
        form: [
          ['a', 'ä'],
          ['file', 'ö.txt', 'bytes'],
        ],
        urlencoded: [['a', '1 2']],
        abandoned: 'AbortError',
        events: ['event 1', 'event 2', 'event 3'],
        socket: ['hello', 'ä'.repeat(70_000), 1000],
        many: Array.from({ length: 50 }, (_, i) => String(i)),
      });
    } finally {
      await window.close();
    }
  });
});

/** Runs in a page of the server. */
async function inBrowser(): Promise<object> {
  const text = async (path: string, init?: RequestInit): Promise<string> =>
    await (await fetch(path, init)).text();
  const post = (path: string, body: NonNullable<RequestInit['body']>): Promise<string> =>
    text(path, { method: 'POST', body });
  const told = async (path: string, init?: RequestInit): Promise<string> => {
    const response = await fetch(path, init);
    return `${response.status} ${await response.text()}`;
  };
  const form = new FormData();
  form.append('a', 'ä');
  form.append('file', new File(['bytes'], 'ö.txt'));
  const abandoned = async (): Promise<string> => {
    const late = new AbortController();
    setTimeout(() => late.abort(), 50);
    const error = await fetch('/never', { signal: late.signal }).catch((thrown) => thrown);
    return error.name;
  };
  const events = (): Promise<string[]> =>
    new Promise((resolve) => {
      const source = new EventSource('/events');
      const found: string[] = [];
      source.onmessage = ({ data }) => {
        found.push(data);
        if (found.length < 3) return;
        source.close();
        resolve(found);
      };
    });
  const { origin } = (globalThis as unknown as { location: URL }).location;
  const socket = (): Promise<unknown[]> =>
    new Promise((resolve) => {
      const peer = new WebSocket(`${origin.replace('http', 'ws')}/socket`);
      const found: unknown[] = [];
      peer.onopen = (): void => {
        peer.send('hello');
        peer.send('ä'.repeat(70_000));
      };
      peer.onmessage = ({ data }): void => {
        found.push(data);
        if (found.length === 2) peer.close(1000);
      };
      peer.onclose = ({ code }): void => resolve([...found, code]);
    });
  return {
    parts: await told('/parts'),
    packed: (await text('/packed')).length,
    range: await told('/file', { headers: { range: 'bytes=2-4' } }),
    moved: await text('/moved'),
    cookies: [await text('/cookies'), await text('/cookies')],
    echo: await post('/echo', 'hällo'),
    form: JSON.parse(await post('/form', form)),
    urlencoded: JSON.parse(await post('/form', new URLSearchParams({ a: '1 2' }))),
    abandoned: await abandoned(),
    events: await events(),
    socket: await socket(),
    many: await Promise.all(Array.from({ length: 50 }, (_, i) => post('/echo', String(i)))),
  };
}

const nginxConfig = (home: string, port: number): string => `
daemon off;
master_process off;
pid ${home}/pid;
error_log stderr error;
events {}
http {
  access_log off;
  client_max_body_size 10m;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${home}/${name};`)
    .join(' ')}
  upstream app { server 127.0.0.1:${port}; keepalive 4; }
  map $http_upgrade $connection_wanted { default upgrade; '' ''; }
  server {
    listen unix:${home}/nginx.sock;
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_wanted;
    proxy_set_header X-Forwarded-For 10.1.2.3;
    proxy_set_header X-Forwarded-Proto https;
    location / { proxy_pass http://app; }
    location /live/ {
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_pass http://app/;
    }
    location /old/ {
      proxy_http_version 1.0;
      proxy_set_header Connection close;
      proxy_pass http://app/;
    }
  }
}
`;

function listens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    socket.once('connect', () => socket.destroy());
    socket.once('error', () => resolve(false)).once('close', () => resolve(true));
  });
}

/** Runs it until the body is over; with the path of its socket. */
async function behindNginx(port: number, body: (socketPath: string) => unknown): Promise<void> {
  const home = mkdtempSync(join(folder, 'nginx-'));
  const config = join(home, 'nginx.conf');
  writeFileSync(config, nginxConfig(home, port));
  const proxy = spawn(nginx, ['-p', home, '-c', config, '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: foreignEnv(),
  });
  let complaints = '';
  proxy.stderr.on('data', (text) => (complaints += text));
  try {
    const socketPath = join(home, 'nginx.sock');
    // It is bound, and so there, before it listens.
    while (!(await listens(socketPath))) {
      if (proxy.exitCode !== null) throw new Error(complaints);
      await pause(5);
    }
    await body(socketPath);
  } finally {
    proxy.kill('SIGQUIT');
    if (proxy.exitCode === null) await once(proxy, 'exit');
  }
  // Its first words come before it has read that it is to be silent.
  expect(complaints.replaceAll(/^.*\[notice\].*\n/gm, '')).toBe('');
}

describe('behind nginx', () => {
  peerTest(
    'requests come on kept connections, bodies both ways, WebSockets',
    existsSync(nginx),
    (_url, server) =>
      behindNginx(server.port, (socketPath) =>
        withSession({ connector: { socketPath } }, async (session) => {
          const url = 'http://app.test';
          async function* parts(): AsyncGenerator<string> {
            for (let i = 0; i < 300; i++) yield 'x'.repeat(1_000);
          }
          for (let i = 0; i < 20; i++) {
            expect(await session.get(`${url}/`).text()).toBe('version 1.1');
          }
          // All went over one: nginx keeps up to four.
          expect(server.connections).toBe(1);
          expect(await session.get(`${url}/ip`).json()).toEqual({
            ip: '10.1.2.3',
            url: 'https://app.test/ip',
          });
          for (const way of ['', '/live', '/old']) {
            expect(await session.get(`${url}${way}/large`).text()).toBe(large);
            expect(await session.get(`${url}${way}/parts`).text()).toBe('abc');
            expect(await session.post(`${url}${way}/echo`, { body: 'hello' }).text()).toBe('hello');
            // nginx ends a connection whose request it has not read to the end, without a word.
            await withSession({ connector: { socketPath } }, async (once) => {
              const early = await once.post(`${url}${way}/early`, { body: large });
              expect(`${early.status} ${await early.text()}`).toBe('403 no');
            });
            // With and without chunks on the way to the server.
            const through = await session.post(`${url}${way}/through`, { body: parts() }).bytes();
            expect(through.length).toBe(300_000);
            expect((await session.head(`${url}${way}/large`)).headers.get('content-length')).toBe(
              '800000',
            );
          }
          const events = await session.get(`${url}/live/events`).text();
          expect(events.match(/event \d/g)).toEqual(['event 1', 'event 2', 'event 3']);
          const asked = Array.from({ length: 100 }, (_, i) =>
            session.post(`${url}/echo`, { body: String(i) }).text(),
          );
          expect(await Promise.all(asked)).toEqual(asked.map((_, i) => String(i)));
          await using socket = await openWebSocket('ws://app.test/socket', {
            socketPath,
            compress: true,
          });
          for (const message of ['hello', 'ä'.repeat(70_000), Buffer.from([0, 255])]) {
            await socket.send(message);
            expect(await socket.receive()).toEqual(message);
          }
          await socket.close(1000);
          expect(socket.closeCode).toBe(1000);
        }),
      ),
    { trustProxy: true },
  );
});
