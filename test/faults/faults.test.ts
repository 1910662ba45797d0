/**
 * Faults of the system and of the network, in programs of their own. Those that take long, each
 * error at each of three calls, and other programs beside uvio: `node scripts/faults.mjs`.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { policyName } from '../support/policy.ts';
import { closeAll } from './all.ts';
import { crowds } from './crowds.ts';
import { endings } from './endings.ts';
import { feeds } from './feeds.ts';
import { links } from './links.ts';
import { namespacesMissing, tunMissing } from './namespaces.ts';
import { roughLinks } from './rough-links.ts';
import { expectedOf, fulfils, type Scenario } from './scenario.ts';
import { sieges } from './sieges.ts';
import { straceMissing } from './strace.ts';
import type { SubjectName } from './subject.ts';
import { systemCalls } from './system-calls.ts';
import { weather } from './weather.ts';

const subject = policyName as SubjectName;
/** Beyond the patience of several steps. */
const limitMs = 90_000;
const noStrace = straceMissing();
const noNamespaces = namespacesMissing();
const noTun = noNamespaces ?? tunMissing();

const because = (absent: string | null): string => (absent === null ? '' : ` (${absent})`);

async function check(_title: string, scenario: Scenario): Promise<void> {
  const expected = expectedOf(scenario, subject);
  const seen = await scenario.run(subject);
  expect(fulfils(seen, expected) ? expected : seen).toBe(expected);
}

function short(scenarios: readonly Scenario[]): [title: string, scenario: Scenario][] {
  return scenarios
    .filter(({ long, without }) => !long && !without?.includes(subject))
    .map((scenario) => [`${scenario.group}: ${scenario.title}`, scenario]);
}

afterAll(closeAll);

test.runIf(process.env['CI'])('CI has strace and iproute2', () => {
  expect([noStrace, noNamespaces]).not.toContain('strace is not installed');
  expect([noStrace, noNamespaces]).not.toContain('iproute2 is not installed');
});

describe.skipIf(noStrace)(`errors of system calls${because(noStrace)}`, () => {
  test.each(short(systemCalls))('%s', check, limitMs);
});

// One cable for all: one after the other.
describe.skipIf(noNamespaces)(`links that fail${because(noNamespaces)}`, () => {
  test.each(short(links))('%s', check, limitMs);
});

describe.skipIf(noTun)(`links that delay, lose and mix up${because(noTun)}`, () => {
  test.each(short(roughLinks))('%s', check, limitMs);
});

describe.concurrent('networks that are slow, or cut', () => {
  test.each(short(weather))('%s', check, limitMs);
});

// covers: seeds/C10
describe('crowds and signals', () => {
  test.each(short([...crowds, ...sieges, ...feeds, ...endings]))('%s', check, limitMs);
});
