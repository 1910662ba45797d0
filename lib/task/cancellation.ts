/**
 * Cancel errors and their delivery to waits.
 *
 * In: who cancels and why, and the waits concerned. Out: rejected waits. Never: recursion (chains
 * of tasks that await one another may be long), user code called before all flags are set.
 */
import { CancelledError, TimeoutError } from '../base/errors.ts';
import { noteRefused } from './debug.ts';
import type { Frame } from './frame.ts';
import { frameStorage } from './frame.ts';
import { loopState } from './loop-state.ts';
import { hasLeft, type Region, taskNodes, waitersOf } from './scope-node.ts';
import type { Task } from './task.ts';
import type { Waiter } from './waiter.ts';

/** The region whose cancellation made an error; none for the edge kind. */
const origins = new WeakMap<CancelledError, Region>();

/**
 * Makes the error of one cancellation, shared by all waits that it ends. Without a stack unless
 * `debug`: it would show the canceller ten thousand times and cost more than all the rest.
 */
export function cancelError(
  message: string,
  reason: unknown,
  origin: Region | null,
  debug: boolean,
): CancelledError {
  const options = reason === undefined ? {} : { reason, cause: reason };
  let error: CancelledError;
  if (debug) {
    error = new CancelledError(message, options);
  } else {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    error = new CancelledError(message, options);
    Error.stackTraceLimit = limit;
  }
  if (origin !== null) origins.set(error, origin);
  return error;
}

/**
 * The region that an error comes from, also when Node or the Web wrapped it in an AbortError
 * because it was the reason of a signal.
 */
export function originOf(error: unknown): Region | undefined {
  for (let depth = 0; depth < 4; depth++) {
    if (error instanceof CancelledError) {
      const origin = origins.get(error);
      if (origin !== undefined) return origin;
    }
    if (typeof error !== 'object' || error === null) return undefined;
    if ((error as { code?: unknown }).code !== 'ABORT_ERR') return undefined;
    error = (error as { cause?: unknown }).cause;
  }
  return undefined;
}

/** Makes it count as the cancellation `from`, which came from further outside; null: by edge. */
export function setOrigin(error: CancelledError, from: CancelledError | null): void {
  const origin = from === null ? undefined : origins.get(from);
  if (origin === undefined) origins.delete(error);
  else origins.set(error, origin);
}

/**
 * Turns a cancellation that is under way into a time limit's error, in place: a block that ends
 * cannot throw another one. Its cause is a CancelledError as it was.
 */
export function becomeTimeout(error: CancelledError, message: string): void {
  const { reason } = error;
  const cause = cancelError(error.message, reason, null, false);
  origins.delete(error);
  const stack = error.stack ?? '';
  Object.setPrototypeOf(error, TimeoutError.prototype);
  const changed = error as unknown as Record<string, unknown>;
  delete changed['reason'];
  const own = { configurable: true, writable: true, enumerable: false };
  Object.defineProperties(error, {
    code: { ...own, value: 'ETIMEDOUT', enumerable: true },
    message: { ...own, value: message },
    cause: { ...own, value: cause },
    stack: { ...own, value: stack.replace(/^CancelledError: .*/, `TimeoutError: ${message}`) },
  });
}

// A pair per delivery, flattened. Deliveries that deliveries cause join the end: no recursion.
const queue: (Waiter<unknown> | CancelledError)[] = [];
let delivering = false;

/** Rejects the waits that are still active. */
export function deliver(waiters: readonly Waiter<unknown>[], error: CancelledError): void {
  for (const waiter of waiters) queue.push(waiter, error);
  if (delivering) return;
  delivering = true;
  try {
    for (let i = 0; i < queue.length; i += 2) {
      const waiter = queue[i] as Waiter<unknown>;
      if (waiter.active) waiter.deliver(queue[i + 1] as CancelledError);
    }
  } finally {
    delivering = false;
    queue.length = 0;
  }
}

/** Nearest region around that is still open. */
export function openNode(node: Region): Region {
  while (hasLeft(node)) node = node.outer ?? loopState(node.loop).root;
  return node;
}

/** Whether an edge cancellation of its task is held back from this region by a shield. */
export function edgeShielded(node: Region): boolean {
  const task = node.task;
  let at: Region | null = node;
  while (at !== null && at.task === task) {
    if (at.shield) return true;
    at = at.outer;
  }
  return false;
}

/**
 * The error that a wait in this frame must end with, or null. Takes the pending edge of the task,
 * which comes before a level: the task's cancellation is the outer one, and a level stays.
 */
export function refusal(frame: Frame): CancelledError | null {
  const node = openNode(frame.scope);
  return takeEdge(node) ?? node.effective;
}

/** The pending edge of a region's task, taken, unless a shield holds it back from there. */
export function takeEdge(node: Region): CancelledError | null {
  const { task } = node;
  if (task === null || task.pendingCancel === null || edgeShielded(node)) return null;
  const edge = task.pendingCancel;
  task.pendingCancel = null;
  return edge;
}

/**
 * An edge has ended the waits of this task, which has not gone on yet. With a wait that still goes
 * on it is another matter: that one may pass a further edge on to somebody else.
 */
export function onlyAwaitsEdge(task: Task): boolean {
  if (task.pendingCancel !== null || frameStorage.getStore()?.task === task) return false;
  return waitersOf(taskNodes(task, false).nodes).length === 0;
}

/** The cancellation in an error of a task, or null: Node's AbortError carries it as its cause. */
export function asCancellation(error: unknown): CancelledError | null {
  if (error instanceof CancelledError) return error;
  if (typeof error !== 'object' || error === null) return null;
  const { code, cause } = error as { code?: unknown; cause?: unknown };
  return code === 'ABORT_ERR' && cause instanceof CancelledError ? cause : null;
}

class LateRejection {
  readonly #reject: (error: unknown) => void;
  readonly #error: unknown;

  constructor(reject: (error: unknown) => void, error: unknown) {
    this.#reject = reject;
    this.#error = error;
  }

  runJob(): void {
    this.#reject(this.#error);
  }
}

/**
 * A promise rejected with a cancellation that `refusal` or `takeCancellation` gave. The first one
 * of a task is rejected at once, later ones by the ready queue, so that
 * `for (;;) try { await sleep(1) } catch {}` in a cancelled scope cannot starve the process.
 */
export function cancelledPromise(error: unknown): Promise<never> {
  const frame = frameStorage.getStore();
  if (frame === undefined || frame.loop.closed) return Promise.reject(error);
  const { task, loop } = frame;
  if (task !== null) {
    const refused = ++task.needExtra().refused;
    if (loop.debug) noteRefused(task, error, refused);
    if (refused === 1) return Promise.reject(error);
  }
  return new Promise((_, reject) => loop.enqueue(new LateRejection(reject, error)));
}
