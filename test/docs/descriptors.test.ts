/** The program of docs/guide/descriptors.md prints what the page says, on this policy. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { policyName } from '../support/policy.ts';
import { root } from '../support/source-tree.ts';

const page = readFileSync(join(root, 'docs/guide/descriptors.md'), 'utf8');

test('the example prints what it says', () => {
  const [, program = '', output] = /```ts\n(.*?)```\n+```text\n(.*?)```/s.exec(page) ?? [];
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
  const { outputText } = ts.transpileModule(program, { compilerOptions });
  const folder = join(root, 'build/guide');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `descriptors-${policyName}.mjs`);
  writeFileSync(file, outputText);
  const env = { ...process.env, UVIO_POLICY: policyName };
  const printed = execFileSync(process.execPath, [file], {
    encoding: 'utf8',
    timeout: 20_000,
    env,
  });
  expect(printed).toBe(output);
});
