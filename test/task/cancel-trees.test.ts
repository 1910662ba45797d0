/**
 * Random trees of scopes, shields, groups and tasks, with deadlines and cancels of both kinds,
 * against the model of cancellation. UVIO_SEED=N runs the same trees again, UVIO_RUNS=N more.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { runsHere } from '../support/seeds.ts';
import { Ambiguous, type Events, Model, type Program } from './cancel-model.ts';
import { type Plan, plans, programOf, Real } from './cancel-programs.ts';
import { inRun, virtualPolicy } from './support.ts';

const seed = Number(process.env['UVIO_SEED'] ?? Date.now() % 2 ** 31);
const numRuns = Number(process.env['UVIO_RUNS'] ?? runsHere(1500));

async function check(plan: Plan): Promise<void> {
  const made = programOf(plan);
  fc.pre(made !== null);
  const { program, events } = made;
  const expected = predict(program, events);
  fc.pre(expected !== null);
  const real = new Real();
  const ended = await inRun(() => real.run(program, events), { policy: virtualPolicy() });
  expect({ log: exact(real.log), ...kindOf(ended) }).toEqual({
    log: exact(expected.log),
    ...kindOf(expected),
  });
}

/** Null where the model cannot tell. */
function predict(program: Program, events: Events): ReturnType<Model['run']> | null {
  try {
    return new Model(events).run(program);
  } catch (error) {
    if (error instanceof Ambiguous) return null;
    throw error;
  }
}

/** Without the model's steps within an instant. */
function whole(at: number): number {
  return Math.round(at * 2 ** 32) / 2 ** 32;
}

function exact(log: readonly string[]): string[] {
  return log.map((line) => line.replace(/\S+$/, (at) => `${whole(Number(at))}`)).sort();
}

/** Which cancellation it was that ended the main task no one can tell when two came together. */
function kindOf<T extends { outcome: { kind: string }; at: number }>({ outcome, at }: T): object {
  const told = outcome.kind === 'cancelled' ? { kind: 'cancelled' } : outcome;
  return { outcome: told, at: whole(at) };
}

// covers: seeds/C5, trio/cancelscope, asyncio/taskgroup
describe('cancel trees', () => {
  test(`do what the model says, ${numRuns} of them, seed ${seed}`, async () => {
    await fc.assert(fc.asyncProperty(plans, check), { seed, numRuns });
  }, 60_000);
});
