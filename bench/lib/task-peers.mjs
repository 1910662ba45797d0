// The schedulers that are measured, and whether their runtimes are here.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { goTasksBinary } from '../build.mjs';
import { peersFolder } from './peers.mjs';

const script = (name) => fileURLToPath(new URL(`../peers/tasks/${name}`, import.meta.url));

function output(command, args) {
  const result = spawnSync(command, args, { encoding: 'utf8', timeout: 20_000 });
  return result.status === 0 ? `${result.stdout}${result.stderr}`.trim() : null;
}

function node(file, args, major) {
  const command =
    major === undefined
      ? process.execPath
      : join(peersFolder, 'node_modules', `node${major}`, 'bin', 'node');
  const version = output(command, ['--version']);
  if (version === null)
    return { missing: `no Node ${major} (node bench/peers/install.mjs --nodes)` };
  return { command, version, args: ['--expose-gc', script(file), ...args] };
}

function python(file, module, args) {
  for (const command of ['/usr/bin/python3', 'python3']) {
    const ofModule = `getattr(${module}, '__version__', '')`;
    const say = `import sys, ${module}; print(sys.version.split()[0], ${ofModule})`;
    const version = output(command, ['-c', say]);
    if (version !== null)
      return { command, version: `Python ${version}`.trim(), args: [script(file), ...args] };
  }
  return { missing: `no python3 that can import ${module}` };
}

function effect(major) {
  // The package is looked for beside the script that imports it: so the peers' folder has a copy.
  const installed = join(peersFolder, 'node_modules', 'effect');
  if (!existsSync(installed))
    return { missing: 'effect is not installed (bench/peers/install.mjs)' };
  const found = node('effect.mjs', [], major);
  if (found.missing) return found;
  const loader = `data:text/javascript,${encodeURIComponent(resolver)}`;
  const args = ['--import', loader, ...found.args];
  return { ...found, args };
}

/** Lets `import 'effect'` find the package in the peers' folder. */
const inPeersFolder = JSON.stringify(new URL(`file://${peersFolder}/x.mjs`));
const resolver = `
import { register } from 'node:module';
const hooks = 'export const resolve = (name, context, next) => name.startsWith("effect") ' +
  '? next(name, { ...context, parentURL: ${inPeersFolder} }) ' +
  ': next(name, context);';
register('data:text/javascript,' + encodeURIComponent(hooks));
`;

function go() {
  if (!existsSync(goTasksBinary)) return { missing: 'go was not here when the peers were built' };
  return {
    command: goTasksBinary,
    args: [],
    version: output('go', ['version'])?.match(/go[\d.]+/)?.[0],
  };
}

const table = {
  'uvio-native': ['uvio, native', (major) => node('uvio.mjs', ['native'], major)],
  'uvio-pure': ['uvio, pure', (major) => node('uvio.mjs', ['pure'], major)],
  promises: ['bare promises', (major) => node('promises.mjs', [], major)],
  asyncio: ['asyncio', () => python('python_tasks.py', 'asyncio', ['asyncio'])],
  uvloop: ['asyncio on uvloop', () => python('python_tasks.py', 'uvloop', ['uvloop'])],
  trio: ['trio', () => python('trio_tasks.py', 'trio', [])],
  effect: ['Effect', effect],
  go: ['Go', go],
};

export const taskPeerNames = [
  'uvio-native',
  'uvio-pure',
  'uvio-native@24',
  ...Object.keys(table).slice(2),
];

export function chooseTaskPeers(names) {
  const found = names.map((name) => {
    const [base, major] = name.split('@');
    const row = table[base];
    if (row === undefined) throw new TypeError(`No peer ${name}; there are: ${Object.keys(table)}`);
    return { name, label: `${row[0]}${major ? `, Node ${major}` : ''}`, ...row[1](major) };
  });
  const skipped = found
    .filter((peer) => peer.missing)
    .map(({ name, missing }) => ({ name, missing }));
  for (const { name, missing } of skipped) console.log(`skipped: ${name} — ${missing}`);
  return { peers: found.filter((peer) => !peer.missing), skipped };
}
