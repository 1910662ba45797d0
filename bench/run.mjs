// Echo servers side by side. `node bench/run.mjs --help`, or bench/README.md.
//
// Each (scenario, round, server) runs in a fresh server process, the server on one core and the
// load on another; within a round the servers follow one another, and the order moves by one each
// round. What is compared is the server's CPU time per message, as ratios within a round.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ensureBuilt } from './build.mjs';
import { chooseCores, facts, takeTurn, warnWhenBusy } from './lib/machine.mjs';
import { choosePeers, peerNames } from './lib/peers.mjs';
import { runLoad, startServer } from './lib/processes.mjs';
import { makeProgress, printTable, ratioText, save, short } from './lib/report.mjs';
import { pairedRatio, summarize } from './lib/stats.mjs';
import { loadArguments, scenarios } from './scenarios.mjs';

const SETTLE_MS = 150;
const DISTURBED_SHARE = 0.05;
const defaultPeers =
  'node-net,uvio-native,uvio-native-streams,uvio-pure,uvio-pure-streams,libuv,bun,go,' +
  'uvloop,uvloop-streams';

const help = `usage: node bench/run.mjs [options]
  --peers a,b,c       default ${defaultPeers}
                      all: ${peerNames.join(' ')}; name@24 for another Node
  --scenarios x,y     default all: ${scenarios.map((one) => one.name).join(' ')}
  --reference NAME    ratios are against this peer, default node-net
  --rounds N          default 7
  --seconds S         measured window, default 3
  --warmup MS         before the window, default 1000
  --retries N         repeats a run that something else disturbed, default 1
  --messages N        a fixed amount of work instead of a window of time
  --name NAME         writes bench/results/NAME.json, default echo
  --quick             3 rounds, 1 s, 4 scenarios: a look, not a result; writes quick.json`;

const quick = { rounds: 3, seconds: 1, warmup: 500, scenarios: '64B-64,1K-10,64B-256-p16,64K-8' };

function readOptions() {
  const text = { type: 'string' };
  const { values } = parseArgs({
    options: {
      ...{ peers: text, scenarios: text, reference: text, rounds: text, seconds: text },
      ...{ warmup: text, messages: text, retries: text, name: text },
      ...{ quick: { type: 'boolean' }, help: { type: 'boolean' } },
    },
  });
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const preset = values.quick ? quick : {};
  const number = (name, fallback) => {
    const value = Number(values[name] ?? preset[name] ?? fallback);
    if (!(value >= 0)) throw new TypeError(`--${name} must be a number`);
    return value;
  };
  return {
    peers: (values.peers ?? defaultPeers).split(','),
    scenarios: (values.scenarios ?? preset.scenarios ?? scenarios.map((s) => s.name).join())
      .split(',')
      .map(findScenario),
    reference: values.reference ?? 'node-net',
    rounds: number('rounds', 7),
    seconds: number('seconds', 3),
    warmupMs: number('warmup', 1000),
    messages: number('messages', 0),
    retries: number('retries', 1),
    name: values.name ?? (values.quick ? 'quick' : 'echo'),
  };
}

function findScenario(name) {
  const found = scenarios.find((one) => one.name === name);
  if (found) return found;
  throw new TypeError(`No scenario ${name}; there are: ${scenarios.map((s) => s.name).join(' ')}`);
}

async function measureOnce(peer, scenario, options, cores) {
  const server = await startServer(peer, cores.serverCore);
  try {
    await sleep(SETTLE_MS);
    const amount = options.messages > 0 ? ['--messages', options.messages] : [];
    const window = ['--warmup', options.warmupMs, '--seconds', options.seconds, ...amount];
    const args = [...loadArguments(scenario), ...window.map(String)];
    return await runLoad(server, cores.loadCore, args);
  } finally {
    await server.stop();
  }
}

/** A run that something else disturbed says little: it is done again, a few times at most. */
async function measure(peer, scenario, options, cores) {
  for (let attempt = 0; ; attempt += 1) {
    const report = await measureOnce(peer, scenario, options, cores);
    const worst = Math.max(report.serverWaitUs, report.loadWaitUs);
    const disturbed = worst / (report.seconds * 1e6) > DISTURBED_SHARE;
    if (!disturbed || attempt === options.retries) return { ...report, disturbed };
  }
}

/** What of a report is not in the scenario already. */
function keep(report) {
  const { mode, connections, sizeBytes, pipeline, errors, errorKinds, firstError, ...rest } =
    report;
  return rest;
}

