/**
 * The timers of a loop: the wheel, and the one native timer that is armed for it.
 *
 * In: deadlines and targets. Out: one armed deadline and its ref, asked of the backend; batches of
 * due targets. Never: a call to the backend for a pair of arm and cancel.
 *
 * The backend is armed when a deadline comes before what it is armed for, and never disarmed for a
 * cancellation: it fires for nothing, or the turn that `refsGone` asks for puts things right.
 */
import type { Backend } from './backend.ts';
import { BurstClock, pendingSlot } from './burst-clock.ts';
import type { LoopTimer } from './handles.ts';
import type { LagHistogram } from './metrics.ts';
import { type TimerTarget, TimerWheel } from './timer-wheel.ts';

/** What the queue needs of its loop. */
export interface TimerOwner {
  /** @internal A turn of the backend, which calls `onTurn`. */
  askTurn(): void;
  /** @internal Takes all that is due from the wheel and calls it. */
  runTimers(wheel: TimerWheel): void;
}

export class TimerQueue {
  /** @internal */
  readonly wheel: TimerWheel;
  readonly #clock: BurstClock;
  readonly #backend: Backend;
  readonly #owner: TimerOwner;
  readonly #lag: LagHistogram;
  /** What the backend is armed for; -Infinity while timers fire, which silences arming. */
  #armedMs: number = Infinity;
  /** A turn was asked for, because timers were due when they were armed. */
  #dueNow = false;
  /** What the backend was told. */
  #ref = false;
  #closed = false;

  constructor(backend: Backend, owner: TimerOwner, lag: LagHistogram) {
    this.#backend = backend;
    this.#owner = owner;
    this.#lag = lag;
    this.wheel = new TimerWheel(backend.now());
    this.#clock = new BurstClock(
      () => backend.now(),
      (nowMs, delayMs, timer) => this.#armFrom(nowMs, delayMs, timer),
    );
  }

  /** Armed timers, infinite ones included. */
  get size(): number {
    return this.wheel.size + (this.#clock.pending === null ? 0 : 1);
  }

  /** Lower bound of all deadlines; Infinity when there is none. */
  nearest(): number {
    this.#clock.read();
    return this.wheel.nearest();
  }

  /** Gives the timer its slot. */
  armAfter(delayMs: number, timer: LoopTimer): void {
    this.#clock.arm(delayMs > 0 ? delayMs : 0, timer);
  }

  /** Returns the slot. */
  armAt(deadlineMs: number, target: TimerTarget): number {
    const slot = this.wheel.arm(deadlineMs, target);
    if (deadlineMs < this.#armedMs) {
      if (deadlineMs <= this.#backend.now()) this.#askTurn();
      else this.#armBackend(deadlineMs);
    } else if (!this.#ref) {
      this.#refChanged();
    }
    return slot;
  }

  /** The deadline that it had; NaN when it has none any more. */
  cancel(timer: LoopTimer, slot: number): number {
    if (slot === pendingSlot) return this.#clock.drop();
    const wheel = this.wheel;
    if (!wheel.holds(slot, timer)) return Number.NaN;
    const deadlineMs = wheel.deadlineOf(slot);
    wheel.cancel(slot);
    if (wheel.refs === 0) this.#refsGone();
    return deadlineMs;
  }

  deadlineOf(timer: LoopTimer): number {
    if (timer.slot === pendingSlot) this.#clock.read();
    const { slot } = timer;
    return this.wheel.holds(slot, timer) ? this.wheel.deadlineOf(slot) : Number.NaN;
  }

  setRef(timer: LoopTimer, ref: boolean): void {
    if (timer.slot === pendingSlot) this.#clock.read();
    if (!this.wheel.holds(timer.slot, timer)) return;
    this.wheel.setRef(timer.slot, ref);
    this.#refChanged();
  }

  idOf(slot: number): number {
    return this.wheel.idOf(slot);
  }

  cancelId(id: number): boolean {
    const slot = this.wheel.slotOf(id);
    if (slot < 0) return false;
    this.wheel.cancel(slot);
    if (this.wheel.refs === 0) this.#refsGone();
    return true;
  }

  setIdRef(id: number, ref: boolean): void {
    const slot = this.wheel.slotOf(id);
    if (slot < 0) return;
    this.wheel.setRef(slot, ref);
    this.#refChanged();
  }

  /** In each turn of the backend, after the callbacks. */
  onTurn(): void {
    if (this.#clock.pending !== null) this.#clock.read();
    if (this.wheel.size === 0) {
      if (this.#ref) this.#syncBackend();
    } else if (this.#dueNow || this.#armedMs <= this.#backend.now()) {
      this.fire();
    } else {
      this.#syncBackend();
    }
  }

  /** Everything that is due, in one batch. What a batch arms is for the next one. */
  fire(): void {
    const wheel = this.wheel;
    const nowMs = this.#clock.read();
    this.#dueNow = false;
    this.#armedMs = Number.NEGATIVE_INFINITY;
    wheel.collect(nowMs);
    const dueMs = wheel.firstDueMs();
    if (dueMs <= nowMs) {
      if (dueMs > 0) this.#lag.record(nowMs - dueMs);
      this.#owner.runTimers(wheel);
    }
    if (!this.#closed) this.#rearm();
  }

  /** Nothing will fire any more. */
  close(): void {
    this.#closed = true;
  }

  #armFrom(nowMs: number, delayMs: number, timer: LoopTimer): void {
    const deadlineMs = nowMs + delayMs;
    timer.slot = this.wheel.arm(deadlineMs, timer, false);
    if (this.#closed) return;
    if (delayMs <= 0) this.#askTurn();
    else if (deadlineMs < this.#armedMs) this.#armBackend(deadlineMs);
    else if (!this.#ref) this.#refChanged();
  }

  /** For what is due already: no native timer, the next turn looks. */
  #askTurn(): void {
    this.#dueNow = true;
    this.#owner.askTurn();
  }

  #armBackend(deadlineMs: number): void {
    this.#armedMs = deadlineMs;
    this.#backend.armTimer(deadlineMs);
    this.#refChanged();
  }

  #refChanged(): void {
    if (this.wheel.refs === 0) {
      this.#refsGone();
    } else if (!this.#ref) {
      this.#ref = true;
      this.#backend.setTimerRef(true);
    }
  }

  /** The next turn unrefs, once for any number of cancellations before it. */
  #refsGone(): void {
    if (this.#ref) this.#owner.askTurn();
  }

  #syncBackend(): void {
    const wanted = this.wheel.refs > 0;
    if (wanted !== this.#ref) {
      this.#ref = wanted;
      this.#backend.setTimerRef(wanted);
    }
    if (this.wheel.size === 0 && this.#armedMs !== Infinity) {
      this.#armedMs = Infinity;
      this.#backend.armTimer(Infinity);
    }
  }

  #rearm(): void {
    // A burst at the end of the batch must have its deadlines.
    const nowMs = this.#clock.read();
    const nextMs = this.wheel.nearest();
    this.#armedMs = nextMs;
    if (nextMs > nowMs) this.#backend.armTimer(nextMs);
    else this.#askTurn();
    this.#syncBackend();
  }
}
