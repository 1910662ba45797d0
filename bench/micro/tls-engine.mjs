// CPU of a TLS echo server for each message: uvio on the native engine, uvio on the generic one,
// and node:tls, by turns. The load comes from another process on another core.
//
//   npm run build && node bench/micro/tls-engine.mjs [--rounds 5] [--seconds 1] [--only 1024x10]
//     --json FILE   writes what was measured
import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { facts } from '../lib/machine.mjs';
import { saveAs } from '../lib/report.mjs';

const script = fileURLToPath(import.meta.url);
const pem = (name) => readFileSync(new URL(`../../test/support/tls/${name}`, import.meta.url));
const identity = () => ({ key: pem('server-key.pem'), cert: pem('server.pem') });
const cases = { '1024x10': [1024, 10], '1024x64': [1024, 64], '65536x10': [65536, 10] };
const sides = ['node', 'native', 'generic'];

class Echo {
  connectionMade(transport) {
    this.transport = transport;
  }
  dataReceived(data) {
    this.transport.write(data);
  }
}

async function listen(side) {
  if (side === 'node') {
    const server = createServer({ ...identity(), noDelay: true }, (socket) => {
      socket.on('data', (data) => socket.write(data));
      socket.on('error', () => socket.destroy());
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return server.address().port;
  }
  const { getRunningLoop, native, run, setLoopPolicy } = await import('../../dist/index.js');
  setLoopPolicy(native({ required: true }));
  return new Promise((resolve) => {
    run(async () => {
      const options = { host: '127.0.0.1', port: 0, tls: identity() };
      const server = await getRunningLoop().createServer(() => new Echo(), options);
      resolve(server.port);
      await new Promise(() => {});
    });
  });
}

async function serve(side) {
  const port = await listen(side);
  process.on('message', () => process.send(process.cpuUsage()));
  process.send({ port });
}

/** One message under way at a time. */
class Asking {
  constructor(size, count) {
    this.data = Buffer.alloc(size, 'x');
    this.left = size;
    this.count = count;
  }
  connectionMade(transport) {
    this.transport = transport;
  }
  dataReceived(chunk) {
    this.left -= chunk.length;
    if (this.left > 0) return;
    this.left = this.data.length;
    this.count();
    this.transport.write(this.data);
  }
}

/**
 * Messages that came back within so many seconds, one under way on each connection. The load is
 * uvio's for all sides: node:tls as a client is slower than these servers, which would idle.
 */
async function load(port, size, connections, seconds) {
  const { getRunningLoop, native, run, setLoopPolicy, sleep } = await import('../../dist/index.js');
  setLoopPolicy(native({ required: true }));
  await run(async () => {
    let messages = 0;
    const count = () => {
      messages += 1;
    };
    const options = { port, host: '127.0.0.1', tls: { rejectUnauthorized: false } };
    const asking = [];
    for (let i = 0; i < connections; i += 1) {
      const made = await getRunningLoop().createConnection(() => new Asking(size, count), options);
      asking.push(made[1]);
    }
    for (const one of asking) one.transport.write(one.data);
    await sleep(200);
    process.send('begin');
    const before = messages;
    await sleep(seconds * 1000);
    process.send(messages - before);
    for (const one of asking) one.transport.abort();
  });
}

const message = (child) => new Promise((resolve) => child.once('message', resolve));

function start(core, args, env = {}) {
  const options = { env: { ...process.env, ...env } };
  const pinned = ['-c', String(core), process.execPath, script, ...args];
  return fork(pinned[3], pinned.slice(4), {
    ...options,
    execPath: 'taskset',
    execArgv: pinned.slice(0, 3),
  });
}

async function cpuUs(server) {
  server.send('cpu');
  const { user, system } = await message(server);
  return user + system;
}

async function sample({ server, port }, size, connections, seconds) {
  const client = start(1, [
    '--load',
    port,
    '--case',
    `${size}x${connections}`,
    '--seconds',
    seconds,
  ]);
  const exit = new Promise((resolve) => client.once('exit', resolve));
  await message(client);
  const before = await cpuUs(server);
  const count = await message(client);
  const spent = (await cpuUs(server)) - before;
  await exit;
  return { us: spent / count, rate: count / seconds };
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Medians of one side, and how it compares with node:tls. */
function summary(samples, side) {
  const us = (name) => median(samples[name].map((one) => one.us));
  return {
    cpuUs: us(side),
    perSecond: median(samples[side].map((one) => one.rate)),
    timesNode: us('node') / us(side),
    timesNodeByRound: samples[side].map((one, i) => samples.node[i].us / one.us),
  };
}

function textOf(side, { cpuUs, perSecond, timesNode }) {
  return `${side} ${cpuUs.toFixed(1)} us (${timesNode.toFixed(2)}x, ${perSecond.toFixed(0)}/s)`;
}

async function main(rounds, seconds, only, json) {
  const results = {};
  const servers = {};
  for (const side of sides) {
    const server = start(
      0,
      ['--serve', side],
      side === 'generic' ? { UVIO_TLS_PATH: '/none' } : {},
    );
    const { port } = await message(server);
    servers[side] = { server, port: String(port) };
  }
  for (const [name, [size, connections]] of Object.entries(cases)) {
    if (!name.includes(only)) continue;
    const samples = { node: [], native: [], generic: [] };
    for (let i = 0; i < rounds; i += 1) {
      for (const side of sides) {
        samples[side].push(await sample(servers[side], size, connections, seconds));
      }
    }
    const found = Object.fromEntries(sides.map((side) => [side, summary(samples, side)]));
    results[name] = found;
    const texts = sides.map((side) => textOf(side, found[side]));
    console.log(`${name.padEnd(9)} ${texts.join('   ')}`);
  }
  for (const { server } of Object.values(servers)) server.kill();
  const about = { kind: 'tls-echo', ...facts(), openssl: process.versions.openssl };
  saveAs(json, { ...about, rounds, seconds, results });
}

const { values: flags } = parseArgs({
  options: {
    serve: { type: 'string' },
    load: { type: 'string' },
    case: { type: 'string', default: '1024x10' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
  },
});
const seconds = Number(flags.seconds);
if (flags.serve) await serve(flags.serve);
else if (flags.load) {
  const [size, connections] = flags.case.split('x').map(Number);
  await load(Number(flags.load), size, connections, seconds);
  process.disconnect();
} else await main(Number(flags.rounds), seconds, flags.only, flags.json);
