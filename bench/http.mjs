// HTTP servers side by side: CPU time of the server per request, and requests per second, by wrk.
//
//   node bench/http.mjs [--rounds 3] [--seconds 1] [--scenarios …] [--peers …] [--name http]
//
// The server has core 0, wrk core 1. In each round each server is asked once, one after the other;
// told is the median. Results go to bench/results/NAME.json. Peers come from npm into .peers/ (git
// ignores it): npm install --prefix .peers fastify bun@1.4.5 (uWebSockets.js
// needs a newer glibc than Debian 12 has). The peer `floor` (plaintext and pipelined only) is a C
// program that answers with constant bytes: what the kernel asks for, whoever the server is.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildFloor, httpFloorBinary } from './build.mjs';
import { facts } from './lib/machine.mjs';
import { median } from './lib/stats.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const peersFolder = join(here, '..', '.peers');
const serverFile = join(here, 'http', 'server.mjs');
const ticksPerSecond = 100;

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '1' },
    scenarios: { type: 'string', default: 'plaintext,pipelined,json,echo' },
    peers: {
      type: 'string',
      default: 'node-http,fastify,uvio-native,uvio-pure,bun,go,aiohttp',
    },
    name: { type: 'string' },
  },
});

const folder = mkdtempSync(join(tmpdir(), 'uvio-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

function script(name, text) {
  const file = join(folder, `${name}.lua`);
  writeFileSync(file, text);
  return ['-s', file];
}

const scenarios = {
  plaintext: { path: '/', args: [] },
  pipelined: {
    path: '/',
    args: script(
      'pipelined',
      `init = function() local one = wrk.format()
        local all = {} for i = 1, 16 do all[i] = one end; request_text = table.concat(all) end
      request = function() return request_text end`,
    ),
  },
  json: { path: '/user/42', args: [] },
  echo: {
    path: '/echo',
    args: script(
      'echo',
      `wrk.method = 'POST'; wrk.body = string.rep('x', 1024)
      wrk.headers['content-type'] = 'application/octet-stream'`,
    ),
  },
};

function goBinary() {
  const binary = join(peersFolder, 'go-http');
  const source = join(here, 'http', 'go', 'main.go');
  if (!existsSync(binary)) spawnSync('go', ['build', '-o', binary, source], { stdio: 'inherit' });
  return binary;
}

const bunBinary = join(peersFolder, 'node_modules', '.bin', 'bun');

function commandOf(peer) {
  if (peer === 'floor') return [httpFloorBinary];
  if (peer === 'go') return ['env', 'GOMAXPROCS=1', goBinary()];
  if (peer === 'bun') return [bunBinary, serverFile, peer];
  if (peer === 'aiohttp') return ['/usr/bin/python3', join(here, 'http', 'aiohttp_server.py')];
  return [process.execPath, serverFile, peer];
}

async function start(peer) {
  const child = spawn('taskset', ['-c', '0', ...commandOf(peer)], {
    // aiohttp tells of each connection that wrk closes.
    stdio: ['ignore', 'pipe', peer === 'aiohttp' ? 'ignore' : 'inherit'],
  });
  process.on('exit', () => child.kill('SIGKILL'));
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('{')) return { peer, child, port: JSON.parse(line).port };
  }
  throw new Error(`${peer} did not start`);
}

/** Milliseconds of CPU time. */
function cpuMs(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
}

function wrk(port, { path, args }, seconds) {
  const url = `http://127.0.0.1:${port}${path}`;
  const line = ['-c', '1', 'wrk', '-t1', '-c64', `-d${seconds}s`, ...args, url];
  return new Promise((resolve, reject) => {
    const child = spawn('taskset', line, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (part) => {
      text += part;
    });
    child.on('close', () => {
      const found = /(\d+) requests in ([\d.]+)(m?s)/.exec(text);
      const wrong = /Non-2xx|Socket errors/.exec(text);
      if (found === null || wrong !== null) reject(new Error(text));
      else resolve({ requests: Number(found[1]), seconds: Number(found[2]) });
    });
  });
}

const unknownToFloor = new Set(['json', 'echo']);
if (flags.peers.split(',').includes('floor')) buildFloor(httpFloorBinary, 'http');
const servers = [];
for (const peer of flags.peers.split(',')) servers.push(await start(peer));
const summary = [];
for (const name of flags.scenarios.split(',')) {
  const scenario = scenarios[name];
  const able = servers.filter(({ peer }) => peer !== 'floor' || !unknownToFloor.has(name));
  const samples = new Map(able.map(({ peer }) => [peer, []]));
  for (let round = 0; round < Number(flags.rounds); round++) {
    for (const { peer, child, port } of able) {
      // Compilers warm up in the first round.
      if (round === 0) await wrk(port, scenario, 1);
      const before = cpuMs(child.pid);
      const { requests, seconds } = await wrk(port, scenario, flags.seconds);
      const us = ((cpuMs(child.pid) - before) * 1000) / requests;
      samples.get(peer).push({ us, rate: requests / seconds });
    }
  }
  const base = median(samples.get(able[0].peer).map(({ us }) => us));
  for (const [peer, list] of samples) {
    const us = median(list.map((one) => one.us));
    const rate = median(list.map((one) => one.rate));
    const all = list.map((one) => Number(one.us.toFixed(2)));
    summary.push({
      scenario: name,
      peer,
      cpuUsPerRequest: Number(us.toFixed(2)),
      all,
      requestsPerSecond: Math.round(rate),
      ofFirst: Number((us / base).toFixed(2)),
    });
    console.log(
      `${name.padEnd(10)} ${peer.padEnd(12)} ${us.toFixed(2).padStart(8)} us ` +
        `${Math.round(rate).toString().padStart(9)}/s  × ${(us / base).toFixed(2)}`,
    );
  }
}
for (const { child } of servers) child.kill('SIGKILL');
if (flags.name !== undefined) {
  const result = { kind: 'http', ...facts(), summary };
  const file = join(here, 'results', `${flags.name}.json`);
  writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`);
}
process.exit(0);
