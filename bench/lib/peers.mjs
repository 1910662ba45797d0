// The servers that can be measured: how each is started, and whether its runtime is here.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { epollBinary, goBinary, libuvBinary, uringBinary } from '../build.mjs';

const bench = fileURLToPath(new URL('..', import.meta.url));
const root = join(bench, '..');
export const peersFolder = join(root, '.peers');
const script = (name) => join(bench, 'peers', name);

const pythons = ['/usr/bin/python3', 'python3', 'python3.11', 'python3.12', 'python3.13'];
const cache = new Map();

function once(key, find) {
  if (!cache.has(key)) cache.set(key, find());
  return cache.get(key);
}

function output(command, args) {
  const result = spawnSync(command, args, { encoding: 'utf8', timeout: 20_000 });
  return result.status === 0 ? `${result.stdout}${result.stderr}`.trim() : null;
}

/** The interpreter that can import what is needed; the first on PATH may be another one. */
function findPython(withUvloop) {
  return once(`python ${withUvloop}`, () => {
    const say = withUvloop
      ? "import sys, uvloop; print(sys.version.split()[0], 'uvloop', uvloop.__version__)"
      : 'import sys; print(sys.version.split()[0])';
    for (const command of pythons) {
      const version = output(command, ['-c', say]);
      if (version !== null) return { command, version: `Python ${version}` };
    }
    return { missing: withUvloop ? 'no python3 that can import uvloop' : 'no python3' };
  });
}

function findBun() {
  return once('bun', () => {
    for (const command of [join(peersFolder, 'node_modules', '.bin', 'bun'), 'bun']) {
      const version = output(command, ['--version']);
      if (version !== null) return { command, version: `Bun ${version}` };
    }
    return { missing: 'bun is not installed (node bench/peers/install.mjs)' };
  });
}

/** This Node, or with a major version the one that bench/peers/install.mjs brings. */
function findNode(major) {
  if (major === undefined) return { command: process.execPath, version: `Node ${process.version}` };
  return once(`node ${major}`, () => {
    const command = join(peersFolder, 'node_modules', `node${major}`, 'bin', 'node');
    const version = output(command, ['--version']);
    if (version !== null) return { command, version: `Node ${version}` };
    return { missing: `Node ${major} is not installed (node bench/peers/install.mjs --nodes)` };
  });
}

function uvioMissing(policy, node) {
  if (!existsSync(join(root, 'dist', 'index.js'))) return 'uvio is not built (npm run build)';
  if (policy !== 'native') return null;
  const check = `import { nativeInfo } from ${JSON.stringify(join(root, 'dist', 'index.js'))};
    const { available, reason } = nativeInfo();
    if (!available) throw reason;`;
  const args = ['--input-type=module', '--eval', check];
  const result = spawnSync(node, args, { encoding: 'utf8', timeout: 20_000 });
  if (result.status === 0) return null;
  const words = result.stderr.split('\n').find((line) => /^(Uncaught|\w*Error)|[a-z] /.test(line));
  return `the addon does not load: ${words ?? 'node ended by a signal'}`;
}

function nodePeer(file, args = []) {
  return ({ collect, major }) => {
    const node = findNode(major);
    if (node.missing) return node;
    const flags = collect ? ['--expose-gc'] : [];
    return { ...node, args: [...flags, script(file), ...args] };
  };
}

function uvioPeer(file, policy, ...more) {
  return (options) => {
    const found = nodePeer(file, [policy, ...more])(options);
    if (found.missing) return found;
    const missing = once(`uvio ${policy} ${found.command}`, () => {
      return uvioMissing(policy, found.command);
    });
    return missing === null ? found : { missing };
  };
}

function pythonPeer(file, loop) {
  return () => {
    const python = findPython(loop === 'uvloop');
    if (python.missing) return python;
    return { ...python, args: [script(file), loop] };
  };
}

function goPeer({ collect }) {
  if (!existsSync(goBinary)) return { missing: 'go was not here when the peers were built' };
  const version = once('go', () => output('go', ['version'])?.match(/go[\d.]+/)?.[0] ?? 'Go');
  // Memory is measured with the small buffer that a server of many idle connections would take.
  const buffer = collect ? 4096 : 65_536;
  return { command: goBinary, args: ['-buffer', String(buffer)], version };
}

