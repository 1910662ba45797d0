// The server of uvio_lines.mjs on node:net, and on node:cluster: `node node_lines.mjs [workers]`.
import cluster from 'node:cluster';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { endWithInput, say } from './commands.mjs';

let started = 0;
let stopping = false;
const idle = new Set();

if (cluster.isPrimary) endWithInput();

async function answer(line) {
  started += 1;
  if (line === '/who') return String(process.pid);
  if (line === '/exit') process.exit(5);
  await pause(20);
  return line.slice('/id/'.length);
}

function converse(socket) {
  let text = '';
  let busy = false;
  const next = async () => {
    const end = text.indexOf('\n');
    if (busy || end < 0 || stopping) return;
    busy = true;
    idle.delete(socket);
    const line = text.slice(0, end);
    text = text.slice(end + 1);
    socket.write(`${await answer(line)}\n`);
    busy = false;
    idle.add(socket);
    if (stopping) socket.end();
    else await next();
  };
  idle.add(socket);
  socket.on('error', () => {});
  socket.on('close', () => idle.delete(socket));
  socket.setEncoding('latin1').on('data', (data) => {
    text += data;
    void next();
  });
}

async function serve() {
  const server = createServer({ noDelay: true }, converse);
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
  await once(server, 'listening');
  process.once('SIGTERM', () => {
    stopping = true;
    server.close(() => say({ event: 'end', started }));
    for (const socket of idle) socket.end();
  });
  if (cluster.isPrimary) say({ event: 'ready', port: server.address().port });
}

const workers = Number(process.argv[2] ?? 1);
if (cluster.isPrimary && workers > 1) {
  let listening = 0;
  cluster.on('exit', () => cluster.fork());
  cluster.on('listening', (_worker, { port }) => {
    listening += 1;
    if (listening === workers) say({ event: 'ready', port });
  });
  for (let i = 0; i < workers; i++) cluster.fork();
} else {
  await serve();
}
