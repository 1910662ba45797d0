// The line-protocol program on node:net, for comparison.
import { type AddressInfo, createServer } from 'node:net';
import { answer } from './store.ts';

const store = new Map<string, string>();

const server = createServer({ noDelay: true }, (socket) => {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    let writable = true;
    for (const line of lines) writable = socket.write(`${answer(store, line)}\n`);
    if (writable) return;
    socket.pause();
    socket.once('drain', () => socket.resume());
  });
  socket.on('error', () => socket.destroy());
});
server.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1', () => {
  console.log(`listening on port ${(server.address() as AddressInfo).port}`);
});
