/** HTTP/2 with clients of others: curl, Go, undici. */
import { Agent, request } from 'undici';
import { beforeAll, describe, expect, test } from 'vitest';
import { Application, type HttpServer, Response, type ServeOptions } from '../../lib/http/index.ts';
import { ca, pemPath, serverTls } from '../io/tls-support.ts';
import { goProgram, goVersion } from '../support/go.ts';
import { inRun } from '../task/support.ts';
import { large, output, works } from './peers-support.ts';
import { withServer } from './support.ts';

function makeApp(): Application {
  return new Application({ maxBodyBytes: 10_000_000 })
    .get('/', (asked) => new Response(`version ${asked.httpVersion}`))
    .get('/large', () => new Response(large))
    .get('/parts', () => new Response(['a', 'b', 'c']))
    .post('/echo', async (asked) => new Response(await asked.text()))
    .post('/early', () => new Response('no', { status: 403 }));
}

function peerTest(
  title: string,
  there: boolean,
  main: (server: HttpServer) => unknown,
  options: ServeOptions = { tls: serverTls, http2: true },
): void {
  test.skipIf(!there)(
    title,
    () =>
      inRun(() => withServer(makeApp(), (_url, server) => main(server), options)) as Promise<void>,
  );
}

const version = goVersion();
let goClient = '';
beforeAll(() => {
  if (version !== null) goClient = goProgram('test/http/programs/http2_client.go', version);
}, 120_000);

describe('an HTTP/2 server is spoken to by', () => {
  const curl = works('curl', ['--version'], /\bHTTP2\b/);
  // covers: uvio/http2-server
  peerTest('curl', curl, async ({ port }) => {
    const url = `https://server.test:${port}`;
    const resolve = ['--resolve', `server.test:${port}:127.0.0.1`];
    const flags = ['-s', '--http2', '--cacert', pemPath('ca.pem'), ...resolve];
    const write = ['-w', ' %{http_version} %{http_code}'];
    const ask = (...args: string[]): Promise<string> =>
      output('curl', [...flags, ...write, ...args]);
    expect(await ask(`${url}/`)).toBe('version 2 2 200');
    expect(await ask('--http1.1', `${url}/`)).toBe('version 1.1 1.1 200');
    expect(await ask(`${url}/large`)).toBe(`${large} 2 200`);
    expect(await ask('-I', `${url}/large`)).toMatch(/content-length: 800000\r\n[\s\S]* 2 200$/);
    expect(await ask('-d', 'hello', `${url}/echo`)).toBe('hello 2 200');
    expect(await ask('-d', 'x'.repeat(100_000), `${url}/early`)).toBe('no 2 403');
    expect(await ask(`${url}/parts`)).toBe('abc 2 200');
  });

  peerTest(
    'curl without TLS',
    curl,
    async ({ port }) => {
      const flags = ['-s', '--http2-prior-knowledge', '-w', ' %{http_version} %{http_code}'];
      const ask = (...args: string[]): Promise<string> => output('curl', [...flags, ...args]);
      const url = `http://127.0.0.1:${port}`;
      expect(await ask(`${url}/`)).toBe('version 2 2 200');
      expect(await ask(`${url}/parts`)).toBe('abc 2 200');
      expect(await ask('-d', 'hello', `${url}/echo`)).toBe('hello 2 200');
    },
    { http2: 'cleartext' },
  );

  peerTest('undici', true, async ({ port }) => {
    const connect = { ca, servername: 'server.test' };
    const dispatcher = new Agent({ allowH2: true, connect });
    const url = `https://127.0.0.1:${port}`;
    try {
      const asked = Array.from({ length: 20 }, async (_, i) => {
        const body = 'x'.repeat(i * 1_000);
        const answer = await request(`${url}/echo`, { dispatcher, method: 'POST', body });
        return (await answer.body.text()) === body;
      });
      expect(await Promise.all(asked)).toEqual(Array(20).fill(true));
      const answer = await request(`${url}/`, { dispatcher });
      expect(await answer.body.text()).toBe('version 2');
    } finally {
      await dispatcher.destroy();
    }
  });

  peerTest("Go's client", version !== null, async ({ port }) => {
    const stdout = await output(goClient, [`https://127.0.0.1:${port}`, pemPath('ca.pem')]);
    expect(stdout.trim().split('\n').sort()).toEqual([
      'HTTP/2.0 / 200 9',
      ...Array(5).fill('HTTP/2.0 /early 403 2'),
      ...Array(5).fill('HTTP/2.0 /echo 200 300000'),
      ...Array(5).fill('HTTP/2.0 /large 200 800000'),
    ]);
  });
});
