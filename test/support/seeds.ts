/**
 * How often a property is tried, and how a failure is replayed.
 *
 * fast-check prints `{ seed: …, path: "…" }` with a failure: UVIO_SEED=… UVIO_SEED_PATH=… runs it
 * again. UVIO_SEED_RUNS=100000 searches for longer.
 */
import type { Parameters } from 'fast-check';
import { policyName } from './policy.ts';

/** All on one policy. What a loop has to do with it is seen in fewer on the others. */
export function runsHere(runs: number): number {
  return policyName === 'pure' ? runs : Math.ceil(runs / 4);
}

export function seeded<T>(runs: number = 1000): Parameters<T> {
  const {
    UVIO_SEED: seed,
    UVIO_SEED_PATH: path,
    UVIO_SEED_RUNS: wanted,
  } = process.env as Record<string, string | undefined>;
  return {
    numRuns: Number(wanted ?? runsHere(runs)),
    ...(seed === undefined ? {} : { seed: Number(seed) }),
    ...(path === undefined ? {} : { path, endOnFailure: true }),
  };
}
