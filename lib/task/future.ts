/**
 * A result that is set by hand, and what waits for it.
 *
 * In: setResult, setException, cancel. Out: promises, observers, callbacks through the ready queue.
 * Never: a promise that nobody asked for.
 */
import {
  type Awaitable,
  CancelledError,
  InvalidStateError,
  TimeoutError,
  type WaitOptions,
} from '../base/errors.ts';
import { contextHooks, type EventLoop } from '../loop/event-loop.ts';
import { cancelError, cancelledPromise, openNode } from './cancellation.ts';
import { leadsTo } from './circle.ts';
import { takeFailure, trackFailure } from './failures.ts';
import { currentFrame, currentLoop, Frame, frameStorage, type Vars } from './frame.ts';
import { loopState } from './loop-state.ts';
import { wakeInPace } from './pace.ts';
import { CANCELLED, FAILED, type FutureStatus, PENDING, RESOLVED } from './status.ts';
import { Waiter } from './waiter.ts';

export { CANCELLED, FAILED, type FutureStatus, PENDING, RESOLVED } from './status.ts';

/** Told at once, synchronously, when a future is done: for code of uvio only. */
export interface FutureObserver {
  onFutureDone(future: Future<unknown>): void;
  /** False: only looks, so that an error still counts as taken by nobody. Default true. */
  readonly takesError?: boolean;
}

/** A result set by hand (curio: Result). Cancelling a task that awaits it cancels it. */
export class Future<T = unknown> implements PromiseLike<T> {
  readonly loop: EventLoop;
  /** @internal */
  status: FutureStatus;
  /** @internal The value, the error or the CancelledError. Void while pending. */
  outcome: unknown;
  /** @internal One observer needs no set, and most futures have one. */
  observers: FutureObserver | Set<FutureObserver> | null;

  constructor(options?: { loop?: EventLoop }) {
    this.loop = options?.loop ?? currentLoop();
    this.status = PENDING;
    this.outcome = undefined;
    this.observers = null;
  }

  get done(): boolean {
    return this.status !== PENDING;
  }

  get cancelled(): boolean {
    return this.status === CANCELLED;
  }

  /** The value, or throws the error; InvalidStateError when not done. */
  result(): T {
    if (this.status === RESOLVED) return this.value();
    throw this.failure();
  }

  /** The error, or undefined for a value. Throws CancelledError; InvalidStateError if not done. */
  exception(): unknown {
    if (this.status === RESOLVED) return undefined;
    const error = this.failure();
    if (this.status !== FAILED) throw error;
    return error;
  }

  /** @internal The value, which counts as taken now. */
  value(): T {
    if (this.loop.debug) takeFailure(this);
    return this.outcome as T;
  }

  /**
   * @internal The error, which counts as taken now. A cancellation that became a TimeoutError when
   * the block around ended is still one here.
   */
  failure(): unknown {
    if (this.status === PENDING) return new InvalidStateError(`${this.describe()} is not done`);
    if (this.status === FAILED) takeFailure(this);
    else if (this.outcome instanceof TimeoutError) return this.outcome.cause;
    return this.outcome;
  }

  /** InvalidStateError when already done. */
  setResult(value: T): void {
    checkPending(this as Future<unknown>);
    this.settle(RESOLVED, value);
  }

  /** InvalidStateError when already done. */
  setException(error: unknown): void {
    checkPending(this as Future<unknown>);
    this.settle(error instanceof CancelledError ? CANCELLED : FAILED, error);
  }

  /** Ends it with a CancelledError. False when already done. */
  cancel(reason?: unknown): boolean {
    if (this.status !== PENDING) return false;
    const message = `${this.describe()} was cancelled`;
    return this.cancelWith(cancelError(message, reason, null, this.loop.debug));
  }

  /** @internal */
  cancelWith(error: CancelledError): boolean {
    if (this.status !== PENDING) return false;
    this.settle(CANCELLED, error);
    return true;
  }

  /**
   * Called through the ready queue, in order, never at once, with the context variables of the
   * caller of this.
   */
  addDoneCallback(callback: (future: this) => void): void {
    this.observe(new DoneCallback(callback as (future: Future<unknown>) => void));
  }

  removeDoneCallback(callback: (future: this) => void): number {
    let removed = 0;
    for (const observer of observersOf(this as Future<unknown>)) {
      if (!(observer instanceof DoneCallback) || observer.callback !== callback) continue;
      this.unobserve(observer);
      removed++;
    }
    return removed;
  }

  // biome-ignore lint/suspicious/noThenProperty: futures are awaitable, as in asyncio.
  then<A = T, B = never>(
    onResult?: ((value: T) => Awaitable<A>) | null,
    // biome-ignore lint/suspicious/noExplicitAny: the same as Promise.then.
    onError?: ((error: any) => Awaitable<B>) | null,
  ): Promise<A | B> {
    return this.awaited().then(onResult, onError);
  }

  // biome-ignore lint/suspicious/noExplicitAny: the same as Promise.catch.
  catch<B = never>(onError?: ((error: any) => Awaitable<B>) | null): Promise<T | B> {
    return this.awaited().catch(onError);
  }

  finally(callback?: (() => void) | null): Promise<T> {
    return this.awaited().finally(callback);
  }

  /** @internal `await future`: a wait of the current task, whose cancellation is passed on. */
  awaited(): Promise<T> {
    if (this.status !== PENDING) return settledPromise(this);
    const frame = currentFrame();
    if (frame !== undefined && frame.task === (this as unknown)) {
      return Promise.reject(new InvalidStateError(`${this.describe()} awaits itself`));
    }
    return new AwaitWaiter(this).startIn(frame);
  }

