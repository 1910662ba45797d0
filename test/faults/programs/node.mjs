// node:net under the same faults and commands as uvio.mjs.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import * as tls from 'node:tls';
import { answer, say } from './commands.mjs';
import {
  clientTls,
  conversations,
  pattern,
  serverTls,
  times,
  wrongBytes,
} from './conversations.mjs';

const described = ({ name, code = name, syscall, address, port }) => ({
  code,
  syscall,
  address,
  port,
});

const sockets = new Map();
const taken = new Map();
let lastId = 0;

function keep(socket) {
  socket.setNoDelay(true);
  // Told to the next operation, as an iterator of the socket would.
  socket.on('error', (error) => (socket.lastError = error));
  lastId += 1;
  sockets.set(lastId, socket);
  return lastId;
}

async function readData(socket) {
  for (;;) {
    if (socket.lastError) throw socket.lastError;
    const data = socket.read();
    if (data !== null) return data;
    if (socket.readableEnded || socket.destroyed) return null;
    await new Promise((resolve) => {
      const names = ['readable', 'end', 'error', 'close'];
      const over = () => {
        for (const name of names) socket.off(name, over);
        resolve();
      };
      for (const name of names) socket.on(name, over);
    });
  }
}

async function read(socket) {
  return (await readData(socket))?.length ?? null;
}

function write(socket, data) {
  return new Promise((resolve, reject) => {
    socket.write(data, (error) => (error ? reject(error) : resolve()));
  });
}

const chunk = Buffer.alloc(65_536, 'x');

async function echo(socket) {
  socket.on('error', () => {});
  for await (const data of socket) await write(socket, data);
  socket.end();
}

async function visit({ host = '127.0.0.1', port, count = 1, bytes = 4, parallel = 1, secure }) {
  const data = pattern(bytes);
  const connectOne = secure ? tls.connect : connect;
  const options = { host, port, noDelay: true, ...(secure && clientTls()) };
  await times(count, parallel, async () => {
    const socket = connectOne(options);
    socket.on('error', (error) => (socket.lastError = error));
    await once(socket, secure ? 'secureConnect' : 'connect');
    socket.write(data);
    const parts = [];
    for (let left = bytes; left > 0; left -= parts.at(-1).length) {
      const part = await readData(socket);
      if (part === null) throw wrongBytes;
      parts.push(part);
    }
    if (!Buffer.concat(parts).equals(data)) throw wrongBytes;
    socket.resume().end();
    if (!socket.destroyed) await once(socket, 'close');
  });
}

let datagrams = 0;

// Many connections from here to another program.
let crowd = [];

async function pingCrowd() {
  const answered = crowd.map(
    (socket) =>
      new Promise((resolve, reject) => {
        const lost = () => reject(Object.assign(new Error('closed'), { code: 'a closed socket' }));
        socket.once('close', lost).once('data', () => {
          socket.off('close', lost);
          resolve();
        });
      }),
  );
  for (const socket of crowd) socket.write('x');
  await Promise.all(answered);
}

// Clients of an HTTP server that are slow on purpose.
let slow = [];
let drip;

const begun = [
  'GET / HTTP/1.1\r\nHost: a\r\nX: ',
  'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n',
  'GET /stream/32 HTTP/1.1\r\nHost: a\r\n\r\n',
];

async function besiege({ port, count }) {
  while (slow.length < count) {
    const batch = Array.from({ length: Math.min(200, count - slow.length) }, () =>
      connect({ port, host: '127.0.0.1', noDelay: true }),
    );
    await Promise.all(batch.map((socket) => once(socket, 'connect')));
    slow.push(...batch);
  }
  for (const [i, socket] of slow.entries()) {
    socket.on('error', () => {});
    socket.pause().write(begun[i % begun.length]);
  }
  // Each sends a byte a second, a part of them at a time.
  let turn = 0;
  drip = setInterval(() => {
    turn = (turn + 1) % 20;
    for (let i = turn; i < slow.length; i += 20) {
      if (i % begun.length < 2 && slow[i].writable) slow[i].write('x');
    }
  }, 50);
}

async function leave() {
  clearInterval(drip);
  const closed = slow.map((socket) => socket.destroyed || once(socket.destroy(), 'close'));
  slow = [];
  await Promise.all(closed);
}

const operations = {
  besiege,
  leave,
  async openCrowd({ port, count }) {
    while (crowd.length < count) {
      const batch = Array.from({ length: Math.min(250, count - crowd.length) }, () =>
        connect({ port, host: '127.0.0.1', noDelay: true }),
      );
      await Promise.all(batch.map((socket) => once(socket, 'connect')));
      crowd.push(...batch);
    }
    await pingCrowd();
    return crowd.length;
  },
  pingCrowd,
  async closeCrowd() {
    await Promise.all(
      crowd.map((socket) => {
        socket.destroy();
        return once(socket, 'close');
      }),
    );
    crowd = [];
  },
  ...conversations,
  visit,
  async echoDatagrams({ host }) {
    const socket = createSocket('udp4');
    datagrams = 0;
    socket.on('message', (data, { port, address }) => {
      datagrams += 1;
      socket.send(data, port, address);
    });
    socket.bind(0, host);
    await once(socket, 'listening');
    return socket.address().port;
  },
  async datagrams() {
    return datagrams;
  },
  async listen({ host = '127.0.0.1', echoes = false, secure = false }) {
    const create = secure ? tls.createServer : createServer;
    const options = { allowHalfOpen: true, noDelay: true, ...(secure && serverTls()) };
    const server = create(options, (socket) => {
      if (echoes) echo(socket).catch(() => {});
      else say({ event: 'accepted', id: keep(socket), port: socket.remotePort });
    });
    server.listen({ host, port: 0, backlog: 4096 });
    await once(server, 'listening');
    server.on('error', (error) => say({ event: 'loop error', ...described(error) }));
    return server.address().port;
  },
  async connect({ host = '127.0.0.1', port, timeoutMs = 0 }) {
    const socket = connect({ host, port });
    const late = new AbortController();
    const connected = once(socket, 'connect', { signal: late.signal });
    const timer = timeoutMs > 0 ? setTimeout(() => late.abort(), timeoutMs) : undefined;
    try {
      await connected;
    } catch (error) {
      socket.destroy();
      throw error.name === 'AbortError' ? { code: 'ETIMEDOUT' } : error;
    } finally {
      clearTimeout(timer);
    }
    return keep(socket);
  },
  read({ id, timeoutMs = 60_000 }) {
    const late = pause(timeoutMs, undefined, { ref: false }).then(() => {
      throw { code: 'ETIMEDOUT' };
    });
    return Promise.race([read(sockets.get(id)), late]);
  },
  async write({ id, bytes }) {
    await write(sockets.get(id), Buffer.alloc(bytes, 'y'));
  },
  async flood({ id, bytes }) {
    taken.set(id, 0);
    for (let sent = 0; sent < bytes; sent += chunk.length) {
      const socket = sockets.get(id);
      if (!socket.write(chunk)) await once(socket, 'drain');
      taken.set(id, sent + chunk.length);
    }
  },
  async taken({ id }) {
    return taken.get(id);
  },
  async keepAlive({ id, idleMs }) {
    sockets.get(id).setKeepAlive(true, idleMs);
  },
  async close({ id }) {
    sockets.get(id).end();
    sockets.delete(id);
  },
  async abort({ id }) {
    sockets.get(id).destroy();
    sockets.delete(id);
  },
  async collect() {
    globalThis.gc?.();
  },
};

say({ event: 'ready' });
for await (const line of createInterface({ input: process.stdin }))
  void answer(line, operations, described);
process.exit(0);
