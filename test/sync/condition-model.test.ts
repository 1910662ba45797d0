/** A condition against a model of it: two lists, and waits that end later than they are ended. */
import { expect, test } from 'vitest';
import { InvalidStateError, type WaitOptions } from '../../lib/base/errors.ts';
import { Condition } from '../../lib/sync/condition.ts';
import { type Call, checkModel, type Outcome, same, World } from './lock-model.ts';

interface State {
  readonly kind: 'acquire' | 'wait' | 'misuse';
  notified: boolean;
  /** What a wait will end with, if not well. */
  failing: Outcome | null;
}

class ConditionWorld extends World {
  readonly condition = new Condition();
  /** The model: who has the lock, who queues for it, who waits to be notified. */
  owner: Call['actor'] | null = null;
  queue: Call[] = [];
  unnotified: Call[] = [];
  readonly states: Map<Call, State> = new Map();

  /** Whoever has the lock waits, all others acquire it, but for a few. */
  protected override misuse(call: Call): Outcome | null {
    const holds = this.owner === call.actor;
    const kind = holds ? 'wait' : this.calls.length % 7 === 0 ? 'misuse' : 'acquire';
    this.states.set(call, { kind, notified: false, failing: null });
    return kind === 'misuse' ? 'InvalidStateError' : null;
  }

  protected override invoke(call: Call, options: WaitOptions): Promise<unknown> {
    if (this.states.get(call)?.kind === 'acquire') return this.condition.acquire(options);
    return this.condition.wait(options);
  }

  protected override arrive(call: Call): boolean {
    if (this.states.get(call)?.kind === 'wait') {
      this.unnotified.push(call);
      this.passOn();
      return false;
    }
    if (this.owner !== null) {
      this.queue.push(call);
      return false;
    }
    this.owner = call.actor;
    return true;
  }

  passOn(): void {
    const next = this.queue.shift();
    this.owner = next?.actor ?? null;
    if (next === undefined) return;
    next.wanted = this.states.get(next)?.failing ?? 'ok';
    if (next.byEdge) next.actor.onItsWay = true;
    this.waiting.splice(this.waiting.indexOf(next), 1);
  }

  notify(count: number): void {
    for (const call of this.unnotified.splice(0, count)) {
      (this.states.get(call) as State).notified = true;
      this.queue.push(call);
    }
  }

  protected override interrupt(ended: Call[], outcome: Outcome): void {
    for (const call of ended) {
      if (!this.waiting.includes(call)) continue;
      const state = this.states.get(call) as State;
      if (state.kind === 'acquire') {
        this.queue.splice(this.queue.indexOf(call), 1);
        super.interrupt([call], outcome);
      } else {
        this.#interruptWait(call, state, outcome);
      }
    }
  }

  #interruptWait(call: Call, state: State, outcome: Outcome): void {
    if (state.failing === null || outcome === 'cancelled') state.failing = outcome;
    if (this.unnotified.includes(call)) {
      this.unnotified.splice(this.unnotified.indexOf(call), 1);
      this.queue.push(call);
      if (this.owner === null) this.passOn();
    } else if (state.notified) {
      state.notified = false;
      this.notify(1);
    }
  }

  protected override act(pick: number): void {
    const actor = this.actors[pick % 4] as Call['actor'];
    const { owner, condition } = this;
    if (actor !== owner && pick % 8 < 4) {
      actor.run(() => expect(() => condition.notify()).toThrow(InvalidStateError));
      actor.run(() => expect(() => condition.release()).toThrow(InvalidStateError));
    } else if (owner !== null && pick % 5 < 2) {
      this.passOn();
      owner.run(() => condition.release());
    } else if (owner !== null) {
      const count = pick % 5 === 4 ? Infinity : (pick % 5) - 1;
      this.notify(count);
      owner.run(() => condition.notify(count));
    }
  }

  protected override check(): void {
    const owner = this.owner?.task ?? null;
    const waiting = this.queue.length;
    const statistics = this.condition.lock.statistics();
    same([statistics.owner, statistics.waiting], [owner, waiting]);
  }

  protected override async drain(): Promise<void> {
    for (;;) {
      const { owner } = this;
      if (owner !== null) {
        this.notify(Infinity);
        owner.run(() => this.condition.notifyAll());
        this.passOn();
        owner.run(() => this.condition.release());
      } else if (this.unnotified.length > 0) {
        this.begin(this.actors[0] as Call['actor'], false, false);
      } else {
        return;
      }
      this.check();
    }
  }
}

// covers: seeds/C6
test('Condition against a model, under random use', () => checkModel(() => new ConditionWorld()));
