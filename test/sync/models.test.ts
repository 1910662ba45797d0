/** Each object against a model of it, under random calls, releases, cancellations and signals. */
import { describe, expect, test } from 'vitest';
import { InvalidStateError, type WaitOptions, WouldBlock } from '../../lib/base/errors.ts';
import { Barrier } from '../../lib/sync/barrier.ts';
import { CapacityLimiter } from '../../lib/sync/capacity-limiter.ts';
import { Lock } from '../../lib/sync/lock.ts';
import { Semaphore } from '../../lib/sync/semaphore.ts';
import { type Call, checkModel, same, World } from './lock-model.ts';
import { idle } from './lock-support.ts';

/** What is acquired and released. */
abstract class HoldingWorld extends World {
  /** The model: who holds, the latest last. */
  holding: Call[] = [];

  /** The model: a call that comes now may hold at once. */
  protected abstract mayEnter(call: Call): boolean;
  /** The model: the first of those that wait may. */
  protected abstract mayFollow(call: Call): boolean;

  protected override arrive(call: Call): boolean {
    if (!this.mayEnter(call)) return false;
    this.holding.push(call);
    return true;
  }

  /** The model: lets in who may. */
  protected advance(): void {
    for (;;) {
      const [next] = this.waiting;
      if (next === undefined || !this.mayFollow(next)) return;
      this.waiting.shift();
      this.holding.push(next);
      next.wanted = 'ok';
    }
  }

  protected releaseModel(call: Call): void {
    this.holding.splice(this.holding.indexOf(call), 1);
    this.advance();
  }

  /** By what `acquire` gave. */
  protected dispose(call: Call): void {
    this.releaseModel(call);
    const hold = call.value as Disposable;
    hold[Symbol.dispose]();
    hold[Symbol.dispose]();
  }

  /** Those whose hold has arrived. */
  protected get disposable(): Call[] {
    return this.holding.filter((call) => call.outcome === 'ok');
  }

  protected disposeOne(pick: number): void {
    const { disposable } = this;
    const call = disposable[pick % Math.max(1, disposable.length)];
    if (call !== undefined) this.dispose(call);
  }

  protected override async drain(): Promise<void> {
    while (this.holding.length > 0) {
      await idle();
      this.disposeOne(0);
    }
  }
}

class LockWorld extends HoldingWorld {
  readonly reentrant: boolean;
  readonly lock: Lock;

  constructor(reentrant: boolean) {
    super();
    this.reentrant = reentrant;
    this.lock = new Lock({ reentrant });
  }

  protected override invoke(_call: Call, options: WaitOptions): Promise<unknown> {
    return this.lock.acquire(options);
  }

  protected override mayEnter(call: Call): boolean {
    if (this.holding.length === 0) return true;
    return this.reentrant && this.holding[0]?.actor === call.actor;
  }

  protected override mayFollow(): boolean {
    return this.holding.length === 0;
  }

  protected override act(pick: number): void {
    const actor = this.actors[pick % 4];
    if (actor === undefined || pick % 2 === 0) {
      this.disposeOne(pick);
    } else if (this.holding[0]?.actor === actor) {
      this.releaseModel(this.holding.at(-1) as Call);
      actor.run(() => this.lock.release());
    } else {
      actor.run(() => expect(() => this.lock.release()).toThrow(InvalidStateError));
      if (this.holding.length === 0) return;
      actor.run(() => expect(() => this.lock.acquireNowait()).toThrow(WouldBlock));
    }
  }

  protected override check(): void {
    const owner = this.holding[0]?.actor.task ?? null;
    const statistics = this.lock.statistics();
    const seen = [this.lock.locked, statistics.owner, statistics.waiting];
    same(seen, [owner !== null, owner, this.waiting.length]);
  }
}

class SemaphoreWorld extends HoldingWorld {
  readonly semaphore: Semaphore;
  /** The model. */
  free: number;
  readonly max: number;

  constructor(value: number, max: number) {
    super();
    this.free = value;
    this.max = max;
    this.semaphore = new Semaphore(value, { max });
  }

  protected override invoke(_call: Call, options: WaitOptions): Promise<unknown> {
    return this.semaphore.acquire(options);
  }

  protected override mayEnter(): boolean {
    if (this.free === 0) return false;
    this.free--;
    return true;
  }

  protected override mayFollow(): boolean {
    return this.mayEnter();
  }

  protected override releaseModel(call: Call): void {
    this.free++;
    super.releaseModel(call);
  }

