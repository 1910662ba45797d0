/**
 * Task groups: tasks that end before the block that started them does.
 *
 * In: functions to run as tasks. Out: their errors as one ExceptionGroup. Never: a task that
 * outlives its group; an error or a cancellation that is lost.
 */
import {
  type Awaitable,
  type CancelledError,
  ExceptionGroup,
  InvalidStateError,
  type WaitOptions,
} from '../base/errors.ts';
import { asCancellation, openNode, originOf, takeEdge } from './cancellation.ts';
import { checkBody, runInNode } from './enter.ts';
import { currentFrame } from './frame.ts';
import { CANCELLED, FAILED, type Future } from './future.ts';
import { GroupResults } from './group-results.ts';
import { GroupWaiter, Starting, type TaskStatus } from './group-waits.ts';
import { loopState } from './loop-state.ts';
import { CancelScope } from './scope.ts';
import { childrenOf, type Region, type ScopeNode } from './scope-node.ts';
import { makeTask, readSpawnArgs } from './spawn.ts';
import type { Coro, Task, TaskOptions } from './task.ts';
import { Waiter } from './waiter.ts';

export type { TaskStatus } from './group-waits.ts';

export interface TaskGroupOptions {
  name?: string;
  /** Most tasks that run at once; others wait in order. Default Infinity. */
  limit?: number;
  /** Errors of tasks do not stop the others; they are thrown together at the end. Default false. */
  supervise?: boolean;
}

/**
 * Tasks with one parent. The group ends when all have ended. If a task or the body throws, the
 * rest is cancelled and awaited, and one ExceptionGroup is thrown. (asyncio.TaskGroup,
 * trio.Nursery, curio.TaskGroup)
 */
export class TaskGroup implements AsyncDisposable {
  readonly name: string;
  readonly cancelScope: CancelScope;
  /** The same as createTask: trio's word. */
  declare startSoon: TaskGroup['createTask'];

  readonly #node: ScopeNode;
  readonly #limit: number;
  readonly #supervise: boolean;
  /** Tasks not done, those that wait for the limit included. */
  #live = 0;
  #running = 0;
  /** Made, but over the limit. */
  readonly #queued: Set<Task> = new Set();
  #errors: unknown[] = [];
  /** A cancellation from outside that a task or the body ended with. */
  #outside: CancelledError | null = null;
  #inBody = false;
  #ended = false;
  readonly #idle: Set<Waiter<void>> = new Set();
  readonly #results: GroupResults = new GroupResults();

  /** For `await using`: leaving the block cancels what is left and awaits it. See `join()`. */
  constructor(options: TaskGroupOptions = {}) {
    const { limit = Infinity } = options;
    if (!(limit >= 1)) throw new RangeError(`limit must be at least 1. Received ${limit}`);
    this.#limit = limit;
    this.#supervise = options.supervise ?? false;
    this.cancelScope = new CancelScope();
    this.#node = this.cancelScope.enter();
    this.name = options.name ?? `group-${++loopState(this.#node.loop).lastGroupId}`;
    this.cancelScope.onNodeCancelled = (error): void => this.#dropQueued(error);
  }

  /** @internal What `task.parent` gives. */
  get group(): TaskGroup {
    return this;
  }

