// CPU time of PostgreSQL clients per query, side by side: `node bench/postgres.mjs [--help]`
//
// Needs PostgreSQL (/usr/lib/postgresql), the built package, and as peers what is there of:
// `npm install --prefix .peers pg postgres bun`, Debian's python3-asyncpg, python3-uvloop and
// libpq-dev (bench/postgres/libpq.c: no rows are made, which no client of objects can reach).
// `floor-net` (bench/postgres/floor.mjs) is what node:net alone asks for, whoever the client is.
// Each measurement is a client process of its own on core 0, the server is on core 1; the clients
// follow one another for each case and round, so that a disturbance hits all of them.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildFolder } from './build.mjs';
import { facts, takeTurn, warnWhenBusy } from './lib/machine.mjs';
import { peersFolder } from './lib/peers.mjs';
import { makeProgress, printTable, save, short } from './lib/report.mjs';
import { summarize } from './lib/stats.mjs';
import { startPostgres } from './postgres/server.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const script = (name) => join(here, 'postgres', name);
const cases = JSON.parse(readFileSync(script('cases.json'), 'utf8'));

function output(command, args) {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', timeout: 20_000 });
  return status === 0 ? stdout.trim() : null;
}

function packagePeer(name, peer = name) {
  const path = join(peersFolder, 'node_modules', name, 'package.json');
  if (!existsSync(path)) return null;
  const { version } = JSON.parse(readFileSync(path, 'utf8'));
  return { command: [process.execPath, script('client.mjs'), peer], version: `${name} ${version}` };
}

function bunPeer() {
  const bun = join(peersFolder, 'node_modules/bun/bin/bun.exe');
  const version = existsSync(bun) ? output(bun, ['--version']) : null;
  return version && { command: [bun, script('client.mjs'), 'bun'], version: `Bun ${version}` };
}

function pythonPeer() {
  const say = 'import asyncpg, uvloop; print(asyncpg.__version__, "uvloop", uvloop.__version__)';
  const version = output('/usr/bin/python3', ['-c', say]);
  return (
    version && {
      command: ['/usr/bin/python3', script('client.py')],
      version: `asyncpg ${version}`,
    }
  );
}

/** Compiled here; its queries are lines of name, tab, SQL: C has no parser of JSON. */
function libpqPeer() {
  const include = output('pg_config', ['--includedir']);
  if (include === null || !existsSync(join(include, 'libpq-fe.h'))) {
    console.log('libpq: libpq-dev is not installed');
    return null;
  }
  const folder = join(buildFolder, 'peers');
  mkdirSync(folder, { recursive: true });
  const binary = join(folder, 'libpq-client');
  const paths = ['-I', include, '-L', output('pg_config', ['--libdir'])];
  const flags = ['-O3', '-Wall', '-Wextra', ...paths, '-o', binary, script('libpq.c'), '-lpq'];
  const built = spawnSync(process.env.CC ?? 'cc', flags, { encoding: 'utf8' });
  if (built.status !== 0) {
    console.log(`libpq: not built (${built.error?.message ?? built.stderr.split('\n')[0]})`);
    return null;
  }
  const queries = join(folder, 'libpq-cases');
  const lines = Object.entries(cases).map(([name, { sql }]) => `${name}\t${sql}\n`);
  writeFileSync(queries, lines.join(''));
  return {
    command: [binary],
    last: [queries],
    version: `libpq ${output('pg_config', ['--version'])}`,
  };
}

function uvioPeer(policy) {
  return { command: [process.execPath, script('client.mjs'), policy], version: process.version };
}

const finders = {
  'uvio-native': () => uvioPeer('uvio-native'),
  'uvio-pure': () => uvioPeer('uvio-pure'),
  asyncpg: pythonPeer,
  bun: bunPeer,
  pg: () => packagePeer('pg'),
  'postgres.js': () => packagePeer('postgres', 'postgres.js'),
  'floor-net': () => ({ ...uvioPeer('floor-net'), version: `node:net ${process.version}` }),
  libpq: libpqPeer,
};

const caseNames = [...Object.keys(cases), ...['executeMany', 'pipelined', 'copyOut', 'copyIn']];

