// CPU of sending 8 MiB over loopback: the kernel's sendfile on native() and copies on pure().
// `node bench/micro/sendfile.mjs [native|pure|both] [times]`. The peer is a process of its own and
// its CPU is not counted. Needs the built package.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { native, pure, Runner } from '../../dist/index.js';

const bytes = 8 * 1024 * 1024;
const which = process.argv[2] ?? 'both';
const times = Number(process.argv[3] ?? 100);

/** Reads and drops; tells its port first. */
const sink = `
  const server = require('node:net').createServer((socket) => socket.resume());
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
`;

async function measure(name, policy, port, file) {
  const runner = new Runner({ policy });
  await runner.run(async () => {
    const { loop } = runner;
    const factory = () => ({ dataReceived() {} });
    const [transport] = await loop.createConnection(factory, { host: '127.0.0.1', port });
    for (let i = 0; i < 10; i++) await loop.sendfile(transport, file);
    const cpu = process.cpuUsage();
    const start = performance.now();
    for (let i = 0; i < times; i++) await loop.sendfile(transport, file);
    const { user, system } = process.cpuUsage(cpu);
    const ms = performance.now() - start;
    const line = { user: user / 1000 / times, system: system / 1000 / times, wall: ms / times };
    const text = Object.entries(line).map(([key, value]) => `${key} ${value.toFixed(2)} ms`);
    console.log(`${name.padEnd(7)} ${text.join('  ')}  (each 8 MiB)`);
    transport.close();
  });
  await runner.close();
}

const folder = mkdtempSync(join(tmpdir(), 'uvio-sendfile-'));
const file = join(folder, 'data');
writeFileSync(file, Buffer.alloc(bytes, 'x'));
const peer = spawn(process.execPath, ['-e', sink], { stdio: ['ignore', 'pipe', 'inherit'] });
const port = await new Promise((done) => peer.stdout.once('data', (data) => done(Number(data))));
try {
  if (which !== 'pure') await measure('native', native({ required: true }), port, file);
  if (which !== 'native') await measure('pure', pure(), port, file);
} finally {
  peer.kill();
  rmSync(folder, { recursive: true });
}
