// `npm test`: set-up, then the whole suite on both policies, then the C++ unit tests.
//
//   npm test                              all
//   npm test -- test/io                   files; arguments go to vitest
//   npm test -- --project pure -t 'half'  one policy, one title
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { main, step } from './support/progress.mjs';
import { root, run, which } from './support/run.mjs';
import { setUp } from './support/setup.mjs';
import { addCounts, closingLine, noCounts, runSuite, runVitest } from './support/suite.mjs';

const CC_FOLDER = 'build-cc';

/** One C++ test program counts as one test. */
async function runUnitTests() {
  const folder = join(root, 'native/test');
  const programs = existsSync(folder) ? readdirSync(folder).filter((f) => f.endsWith('.cc')) : [];
  if (programs.length === 0 || !which('cmake')) return noCounts();
  return await step('C++ unit tests', async (note) => {
    const generator = which('ninja') ? ['-G', 'Ninja'] : [];
    const configure = ['-S', '.', '-B', CC_FOLDER, ...generator, '-DUVIO_TESTS=ON'];
    const commands = [
      ['cmake', configure],
      ['cmake', ['--build', CC_FOLDER, '--parallel']],
      ['ctest', ['--test-dir', CC_FOLDER, '--output-on-failure']],
    ];
    let output = '';
    for (const [command, args] of commands) {
      const result = await run(command, args, { onLine: note });
      output = result.output;
      if (result.code !== 0 && command === 'cmake') {
        console.error(output);
        return { ...noCounts(), failed: 1 };
      }
    }
    const summary = /(\d+) tests? failed out of (\d+)/.exec(output);
    const failed = summary ? Number(summary[1]) : 1;
    if (failed > 0) console.error(output);
    return { ...noCounts(), passed: Number(summary?.[2] ?? 0) - failed, failed };
  });
}

await main(async () => {
  mkdirSync(join(root, 'build'), { recursive: true });
  const { native } = await setUp();
  const args = process.argv.slice(2);
  const options = { skipNative: !native };
  const whole = args.length === 0;
  const counts = await (whole ? runSuite([], [], options) : runVitest(args, options));
  if (whole) addCounts(counts, await runUnitTests());
  if (!native) console.log('the native policy was not tested: see above');
  console.log(closingLine(counts));
  return counts.failed === 0 && counts.passed > 0 ? 0 : 1;
});
