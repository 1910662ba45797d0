// Runs the vitest suite and counts what came of it.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { root, run } from './run.mjs';

export function noCounts() {
  return { passed: 0, failed: 0, skipped: 0 };
}

export function addCounts(total, part) {
  for (const key of Object.keys(total)) total[key] += part[key] ?? 0;
}

/** The line that ends a test run. */
export function closingLine({ passed, failed, skipped }) {
  const rest = skipped > 0 ? `, ${skipped} skipped` : '';
  return `${passed} passed, ${failed} failed${rest}`;
}

/** Tests that passed at their second attempt: each is a defect, of the test or of what it tests. */
function tellRetried({ testResults }) {
  for (const { name, assertionResults } of testResults) {
    for (const { status, fullName, failureMessages } of assertionResults) {
      if (status !== 'passed' || failureMessages.length === 0) continue;
      console.log(`\nNOT RELIABLE, passed at its second attempt: ${relative(root, name)}`);
      console.log(`  ${fullName}\n  ${failureMessages[0].split('\n', 4).join('\n  ')}`);
    }
  }
}

function readCounts(report, code) {
  const counts = noCounts();
  if (existsSync(report)) {
    const results = JSON.parse(readFileSync(report, 'utf8'));
    counts.passed = results.numPassedTests;
    counts.failed = results.numFailedTests;
    counts.skipped = results.numPendingTests + results.numTodoTests;
    tellRetried(results);
  }
  // A file that does not load, or a worker that crashed, fails the run but no single test.
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/**
 * @param {string[]} args for vitest
 * @param {{ node?: string, env?: NodeJS.ProcessEnv, skipNative?: boolean,
 *   quiet?: boolean }} [options]
 *   node: the program to run it with; quiet: print the output only if something failed
 */
export async function runVitest(args, options = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'uvio-test-'));
  const report = join(folder, 'report.json');
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const projects = options.skipNative ? ['--project=!native'] : [];
  // A machine that does other work beside it: one hiccup in twenty thousand tests is no verdict.
  const retry = process.env.CI ? ['--retry=1'] : [];
  const result = await run(
    options.node ?? process.execPath,
    [vitest, 'run', ...reporters, ...retry, ...projects, ...args],
    { env: options.env ?? process.env, show: !options.quiet },
  );
  if (options.quiet && result.code !== 0) console.log(result.output);
  const counts = readCounts(report, result.code);
  rmSync(folder, { recursive: true, force: true });
  return counts;
}

/** Rooms whose test files follow one another in one process: starting it is half of their time. */
const SHARING_ROOMS = 'base fs http inspect io loop node postgres sync task testing'.split(' ');
/** Files of theirs that leave something behind: a hook of promises cannot be taken back from V8. */
const ALONE = ['test/task/hook-storage.test.ts'];

function testFiles(words) {
  const names = readdirSync(join(root, 'test'), { recursive: true });
  const files = names.filter((name) => name.endsWith('.test.ts')).map((name) => `test/${name}`);
  return files.filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
}

const shares = (file) =>
  SHARING_ROOMS.some((room) => file.startsWith(`test/${room}/`)) && !ALONE.includes(file);

/**
 * The suite, or those of its files whose paths have one of the words: first what can share a
 * process, then what needs one for each file.
 *
 * @param {string[]} words
 * @param {string[]} flags for vitest
 * @param {Parameters<typeof runVitest>[1]} [options]
 */
export async function runSuite(words, flags, options) {
  const counts = noCounts();
  const files = testFiles(words);
  const parts = [
    [files.filter(shares), ['--no-isolate']],
    [files.filter((file) => !shares(file)), []],
  ];
  for (const [part, more] of parts) {
    if (part.length === 0) continue;
    addCounts(counts, await runVitest([...more, ...flags, '--passWithNoTests', ...part], options));
  }
  return counts;
}
