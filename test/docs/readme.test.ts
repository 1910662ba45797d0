/** The quick start of the README is a program that runs, on this policy. */
import { expect, test } from 'vitest';
import { policyName } from '../support/policy.ts';
import { expectedOutput, runProgram } from '../support/program.ts';
import { text } from '../support/source-tree.ts';

const SWITCH = /^setLoopPolicy\(native\(\)\);.*\n/m;

function quickStart(): string {
  return /```ts\n(.*?)```/s.exec(text('README.md'))?.[1] ?? '';
}

// covers: seeds/C21
test('the quick start has at most 18 lines and switches the policy in one of them', () => {
  const program = quickStart();
  expect(program.trimEnd().split('\n').length).toBeLessThanOrEqual(18);
  expect(program).toMatch(SWITCH);
});

test('the quick start prints what it says, and ends by itself', () => {
  const program = quickStart();
  const chosen = policyName === 'native' ? program : program.replace(SWITCH, '');
  expect(runProgram(`readme-${policyName}`, chosen)).toEqual(expectedOutput(program));
});
