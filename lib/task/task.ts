/**
 * A function that uvio runs and owns.
 *
 * In: functions, through createTask and task groups. Out: their results; cancellation into them.
 * Never: promises as input (they run already and cannot be owned).
 */
import type { AsyncResource } from 'node:async_hooks';
import {
  type Awaitable,
  type CancelledError,
  InvalidStateError,
  type WaitOptions,
} from '../base/errors.ts';
import { taskCancelled, taskExited } from '../loop/channels.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { tell } from '../loop/reports.ts';
import { asCancellation, deliver, onlyAwaitsEdge } from './cancellation.ts';
import { waitsForItself } from './circle.ts';
import { Context } from './context.ts';
import { checkEnd } from './debug.ts';
import { isThenable } from './enter.ts';
import { currentFrame, type Frame, frameStorage, type Vars, type VarsBox } from './frame.ts';
import {
  CANCELLED,
  FAILED,
  Future,
  type FutureObserver,
  type FutureStatus,
  FutureWaiter,
  PENDING,
  RESOLVED,
} from './future.ts';
import type { TaskGroup } from './group.ts';
import { runStep } from './instruments.ts';
import { loopState } from './loop-state.ts';
import {
  adopt,
  leaveRegion,
  type NodeOwner,
  type Region,
  taskNodes,
  WaitList,
  waitersOf,
} from './scope-node.ts';
import { taskSignal } from './signal.ts';
import type { Waiter } from './waiter.ts';

/** A function that uvio starts itself, so that it owns and can cancel the work. */
export type Coro<T = unknown, A extends unknown[] = []> = (...args: A) => Awaitable<T>;

export interface TaskOptions {
  name?: string;
  context?: Context;
  /** Run up to the first wait before the call returns (asyncio: eager_start). Default false. */
  eagerStart?: boolean;
  /**
   * Does not count as an error when still running at the end of the run: it is cancelled and
   * awaited as all are, but debug mode does not report it (curio: daemon).
   */
  daemon?: boolean;
}

/** Who is told last about a task's end, and takes its error: a group, a server. */
export interface TaskOwner extends FutureObserver {
  readonly group?: TaskGroup;
}

interface TaskExtra {
  name: string | null;
  /** Variables of a context that was given, instead of the task's own. */
  box: VarsBox | null;
  controller: AbortController | null;
  /** Where it was created, in debug mode. */
  stack: string | null;
  /** The latest edge cancellation. */
  lastCancel: CancelledError | null;
  /** A wait was rejected with it, and the task has not gone on since. */
  onItsWay: boolean;
  cancelCount: number;
  /** Waits refused so far: from the second one on through the ready queue. */
  refused: number;
  /** For `run`'s end, in debug mode. */
  daemon: boolean;
  /** When it was made, and when its latest wait began; -1 when nobody watched then. */
  bornMs: number;
  waitsSinceMs: number;
  /** The latest cancellation that a wait was rejected with, in debug mode. */
  delivered: unknown;
}

/** @internal */
export const noArgs: unknown[] = [];

/** @internal */
export type AnyCoro = (...args: unknown[]) => Awaitable<unknown>;

/**
 * A running function. `await task` gives its result, so a Task cannot pass through an async
 * return or a promise without being unwrapped. Cancelling a task that awaits it cancels it too;
 * `join()` and `shield()` do not.
 */
export class Task<T = unknown> extends Future<T> implements VarsBox, Region {
  readonly id: number;
  /** @internal */
  outer: Region | null;
  /** @internal */
  children: Region | null;
  /** @internal */
  waiters: Waiter<unknown> | WaitList | null;
  /** @internal */
  prev: Region;
  /** @internal */
  next: Region;
  /** @internal */
  effective: CancelledError | null;
  /** @internal Who is told of the end; else the task that started it, which is not told. */
  starter: TaskOwner | Task | null;
  /** @internal An edge cancellation that no wait has taken yet. */
  pendingCancel: CancelledError | null;
  /** @internal What most tasks do not need: memory. */
  extra: TaskExtra | null;
  // What to run, in fields of its own: an object for it would be most of what starting costs.
  /** @internal Null once started. */
  fn: AnyCoro | null;
  // Its arguments are in `outcome` until then.
  /** @internal The creator's async context. */
  resource: AsyncResource | null;
  /** @internal */
  vars: Vars | null;

