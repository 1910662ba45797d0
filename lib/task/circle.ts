/**
 * Finds tasks that await one another in a circle, which a cancellation has to break, or themselves.
 */
import { InvalidStateError } from '../base/errors.ts';
import { currentFrame } from './frame.ts';
import type { Future } from './future.ts';
import { type Region, taskNodes, waitersOf } from './scope-node.ts';
import type { Task } from './task.ts';
import type { Waiter } from './waiter.ts';

/** Longer circles are not found: every link of a chain may ask. */
const maxLinks = 1000;

/** Whether the future is a task that, through others, waits by this very waiter. */
export function leadsTo(future: Future<unknown>, waiter: Waiter<unknown>): boolean {
  const open: Future<unknown>[] = [future];
  for (let i = 0; i < open.length && i < maxLinks; i++) {
    const { task } = open[i] as { task?: Region };
    if (task === undefined) continue;
    for (const found of waitersOf(taskNodes(task, true).nodes)) {
      if (found === waiter) return true;
      const next = (found as { future?: Future<unknown> }).future;
      if (next !== undefined && !open.includes(next)) open.push(next);
    }
  }
  return false;
}

/** The rejection of a wait for its end in a task itself; null elsewhere, and when it has ended. */
export function waitsForItself(task: Task): Promise<never> | null {
  if (task.done || currentFrame()?.task !== task) return null;
  return Promise.reject(new InvalidStateError(`${task.describe()} waits for itself`));
}
