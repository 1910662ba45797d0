// Writes docs/reference/coverage.md: which test or example shows which feature of
// docs/reference/features.json. A test says so in a comment line directly above it:
//
//   // covers: asyncio/lock, trio/event
//   describe('Lock', () => { … });
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './support/run.mjs';

/**
 * Rows of area 'core' that no test shows yet, or that no test can. The list must
 * only shrink: test/coverage.test.ts fails when a row of it has a test.
 */
export const pending = [];

const HEAD = `# Coverage

Made by \`node scripts/gen-coverage.mjs\` from [features.json](features.json) and the \`// covers:\`
comments above tests and in examples; do not edit. Each row is a feature of the systems that uvio
follows, with the tests that show it. A test of a whole chapter is named by the chapter.

`;

/** @returns {{ id: string, feature: string, uvio: string, area: string }[]} */
export function readFeatures() {
  return JSON.parse(readFileSync(join(root, 'docs/reference/features.json'), 'utf8'));
}

function sources() {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', 'test', 'examples'];
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' })
    .split('\n')
    .filter((file) => /^test\/.*\.test\.ts$|^examples\/.*\.ts$/.test(file))
    .filter((file) => existsSync(join(root, file)))
    .sort();
}

const COMMENT = /^\s*\/\/ covers: (.*)$/;
// test('title', test.each([…])('title', describe("title", virtualTest(`title`
const TITLED = /^\s*\w+(?:\.\w+)*(?:\([^'"`]*\))?\(\s*(['"`])((?:\\.|(?!\1).)*?)\1/s;
const EXPORTED = /^\s*export (?:async )?(?:function|const|class) (\w+)/;

// The first sentence of the comment that opens a file.
const HEADER = /^\/\*\*\s+(?:\* )?(.*?)(?:\.\s| \*\/)/s;

function titleAt(lines, index) {
  const text = lines.slice(index, index + 4).join('\n');
  const titled = TITLED.exec(text);
  if (titled) return titled[2].replace(/\\(.)/g, '$1');
  const name = EXPORTED.exec(text)?.[1];
  if (name === undefined) return null;
  // Every example has its `main`: what it is about is more telling.
  return HEADER.exec(lines.join('\n'))?.[1].replaceAll('\n * ', ' ') ?? name;
}

/**
 * The claims of one file: which ids its comments name, and what stands below them; `title` is null
 * when that is neither a test nor an export.
 * @param {string} file @param {string} text
 */
export function claimsOf(file, text) {
  const lines = text.split('\n');
  const claims = [];
  for (let i = 0; i < lines.length; i++) {
    const comment = COMMENT.exec(lines[i]);
    if (!comment) continue;
    let below = i + 1;
    while (/^\s*\/\//.test(lines[below] ?? '')) below++;
    const ids = comment[1].split(',').map((id) => id.trim());
    claims.push({ file, line: i + 1, ids, title: titleAt(lines, below) });
  }
  return claims;
}

/** All claims of tests and examples. */
export function readClaims() {
  return sources().flatMap((file) => claimsOf(file, readFileSync(join(root, file), 'utf8')));
}

const cell = (text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

function rowOf({ id, feature }, claims) {
  const shown = claims
    .filter((claim) => claim.ids.includes(id))
    .map(({ file, title }) => `[${file}](../../${file}): ${cell(title ?? '?')}`);
  return `| \`${id}\` | ${cell(feature)} | ${shown.join('<br>') || '–'} |`;
}

/** The page. */
export function coveragePage(features, claims) {
  const covered = new Set(claims.flatMap(({ ids }) => ids));
  let page = HEAD;
  const areas = [...new Set(features.map(({ area }) => area))];
  for (const area of areas) {
    const rows = features.filter((row) => row.area === area);
    const count = rows.filter(({ id }) => covered.has(id)).length;
    page += `## ${area}: ${count} of ${rows.length}\n\n`;
    page += '| Row | Feature | Shown by |\n|-|-|-|\n';
    page += `${rows.map((row) => rowOf(row, claims)).join('\n')}\n\n`;
  }
  return `${page.trimEnd()}\n`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const claims = readClaims();
  writeFileSync(join(root, 'docs/reference/coverage.md'), coveragePage(readFeatures(), claims));
  const covered = new Set(claims.flatMap(({ ids }) => ids));
  const done = pending.filter((id) => covered.has(id));
  if (done.length > 0) console.log(`to be taken out of \`pending\`: ${done.join(', ')}`);
}