  /** @internal Waits for it; the future is not touched when the wait is cancelled. */
  joined(options?: WaitOptions): Promise<T> {
    if (this.status !== PENDING) return settledPromise(this);
    return new FutureWaiter<T>('join', this).start(options);
  }

  /** @internal Synchronous notice; at once when done already. */
  observe(observer: FutureObserver): void {
    if (this.status !== PENDING) {
      if (this.status === RESOLVED && observer.takesError !== false) this.value();
      observer.onFutureDone(this as Future<unknown>);
    } else if (this.observers === null) {
      this.observers = observer;
    } else if (this.observers instanceof Set) {
      this.observers.add(observer);
    } else {
      this.observers = new Set([this.observers, observer]);
    }
  }

  /** @internal */
  unobserve(observer: FutureObserver): void {
    if (this.observers === observer) this.observers = null;
    else if (this.observers instanceof Set) this.observers.delete(observer);
  }

  /** @internal @param taken somebody who is no observer takes the error. */
  settle(status: FutureStatus, outcome: unknown, taken: boolean = false): void {
    this.status = status;
    this.outcome = outcome;
    if (status === FAILED && !taken && !hasTaker(this.observers)) {
      trackFailure(this, this.loop, outcome, this.failureMessage());
    }
    const observers = this.observers;
    if (observers === null) return;
    this.observers = null;
    if (!(observers instanceof Set)) observers.onFutureDone(this as Future<unknown>);
    else for (const observer of observers) observer.onFutureDone(this as Future<unknown>);
  }

  /** @internal */
  describe(): string {
    return 'The future';
  }

  /** @internal */
  failureMessage(): string {
    return `${this.describe()} failed and nobody took its error`;
  }
}

function checkPending(future: Future): void {
  if (future.status === PENDING) return;
  throw new InvalidStateError(`${future.describe()} is already done`);
}

function hasTaker(observers: FutureObserver | Set<FutureObserver> | null): boolean {
  if (observers === null) return false;
  if (!(observers instanceof Set)) return observers.takesError !== false;
  for (const observer of observers) if (observer.takesError !== false) return true;
  return false;
}

function observersOf(future: Future<unknown>): FutureObserver[] {
  const { observers } = future;
  if (observers === null) return [];
  return observers instanceof Set ? [...observers] : [observers];
}

function settledPromise<T>(future: Future<T>): Promise<T> {
  if (future.status === RESOLVED) return Promise.resolve(future.value());
  return Promise.reject(future.failure());
}

class DoneCallback implements FutureObserver {
  readonly takesError = false;
  readonly callback: (future: Future<unknown>) => void;
  /** The variables of whoever adds it. */
  readonly #captured: unknown = contextHooks.capture();

  constructor(callback: (future: Future<unknown>) => void) {
    this.callback = callback;
  }

  onFutureDone(future: Future<unknown>): void {
    const captured = this.#captured;
    if (captured === contextHooks.capture()) {
      future.loop.callSoon(this.callback, future);
      return;
    }
    // Not those of the task that has ended, or that sets the result.
    const { loop } = future;
    const box = { vars: (captured ?? null) as Vars | null };
    const frame = new Frame(loop, null, loopState(loop).root, box);
    frameStorage.run(frame, () => loop.callSoon(this.callback, future));
  }
}

/** Waits for a future and leaves it alone when cancelled. */
export class FutureWaiter<T> extends Waiter<T> implements FutureObserver {
  readonly future: Future<T>;

  constructor(label: string, future: Future<T>) {
    super(label);
    this.future = future;
  }

  override startIn(frame: Frame | undefined, options?: WaitOptions): Promise<T> {
    const promise = super.startIn(frame, options);
    if (this.active) this.future.observe(this);
    return promise;
  }

  override onCancel(): void {
    this.future.unobserve(this);
  }

  onFutureDone(future: Future<unknown>): void {
    // Two tasks that set each other's futures must not keep all others from running.
    if (future.status === RESOLVED) wakeInPace(this, future.outcome as T);
    else this.fail(future.outcome);
  }
}

/** `await future`: passes a cancellation on to the future and then waits for its end. */
class AwaitWaiter<T> extends FutureWaiter<T> {
  /** What came while it waited. */
  passedOn: CancelledError | null = null;

  constructor(future: Future<T>) {
    super('await', future);
  }

  override refuse(error: CancelledError): Promise<T> {
    this.future.cancelWith(error);
    if (this.future.done) return cancelledPromise(error);
    // A task: `start()` observes it as soon as this has returned.
    this.passedOn = error;
    const frame = currentFrame();
    return this.begin(frame === undefined ? null : openNode(frame.scope));
  }

  override deliver(error: CancelledError): void {
    if (this.passedOn === error) {
      // The same error again. Around a circle of tasks it would go for ever, and nobody would end.
      if (leadsTo(this.future as Future<unknown>, this as Waiter<unknown>)) super.deliver(error);
      return;
    }
    this.passedOn = error;
    this.future.cancelWith(error);
  }

  override onFutureDone(future: Future<unknown>): void {
    if (future.status === CANCELLED) this.fail(this.passedOn ?? future.outcome);
    else super.onFutureDone(future);
  }
}

export function isFuture(value: unknown): value is Future {
  return value instanceof Future;
}
