// The echo program on node:net, for comparison.
import { type AddressInfo, createServer } from 'node:net';

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('data', (chunk) => {
    if (socket.write(chunk)) return;
    socket.pause();
    socket.once('drain', () => socket.resume());
  });
  socket.on('error', () => socket.destroy());
});
server.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1', () => {
  console.log(`listening on port ${(server.address() as AddressInfo).port}`);
});
