/**
 * The two waits of task groups that a cancellation does not end but passes on.
 */
import { type CancelledError, InvalidStateError } from '../base/errors.ts';
import { CANCELLED, FAILED, type Future, PENDING } from './future.ts';
import type { TaskGroup } from './group.ts';
import type { Task, TaskOwner } from './task.ts';
import { Waiter } from './waiter.ts';

/** The end of a group: its tasks are cancelled instead, and then it comes. */
export class GroupWaiter extends Waiter<void> {
  readonly #group: TaskGroup;

  constructor(group: TaskGroup) {
    super('taskGroup');
    this.#group = group;
  }

  override deliver(error: CancelledError): void {
    this.#group.interrupt(error);
  }
}

export interface TaskStatus<T = void> {
  /** Ends the wait of `group.start()`. At most once. */
  started(value: T): void;
}

type TaskDone = (task: Task, failure: { error: unknown } | null) => void;

/** A task between `group.start()` and `started()`: its errors go to the caller of `start`. */
export class Starting<T> implements TaskOwner {
  readonly group: TaskGroup;
  readonly waiter: StartWaiter<T>;
  readonly status: TaskStatus<T>;
  readonly #taskDone: TaskDone;
  task: Task | null = null;
  #started = false;

  constructor(group: TaskGroup, taskDone: TaskDone) {
    this.group = group;
    this.#taskDone = taskDone;
    this.waiter = new StartWaiter<T>(this as Starting<unknown>);
    this.status = { started: (value: T): void => this.#onStarted(value) };
  }

  onFutureDone(future: Future<unknown>): void {
    const task = future as Task;
    if (this.#started) {
      this.#taskDone(task, task.status === FAILED ? { error: task.outcome } : null);
      return;
    }
    this.waiter.fail(this.#reasonOf(task));
    this.#taskDone(task, null);
  }

  /** Why there is nothing that it started with. An error of clean-up goes before a cancellation. */
  #reasonOf(task: Task): unknown {
    if (task.status === FAILED) return task.outcome;
    if (this.waiter.passedOn !== null) return this.waiter.passedOn;
    if (task.status === CANCELLED) return task.outcome;
    return new InvalidStateError(`${task.describe()} ended without calling started()`);
  }

  #onStarted(value: T): void {
    if (this.#started || this.task === null || this.task.status !== PENDING) {
      throw new InvalidStateError('started() was called before, or too late');
    }
    this.#started = true;
    this.waiter.wake(value);
  }
}

class StartWaiter<T> extends Waiter<T> {
  readonly #starting: Starting<unknown>;
  passedOn: CancelledError | null = null;

  constructor(starting: Starting<unknown>) {
    super('group.start');
    this.#starting = starting;
  }

  override refuse(error: CancelledError): Promise<T> {
    this.#starting.task?.cancelWith(error);
    return super.refuse(error);
  }

  override deliver(error: CancelledError): void {
    this.passedOn = error;
    this.#starting.task?.cancelWith(error);
  }
}
