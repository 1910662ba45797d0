/**
 * One suspended wait: the only way in which code of uvio waits.
 *
 * In: `start()` from the code that waits, `wake`/`fail` from whoever ends it. Out: a plain native
 * promise. Never: a Promise subclass, an async wrapper, a closure per wait.
 */
import type { CancelledError, WaitOptions } from '../base/errors.ts';
import { heldResolve, hold } from '../base/held-resolve.ts';
import { offAbort, onAbort } from './abort.ts';
import { cancelledPromise, openNode, refusal } from './cancellation.ts';
import { noteRejected } from './debug.ts';
import { type Frame, frameStorage, plainPromise } from './frame.ts';
import { noteScheduled, noteWait } from './instruments.ts';
import { addWaiter, type Region, removeWaiter } from './scope-node.ts';

type Resolve = (value: unknown) => void;

/**
 * Resolving a promise with this rejects it, a microtask later: so a wait keeps one function of its
 * promise and not two, which is 64 bytes for each task that waits.
 */
class Rejection {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }

  // biome-ignore lint/suspicious/noThenProperty: that is what makes it work.
  then(_resolve: Resolve, reject: (error: unknown) => void): void {
    reject(this.error);
  }
}

const settled: Promise<void> = Promise.resolve();

/** An edge cancellation of a task, which counts as on its way until the task goes on. */
class EdgeRejection extends Rejection {
  readonly extra: { onItsWay: boolean };

  constructor(error: unknown, extra: { onItsWay: boolean }) {
    super(error);
    this.extra = extra;
    extra.onItsWay = true;
  }

  // biome-ignore lint/suspicious/noThenProperty: as above.
  override then(resolve: Resolve, reject: (error: unknown) => void): void {
    super.then(resolve, reject);
    // Right behind the step of the task that `reject` has made ready.
    // (queueMicrotask() would make an AsyncResource for it.)
    settled.then(() => {
      this.extra.onItsWay = false;
    });
  }
}

/** Ends the wait when the signal aborts. Few waits have a signal, so it is no field of theirs. */
function listen(waiter: Waiter<unknown>, signal: AbortSignal): void {
  const resolve = waiter.resolve as Resolve;
  const end = (): void => {
    waiter.onCancel();
    waiter.fail(signal.reason);
  };
  // However the wait ends, it ends through `resolve`.
  waiter.resolve = (value): void => {
    offAbort(signal, end);
    resolve(value);
  };
  onAbort(signal, end);
}

/** Reusable, and embeddable by inheritance: a lock's waiter adds its place in the queue. */
export class Waiter<T = void> {
  /** What is waited for, as shown by inspect: 'read', 'sleep' … */
  readonly label: string;
  /** @internal Where it is linked, while active. */
  node: Region | null;
  /** @internal Among the waits of `node`, where there are several. */
  place: number;
  // Plain fields: private ones cost more to set up, and this is the hottest object of all.
  /** @internal */
  resolve: Resolve | null;
  /** @internal What `start()` gave, while active: whoever is given it can find the wait. */
  promise: Promise<T> | null;

  constructor(label: string) {
    this.label = label;
    this.node = null;
    this.place = 0;
    this.resolve = null;
    this.promise = null;
  }

  /** @internal It never ends with a promise, nor with anything else that has a `then`. */
  get plain(): boolean {
    return false;
  }

  /** A promise of `start()` is open. */
  get active(): boolean {
    return this.resolve !== null;
  }

  /**
   * Begins the wait. In a cancelled task or scope, or with an aborted signal, the promise is
   * rejected instead and `active` stays false. The caller checks that it is not active already.
   */
  start(options?: WaitOptions): Promise<T> {
    return this.startIn(frameStorage.getStore(), options);
  }

  /** @internal */
  startIn(frame: Frame | undefined, options?: WaitOptions): Promise<T> {
    let node: Region | null = null;
    if (frame !== undefined) {
      const task = frame.task;
      node = frame.scope;
      if (node.effective !== null || (task !== null && task.pendingCancel !== null)) {
        const error = refusal(frame);
        if (error !== null) return this.refuse(error);
        node = openNode(node);
      }
    }
    const signal = options?.signal;
    if (signal?.aborted) return Promise.reject(signal.reason);
    const promise = this.begin(node);
    if (signal !== undefined) listen(this as Waiter<unknown>, signal);
    return promise;
  }

  /** @internal Waits in a region without asking whether it is cancelled. */
  begin(node: Region | null): Promise<T> {
    const promise =
      plainPromise !== null && this.plain ? plainPromise<T>(hold) : new Promise<T>(hold);
    this.resolve = heldResolve;
    this.promise = promise;
    if (node !== null) {
      addWaiter(node, this as Waiter<unknown>);
      if (node.loop.watched) noteWait(node);
    }
    return promise;
  }

  /** @internal The wait begins in a cancelled task or scope. */
  refuse(error: CancelledError): Promise<T> {
    return cancelledPromise(error);
  }

  /** Resolves; nothing when not active. */
  wake(value: T): void {
    const resolve = this.resolve;
    if (resolve === null) return;
    const { node } = this;
    end(this as Waiter<unknown>);
    if (node?.loop.watched) noteScheduled(node);
    resolve(value);
  }

  /** Rejects; nothing when not active. */
  fail(error: unknown): void {
    const resolve = this.resolve;
    if (resolve === null) return;
    const { node } = this;
    end(this as Waiter<unknown>);
    if (node?.loop.watched) {
      noteScheduled(node);
      noteRejected(node, error);
    }
    const extra = node?.task?.extra ?? null;
    const edge = extra !== null && extra.lastCancel === error;
    resolve(edge ? new EdgeRejection(error, extra) : new Rejection(error));
  }

  /** @internal Ends the wait; the caller resolves its promise later, and must. Null: not active. */
  detach(): Resolve | null {
    const { node, resolve } = this;
    if (resolve === null) return null;
    end(this as Waiter<unknown>);
    if (!node?.loop.watched) return resolve;
    return (value): void => {
      noteScheduled(node);
      resolve(value);
    };
  }

  /** @internal A cancellation comes. Waits that pass it on, and go on, override this. */
  deliver(error: CancelledError): void {
    this.onCancel();
    this.fail(error);
  }

  /** Called just before a cancellation or a signal rejects this wait: leave queues here. */
  onCancel(): void {}
}

function end(waiter: Waiter<unknown>): void {
  waiter.resolve = null;
  waiter.promise = null;
  if (waiter.node !== null) removeWaiter(waiter.node, waiter);
}

/**
 * For operations that can complete at once: the error they must end with instead when the current
 * task or a scope around is cancelled (this takes a pending edge), else null. Functions that loop
 * over such operations return `cancelledPromise(error)` rather than a rejection of their own, which
 * could starve the process.
 */
export function takeCancellation(): CancelledError | null {
  return takeCancellationIn(frameStorage.getStore());
}

/** @internal The same for those who have read the frame. */
export function takeCancellationIn(frame: Frame | undefined): CancelledError | null {
  if (frame === undefined) return null;
  const task = frame.task;
  if (frame.scope.effective === null && (task === null || task.pendingCancel === null)) return null;
  return refusal(frame);
}

/** Throws the signal's reason when it has aborted. */
export function checkSignal(options: WaitOptions | undefined): void {
  if (options?.signal?.aborted) throw options.signal.reason;
}

export { cancelledPromise };