  private constructor(loop: EventLoop, outer: Region | null, fn: AnyCoro, args: unknown[]) {
    super({ loop });
    const state = loopState(loop);
    this.id = ++state.lastTaskId;
    this.outer = outer ?? state.root;
    this.children = null;
    this.waiters = null;
    this.prev = this as Task;
    this.next = this as Task;
    this.effective = this.outer.effective;
    this.starter = null;
    this.pendingCancel = null;
    this.extra = null;
    this.fn = fn;
    this.outcome = args;
    this.resource = null;
    this.vars = null;
    adopt(this.outer, this as Task);
    loop.liveTasks++;
  }

  /** @internal */
  static make<T>(loop: EventLoop, outer: Region | null, fn: AnyCoro, args: unknown[]): Task<T> {
    return new Task<T>(loop, outer, fn, args);
  }

  get name(): string {
    return this.extra?.name ?? `Task-${this.id}`;
  }

  set name(value: string) {
    this.needExtra().name = value;
  }

  /** @internal For reports of slow steps. */
  get label(): string {
    return this.describe();
  }

  get state(): 'pending' | 'running' | 'waiting' | 'done' {
    if (this.status !== PENDING) return 'done';
    if (this.fn !== null) return 'pending';
    if (currentFrame()?.task === (this as Task)) return 'running';
    return waitersOf(taskNodes(this as Task, true).nodes).length > 0 ? 'waiting' : 'running';
  }

  /** The group or task that started it. Null once the task is done. */
  get parent(): TaskGroup | Task | null {
    const { starter } = this;
    return starter instanceof Task ? starter : (starter?.group ?? null);
  }

  /** @internal A group or a server ends it, and takes its result. */
  get owned(): boolean {
    return this.starter !== null && !(this.starter instanceof Task);
  }

  /** Aborts when the task is cancelled. Made when first asked for. */
  get signal(): AbortSignal {
    return taskSignal(this as Task);
  }

  get context(): Context {
    return Context.of(this.box);
  }

  /** Cancel requests not yet taken back. */
  get cancelling(): number {
    return this.extra?.cancelCount ?? 0;
  }

  // A task is the outermost region of its function, and the frame that this runs in: one object.

  /** @internal */
  get task(): Task {
    return this as Task;
  }

  /** @internal */
  get scope(): Region {
    return this as Task;
  }

  /** @internal */
  get box(): VarsBox {
    return this.extra?.box ?? this;
  }

  /** @internal */
  get owner(): NodeOwner | null {
    return null;
  }

  /** @internal */
  get shield(): boolean {
    return false;
  }

  /** @internal */
  get controller(): AbortController | null {
    return this.extra?.controller ?? null;
  }

  /** @internal */
  set controller(controller: AbortController | null) {
    this.needExtra().controller = controller;
  }

  /** @internal */
  needExtra(): TaskExtra {
    this.extra ??= {
      name: null,
      box: null,
      controller: null,
      stack: null,
      lastCancel: null,
      onItsWay: false,
      cancelCount: 0,
      refused: 0,
      daemon: false,
      bornMs: -1,
      waitsSinceMs: -1,
      delivered: null,
    };
    return this.extra;
  }

  /** InvalidStateError: a task's result is what its function returns. */
  override setResult(_value: T): void {
    throw new InvalidStateError('The result of a task cannot be set');
  }

  /** InvalidStateError: a task's error is what its function throws. */
  override setException(_error: unknown): void {
    throw new InvalidStateError('The error of a task cannot be set');
  }

