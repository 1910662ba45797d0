// What `npm test` and `npm run demo` do first, on a fresh clone as on a worked-in one.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { StepError, step } from './progress.mjs';
import { root, run, runNpm } from './run.mjs';
import { NO_COMPILER } from './toolchain.mjs';

function packagesOf(file) {
  return JSON.parse(readFileSync(join(root, file), 'utf8')).packages;
}

/** Whether node_modules holds what package-lock.json says (optional packages aside). */
export function dependenciesInstalled() {
  if (!existsSync(join(root, 'node_modules/.package-lock.json'))) return false;
  const wanted = packagesOf('package-lock.json');
  const found = packagesOf('node_modules/.package-lock.json');
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '' || entry.optional || entry.devOptional || entry.peer) continue;
    if (found[path]?.version !== entry.version) return false;
  }
  return true;
}

export async function installDependencies() {
  if (dependenciesInstalled()) return;
  await step('npm ci', async (note) => {
    const args = ['ci', '--no-audit', '--no-fund', '--ignore-scripts'];
    const { code, output } = await runNpm(args, { onLine: note });
    if (code !== 0) throw new StepError('npm ci failed: see above', output);
  });
}

/** @returns {Promise<{ native: boolean, reason: string }>} native: false without a compiler */
export async function buildNative() {
  let reason = '';
  const native = await step('native addon', async (note) => {
    const script = join(root, 'scripts/build-native.mjs');
    const { code, output } = await run(process.execPath, [script], { onLine: note });
    if (code === NO_COMPILER) {
      reason = output.trim();
      return false;
    }
    if (code !== 0) throw new StepError('the native build failed: see above', output);
    return true;
  });
  if (!native) console.log(reason);
  return { native, reason };
}

/**
 * tsc leaves the output of deleted sources behind, and it would be packed; and what it wrote once
 * it does not miss.
 */
function removeStaleOutput() {
  const dist = join(root, 'dist');
  if (!existsSync(dist)) return;
  for (const name of readdirSync(dist, { recursive: true })) {
    const source = join(root, 'lib', name.replace(/(\.d\.ts|\.js)$/, '.ts'));
    if (/\.(js|ts)$/.test(name) && !existsSync(source)) rmSync(join(dist, name));
  }
  for (const name of readdirSync(join(root, 'lib'), { recursive: true })) {
    const written = ['.js', '.d.ts'].map((end) => join(dist, name.replace(/\.ts$/, end)));
    if (!name.endsWith('.ts') || written.every(existsSync)) continue;
    rmSync(join(dist, '.tsbuildinfo'), { force: true });
  }
}

export async function buildDist() {
  await step('TypeScript build', async () => {
    removeStaleOutput();
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const { code, output } = await run(process.execPath, [tsc, '-p', 'tsconfig.build.json']);
    if (code !== 0) throw new StepError('tsc found errors: see above', output);
  });
}

/** All of it. */
export async function setUp() {
  await installDependencies();
  const result = await buildNative();
  await buildDist();
  return result;
}