  protected override act(pick: number): void {
    if (pick % 4 !== 0) {
      this.disposeOne(pick);
    } else if (this.free === this.max) {
      expect(() => this.semaphore.release()).toThrow(RangeError);
    } else if (this.free + this.holding.length < this.max) {
      // A permit more than there were.
      this.free++;
      this.advance();
      this.semaphore.release();
    } else if (this.free === 0) {
      expect(() => this.semaphore.acquireNowait()).toThrow(WouldBlock);
    }
  }

  protected override check(): void {
    same([this.semaphore.value], [this.free]);
  }

  protected override async drain(): Promise<void> {
    await super.drain();
    while (this.waiting.length > 0) {
      this.free++;
      this.advance();
      this.semaphore.release();
      await super.drain();
    }
  }
}

class LimiterWorld extends HoldingWorld {
  readonly limiter = new CapacityLimiter(2);
  /** The model. */
  total = 2;

  protected override invoke(_call: Call, options: WaitOptions): Promise<unknown> {
    return this.limiter.acquire(options);
  }

  protected override misuse(call: Call): string | null {
    const has = (other: Call): boolean => other.actor === call.actor;
    return this.holding.some(has) || this.waiting.some(has) ? 'InvalidStateError' : null;
  }

  protected override mayEnter(): boolean {
    return this.holding.length < this.total;
  }

  protected override mayFollow(): boolean {
    return this.mayEnter();
  }

  protected override act(pick: number): void {
    const actor = this.actors[pick % 4];
    const call = this.holding.find((holder) => holder.actor === actor);
    if (pick % 5 === 0) {
      this.resize((pick / 5) % 5);
    } else if (actor === undefined || pick % 2 === 0) {
      this.disposeOne(pick);
    } else if (call !== undefined) {
      this.releaseModel(call);
      if (pick % 3 === 0) this.limiter.release(actor.task);
      else actor.run(() => this.limiter.release());
    } else {
      actor.run(() => expect(() => this.limiter.release()).toThrow(InvalidStateError));
    }
  }

  resize(total: number): void {
    this.total = Math.floor(total);
    this.advance();
    this.limiter.totalTokens = this.total;
  }

  protected override check(): void {
    const { totalTokens, borrowedTokens, availableTokens } = this.limiter;
    const borrowed = this.holding.length;
    const wanted = [this.total, borrowed, this.total - borrowed];
    same([totalTokens, borrowedTokens, availableTokens], wanted);
  }

  protected override async drain(): Promise<void> {
    this.resize(1);
    await super.drain();
  }
}

class BarrierWorld extends World {
  readonly barrier: Barrier;
  /** The model. */
  broken = false;
  readonly parties: number;

  constructor(parties: number) {
    super();
    this.parties = parties;
    this.barrier = new Barrier(parties);
  }

  protected override invoke(_call: Call, options: WaitOptions): Promise<unknown> {
    return this.barrier.wait(options);
  }

  protected override arrive(call: Call): boolean {
    if (this.waiting.length < this.parties - 1) return false;
    for (const [index, other] of [...this.waiting, call].entries()) {
      other.wanted = 'ok';
      other.wantedValue = index;
    }
    this.waiting = [];
    return true;
  }

  protected override seen(call: Call): unknown {
    return call.value;
  }

  /** A broken barrier refuses like everything else: after cancellations and signals. */
  override begin(...args: Parameters<World['begin']>): void {
    const count = this.waiting.length;
    super.begin(...args);
    const call = this.calls.at(-1) as Call;
    if (!this.broken) return;
    if (this.waiting.length > count) this.waiting.pop();
    if (call.wanted === 'waiting' || call.wanted === 'ok') {
      call.wanted = 'BrokenBarrierError';
      call.wantedValue = undefined;
    }
  }

  protected override act(pick: number): void {
    if (pick % 3 !== 0) return;
    this.interrupt([...this.waiting], 'BrokenBarrierError');
    this.broken = pick % 2 === 0;
    if (this.broken) this.barrier.abort();
    else this.barrier.reset();
  }

  protected override check(): void {
    const { waiting, broken } = this.barrier;
    same([waiting, broken], [this.waiting.length, this.broken]);
  }

  protected override async drain(): Promise<void> {
    this.interrupt([...this.waiting], 'BrokenBarrierError');
    this.broken = false;
    this.barrier.reset();
  }
}

// covers: seeds/C6
describe('against a model, under random use:', () => {
  test('Lock', () => checkModel(() => new LockWorld(false)));
  test('Lock, reentrant', () => checkModel(() => new LockWorld(true)));
  test('Semaphore', () => checkModel(() => new SemaphoreWorld(2, Infinity)));
  test('Semaphore, bounded', () => checkModel(() => new SemaphoreWorld(1, 3)));
  test('CapacityLimiter', () => checkModel(() => new LimiterWorld()));
  test('Barrier', () => checkModel(() => new BarrierWorld(3)));
});
