// Runs pairs of rows, ours and Node's, by turns in fresh processes, and prints medians and ratios.
import { spawnSync } from 'node:child_process';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { saveAs } from '../lib/report.mjs';

/** CPU nanoseconds of this process an operation, garbage collection included. */
export async function cpuNs(operation, count, seconds = 0.5) {
  const warmUntil = performance.now() + 200;
  while (performance.now() < warmUntil) await operation(count);
  let done = 0;
  const before = process.cpuUsage();
  const spentUs = () => {
    const { user, system } = process.cpuUsage(before);
    return user + system;
  };
  while (spentUs() < seconds * 1e6) {
    await operation(count);
    done += count;
    // Node's turn: what is put off to it is part of the work.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return (spentUs() * 1000) / done;
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

function child(script, row, side, policy) {
  const args = ['--expose-gc', script, '--row', row, '--side', side, '--policy', policy];
  const result = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 120_000 });
  if (result.status !== 0) throw new Error(`${row}, ${side}: ${result.stderr}`);
  return JSON.parse(result.stdout);
}

function round(value) {
  return Math.round(value * 100) / 100;
}

/**
 * @param rows name -> { unit, ours, node }: give a promise of a number each. `node` may be missing.
 * Options: --rounds, --policy pure|native, --only PART, --json FILE.
 */
export async function main(script, rows) {
  const { values } = parseArgs({
    options: {
      row: { type: 'string' },
      side: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      policy: { type: 'string', default: 'pure' },
      only: { type: 'string', default: '' },
      json: { type: 'string' },
    },
  });
  if (values.row !== undefined) {
    process.env.UVIO_POLICY = values.policy;
    process.stdout.write(JSON.stringify(await rows[values.row][values.side]()));
    process.exit(0);
  }
  const results = [];
  for (const [name, row] of Object.entries(rows)) {
    if (!name.includes(values.only)) continue;
    const samples = { ours: [], node: [] };
    for (let i = 0; i < Number(values.rounds); i++) {
      for (const side of ['node', 'ours']) {
        if (row[side]) samples[side].push(child(script, name, side, values.policy));
      }
    }
    const ours = round(median(samples.ours));
    const node = row.node ? round(median(samples.node)) : null;
    const ratio = node === null ? null : round(node / ours);
    results.push({ name, unit: row.unit, ours, node, ratio, samples });
    console.log(
      `${name.padEnd(44)} ${String(ours).padStart(9)} ${String(node ?? '-').padStart(9)} ` +
        `${row.unit.padEnd(6)} ${ratio === null ? '' : `${ratio}x`}`,
    );
  }
  const { version, arch, argv } = process;
  const command = ['node', `bench/micro/${basename(argv[1])}`, ...argv.slice(2)].join(' ');
  const date = new Date().toISOString();
  saveAs(values.json, { command, version, arch, policy: values.policy, date, results });
}