function readOptions() {
  const text = (value) => ({ type: 'string', default: value });
  const { values } = parseArgs({
    options: {
      seconds: text('0.5'),
      rounds: text('5'),
      cases: text(caseNames.join(',')),
      peers: text(Object.keys(finders).join(',')),
      name: text('postgres'),
      merge: { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    console.log('--rounds 5 --seconds 0.5 --name postgres');
    console.log('--merge keeps what an earlier run has of other cases, and when and where it was');
    console.log(`--cases ${caseNames.join(',')}\n--peers ${Object.keys(finders).join(',')}`);
    process.exit(0);
  }
  const chosen = values.cases.split(',');
  const unknown = chosen.find((name) => !caseNames.includes(name));
  if (unknown !== undefined) throw new TypeError(`There is no case ${unknown}`);
  const peers = values.peers.split(',').map((name) => ({ name, ...finders[name]?.() }));
  for (const { name, command } of peers) if (!command) console.log(`skipped: ${name}`);
  return {
    cases: chosen,
    peers: peers.filter(({ command }) => command),
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    name: values.name,
    merge: values.merge,
  };
}

/** Null: this client has no such thing, or it failed. */
function measure({ name, command, last = [] }, oneCase, seconds, port) {
  const args = ['-c', '0', ...command, oneCase, String(seconds), String(port), ...last];
  const result = spawnSync('taskset', args, { encoding: 'utf8', timeout: 60_000 });
  const line = result.stdout.trim().split('\n').at(-1) ?? '';
  if (line.startsWith('{')) return JSON.parse(line).cpuMicros;
  if (!/has no /.test(result.stderr)) console.error(`${name}: ${result.stderr.slice(0, 500)}`);
  return null;
}

async function measureAll({ cases, peers, rounds, seconds }) {
  const server = await startPostgres();
  const progress = makeProgress(cases.length * peers.length * rounds);
  const runs = [];
  try {
    for (let round = 0; round < rounds; round++) {
      for (const oneCase of cases) {
        for (let i = 0; i < peers.length; i++) {
          const peer = peers[(i + round) % peers.length];
          const cpuUs = measure(peer, oneCase, seconds, server.port);
          progress.step(`${oneCase} ${peer.name}`);
          if (cpuUs !== null) runs.push({ case: oneCase, peer: peer.name, round, cpuUs });
        }
      }
    }
  } finally {
    progress.end();
    server.stop();
  }
  return runs;
}

/**
 * When, where and with which code the cases of an earlier file were measured; those without any
 * are dropped. A file of before has one head, which says so of its last run only.
 */
function sessionsWithout(earlier, cases) {
  if (earlier === null) return [];
  const { kind: _kind, unit: _unit, summary, runs: _runs, sessions, ...head } = earlier;
  const list = sessions ?? [{ cases: [...new Set(summary.map((row) => row.case))], ...head }];
  return list
    .map((one) => ({ ...one, cases: one.cases.filter((name) => !cases.includes(name)) }))
    .filter((one) => one.cases.length > 0);
}

const options = readOptions();
takeTurn();
warnWhenBusy();
const about = facts();
const runs = await measureAll(options);
const names = options.peers.map(({ name }) => name);
const summary = options.cases.flatMap((oneCase) =>
  names.flatMap((peer) => {
    const all = runs.filter((run) => run.case === oneCase && run.peer === peer);
    if (all.length === 0) return [];
    return [{ case: oneCase, peer, cpuUs: summarize(all.map(({ cpuUs }) => cpuUs)) }];
  }),
);
const cell = (oneCase, peer) => {
  const found = summary.find((row) => row.case === oneCase && row.peer === peer);
  return found === undefined ? '-' : short(found.cpuUs.median);
};
const table = options.cases.map((one) => [one, ...names.map((peer) => cell(one, peer))]);
printTable('client CPU, µs per query', ['case', ...names], table);

const path = join(here, 'results', `${options.name}.json`);
const earlier = options.merge && existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null;
const other = (list = []) => list.filter((row) => !options.cases.includes(row.case));
const session = {
  cases: options.cases,
  ...about,
  seconds: options.seconds,
  peers: options.peers.map(({ name, version }) => ({ name, version })),
};
save(options.name, {
  kind: 'postgres',
  unit: 'client CPU, µs per query (of `pipelined`: per 100)',
  sessions: [...sessionsWithout(earlier, options.cases), session],
  summary: [...other(earlier?.summary), ...summary],
  runs: [...other(earlier?.runs), ...runs],
});
