// Workers of runApp: requests a second and CPU time per request, with one and with two.
//   node bench/workers.mjs [--workers 1,2] [--rounds 5] [--seconds 3] [--policy native]
//     [--name workers]
//
// The load is wrk, on the same machine: on two cores it takes its share, and two workers cannot
// have all of both. So there are two programs: `plaintext` answers at once and shows what the load
// leaves; `work` computes for half a millisecond, beside which the load hardly counts.
// CPU time is that of the server's process, all threads together.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { facts, takeTurn, warnWhenBusy } from './lib/machine.mjs';
import { makeProgress, printTable, ratioText, save, short } from './lib/report.mjs';
import { pairedRatio, summarize } from './lib/stats.mjs';

const script = fileURLToPath(import.meta.url);
const connections = 64;
const warmUpMs = 700;
/** /proc counts in ticks of 10 ms. */
const tickUs = 10_000;
const programs = ['plaintext', 'work'];

/** The same work in all threads, however fast those are. */
function compute(turns) {
  let value = 1;
  for (let i = 0; i < turns; i++) value = Math.imul(value ^ i, 0x01000193);
  return value;
}

async function serve(workers, policy) {
  const { native, pure, setLoopPolicy } = await import('uvio');
  const { Application, Response, runApp } = await import('uvio/http');
  setLoopPolicy(policy === 'native' ? native({ required: true }) : pure());
  const app = new Application();
  app.get('/plaintext', () => new Response('Hello, World!'));
  app.get('/work', () => new Response(String(compute(500_000))));
  await runApp(app, { host: '127.0.0.1', port: 0, workers });
}

async function startServer(workers, policy) {
  const args = [script, '--serve', String(workers), '--policy', policy];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  const stop = async () => {
    const closed = once(child, 'close');
    child.kill('SIGTERM');
    const [code] = await closed;
    if (code !== 0) throw new Error(`The server ended with exit code ${code}`);
  };
  return { pid: child.pid, url: /http:\S+/.exec(line)[0], stop };
}

function cpuUs(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * tickUs;
}

async function load(url, seconds) {
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, url];
  const child = spawn('wrk', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  await once(child, 'close');
  const [, requests, span, unit] = /(\d+) requests in ([\d.]+)(m?s)/.exec(text) ?? [];
  if (requests === undefined || /Non-2xx|Socket errors/.test(text)) throw new Error(text);
  return { requests: Number(requests), ms: Number(span) * (unit === 's' ? 1_000 : 1) };
}

async function measure(workers, program, { policy, seconds }) {
  const server = await startServer(workers, policy);
  const url = server.url + program;
  await load(url, 1);
  await pause(warmUpMs);
  const before = cpuUs(server.pid);
  const { requests, ms } = await load(url, seconds);
  const us = cpuUs(server.pid) - before;
  await server.stop();
  return { rate: (requests / ms) * 1_000, cpuUs: us / requests };
}

function rowsOf(runs, program, counts) {
  const series = (workers, field) =>
    runs
      .filter((run) => run.program === program && run.workers === workers)
      .sort((a, b) => a.round - b.round)
      .map((run) => run[field]);
  return counts.map((workers) => {
    const rate = summarize(series(workers, 'rate'));
    const cpu = summarize(series(workers, 'cpuUs'));
    const isFirst = workers === counts[0];
    const speed = isFirst ? null : pairedRatio(series(workers, 'rate'), series(counts[0], 'rate'));
    const range = `${short(cpu.min)}-${short(cpu.max)}`;
    return [String(workers), short(rate.median), ratioText(speed), short(cpu.median), range];
  });
}

async function main(options) {
  takeTurn();
  const about = { ...facts(), policy: options.policy, connections, load: 'wrk, the same machine' };
  warnWhenBusy();
  const counts = options.workers.split(',').map(Number);
  const runs = [];
  const progress = makeProgress(options.rounds * programs.length * counts.length);
  for (let round = 0; round < options.rounds; round++) {
    for (const program of programs) {
      for (const workers of round % 2 === 0 ? counts : counts.toReversed()) {
        const run = { program, workers, round, ...(await measure(workers, program, options)) };
        runs.push(run);
        progress.step(`${program} ${workers}: ${short(run.rate)}/s, ${short(run.cpuUs)} us`);
      }
    }
  }
  progress.end();
  const head = ['workers', 'requests/s', 'speed', 'CPU us/request', 'min-max'];
  for (const program of programs) {
    printTable(program, head, rowsOf(runs, program, counts));
  }
  save(options.name, { ...about, runs });
}

const { values } = parseArgs({
  options: {
    serve: { type: 'string' },
    workers: { type: 'string', default: '1,2' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    policy: { type: 'string', default: 'native' },
    name: { type: 'string', default: 'workers' },
  },
});
if (values.serve !== undefined) await serve(Number(values.serve), values.policy);
else await main({ ...values, rounds: Number(values.rounds), seconds: Number(values.seconds) });
