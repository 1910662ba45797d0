// Builds the addons: build/Release/uvio_native.node and uvio_tls.node by node-gyp, or another kind
// by CMake.
//
//   node scripts/build-native.mjs             skipped when no source changed
//     --force                                 build all the same
//     --debug                                 build/Debug, with invariants on
//     --cmake                                 by cmake-js, into build-cmake
//     --sanitize address,undefined            by CMake, into build-asan (build-<first name>)
//
// Exit code 3: a tool is missing (compiler, make, python, headers); the text says which.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { root, run, which } from './support/run.mjs';
import {
  hasOpensslHeaders,
  missingTools,
  NO_COMPILER,
  nodeDir,
  nodeGypEnv,
  nodeGypScript,
} from './support/toolchain.mjs';

const { values: flags } = parseArgs({
  options: {
    force: { type: 'boolean', default: false },
    debug: { type: 'boolean', default: false },
    cmake: { type: 'boolean', default: false },
    sanitize: { type: 'string' },
  },
});

function nativeFiles() {
  return readdirSync(join(root, 'native'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.endsWith('test'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** One hash over all that goes into the addon. */
function sourcesHash() {
  const hash = createHash('sha256');
  hash.update(`${process.versions.node} ${process.arch} ${nodeDir()} ${flags.debug}`);
  for (const file of [...nativeFiles(), join(root, 'binding.gyp')]) {
    hash.update(file.slice(root.length)).update(readFileSync(file));
  }
  return hash.digest('hex');
}

async function buildWithGyp() {
  const type = flags.debug ? 'Debug' : 'Release';
  const names = hasOpensslHeaders() ? ['uvio_native.node', 'uvio_tls.node'] : ['uvio_native.node'];
  if (names.length === 1) console.log('uvio: no headers of OpenSSL; TLS will be that of node:tls');
  const targets = names.map((name) => join(root, 'build', type, name));
  const stamp = join(root, 'build', `uvio-${type}.sha256`);
  const hash = sourcesHash();
  const built =
    targets.every((target) => existsSync(target)) &&
    existsSync(stamp) &&
    readFileSync(stamp, 'utf8') === hash;
  if (built && !flags.force) {
    console.log('uvio: the addon is up to date');
    return 0;
  }
  const env = { ...nodeGypEnv(), JOBS: String(availableParallelism()) };
  const commands = flags.force ? ['rebuild'] : ['configure', 'build'];
  const args = [nodeGypScript(), ...commands, flags.debug ? '--debug' : '--release'];
  const { code } = await run(process.execPath, args, { env, show: true });
  if (code !== 0) return 1;
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, hash);
  return 0;
}

async function buildWithCmakeJs() {
  const cmakeJs = join(root, 'node_modules/cmake-js/bin/cmake-js');
  const env = { ...process.env, npm_config_nodedir: nodeDir() };
  const args = [cmakeJs, 'build', '-O', 'build-cmake'];
  return (await run(process.execPath, args, { env, show: true })).code;
}

async function buildSanitized(names) {
  const folder = `build-${names.split(',')[0].replace('address', 'asan')}`;
  const generator = which('ninja') ? ['-G', 'Ninja'] : [];
  const list = `-DUVIO_SANITIZE=${names.replaceAll(',', ';')}`;
  const configure = ['-S', '.', '-B', folder, ...generator, list, '-DUVIO_TESTS=ON'];
  const first = await run('cmake', configure, { show: true });
  if (first.code !== 0) return first.code;
  return (await run('cmake', ['--build', folder, '--parallel'], { show: true })).code;
}

async function buildAddon() {
  const missing = missingTools();
  if ((flags.cmake || flags.sanitize) && !which('cmake')) missing.push('cmake');
  if (missing.length > 0) {
    console.error(
      `uvio: the native addon cannot be built here; not found: ${missing.join(', ')}.\n` +
        '      On Debian: apt-get install g++ make python3 (headers: libnode-dev).\n' +
        '      Everything also works without the addon, on the pure() policy.',
    );
    return NO_COMPILER;
  }
  if (flags.sanitize) return await buildSanitized(flags.sanitize);
  return flags.cmake ? await buildWithCmakeJs() : await buildWithGyp();
}

process.exitCode = await buildAddon();
