/**
 * What debug mode finds in tasks: cancellations that were swallowed, work nobody waited for, tasks
 * that outlive their run.
 *
 * In: the moments of a task. Out: reports to the loop's exception handler, each with a stable code
 * (docs/reference/errors.md) and where the task was created. Never: a change of what happens.
 */
import { fileURLToPath } from 'node:url';
import { CancelledError } from '../base/errors.ts';
import { trackUntaken } from './failures.ts';
import { type Region, taskNodes, waitersOf } from './scope-node.ts';
import { type FutureStatus, RESOLVED } from './status.ts';
import type { Task } from './task.ts';

/** A task that was refused so often runs in circles. */
const manyRefusals = 100;

/** Waits that writers and closers may leave alone: the rest is done without them. */
const mayBeLeft: ReadonlySet<string> = new Set(['write', 'close']);

const folder = fileURLToPath(new URL('.', import.meta.url));

/** Where a task is being created, without the functions of this folder and of Node. */
export function creationStack(): string {
  const stack = new Error().stack ?? '';
  const isOurs = (line: string): boolean => line.includes(folder) || /[(\s]node:/.test(line);
  return stack
    .split('\n')
    .slice(1)
    .filter((line) => !isOurs(line))
    .join('\n');
}

function report(task: Task, code: string, what: string): void {
  const stack = task.extra?.stack;
  const where = stack ? `\nCreated\n${stack}` : '';
  task.loop.callExceptionHandler({ message: `${task.describe()} ${what}${where}`, code, task });
}

/** A wait of a task was rejected; only cancellations count. */
export function noteRejected({ task, loop }: Region, error: unknown): void {
  if (task !== null && loop.debug && error instanceof CancelledError) {
    task.needExtra().delivered = error;
  }
}

/** A wait of a cancelled task was refused for the `times`th time. */
export function noteRefused(task: Task, error: unknown, times: number): void {
  task.needExtra().delivered = error;
  if (times !== manyRefusals) return;
  const message = `${task.describe()} catches its cancellation again and again`;
  task.loop.callExceptionHandler({ message, code: 'UVIO_CANCELLATION_LOOP', error, task });
}

/** The task ends now; it has not left its region yet. */
export function checkEnd(task: Task, status: FutureStatus, value: unknown): void {
  if (status !== RESOLVED || !task.loop.debug) return;
  const { effective, extra } = task;
  if (effective !== null && extra?.delivered === effective) {
    const what = 'was cancelled by its scope, caught that, and returned a value';
    report(task, 'UVIO_CANCELLATION_SWALLOWED', what);
    return;
  }
  const left = waitersOf(taskNodes(task, true).nodes).filter(({ label }) => !mayBeLeft.has(label));
  if (left.length > 0) {
    const labels = [...new Set(left.map(({ label }) => label))].join(', ');
    const what = `has ended, but a call of its that was not awaited still waits for ${labels}`;
    report(task, 'UVIO_NOT_AWAITED', what);
  }
  if (value === undefined || task.owned || task.observers !== null) return;
  const stack = extra?.stack ? `\nCreated\n${extra.stack}` : '';
  const message = `${task.describe()} returned a value and nobody took it${stack}`;
  trackUntaken(task, task.loop, { message, code: 'UVIO_RESULT_NOT_TAKEN' });
}

/** Tasks that a run has to end: those that belong to a group or a server are ended by it. */
export function reportLeftTasks(tasks: Iterable<Task>): void {
  for (const task of tasks) {
    if (task.owned || task.extra?.daemon === true) continue;
    report(task, 'UVIO_TASK_LEFT', `was still ${task.state} when its run ended`);
  }
}
