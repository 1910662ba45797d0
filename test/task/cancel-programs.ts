/** Random programs for the model of cancellation, and what uvio makes of them. */
import fc from 'fast-check';
import { CancelledError, ExceptionGroup, TimeoutError } from '../../lib/base/errors.ts';
import { originOf } from '../../lib/task/cancellation.ts';
import { type TaskGroup, taskGroup } from '../../lib/task/group.ts';
import { getRunningLoop } from '../../lib/task/run.ts';
import { CancelScope, shielded } from '../../lib/task/scope.ts';
import { currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import type { Events, Outcome, Program } from './cancel-model.ts';

/** Before ids and times are given out; numbers are coarse units of time. */
type Shape =
  | { kind: 'sleep' | 'fail'; units: number }
  | { kind: 'seq'; parts: Shape[] }
  | { kind: 'scope'; units: number | null; shield: boolean; throws: boolean; body: Shape }
  | { kind: 'shielded'; units: number | null; body: Shape }
  | { kind: 'task' | 'swallow'; body: Shape }
  | { kind: 'group'; children: Shape[]; body: Shape }
  | { kind: 'cleanUp'; units: number; body: Shape };

export interface Plan {
  readonly shape: Shape;
  readonly edges: readonly number[];
  readonly cancels: readonly { readonly units: number; readonly target: number }[];
}

const units = fc.integer({ min: 0, max: 7 });
const maybeUnits = fc.oneof(fc.constant(null), units);

const shapes = fc.letrec<{ shape: Shape; leaf: Shape }>((tie) => ({
  leaf: fc.record({
    kind: fc.constantFrom('sleep' as const, 'sleep' as const, 'sleep' as const, 'fail' as const),
    units,
  }),
  shape: fc.oneof(
    { depthSize: 'small', maxDepth: 5, withCrossShrink: true },
    { weight: 2, arbitrary: tie('leaf') },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('seq' as const),
        parts: fc.array(tie('shape'), { minLength: 1, maxLength: 3 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('scope' as const),
        units: maybeUnits,
        shield: fc.boolean(),
        throws: fc.boolean(),
        body: tie('shape'),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('shielded' as const),
        units: maybeUnits,
        body: tie('shape'),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constantFrom('task' as const, 'swallow' as const),
        body: tie('shape'),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('group' as const),
        children: fc.array(tie('shape'), { maxLength: 3 }),
        body: tie('shape'),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('cleanUp' as const), units, body: tie('shape') }),
    },
  ),
}));

export const plans: fc.Arbitrary<Plan> = fc.record({
  shape: shapes.shape,
  edges: fc.array(units, { maxLength: 2 }),
  cancels: fc.array(fc.record({ units, target: fc.nat({ max: 20 }) }), { maxLength: 3 }),
});

/** Most times of one program: more, and sums would differ by less than the model's `after`. */
const maxTimes = 30;

/** Gives out ids and times: units, and a power of two of its own that makes each sum unique. */
class Maker {
  #times = 0;
  readonly regions: number[] = [];
  #lastId = 0;

  /** In milliseconds; only whole programs of at most `maxTimes` of them can be used. */
  time(coarse: number): number {
    return coarse + 2 ** -++this.#times;
  }

  get fits(): boolean {
    return this.#times <= maxTimes;
  }

