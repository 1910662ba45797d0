// Builds what the benchmarks need into bench/.build: the load generator, and with `--peers` the
// peers in C and Go whose compilers are here. `--asan` builds the load generator with sanitizers.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const bench = fileURLToPath(new URL('.', import.meta.url));
export const buildFolder = join(bench, '.build');
export const loadBinary = join(buildFolder, 'load', 'load');
export const loadAsanBinary = join(buildFolder, 'load-asan', 'load');
export const libuvBinary = join(buildFolder, 'peers', 'libuv-echo');
export const epollBinary = join(buildFolder, 'peers', 'epoll-echo');
export const uringBinary = join(buildFolder, 'peers', 'io-uring-echo');
export const floorBinary = join(buildFolder, 'peers', 'websocket-floor');
export const httpFloorBinary = join(buildFolder, 'peers', 'http-floor');
export const goTasksBinary = join(buildFolder, 'peers', 'go-tasks');
export const goBinary = join(buildFolder, 'peers', 'go-echo');

function run(command, args) {
  const result = spawnSync(command, args, { encoding: 'utf8' });
  if (result.error?.code === 'ENOENT') return { ok: false, why: `${command} is not installed` };
  const output = `${result.stdout}${result.stderr}`.trim();
  return result.status === 0 ? { ok: true, output } : { ok: false, why: output };
}

/** Configures and compiles the load generator; throws with the compiler's words. */
export function buildLoad({ asan = false } = {}) {
  const folder = join(buildFolder, asan ? 'load-asan' : 'load');
  const flag = `-DENABLE_ASAN=${asan ? 'ON' : 'OFF'}`;
  const steps = [
    ['-B', folder, '-S', join(bench, 'load'), flag],
    ['--build', folder, '--parallel', '2'],
  ];
  for (const args of steps) {
    const result = run('cmake', args);
    if (!result.ok) throw new Error(`The load generator did not build:\n${result.why}`);
  }
  return join(folder, 'load');
}

function compileC(binary, source, ...libraries) {
  const flags = ['-O3', '-Wall', '-Wextra', '-o', binary, source];
  return run(process.env.CC ?? 'cc', [...flags, ...libraries]);
}

/** Compiles the kernel's floor of a bench; throws with the compiler's words. */
export function buildFloor(binary = floorBinary, folder = 'websocket') {
  mkdirSync(join(buildFolder, 'peers'), { recursive: true });
  const result = compileC(binary, join(bench, folder, 'floor.c'));
  if (!result.ok) throw new Error(`The floor did not build:\n${result.why}`);
}

/** Compiles the peers in C and Go; returns one line about each. */
export function buildPeers() {
  mkdirSync(join(buildFolder, 'peers'), { recursive: true });
  const compile = (binary, folder, ...libraries) => {
    return compileC(binary, join(bench, 'peers', folder, 'echo.c'), ...libraries);
  };
  const epoll = compile(epollBinary, 'c-epoll');
  const libuv = compile(libuvBinary, 'c-libuv', '-luv');
  const uring = compile(uringBinary, 'c-io-uring', '-luring');
  const go = run('go', ['build', '-o', goBinary, join(bench, 'peers', 'go', 'echo.go')]);
  const tasks = join(bench, 'peers', 'tasks', 'go', 'tasks.go');
  const goTasks = run('go', ['build', '-o', goTasksBinary, tasks]);
  const line = (name, result) =>
    `${name}: ${result.ok ? 'built' : `not built (${result.why.split('\n')[0]})`}`;
  return [
    line('epoll', epoll),
    line('libuv', libuv),
    line('io_uring', uring),
    line('go', go),
    line('go tasks', goTasks),
  ];
}

/** Brings everything up to date; a peer that cannot be built is skipped later, with a word. */
export function ensureBuilt() {
  buildLoad();
  buildPeers();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const flag = { type: 'boolean' };
  const { values } = parseArgs({ options: { asan: flag, peers: flag } });
  buildLoad({ asan: values.asan ?? false });
  console.log(values.asan ? 'load (asan): built' : 'load: built');
  if (values.peers) for (const line of buildPeers()) console.log(line);
}
