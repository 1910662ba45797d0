/** The client with servers of other makers: nginx, Go, aiohttp; each where it is there. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { beforeAll, describe, expect, test } from 'vitest';
import type { ClientSession } from '../../lib/http/index.ts';
import { gather } from '../../lib/index.ts';
import { foreignEnv } from '../support/foreign.ts';
import { goProgram, goVersion } from '../support/go.ts';
import { inRun } from '../task/support.ts';
import { withSession } from './client-support.ts';
import { realNetwork } from './support.ts';

const env = foreignEnv();
const python = '/usr/bin/python3';
const limitMs = 60_000;

function works(program: string, ...args: string[]): boolean {
  return realNetwork && spawnSync(program, args, { env }).status === 0;
}

const text = 'uvio and others. '.repeat(20_000);

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'uvio-peer-'));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill();
  await closed;
}

/** A program that prints its port. */
async function withProgram(
  command: string,
  args: string[],
  work: (url: string) => Promise<void>,
): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env });
  try {
    const [line] = await once(createInterface({ input: child.stdout }), 'line');
    await work(`http://127.0.0.1:${line}`);
  } finally {
    await ended(child);
  }
}

async function* parts(): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += 5_000) yield text.slice(at, at + 5_000);
}

/** What all of them do alike: /text, /echo, /moved to /text, /close without keep-alive. */
async function asks(session: ClientSession, url: string): Promise<void> {
  expect((await session.get(`${url}/text`).text()) === text).toBe(true);
  const head = await session.head(`${url}/text`);
  expect([head.status, await head.text()]).toEqual([200, '']);
  const moved = await session.get(`${url}/moved`);
  expect((await moved.text()) === text).toBe(true);
  expect(moved.history.map(({ status }) => status)).toEqual([302]);
  const missing = await session.get(`${url}/missing`);
  expect([missing.status, (await missing.text()).length > 0]).toEqual([404, true]);
  // The body of a redirect may come later than its head: then there is a second one.
  const kept = session.connector.stats();
  expect([kept.open - kept.idle, kept.waiting, kept.open <= 2]).toEqual([0, 0, true]);
  const all = await gather(
    ...Array.from({ length: 20 }, () => () => session.get(`${url}/text`).text()),
  );
  expect(all.every((one) => one === text)).toBe(true);
  expect(await session.get(`${url}/close`).text()).toBe('bye');
  const { open, idle, waiting } = session.connector.stats();
  expect([open - idle, waiting]).toEqual([0, 0]);
}

async function echoes(session: ClientSession, url: string): Promise<void> {
  const post = (options: object): Promise<string> => session.post(`${url}/echo`, options).text();
  for (const options of [{ body: text }, { body: parts() }, { body: text, expectContinue: true }]) {
    expect((await post(options)) === text).toBe(true);
  }
  expect(await post({ form: { a: 'b c' } })).toBe('a=b+c');
}

