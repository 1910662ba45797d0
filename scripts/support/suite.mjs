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

/** A test and why it failed, in lines of which the first is found by its word: see `.ci/run`. */
function tell(word, file, title, message) {
  const why = (message ?? '').trimEnd().split('\n', 4).join('\n  ');
  console.log(`\n${word}: ${relative(root, file)}\n  ${title}\n  ${why}`);
}

/**
 * What failed, and what passed at its second attempt only: each of these is a defect, too, of the
 * test or of what it tests. Gives the files that hold what failed.
 */
function tellReport({ testResults }) {
  const files = [];
  for (const { name, status, message, assertionResults } of testResults) {
    if (status === 'failed') files.push(relative(root, name));
    if (status === 'failed' && assertionResults.length === 0) {
      tell('FAILED', name, '(the file as a whole)', message);
    }
    for (const { status, fullName, failureMessages } of assertionResults) {
      if (failureMessages.length === 0) continue;
      if (status === 'failed') tell('FAILED', name, fullName, failureMessages[0]);
      else tell('NOT RELIABLE, passed at its second attempt', name, fullName, failureMessages[0]);
    }
  }
  return files;
}

/** Where the time of a whole run goes: CI has fifteen minutes. */
const SLOWEST = 8;

function tellSlowest({ testResults }) {
  if (testResults.length < 10 * SLOWEST) return;
  const seconds = ({ startTime, endTime }) => (endTime - startTime) / 1000;
  const files = testResults.toSorted((a, b) => seconds(b) - seconds(a)).slice(0, SLOWEST);
  const words = files.map((file) => `${relative(root, file.name)} ${seconds(file).toFixed(1)} s`);
  console.log(`slowest: ${words.join(', ')}`);
}

/** @returns {{ counts: ReturnType<typeof noCounts>, files: string[] }} files: with failures */
function readReport(report, code) {
  const counts = noCounts();
  let files = [];
  if (existsSync(report)) {
    const results = JSON.parse(readFileSync(report, 'utf8'));
    counts.passed = results.numPassedTests;
    counts.failed = results.numFailedTests;
    counts.skipped = results.numPendingTests + results.numTodoTests;
    files = tellReport(results);
    tellSlowest(results);
  }
  // A worker that crashed fails the run but no single test.
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  return { counts, files };
}

/**
 * @param {string[]} args for vitest
 * @param {{ node?: string, env?: NodeJS.ProcessEnv, skipNative?: boolean,
 *   quiet?: boolean }} [options]
 *   node: the program to run it with; quiet: print the output only if something failed
 */
export async function runVitest(args, options = {}) {
  return (await report(args, options)).counts;
}

async function report(args, options = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'uvio-test-'));
  const file = join(folder, 'report.json');
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  const projects = options.skipNative ? ['--project=!native'] : [];
  // A machine that does other work beside it: one hiccup in twenty thousand tests is no verdict.
  const retry = process.env.CI ? ['--retry=1'] : [];
  // Five runs follow one another there, of the same modules.
  const cache = process.env.CI ? ['--experimental.fsModuleCache'] : [];
  const result = await run(
    options.node ?? process.execPath,
    [vitest, 'run', ...reporters, ...retry, ...cache, ...projects, ...args],
    { env: options.env ?? process.env, show: !options.quiet },
  );
  if (options.quiet && result.code !== 0) console.log(result.output);
  const read = readReport(file, result.code);
  rmSync(folder, { recursive: true, force: true });
  return read;
}

/** So many files may be tried again; more of them are no hiccup. */
const MOST_AGAIN = 3;

/**
 * In CI what failed twice in one process is tried once more in a process of its own, and called
 * out: what a shared process has compiled or kept may be why.
 */
async function again({ counts, files }, flags, options) {
  if (!process.env.CI || files.length === 0 || files.length > MOST_AGAIN) return counts;
  // A file may have failed on several policies.
  const own = [...new Set(files)];
  const second = await report([...flags, ...own], options);
  if (second.counts.failed > 0) return counts;
  for (const file of own) console.log(`\nNOT RELIABLE, passed in a process of its own: ${file}`);
  return { ...counts, passed: counts.passed + counts.failed, failed: 0 };
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
    const first = await report([...more, ...flags, '--passWithNoTests', ...part], options);
    addCounts(counts, await again(first, flags, options));
  }
  return counts;
}
