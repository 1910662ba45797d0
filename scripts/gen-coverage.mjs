// Which test shows which feature: reads docs/reference/features.json and the comments
// `// covers: id, id` above tests and chapters, writes docs/reference/coverage.md.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const page = 'docs/reference/coverage.md';

/** Areas whose rows must have a test by now; the others arrive with their part. */
export const coveredAreas = ['core'];

const read = (file) => readFileSync(join(root, file), 'utf8');

export function features() {
  return JSON.parse(read('docs/reference/features.json'));
}

function testFiles() {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', 'test', 'examples'];
  const files = execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\n');
  return [...new Set(files.filter((file) => file.endsWith('.test.ts')))].sort();
}

/** The title in the lines after a comment: of the test or chapter that they open. */
function titleIn(lines) {
  const text = lines.join('\n');
  return /(?:\(|title =)\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|`([^`]*)`)/
    .exec(text)
    ?.slice(1)
    .find(Boolean);
}

/** id -> [{ file, title }] in order of files and lines. */
export function findCoverage() {
  const found = new Map();
  for (const file of testFiles()) {
    const lines = read(file).split('\n');
    for (const [index, line] of lines.entries()) {
      const ids = /^\s*\/\/ covers: (.+)$/.exec(line)?.[1];
      if (ids === undefined) continue;
      const title = titleIn(lines.slice(index + 1, index + 8)) ?? '';
      for (const id of ids.split(',').map((part) => part.trim())) {
        if (!found.has(id)) found.set(id, []);
        found.get(id).push({ file, title: title.replaceAll("\\'", "'") });
      }
    }
  }
  return found;
}

const cell = (text) => text.replaceAll('|', '\\|');

function row({ id, feature, uvio, area }, tests) {
  const shown = tests.map(({ file, title }) => `[${cell(title)}](../../${file})`).join('<br>');
  const none = coveredAreas.includes(area) ? '**none**' : `with the ${area} part`;
  return `| ${id} | ${cell(feature)} | ${cell(uvio)} | ${shown || none} |`;
}

export function coveragePage() {
  const found = findCoverage();
  const rows = features();
  const systems = [...new Set(rows.map(({ id }) => id.split('/')[0]))];
  const parts = systems.map((system) => {
    const own = rows.filter(({ id }) => id.startsWith(`${system}/`));
    const shown = own.filter(({ id }) => found.has(id)).length;
    const head = '| Row | Feature | In uvio | Tests |\n|-|-|-|-|';
    const table = own.map((one) => row(one, found.get(one.id) ?? [])).join('\n');
    return `## ${system}: ${shown} of ${own.length}\n\n${head}\n${table}\n`;
  });
  return `# Coverage

What must exist, and the tests that show it. Made by \`node scripts/gen-coverage.mjs\` from
\`features.json\` and the comments \`// covers:\` in the tests; a test fails when a row has lost its
test, or when this page is old.

${parts.join('\n')}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(join(root, page), coveragePage());
