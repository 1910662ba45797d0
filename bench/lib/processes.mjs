// Starts a server on one core and the load generator on the other, and ends both.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadBinary } from '../build.mjs';

const START_MS = 15_000;
const STOP_MS = 3_000;

// Nothing that was started here outlives this process.
const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** `taskset` and the hard limit of open files around a command. */
function wrapped(core, command, args) {
  const line = 'ulimit -n "$(ulimit -Hn)"; exec taskset -c "$@"';
  return ['/bin/sh', ['-c', line, 'sh', String(core), command, ...args]];
}

function withDeadline(promise, ms, what) {
  const timer = new AbortController();
  const late = sleep(ms, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`${what} took longer than ${ms / 1000} s`);
  });
  late.catch(() => {});
  return Promise.race([promise, late]).finally(() => timer.abort());
}

/** Lines of JSON on a child's standard output, one at a time; null at the end. */
function jsonLines(child) {
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async () => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) return null;
      if (value.startsWith('{')) return JSON.parse(value);
    }
  };
}

function startChild(core, command, args, stdin) {
  const child = spawn(...wrapped(core, command, args), { stdio: [stdin, 'pipe', 'pipe'] });
  child.errorText = '';
  child.stderr.on('data', (text) => {
    child.errorText = (child.errorText + text).slice(-2_000);
  });
  running.add(child);
  child.ended = new Promise((resolve) => child.on('close', resolve));
  child.ended.then(() => running.delete(child));
  child.nextJson = jsonLines(child);
  return child;
}

/** A running peer: `port`, `pid`, `collect()` for its garbage, `stop()`. */
export async function startServer(peer, core) {
  const child = startChild(core, peer.command, peer.args, 'ignore');
  const stop = async () => {
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await child.ended;
    clearTimeout(force);
  };
  try {
    const first = await withDeadline(child.nextJson(), START_MS, `Starting ${peer.name}`);
    if (first === null) throw new Error(`${peer.name} ended at once: ${child.errorText}`);
    const collect = async () => {
      child.kill('SIGUSR2');
      await withDeadline(child.nextJson(), START_MS, `Garbage collection of ${peer.name}`);
    };
    return { peer, port: first.port, pid: child.pid, collect, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Runs the load generator against a server to its end; throws when a byte was wrong or lost. */
export async function runLoad(server, core, args) {
  const target = ['--port', String(server.port), '--watch', String(server.pid)];
  const child = startChild(core, loadBinary, [...target, ...args], 'ignore');
  const report = await child.nextJson();
  await child.ended;
  if (report === null) throw new Error(`load against ${server.peer.name}: ${child.errorText}`);
  if (report.errors > 0) {
    const kinds = JSON.stringify(report.errorKinds);
    throw new Error(`load against ${server.peer.name}: ${report.firstError} ${kinds}`);
  }
  return report;
}

/** Opens idle connections and holds them until `close()`. */
export async function holdConnections(server, core, connections) {
  const args = ['--port', String(server.port), '--mode', 'idle'];
  const more = ['--connections', String(connections), '--deadline', '600000'];
  const child = startChild(core, loadBinary, [...args, ...more], 'pipe');
  const ready = await child.nextJson();
  if (ready?.ready !== connections) {
    child.stdin.end();
    throw new Error(`load against ${server.peer.name}: ${ready?.firstError ?? child.errorText}`);
  }
  const close = async () => {
    child.stdin.end();
    const report = await child.nextJson();
    await child.ended;
    if (report === null || report.errors > 0) {
      throw new Error(`idle connections of ${server.peer.name}: ${report?.firstError}`);
    }
  };
  return { close };
}

/** Private memory of a process in bytes: what it alone would give back. */
export function privateBytes(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const kilobytes = (name) => Number(text.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))[1]);
  return 1024 * (kilobytes('Private_Clean') + kilobytes('Private_Dirty'));
}

export function openFiles(pid) {
  return readdirSync(`/proc/${pid}/fd`).length;
}
