/** The quick start of the README is a program that runs, on this policy. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { policyName } from '../support/policy.ts';
import { root } from '../support/source-tree.ts';

const SWITCH = /^setLoopPolicy\(native\(\)\);.*\n/m;

function quickStart(): string {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  return /```ts\n(.*?)```/s.exec(readme)?.[1] ?? '';
}

test('the quick start has at most 18 lines and switches the policy in one of them', () => {
  const program = quickStart();
  expect(program.trimEnd().split('\n').length).toBeLessThanOrEqual(18);
  expect(program).toMatch(SWITCH);
});

test('the quick start prints what it says, and ends by itself', () => {
  const program = quickStart();
  const expected = [...program.matchAll(/console\.log.*\/\/ (.*)$/gm)].map((match) => match[1]);
  const chosen = policyName === 'native' ? program : program.replace(SWITCH, '');
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
  const { outputText } = ts.transpileModule(chosen, { compilerOptions });
  // Inside the package, so that 'uvio' is the package itself.
  const folder = join(root, 'build/readme');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${policyName}.mjs`);
  writeFileSync(file, outputText);
  const output = execFileSync(process.execPath, [file], { encoding: 'utf8', timeout: 20_000 });
  expect(output.trimEnd().split('\n')).toEqual(expected);
});
