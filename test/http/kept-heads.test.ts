/** Heads of responses that are kept for the next one. Run on every policy, and wire. */
import { describe, expect } from 'vitest';
import { Application, Response } from '../../lib/http/index.ts';
import { runTest } from '../task/support.ts';
import { exchangeRaw, withServer } from './support.ts';

const app = new Application()
  .get('/a', () => new Response('hello'))
  .get('/b', () => new Response('world', { headers: { 'x-one': '1' } }))
  .get('/c', () => new Response('world', { headers: { 'x-one': '2' } }))
  .get('/d', () => new Response('world', { status: 201 }))
  .get('/e', () => new Response('world', { status: 201, statusText: 'Made' }))
  .get('/f', () => new Response('x'.repeat(37)))
  .get('/g', () => new Response('wörld'))
  .get('/h', () => new Response(null, { status: 204 }))
  .get('/i', () => new Response(new TextEncoder().encode('bytes')))
  .get('/j', () => new Response('world', { headers: { date: 'Thu, 01 Jan 1970 00:00:00 GMT' } }))
  .get('/n/:n', (request) => new Response(new URL(request.url).pathname.slice(3)));

const head = (lines: string[]): string => `HTTP/1.1 ${lines.join('\r\n')}\r\n\r\n`;
const text = 'content-type: text/plain;charset=UTF-8';

const utf8 = Buffer.from('wörld').toString('latin1');

/** Without the date that the server adds. */
const answers: Record<string, string> = {
  '/a': `${head(['200 OK', text, 'content-length: 5'])}hello`,
  '/b': `${head(['200 OK', 'x-one: 1', text, 'content-length: 5'])}world`,
  '/c': `${head(['200 OK', 'x-one: 2', text, 'content-length: 5'])}world`,
  '/d': `${head(['201 Created', text, 'content-length: 5'])}world`,
  '/e': `${head(['201 Made', text, 'content-length: 5'])}world`,
  '/f': `${head(['200 OK', text, 'content-length: 37'])}${'x'.repeat(37)}`,
  '/g': `${head(['200 OK', text, 'content-length: 6'])}${utf8}`,
  '/h': head(['204 No Content']),
  '/i': `${head(['200 OK', 'content-length: 5'])}bytes`,
  '/n/1': `${head(['200 OK', text, 'content-length: 1'])}1`,
};

const undated = (answer: string): string => answer.replace(/date: [^\r]*GMT\r\n/gi, '');

async function ask(port: number, paths: string[], version = '1.1'): Promise<string> {
  const requests = paths.map((path, i) => {
    const last = i === paths.length - 1;
    // Of HTTP/1.0 the last one says nothing, which means close.
    const line = `connection: ${last ? 'close' : 'keep-alive'}\r\n`;
    const none = last === (version === '1.0');
    return `GET ${path} HTTP/${version}\r\nhost: a\r\n${none ? '' : line}\r\n`;
  });
  return await exchangeRaw(port, requests.join(''));
}

/** Names in lower case: node:http writes some of its own as it likes. */
const lower = (answer: string): string =>
  answer.replace(/^[\w-]+(?=: )/gm, (name) => name.toLowerCase());

describe('heads that come again', () => {
  runTest('are each the right one, in any order, also at the second and third time', () =>
    withServer(app, async (_url, server) => {
      const paths = Object.keys(answers);
      const order = [...paths, ...paths, ...paths.toReversed(), '/b', '/c', '/b', '/c', '/a'];
      const got = lower(await ask(server.port, [...order, '/a']));
      const sent = undated(got).replaceAll('connection: keep-alive\r\n', '');
      const parts = sent.replaceAll(/keep-alive: [^\r]*\r\n/g, '').split(/(?=HTTP\/1\.1 )/);
      const wanted = order.map((path) => answers[path]);
      expect(parts.slice(0, -1)).toEqual(wanted);
      expect(parts.at(-1)).toContain('connection: close\r\n');
    }),
  );

  runTest('say what each connection does next', () =>
    withServer(app, async (_url, server) => {
      for (let round = 0; round < 3; round++) {
        expect(lower(await ask(server.port, ['/a']))).toContain('connection: close\r\n');
        const old = lower(await ask(server.port, ['/a', '/a'], '1.0')).split('hello');
        expect(old[0]).toContain('connection: keep-alive\r\n');
        expect(old[1]).toContain('connection: close\r\n');
        const [first] = lower(await ask(server.port, ['/a', '/a'])).split('hello');
        expect(first).not.toContain('connection: close');
      }
    }),
  );

  runTest('keep a date of their own', () =>
    withServer(app, async (_url, server) => {
      const got = await ask(server.port, ['/j', '/j', '/j']);
      expect(got.match(/date: [^\r]*/gi)).toEqual(
        new Array(3).fill('date: Thu, 01 Jan 1970 00:00:00 GMT'),
      );
    }),
  );

  runTest('are right when most of them are new', () =>
    withServer(app, async (_url, server) => {
      const numbers = Array.from({ length: 200 }, (_, i) => String(1000 + i));
      for (let at = 0; at < 200; at += 25) {
        const some = numbers
          .slice(at, at + 25)
          .map((n) => n.padEnd(n.length + (Number(n) % 40), '0'));
        const got = await ask(
          server.port,
          some.map((n) => `/n/${n}`),
        );
        const lengths = [...got.matchAll(/content-length: (\d+)/gi)].map((match) =>
          Number(match[1]),
        );
        expect(lengths).toEqual(some.map((n) => n.length));
        for (const n of some) expect(got).toContain(`\r\n\r\n${n}`);
      }
    }),
  );
});
