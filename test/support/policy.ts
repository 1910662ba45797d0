/** The loop policy that a behaviour test runs on: UVIO_TEST_POLICY, set by vitest's projects. */
import { type LoopPolicy, native, pure } from '../../lib/loop/policy.ts';

export type PolicyName = 'pure' | 'native';

function readName(): PolicyName {
  const name = process.env['UVIO_TEST_POLICY'] ?? 'pure';
  if (name === 'pure' || name === 'native') return name;
  throw new Error(`UVIO_TEST_POLICY must be 'pure' or 'native', not '${name}'`);
}

export const policyName: PolicyName = readName();

/** A new one for each call. On 'native' a missing addon is an error, not a silent fallback. */
export function testPolicy(): LoopPolicy {
  return policyName === 'native' ? native({ required: true }) : pure();
}
