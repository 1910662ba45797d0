// WebSocket servers side by side: CPU time per message, memory of idle and of slow connections.
// node bench/websocket.mjs [--peers a,b] [--cases a,b] [--rounds 5] [--ms 1500] [--name websocket]
//
// Servers follow one another in fresh processes on core 0; the load, raw frames over uvio's native
// sockets, runs on core 1. Bun comes by bench/peers/install.mjs. `--peers ws,uvio-native,floor`
// adds what the kernel alone asks for, in C; it has no idle or slow peers.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildFloor, floorBinary } from './build.mjs';
import { chooseCores, facts, takeTurn, warnWhenBusy } from './lib/machine.mjs';
import { findPeer } from './lib/peers.mjs';
import { makeProgress, printTable, ratioText, save, short } from './lib/report.mjs';
import { pairedRatio, summarize } from './lib/stats.mjs';

const path = (name) => fileURLToPath(new URL(`websocket/${name}.mjs`, import.meta.url));

/** Name: how the load is started, and which of its figures is compared. */
const cases = {
  'echo-64B-256': { load: { case: 'echo', connections: 256, size: 64 }, key: 'cpuUs' },
  'echo-1K-64': { load: { case: 'echo', connections: 64, size: 1024 }, key: 'cpuUs' },
  'echo-64K-8': { load: { case: 'echo', connections: 8, size: 65_536 }, key: 'cpuUs' },
  'broadcast-5000': { load: { case: 'broadcast', connections: 5_000 }, key: 'cpuUs' },
  // Eight messages in one turn.
  'broadcast-5000-x8': {
    load: { case: 'broadcast', connections: 5_000, burst: 8 },
    key: 'cpuUs',
  },
  'idle-10000': {
    load: { case: 'idle', connections: 10_000 },
    key: 'bytes',
    // What V8 takes for young objects grows with the rush of handshakes, and is not theirs.
    flags: ['--max-semi-space-size=1'],
  },
  'slow-subscriber': {
    load: { case: 'slow-subscriber', connections: 5_000, size: 65_536, ms: 90 },
    key: 'growth',
  },
  'slow-echo': { load: { case: 'slow-echo', ms: 2_000 }, key: 'growth' },
};

function start(core, command, args) {
  const line = 'ulimit -n "$(ulimit -Hn)"; exec taskset -c "$@"';
  const child = spawn('/bin/sh', ['-c', line, 'sh', String(core), command, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  child.next = async () => {
    const { value, done } = await child.lines.next();
    if (done) throw new Error(`${args.join(' ')} ended early`);
    return JSON.parse(value);
  };
  return child;
}

function commandOf(peer, plan) {
  if (peer === 'floor') return [floorBinary, []];
  if (peer === 'bun') return [findPeer('bun').command, [path('server'), peer]];
  return [process.execPath, ['--expose-gc', ...(plan.flags ?? []), path('server'), peer]];
}

async function measure(peer, plan, cores, ms) {
  const server = start(cores.serverCore, ...commandOf(peer, plan));
  try {
    const { port } = await server.next();
    const options = { port, pid: server.pid, ms, ...plan.load };
    const args = Object.entries(options).flatMap(([key, value]) => [`--${key}`, String(value)]);
    const load = start(cores.loadCore, process.execPath, [path('load'), ...args]);
    for (;;) {
      const answer = await load.next();
      if (answer.collect !== true) return answer;
      server.kill('SIGUSR2');
      await server.next();
      load.stdin.write('go\n');
    }
  } finally {
    server.kill('SIGKILL');
    await once(server, 'close');
  }
}

function table(name, plan, peers, runs) {
  const of = (peer) => runs.filter((run) => run.case === name && run.peer === peer);
  const values = (peer) => of(peer).map((run) => run[plan.key]);
  const rows = peers.map((peer) => [
    peer,
    short(summarize(values(peer)).median),
    short(summarize(of(peer).map((run) => run.rate ?? Number.NaN)).median),
    peer === peers[0] ? ratioText(null) : ratioText(pairedRatio(values(peer), values(peers[0]))),
  ]);
  printTable(name, ['server', plan.key, 'messages/s', 'ratio'], rows);
}

async function main(options) {
  takeTurn();
  warnWhenBusy();
  const cores = chooseCores();
  const peers = options.peers.split(',').filter((peer) => {
    const missing = peer === 'bun' ? findPeer('bun').missing : undefined;
    if (missing) console.log(`skipped: ${missing}`);
    return !missing;
  });
  if (peers.includes('floor')) buildFloor();
  const names = options.cases.split(',');
  const rounds = Number(options.rounds);
  const progress = makeProgress(names.length * peers.length * rounds);
  const runs = [];
  for (const name of names) {
    const plan = cases[name];
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < peers.length; i++) {
        const peer = peers[(i + round) % peers.length];
        const figures = await measure(peer, plan, cores, Number(options.ms));
        runs.push({ case: name, peer, round, ...figures });
        progress.step(`${name} ${peer} ${short(figures[plan.key])}`);
      }
    }
  }
  progress.end();
  for (const name of names) table(name, cases[name], peers, runs);
  const versions = {
    ws: (await import('ws/package.json', { with: { type: 'json' } })).default.version,
    bun: findPeer('bun').version ?? null,
  };
  save(options.name, { name: options.name, ...facts(), versions, runs });
}

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: 'ws,uvio-native,uvio-callbacks,uvio-pure,bun' },
    cases: { type: 'string', default: Object.keys(cases).join() },
    rounds: { type: 'string', default: '5' },
    ms: { type: 'string', default: '1500' },
    name: { type: 'string', default: 'websocket' },
  },
});
await main(values);
