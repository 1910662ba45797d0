// What an idle kept connection costs each HTTP server in private memory.
// `node bench/http-memory.mjs [--connections 9000] [--rounds 3] [--name http-memory]`
//
// Each connection has had one response, then stays open and idle. As in memory.mjs, a server is
// warmed up by as many short connections, and both samples are taken after a garbage collection.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ensureBuilt } from './build.mjs';
import { facts, takeTurn } from './lib/machine.mjs';
import { privateBytes } from './lib/processes.mjs';
import { printTable, save } from './lib/report.mjs';
import { summarize } from './lib/stats.mjs';

const kinds = ['uvio-native', 'uvio-pure', 'node-http'];
const program = fileURLToPath(new URL('http/server.mjs', import.meta.url));
const request = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

async function startServer(kind) {
  const stdio = ['ignore', 'pipe', 'inherit'];
  const child = spawn(process.execPath, ['--expose-gc', program, kind], { stdio });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value);
  const { port } = await next();
  const collectedBytes = async () => {
    child.kill('SIGUSR2');
    await next();
    return privateBytes(child.pid);
  };
  return { port, child, collectedBytes };
}

async function openOne(port) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  socket.write(request);
  let text = '';
  while (!text.endsWith('Hello, World!')) text += (await once(socket, 'data'))[0];
  return socket;
}

async function open(port, count) {
  const sockets = [];
  while (sockets.length < count) {
    const some = Array.from({ length: Math.min(200, count - sockets.length) }, () => openOne(port));
    sockets.push(...(await Promise.all(some)));
  }
  return sockets;
}

const close = (sockets) => Promise.all(sockets.map((socket) => once(socket.destroy(), 'close')));

async function measure(kind, connections) {
  const { port, child, collectedBytes } = await startServer(kind);
  try {
    await close(await open(port, Math.min(2_000, connections)));
    const before = await collectedBytes();
    const sockets = await open(port, connections);
    const held = await collectedBytes();
    await close(sockets);
    const after = await collectedBytes();
    return {
      kind,
      bytesPerConnection: (held - before) / connections,
      leftBytesPerConnection: (after - before) / connections,
    };
  } finally {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
}

const text = { type: 'string' };
const { values } = parseArgs({ options: { connections: text, rounds: text, name: text } });
const connections = Number(values.connections ?? 9_000);
takeTurn();
ensureBuilt();
const about = facts();
const runs = [];
for (let round = 0; round < Number(values.rounds ?? 3); round += 1) {
  for (let i = 0; i < kinds.length; i += 1) {
    const kind = kinds[(i + round) % kinds.length];
    runs.push({ round, ...(await measure(kind, connections)) });
  }
}
const summary = kinds.map((kind) => {
  const of = (field) => summarize(runs.filter((run) => run.kind === kind).map((run) => run[field]));
  return {
    kind,
    bytesPerConnection: of('bytesPerConnection'),
    leftBytesPerConnection: of('leftBytesPerConnection'),
  };
});
const rows = summary.map(({ kind, bytesPerConnection: bytes, leftBytesPerConnection: left }) => [
  kind,
  bytes.median.toFixed(0),
  `${bytes.min.toFixed(0)}-${bytes.max.toFixed(0)}`,
  left.median.toFixed(0),
]);
const head = ['server', 'B/connection', 'min-max', 'left after close'];
printTable(`Private memory of ${connections} idle kept connections`, head, rows);
save(values.name ?? 'http-memory', { kind: 'http-memory', ...about, connections, summary, runs });
