// Runs the tour of the package (test/runtimes/tour.mjs) under Bun and Deno, on pure(). The runtimes
// come from npm, into .nodes/.
//
//   npm run build && node scripts/runtimes.mjs
import { existsSync } from 'node:fs';
import { fileOf, installPrograms } from './support/npm-folder.mjs';
import { main, step } from './support/progress.mjs';
import { run } from './support/run.mjs';
import { addCounts, closingLine, noCounts } from './support/suite.mjs';

const RUNTIMES = [
  { name: 'Bun', package: '@oven/bun-linux-x64', version: '1.4.5', file: 'bin/bun', args: [] },
  {
    name: 'Deno',
    package: '@deno/linux-x64-glibc',
    version: '2.9.6',
    file: 'deno',
    args: ['run', '--allow-all'],
  },
];

const programOf = (runtime) => fileOf(runtime.package, runtime.file);

function install() {
  const missing = RUNTIMES.filter((runtime) => !existsSync(programOf(runtime)));
  const wanted = missing.map((runtime) => `${runtime.package}@${runtime.version}`);
  return installPrograms('npm install Bun and Deno', wanted);
}

async function tour(runtime) {
  const args = [...runtime.args, 'test/runtimes/tour.mjs'];
  const { output } = await run(programOf(runtime), args, { timeoutMs: 60_000 });
  const found = /^(\d+) passed, (\d+) failed$/m.exec(output);
  if (found === null || found[2] !== '0') console.log(output);
  // Without the line it ended before the last stop.
  if (found === null) return { ...noCounts(), failed: 1 };
  return { ...noCounts(), passed: Number(found[1]), failed: Number(found[2]) };
}

await main(async () => {
  const total = noCounts();
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    console.log('skipped: Bun and Deno are taken for Linux on x64 only');
    console.log(closingLine({ ...total, skipped: 1 }));
    return 0;
  }
  await install();
  for (const runtime of RUNTIMES) {
    const title = `the tour under ${runtime.name} ${runtime.version}`;
    addCounts(total, await step(title, () => tour(runtime)));
  }
  console.log(closingLine(total));
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
});
