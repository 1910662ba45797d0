// All faults of test/faults, under uvio and its peers:
//
//   node scripts/faults.mjs                         everything; writes the results
//   node scripts/faults.mjs --only 'accept' --program native,pure
//   node scripts/faults.mjs --only 'slowly' --update   writes these rows anew, of all programs
//
// Writes test/faults/results.json and docs/reference/faults.md, unless a part was chosen. Rows that
// compare times want a machine that does nothing else: --update is for them. Needs the
// built package, strace and iproute2; python3-uvloop for that peer. Needs root for the namespaces.
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import '../test/task/ts-loader.mjs';
import { main, StepError } from './support/progress.mjs';
import { root, run } from './support/run.mjs';

const limitMs = 120_000;
const resultsFile = join(root, 'test/faults/results.json');
const pageFile = join(root, 'docs/reference/faults.md');

function within(promise) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve('hangs'), limitMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function version(command, args) {
  const { code, output } = await run(command, args);
  return code === 0 ? output.trim() : 'absent';
}

async function facts() {
  const program = 'import uvloop; print(uvloop.__version__)';
  return {
    command: 'node scripts/faults.mjs',
    date: new Date().toISOString().slice(0, 10),
    machine: `Linux ${release()}, ${availableParallelism()} cores`,
    versions: {
      Node: process.version,
      uvloop: await version('/usr/bin/python3', ['-c', program]),
    },
  };
}

/** The results that are known, with these in the place of theirs. */
function updated(rows) {
  const { results } = JSON.parse(readFileSync(resultsFile, 'utf8'));
  return results.map(
    (old) => rows.find(({ group, title }) => group === old.group && title === old.title) ?? old,
  );
}

/** One scenario under each program that has something of the kind. */
async function underAll(scenario, programs, { expectedOf, fulfils }) {
  const seen = {};
  let wrong = 0;
  for (const name of programs) {
    if (scenario.without?.includes(name)) continue;
    seen[name] = await within(scenario.run(name)).catch((error) => error.message.split('\n')[0]);
    const good = fulfils(seen[name], expectedOf(scenario, name));
    if (!good && (name === 'native' || name === 'pure')) wrong += 1;
    console.log(`  ${good ? '✓' : '✗'} ${name.padEnd(7)} ${seen[name]}`);
  }
  const { group, title, expected, decided } = scenario;
  return { wrong, row: { group, title, expected, ...(decided && { decided }), seen } };
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      program: { type: 'string' },
      update: { type: 'boolean', default: false },
    },
  });
  const { scenarios, closeAll } = await import('../test/faults/all.ts');
  const words = await import('../test/faults/scenario.ts');
  const { missing } = await import('../test/faults/subject.ts');
  const { straceMissing } = await import('../test/faults/strace.ts');
  const { namespacesMissing, tunMissing } = await import('../test/faults/namespaces.ts');
  const { faultsPage, subjectTitles } = await import('../test/faults/page.ts');
  const absent = straceMissing() ?? namespacesMissing() ?? tunMissing();
  if (absent !== null) throw new StepError(absent);

  const wanted = values.program?.split(',') ?? Object.keys(subjectTitles);
  const programs = wanted.filter((name) => {
    const why = missing(name);
    if (why !== null) console.log(`without ${name}: ${why}`);
    return why === null;
  });
  const only = new RegExp(values.only ?? '');
  const results = [];
  let wrong = 0;
  try {
    for (const scenario of scenarios.filter(({ title }) => only.test(title))) {
      console.log(`${scenario.group}: ${scenario.title} (${scenario.expected})`);
      const result = await underAll(scenario, programs, words);
      results.push(result.row);
      wrong += result.wrong;
    }
  } finally {
    await closeAll();
  }
  console.log(`${results.length} faults; ${wrong} times uvio did something else than expected`);
  if (values.program === undefined && (values.only === undefined || values.update)) {
    const rows = values.update ? updated(results) : results;
    const all = { ...(await facts()), results: rows };
    writeFileSync(resultsFile, `${JSON.stringify(all, null, 2)}\n`);
    writeFileSync(pageFile, faultsPage(all));
  }
  return wrong === 0 ? 0 : 1;
});
