// Echo on node:net: data -> write. The reference of all ratios.
import { createServer } from 'node:net';
import { ready } from './shared.mjs';

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('data', (data) => socket.write(data));
  socket.on('error', () => socket.destroy());
});
server.listen({ host: '127.0.0.1', port: 0, backlog: 511 }, () => ready(server.address().port));
