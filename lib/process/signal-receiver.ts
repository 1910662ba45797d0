/**
 * Signals as something to iterate.
 *
 * In: names of signals. Out: each one that comes, in order. Never: a signal lost between the call
 * and its end, nor one lost to a cancelled wait; a listener that outlives the receiver or its loop.
 */
import { argTypeError, InvalidStateError } from '../base/errors.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { currentLoop } from '../task/frame.ts';
import { cancelledPromise, takeCancellation, Waiter } from '../task/waiter.ts';
import { addTarget, checkSignal, removeTarget, type SignalTarget } from './signals.ts';

type Step = IteratorResult<NodeJS.Signals, undefined>;

/** Above this many that wait, one that waits already is not added again. */
const maxQueued = 1024;
/** A signal is nothing that keeps Node alive; who waits for one does. */
const keepAliveMs = 2 ** 40;
const over: Step = { value: undefined, done: true };

class SignalWaiter extends Waiter<Step> {
  readonly #receiver: SignalReceiver;

  constructor(receiver: SignalReceiver) {
    super('signal');
    this.#receiver = receiver;
  }

  override onCancel(): void {
    this.#receiver.leave(this);
  }
}

export class SignalReceiver
  implements AsyncIterable<NodeJS.Signals>, AsyncIterator<NodeJS.Signals, undefined>, SignalTarget
{
  readonly #loop: EventLoop;
  readonly #signals: ReadonlySet<NodeJS.Signals>;
  #queue: NodeJS.Signals[] = [];
  #waiters: SignalWaiter[] = [];
  #alive = -1;
  #disposed = false;
  readonly #onLoopClose = (): void => this[Symbol.dispose]();

  constructor(loop: EventLoop, signals: ReadonlySet<NodeJS.Signals>) {
    this.#loop = loop;
    this.#signals = signals;
    loop.closeHooks.add(this.#onLoopClose);
    for (const signal of signals) addTarget(signal, this);
  }

  /** @internal */
  onSignal(signal: NodeJS.Signals): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      this.#letGo();
      waiter.wake({ value: signal, done: false });
    } else if (this.#queue.length < maxQueued || !this.#queue.includes(signal)) {
      this.#queue.push(signal);
    }
  }

  next(): Promise<Step> {
    if (this.#queue.length > 0 || this.#disposed) {
      const cancelled = takeCancellation();
      if (cancelled !== null) return cancelledPromise(cancelled);
      const value = this.#queue.shift();
      return Promise.resolve(value === undefined ? over : { value, done: false });
    }
    const waiter = new SignalWaiter(this);
    const promise = waiter.start();
    if (!waiter.active) return promise;
    this.#waiters.push(waiter);
    if (this.#alive === -1) {
      this.#alive = this.#loop.armTimer(this.#loop.time() + keepAliveMs, { onTimer() {} });
    }
    return promise;
  }

  /** Leaving a loop early ends nothing: another loop goes on where this one stopped. */
  return(): Promise<Step> {
    return Promise.resolve(over);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#loop.closeHooks.delete(this.#onLoopClose);
    for (const signal of this.#signals) removeTarget(signal, this);
    this.#queue = [];
    const waiters = this.#waiters;
    this.#waiters = [];
    this.#letGo();
    for (const waiter of waiters) waiter.wake(over);
  }

  /** @internal The wait was cancelled. */
  leave(waiter: SignalWaiter): void {
    this.#waiters = this.#waiters.filter((other) => other !== waiter);
    this.#letGo();
  }

  /** Nobody waits any more: Node may end. */
  #letGo(): void {
    if (this.#waiters.length > 0 || this.#alive === -1) return;
    this.#loop.cancelTimer(this.#alive);
    this.#alive = -1;
  }
}

/**
 * Signals as they come, from the call on, until disposed: write `using`. Each receiver gets each
 * signal; while there is one, the default action of its signals is off, and `run` does not cancel
 * its main task for them. Leaving the loop over it keeps what comes afterwards; disposing drops
 * it, ends loops that wait, and gives the default action back. So does the end of `run`.
 * Waiting for the next one is cancellable, and keeps the process alive.
 * TypeError without a signal and for an unknown one; EINVAL for SIGKILL and SIGSTOP; ENOTSUP in
 * worker threads. (trio.open_signal_receiver)
 */
export function openSignalReceiver(
  ...signals: NodeJS.Signals[]
): AsyncIterable<NodeJS.Signals> & Disposable {
  if (signals.length === 0) throw argTypeError('signals', 'at least one signal', signals);
  for (const signal of signals) checkSignal(signal);
  const loop = currentLoop();
  if (loop.closed) throw new InvalidStateError('The loop is closed');
  return new SignalReceiver(loop, new Set(signals));
}
