// UDP echo: CPU of the server for each message, on one core, with the load on another.
//   node bench/micro/udp-echo.mjs [--servers dgram,protocol,socket] [--bytes 64,1024] [--rounds 3]
//     [--seconds 2] [--sockets 16] [--window 4] [--json FILE]
// The servers take turns, so that a machine that slows down slows all of them. `dgram` is
// node:dgram; `protocol` and `socket` are uvio on native(), `pure` is its protocol on pure().
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildFolder } from '../build.mjs';
import { facts } from '../lib/machine.mjs';
import { saveAs } from '../lib/report.mjs';
import { pairedRatio, summarize } from '../lib/stats.mjs';

const here = fileURLToPath(import.meta.url);
const load = join(buildFolder, 'udp-load');
const host = '127.0.0.1';
/** /proc counts CPU in ticks of 10 ms. */
const TICK_US = 10_000;

async function serveDgram() {
  const { createSocket } = await import('node:dgram');
  const socket = createSocket('udp4');
  socket.on('message', (data, from) => socket.send(data, from.port, from.address));
  socket.bind(0, host, () => console.log(socket.address().port));
}

async function serveProtocol(uvio, policy) {
  await uvio.run(
    async () => {
      let transport;
      const protocol = {
        connectionMade(made) {
          transport = made;
        },
        datagramReceived(data, { address, port }) {
          transport.sendTo(data, { host: address, port });
        },
      };
      await uvio.getRunningLoop().createDatagramEndpoint(() => protocol, { localHost: host });
      console.log(transport.localAddress.port);
      await uvio.sleepForever();
    },
    { policy, handleSignals: false },
  );
}

async function serveSocket(uvio, policy) {
  await uvio.run(
    async () => {
      const socket = await uvio.openUdpSocket({ localHost: host, maxQueued: 1000 });
      console.log(socket.localAddress.port);
      for await (const { data, address } of socket) {
        await socket.send(data, { host: address.address, port: address.port });
      }
    },
    { policy, handleSignals: false },
  );
}

async function serve(kind) {
  if (kind === 'dgram') return serveDgram();
  const uvio = await import('../../dist/index.js');
  const policy = kind === 'pure' ? uvio.pure() : uvio.native({ required: true });
  return kind === 'socket' ? serveSocket(uvio, policy) : serveProtocol(uvio, policy);
}

function cpuMicros(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

function runLoad(port, bytes, seconds) {
  const words = [port, values.sockets, values.window, bytes, seconds].map(String);
  const { stdout } = spawnSync('taskset', ['-c', '1', load, ...words], { encoding: 'utf8' });
  return JSON.parse(stdout);
}

async function measure(kind, bytes, seconds) {
  const args = ['-c', '0', process.execPath, here, '--serve', kind];
  const server = spawn('taskset', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(server.stdout, 'data');
  const port = Number(String(line).trim());
  runLoad(port, bytes, 0.5);
  const before = cpuMicros(server.pid);
  const result = runLoad(port, bytes, seconds);
  const cpu = cpuMicros(server.pid) - before;
  server.kill();
  await once(server, 'exit');
  if (result.wrong > 0) throw new Error(`${kind} sent ${result.wrong} wrong answers`);
  return {
    perSecond: result.messages / result.seconds,
    micros: cpu / result.messages,
    lost: result.lost,
  };
}

const { values } = parseArgs({
  options: {
    serve: { type: 'string' },
    servers: { type: 'string', default: 'dgram,protocol,socket' },
    bytes: { type: 'string', default: '64,1024' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    sockets: { type: 'string', default: '16' },
    window: { type: 'string', default: '4' },
    json: { type: 'string' },
  },
});

async function main() {
  const about = facts();
  const summary = [];
  mkdirSync(buildFolder, { recursive: true });
  const source = fileURLToPath(new URL('../load/udp/load.cc', import.meta.url));
  const flags = ['-O3', '-std=c++20', '-Wall', '-Wextra', '-o', load, source];
  const built = spawnSync(process.env.CXX ?? 'c++', flags, { encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`The load did not build:\n${built.stderr}`);
  const kinds = values.servers.split(',');
  for (const bytes of values.bytes.split(',')) {
    const results = new Map(kinds.map((kind) => [kind, []]));
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const kind of kinds) {
        results.get(kind).push(await measure(kind, bytes, Number(values.seconds)));
      }
    }
    const first = results.get(kinds[0]).map(({ micros }) => micros);
    for (const [kind, list] of results) {
      const cpuUs = summarize(list.map((one) => one.micros));
      const perSecond = summarize(list.map((one) => one.perSecond));
      const lost = list.reduce((sum, one) => sum + one.lost, 0);
      const gain = pairedRatio(
        first,
        list.map((one) => one.micros),
      );
      summary.push({ bytes: Number(bytes), kind, cpuUs, perSecond, lost, gain });
      const cost = `${cpuUs.median.toFixed(2)} µs CPU, ${Math.round(perSecond.median)} messages/s`;
      const range = `[${gain.low.toFixed(2)}-${gain.high.toFixed(2)}]`;
      const ratio = `${gain.median.toFixed(2)} x ${kinds[0]} ${range}`;
      console.log(`${bytes} B ${kind}: ${cost}, ${lost} lost, ${ratio}`);
    }
  }
  const { rounds, seconds, sockets, window } = values;
  const settings = { rounds, seconds, sockets, window };
  const result = { kind: 'udp-echo', ...about, reference: kinds[0], settings, summary };
  saveAs(values.json, result);
}

await (values.serve === undefined ? main() : serve(values.serve));
