// uvio under faults: `node uvio.mjs pure|native`. Does what its standard input says, a line of JSON
// for each command, and answers on standard output; the other programs here do the same.
import { createInterface } from 'node:readline';
import {
  createTask,
  getRunningLoop,
  native,
  openConnection,
  openUdpSocket,
  pure,
  run,
  startServer,
  taskGroup,
  timeout,
} from '../../../dist/index.js';
import { answer, say } from './commands.mjs';
import { clientTls, pattern, serverTls, times, wrongBytes } from './conversations.mjs';

/** What the system said: a connection that broke has it as the cause of its error. */
function described(error) {
  const told = error.code === 'ERR_UVIO_BROKEN' ? (error.cause ?? error) : error;
  const { name, code = name, syscall, address, port } = told;
  return { code, syscall, address, port };
}

const connections = new Map();
const taken = new Map();
let lastId = 0;

function keep(connection) {
  lastId += 1;
  connections.set(lastId, connection);
  return lastId;
}

const chunk = Buffer.alloc(65_536, 'x');

async function echo(connection) {
  for await (const data of connection) await connection.write(data);
  await connection.close();
}

async function visit({ host = '127.0.0.1', port, count = 1, bytes = 4, parallel = 1, secure }) {
  const data = pattern(bytes);
  const options = { host, port, ...(secure && { tls: clientTls() }) };
  await times(count, parallel, async () => {
    const connection = await openConnection(options);
    const written = connection.write(data);
    const answer = await connection.readExactly(bytes);
    if (!answer.equals(data)) throw wrongBytes;
    await written;
    await connection.close();
  });
}

let datagrams = 0;

async function echoDatagrams(socket) {
  for await (const { data, address } of socket) {
    datagrams += 1;
    await socket.send(data, { host: address.address, port: address.port });
  }
}

const operations = {
  visit,
  async echoDatagrams({ host }) {
    const socket = await openUdpSocket({ localHost: host, maxQueued: 1_000 });
    datagrams = 0;
    createTask(() => echoDatagrams(socket));
    return socket.localAddress.port;
  },
  async datagrams() {
    return datagrams;
  },
  async listen({ host = '127.0.0.1', echoes = false, secure = false }) {
    const server = await startServer(
      async (connection) => {
        if (echoes) return echo(connection);
        const id = keep(connection);
        say({ event: 'accepted', id, port: connection.remoteAddress.port });
        // The handler's end closes the connection: it is held until then.
        await new Promise((resolve) => connection.signal.addEventListener('abort', resolve));
      },
      { host, port: 0, backlog: 4096, ...(secure && { tls: serverTls() }) },
    );
    return server.port;
  },
  async connect({ host = '127.0.0.1', port, timeoutMs = 0 }) {
    return keep(await openConnection({ host, port, ...(timeoutMs > 0 && { timeoutMs }) }));
  },
  async read({ id, timeoutMs = 60_000 }) {
    const data = await timeout(timeoutMs, () => connections.get(id).read());
    return data === null ? null : data.length;
  },
  async write({ id, bytes }) {
    await connections.get(id).write(Buffer.alloc(bytes, 'y'));
  },
  async flood({ id, bytes }) {
    const connection = connections.get(id);
    taken.set(id, 0);
    for (let sent = 0; sent < bytes; sent += chunk.length) {
      await connection.write(chunk);
      taken.set(id, sent + chunk.length);
    }
  },
  async taken({ id }) {
    return taken.get(id);
  },
  async keepAlive({ id, idleMs }) {
    connections.get(id).setKeepAlive(true, idleMs);
  },
  async close({ id }) {
    const connection = connections.get(id);
    connections.delete(id);
    await connection.close();
  },
  async abort({ id }) {
    connections.get(id).abort();
    connections.delete(id);
  },
  async collect() {
    globalThis.gc?.();
  },
};

await run(
  async () => {
    getRunningLoop().setExceptionHandler((_loop, { error }) => {
      say({ event: 'loop error', ...described(error ?? {}) });
    });
    await taskGroup(async (group) => {
      say({ event: 'ready' });
      for await (const line of createInterface({ input: process.stdin })) {
        group.createTask(() => answer(line, operations, described));
      }
      // Whoever gave the commands is gone.
      process.exit(0);
    });
  },
  { policy: process.argv[2] === 'native' ? native({ required: true }) : pure() },
);
