// CPU of sending many chunks at once over loopback, a MiB:
//
//   node bench/micro/write-lines.mjs [--rounds 5] [--mebibytes 256] [--json FILE]
//
// `writeLines` of each policy, the same chunks joined by the program, one chunk of all from the
// start, and node:net with cork. The peer is a process of its own, and its CPU is not counted.
// Needs the built package.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { parseArgs } from 'node:util';
import { native, openConnection, pure, run } from '../../dist/index.js';
import { facts, takeTurn, warnWhenBusy } from '../lib/machine.mjs';
import { saveAs } from '../lib/report.mjs';
import { pairedRatio, summarize } from '../lib/stats.mjs';

const kibibyte = 1024;
const shapes = {
  '64 x 1 KiB': [64, kibibyte],
  '64 x 4 KiB': [64, 4 * kibibyte],
  '64 x 16 KiB': [64, 16 * kibibyte],
  '16 x 64 KiB': [16, 64 * kibibyte],
  '4 x 1 MiB': [4, 1024 * kibibyte],
};

/** Reads and drops, into the same memory. */
const sink = `
  const onread = { buffer: Buffer.alloc(1 << 18), callback: () => true };
  const net = require('node:net');
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    const fd = socket._handle.fd;
    new net.Socket({ fd, onread, readable: true }).on('error', () => {});
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
`;

const over = (policy, send) => async (port, work) => {
  await run(
    async () => {
      const connection = await openConnection({ host: '127.0.0.1', port });
      await work((chunks, whole) => send(connection, chunks, whole));
      connection.abort();
    },
    { policy },
  );
};

const kinds = {
  'node:net cork': async (port, work) => {
    const socket = connect({ port, host: '127.0.0.1' });
    await once(socket, 'connect');
    await work(async (chunks) => {
      socket.cork();
      for (const chunk of chunks) socket.write(chunk);
      socket.uncork();
      if (socket.writableNeedDrain) await once(socket, 'drain');
    });
    socket.destroy();
  },
  'native writeLines': over(native({ required: true }), (to, chunks) => to.writeLines(chunks)),
  'native joined': over(native({ required: true }), (to, chunks) =>
    to.write(Buffer.concat(chunks)),
  ),
  'native one chunk': over(native({ required: true }), (to, _, whole) => to.write(whole)),
  'pure writeLines': over(pure(), (to, chunks) => to.writeLines(chunks)),
};

/** Microseconds of CPU a MiB. */
async function measure(kind, shape, mebibytes) {
  const [count, bytes] = shapes[shape];
  const chunks = Array.from({ length: count }, (_, i) => Buffer.alloc(bytes, i));
  const whole = Buffer.concat(chunks);
  const peer = spawn(process.execPath, ['-e', sink], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = await new Promise((done) => peer.stdout.once('data', (data) => done(Number(data))));
  let result = 0;
  await kinds[kind](port, async (send) => {
    const times = Math.ceil((mebibytes << 20) / whole.length);
    for (let i = 0; i < times / 8; i++) await send(chunks, whole);
    const before = process.cpuUsage();
    for (let i = 0; i < times; i++) await send(chunks, whole);
    const { user, system } = process.cpuUsage(before);
    result = (user + system) / ((times * whole.length) / (1 << 20));
  });
  peer.kill();
  return result;
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    mebibytes: { type: 'string', default: '256' },
    kind: { type: 'string' },
    shape: { type: 'string' },
    json: { type: 'string' },
  },
});

function child(kind, shape) {
  const args = [process.argv[1], '--kind', kind, '--shape', shape, '--mebibytes', values.mebibytes];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${kind}, ${shape}: ${stderr}`);
  return Number(stdout);
}

if (values.kind !== undefined) {
  console.log(await measure(values.kind, values.shape, Number(values.mebibytes)));
  process.exit(0);
}
const found = {};
takeTurn();
warnWhenBusy();
const about = facts();
for (let round = 0; round < Number(values.rounds); round++) {
  for (const shape of Object.keys(shapes)) {
    for (const kind of Object.keys(kinds)) {
      ((found[shape] ??= {})[kind] ??= []).push(child(kind, shape));
    }
  }
}
const summary = [];
for (const [shape, byKind] of Object.entries(found)) {
  for (const [kind, samples] of Object.entries(byKind)) {
    const cpuUsPerMebibyte = summarize(samples);
    const others = Object.keys(byKind).filter((other) => other !== kind);
    const gains = Object.fromEntries(
      others.map((other) => [other, pairedRatio(byKind[other], samples)]),
    );
    summary.push({ shape, kind, cpuUsPerMebibyte, gains });
    const { median, min, max } = cpuUsPerMebibyte;
    const range = `[${min.toFixed(0)}-${max.toFixed(0)}]`;
    console.log(`${shape.padEnd(12)} ${kind.padEnd(18)} ${median.toFixed(0)} us/MiB ${range}`);
  }
}
const { rounds, mebibytes } = values;
saveAs(values.json, { kind: 'write-lines', ...about, rounds, mebibytes, summary });