  /** Not done yet. */
  get tasks(): ReadonlySet<Task> {
    const found = new Set<Task>();
    for (const { task } of childrenOf(this.#node)) {
      if (task !== null && task.parent === this) found.add(task);
    }
    return found;
  }

  /** InvalidStateError after the group has ended. */
  createTask<T, A extends unknown[]>(fn: Coro<T, A>, ...args: A): Task<T>;
  createTask<T, A extends unknown[]>(options: TaskOptions, fn: Coro<T, A>, ...args: A): Task<T>;
  createTask(first: unknown, ...rest: unknown[]): Task {
    const { options, fn, args } = readSpawnArgs('createTask', first, rest);
    this.#checkOpen();
    const task = makeTask(currentFrame(), this.#node.loop, this.#node, this, options, fn, args);
    this.#add(task, options?.eagerStart === true);
    return task;
  }

  /**
   * Starts `fn` and waits until it calls `started(value)` on its last argument. An error before
   * that is thrown here; InvalidStateError when it ends without calling. When this wait is
   * cancelled, the task is cancelled and awaited. (trio: nursery.start)
   */
  async start<T, A extends unknown[]>(
    fn: (...args: [...A, TaskStatus<T>]) => Awaitable<unknown>,
    ...args: A
  ): Promise<T> {
    checkBody('start', fn);
    this.#checkOpen();
    const starting = new Starting<T>(this, (task, error) => this.#taskDone(task, error));
    const all = [...args, starting.status] as unknown[];
    const task = makeTask(
      currentFrame(),
      this.#node.loop,
      this.#node,
      starting,
      null,
      fn as Coro<unknown>,
      all,
    );
    starting.task = task;
    this.#add(task, false);
    return await starting.waiter.start();
  }

  /** Cancels all tasks and the body; the group then ends without an error. */
  cancel(reason?: unknown): void {
    this.cancelScope.cancelBecause(`The task group '${this.name}' was cancelled`, reason);
  }

  /**
   * Waits for all tasks; throws ExceptionGroup. A group without a body ends with it. Cancelling
   * the wait leaves the tasks alone. InvalidStateError in a task of the group.
   */
  async join(options?: WaitOptions): Promise<void> {
    if (currentFrame()?.task?.parent === this) {
      throw new InvalidStateError(`A task of the task group '${this.name}' waits for its end`);
    }
    if (this.#live > 0) {
      const waiter = new JoinWaiter(this.#idle);
      const promise = waiter.start(options);
      if (waiter.active) this.#idle.add(waiter);
      await promise;
    }
    if (!this.#inBody) this.#end();
    this.#throwErrors();
  }

  /** Results in order of completion, until no task is left (curio: next_result, async for). */
  results<T = unknown>(): AsyncIterable<T> {
    return this.#results.iterate<T>(() => this.#live > 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.cancel();
    await this.#allDone();
    this.#finish();
  }

  /** @internal */
  async runBody<T>(fn: (group: TaskGroup) => Awaitable<T>): Promise<T> {
    this.#inBody = true;
    let result: T | undefined;
    try {
      result = await runInNode(this.#node, fn, this);
    } catch (error) {
      this.#bodyFailed(error);
    }
    await this.#allDone();
    this.#finish();
    return result as T;
  }

  /** @internal */
  onFutureDone(future: Future<unknown>): void {
    this.#taskDone(future as Task, future.status === FAILED ? { error: future.outcome } : null);
  }

  /** @internal A cancellation of whoever waits for the group's end; its own is none. */
  interrupt(error: CancelledError): void {
    if (originOf(error) === this.#node) return;
    this.#outside = error;
    this.cancelScope.cancelBecause(`The task group '${this.name}' was cancelled`, error.reason);
  }

  #add(task: Task, eager: boolean): void {
    this.#live++;
    if (this.#running >= this.#limit) {
      this.#queued.add(task);
      const cancelled = this.#node.effective;
      if (cancelled !== null) task.cancelWith(cancelled);
      return;
    }
    this.#running++;
    if (eager) task.begin();
    else this.#node.loop.enqueue(task);
  }

  #taskDone(task: Task, failure: { error: unknown } | null): void {
    this.#live--;
    if (!this.#queued.delete(task)) this.#running--;
    if (failure !== null) {
      this.#fail(failure.error, `Task '${task.name}' failed`, !this.#supervise);
    } else if (task.status === CANCELLED) {
      this.#noteOutside(task.outcome as CancelledError);
    }
    // Not before: what a failure cancels is not begun in the place of who failed.
    while (this.#running < this.#limit && this.#queued.size > 0) this.#startQueued();
    this.#results.add(task, this.#live === 0);
    if (this.#live > 0) return;
    for (const waiter of this.#idle) waiter.wake();
    this.#idle.clear();
  }

  #startQueued(): void {
    for (const task of this.#queued) {
      this.#queued.delete(task);
      this.#running++;
      this.#node.loop.enqueue(task);
      return;
    }
  }

  #fail(error: unknown, message: string, stop: boolean): void {
    this.#errors.push(error);
    if (stop) this.cancelScope.cancelBecause(`${message} in task group '${this.name}'`, error);
  }

  #bodyFailed(error: unknown): void {
    const cancelled = asCancellation(error);
    if (cancelled === null) this.#fail(error, 'The body failed', true);
    else this.interrupt(cancelled);
  }

  /** Only a cancellation of a scope around is passed on; one of the task alone is its own end. */
  #noteOutside(error: CancelledError): void {
    const parent = this.#node.outer;
    if (parent !== null && effectiveOf(parent) === error) this.#outside = error;
  }

  /** Tasks over the limit never begin in a cancelled group. */
  #dropQueued(error: CancelledError): void {
    for (const task of this.#queued) task.cancelWith(error);
  }

  /**
   * Cannot be refused: whoever is cancelled here cancels the tasks and goes on waiting. In the
   * group's own region, so that a shield of its scope protects the wait for the tasks, too.
   */
  async #allDone(): Promise<void> {
    while (this.#live > 0) {
      // One that a shield in the body held back is met here, as at every wait.
      const edge = takeEdge(this.#node);
      if (edge !== null) this.interrupt(edge);
      const waiter = new GroupWaiter(this);
      this.#idle.add(waiter);
      await waiter.begin(this.#node);
    }
  }

  #end(): void {
    this.#ended = true;
    this.cancelScope.leave();
  }

  #throwErrors(): void {
    const errors = this.#errors;
    if (errors.length === 0) return;
    this.#errors = [];
    throw new ExceptionGroup(errors, `${errors.length} failed in task group '${this.name}'`);
  }

  #finish(): void {
    const own = this.cancelScope.own;
    const outside = this.#outside ?? (own === null ? null : this.cancelScope.outerError());
    this.#end();
    const { task, outer } = this.#node;
    if (this.#errors.length > 0 && outside !== null && task !== null) {
      // The errors go first. A cancelled scope around refuses the next wait by itself; a
      // cancellation of the task, also one that a scope passed on to it, would be lost.
      const stays =
        originOf(outside) !== undefined && outer !== null && effectiveOf(outer) !== null;
      if (!stays) task.pendingCancel ??= outside;
    }
    this.#throwErrors();
    if (outside !== null) throw outside;
    if (own !== null) this.cancelScope.absorb(own);
  }

  #checkOpen(): void {
    if (this.#ended) throw new InvalidStateError(`The task group '${this.name}' has ended`);
  }
}

function effectiveOf(region: Region): CancelledError | null {
  return openNode(region).effective;
}

TaskGroup.prototype.startSoon = TaskGroup.prototype.createTask;

class JoinWaiter extends Waiter<void> {
  readonly #list: Set<Waiter<void>>;

  constructor(list: Set<Waiter<void>>) {
    super('group.join');
    this.#list = list;
  }

  override onCancel(): void {
    this.#list.delete(this);
  }
}

/** Runs `fn` in a new group, waits for all its tasks, and gives fn's result. */
export async function taskGroup<T>(
  fn: (group: TaskGroup) => Awaitable<T>,
  options?: TaskGroupOptions,
): Promise<T> {
  checkBody('taskGroup', fn);
  return await new TaskGroup(options).runBody(fn);
}

/** The same as taskGroup: trio's word. */
export const openNursery: typeof taskGroup = taskGroup;
