// Runs the suite under other versions of Node with the addon as it was built once: the whole native
// half on the newest, and what is close to Node on both policies there, on native elsewhere. The
// Nodes come from npm, into .nodes/.
//
//   node scripts/nodes.mjs           22, 24 and 26
//   node scripts/nodes.mjs 22 26
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileOf, installPrograms } from './support/npm-folder.mjs';
import { main, StepError, step } from './support/progress.mjs';
import { run } from './support/run.mjs';
import { addCounts, closingLine, noCounts, runSuite } from './support/suite.mjs';

const VERSIONS = { 22: '22.23.3', 24: '24.21.0', 26: '26.10.0' };
const PACKAGE = `node-${process.platform}-${process.arch}`;

function programOf(major) {
  return fileOf(`node${major}`, 'bin/node');
}

function install(majors) {
  const missing = majors.filter((major) => !existsSync(programOf(major)));
  const wanted = missing.map((major) => `node${major}@npm:${PACKAGE}@${VERSIONS[major]}`);
  return installPrograms(`npm install ${wanted.length} versions of Node`, wanted);
}

/** What stands on Node's modules or its engine's API; all others see only what these show them. */
const CLOSE_TESTS = [
  ...['fs', 'io', 'loop', 'native', 'node', 'process', 'threads'].map((room) => `test/${room}/`),
  ...['client-http2', 'server', 'wire'].map((name) => `test/http/${name}`),
];

async function suitesUnder(major, whole) {
  const node = programOf(major);
  const { code, output } = await run(node, ['--version']);
  if (code !== 0) throw new StepError(`node ${major} does not run`, output);
  const env = { ...process.env, PATH: `${join(node, '..')}:${process.env.PATH}` };
  const counts = noCounts();
  const suite = async (name, words, policy) => {
    const title = `${name} under Node ${output.trim()}`;
    const options = { node, env, quiet: true };
    addCounts(counts, await step(title, () => runSuite(words, [`--project=${policy}`], options)));
  };
  await suite('the suite', whole ? [] : CLOSE_TESTS, 'native');
  if (whole) await suite('pure()', CLOSE_TESTS, 'pure');
  return counts;
}

await main(async () => {
  const majors = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(VERSIONS);
  await install(majors);
  const total = noCounts();
  for (const major of majors) {
    addCounts(total, await suitesUnder(major, major === majors.at(-1)));
  }
  console.log(closingLine(total));
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
});
