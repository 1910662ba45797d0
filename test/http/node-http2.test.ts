/** An application under node:http2's own server. */
import { once } from 'node:events';
import http2, { type Http2ServerRequest } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect } from 'vitest';
import { Application, type HttpRequest, Response } from '../../lib/http/index.ts';
import { Event } from '../../lib/index.ts';
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
