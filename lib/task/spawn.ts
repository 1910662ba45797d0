/**
 * Starting tasks, and finding them.
 *
 * In: functions with their arguments. Out: tasks that start in the next turn. Never: promises.
 */
import { type Awaitable, InvalidStateError } from '../base/errors.ts';
import { taskSpawned } from '../loop/channels.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { topVars } from './context.ts';
import { creationStack } from './debug.ts';
import { isThenable } from './enter.ts';
import { captureResource, currentFrame, currentLoop, type Frame } from './frame.ts';
import { noteSpawned } from './instruments.ts';
import { loopState } from './loop-state.ts';
import { childrenOf, type Region } from './scope-node.ts';
import { type AnyCoro, type Coro, noArgs, Task, type TaskOptions, type TaskOwner } from './task.ts';

/** @internal Splits `(options, fn, ...args)` and `(fn, ...args)`. */
export function readSpawnArgs(
  caller: string,
  first: unknown,
  rest: unknown[],
): { options: TaskOptions | null; fn: AnyCoro; args: unknown[] } {
  if (typeof first === 'function') return { options: null, fn: first as AnyCoro, args: rest };
  const [fn, ...args] = rest;
  const options = first as TaskOptions | null;
  if (typeof options === 'object' && options !== null && typeof fn === 'function') {
    return { options, fn: fn as AnyCoro, args };
  }
  if (isThenable(first) || isThenable(fn)) {
    throw new TypeError(
      `${caller}() takes a function, not a promise, which runs already and cannot be cancelled: ` +
        `write ${caller}(f, x) instead of ${caller}(f(x))`,
    );
  }
  throw new TypeError(`${caller}() takes a function and its arguments`);
}

/** @internal Makes a task of the current frame and has it started; groups pass their region. */
export function spawnTask<T>(
  frame: Frame | undefined,
  loop: EventLoop,
  parentNode: Region | null,
  owner: TaskOwner | null,
  options: TaskOptions | null,
  fn: AnyCoro,
  args: unknown[],
): Task<T> {
  const task = makeTask<T>(frame, loop, parentNode, owner, options, fn, args);
  if (options?.eagerStart === true) task.begin();
  else loop.enqueue(task);
  return task;
}

/** @internal */
export function makeTask<T>(
  frame: Frame | undefined,
  loop: EventLoop,
  parentNode: Region | null,
  owner: TaskOwner | null,
  options: TaskOptions | null,
  fn: AnyCoro,
  args: unknown[],
): Task<T> {
  if (loop.closed) throw new InvalidStateError('The loop is closed');
  const context = options?.context;
  const task = Task.make<T>(loop, parentNode, fn, args);
  task.starter = owner ?? frame?.task ?? null;
  if (context !== undefined) task.needExtra().box = context.box;
  task.vars = frame === undefined ? topVars() : frame.box.vars;
  if (options?.name !== undefined) task.needExtra().name = options.name;
  if (context?.resource) task.resource = context.resource;
  else if (options?.eagerStart !== true) task.resource = captureResource();
  if (options?.daemon === true) task.needExtra().daemon = true;
  if (loop.watched) noteMade(loop, task as Task);
  if (taskSpawned.hasSubscribers) taskSpawned.publish({ task });
  return task;
}

function noteMade(loop: EventLoop, task: Task): void {
  if (loop.debug) task.needExtra().stack = creationStack();
  noteSpawned(loop, task);
}

/**
 * Starts `fn` as a task; it first runs after the current step, in order of creation. The loop
 * keeps it alive. An error nobody takes goes to the loop's exception handler.
 * A promise instead of a function: TypeError. (asyncio.create_task)
 */
export function createTask<T, A extends unknown[]>(fn: Coro<T, A>, ...args: A): Task<T>;
export function createTask<T, A extends unknown[]>(
  options: TaskOptions,
  fn: Coro<T, A>,
  ...args: A
): Task<T>;
export function createTask(first: unknown, ...rest: unknown[]): Task {
  const frame = currentFrame();
  const loop = frame?.loop ?? currentLoop();
  if (typeof first === 'function') {
    // Asked this way, no array is made where the rest is empty.
    // biome-ignore lint/complexity/noArguments: the rest would be an array.
    const args = arguments.length === 1 ? noArgs : rest;
    return spawnTask(frame, loop, null, null, null, first as AnyCoro, args);
  }
  const { options, fn, args } = readSpawnArgs('createTask', first, rest);
  return spawnTask(frame, loop, null, null, options, fn, args);
}

/** The same function as createTask: curio's word. Returns the task at once, not a promise. */
export const spawn: typeof createTask = createTask;

/** Null in callbacks and outside of tasks. (asyncio.current_task) */
export function currentTask(): Task | null {
  return currentFrame()?.task ?? null;
}

/** Tasks that are not done. (asyncio.all_tasks) */
export function allTasks(loop: EventLoop = currentLoop()): Set<Task> {
  const tasks: Task[] = [];
  const open: Region[] = [loopState(loop).root];
  for (;;) {
    const node = open.pop();
    if (node === undefined) break;
    if (node instanceof Task) tasks.push(node);
    for (const child of childrenOf(node)) open.push(child);
  }
  return new Set(tasks.sort((a, b) => a.id - b.id));
}

/**
 * @internal For servers: one task per connection, started at once, with nothing kept that a task of
 * the user's needs. `owner` is shared by all; it takes the errors.
 */
export function startHandlerTask<A>(
  loop: EventLoop,
  parentNode: Region | null,
  name: string | null,
  fn: (arg: A) => Awaitable<unknown>,
  arg: A,
  owner: TaskOwner,
): Task {
  const task = Task.make(loop, parentNode, fn as AnyCoro, [arg]);
  if (name !== null) task.needExtra().name = name;
  task.starter = owner;
  // The server enters the context of whoever made it before.
  task.vars = currentFrame()?.box.vars ?? topVars();
  if (loop.watched) noteMade(loop, task);
  if (taskSpawned.hasSubscribers) taskSpawned.publish({ task });
  task.begin();
  return task;
}
