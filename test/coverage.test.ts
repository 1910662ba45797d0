/** The table of features and the tests that show them: docs/reference/coverage.md. */
import { describe, expect, test } from 'vitest';
import {
  claimsOf,
  coveragePage,
  pending,
  readClaims,
  readFeatures,
} from '../scripts/gen-coverage.mjs';
import { text } from './support/source-tree.ts';

const features = readFeatures();
const claims = readClaims();
const known = new Set(features.map(({ id }) => id));
const covered = new Set(claims.flatMap(({ ids }) => ids));

describe('coverage', () => {
  test('docs/reference/coverage.md is what scripts/gen-coverage.mjs makes', () => {
    expect(text('docs/reference/coverage.md')).toBe(coveragePage(features, claims));
  });

  test('every comment names rows that exist, and stands above a test or an export', () => {
    const wrong = claims.flatMap(({ file, line, ids, title }) => [
      ...ids.filter((id) => !known.has(id)).map((id) => `${file}:${line} unknown row ${id}`),
      ...(title === null ? [`${file}:${line} above neither a test nor an export`] : []),
    ]);
    expect(wrong).toEqual([]);
  });

  test('every row of the core has a test, or waits in the list of pending ones', () => {
    const missing = features
      .filter(({ area, id }) => area === 'core' && !covered.has(id) && !pending.includes(id))
      .map(({ id }) => id);
    expect(missing).toEqual([]);
  });

  test('the list of pending rows names rows of the core without a test, each once', () => {
    const core = new Set(features.filter(({ area }) => area === 'core').map(({ id }) => id));
    expect(pending.filter((id) => !core.has(id))).toEqual([]);
    // One that has a test now is to be taken out.
    expect(pending.filter((id) => covered.has(id))).toEqual([]);
    expect(new Set(pending).size).toBe(pending.length);
  });
});

describe('claimsOf', () => {
  const claim = (below: string): unknown => {
    const [found] = claimsOf('a.test.ts', `// covers: asyncio/run, trio/run\n${below}`);
    return found && [found.ids, found.title];
  };
  const ids = ['asyncio/run', 'trio/run'];

  test('reads the title of what stands below', () => {
    expect(claim("describe('a chapter', () => {")).toEqual([ids, 'a chapter']);
    expect(claim("  virtualTest('it\\'s so', async () => {")).toEqual([ids, "it's so"]);
    expect(claim('  test(\n    "on a line of its own",\n')).toEqual([ids, 'on a line of its own']);
    expect(claim("test.each([1, 2])('n %i', () => {")).toEqual([ids, 'n %i']);
    expect(claim('export async function main(): Promise<void> {')).toEqual([ids, 'main']);
    expect(claim('// why\ntest(`one of many`, () => {')).toEqual([ids, 'one of many']);
  });

  test('tells when nothing does', () => {
    expect(claim('const x = 1;')).toEqual([ids, null]);
  });
});