function libuvPeer() {
  if (!existsSync(libuvBinary)) return { missing: 'libuv1-dev was not here when it was built' };
  const version = once('libuv', () => output('pkg-config', ['--modversion', 'libuv']) ?? '');
  return { command: libuvBinary, args: [], version: `libuv ${version}`.trim() };
}

function epollPeer() {
  const missing = 'there was no C compiler when the peers were built';
  return existsSync(epollBinary) ? { command: epollBinary, args: [] } : { missing };
}

function uringPeer() {
  if (!existsSync(uringBinary)) return { missing: 'liburing-dev was not here when it was built' };
  return { command: uringBinary, args: [] };
}

function bunPeer() {
  const bun = findBun();
  return bun.missing ? bun : { ...bun, args: [script('bun.mjs')] };
}

/** name: [label for people, family (colour in plots), how to start it] */
const table = {
  'node-net': ['node:net', 'node', nodePeer('node-net.mjs')],
  'node-streams': ['node:net for await', 'node', nodePeer('node-streams.mjs')],
  'uvio-native': ['uvio native, Protocol', 'uvio', uvioPeer('uvio-protocol.mjs', 'native')],
  'uvio-native-buffered': [
    'uvio native, BufferedProtocol',
    'uvio',
    uvioPeer('uvio-buffered.mjs', 'native'),
  ],
  'uvio-native-streams': ['uvio native, streams', 'uvio', uvioPeer('uvio-streams.mjs', 'native')],
  'uvio-native-spin': [
    'uvio native, Protocol, spin 50 µs',
    'uvio',
    uvioPeer('uvio-protocol.mjs', 'native', 'spin=50'),
  ],
  'uvio-pure': ['uvio pure, Protocol', 'uvio', uvioPeer('uvio-protocol.mjs', 'pure')],
  'uvio-pure-streams': ['uvio pure, streams', 'uvio', uvioPeer('uvio-streams.mjs', 'pure')],
  epoll: ['epoll in C', 'other', epollPeer],
  'io-uring': ['io_uring in C', 'other', uringPeer],
  libuv: ['libuv in C', 'other', libuvPeer],
  bun: ['Bun.listen', 'other', bunPeer],
  go: ['Go net', 'other', goPeer],
  uvloop: ['uvloop Protocol', 'other', pythonPeer('python_protocol.py', 'uvloop')],
  'uvloop-streams': ['uvloop streams', 'other', pythonPeer('python_streams.py', 'uvloop')],
  asyncio: ['asyncio Protocol', 'other', pythonPeer('python_protocol.py', 'asyncio')],
  'asyncio-streams': ['asyncio streams', 'other', pythonPeer('python_streams.py', 'asyncio')],
};

export const peerNames = Object.keys(table);

/**
 * A peer by name; `name@24` runs a Node peer on that major version of Node.
 * @returns {name, label, family, version, command, args}, or {name, label, missing: 'why'}
 */
export function findPeer(name, { collect = false } = {}) {
  const [base, major] = name.split('@');
  const row = table[base];
  const runsOnNode = base.startsWith('node-') || base.startsWith('uvio-');
  if (row === undefined || (major !== undefined && !runsOnNode)) {
    throw new TypeError(`There is no peer ${name}; there are: ${peerNames.join(', ')}`);
  }
  const [label, family, find] = row;
  const suffix = major === undefined ? '' : `, Node ${major}`;
  return { name, label: `${label}${suffix}`, family, ...find({ collect, major }) };
}

/** The wanted peers that are here; says in a word why the others are skipped. */
export function choosePeers(names, options) {
  const found = names.map((name) => findPeer(name, options));
  for (const peer of found.filter((one) => one.missing)) {
    console.log(`skipped: ${peer.name} — ${peer.missing}`);
  }
  return {
    peers: found.filter((peer) => !peer.missing),
    skipped: found.filter((peer) => peer.missing).map(({ name, missing }) => ({ name, missing })),
  };
}