  /** @internal */
  override cancelWith(error: CancelledError): boolean {
    if (this.status !== PENDING) return false;
    const extra = this.needExtra();
    extra.cancelCount++;
    if (taskCancelled.hasSubscribers) taskCancelled.publish({ task: this, error });
    // As in asyncio: one error for all that comes before the task can act upon it.
    if (extra.onItsWay && onlyAwaitsEdge(this as Task)) return true;
    extra.lastCancel = error;
    if (this.fn !== null) {
      this.pendingCancel ??= error;
      // A task that waits for its group's limit ends without its turn.
      this.loop.enqueue(this);
      return true;
    }
    this.pendingCancel ??= error;
    this.deliverPending();
    return true;
  }

  /** @internal Gives an edge cancellation to the waits that no shield protects. */
  deliverPending(): void {
    const error = this.pendingCancel;
    if (error === null) return;
    const { children, waiters: only } = this;
    const plain = children === null && only !== null && !(only instanceof WaitList);
    if (plain && this.controller === null) {
      // One wait and no scopes, as most tasks: no lists.
      this.pendingCancel = null;
      deliver([only], error);
      return;
    }
    const { nodes, shields } = taskNodes(this as Task, false);
    const waiters = waitersOf(nodes);
    if (waiters.length > 0) {
      this.pendingCancel = null;
      deliver(waiters, error);
    }
    for (const owner of shields) owner.onShielded?.();
    for (const node of nodes) node.controller?.abort(error);
  }

  /** Takes one cancel request back; returns what is left. */
  uncancel(): number {
    const { extra } = this;
    if (extra === null) return 0;
    if (extra.cancelCount > 0) extra.cancelCount--;
    // As asyncio since 3.13: with the last request a cancellation not yet delivered goes, too.
    if (extra.cancelCount === 0) this.pendingCancel = null;
    return extra.cancelCount;
  }

  /**
   * Waits for the result; the task goes on when the waiter is cancelled (curio: join).
   * InvalidStateError in the task itself.
   */
  join(options?: WaitOptions): Promise<T> {
    return waitsForItself(this as Task) ?? this.joined(options);
  }

  /** Waits for the end; never throws the task's own error. */
  wait(options?: WaitOptions): Promise<void> {
    if (this.status !== PENDING) {
      this.failure();
      return Promise.resolve();
    }
    return waitsForItself(this as Task) ?? new EndWaiter(this as Future).start(options);
  }

  /** Cancels and waits for the end. Rethrows nothing but errors other than the cancellation. */
  async cancelAndWait(reason?: unknown): Promise<void> {
    this.cancel(reason);
    await this.wait();
    if (this.status === FAILED) throw this.outcome;
  }

  /** Where the task was created, and in debug mode what it waits for. */
  getStack(): string {
    const lines = [`${this.describe()} (${this.state})`];
    if (this.status === PENDING && this.loop.debug) {
      for (const waiter of waitersOf(taskNodes(this as Task, true).nodes)) {
        lines.push(`    waits for ${waiter.label}`);
      }
      const sinceMs = this.extra?.waitsSinceMs ?? -1;
      if (lines.length > 1 && sinceMs >= 0) {
        lines.push(`    for ${(this.loop.time() - sinceMs).toFixed(1)} ms`);
      }
    }
    const stack = this.extra?.stack;
    if (stack) lines.push('  created', stack);
    return lines.join('\n');
  }

  /** @internal From the ready queue. */
  runJob(): void {
    if (this.fn === null || this.status !== PENDING) return;
    if (this.pendingCancel !== null) {
      forgetWork(this as Task);
      this.end(CANCELLED, this.pendingCancel);
    } else {
      this.begin(false);
    }
  }

  /** @internal @param timed false when the loop measures the step anyway */
  begin(timed: boolean = true): void {
    if (this.loop.followed) runStep(this as Task, timed, () => runTask(this as Task));
    else runTask(this as Task);
  }

