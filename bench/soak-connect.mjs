// Does a server keep anything of connections that are gone? connect + echo + close, many times.
// `node bench/soak-connect.mjs [--peers uvio-native] [--connections 100000] [--name soak-connect]`
//
// The work is cut into blocks with a garbage collection after each. What the first blocks add is
// warm-up; from then on memory and open files must stay where they are. Status 1 when they do not.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ensureBuilt } from './build.mjs';
import { chooseCores, facts, takeTurn } from './lib/machine.mjs';
import { choosePeers } from './lib/peers.mjs';
import { openFiles, privateBytes, runLoad, startServer } from './lib/processes.mjs';
import { makeProgress, printTable, save } from './lib/report.mjs';
import { median } from './lib/stats.mjs';

const BLOCKS = 7;
const WARM_UP_BLOCKS = 2;
const CONCURRENT = 32;
const SETTLE_MS = 500;
// A leaked connection costs hundreds of bytes; the unrest of a heap is far less.
const LEAK_BYTES_PER_CONNECTION = 32;

/** Median slope between any two samples (Theil-Sen): one odd sample does not move it. */
function growthPerBlock(bytes) {
  const slopes = bytes.flatMap((later, i) =>
    bytes.slice(0, i).map((earlier, j) => (later - earlier) / (i - j)),
  );
  return median(slopes);
}

async function sample(server) {
  await server.collect();
  await sleep(SETTLE_MS);
  return { bytes: privateBytes(server.pid), files: openFiles(server.pid) };
}

async function soak(peer, connections, cores, progress) {
  const server = await startServer(peer, cores.serverCore);
  const perBlock = Math.ceil(connections / BLOCKS);
  const work = ['--mode', 'connect', '--connections', String(CONCURRENT), '--warmup', '0'];
  const samples = [await sample(server)];
  let cpuUs = 0;
  try {
    for (let block = 0; block < BLOCKS; block += 1) {
      const args = [...work, '--messages', String(perBlock)];
      cpuUs += (await runLoad(server, cores.loadCore, args)).serverCpuUs;
      samples.push(await sample(server));
      const mebibytes = (samples.at(-1).bytes / 2 ** 20).toFixed(1);
      progress.step(`${peer.name}: ${(block + 1) * perBlock} connections, ${mebibytes} MiB`);
    }
  } finally {
    await server.stop();
  }
  const steady = samples.slice(WARM_UP_BLOCKS).map(({ bytes }) => bytes);
  const growthPerConnection = growthPerBlock(steady) / perBlock;
  const filesLeft = samples.at(-1).files - samples[0].files;
  const leaks = growthPerConnection > LEAK_BYTES_PER_CONNECTION || filesLeft > CONCURRENT / 2;
  const cpuUsPerConnection = cpuUs / (perBlock * BLOCKS);
  return { peer: peer.name, samples, growthPerConnection, filesLeft, cpuUsPerConnection, leaks };
}

const text = { type: 'string' };
const { values } = parseArgs({ options: { peers: text, connections: text, name: text } });
const connections = Number(values.connections ?? 100_000);
takeTurn();
ensureBuilt();
const about = facts();
const names = (values.peers ?? 'node-net,uvio-native,uvio-native-streams,uvio-pure').split(',');
const { peers, skipped } = choosePeers(names, { collect: true });
const progress = makeProgress(peers.length * BLOCKS);
const cores = chooseCores();
const summary = [];
for (const peer of peers) summary.push(await soak(peer, connections, cores, progress));
progress.end();
const mebibytes = ({ bytes }) => (bytes / 2 ** 20).toFixed(1);
const block = (number) => `block ${number}`;
const head = ['server', 'MiB start', block(WARM_UP_BLOCKS), block(BLOCKS), 'growth B/conn'];
head.push('files left', 'verdict');
const rows = summary.map((one, i) => {
  const start = mebibytes(one.samples[0]);
  const first = mebibytes(one.samples[WARM_UP_BLOCKS]);
  const last = mebibytes(one.samples.at(-1));
  const growth = one.growthPerConnection.toFixed(1);
  const verdict = one.leaks ? 'LEAKS' : 'no leak';
  return [peers[i].label, start, first, last, growth, String(one.filesLeft), verdict];
});
printTable(`${connections} x connect + echo + close`, head, rows);
save(values.name ?? 'soak-connect', { kind: 'soak', ...about, connections, summary, skipped });
process.exitCode = summary.some((one) => one.leaks) ? 1 : 0;
