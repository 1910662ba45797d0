/**
 * What a function leaves behind on its loop.
 *
 * In: a function. Out: its result, or an AssertionError that lists what is left. Never: ending what
 * is left.
 */
import { AssertionError } from 'node:assert';
import type { Awaitable } from '../base/errors.ts';
import { watchedDescriptors } from '../io/fd-watch.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { SimulatedBackend } from '../loop/simulated/backend.ts';
import { openChildren } from '../process/child.ts';
import { checkBody } from '../task/enter.ts';
import { currentLoop } from '../task/frame.ts';
import { shielded } from '../task/scope.ts';
import { sleep } from '../task/sleep.ts';
import type { Task } from '../task/task.ts';
import { waitAllTasksBlocked } from './blocked.ts';
import { describeTask, openTasks } from './tasks.ts';

/** How often it is looked again: a connection that closes needs a few turns. */
const patience = 20;

interface Counts {
  readonly tasks: ReadonlySet<Task>;
  readonly timers: number;
  readonly connections: number;
  readonly listeners: number;
  readonly connecting: number;
  readonly datagrams: number;
  readonly processes: number;
  readonly descriptors: number;
}

const kinds = [
  'timers',
  'connections',
  'listeners',
  'connecting',
  'datagrams',
  'processes',
  'descriptors',
] as const;

function count(loop: EventLoop): Counts {
  const { streams, listeners, connecting, datagrams } = loop.backendHandle.counters();
  const tasks = new Set(openTasks(loop));
  return {
    tasks,
    timers: loop.timers.size,
    connections: streams,
    listeners,
    connecting,
    datagrams,
    processes: openChildren(loop),
    descriptors: watchedDescriptors(loop),
  };
}

/** One line for each kind of thing that is more than before. */
function leftSince(before: Counts, loop: EventLoop): string[] {
  const now = count(loop);
  const left: string[] = [];
  for (const task of now.tasks) if (!before.tasks.has(task)) left.push(describeTask(task));
  for (const kind of kinds) {
    const more = now[kind] - before[kind];
    if (more > 0) left.push(`${kind}: ${more}`);
  }
  return left;
}

/** On a simulated network, what is under way arrives. */
async function arrivals(loop: EventLoop): Promise<void> {
  const { backendHandle } = loop;
  if (!(backendHandle instanceof SimulatedBackend) || !backendHandle.autoJump) return;
  const travelMs = backendHandle.nextArrival() - backendHandle.now();
  if (travelMs !== Infinity) await sleep(travelMs);
}

/** Gives what is about to end its time, and tells what is left then. */
async function lookAgain(before: Counts, loop: EventLoop): Promise<string[]> {
  let left: string[] = [];
  for (let tries = 0; tries < patience; tries++) {
    await waitAllTasksBlocked();
    left = leftSince(before, loop);
    if (left.length === 0) break;
    await arrivals(loop);
  }
  return left;
}

/**
 * Fails with an AssertionError if tasks, timers, connections or native handles (child processes and
 * watched descriptors, too) are left on the current loop after `fn`: tasks are listed with what
 * they wait for. What is about to end by itself is waited for. Gives fn's result; an error of `fn`
 * is thrown as it is, and nothing is looked for.
 */
export async function assertNoLeaks<T>(fn: () => Awaitable<T>): Promise<T> {
  checkBody('assertNoLeaks', fn);
  const loop = currentLoop();
  const before = count(loop);
  const result = await fn();
  let left = leftSince(before, loop);
  if (left.length > 0) left = await shielded(() => lookAgain(before, loop));
  if (left.length === 0) return result;
  const message = `The function left behind:\n  ${left.join('\n  ')}`;
  throw new AssertionError({ message, stackStartFn: assertNoLeaks });
}
