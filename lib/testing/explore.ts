/**
 * The same test under many seeds.
 *
 * In: a test. Out: nothing, or an error that names the seed. Never: two runs at once.
 */
import { type Awaitable, argTypeError } from '../base/errors.ts';
import { checkInteger } from '../base/units.ts';
import { type SimulatedPolicy, type SimulationOptions, simulated } from './simulated.ts';

const defaultRuns = 100;

/**
 * Runs `fn` once per seed: `runs` times (default 100), with the seeds from `seed` (default 0) on.
 * Each call gets a policy of its own, for `run(main, { policy })`. The first error ends it; what is
 * thrown names the seed to run again with `simulated({ seed })`, and has the error as its cause.
 */
export async function explore(
  fn: (policy: SimulatedPolicy) => Awaitable<void>,
  options: SimulationOptions & { runs?: number } = {},
): Promise<void> {
  if (typeof fn !== 'function') throw argTypeError('fn', 'a function', fn);
  const { runs = defaultRuns, ...simulation } = options;
  checkInteger('runs', runs, 1);
  const first = simulation.seed ?? 0;
  for (let i = 0; i < runs; i++) {
    const policy = simulated({ ...simulation, seed: first + i });
    try {
      await fn(policy);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const text = `Failed with seed ${policy.seed}, as simulated({ seed: ${policy.seed} }) will`;
      throw new Error(`${text}: ${why}`, { cause: error });
    }
  }
}
