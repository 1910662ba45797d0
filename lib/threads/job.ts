/**
 * The wait for one job of a pool.
 *
 * In: a call, a lane, its reply. Out: the result, to whoever waits. Never: an end before the
 * thread's own: what was given to it may still be in use there.
 */
import type { CancelledError, WaitOptions } from '../base/errors.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { offAbort, onAbort } from '../task/abort.ts';
import { currentLoop } from '../task/frame.ts';
import { Waiter } from '../task/waiter.ts';
import type { Lane } from './lane.ts';
import { type Call, type Reply, revive } from './wire.ts';

export interface JobOwner {
  /** Takes a job that did not start out of the queue. */
  forget(job: Job): void;
  /** Nobody wants the result of a running job any more. */
  unwanted(job: Job, lane: Lane): void;
}

export class Job extends Waiter<unknown> {
  readonly call: Call;
  readonly transfer: readonly ArrayBuffer[];
  /** Of whoever waits. */
  readonly loop: EventLoop;
  /** Where it runs; null while it is queued. */
  lane: Lane | null = null;
  readonly #owner: JobOwner;
  /** Why its result is not wanted any more. */
  #stopped: { readonly reason: unknown } | null = null;
  #signal: AbortSignal | null = null;
  #reply: Reply | null = null;
  /** 1 while it counts as work that virtual time waits for. */
  #outside = 0;

  constructor(owner: JobOwner, call: Call, transfer: readonly ArrayBuffer[]) {
    super('thread');
    this.#owner = owner;
    this.call = call;
    this.transfer = transfer;
    this.loop = currentLoop();
  }

  /** Not active afterwards: it was cancelled or aborted already. */
  wait(options: WaitOptions | undefined): Promise<unknown> {
    const promise = this.start();
    const signal = options?.signal;
    if (!this.active) return promise;
    if (signal?.aborted) {
      this.fail(signal.reason);
      return promise;
    }
    this.#outside = 1;
    this.loop.outsideWork += 1;
    if (signal !== undefined) {
      this.#signal = signal;
      onAbort(signal, this.#onAbort);
    }
    return promise;
  }

  override deliver(error: CancelledError): void {
    this.#stop(error);
  }

  /** The lane has answered. */
  keep(reply: Reply): void {
    this.lane = null;
    this.#reply = reply;
  }

  /** Ends the wait with the reply. An error of the work is not lost to a cancellation. */
  runJob(): void {
    const reply = this.#reply as Reply;
    if (!reply.ok) this.endWith(revive(reply.thrown));
    else if (this.#stopped !== null) this.endWith(this.#stopped.reason);
    else this.#leave().wake(reply.value);
  }

  /** The lane is gone without an answer. */
  lost(error: unknown): void {
    this.lane = null;
    this.endWith(this.#stopped === null ? error : this.#stopped.reason);
  }

  endWith(error: unknown): void {
    this.#leave().fail(error);
  }

  #stop(reason: unknown): void {
    const { lane } = this;
    if (this.#reply === null && lane === null) {
      this.#owner.forget(this);
      this.endWith(reason);
      return;
    }
    this.#stopped ??= { reason };
    if (lane !== null) this.#owner.unwanted(this, lane);
  }

  readonly #onAbort = (): void => this.#stop(this.#signal?.reason);

  #leave(): this {
    if (this.#signal !== null) offAbort(this.#signal, this.#onAbort);
    this.#signal = null;
    this.loop.outsideWork -= this.#outside;
    this.#outside = 0;
    return this;
  }
}
