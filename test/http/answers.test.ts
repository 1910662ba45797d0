/** Answers on their way out, when something is wrong with them. Run on every policy, and wire. */
import { describe, expect, test } from 'vitest';
import { Application, HttpError, Response } from '../../lib/http/index.ts';
import { runTest } from '../task/support.ts';
import { exchangeRaw, fetchOf, statusesOf, withHandler, withServer } from './support.ts';

const ask = (path: string, lines = '', method = 'GET'): string =>
  `${method} ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${lines}\r\n`;

runTest('a slash in the query of an absolute target is no path', () => {
  const app = new Application()
    .get('/', (request) => new Response(`root ${request.path} ${request.query.get('q')}`))
    .get('/admin', () => new Response('admin'));
  return withServer(app, async (_url, server) => {
    expect(await exchangeRaw(server.port, ask('http://a?q=/admin'))).toMatch(/root \/ \/admin$/);
    expect(await exchangeRaw(server.port, ask('http://a/admin?q=/'))).toMatch(/admin$/);
  });
});
