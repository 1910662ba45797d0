/**
 * How often a property is tried, and how a failure is replayed.
 *
 * fast-check prints `{ seed: …, path: "…" }` with a failure: UVIO_SEED=… UVIO_SEED_PATH=… runs it
 * again. UVIO_SEED_RUNS=100000 searches for longer.
 */
import type { Parameters } from 'fast-check';

export function seeded<T>(runs: number = 1000): Parameters<T> {
  const {
    UVIO_SEED: seed,
    UVIO_SEED_PATH: path,
    UVIO_SEED_RUNS: wanted,
  } = process.env as Record<string, string | undefined>;
  return {
    numRuns: Number(wanted ?? runs),
    ...(seed === undefined ? {} : { seed: Number(seed) }),
    ...(path === undefined ? {} : { path, endOnFailure: true }),
  };
}
