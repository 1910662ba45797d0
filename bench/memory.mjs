// What an idle connection costs each server in private memory.
// `node bench/memory.mjs [--connections 9000] [--peers a,b] [--rounds 3] [--name memory]`
//
// Each connection echoes once, then stays open and idle. Both samples are taken after a garbage
// collection, and when the figure has settled. Before the first one some thousand short connections
// warm the server up, so that compiled code and pools are not counted as memory of connections.
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ensureBuilt } from './build.mjs';
import { chooseCores, facts, takeTurn } from './lib/machine.mjs';
import { choosePeers } from './lib/peers.mjs';
import { holdConnections, privateBytes, runLoad, startServer } from './lib/processes.mjs';
import { makeProgress, printTable, ratioText, save, short } from './lib/report.mjs';
import { pairedRatio, summarize } from './lib/stats.mjs';

const REFERENCE = 'node-net';
const WARM_UP = '--mode connect --connections 32 --messages 5000 --warmup 0'.split(' ');
const SPARE_FILES = 200;
const SETTLE_STEP_MS = 250;
const SETTLE_STEPS_MAX = 12;

const defaultPeers =
  'node-net,uvio-native,uvio-native-streams,uvio-pure,libuv,bun,go,uvloop,uvloop-streams';

/** Private bytes after a collection, when two samples in a row are nearly alike. */
async function settledBytes(server) {
  await server.collect();
  let last = privateBytes(server.pid);
  for (let step = 0; step < SETTLE_STEPS_MAX; step += 1) {
    await sleep(SETTLE_STEP_MS);
    const now = privateBytes(server.pid);
    if (Math.abs(now - last) <= last * 0.001) return now;
    last = now;
  }
  return last;
}

async function holdAndMeasure(server, core, connections) {
  const held = await holdConnections(server, core, connections);
  const bytes = await settledBytes(server);
  await held.close();
  return bytes;
}

async function measure(peer, connections, cores) {
  const server = await startServer(peer, cores.serverCore);
  try {
    await runLoad(server, cores.loadCore, WARM_UP);
    const before = await settledBytes(server);
    const open = await holdAndMeasure(server, cores.loadCore, connections);
    const after = await settledBytes(server);
    return {
      baseBytes: before,
      bytesPerConnection: (open - before) / connections,
      leftBytesPerConnection: (after - before) / connections,
    };
  } finally {
    await server.stop();
  }
}

function readOptions() {
  const text = { type: 'string' };
  const names = { connections: text, peers: text, rounds: text, name: text };
  const { values } = parseArgs({ options: names });
  const limit = Number(spawnSync('/bin/sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout);
  const possible = Number.isFinite(limit) ? limit - SPARE_FILES : Number.POSITIVE_INFINITY;
  const wanted = Number(values.connections ?? 9000);
  if (wanted > possible) console.log(`open files are limited to ${limit}: fewer connections`);
  return {
    connections: Math.min(wanted, possible),
    peers: (values.peers ?? defaultPeers).split(','),
    rounds: Number(values.rounds ?? 3),
    name: values.name ?? 'memory',
  };
}

async function measureAll(peers, options) {
  const cores = chooseCores();
  const progress = makeProgress(options.rounds * peers.length);
  const runs = [];
  for (let round = 0; round < options.rounds; round += 1) {
    for (let i = 0; i < peers.length; i += 1) {
      const peer = peers[(i + round) % peers.length];
      const found = await measure(peer, options.connections, cores);
      runs.push({ peer: peer.name, round, ...found });
      progress.step(`round ${round + 1}: ${peer.name} ${short(found.bytesPerConnection)} B`);
    }
  }
  progress.end();
  return runs;
}

function summarizePeer(peer, runs) {
  const of = (name, field) => runs.filter((run) => run.peer === name).map((run) => run[field]);
  const own = of(peer.name, 'bytesPerConnection');
  const reference = of(REFERENCE, 'bytesPerConnection');
  // The rounds of the two stand in the order they were measured in: pair by pair.
  const isPair = peer.name !== REFERENCE && reference.length === own.length;
  return {
    peer: peer.name,
    bytesPerConnection: summarize(own),
    leftBytesPerConnection: summarize(of(peer.name, 'leftBytesPerConnection')),
    baseBytes: summarize(of(peer.name, 'baseBytes')),
    gain: isPair ? pairedRatio(reference, own) : null,
  };
}

const options = readOptions();
takeTurn();
ensureBuilt();
const about = facts();
const { peers, skipped } = choosePeers(options.peers, { collect: true });
const runs = await measureAll(peers, options);
const summary = peers.map((peer) => summarizePeer(peer, runs));
const head = ['server', 'B/connection', 'min-max', 'gain', 'left after close', 'base MiB'];
const rows = summary.map((cell, i) => {
  const bytes = cell.bytesPerConnection;
  const gain = cell.gain === null ? '-' : ratioText(cell.gain);
  const row = [peers[i].label, bytes.median.toFixed(0)];
  row.push(`${bytes.min.toFixed(0)}-${bytes.max.toFixed(0)}`, gain);
  row.push(cell.leftBytesPerConnection.median.toFixed(0));
  row.push((cell.baseBytes.median / 2 ** 20).toFixed(1));
  return row;
});
printTable(`Private memory of ${options.connections} idle connections`, head, rows);
save(options.name, {
  kind: 'memory',
  ...about,
  connections: options.connections,
  reference: REFERENCE,
  rounds: options.rounds,
  peers: peers.map(({ name, label, family, version }) => ({ name, label, family, version })),
  skipped,
  summary,
  runs,
});
