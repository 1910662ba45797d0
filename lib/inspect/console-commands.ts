/**
 * What a console answers.
 *
 * In: a loop, a command and its argument. Out: text, or an error with a message for a person.
 * Never: a socket.
 */
import type { EventLoop } from '../loop/event-loop.ts';
import { allTasks, type Task } from '../task/task.ts';
import { formatTaskTree, type TaskInfo, taskTree } from './tree.ts';

/** The user asked for something that is not there. */
export class CommandError extends Error {}

function findTask(loop: EventLoop, wanted: string | undefined): Task {
  if (!wanted) throw new CommandError('Which task? Give its number or its name');
  const tasks = [...allTasks(loop)];
  const byId = tasks.find(({ id }) => String(id) === wanted.replace(/^#/, ''));
  if (byId !== undefined) return byId;
  const [task, ...others] = tasks.filter(({ name }) => name === wanted);
  if (task === undefined) throw new CommandError(`There is no task ${wanted}`);
  if (others.length === 0) return task;
  const ids = [task, ...others].map(({ id }) => `#${id}`).join(', ');
  throw new CommandError(`Several tasks are called ${wanted}: ${ids}`);
}

function ms(value: number): string {
  if (value < 1000) return `${value.toFixed(1)} ms`;
  return `${(value / 1000).toFixed(1)} s`;
}

function ps(loop: EventLoop): string {
  const { tasks } = loop.metrics();
  const title = process.argv.slice(1, 2).join(' ') || process.title;
  const up = ms(process.uptime() * 1000);
  return `${tasks} tasks  ${loop.backend}  node ${process.version}  up ${up}  ${title}`;
}

function flatten(tree: readonly TaskInfo[]): TaskInfo[] {
  const found = [...tree];
  for (let i = 0; i < found.length; i++) found.push(...(found[i] as TaskInfo).children);
  return found;
}

const topRows = 20;

function top(loop: EventLoop): string {
  const metrics = loop.metrics();
  const { lagP50Ms, lagP99Ms, utilization, writeBufferBytes } = metrics;
  const lines = [
    `busy ${(utilization * 100).toFixed(1)} %   lag p50 ${ms(lagP50Ms)}, p99 ${ms(lagP99Ms)}`,
    `tasks ${metrics.tasks}   ready ${metrics.ready}   timers ${metrics.timers}   ` +
      `connections ${metrics.connections}   to write ${writeBufferBytes} bytes`,
    '',
  ];
  const byWait = new Map<string, number>();
  const all = flatten(taskTree(loop));
  for (const { state, waitsFor } of all) {
    const key = waitsFor ?? state;
    byWait.set(key, (byWait.get(key) ?? 0) + 1);
  }
  const rows = [...byWait].sort((a, b) => b[1] - a[1]).slice(0, topRows);
  for (const [what, count] of rows) lines.push(`${String(count).padStart(7)}  ${what}`);
  return lines.join('\n');
}

function cancel(loop: EventLoop, wanted: string | undefined): string {
  const task = findTask(loop, wanted);
  task.cancel('cancelled from the console');
  return `${task.describe()} was told to end`;
}

/** Throws CommandError. */
export function execute(loop: EventLoop, command: string, argument: string | undefined): string {
  switch (command) {
    case 'ps':
      return ps(loop);
    case 'tree':
      return formatTaskTree(taskTree(loop)) || 'no tasks';
    case 'top':
      return top(loop);
    case 'where':
      return findTask(loop, argument).getStack();
    case 'cancel':
      return cancel(loop, argument);
    default:
      throw new CommandError(`Unknown command ${command}`);
  }
}
