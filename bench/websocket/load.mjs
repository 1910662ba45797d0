// The load of bench/websocket.mjs: raw WebSocket frames over uvio's native sockets.
//
// `load.mjs --port N --pid SERVER --case NAME ...` prints one line of JSON and ends. What the
// server spent is read from the clocks of its threads, what it holds from its private pages.
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { getRunningLoop, native, run } from 'uvio';
import { privateBytes } from '../lib/processes.mjs';

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    pid: { type: 'string' },
    case: { type: 'string' },
    connections: { type: 'string', default: '256' },
    size: { type: 'string', default: '64' },
    burst: { type: 'string', default: '1' },
    ms: { type: 'string', default: '1500' },
  },
});
const port = Number(values.port);
const pid = Number(values.pid);
const connections = Number(values.connections);
const size = Number(values.size);
const burst = Number(values.burst);
const ms = Number(values.ms);
const mebibyte = 1024 * 1024;

/** CPU time of the server in us, all threads. */
function serverCpuUs() {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  }
  return ns / 1000;
}

/** A binary frame of `bytes` with a mask. */
function maskedFrame(bytes, opcode = 2) {
  const extended = bytes.length < 126 ? 0 : bytes.length < 65_536 ? 2 : 8;
  const head = Buffer.alloc(6 + extended);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | (extended === 0 ? bytes.length : extended === 2 ? 126 : 127);
  if (extended === 2) head.writeUInt16BE(bytes.length, 2);
  if (extended === 8) head.writeBigUInt64BE(BigInt(bytes.length), 2);
  const key = head.subarray(2 + extended);
  key.set([0x3a, 0x91, 0x5c, 0xe7]);
  return Buffer.concat([head, bytes.map((byte, i) => byte ^ key[i & 3])]);
}

const answerBytes = (length) => length + (length < 126 ? 2 : length < 65_536 ? 4 : 10);

/** Shakes hands, then hands each chunk to `onBytes`. */
class Client {
  constructor(path, onBytes) {
    this.path = path;
    this.onBytes = onBytes;
    this.head = '';
    this.ready = new Promise((resolve, reject) => {
      this.made = resolve;
      this.failed = reject;
    });
  }

