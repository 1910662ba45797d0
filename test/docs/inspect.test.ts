/** The programs of docs/guide/inspect.md print what the page says, on this policy. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { errorTable } from '../../lib/base/errors.ts';
import { policyName } from '../support/policy.ts';
import { root } from '../support/source-tree.ts';

const page = readFileSync(join(root, 'docs/guide/inspect.md'), 'utf8');

/** Programs with what they print. */
const examples = [...page.matchAll(/```ts\n(.*?)```\n+```text\n(.*?)```/gs)].map((match) => {
  return { program: match[1] ?? '', output: match[2] ?? '' };
});

const withoutTimes = (text: string): string => text.replaceAll(/\d+ ms/g, 'N ms');

test('the page has its examples', () => {
  expect(examples.length).toBe(2);
});

// covers: seeds/C19, seeds/C26, seeds/C52
test.each(examples)('an example prints what it says', ({ program, output }) => {
  // `using` is compiled down, as for Node 20.
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
  const { outputText } = ts.transpileModule(program, { compilerOptions });
  const folder = join(root, 'build/guide');
  mkdirSync(folder, { recursive: true });
  const file = join(
    folder,
    `inspect-${policyName}-${examples.findIndex((e) => e.program === program)}.mjs`,
  );
  writeFileSync(file, outputText);
  const printed = execFileSync(process.execPath, [file], {
    encoding: 'utf8',
    timeout: 20_000,
    env: { ...process.env, UVIO_POLICY: policyName, XDG_RUNTIME_DIR: '' },
  });
  expect(withoutTimes(printed)).toContain(withoutTimes(output));
});

test('the page knows the codes of debug mode', () => {
  for (const { code, className } of errorTable) {
    if (className === 'Report') expect(page).toContain(`\`${code}\``);
  }
});
