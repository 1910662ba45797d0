// Runs the vitest suite and counts what came of it.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

function readCounts(report, code) {
  const counts = noCounts();
  if (existsSync(report)) {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(
      readFileSync(report, 'utf8'),
    );
    counts.passed = numPassedTests;
    counts.failed = numFailedTests;
    counts.skipped = numPendingTests + numTodoTests;
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
  const result = await run(
    options.node ?? process.execPath,
    [vitest, 'run', ...reporters, ...projects, ...args],
    { env: options.env ?? process.env, show: !options.quiet },
  );
  if (options.quiet && result.code !== 0) console.log(result.output);
  const counts = readCounts(report, result.code);
  rmSync(folder, { recursive: true, force: true });
  return counts;
}
