/** The loop policy that a behaviour test runs on: UVIO_TEST_POLICY, set by vitest's projects. */
import { type LoopPolicy, native, pure } from '../../lib/loop/policy.ts';
import { simulated } from '../../lib/testing/simulated.ts';

export type PolicyName = 'pure' | 'native' | 'simulated';

function readName(): PolicyName {
  const name = process.env['UVIO_TEST_POLICY'] ?? 'pure';
  if (name === 'pure' || name === 'native' || name === 'simulated') return name;
  throw new Error(`UVIO_TEST_POLICY must be 'pure', 'native' or 'simulated', not '${name}'`);
}

export const policyName: PolicyName = readName();

/** The network is in memory: no file, no descriptor, no peer that is not of uvio. */
export const inMemory: boolean = policyName === 'simulated';

/** A new one for each call. On 'native' a missing addon is an error, not a silent fallback. */
export function testPolicy(): LoopPolicy {
  if (policyName === 'simulated') {
    return simulated({ seed: Number(process.env['UVIO_TEST_SEED'] ?? 0) });
  }
  return policyName === 'native' ? native({ required: true }) : pure();
}
