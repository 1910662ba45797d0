/**
 * Looking at the tasks of a loop.
 *
 * In: a loop, or a task. Out: what waits for what. Never: a change.
 */
import type { EventLoop } from '../loop/event-loop.ts';
import { taskNodes, waitersOf } from '../task/scope-node.ts';
import { allTasks } from '../task/spawn.ts';
import type { Task } from '../task/task.ts';
import type { Waiter } from '../task/waiter.ts';

/** Not done, in order of creation. */
export function openTasks(loop: EventLoop): Task[] {
  return [...allTasks(loop)];
}

/** The waits of uvio that a task is in; none when it runs, or waits for something else. */
export function waitsOf(task: Task): Waiter<unknown>[] {
  return waitersOf(taskNodes(task, true).nodes);
}

export function describeTask(task: Task): string {
  const labels = waitsOf(task).map((waiter) => waiter.label);
  if (labels.length > 0) return `${task.name} waits for ${labels.join(', ')}`;
  return task.state === 'pending' ? `${task.name} has not started` : `${task.name} runs`;
}
