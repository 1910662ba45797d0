/**
 * Whether a function lets others run, and can be cancelled where it does.
 *
 * In: a function. Out: its result, or an AssertionError. Never: a second call of the function.
 *
 * A wait of uvio tells instruments when it ends: that is a point where others ran, and, unless a
 * shield is around it, where a cancellation could have come. What a function does before that is
 * not seen; a job in the ready queue, which runs if the loop turns meanwhile, finds waits for
 * promises that are not of uvio.
 */
import { AssertionError } from 'node:assert';
import type { Awaitable } from '../base/errors.ts';
import type { EventLoop, Instrument, Job } from '../loop/event-loop.ts';
import { checkBody, runInNode } from '../task/enter.ts';
import { currentLoop } from '../task/frame.ts';
import '../task/loop-methods.ts';
import { newNode } from '../task/scope.ts';
import { type ScopeNode, taskNodes } from '../task/scope-node.ts';
import { createTask, currentTask, type Task } from '../task/task.ts';

class Watch implements Instrument, Job {
  readonly #loop: EventLoop;
  readonly #task: Task;
  readonly #node: ScopeNode;
  #over = false;
  /** Others could run. */
  yielded = false;
  /** A cancellation could have come. */
  cancellable = false;

  constructor(loop: EventLoop, task: Task, node: ScopeNode) {
    this.#loop = loop;
    this.#task = task;
    this.#node = node;
    loop.addInstrument(this);
    loop.enqueue(this);
  }

  stop(): void {
    this.#over = true;
    this.#loop.removeInstrument(this);
  }

  runJob(): void {
    if (!this.#over) this.yielded = true;
  }

  taskScheduled(task: Task): void {
    if (task !== this.#task) return;
    this.yielded = true;
    // Its shields are open while a wait inside of them ends.
    const open = taskNodes(this.#node, false);
    const all = taskNodes(this.#node, true);
    if (open.nodes.length === all.nodes.length) this.cancellable = true;
  }
}

async function observe<T>(fn: () => Awaitable<T>, task: Task): Promise<[Watch, () => T]> {
  const node = newNode(false);
  const watch = new Watch(currentLoop(), task, node);
  try {
    const result = await runInNode(node, fn, undefined);
    return [watch, (): T => result];
  } catch (error) {
    const rethrow = (): T => {
      throw error;
    };
    return [watch, rethrow];
  } finally {
    watch.stop();
    node.leave();
  }
}

function inTask<T>(caller: string, work: (task: Task) => Promise<T>, fn: unknown): Promise<T> {
  try {
    checkBody(caller, fn);
  } catch (error) {
    return Promise.reject(error);
  }
  const task = currentTask();
  if (task !== null) return work(task);
  return createTask({ eagerStart: true }, () => work(currentTask() as Task)).join();
}

function fail(message: string, caller: (...args: never) => unknown): never {
  throw new AssertionError({ message, stackStartFn: caller as (...args: unknown[]) => unknown });
}

/**
 * Fails with an AssertionError unless `fn` lets others run and can be cancelled: it has to wait at
 * least once, with a wait of uvio outside of any shield. Gives fn's result; an error of `fn` is
 * thrown as it is. Outside of a task, `fn` runs in a task of its own.
 * (trio.testing.assert_checkpoints)
 */
export function assertCheckpoints<T>(fn: () => Awaitable<T>): Promise<T> {
  const work = async (task: Task): Promise<T> => {
    const [watch, finish] = await observe(fn, task);
    const result = finish();
    if (!watch.yielded) fail('The function did not let others run', assertCheckpoints);
    if (!watch.cancellable) fail('The function could not be cancelled', assertCheckpoints);
    return result;
  };
  return inTask('assertCheckpoints', work, fn);
}

/**
 * Fails with an AssertionError if `fn` lets others run; also when it throws. Awaiting what is
 * settled already is fine. (trio.testing.assert_no_checkpoints)
 */
export function assertNoCheckpoints<T>(fn: () => Awaitable<T>): Promise<T> {
  const work = async (task: Task): Promise<T> => {
    const [watch, finish] = await observe(fn, task);
    if (watch.yielded) fail('The function let others run', assertNoCheckpoints);
    return finish();
  };
  return inTask('assertNoCheckpoints', work, fn);
}
