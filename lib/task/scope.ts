/**
 * Cancel scopes and shields.
 *
 * In: functions to run and limits for them. Out: their results; undefined when the scope's own
 * cancellation ended them. Never: swallowing a cancellation that is not the scope's own.
 */
import { type Awaitable, type CancelledError, InvalidStateError } from '../base/errors.ts';
import { checkMs, noteSeconds } from '../base/units.ts';
import { offAbort, onAbort } from './abort.ts';
import { cancelError, edgeShielded, openNode, originOf } from './cancellation.ts';
import { checkBody, runInNode } from './enter.ts';
import { currentFrame, currentLoop } from './frame.ts';
import { loopState } from './loop-state.ts';
import { hasLeft, type NodeOwner, type Region, ScopeNode } from './scope-node.ts';
import { nodeSignal } from './signal.ts';

export { type Timeout, timeout, timeoutAt } from './timeout.ts';

export interface CancelScopeOptions {
  /** On the clock of `currentTime()`. */
  deadlineMs?: number;
  /** From the start of `run()`. */
  timeoutMs?: number;
  /** Keeps cancellation of outer scopes and of the task away. Default false. */
  shield?: boolean;
  /** Cancels the scope when it aborts. */
  signal?: AbortSignal;
}

/** @internal A region inside that of the current frame. */
export function newNode(shield: boolean): ScopeNode {
  const frame = currentFrame();
  if (frame !== undefined) {
    return new ScopeNode(frame.loop, frame.task, openNode(frame.scope), frame.box, shield);
  }
  const { root } = loopState(currentLoop());
  return new ScopeNode(root.loop, null, root, root.box, shield);
}

/**
 * A region that can be cancelled as a whole. Cancellation is a state: every wait inside throws
 * CancelledError until the region is left. `task.cancel()` by contrast throws once.
 * (trio.CancelScope)
 */
export class CancelScope implements NodeOwner {
  #deadlineMs: number;
  readonly #timeoutMs: number;
  #shield: boolean;
  readonly #abortSignal: AbortSignal | undefined;
  #node: ScopeNode | null = null;
  #timer = -1;
  /** Cancelled before it was entered, and why. */
  #early: { message: string; reason: unknown } | null = null;
  #controller: AbortController | null = null;
  /** `cancelling` of the task when the scope was entered. */
  #cancelsBefore = 0;
  #caught = false;
  /** @internal */
  own: CancelledError | null = null;
  /** @internal Told when the scope is cancelled, from inside or outside. */
  onNodeCancelled: ((error: CancelledError) => void) | undefined = undefined;

  constructor(options: CancelScopeOptions = {}) {
    const { deadlineMs = Infinity, timeoutMs = Infinity, shield = false, signal } = options;
    this.#deadlineMs = checkMs('deadlineMs', deadlineMs);
    this.#timeoutMs = checkMs('timeoutMs', timeoutMs);
    this.#shield = shield;
    this.#abortSignal = signal;
  }

  /** Runs the region once. Undefined when this scope's own cancellation ended it. */
  async run<T>(fn: (scope: this) => Awaitable<T>): Promise<T | undefined> {
    checkBody('CancelScope.run', fn);
    const node = this.enter();
    try {
      return await runInNode(node, fn, this);
    } catch (error) {
      this.absorb(error);
      return undefined;
    } finally {
      this.leave();
    }
  }

  /** Cancels for good. May be called before `run()`, and again, without effect. */
  cancel(reason?: unknown): void {
    this.cancelBecause('The scope was cancelled', reason);
  }

