/** Streams as bodies, when nobody wants them any more. Run on every policy, and wire. */
import { connect } from 'node:net';
import { describe, expect } from 'vitest';
import { type HttpServer, Response, serve } from '../../lib/http/index.ts';
import { abortable, Event, sleep, timeout } from '../../lib/index.ts';
import { runTest } from '../task/support.ts';

/** Some bytes, and then nothing. */
function idleStream(cancelled: Event): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start: (controller) => controller.enqueue(new Uint8Array(2_000)),
    pull: () => new Promise(() => {}),
    cancel: () => cancelled.set(),
  });
}

type Make = (stream: ReadableStream<Uint8Array>) => globalThis.Response | Response;

const makes: [string, Make][] = [
  ['of the Web', (stream) => new globalThis.Response(stream)],
  ['of this package', (stream) => new Response(stream as never)],
  ['that is compressed', (stream) => new Response(stream as never, { compress: true })],
];

async function serveIdle(make: Make, cancelled: Event): Promise<HttpServer> {
  const fetch = (): never => make(idleStream(cancelled)) as never;
  return await serve({ host: '127.0.0.1', port: 0, fetch });
}

/** Of Node: it can reset its connection. */
async function ask(server: HttpServer): Promise<ReturnType<typeof connect>> {
  const socket = connect(server.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n');
  await abortable(new Promise((resolve) => socket.once('data', resolve)));
  return socket;
}

describe('a stream that waits', () => {
  for (const [what, make] of makes) {
    runTest(`is cancelled when its client is gone: ${what}`, async () => {
      const cancelled = new Event();
      await using server = await serveIdle(make, cancelled);
      (await ask(server)).resetAndDestroy();
      await timeout(5_000, () => cancelled.wait());
      while (server.requests > 0) await sleep(1);
    });

    runTest(`is cancelled when the server has waited for it: ${what}`, async () => {
      const cancelled = new Event();
      const server = await serveIdle(make, cancelled);
      const socket = await ask(server);
      await server.close({ timeoutMs: 10 });
      expect(cancelled.isSet).toBe(true);
      socket.destroy();
    });
  }
});
