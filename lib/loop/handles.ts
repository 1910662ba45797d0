/**
 * What `callSoon`, `callLater` and `callAt` return, and how a callback is bound to its arguments.
 *
 * In: a callback, and the timers of a loop. Out: handles with `cancel()`. Never: a reference to
 * the callback after it ran or was cancelled.
 */
import { joinWords } from './double-words.ts';
import type { EventLoop, Job } from './event-loop.ts';
import type { TimerQueue } from './timer-queue.ts';
import type { TimerTarget } from './timer-wheel.ts';

export interface Handle {
  /** O(1), idempotent; releases the callback. No effect once it ran. */
  cancel(): void;
  readonly cancelled: boolean;
  /** Does (not) keep the loop running. Only timers can be unref'd: the next turn always comes. */
  ref(): this;
  unref(): this;
}

export interface TimerHandle extends Handle {
  /** On the clock of `loop.time()`. */
  readonly whenMs: number;
}

export type Callback = () => void;

/** The task layer's way to carry context variables, without the loop knowing tasks. */
export interface ContextHooks {
  /** Called when a callback is registered; undefined costs nothing more. */
  capture: () => unknown;
  /** Runs a callback in what was captured. */
  run: (captured: unknown, fn: Callback) => void;
  /** For a new loop: runs whole turns outside of whatever context happened to ask for them. */
  makeRoot: () => (fn: Callback) => void;
  /** Debug mode, the instruments or `closed` of a loop have changed. */
  watch: (loop: EventLoop) => void;
}

/** In force until there is a context variable. */
export const noContext = (): unknown => undefined;

/** One for the thread; the task layer replaces its members. */
export const contextHooks: ContextHooks = {
  capture: noContext,
  run: (_captured: unknown, fn: Callback): void => fn(),
  makeRoot:
    () =>
    (fn: Callback): void =>
      fn(),
  watch: (): void => {},
};

/** A callback with its arguments and context; the callback itself when it has neither. */
export function bindCallback<A extends unknown[]>(
  callback: (...args: A) => void,
  args: A,
): Callback {
  const captured = contextHooks.capture();
  if (captured === undefined && args.length === 0) return callback as unknown as Callback;
  const call: Callback = () => callback(...args);
  const bound: Callback = captured === undefined ? call : () => contextHooks.run(captured, call);
  boundNames.set(bound, callback);
  return bound;
}

/** Reports name the user's function, not the closure around it. */
const boundNames: WeakMap<Callback, object> = new WeakMap();

export function callbackName(callback: object): string {
  const original = boundNames.get(callback as Callback) ?? callback;
  return (original as { name?: string }).name || '(anonymous)';
}

const pending = 0;
const done = 1;
const cancelled = 2;

export class SoonHandle implements Handle, Job {
  /** @internal */
  work: Callback | null;
  /** @internal */
  state: number;

  constructor(work: Callback) {
    this.work = work;
    this.state = pending;
  }

  get cancelled(): boolean {
    return this.state === cancelled;
  }

  cancel(): void {
    if (this.state !== pending) return;
    this.state = cancelled;
    this.work = null;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  /** @internal */
  runJob(): void {
    const work = this.work;
    if (work === null) return;
    this.state = done;
    this.work = null;
    work();
  }

  /** @internal */
  get label(): string {
    return this.work === null ? '' : callbackName(this.work);
  }
}

const firedSlot = -1;
const cancelledSlot = -2;
/** With a deadline's high word: top bits of what lies between 2 and 2^65, and the mark for it. */
const usualShift = 26;
const usualTop = 0x10;
const firedMark = 1 << 31;

/**
 * Three fields, because a million of them may be outstanding: what is over keeps its deadline
 * where its callback was, and the slot says which it is. When it fired, it is an old object, and
 * a new number in it would cost more than the rest: so the deadline is kept as two integers.
 */
export class LoopTimer implements TimerHandle, TimerTarget {
  /** @internal */
  readonly timers: TimerQueue;
  /** @internal */
  slot: number;
  /** @internal */
  work: Callback | number;

  constructor(timers: TimerQueue, work: Callback) {
    this.timers = timers;
    this.slot = 0;
    this.work = work;
  }

  get whenMs(): number {
    if (typeof this.work !== 'number') return this.timers.deadlineOf(this);
    return this.slot < cancelledSlot ? joinWords(this.slot & ~firedMark, this.work) : this.work;
  }

  get cancelled(): boolean {
    return this.slot === cancelledSlot;
  }

  cancel(): void {
    const slot = this.slot;
    if (slot < 0) return;
    this.slot = cancelledSlot;
    this.work = this.timers.cancel(this, slot);
  }

  ref(): this {
    if (this.slot >= 0) this.timers.setRef(this, true);
    return this;
  }

  unref(): this {
    if (this.slot >= 0) this.timers.setRef(this, false);
    return this;
  }

  /** @internal */
  onTimer(): void {
    const work = this.work as Callback;
    const { firedHigh, firedLow } = this.timers.wheel;
    if (firedHigh >>> usualShift === usualTop) {
      this.slot = firedHigh | firedMark;
      this.work = firedLow;
    } else {
      this.slot = firedSlot;
      this.work = joinWords(firedHigh, firedLow);
    }
    work();
  }

  /** @internal */
  get label(): string {
    return typeof this.work === 'number' ? '' : callbackName(this.work);
  }
}