  make(shape: Shape): Program {
    switch (shape.kind) {
      case 'sleep':
      case 'fail':
        return { kind: shape.kind, id: ++this.#lastId, ms: this.time(shape.units) };
      case 'seq':
        return { kind: 'seq', parts: shape.parts.map((part) => this.make(part)) };
      case 'scope': {
        const id = this.#region();
        const ms = shape.units === null ? Infinity : this.time(shape.units);
        const { shield, throws } = shape;
        return { kind: 'scope', id, ms, shield, throws, body: this.make(shape.body) };
      }
      case 'shielded': {
        const graceMs = shape.units === null ? Infinity : this.time(shape.units);
        return { kind: 'shielded', graceMs, body: this.make(shape.body) };
      }
      case 'task':
      case 'swallow':
        return { kind: shape.kind, body: this.make(shape.body) };
      case 'group': {
        const id = this.#region();
        const children = shape.children.map((child) => this.make(child));
        return { kind: 'group', id, children, body: this.make(shape.body) };
      }
      case 'cleanUp': {
        const ms = this.time(shape.units);
        return { kind: 'cleanUp', id: ++this.#lastId, ms, body: this.make(shape.body) };
      }
    }
  }

  #region(): number {
    this.regions.push(++this.#lastId);
    return this.#lastId;
  }
}

/** Null for a plan with too many times in it. */
export function programOf(plan: Plan): { program: Program; events: Events } | null {
  const maker = new Maker();
  const program = maker.make(plan.shape);
  const edges = plan.edges.map((coarse) => maker.time(coarse)).sort((a, b) => a - b);
  const cancels = new Map<number, number>();
  for (const { units: coarse, target } of plan.cancels) {
    const id = maker.regions[target % Math.max(1, maker.regions.length)];
    const at = maker.time(coarse);
    if (id !== undefined) cancels.set(id, Math.min(at, cancels.get(id) ?? Infinity));
  }
  return maker.fits ? { program, events: { edges, cancels } } : null;
}

class Failed extends Error {}

/** The program as uvio runs it. */
export class Real {
  readonly log: string[] = [];
  /** Scopes and groups that are open, by id; those cancelled before they were entered. */
  readonly #open: Map<number, CancelScope | TaskGroup> = new Map();
  readonly #early: Set<number> = new Set();
  readonly #ids: WeakMap<object, number> = new WeakMap();

  async run(program: Program, events: Events): Promise<{ outcome: Outcome; at: number }> {
    const loop = getRunningLoop();
    const main = createTask(() => this.#run(program));
    const timers = events.edges.map((at) => loop.callAt(at, () => main.cancel()));
    for (const [id, at] of events.cancels) {
      timers.push(loop.callAt(at, () => this.#cancel(id)));
    }
    let error: unknown;
    try {
      await main.join();
    } catch (caught) {
      error = caught ?? new Error('undefined');
    }
    const at = currentTime();
    for (const timer of timers) timer.cancel();
    return { outcome: this.#outcomeOf(error), at };
  }

  #cancel(id: number): void {
    const region = this.#open.get(id);
    if (region === undefined) this.#early.add(id);
    else region.cancel();
  }

  #outcomeOf(error: unknown): Outcome {
    if (error === undefined) return { kind: 'ok' };
    if (error instanceof CancelledError) {
      const origin = originOf(error);
      const id = origin === undefined ? undefined : this.#ids.get(origin);
      return { kind: 'cancelled', origin: id ?? 'edge' };
    }
    const leaves = error instanceof ExceptionGroup ? error.leaves() : [error];
    const names = leaves.map((leaf) => {
      if (leaf instanceof TimeoutError || leaf instanceof Failed) return leaf.message;
      return `unexpected ${String(leaf)}`;
    });
    return { kind: 'failed', leaves: names.sort() };
  }

  #say(line: string): void {
    this.log.push(`${line} ${currentTime()}`);
  }

  async #run(program: Program): Promise<void> {
    switch (program.kind) {
      case 'sleep':
        return await this.#wait(`sleep ${program.id}`, program.ms);
      case 'fail':
        await this.#wait(`fail ${program.id}`, program.ms);
        throw new Failed(`fail ${program.id}`);
      case 'seq':
        for (const part of program.parts) await this.#run(part);
        return;
      case 'scope':
        return await this.#scope(program);
      case 'shielded':
        return await shielded(() => this.#run(program.body), { graceMs: program.graceMs });
      case 'task':
        return await createTask(() => this.#run(program.body));
      case 'group':
        return await this.#group(program);
      case 'swallow':
        return await this.#run(program.body).catch(() => {});
      case 'cleanUp':
        try {
          return await this.#run(program.body);
        } finally {
          await this.#wait(`clean-up ${program.id}`, program.ms);
        }
    }
  }

  async #wait(name: string, ms: number): Promise<void> {
    try {
      await sleep(ms);
      this.#say(`${name} ok`);
    } catch (error) {
      this.#say(`${name} cancelled`);
      throw error;
    }
  }

  async #scope({ id, ms, shield, throws, body }: Program & { kind: 'scope' }): Promise<void> {
    const scope = new CancelScope({ timeoutMs: ms, shield });
    if (this.#early.has(id)) scope.cancel();
    this.#open.set(id, scope);
    try {
      await scope.run(() => this.#run(body));
    } finally {
      this.#say(`scope ${id} caught ${scope.cancelledCaught}`);
    }
    if (throws && scope.cancelledCaught) throw new TimeoutError(`limit ${id}`);
  }

  async #group({ id, children, body }: Program & { kind: 'group' }): Promise<void> {
    let kind = 'ok';
    try {
      await taskGroup(async (group) => {
        if (this.#early.has(id)) group.cancel();
        this.#open.set(id, group);
        for (const child of children) group.createTask(() => this.#run(child));
        await this.#run(body);
      });
    } catch (error) {
      kind = this.#outcomeOf(error).kind;
      throw error;
    } finally {
      this.#say(`group ${id} ${kind}`);
    }
  }
}
