// An HTTP application of uvio that ends gracefully on SIGTERM:
// `node --expose-gc uvio_http.mjs pure|native [workers [host]]`.

import { isMainThread, threadId } from 'node:worker_threads';
import { Application, Response, runApp } from '../../../dist/http/index.js';
import { native, pure, sleep } from '../../../dist/index.js';
import { endWithInput, say } from './commands.mjs';

let started = 0;

if (isMainThread) endWithInput();

async function* parts(count) {
  for (let i = 0; i < count; i++) yield Buffer.alloc(65_536, i);
}

const app = new Application({
  middlewares: [
    (request, next) => {
      started += 1;
      return next(request);
    },
  ],
})
  .get('/', () => new Response('hello'))
  .get('/id/:id', async (request) => {
    await sleep(20);
    return new Response(request.params.id);
  })
  .get('/collect', async () => {
    await sleep(0);
    globalThis.gc();
    return new Response();
  })
  .get('/who', () => new Response(String(threadId)))
  .get('/exit', () => process.exit(5))
  .get('/publish/:bytes', (request) => {
    app.publish('feed', Buffer.alloc(Number(request.params.bytes)));
    return new Response();
  })
  .ws('/ws', async (socket) => {
    for await (const message of socket) await socket.send(message);
  })
  .ws(
    '/feed',
    async (socket) => {
      socket.subscribe('feed');
      for await (const _ of socket);
    },
    { whenSlow: 'drop' },
  )
  .get('/stream/:parts', (request) => new Response(parts(Number(request.params.parts))))
  .post('/echo', async (request) => new Response(await request.bytes()));

await runApp(app, {
  host: process.argv[4] ?? '127.0.0.1',
  port: 0,
  workers: Number(process.argv[3] ?? 1),
  policy: process.argv[2] === 'native' ? native({ required: true }) : pure(),
  print: (text) => say({ event: 'ready', port: Number(/:(\d+)/.exec(text)[1]) }),
});
say({ event: 'end', started });