  connectionMade(transport) {
    this.transport = transport;
    transport.write(
      `GET ${this.path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\n` +
        'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
  }

  dataReceived(chunk) {
    if (this.head === null) {
      this.onBytes(chunk, this);
      return;
    }
    this.head += chunk.toString('latin1');
    if (!this.head.includes('\r\n\r\n')) return;
    if (!this.head.startsWith('HTTP/1.1 101')) this.failed(new Error(this.head));
    this.head = null;
    this.made();
  }

  connectionLost(error) {
    this.lost = true;
    this.failed(error ?? new Error('The server closed the connection'));
  }
}

async function open(path, onBytes) {
  const client = new Client(path, onBytes);
  client.ready.catch(() => {});
  await getRunningLoop().createConnection(() => client, { host: '127.0.0.1', port });
  await client.ready;
  return client;
}

async function openMany(count, path, onBytes) {
  const all = [];
  while (all.length < count) {
    const some = Array.from({ length: Math.min(100, count - all.length) }, () => {
      return open(path, onBytes);
    });
    all.push(...(await Promise.all(some)));
  }
  return all;
}

/** What `during` returned counts, by the server's clock. */
async function measured(counter, during) {
  const before = serverCpuUs();
  const from = counter();
  const startMs = performance.now();
  await during();
  const messages = counter() - from;
  const seconds = (performance.now() - startMs) / 1000;
  return { cpuUs: (serverCpuUs() - before) / messages, rate: messages / seconds };
}

/** Subscribers, and somebody who has messages of `size` bytes published to them. */
async function openFeed(subscribers) {
  const feed = { bytes: 0 };
  await openMany(subscribers, '/feed', (chunk) => {
    feed.bytes += chunk.length;
  });
  let done = null;
  const control = await open('/control', () => done());
  feed.publish = async (times) => {
    const wanted = feed.bytes + times * subscribers * answerBytes(size);
    const answered = new Promise((resolve) => {
      done = resolve;
    });
    control.transport.write(maskedFrame(Buffer.from(`${times} ${size}`), 1));
    await answered;
    while (feed.bytes < wanted) await pause(1);
  };
  return feed;
}

const cases = {
  /** Each connection has one message under way. */
  async echo() {
    const frame = maskedFrame(Buffer.alloc(size, 0x61));
    const wanted = answerBytes(size);
    let echoes = 0;
    let going = true;
    const clients = await openMany(connections, '/', (chunk, client) => {
      client.got += chunk.length;
      if (client.got < wanted) return;
      if (client.got > wanted) throw new Error('More came back than was sent');
      client.got = 0;
      echoes++;
      if (going) client.transport.write(frame);
    });
    for (const client of clients) {
      client.got = 0;
      client.transport.write(frame);
    }
    await pause(700);
    const figures = await measured(
      () => echoes,
      () => pause(ms),
    );
    going = false;
    return figures;
  },

  /** `burst` messages to all, again and again; per message that arrives. */
  async broadcast() {
    const feed = await openFeed(connections);
    const round = async (times) => {
      for (let i = 0; i < times; i++) await feed.publish(burst);
    };
    await round(20);
    return await measured(
      () => feed.bytes / answerBytes(size),
      () => round(Math.ceil(ms / 25 / burst)),
    );
  },

  /** Private memory that an idle connection adds. */
  async idle(collect) {
    // The heap of the server grows once, as it does whatever comes first.
    await openMany(3_000, '/', () => {});
    await pause(300);
    await collect();
    const before = privateBytes(pid);
    await openMany(connections, '/', () => {});
    await pause(300);
    await collect();
    return { bytes: (privateBytes(pid) - before) / connections };
  },

  /** As much is published twice, the second time to one more, which does not read. */
  async 'slow-subscriber'(collect) {
    const feed = await openFeed(connections - 1);
    const publish = async (times) => {
      const startMs = performance.now();
      for (let i = 0; i < times; i++) await feed.publish(1);
      return (performance.now() - startMs) / times;
    };
    const held = async () => {
      await collect();
      return privateBytes(pid);
    };
    await publish(ms);
    const first = await held();
    const calmMs = await publish(ms);
    const before = await held();
    const slow = await open('/feed', () => {});
    slow.transport.pauseReading();
    const slowMs = await publish(ms);
    return {
      growth: (await held()) - before,
      calmGrowth: before - first,
      ended: slow.lost === true,
      calmMs,
      slowMs,
    };
  },

  /** 300 MiB are offered to be echoed, nothing is read; another peer goes on. */
  async 'slow-echo'(collect) {
    const frame = maskedFrame(Buffer.alloc(mebibyte, 0x61));
    let echoed = 0;
    const quick = await open('/', (chunk) => {
      echoed += chunk.length;
    });
    const exchange = async () => {
      const startMs = performance.now();
      const wanted = echoed + answerBytes(mebibyte);
      quick.transport.write(frame);
      while (echoed < wanted) await pause(1);
      return performance.now() - startMs;
    };
    const median = async (times) => {
      const all = [];
      for (let i = 0; i < times; i++) all.push(await exchange());
      return all.sort((a, b) => a - b)[times >> 1];
    };
    await median(20);
    await collect();
    const first = privateBytes(pid);
    const calmMs = await median(20);
    await collect();
    const before = privateBytes(pid);
    const growth = () => privateBytes(pid) - before;
    const client = await open('/', () => {});
    client.transport.pauseReading();
    let sent = 0;
    let most = 0;
    for (const until = performance.now() + ms; performance.now() < until && sent < 300; ) {
      if (client.transport.writeBufferBytes < 4 * mebibyte) {
        client.transport.write(frame);
        sent++;
      }
      await pause(2);
      most = Math.max(most, growth());
    }
    const slowMs = await median(20);
    await collect();
    const calmGrowth = before - first;
    return { growth: growth(), calmGrowth, most, taken: sent, calmMs, slowMs };
  },
};

async function collector() {
  const lines = createInterface({ input: process.stdin });
  return async () => {
    process.stdout.write('{"collect":true}\n');
    await once(lines, 'line');
  };
}

const collect = await collector();
await run(
  async () => {
    const figures = await cases[values.case](collect);
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    process.exit();
  },
  { policy: native({ required: true }) },
);