function nginxConfig(folder: string): string {
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/temp;`)
    .join(' ');
  return `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
events {}
http {
  access_log off; ${temp}
  gzip on; gzip_types text/plain; default_type text/plain;
  server {
    listen unix:${folder}/socket;
    root ${folder}/www;
    location = /moved { return 302 /text; }
    location = /close { keepalive_timeout 0; return 200 bye; }
    location = /inside { auth_basic "of tests"; auth_basic_user_file ${folder}/users; }
    location = /small { client_max_body_size 10; proxy_pass http://unix:${folder}/socket:/text; }
  }
}`;
}

const version = realNetwork ? goVersion() : null;
let goServer = '';
beforeAll(() => {
  if (version !== null) goServer = goProgram('test/http/programs/server.go', version);
}, 120_000);

const aiohttpProgram = `
import asyncio
from aiohttp import web

TEXT = 'uvio and others. ' * 20000

async def text(request):
    answer = web.Response(text=TEXT)
    answer.enable_compression()
    return answer

async def moved(request):
    raise web.HTTPFound('/text')

async def close(request):
    answer = web.Response(text='bye')
    answer.force_close()
    return answer

async def echo(request):
    answer = web.StreamResponse()
    await answer.prepare(request)
    async for chunk in request.content.iter_any():
        await answer.write(chunk)
    return answer

async def upload(request):
    form = await request.post()
    return web.Response(text='%s %s' % (form['a'], form['file'].filename))

async def main():
    app = web.Application(client_max_size=2 ** 24)
    app.add_routes([web.get('/text', text), web.get('/moved', moved), web.get('/close', close),
                    web.post('/echo', echo), web.post('/upload', upload)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, '127.0.0.1', 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
`;

// covers: aiohttp/clientsession, aiohttp/tcpconnector
describe('servers of other makers', () => {
  const nginx = works('nginx', '-v') ? 'nginx' : '/usr/sbin/nginx';

  test.skipIf(!works(nginx, '-v'))(
    'nginx (Debian: nginx-light)',
    () =>
      inFolder(async (folder) => {
        mkdirSync(join(folder, 'www'));
        for (const name of ['text', 'inside']) writeFileSync(join(folder, 'www', name), text);
        writeFileSync(join(folder, 'users'), 'ada:{PLAIN}secret\n');
        writeFileSync(join(folder, 'conf'), nginxConfig(folder));
        const args = ['-c', join(folder, 'conf'), '-p', folder, '-e', join(folder, 'error.log')];
        const child = spawn(nginx, args, { stdio: 'inherit', env });
        const url = 'http://localhost';
        const connector = { socketPath: join(folder, 'socket') };
        try {
          await inRun(() =>
            withSession(
              { connector, retry: { attempts: 200, delayMs: 50, factor: 1 } },
              async (session) => {
                await session.get(`${url}/text`).text();
                await asks(session, url);
                const answer = await session.get(`${url}/text`);
                expect(answer.headers.get('content-encoding')).toBe('gzip');
                await answer.release();
                const range = { headers: { range: 'bytes=5-7' } };
                const part = await session.get(`${url}/inside`, {
                  ...range,
                  decompress: false,
                  auth: { username: 'ada', password: 'secret' },
                });
                expect([part.status, await part.text()]).toEqual([206, text.slice(5, 8)]);
                expect((await session.get(`${url}/inside`)).status).toBe(401);
                // It answers, and closes before it has read the body.
                const refused = await session.post(`${url}/small`, { body: parts(), retry: false });
                expect(refused.status).toBe(413);
                await refused.release();
                expect(await session.get(`${url}/text`).text()).toBe(text);
              },
            ),
          );
        } finally {
          await ended(child);
        }
      }),
    limitMs,
  );

  test.skipIf(version === null)(
    'net/http of Go (Debian: golang)',
    () =>
      withProgram(goServer, [], (url) =>
        inRun(() =>
          withSession({}, async (session) => {
            await asks(session, url);
            await echoes(session, url);
            expect(await session.get(`${url}/trailer`).text()).toBe('body');
            const broken = session.get(`${url}/broken`).text();
            await expect(broken).rejects.toThrow(/end/i);
            expect((await session.get(`${url}/text`).text()) === text).toBe(true);
          }),
        ),
      ),
    limitMs,
  );

  test.skipIf(!works(python, '-c', 'import aiohttp'))(
    'aiohttp (Debian: python3-aiohttp)',
    () =>
      withProgram(python, ['-c', aiohttpProgram], (url) =>
        inRun(() =>
          withSession({}, async (session) => {
            await asks(session, url);
            await echoes(session, url);
            const form = new FormData();
            form.append('a', 'é');
            form.append('file', new Blob(['content']), 'name.txt');
            expect(await session.post(`${url}/upload`, { body: form }).text()).toBe('é name.txt');
          }),
        ),
      ),
    limitMs,
  );
});
