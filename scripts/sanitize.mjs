// Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer and runs the C++ unit
// tests and the native half of the suite on it. Node itself is not instrumented: the runtimes
// are preloaded. Leaks are looked for where the process ends by itself (`--leaks`: slower).
//
//   node scripts/sanitize.mjs [--leaks] [arguments of vitest]
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { main, StepError, step } from './support/progress.mjs';
import { root, run } from './support/run.mjs';
import { closingLine, noCounts, runVitest } from './support/suite.mjs';

const FOLDER = 'build-asan';
const LEAK_NOISE = join(root, 'scripts/support/lsan.supp');

async function runtimeLibrary(name) {
  const { output } = await run('g++', [`-print-file-name=${name}`]);
  const file = output.trim();
  if (!existsSync(file)) throw new StepError(`${name} was not found: is it g++ that builds here?`);
  return file;
}

async function build(note) {
  const script = join(root, 'scripts/build-native.mjs');
  const args = [script, '--sanitize', 'address,undefined'];
  const { code, output } = await run(process.execPath, args, { onLine: note });
  if (code !== 0) throw new StepError('the instrumented build failed', output);
}

async function unitTests() {
  const { code, output } = await run('ctest', ['--test-dir', FOLDER, '--output-on-failure']);
  if (code !== 0) throw new StepError('C++ unit tests failed', output);
}

async function sanitizedEnv(leaks) {
  const libraries = [await runtimeLibrary('libasan.so'), await runtimeLibrary('libubsan.so')];
  return {
    ...process.env,
    LD_PRELOAD: libraries.join(':'),
    ASAN_OPTIONS: `detect_leaks=${leaks ? 1 : 0}:abort_on_error=1:handle_segv=1`,
    UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
    LSAN_OPTIONS: `suppressions=${LEAK_NOISE}`,
    UVIO_NATIVE_PATH: join(root, FOLDER, 'uvio_native.node'),
    UVIO_SANITIZED: '1',
  };
}

await main(async () => {
  const args = process.argv.slice(2).filter((arg) => arg !== '--leaks');
  const leaks = process.argv.includes('--leaks');
  await step('build with address,undefined', build);
  await step('C++ unit tests', unitTests);
  const env = await sanitizedEnv(leaks);
  // vitest ends its forks by a signal, before leaks are looked for; threads end by themselves.
  const pool = leaks ? ['--pool=threads'] : [];
  const counts = await step('the native suite, instrumented', () => {
    return runVitest(['--project=native', ...pool, ...args], { env, quiet: true });
  });
  console.log(closingLine(counts ?? noCounts()));
  return counts.failed === 0 && counts.passed > 0 ? 0 : 1;
});
