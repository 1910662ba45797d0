// Client CPU per query of PostgreSQL clients, interleaved: the table of the peers.
//
//   node bench/postgres.mjs [--seconds 0.5] [--rounds 3] [--cases one,mixed]
//     [--peers uvio-native,pg]
//
// Needs PostgreSQL (/usr/lib/postgresql), `npm install --prefix .peers pg postgres bun` and
// python3-asyncpg; what is missing is left out. The client is pinned to core 0, the server to 1.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { peersFolder } from './lib/peers.mjs';
import { save } from './lib/report.mjs';
import { startPostgres } from './postgres/server.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const script = (name) => join(here, 'postgres', name);
const bun = join(peersFolder, 'node_modules/bun/bin/bun.exe');
const hasPeer = (name) => existsSync(join(peersFolder, 'node_modules', name));
const runs = (command, args) => spawnSync(command, args).status === 0;

const node = (peer) => [process.execPath, script('client.mjs'), peer];
const commands = {
  'uvio-native': node('uvio-native'),
  'uvio-pure': node('uvio-pure'),
  ...(runs('/usr/bin/python3', ['-c', 'import asyncpg, uvloop'])
    ? { asyncpg: ['/usr/bin/python3', script('client.py')] }
    : {}),
  ...(existsSync(bun) ? { bun: [bun, script('client.mjs'), 'bun'] } : {}),
  ...(hasPeer('pg') ? { pg: node('pg') } : {}),
  ...(hasPeer('postgres') ? { 'postgres.js': node('postgres.js') } : {}),
};

const allCases = [
  ...Object.keys(JSON.parse(readFileSync(script('cases.json'), 'utf8'))),
  'executeMany',
  'pipelined',
];

const text = { type: 'string' };
const options = { seconds: text, rounds: text, cases: text, peers: text };
const { values } = parseArgs({ options });
const rounds = Number(values.rounds ?? 3);
const seconds = values.seconds ?? '0.5';
const peers = values.peers?.split(',') ?? Object.keys(commands);
const cases = values.cases?.split(',') ?? allCases;

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const server = await startPostgres();
const results = {};
try {
  for (let round = 0; round < rounds; round++) {
    for (const name of cases) {
      for (const peer of peers) {
        const [command, ...args] = commands[peer];
        const all = ['-c', '0', command, ...args, name, seconds, String(server.port)];
        const { stdout, stderr } = spawnSync('taskset', all, { encoding: 'utf8', timeout: 30_000 });
        const line = stdout.trim().split('\n').at(-1) ?? '';
        if (!line.startsWith('{')) {
          console.error(`${peer} ${name}: ${stderr.slice(0, 500)}`);
          continue;
        }
        results[name] ??= {};
        results[name][peer] ??= [];
        results[name][peer].push(JSON.parse(line).cpuMicros);
      }
    }
  }
} finally {
  server.stop();
}

console.log(`| case | ${peers.join(' | ')} |\n|-|${peers.map(() => '-').join('|')}|`);
const table = {};
for (const [name, byPeer] of Object.entries(results)) {
  table[name] = {};
  for (const peer of peers) if (byPeer[peer]) table[name][peer] = median(byPeer[peer]);
  const cells = peers.map((peer) => table[name][peer]?.toFixed(1) ?? '–');
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}
if (values.cases === undefined && values.peers === undefined) {
  save('postgres', { unit: 'client CPU µs per query', rounds, seconds, table });
}
