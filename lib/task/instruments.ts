/**
 * What instruments hear of tasks.
 *
 * In: the moments of a task, when the loop has instruments. Out: calls to them. Never: a cost when
 * it has none, beyond looking.
 *
 * A wake-up resolves a promise, and the task goes on in a microtask. Its step is therefore framed
 * by two microtasks of ours. What a function does after awaiting something foreign is not seen.
 */
import type { EventLoop } from '../loop/event-loop.ts';
import type { Task } from './task.ts';

const settled: Promise<void> = Promise.resolve();

export function noteSpawned(loop: EventLoop, task: Task): void {
  for (const instrument of loop.instruments) {
    instrument.taskSpawned?.(task);
    instrument.taskScheduled?.(task);
  }
}

export function noteExited(loop: EventLoop, task: Task): void {
  for (const instrument of loop.instruments) instrument.taskExited?.(task);
}

export function noteStep(loop: EventLoop, task: Task, step: () => void): void {
  for (const instrument of loop.instruments) instrument.beforeTaskStep?.(task);
  try {
    step();
  } finally {
    for (const instrument of loop.instruments) instrument.afterTaskStep?.(task);
  }
}

/** `settle` resolves or rejects the promise that the task awaits. */
export function noteWake(loop: EventLoop, task: Task, settle: () => void): void {
  for (const instrument of loop.instruments) instrument.taskScheduled?.(task);
  settled.then(() => {
    for (const instrument of loop.instruments) instrument.beforeTaskStep?.(task);
  });
  settle();
  settled.then(() => {
    for (const instrument of loop.instruments) instrument.afterTaskStep?.(task);
  });
}