  /** Infinity for none; may be moved at any time. NaN: TypeError. */
  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  set deadlineMs(value: number) {
    this.#deadlineMs = checkMs('deadlineMs', value);
    if (this.#node !== null && !hasLeft(this.#node)) this.#arm();
  }

  get shield(): boolean {
    return this.#shield;
  }

  set shield(value: boolean) {
    this.#shield = value;
    const node = this.#node;
    if (node === null || hasLeft(node)) return;
    node.setShield(value);
    if (!value && !edgeShielded(node)) node.task?.deliverPending();
  }

  get cancelCalled(): boolean {
    return this.#early !== null || this.own !== null;
  }

  /** True after `run()` when this scope's own cancellation ended it. */
  get cancelledCaught(): boolean {
    return this.#caught;
  }

  /** Aborts with the scope. Made when first asked for. */
  get signal(): AbortSignal {
    const node = this.#node;
    if (node === null) {
      this.#controller ??= new AbortController();
      const early = this.#early;
      if (early !== null)
        this.#controller.abort(cancelError(early.message, early.reason, null, false));
      return this.#controller.signal;
    }
    if (!hasLeft(node)) return nodeSignal(node);
    node.controller ??= new AbortController();
    if (this.own !== null) node.controller.abort(this.own);
    return node.controller.signal;
  }

  /** @internal */
  cancelBecause(message: string, reason: unknown): void {
    const node = this.#node;
    if (node === null) {
      this.#early ??= { message, reason };
      return;
    }
    if (hasLeft(node) || this.own !== null) return;
    this.#disarm();
    node.cancel(cancelError(message, reason, node, node.loop.debug));
  }

  /** @internal Opens the region in the current frame, without running anything. */
  enter(): ScopeNode {
    if (this.#node !== null) throw new InvalidStateError('A cancel scope runs only once');
    const node = newNode(this.#shield);
    this.#node = node;
    node.owner = this;
    node.controller = this.#controller;
    this.#cancelsBefore = node.task?.cancelling ?? 0;
    if (this.#timeoutMs !== Infinity) {
      if (node.loop.debug) noteSeconds('A time limit', this.#timeoutMs);
      this.#deadlineMs = Math.min(this.#deadlineMs, node.loop.time() + this.#timeoutMs);
    }
    const signal = this.#abortSignal;
    if (this.#early !== null) this.cancelBecause(this.#early.message, this.#early.reason);
    else if (signal?.aborted) this.#onAbort();
    else if (this.#deadlineMs !== Infinity) this.#arm();
    if (!this.cancelCalled && signal !== undefined) onAbort(signal, this.#onAbort);
    return node;
  }

  /** @internal */
  leave(): void {
    this.#disarm();
    if (this.#abortSignal !== undefined) offAbort(this.#abortSignal, this.#onAbort);
    this.#node?.leave();
  }

  /** @internal Returns when the error is this scope's own cancellation; else throws what counts. */
  absorb(error: unknown): void {
    const node = this.#node as ScopeNode;
    if (this.own === null || originOf(error) !== node) throw error;
    const outer = this.outerError();
    if (outer !== null) throw outer;
    this.#caught = true;
  }

  /** @internal A cancellation from outside, which comes before this scope's own. */
  outerError(): CancelledError | null {
    const node = this.#node as ScopeNode;
    if (node.shield || node.outer === null) return null;
    const around = openNode(node.outer);
    const task = node.task;
    if (task !== null && this.taskCancelledInside() && !edgeShielded(around)) {
      const edge = task.pendingCancel ?? task.extra?.lastCancel ?? null;
      task.pendingCancel = null;
      if (edge !== null) return edge;
    }
    return around.effective;
  }

  /** @internal Somebody cancelled the task since the scope was entered, and it was not undone. */
  taskCancelledInside(): boolean {
    return (this.#node?.task?.cancelling ?? 0) > this.#cancelsBefore;
  }

  /** @internal The deadline has come. */
  onTimer(): void {
    this.#timer = -1;
    this.cancelBecause('The deadline of the scope passed', undefined);
  }

  readonly #onAbort = (): void => {
    this.cancelBecause('The signal of the scope aborted', this.#abortSignal?.reason);
  };

  #arm(): void {
    this.#disarm();
    const node = this.#node as ScopeNode;
    if (this.own !== null || this.#deadlineMs === Infinity) return;
    if (this.#deadlineMs <= node.loop.time()) this.onTimer();
    else this.#timer = node.loop.armTimer(this.#deadlineMs, this);
  }

  #disarm(): void {
    if (this.#timer !== -1) this.#node?.loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }
}

/**
 * As `timeout()`, but gives undefined instead of throwing. (trio.move_on_after,
 * curio.ignore_after) @param ms milliseconds; NaN: TypeError.
 */
export async function moveOnAfter<T>(
  ms: number,
  fn: (scope: CancelScope) => Awaitable<T>,
  options: { shield?: boolean } = {},
): Promise<T | undefined> {
  checkBody('moveOnAfter', fn);
  checkMs('ms', ms);
  return await new CancelScope({ timeoutMs: ms, shield: options.shield ?? false }).run(fn);
}

/** (trio.move_on_at) @param deadlineMs on the clock of `currentTime()`. */
export async function moveOnAt<T>(
  deadlineMs: number,
  fn: (scope: CancelScope) => Awaitable<T>,
  options: { shield?: boolean } = {},
): Promise<T | undefined> {
  checkBody('moveOnAt', fn);
  checkMs('deadlineMs', deadlineMs);
  return await new CancelScope({ deadlineMs, shield: options.shield ?? false }).run(fn);
}

/**
 * The first deadline that can cancel the task; Infinity: none; -Infinity: already cancelled.
 * (trio.current_effective_deadline)
 */
export function currentEffectiveDeadline(): number {
  const frame = currentFrame();
  if (frame === undefined) return Infinity;
  let node: Region | null = openNode(frame.scope);
  if (node.effective !== null) return Number.NEGATIVE_INFINITY;
  if (frame.task?.pendingCancel && !edgeShielded(node)) return Number.NEGATIVE_INFINITY;
  let first = Infinity;
  while (node !== null) {
    if (node.owner instanceof CancelScope) first = Math.min(first, node.owner.deadlineMs);
    if (node.shield) break;
    node = node.outer;
  }
  return first;
}

/** Lifts a shield some time after a cancellation came. */
class Grace implements NodeOwner {
  own: CancelledError | null = null;
  readonly #node: ScopeNode;
  readonly #graceMs: number;
  #timer = -1;

  constructor(node: ScopeNode, graceMs: number) {
    this.#node = node;
    this.#graceMs = graceMs;
  }

  onShielded(): void {
    const { loop } = this.#node;
    if (this.#timer !== -1 || this.#graceMs === Infinity) return;
    this.#timer = loop.armTimer(loop.time() + this.#graceMs, this);
  }

  onTimer(): void {
    const node = this.#node;
    this.#timer = -1;
    node.setShield(false);
    if (!edgeShielded(node)) node.task?.deliverPending();
  }

  stop(): void {
    if (this.#timer !== -1) this.#node.loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }
}

/**
 * Holds cancellation back while `fn` runs; it is delivered afterwards. With `graceMs`, at most that
 * long after the cancellation came. (curio.disable_cancellation, trio CancelScope(shield=True))
 */
export async function shielded<T>(
  fn: () => Awaitable<T>,
  options: { graceMs?: number } = {},
): Promise<T> {
  checkBody('shielded', fn);
  const graceMs = checkMs('graceMs', options.graceMs ?? Infinity);
  const node = newNode(true);
  const grace = new Grace(node, graceMs);
  node.owner = grace;
  const around = node.outer as Region;
  const pending = node.task !== null && node.task.pendingCancel !== null;
  // What a shield further outside holds back has not come as far as here.
  if (around.effective !== null || (pending && !edgeShielded(around))) grace.onShielded();
  try {
    return await runInNode(node, fn, undefined);
  } finally {
    grace.stop();
    node.leave();
  }
}
