/**
 * Several ways to one result, begun one after the other.
 *
 * In: functions. Out: the first result, when all else has ended. Never: a task left behind.
 */
import { argTypeError, ExceptionGroup } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import { wait } from './combinators.ts';
import { checkBody } from './enter.ts';
import { RESOLVED } from './future.ts';
import { shielded } from './scope.ts';
import { currentTime } from './sleep.ts';
import { type Coro, createTask, type Task } from './task.ts';

/**
 * Starts the next function when the one before failed or took `delayMs`; the first result wins,
 * the others are cancelled and awaited (happy eyeballs for anything). Of results of the same turn
 * the one begun first wins. When all fail: ExceptionGroup with the errors in order of `fns`. What
 * the losers end with is dropped. Cancelling the caller cancels all and waits for them.
 * TypeError: no function, or something else than functions; NaN.
 * (RFC 8305; asyncio's staggered_race)
 * @param options.delayMs milliseconds; Infinity: only after a failure.
 */
export async function hedge<T>(fns: readonly Coro<T>[], options: { delayMs: number }): Promise<T> {
  if (!Array.isArray(fns)) throw argTypeError('fns', 'an array of functions', fns);
  if (fns.length === 0) throw new TypeError('hedge() takes at least one function');
  for (const fn of fns) checkBody('hedge', fn);
  const delayMs = checkMs('options.delayMs', options?.delayMs);
  const tasks: Task<T>[] = [];
  const live: Set<Task<T>> = new Set();
  try {
    let dueMs: number = Infinity;
    for (;;) {
      const latest = tasks.at(-1);
      if (tasks.length < fns.length && (latest?.done !== false || currentTime() >= dueMs)) {
        const task = createTask(fns[tasks.length] as Coro<T>);
        tasks.push(task);
        live.add(task);
        dueMs = currentTime() + delayMs;
      }
      if (live.size === 0) throw failed(tasks);
      const timeoutMs = tasks.length < fns.length ? dueMs - currentTime() : Infinity;
      await wait(live, { until: 'first', timeoutMs });
      for (const task of live) {
        if (!task.done) continue;
        live.delete(task);
        if (task.status === RESOLVED) return task.result();
        // Taken: it is thrown with all others, or is the business of nobody.
        task.failure();
      }
    }
  } finally {
    for (const task of live) task.cancel('another one was first');
    if (live.size > 0) await shielded(() => ended(live));
  }
}

async function ended(tasks: Iterable<Task>): Promise<void> {
  for (const task of tasks) await task.wait();
}

function failed(tasks: readonly Task[]): ExceptionGroup {
  const errors = tasks.map((task) => task.failure());
  return new ExceptionGroup(errors, `All ${errors.length} functions of hedge() failed`);
}
