// Echo on node:net's async iteration: for await -> write, waiting for drain.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { ready } from './shared.mjs';

async function echo(socket) {
  for await (const chunk of socket) {
    if (!socket.write(chunk)) await once(socket, 'drain');
  }
}

const server = createServer({ noDelay: true }, (socket) => {
  echo(socket).catch(() => socket.destroy());
});
server.listen({ host: '127.0.0.1', port: 0, backlog: 511 }, () => ready(server.address().port));
