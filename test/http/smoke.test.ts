import { expect } from 'vitest';
import { Application, HttpError, Response, serve } from '../../lib/http/index.ts';
import { runTest } from '../task/support.ts';

runTest('smoke', async () => {
  const app = new Application();
  app.get('/', () => new Response('hi'));
  app.get('/u/:id', async (r) => Response.json({ id: r.params.id, q: r.query.get('x') }));
  app.post('/echo', async (r) => new Response(await r.text()));
  app.get('/stream', () => new Response(async (w) => { await w.write('a'); await w.write('b'); }));
  app.get('/err', () => { throw new HttpError(418); });
  await using server = await serve(app, { port: 0, host: '127.0.0.1' });
  const u = server.url;
  expect(await (await fetch(u)).text()).toBe('hi');
  expect(await (await fetch(`${u}u/5?x=1`)).json()).toEqual({ id: '5', q: '1' });
  expect(await (await fetch(`${u}echo`, { method: 'POST', body: 'hello' })).text()).toBe('hello');
  expect(await (await fetch(`${u}stream`)).text()).toBe('ab');
  expect((await fetch(`${u}err`)).status).toBe(418);
  expect((await fetch(`${u}nope`)).status).toBe(404);
  const r = await fetch(`${u}u/5`, { method: 'POST' });
  expect(r.status).toBe(405);
  expect(r.headers.get('allow')).toBe('GET, HEAD');
});
