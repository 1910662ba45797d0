// The application of uvio_http.mjs on node:http: `node node_http.mjs [1 [host]]`.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { endWithInput, say } from './commands.mjs';

let started = 0;

endWithInput();

async function* parts(count) {
  for (let i = 0; i < count; i++) yield Buffer.alloc(65_536, i);
}

async function answer(request, response) {
  started += 1;
  const [, first, second] = request.url.split('/');
  if (first === 'id') {
    await pause(20);
    response.end(second);
  } else if (first === 'collect') {
    await pause(0);
    globalThis.gc();
    response.end();
  } else if (first === 'stream') {
    Readable.from(parts(Number(second))).pipe(response);
  } else if (first === 'echo') {
    response.end(await buffer(request));
  } else {
    response.end('hello');
  }
}

const server = createServer((request, response) => {
  answer(request, response).catch(() => response.destroy());
}).listen(0, process.argv[3] ?? '127.0.0.1');
await once(server, 'listening');
process.once('SIGTERM', () => server.close(() => say({ event: 'end', started })));
say({ event: 'ready', port: server.address().port });
