// One server of bench/http.mjs in a process of its own: `node bench/http/server.mjs KIND`.
// Routes: / (plain text), /user/:id (JSON, behind two middlewares), POST /echo. Prints its port.
import { once } from 'node:events';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../.peers/package.json', import.meta.url));
const text = 'Hello, World!';
const user = (id) => ({ id, name: 'Someone', tags: ['a', 'b'] });

const say = (port) => console.log(JSON.stringify({ port }));

async function nodeHttp() {
  const { createServer } = await import('node:http');
  const server = createServer((request, response) => {
    if (request.method === 'POST') {
      const parts = [];
      request.on('data', (part) => parts.push(part));
      request.on('end', () => response.end(Buffer.concat(parts)));
    } else if (request.url.startsWith('/user/')) {
      response.setHeader('x-one', '1');
      response.setHeader('x-two', '2');
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(user(request.url.slice(6))));
    } else {
      response.setHeader('content-type', 'text/plain');
      response.end(text);
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  say(server.address().port);
}

async function fastify() {
  const app = require('fastify')();
  app.get('/', async (_request, reply) => {
    reply.header('content-type', 'text/plain');
    return text;
  });
  app.register(async (sub) => {
    sub.addHook('onRequest', async (_request, reply) => void reply.header('x-one', '1'));
    sub.addHook('onRequest', async (_request, reply) => void reply.header('x-two', '2'));
    sub.get('/user/:id', async (request) => user(request.params.id));
  });
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.post('/echo', async (request) => request.body);
  await app.listen({ host: '127.0.0.1', port: 0 });
  say(app.server.address().port);
}

async function uvio(policyName) {
  const { native, pure, run } = await import('../../dist/index.js');
  const { Application, Response, serve } = await import('../../dist/http/index.js');
  const header = (name, value) => async (request, next) => {
    const response = await next(request);
    response.headers.set(name, value);
    return response;
  };
  const app = new Application()
    .get('/', () => new Response(text))
    .post('/echo', async (request) => new Response(await request.bytes()));
  const sub = new Application({ middlewares: [header('x-one', '1'), header('x-two', '2')] });
  sub.get('/:id', (request) => Response.json(user(request.params.id)));
  app.mount('/user', sub);
  await run(
    async () => {
      const server = await serve(app, { host: '127.0.0.1', port: 0 });
      say(server.port);
      await server.waitClosed();
    },
    { policy: policyName === 'native' ? native({ required: true }) : pure() },
  );
}

function bun() {
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      if (request.method === 'POST') return new Response(await request.arrayBuffer());
      const at = request.url.indexOf('/user/');
      if (at < 0) return new Response(text);
      const response = Response.json(user(request.url.slice(at + 6)));
      response.headers.set('x-one', '1');
      response.headers.set('x-two', '2');
      return response;
    },
  });
  say(server.port);
}

const kinds = {
  'node-http': nodeHttp,
  fastify,
  'uvio-native': () => uvio('native'),
  'uvio-pure': () => uvio('pure'),
  bun,
};

// For those who measure memory: `node --expose-gc`.
process.on('SIGUSR2', async () => {
  for (let i = 0; i < 3; i += 1) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  console.log(JSON.stringify({ collected: true }));
});
await kinds[process.argv[2]]();
