// Tasks side by side: starting, joining, yielding, queues, cancelling, memory.
// `node bench/tasks.mjs [--peers a,b] [--cases x,y] [--rounds 5] [--seconds 0.6] [--name tasks]`
//
// Each figure comes from a fresh process on one core; within a round the peers follow one another.
// Rates are operations a second of CPU time, so that a busy machine disturbs little.
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { chooseCores, facts, takeTurn, warnWhenBusy } from './lib/machine.mjs';
import { makeProgress, printTable, ratioText, save, short } from './lib/report.mjs';
import { pairedRatio, summarize } from './lib/stats.mjs';
import { chooseTaskPeers, taskPeerNames } from './lib/task-peers.mjs';

const cases = {
  'spawn-one': 'spawn + join, one by one',
  'spawn-many': 'spawn + join, 1,000 at a time',
  'sleep0-1': 'sleep(0), 1 task',
  'sleep0-100': 'sleep(0), 100 tasks',
  'ping-pong': 'queue ping-pong, round trips',
  'bounded-queue': 'bounded queue, items',
  gather: 'gather of 10,000 no-op tasks',
  cancel: 'cancel 10,000 sleepers, and join',
  bytes: 'resident bytes of a sleeping task',
};

function readOptions() {
  const text = { type: 'string' };
  const { values } = parseArgs({
    options: {
      ...{ peers: text, cases: text, rounds: text, seconds: text, name: text, reference: text },
    },
  });
  return {
    peers: (values.peers ?? taskPeerNames.join()).split(','),
    cases: (values.cases ?? Object.keys(cases).join()).split(','),
    rounds: Number(values.rounds ?? 5),
    seconds: Number(values.seconds ?? 0.6),
    reference: values.reference ?? 'uvloop',
    name: values.name ?? 'tasks',
  };
}

/** Operations a second of CPU time, or bytes; null where the peer has no such case. */
function measureOnce(peer, name, seconds, core) {
  const args = ['-c', String(core), peer.command, ...peer.args, name, String(seconds)];
  const result = spawnSync('taskset', args, { encoding: 'utf8', timeout: 120_000 });
  if (result.status !== 0) throw new Error(`${peer.name} ${name}: ${result.stderr.trim()}`);
  const line = JSON.parse(result.stdout.trim().split('\n').at(-1));
  if (line.missing) return null;
  return line.bytes ?? (line.operations / line.cpuUs) * 1e6;
}

function measureAll(peers, options) {
  const { serverCore } = chooseCores();
  const progress = makeProgress(options.cases.length * options.rounds * peers.length);
  const runs = [];
  for (const name of options.cases) {
    for (let round = 0; round < options.rounds; round += 1) {
      for (let i = 0; i < peers.length; i += 1) {
        const peer = peers[(i + round) % peers.length];
        const value = measureOnce(peer, name, options.seconds, serverCore);
        if (value !== null) runs.push({ case: name, peer: peer.name, round, value });
        progress.step(
          `${name} round ${round + 1}: ${peer.name} ${value === null ? '-' : short(value)}`,
        );
      }
    }
  }
  progress.end();
  return runs;
}

function summarizeAll(runs, peers, options) {
  const valuesOf = (name, peer) =>
    runs.filter((run) => run.case === name && run.peer === peer).map((run) => run.value);
  return options.cases.flatMap((name) =>
    peers.flatMap((peer) => {
      const values = valuesOf(name, peer.name);
      if (values.length === 0) return [];
      const reference = valuesOf(name, options.reference);
      const paired = peer.name !== options.reference && reference.length === values.length;
      const ratio = paired ? pairedRatio(values, reference) : null;
      return [{ case: name, peer: peer.name, value: summarize(values), ratio }];
    }),
  );
}

function printAll(cells, peers, options) {
  for (const name of options.cases) {
    const rows = peers.flatMap((peer) => {
      const cell = cells.find((one) => one.case === name && one.peer === peer.name);
      if (cell === undefined) return [];
      const { median, min, max } = cell.value;
      const ratio = cell.ratio === null ? '' : ratioText(cell.ratio);
      return [[peer.label, short(median), `${short(min)}-${short(max)}`, ratio]];
    });
    printTable(
      cases[name],
      ['', name === 'bytes' ? 'bytes' : 'a second', 'min-max', 'ratio'],
      rows,
    );
  }
  console.log(`\nratio: to ${options.reference}, round by round; ~ no conclusion.`);
}

const options = readOptions();
takeTurn();
warnWhenBusy();
const about = facts();
const { peers, skipped } = chooseTaskPeers(options.peers);
const runs = measureAll(peers, options);
const cells = summarizeAll(runs, peers, options);
printAll(cells, peers, options);
save(options.name, {
  kind: 'tasks',
  ...about,
  reference: options.reference,
  rounds: options.rounds,
  seconds: options.seconds,
  unit: 'operations a second of CPU time, or bytes',
  peers: peers.map(({ name, label, version }) => ({ name, label, version })),
  skipped,
  summary: cells,
  runs,
});
