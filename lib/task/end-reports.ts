/**
 * What debug mode says about work that was left behind.
 *
 * In: a task or a loop at its end. Out: reports to the loop's exception handler, without an error:
 * they are warnings. Never: anything outside debug mode.
 */
import type { EventLoop } from '../loop/event-loop.ts';
import { loopState } from './loop-state.ts';
import { taskNodes, waitersOf } from './scope-node.ts';
import type { Task } from './task.ts';

function created(task: Task): string {
  const stack = task.extra?.stack;
  return stack ? `\nCreated\n${stack}` : '';
}

/** A promise that the task began and nobody awaited: it goes on, and its result is lost. */
export function reportLeftWaits(task: Task): void {
  const waiters = waitersOf(taskNodes(task, true).nodes);
  if (waiters.length === 0) return;
  const waits = waiters.map((waiter) => waiter.label).join(', ');
  const message =
    `${task.describe()} ended while waits that it began go on (${waits}): ` +
    `is an await missing?${created(task)}`;
  task.loop.callExceptionHandler({ message, task });
}

/** A task of no group that the run has to cancel. */
export function reportLeftTask(loop: EventLoop, task: Task): void {
  if (loopState(loop).daemons.has(task)) return;
  const message =
    `${task.describe()} was still running at the end of the run and is cancelled: await it, ` +
    `cancel it, or start it with { daemon: true }${created(task)}`;
  loop.callExceptionHandler({ message, task });
}
