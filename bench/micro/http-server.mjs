// CPU time of an HTTP server per request: uvio beside node:http, asked by wrk (Debian: wrk).
// node bench/micro/http-server.mjs [--rounds 3] [--seconds 3] [--json file] [--servers a,b]
//
// wrk runs with one thread and 64 kept connections: one request under way on each, or 16
// pipelined. Servers follow one another, A B A B, each in a process of its own. Printed are
// medians, and what part of node:http's CPU time the server needs.
import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { saveAs } from '../lib/report.mjs';
import { median } from '../lib/stats.mjs';

const text = 'Hello, World!';
const connections = 64;
const scenarios = [
  { name: 'plaintext', pipelined: 1 },
  { name: '16 pipelined', pipelined: 16 },
];

async function serveHere(kind) {
  if (kind === 'node') {
    const server = createServer((_request, response) => {
      response.setHeader('content-type', 'text/plain');
      response.end(text);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    process.send({ port: server.address().port });
    return;
  }
  const { native, pure, run } = await import('uvio');
  const { Application, Response, serve } = await import('uvio/http');
  const policy = kind === 'uvio-native' ? native({ required: true }) : pure();
  await run(
    async () => {
      const app = new Application().get('/', () => new Response(text));
      const server = await serve(app, { host: '127.0.0.1', port: 0 });
      process.send({ port: server.port });
      await server.waitClosed();
    },
    { policy },
  );
}

/** wrk's script: as many requests in each write. */
function script(pipelined) {
  const file = join(mkdtempSync(join(tmpdir(), 'uvio-wrk-')), 'pipeline.lua');
  const lines = [
    'init = function(args)',
    '  local r = {}',
    `  for i = 1, ${pipelined} do r[i] = wrk.format(nil, "/") end`,
    '  req = table.concat(r)',
    'end',
    'request = function() return req end',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

async function wrk(port, seconds, lua) {
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', lua, `http://127.0.0.1:${port}/`];
  const { stdout } = await promisify(execFile)('wrk', args);
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(stdout);
  return Number(/(\d+) requests in/.exec(stdout)[1]);
}

async function measure(kind, lua, seconds) {
  const child = fork(fileURLToPath(import.meta.url), ['--serve', kind]);
  const [{ port }] = await once(child, 'message');
  await wrk(port, 1, lua);
  const usage = async () => {
    child.send('usage');
    return (await once(child, 'message'))[0].usage;
  };
  const before = await usage();
  const requests = await wrk(port, seconds, lua);
  const after = await usage();
  child.kill();
  await once(child, 'exit');
  const micros = after.user + after.system - before.user - before.system;
  return { cpuMicros: micros / requests, perSecond: requests / seconds };
}

async function compare(options) {
  const rounds = Number(options.rounds);
  const servers = options.servers.split(',');
  const results = [];
  for (const { name, pipelined } of scenarios) {
    const lua = script(pipelined);
    const found = new Map(servers.map((server) => [server, []]));
    for (let round = 0; round < rounds; round++) {
      for (const server of servers) {
        found.get(server).push(await measure(server, lua, Number(options.seconds)));
      }
    }
    const base = median(found.get(servers[0]).map(({ cpuMicros }) => cpuMicros));
    for (const [server, runs] of found) {
      const cpuMicros = median(runs.map((run) => run.cpuMicros));
      const perSecond = median(runs.map((run) => run.perSecond));
      results.push({
        scenario: name,
        server,
        cpuMicros,
        perSecond,
        ofFirst: cpuMicros / base,
        runs,
      });
      const part = (cpuMicros / base).toFixed(2);
      console.log(
        `${name.padEnd(14)} ${server.padEnd(12)} ${cpuMicros.toFixed(2)} µs/request ${part} ×, ` +
          `${Math.round(perSecond)}/s`,
      );
    }
  }
  const machine = { node: process.version, cpu: cpus()[0].model, cpus: cpus().length };
  const report = { benchmark: 'http-server', connections, rounds, machine, results };
  saveAs(options.json, report);
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    servers: { type: 'string', default: 'node,uvio-native,uvio-pure' },
    json: { type: 'string' },
    serve: { type: 'string' },
  },
});

if (values.serve === undefined) {
  await compare(values);
} else {
  process.on('message', () => process.send({ usage: process.cpuUsage() }));
  await serveHere(values.serve);
}
