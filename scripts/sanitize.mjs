// Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer and runs the C++ unit
// tests and the native half of the suite on it. Node itself is not instrumented: the runtimes
// are preloaded.
//
//   node scripts/sanitize.mjs [arguments of vitest]
//     --leaks     leaks of the addon fail the run too; tests of the rooms that are closest to it
//                 then run in threads, because vitest ends its forks by a signal, before leaks are
//                 looked for; the others need a process of their own
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { main, StepError, step } from './support/progress.mjs';
import { root, run } from './support/run.mjs';
import { addCounts, closingLine, noCounts, runSuite, runVitest } from './support/suite.mjs';

const FOLDER = 'build-asan';
const ADDON = 'uvio_native.node';
/** With --leaks: what runs in threads. */
const LEAK_TESTS = ['test/io/', 'test/loop/', 'test/native/', 'test/task/'];
/**
 * Not in threads: they hand descriptors of node:fs to the addon, which a worker of Node closes once
 * more at its end, or start programs, for which spawnSync() in a worker waits for ever.
 */
const FORKED_TESTS = [
  'adopt',
  'adopt-tls',
  'fd-watch',
  'go-interop',
  'pipes',
  'sendfile',
  'tls-interop',
  'udp-interop',
].map((name) => `test/io/${name}.test.ts`);
/**
 * Left out with --leaks: thousands of children, which all start with the preloaded runtimes, and
 * what meets the addon only through what the others test.
 */
const LEFT_OUT = ['base', 'docs', 'examples', 'inspect', 'package', 'process', 'scripts', 'sync']
  .concat(['testing', 'threads', 'types'])
  .map((room) => `test/${room}/`);
/** By name: vitest's --exclude does nothing where projects have their own. */
function leakTests() {
  const files = readdirSync(join(root, 'test/io')).filter((name) => name.endsWith('.test.ts'));
  const inThreads = files
    .map((name) => `test/io/${name}`)
    .filter((file) => !FORKED_TESTS.includes(file));
  return [...inThreads, ...LEAK_TESTS.filter((folder) => folder !== 'test/io/')];
}

/** Folders of the other tests, and files that are not for threads. */
function otherTests() {
  const entries = readdirSync(join(root, 'test'), { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => `test/${name}/`);
  const others = folders.filter((name) => ![...LEFT_OUT, ...LEAK_TESTS].includes(name));
  return [...others, ...FORKED_TESTS];
}

/** A stack frame of ours, with symbols or without. */
const OUR_FRAME = /\buvio::|uvio_(native|tls)|\/native\/(core|bind|parse|tls)\//;

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

/** Errors abort the process, so that no test can pass with one; leaks only go to the log. */
async function sanitizedEnv(leaks, log) {
  const libraries = [await runtimeLibrary('libasan.so'), await runtimeLibrary('libubsan.so')];
  const detect = `detect_leaks=${leaks ? 1 : 0}`;
  return {
    ...process.env,
    LD_PRELOAD: libraries.join(':'),
    ASAN_OPTIONS: `${detect}:exitcode=0:abort_on_error=1:log_path=${log}`,
    UBSAN_OPTIONS: `halt_on_error=1:abort_on_error=1:print_stacktrace=1:log_path=${log}`,
    UVIO_NATIVE_PATH: join(root, FOLDER, ADDON),
    UVIO_SANITIZED: '1',
  };
}

/** Whether the addon asked for the memory: no frame of Node or V8 is between. */
function isOurs(leak) {
  const frames = leak.split('\n').filter((line) => /^\s*#[1-9]/.test(line));
  const asker = frames.find((frame) => !/\bstd::|__gnu_cxx::|libstdc\+\+/.test(frame));
  return asker !== undefined && OUR_FRAME.test(asker);
}

/** What concerns the addon: a process that ends early leaks much of V8's and Node's own. */
function complaints(folder) {
  const found = [];
  for (const name of readdirSync(folder)) {
    const log = readFileSync(join(folder, name), 'utf8');
    if (/ERROR: AddressSanitizer|runtime error:/.test(log)) found.push(log);
    const leaks = log.split('\n\n').filter((part) => /^(Direct|Indirect) leak/m.test(part));
    found.push(...leaks.filter(isOurs));
  }
  return found;
}

await main(async () => {
  const args = process.argv.slice(2).filter((arg) => arg !== '--leaks');
  const leaks = process.argv.includes('--leaks');
  await step('build with address,undefined', build);
  await step('C++ unit tests', unitTests);
  const logs = mkdtempSync(join(tmpdir(), 'uvio-asan-'));
  const env = await sanitizedEnv(leaks, join(logs, 'log'));
  const counts = noCounts();
  const options = { env, quiet: true };
  const suite = async (name, words, flags) => {
    const all = ['--project=native', ...flags];
    addCounts(counts, await step(name, () => runSuite(words, all, options)));
  };
  if (leaks && args.length === 0) {
    await suite('the native suite, instrumented: leaks', leakTests(), ['--pool=threads']);
    await suite('the rest of it', otherTests(), []);
  } else {
    const all = ['--project=native', ...(leaks ? ['--pool=threads'] : []), ...args];
    const run = () => runVitest(all, options);
    addCounts(counts, await step('the native suite, instrumented', run));
  }
  const found = complaints(logs);
  rmSync(logs, { recursive: true, force: true });
  for (const text of found.slice(0, 5)) console.log(text);
  console.log(`${found.length} complaints of the sanitizers`);
  counts.failed += found.length;
  console.log(closingLine(counts));
  return counts.failed === 0 && counts.passed > 0 ? 0 : 1;
});