  /** @internal */
  endWithError(error: unknown): void {
    const cancelled = asCancellation(error);
    if (cancelled !== null) this.end(CANCELLED, cancelled);
    else this.end(FAILED, error);
  }

  /** @internal */
  end(status: FutureStatus, outcome: unknown): void {
    const { starter } = this;
    const owner = starter instanceof Task ? null : starter;
    this.loop.liveTasks--;
    if (this.loop.watched) checkEnd(this as Task, status, outcome);
    leaveRegion(this as Task);
    this.pendingCancel = null;
    // A chain of tasks that each start the next one must not keep all of them.
    this.starter = null;
    this.settle(status, outcome, owner !== null);
    if (this.loop.watched) tell(this.loop, 'taskExited', this);
    if (taskExited.hasSubscribers) taskExited.publish({ task: this });
    owner?.onFutureDone(this as Future<unknown>);
  }

  /** @internal */
  override describe(): string {
    return `Task '${this.name}'`;
  }

  /** @internal */
  override failureMessage(): string {
    const stack = this.extra?.stack;
    const where = stack ? `\nCreated\n${stack}` : '';
    return `${this.describe()} failed and nobody took its error${where}`;
  }
}

// No private methods: one of those adds a field to each object.

function forgetWork(task: Task): void {
  task.fn = null;
  task.outcome = undefined;
  task.resource = null;
}

function runTask(task: Task): void {
  const { resource } = task;
  const fn = task.fn as AnyCoro;
  const args = task.outcome as unknown[];
  forgetWork(task);
  try {
    if (resource === null) frameStorage.runBoth(task, runFunction, fn, args);
    else resource.runInAsyncScope(runInFrame, null, task, fn, args);
  } catch (error) {
    task.endWithError(error);
  }
}

/** Leaving the resource's scope leaves the frame, too: `run` would pay for its end once more. */
function runInFrame(task: Task, fn: AnyCoro, args: unknown[]): void {
  frameStorage.enterWith(task);
  runFunction(fn, args);
}

/**
 * Inside the task's frame. The handlers are shared by all tasks and find theirs by the frame that
 * `then` carries along: two closures less per task.
 */
function runFunction(fn: AnyCoro, args: unknown[]): void {
  // Spreading calls a function of V8's.
  endTask(args.length === 1 ? fn(args[0]) : fn(...args));
}

/** @internal The end of the current task, now or when a promise settles. */
export function endTask(result: unknown): void {
  if (result instanceof Promise) result.then(onReturn, onThrow);
  else if (isThenable(result)) awaitThenable(result).then(onReturn, onThrow);
  else if (result !== endsItself) onReturn(result);
}

/**
 * @internal What a handler's function returns that will call `endTask` from a later step of its
 * own: a promise for that would be made for nothing.
 */
export const endsItself: unique symbol = Symbol('uvio.endsItself');

/** @internal Who was given to `startHandlerTask` for the current task. */
export function ownerOfTask(): TaskOwner {
  return frameTask().starter as TaskOwner;
}

function onReturn(value: unknown): void {
  frameTask().end(RESOLVED, value);
}

function onThrow(error: unknown): void {
  frameTask().endWithError(error);
}

function frameTask(): Task {
  // Not the frame itself: a function that opened a block of timeout() is in that one's region.
  return (frameStorage.getStore() as Frame).task as Task;
}

async function awaitThenable(thenable: PromiseLike<unknown>): Promise<unknown> {
  return await thenable;
}

/** Waits for the end of a task, whatever it is. */
class EndWaiter extends FutureWaiter<void> {
  constructor(task: Future) {
    super('wait', task as Future<never>);
  }

  override onFutureDone(): void {
    this.wake();
  }
}

/** @internal */
export type HandlerOwner = TaskOwner;

export { allTasks, createTask, currentTask, spawn } from './spawn.ts';
