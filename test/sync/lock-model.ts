/**
 * Random use of an object of the room, next to a model that knows what must come of it.
 *
 * In: numbers of fast-check. Out: an error where object and model differ. Never: waiting for time.
 *
 * Steps are made by actors: tasks that only lend their frame, so that a step runs in this or that
 * task, or in a scope of it, but at once. Between two `settle` steps all that happens is one step
 * of the program: there the races are. What a call must end with is known when it, or what ends
 * it, is made; the promises are compared when they have settled.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import fc from 'fast-check';
import { expect } from 'vitest';
import { CancelledError, type WaitOptions } from '../../lib/base/errors.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { createTask, type Task } from '../../lib/task/task.ts';
import { runsHere } from '../support/seeds.ts';
import { inRun } from '../task/support.ts';
import { idle } from './lock-support.ts';

/** `UVIO_SEED=5 UVIO_RUNS=20000 npx vitest --project pure test/sync/models.test.ts` */
const seed = Number(process.env['UVIO_SEED'] ?? 1);
const numRuns = Number(process.env['UVIO_RUNS'] ?? runsHere(1000));
const path = process.env['UVIO_PATH'];

const actorCount = 4;

type Run = <T>(fn: () => T) => T;

class Actor {
  readonly task: Task<void>;
  /** An edge cancellation that no wait has taken. */
  pending = false;
  /** One that ended waits and that the task cannot have seen yet: further ones are the same. */
  onItsWay = false;
  scopeCancelled = false;
  /** Counts its scopes. A wait in one that was left goes on in the task. */
  scopeNumber = 0;
  run!: Run;
  runScoped!: Run;
  #scope!: CancelScope;
  #end!: () => void;
  #endScope!: () => void;

  constructor(name: string) {
    this.task = createTask({ name, eagerStart: true }, () => {
      this.run = AsyncLocalStorage.snapshot() as Run;
      this.openScope();
      return new Promise<void>((resolve) => {
        this.#end = resolve;
      });
    });
  }

  openScope(): void {
    this.#endScope?.();
    this.scopeCancelled = false;
    this.scopeNumber++;
    this.run(() => {
      this.#scope = new CancelScope();
      void this.#scope.run(() => {
        this.runScoped = AsyncLocalStorage.snapshot() as Run;
        return new Promise<void>((resolve) => {
          this.#endScope = resolve;
        });
      });
    });
  }

  cancelScope(): void {
    this.scopeCancelled = true;
    this.#scope.cancel();
  }

  end(): void {
    this.#endScope();
    this.#end();
  }
}

export type Outcome = 'waiting' | 'ok' | 'cancelled' | 'aborted' | (string & {});

/** One call that waits. */
export class Call {
  readonly actor: Actor;
  /** Number of the actor's scope; 0 for none. */
  scope: number;
  readonly controller: AbortController = new AbortController();
  /** What the model says. */
  wanted: Outcome = 'waiting';
  /** Its place in the region that it waits in. */
  order = 0;
  wantedValue: unknown = undefined;
  /** The latest cancellation of its wait is one of the task. */
  byEdge = false;
  /** What the object does. */
  outcome: Outcome = 'waiting';
  value: unknown = undefined;

  constructor(actor: Actor, scoped: boolean) {
    this.actor = actor;
    this.scope = scoped ? actor.scopeNumber : 0;
  }

  watch(promise: Promise<unknown>): void {
    promise.then(
      (value) => {
        this.outcome = 'ok';
        this.value = value;
      },
      (error: unknown) => {
        if (error instanceof CancelledError) this.outcome = 'cancelled';
        else if (error === 'aborted') this.outcome = 'aborted';
        else this.outcome = (error as Error).name;
      },
    );
  }
}

/** Asks `expect` only for its message: it is too slow for each step. */
export function same(actual: readonly unknown[], wanted: readonly unknown[]): void {
  if (actual.every((value, i) => Object.is(value, wanted[i]))) return;
  expect(actual).toEqual(wanted);
}

/** The object and its model. Subclasses know what it is. */
export abstract class World {
  readonly actors: Actor[] = [];
  readonly calls: Call[] = [];
  /** In the model: who waits, in order. */
  waiting: Call[] = [];
  #lastOrder = 0;

  constructor() {
    for (let i = 0; i < actorCount; i++) this.actors.push(new Actor(`actor-${i}`));
  }

  /** Makes the call in the current frame. */
  protected abstract invoke(call: Call, options: WaitOptions): Promise<unknown>;
  /** The model: an error that comes before everything else. */
  protected misuse(_call: Call): Outcome | null {
    return null;
  }
  /** The model: the call need not wait; then `enter`s it. */
  protected abstract arrive(call: Call): boolean;
  /** A step of its own kind. */
  protected abstract act(pick: number): void;
  /** Compares what can be seen at any time. */
  protected abstract check(): void;
  /** Until nobody holds and nobody waits. */
  protected abstract drain(): Promise<void>;