/** Everything in turn. A server that fails is left out from there on, and said at the end. */
async function measureAll(peers, options) {
  const cores = chooseCores();
  const runs = [];
  const failures = new Map();
  const progress = makeProgress(options.scenarios.length * options.rounds * peers.length);
  for (const scenario of options.scenarios) {
    for (let round = 0; round < options.rounds; round += 1) {
      for (let i = 0; i < peers.length; i += 1) {
        const peer = peers[(i + round) % peers.length];
        const key = `${scenario.name} ${peer.name}`;
        let figure = 'left out';
        if (!failures.has(key)) {
          try {
            const report = await measure(peer, scenario, options, cores);
            runs.push({ scenario: scenario.name, peer: peer.name, round, ...keep(report) });
            figure = `${report.serverCpuUsPerMessage.toFixed(2)} us`;
            figure += `, ${short(report.messagesPerSecond)}/s`;
          } catch (error) {
            failures.set(key, error.message);
            figure = `failed: ${error.message}`;
          }
        }
        progress.step(`${scenario.name} round ${round + 1}: ${peer.name} ${figure}`);
      }
    }
  }
  progress.end();
  return { runs, failures };
}

function summarizeAll(runs, peers, options) {
  const cells = [];
  for (const scenario of options.scenarios) {
    const ofScenario = runs.filter((run) => run.scenario === scenario.name);
    for (const peer of peers) {
      const own = ofScenario.filter((run) => run.peer === peer.name);
      if (own.length === 0) continue;
      const pairs = own.flatMap((run) => {
        const isPair = (one) => one.peer === options.reference && one.round === run.round;
        const reference = ofScenario.find(isPair);
        return reference ? [[reference, run]] : [];
      });
      cells.push({
        scenario: scenario.name,
        peer: peer.name,
        cpuUsPerMessage: summarize(own.map((run) => run.serverCpuUsPerMessage)),
        messagesPerSecond: summarize(own.map((run) => run.messagesPerSecond)),
        megabytesPerSecond: summarize(own.map((run) => run.megabytesPerSecond)),
        p50Us: summarize(own.map((run) => run.latencyUs.p50)),
        p99Us: summarize(own.map((run) => run.latencyUs.p99)),
        ...ratios(peer, pairs, options),
      });
    }
  }
  return cells;
}

function ratios(peer, pairs, options) {
  const isReference = peer.name === options.reference;
  if (isReference || pairs.length === 0) return { cpuGain: null, speedUp: null };
  const ofReference = (field) => pairs.map(([reference]) => reference[field]);
  const ofPeer = (field) => pairs.map(([, run]) => run[field]);
  const cpu = 'serverCpuUsPerMessage';
  const rate = 'messagesPerSecond';
  return {
    cpuGain: pairedRatio(ofReference(cpu), ofPeer(cpu)),
    speedUp: pairedRatio(ofPeer(rate), ofReference(rate)),
  };
}

function printAll(cells, peers, options) {
  const head = ['server', 'CPU us/msg', 'min-max', 'gain', 'msg/s', 'speed', 'p50 us', 'p99 us'];
  for (const scenario of options.scenarios) {
    const rows = peers.flatMap((peer) => {
      const cell = cells.find((c) => c.scenario === scenario.name && c.peer === peer.name);
      if (cell === undefined) return [];
      const cpu = cell.cpuUsPerMessage;
      const cells8 = [peer.label, short(cpu.median), `${short(cpu.min)}-${short(cpu.max)}`];
      cells8.push(ratioText(cell.cpuGain), short(cell.messagesPerSecond.median));
      cells8.push(ratioText(cell.speedUp), short(cell.p50Us.median), short(cell.p99Us.median));
      return [cells8];
    });
    printTable(scenario.title, head, rows);
  }
  console.log(
    '\ngain: CPU of the reference / CPU of the server; speed: msg/s / that of the reference;',
  );
  console.log('median [interval] of the rounds; ~ no conclusion: the interval holds 1x.');
}

function sayWhatWasDisturbed(runs) {
  const count = runs.filter((run) => run.disturbed).length;
  if (count === 0) return;
  console.log(`disturbed: in ${count} of ${runs.length} runs server or load waited for its core`);
  console.log(`for more than ${DISTURBED_SHARE * 100} % of the time; those mean little.`);
}

const options = readOptions();
takeTurn();
ensureBuilt();
warnWhenBusy();
const about = facts();
const { peers, skipped } = choosePeers(options.peers);
if (peers.length === 0) throw new Error('None of these peers is here.');
const { runs, failures } = await measureAll(peers, options);
const cells = summarizeAll(runs, peers, options);
printAll(cells, peers, options);
sayWhatWasDisturbed(runs);
for (const [key, why] of failures) console.log(`failed: ${key} — ${why}`);
save(options.name, {
  kind: 'echo',
  ...about,
  reference: options.reference,
  rounds: options.rounds,
  seconds: options.seconds,
  warmupMs: options.warmupMs,
  scenarios: options.scenarios,
  peers: peers.map(({ name, label, family, version }) => ({ name, label, family, version })),
  skipped,
  failures: [...failures].map(([what, why]) => ({ what, why })),
  summary: cells,
  runs,
});
process.exitCode = failures.size === 0 ? 0 : 1;
