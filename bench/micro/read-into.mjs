// CPU of receiving a stream, for each MiB: into chunks and into memory of the program.
//   npm run build && node bench/micro/read-into.mjs [--rounds 5] [--seconds 1] [--json FILE]
// A sender in Python on another core writes as fast as it can; whoever receives drops what came.
// `net` and `onread` are node:net, with data events and with its `onread` buffer; `read` and `into`
// are read() and readInto() of uvio on native(). They take turns, each in a fresh process.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { facts, takeTurn, warnWhenBusy } from '../lib/machine.mjs';
import { pairedRatio, summarize } from '../lib/stats.mjs';

const script = fileURLToPath(import.meta.url);
const host = '127.0.0.1';
const warmUpMs = 300;
const sizes = { '64K': 64 * 1024, '1M': 1024 * 1024 };
const kinds = ['net', 'onread', 'read', 'into'];

const sender = `
import socket
import { saveAs } from '../lib/report.mjs';
server = socket.create_server(('127.0.0.1', 0))
print(server.getsockname()[1], flush=True)
data = bytes(1 << 20)
while True:
    connection, _ = server.accept()
    try:
        while True:
            connection.sendall(data)
    except OSError:
        connection.close()
`;

/** Calls back with the bytes of each read, for ever. */
const receivers = {
  net(port, _size, count) {
    connect({ host, port }).on('data', (chunk) => count(chunk.length));
  },
  onread(port, size, count) {
    const callback = (bytes) => {
      count(bytes);
      return true;
    };
    connect({ host, port, onread: { buffer: Buffer.alloc(size), callback } });
  },
  read(port, _size, count) {
    withConnection(port, async (connection) => {
      for (;;) count((await connection.read()).length);
    });
  },
  into(port, size, count) {
    const target = Buffer.alloc(size);
    withConnection(port, async (connection) => {
      for (;;) count(await connection.readInto(target));
    });
  },
};

async function withConnection(port, main) {
  const { native, openConnection, run } = await import('../../dist/index.js');
  await run(async () => main(await openConnection({ host, port })), {
    policy: native({ required: true }),
  });
}

function receive(kind, size, port, seconds) {
  let bytes = 0;
  receivers[kind](port, size, (count) => {
    bytes += count;
  });
  setTimeout(() => {
    const before = bytes;
    const cpu = process.cpuUsage();
    const start = performance.now();
    setTimeout(() => {
      const { user, system } = process.cpuUsage(cpu);
      const mebibytes = (bytes - before) / 2 ** 20;
      const perSecond = (mebibytes * 1000) / (performance.now() - start);
      console.log(JSON.stringify({ cpuUs: (user + system) / mebibytes, perSecond }));
      process.exit(0);
    }, seconds * 1000);
  }, warmUpMs);
}

async function sample(kind, size, port, seconds) {
  const words = ['--receive', kind, '--size', size, '--port', port, '--seconds', seconds];
  const args = ['-c', '0', process.execPath, script, ...words.map(String)];
  const child = spawn('taskset', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout, 'data');
  await once(child, 'exit');
  return JSON.parse(String(line));
}

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '1' },
    json: { type: 'string' },
    receive: { type: 'string' },
    size: { type: 'string' },
    port: { type: 'string' },
  },
});
const seconds = Number(flags.seconds);

function rowOf(samples, size, kind) {
  const cpuOf = (name) => samples[name].map((one) => one.cpuUs);
  const others = kinds.filter((other) => other !== kind);
  return {
    size,
    kind,
    cpuUsPerMebibyte: summarize(cpuOf(kind)),
    mebibytesPerSecond: summarize(samples[kind].map((one) => one.perSecond)),
    gains: Object.fromEntries(others.map((one) => [one, pairedRatio(cpuOf(one), cpuOf(kind))])),
  };
}

function print({ size, kind, cpuUsPerMebibyte: cpu, mebibytesPerSecond, gains }) {
  const range = `${cpu.min.toFixed(0)}-${cpu.max.toFixed(0)}`;
  const times = Object.entries(gains).map(([other, { median, low, high }]) => {
    return `${median.toFixed(2)}x [${low.toFixed(2)}-${high.toFixed(2)}] ${other}`;
  });
  const rate = `${mebibytesPerSecond.median.toFixed(0)} MiB/s`;
  console.log(`${size} ${kind}: ${cpu.median.toFixed(0)} us/MiB (${range}), ${rate}`);
  console.log(`  less CPU than: ${times.join(', ')}`);
}

async function main() {
  takeTurn();
  warnWhenBusy();
  const about = facts();
  const child = spawn('taskset', ['-c', '1', 'python3', '-c', sender], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(child.stdout, 'data');
  const port = Number(String(line));
  const summary = [];
  for (const [name, size] of Object.entries(sizes)) {
    const samples = Object.fromEntries(kinds.map((kind) => [kind, []]));
    for (let round = 0; round < Number(flags.rounds); round += 1) {
      for (const kind of kinds) samples[kind].push(await sample(kind, size, port, seconds));
    }
    const rows = kinds.map((kind) => rowOf(samples, name, kind));
    for (const row of rows) print(row);
    summary.push(...rows);
  }
  child.kill();
  const { rounds } = flags;
  const result = { kind: 'read-into', ...about, rounds: Number(rounds), seconds, summary };
  saveAs(flags.json, result);
}

if (flags.receive === undefined) await main();
else receive(flags.receive, Number(flags.size), Number(flags.port), seconds);
