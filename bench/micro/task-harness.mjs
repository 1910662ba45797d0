// Runs rows of a micro benchmark, each in processes of its own, and prints medians as a table.
//
// A row is `async (uvio) => operations`, run inside `uvio.run`; its rate is operations per second
// of CPU time (all threads, so that a busy machine disturbs little). A row marked `bytes` gives
// bytes a piece instead.
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { saveAs } from '../lib/report.mjs';

const seconds = 0.6;

async function measure(row) {
  const uvio = await import('../../dist/index.js');
  return await uvio.run(async () => {
    if (row.bytes) return await row.run(uvio);
    const warmUntil = performance.now() + 300;
    while (performance.now() < warmUntil) await row.run(uvio);
    let operations = 0;
    const before = process.cpuUsage();
    const spent = () => {
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1e6;
    };
    while (spent() < seconds) operations += await row.run(uvio);
    return operations / spent();
  });
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function childFigure(script, name, node, policy) {
  const env = { ...process.env, UVIO_POLICY: policy };
  const args = ['--expose-gc', script, '--row', name];
  const result = spawnSync(node, args, { encoding: 'utf8', env, timeout: 60_000 });
  if (result.status !== 0) throw new Error(`${name}: ${result.stderr}`);
  return Number(result.stdout);
}

function show(row, value) {
  if (row.bytes) return `${Math.round(value)} bytes`;
  return `${Math.round(value / 1000).toLocaleString('en')} k/s`;
}

/** @param rows name -> row. Options: --row, --rounds, --policy, --node, --json FILE. */
export async function main(url, rows) {
  const { values } = parseArgs({
    options: {
      row: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      policy: { type: 'string', default: 'pure' },
      node: { type: 'string', default: process.execPath },
      json: { type: 'string' },
    },
  });
  if (values.row !== undefined) {
    process.stdout.write(`${await measure(rows[values.row])}\n`);
    return;
  }
  const script = new URL(url).pathname;
  const results = {};
  for (const [name, row] of Object.entries(rows)) {
    const figures = [];
    for (let i = 0; i < Number(values.rounds); i++) {
      figures.push(childFigure(script, name, values.node, values.policy));
    }
    results[name] = {
      median: median(figures),
      min: Math.min(...figures),
      max: Math.max(...figures),
    };
    const { median: middle, min, max } = results[name];
    const spread = `${show(row, min)} – ${show(row, max)}`;
    process.stdout.write(`${name.padEnd(38)} ${show(row, middle).padStart(14)}   (${spread})\n`);
  }
  saveAs(values.json, {
    node: process.version,
    policy: values.policy,
    unit: 'operations per CPU second, or bytes',
    results,
  });
}
