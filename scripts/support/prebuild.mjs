// Makes a prebuild. In a folder of its own: prebuildify moves the file out of build/Release.
import { cpSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { StepError } from './progress.mjs';
import { npmScript, root, run } from './run.mjs';
import { hasOpensslHeaders, missingTools, nodeGypEnv, nodeGypScript } from './toolchain.mjs';

const STAGE = join(root, 'build-prebuild');

function stage() {
  rmSync(join(root, 'prebuilds'), { recursive: true, force: true });
  rmSync(STAGE, { recursive: true, force: true });
  mkdirSync(STAGE);
  for (const name of ['native', 'binding.gyp', 'package.json']) {
    cpSync(join(root, name), join(STAGE, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(STAGE, 'node_modules'));
}

/** prebuildify finds node-gyp on PATH, where `npm run` puts it; so do we. */
function prebuildEnv() {
  const npm = dirname(dirname(npmScript()));
  const shim = join(npm, 'node_modules/@npmcli/run-script/lib/node-gyp-bin');
  return {
    ...nodeGypEnv(),
    npm_config_node_gyp: nodeGypScript(),
    PATH: `${shim}${delimiter}${process.env.PATH}`,
    JOBS: 'max',
  };
}

/**
 * prebuildify takes the first addon of build/Release and leaves the other there. That goes where
 * node-gyp-build, which takes the first of a folder, does not look.
 */
async function addTls() {
  const folder = join(root, 'prebuilds', `${process.platform}-${process.arch}`);
  const [name] = readdirSync(folder).filter((file) => file.endsWith('.node'));
  const target = join(folder, 'tls', name);
  mkdirSync(dirname(target));
  cpSync(join(STAGE, 'build/Release/uvio_tls.node'), target);
  const { code, output } = await run(process.env.PREBUILD_STRIP_BIN ?? 'strip', [
    '--strip-all',
    target,
  ]);
  if (code !== 0) throw new StepError('strip failed', output);
}

/** Makes prebuilds/<platform>-<arch>/native.<libc>.node, and the same below tls/. */
export async function makePrebuild(note = () => {}) {
  const missing = missingTools();
  if (!hasOpensslHeaders()) missing.push('the headers of OpenSSL (libssl-dev)');
  if (missing.length > 0) throw new StepError(`not found: ${missing.join(', ')}`);
  stage();
  const bin = join(root, 'node_modules/prebuildify/bin.js');
  // Under the package's own name node-gyp-build would take the "uv" of uvio for a tag.
  const args = [bin, '--napi', '--strip', '--tag-libc', '--name', 'native', '--out', root];
  const { code, output } = await run(process.execPath, args, {
    cwd: STAGE,
    env: prebuildEnv(),
    onLine: note,
  });
  if (code !== 0) throw new StepError('prebuildify failed: see above', output);
  await addTls();
  rmSync(STAGE, { recursive: true, force: true });
}
