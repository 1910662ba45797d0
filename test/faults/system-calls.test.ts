/**
 * System calls fail; only the touched operation rejects, with its code. Each error here at one call;
 * `node scripts/faults.mjs` has them all, and other programs beside uvio.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { policyName } from '../support/policy.ts';
import { expectedOf } from './scenario.ts';
import { straceMissing } from './strace.ts';
import type { SubjectName } from './subject.ts';
import { closeStages, systemCalls } from './system-calls.ts';

const absent = straceMissing();
const subject = policyName as SubjectName;

test.runIf(process.env['CI'])('CI has strace', () => {
  expect(absent).not.toBe('strace is not installed');
});

describe.skipIf(absent)(`errors of system calls${absent === null ? '' : ` (${absent})`}`, () => {
  afterAll(closeStages);

  test.each(systemCalls.filter(({ long }) => !long))('$title', async (scenario) => {
    expect(await scenario.run(subject)).toBe(expectedOf(scenario, subject));
  });
});
