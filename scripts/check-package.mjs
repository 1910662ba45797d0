// Checks the package as its users get it: packs it, installs the tarball without running any
// script, and uses it on a machine without a compiler; with its prebuild, and without.
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makePrebuild } from './support/prebuild.mjs';
import { main, StepError, step } from './support/progress.mjs';
import { root, run, runNpm } from './support/run.mjs';

const folder = mkdtempSync(join(tmpdir(), 'uvio-package-'));
const consumer = join(folder, 'consumer');
// Only node: no compiler, no make.
const bin = join(folder, 'bin');

function expectEqual(what, actual, expected) {
  if (actual === expected) return;
  throw new StepError(`${what}: ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
}

async function pack() {
  const { code, output } = await runNpm(['pack', '--json', '--pack-destination', folder]);
  if (code !== 0) throw new StepError('npm pack failed', output);
  const [{ filename, files, size }] = JSON.parse(output.slice(output.indexOf('[\n')));
  const wrong = files.filter(({ path }) => /^(test|scripts|bench|node_modules|build)/.test(path));
  if (wrong.length > 0) throw new StepError(`in the tarball: ${wrong[0].path}`);
  console.log(`${filename}: ${files.length} files, ${(size / 1024).toFixed(0)} KiB`);
  return join(folder, filename);
}

async function lint(tarball) {
  const tools = [
    ['publint', ['node_modules/publint/src/cli.js', 'run', tarball, '--strict']],
    [
      'attw',
      ['node_modules/@arethetypeswrong/cli/dist/index.js', tarball, '--profile', 'esm-only'],
    ],
  ];
  for (const [name, args] of tools) {
    const { code, output } = await run(process.execPath, args);
    if (code !== 0) throw new StepError(`${name} complains`, output);
  }
}

async function install(tarball) {
  cpSync(join(root, 'test/package/consumer'), consumer, { recursive: true });
  writeFileSync(join(consumer, 'package.json'), '{"private": true}\n');
  mkdirSync(bin);
  symlinkSync(process.execPath, join(bin, 'node'));
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  const { code, output } = await runNpm([...args, tarball], { cwd: consumer });
  if (code !== 0) throw new StepError('npm install failed', output);
}

/** Runs a program of the consumer; its last line is JSON. */
async function use(program) {
  const { code, output } = await run(join(bin, 'node'), [program], {
    cwd: consumer,
    env: { PATH: bin, HOME: folder },
    timeoutMs: 30_000,
  });
  if (code !== 0) throw new StepError(`${program} ended with ${code}`, output);
  try {
    return JSON.parse(output.trimEnd().split('\n').at(-1));
  } catch {
    throw new StepError(`${program} printed no JSON`, output);
  }
}

async function useWithPrebuild() {
  const result = await use('echo.mjs');
  if (!result.available) throw new StepError(`the prebuild did not load: ${result.reason}`);
  expectEqual('native', result.answers.native, 'native: hello');
  expectEqual('pure', result.answers.pure, 'pure: hello');
  expectEqual('required', result.required, 'loads');
  expectEqual('warnings', result.warnings.length, 0);
  if (!result.path.includes('prebuilds')) throw new StepError(`loaded ${result.path}`);
  expectEqual('require()', (await use('require.cjs')).same, true);
  expectEqual('worker', (await use('worker.mjs')).listened, true);
}

async function useWithoutPrebuild() {
  rmSync(join(consumer, 'node_modules/uvio/prebuilds'), { recursive: true });
  const result = await use('echo.mjs');
  expectEqual('available', result.available, false);
  expectEqual('native', result.answers.native, 'pure: hello');
  expectEqual('required', result.required, 'ERR_UVIO_NATIVE_UNAVAILABLE');
  expectEqual('warnings', result.warnings.length, 1);
  expectEqual('its code', result.warnings[0].code, 'UVIO_NATIVE_UNAVAILABLE');
  if (!result.reason) throw new StepError('nativeInfo().reason is empty');
  console.log(`reason: ${result.reason.split('\n')[0]}`);
  expectEqual('worker', (await use('worker.mjs')).listened, true);
}

async function checkTypes() {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const strict = [
    '--strict',
    '--exactOptionalPropertyTypes',
    '--noEmit',
    '--skipLibCheck',
    'false',
  ];
  const target = [
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--lib',
    'es2023,esnext.disposable',
  ];
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')];
  const args = [tsc, ...strict, ...target, ...types, 'types.ts'];
  const { code, output } = await run(process.execPath, args, { cwd: consumer });
  if (code !== 0) throw new StepError('the types do not hold in a strict program', output);
}

await main(async () => {
  try {
    await step('prebuild', makePrebuild);
    const tarball = await step('npm pack', pack);
    await step('publint, attw', () => lint(tarball));
    await step('install without scripts', () => install(tarball));
    await step('import, require, worker: prebuild, no compiler', useWithPrebuild);
    await step('the same without prebuild: falls back to pure', useWithoutPrebuild);
    await step('types in a strict program', checkTypes);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
