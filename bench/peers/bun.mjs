// Echo on Bun.listen. Bun buffers nothing: what write() does not take is kept here until drain.
import { ready } from './shared.mjs';

function flush(socket) {
  const waiting = socket.data;
  while (waiting.length > 0) {
    const taken = socket.write(waiting[0]);
    if (taken < 0) return;
    if (taken < waiting[0].length) {
      waiting[0] = waiting[0].subarray(taken);
      return;
    }
    waiting.shift();
  }
  socket.data = null;
}

const server = globalThis.Bun.listen({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    open(socket) {
      socket.data = null;
    },
    data(socket, chunk) {
      if (socket.data !== null) {
        socket.data.push(chunk);
        return;
      }
      const taken = socket.write(chunk);
      if (taken >= 0 && taken < chunk.length) socket.data = [chunk.subarray(taken)];
    },
    drain(socket) {
      if (socket.data !== null) flush(socket);
    },
    error() {},
  },
});
ready(server.port, () => globalThis.Bun.gc(true));
