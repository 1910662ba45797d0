// Where and how something was measured, and the one place that keeps two timings apart.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildFolder } from '../build.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const lockFile = join(buildFolder, 'lock');

function git(...args) {
  const result = spawnSync('git', args, { encoding: 'utf8' });
  return result.status === 0 ? result.stdout.trim() : null;
}

/** The command line as one can type it again at the top of the repository. */
export function commandLine() {
  const words = process.argv.slice(2).map((word) => (/\s/.test(word) ? `'${word}'` : word));
  return ['node', relative(root, process.argv[1]), ...words].join(' ');
}

/** What an earlier run of the same session has measured is no change of the code. */
const changesOfCode = [
  'status',
  '--porcelain',
  '--untracked-files=no',
  '--',
  ':/',
  ':!/bench/results',
];

export function facts() {
  const commit = git('rev-parse', '--short', 'HEAD');
  const changed = commit !== null && git(...changesOfCode) !== '';
  return {
    command: commandLine(),
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    commit: changed ? `${commit} with changes` : commit,
    machine: {
      kernel: release(),
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      loadAverageBefore: Number(loadavg()[0].toFixed(2)),
    },
    node: process.version,
  };
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** One timing at a time: throws while another benchmark of this folder runs. */
export function takeTurn() {
  mkdirSync(buildFolder, { recursive: true });
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      const fd = openSync(lockFile, 'wx');
      writeSync(fd, String(process.pid));
      closeSync(fd);
      process.on('exit', () => rmSync(lockFile, { force: true }));
      for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const owner = Number(readFileSync(lockFile, 'utf8'));
      if (isAlive(owner)) throw new Error(`Another benchmark is running (process ${owner}).`);
      rmSync(lockFile, { force: true });
    }
  }
  throw new Error('The lock of the benchmarks could not be taken.');
}

/** The core of the server and that of the load: two different ones where there are two. */
export function chooseCores() {
  const cores = availableParallelism();
  if (cores < 2) console.log('only one core: server and load share it, figures mean little');
  return { serverCore: 0, loadCore: cores < 2 ? 0 : 1 };
}

export function warnWhenBusy() {
  const load = loadavg()[0];
  if (load > 0.7) console.log(`the machine is busy (load ${load.toFixed(2)}): figures will spread`);
}
