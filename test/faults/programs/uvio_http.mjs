// An HTTP application of uvio that ends gracefully on SIGTERM: `node uvio_http.mjs pure|native`.

import { Application, Response, runApp } from '../../../dist/http/index.js';
import { native, pure, sleep } from '../../../dist/index.js';

const say = (message) => console.log(JSON.stringify(message));
let started = 0;

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
  .get('/slow', async () => {
    await sleep(20);
    return new Response('slow');
  })
  .get('/stream/:parts', (request) => new Response(parts(Number(request.params.parts))))
  .post('/echo', async (request) => new Response(await request.bytes()));

await runApp(app, {
  host: '127.0.0.1',
  port: 0,
  policy: process.argv[2] === 'native' ? native({ required: true }) : pure(),
  print: (text) => say({ event: 'ready', port: Number(/:(\d+)/.exec(text)[1]) }),
});
say({ event: 'end', started });
