/** The page that says which test shows which feature is true, and no feature has lost its test. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { coveragePage, coveredAreas, features, findCoverage } from '../scripts/gen-coverage.mjs';

/** Rows of a covered area that no single test can show yet; this list only shrinks. */
const pending: readonly string[] = [
  // Shown by bench/results and the plots.
  'seeds/C22',
  // Wants a chapter of its own.
  'seeds/C51',
];

test('every comment `// covers:` names a row', () => {
  const known = new Set(features().map(({ id }) => id));
  expect([...findCoverage().keys()].filter((id) => !known.has(id))).toEqual([]);
});

test('every row of a covered area has a test', () => {
  const found = findCoverage();
  const wanted = features().filter(({ area }) => coveredAreas.includes(area));
  const bare = wanted.map(({ id }) => id).filter((id) => !found.has(id));
  expect(bare).toEqual(pending);
});

test('docs/reference/coverage.md is what scripts/gen-coverage.mjs makes', () => {
  const page = readFileSync(new URL('../docs/reference/coverage.md', import.meta.url), 'utf8');
  expect(page).toBe(coveragePage());
});
