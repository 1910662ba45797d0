/** An application under node:http2's own server. */
import { once } from 'node:events';
import http2, { type Http2ServerRequest } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect } from 'vitest';
import { Application, type HttpRequest, Response } from '../../lib/http/index.ts';
import { Event, getRunningLoop } from '../../lib/index.ts';
import { toRequestListener } from '../../lib/node/index.ts';
import { failure, realTimeTest } from '../task/support.ts';

realTimeTest('a body that was aborted is not taken as a whole', async () => {
  const over = new Event();
  let kept: HttpRequest | undefined;
  let error: unknown;
  const app = new Application().post('/', async (request) => {
    kept = request;
    await over.wait();
    return new Response('ok');
  });
  const server = http2.createServer(toRequestListener(app) as never).listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.on('request', (request: Http2ServerRequest) => {
    // Before its stream is closed.
    request.on('aborted', () => {
      void failure((kept as HttpRequest).bytes()).then(
        (got) => {
          error = got;
          over.set();
        },
        (taken) => {
          error = taken;
          over.set();
        },
      );
    });
  });
  const { port } = server.address() as AddressInfo;
  const client = http2.connect(`http://127.0.0.1:${port}`);
  const stream = client.request({ ':method': 'POST', ':path': '/' });
  stream.on('error', () => {});
  stream.write('part');
  await once(server, 'request');
  // What was sent has come.
  await new Promise<void>((resolve) => client.ping(() => resolve()));
  stream.close(http2.constants.NGHTTP2_CANCEL);
  await over.wait();
  expect(String(error)).toContain('gone');
  client.close();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});

/** What a client gets of one request. */
async function ask(
  client: http2.ClientHttp2Session,
  path: string,
): Promise<{ body: string; code: number; headers: http2.IncomingHttpHeaders }> {
  const stream = client.request({ ':path': path, 'x-a': 'b' });
  let headers: http2.IncomingHttpHeaders = {};
  let body = '';
  stream.on('response', (given) => {
    headers = given;
  });
  stream.on('data', (chunk) => {
    body += chunk;
  });
  stream.on('error', () => {});
  await new Promise<void>((resolve) => stream.once('close', () => resolve()));
  return { body, code: stream.rstCode, headers };
}

realTimeTest('headers are those of HTTP/1, and what breaks off is no end', async () => {
  const warnings: string[] = [];
  const warn = ({ name }: Error): unknown => warnings.push(name);
  process.on('warning', warn);
  getRunningLoop().setExceptionHandler(() => {});
  const app = new Application()
    .get('/headers', (request) => Response.json([...request.headers, request.headers.get('host')]))
    .get('/cookies', () => {
      const response = new Response('x', { headers: { connection: 'close' } });
      response.setCookie('a', '1');
      response.setCookie('b', '2');
      return response;
    })
    .get('/broken', () => {
      return new Response(async (writer) => {
        await writer.write('part');
        throw new Error('broken');
      });
    });
  const server = http2.createServer(toRequestListener(app) as never).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = http2.connect(`http://${host}`);
  const lines = [['host', host], ['x-a', 'b'], host];
  expect(JSON.parse((await ask(client, '/headers')).body)).toEqual(lines);
  expect((await ask(client, '/cookies')).headers['set-cookie']).toEqual([
    expect.stringContaining('a=1'),
    expect.stringContaining('b=2'),
  ]);
  const { body, code } = await ask(client, '/broken');
  expect([body, code]).toEqual(['part', http2.constants.NGHTTP2_INTERNAL_ERROR]);
  client.close();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  process.off('warning', warn);
  expect(warnings.filter((name) => name !== 'ExperimentalWarning')).toEqual([]);
});