  begin(actor: Actor, scoped: boolean, early: boolean): void {
    const call = new Call(actor, scoped);
    this.calls.push(call);
    call.order = ++this.#lastOrder;
    if (early) call.controller.abort('aborted');
    this.#predict(call, early);
    const run = scoped ? actor.runScoped : actor.run;
    run(() => call.watch(this.invoke(call, { signal: call.controller.signal })));
  }

  #predict(call: Call, early: boolean): void {
    const { actor } = call;
    const misuse = this.misuse(call);
    if (misuse !== null) {
      call.wanted = misuse;
    } else if (actor.pending) {
      actor.pending = false;
      call.wanted = 'cancelled';
    } else if (call.scope > 0 && actor.scopeCancelled) {
      call.wanted = 'cancelled';
    } else if (early) {
      call.wanted = 'aborted';
    } else if (this.arrive(call)) {
      call.wanted = 'ok';
    } else {
      this.waiting.push(call);
    }
  }

  /** Ends waits of the model. */
  protected interrupt(ended: Call[], outcome: Outcome): void {
    for (const call of ended) {
      call.wanted = outcome;
      if (call.byEdge) call.actor.onItsWay = true;
      this.waiting.splice(this.waiting.indexOf(call), 1);
    }
  }

  #cancelTask(actor: Actor): void {
    const ended = this.waiting.filter((call) => call.actor === actor);
    if (ended.length === 0 && !actor.onItsWay) actor.pending = true;
    for (const call of ended) call.byEdge = true;
    // First the waits of the task itself, then those of its scopes.
    ended.sort((a, b) => a.scope - b.scope || a.order - b.order);
    this.interrupt(ended, 'cancelled');
    actor.task.cancel();
  }

  #cancelScope(actor: Actor): void {
    const { scopeNumber } = actor;
    const ended = this.waiting.filter((call) => {
      return call.actor === actor && call.scope === scopeNumber;
    });
    for (const call of ended) call.byEdge = false;
    this.interrupt(ended, 'cancelled');
    actor.cancelScope();
  }

  #abort(pick: number): void {
    const call = this.calls[pick % Math.max(1, this.calls.length)];
    if (call === undefined) return;
    if (this.waiting.includes(call)) this.interrupt([call], 'aborted');
    call.controller.abort('aborted');
  }

  step(kind: number, pick: number): void {
    const actor = this.actors[pick % actorCount] as Actor;
    if (kind < 52) this.begin(actor, pick % 8 < 4, pick % 50 === 49);
    else if (kind < 74) this.act(pick);
    else if (kind < 82) this.#cancelTask(actor);
    else if (kind < 88) this.#cancelScope(actor);
    else if (kind < 93) actor.openScope();
    else this.#abort(pick);
    this.check();
  }

  async settle(): Promise<void> {
    await idle();
    for (const actor of this.actors) actor.onItsWay = false;
    this.#leaveScopes();
    for (const call of this.calls) {
      const value = call.outcome === 'ok' ? this.seen(call) : undefined;
      same([call.outcome, value], [call.wanted, call.wantedValue]);
    }
  }

  /** The scopes that were closed are left by now: their waits go on in the task. */
  #leaveScopes(): void {
    for (const call of this.waiting) {
      if (call.scope === 0 || call.scope === call.actor.scopeNumber) continue;
      call.scope = 0;
      call.order = ++this.#lastOrder;
    }
  }

  /** The part of a result that the model knows. */
  protected seen(_call: Call): unknown {
    return undefined;
  }

  async finish(): Promise<void> {
    await this.settle();
    await this.drain();
    await this.settle();
    this.check();
    expect(this.waiting).toEqual([]);
  }

  close(): void {
    for (const actor of this.actors) actor.end();
  }
}

const steps = fc.array(fc.tuple(fc.nat(99), fc.nat(9999)), { maxLength: 40, size: 'max' });

/** Many random runs; a failure shows its seed, its path and the shortest list of steps. */
export async function checkModel(make: () => World): Promise<void> {
  await inRun(async () => {
    const property = fc.asyncProperty(steps, async (list) => {
      const world = make();
      try {
        for (const [kind, pick] of list) {
          // What a shortened list of steps is made of comes first.
          if (kind < 12) await world.settle();
          else world.step(kind, pick);
        }
        await world.finish();
      } finally {
        world.close();
        await idle();
      }
    });
    const replay = path === undefined ? {} : { path };
    await fc.assert(property, { seed, numRuns, unbiased: true, ...replay });
  });
}
