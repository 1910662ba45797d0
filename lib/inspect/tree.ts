/**
 * The live tasks of a loop as trees.
 *
 * In: a loop. Out: plain objects, and text. Never: recursion (tasks nest thousands deep), a change
 * of what it looks at.
 */
import type { EventLoop } from '../loop/event-loop.ts';
import { currentLoop } from '../task/frame.ts';
import { FutureWaiter } from '../task/future.ts';
import { taskNodes, waitersOf } from '../task/scope-node.ts';
import { allTasks, Task } from '../task/task.ts';

/** One live task; plain data, which JSON can carry. */
export interface TaskInfo {
  readonly id: number;
  readonly name: string;
  readonly state: Task['state'];
  /**
   * Milliseconds since it was made. Exact for tasks that were made in debug mode or while an
   * instrument was on (`serveConsole` and `monitorLoop` are such); else since it was first seen
   * by `taskTree`.
   */
  readonly ageMs: number;
  /** What it waits for: 'sleep', 'lock', 'read' …; with the name of a task that it awaits. */
  readonly waitsFor: string | null;
  /** Milliseconds since its latest wait began; null when nobody watched then (see `ageMs`). */
  readonly waitingMs: number | null;
  /** Name of the task group that it belongs to. */
  readonly group: string | null;
  /** Where it was created, in debug mode; else empty. */
  readonly stack: string;
  /** Tasks that it started, those of its groups among them. */
  readonly children: readonly TaskInfo[];
}

interface Node extends TaskInfo {
  readonly children: Node[];
}

/** When a task was first seen here, for those that were made unwatched. */
const firstSeen: WeakMap<Task, number> = new WeakMap();

function ageOf(task: Task, nowMs: number): number {
  const bornMs = task.extra?.bornMs ?? -1;
  if (bornMs >= 0) return nowMs - bornMs;
  const seenMs = firstSeen.get(task);
  if (seenMs === undefined) firstSeen.set(task, nowMs);
  return nowMs - (seenMs ?? nowMs);
}

function infoOf(task: Task, nowMs: number): Node {
  const labels = new Set<string>();
  for (const waiter of waitersOf(taskNodes(task, true).nodes)) {
    const future = waiter instanceof FutureWaiter ? waiter.future : null;
    labels.add(future instanceof Task ? `${waiter.label} ${future.name}` : waiter.label);
  }
  const waits = labels.size > 0;
  const sinceMs = task.extra?.waitsSinceMs ?? -1;
  const group = task.parent;
  return {
    id: task.id,
    name: task.name,
    state: task.state,
    ageMs: ageOf(task, nowMs),
    waitsFor: waits ? [...labels].join(', ') : null,
    waitingMs: waits && sinceMs >= 0 ? nowMs - sinceMs : null,
    group: group === null || group instanceof Task ? null : group.name,
    stack: task.extra?.stack ?? '',
    children: [],
  };
}

/** The task that started it, or whose group it belongs to. */
function parentOf(task: Task): Task | null {
  const { parent } = task;
  if (parent instanceof Task) return parent;
  return parent === null ? null : (task.outer?.task ?? null);
}

/**
 * The tasks of a loop that are not done, each below the one that started it, or whose group it
 * belongs to; in order of creation. Costs time in proportion to the tasks.
 * (asyncio.capture_call_graph, trio's task tree)
 * @param loop default: the current one
 */
export function taskTree(loop: EventLoop = currentLoop()): readonly TaskInfo[] {
  const nowMs = loop.time();
  const nodes = new Map<Task, Node>();
  for (const task of allTasks(loop)) nodes.set(task, infoOf(task, nowMs));
  const roots: Node[] = [];
  for (const [task, node] of nodes) {
    const parent = parentOf(task);
    const above = parent === null ? undefined : nodes.get(parent);
    (above?.children ?? roots).push(node);
  }
  return roots;
}

function line({ id, name, state, waitsFor, waitingMs }: TaskInfo): string {
  const what = waitsFor === null ? '' : ` for ${waitsFor}`;
  const time = waitingMs === null ? '' : `, ${waitingMs.toFixed(0)} ms`;
  return `${name} (#${id}) ${state}${what}${time}`;
}

/** A line to print: a task, or a group above its tasks. */
interface Entry {
  readonly text: string;
  readonly children: readonly TaskInfo[];
  readonly isGroup: boolean;
}

/** Tasks of one group stand below a line of the group. */
function entriesOf(tasks: readonly TaskInfo[], inGroup: boolean): Entry[] {
  const entries: Entry[] = [];
  const groups = new Map<string, TaskInfo[]>();
  for (const task of tasks) {
    if (inGroup || task.group === null) {
      entries.push({ text: line(task), children: task.children, isGroup: false });
      continue;
    }
    let members = groups.get(task.group);
    if (members === undefined) {
      members = [];
      groups.set(task.group, members);
      entries.push({ text: `group ${task.group}`, children: members, isGroup: true });
    }
    members.push(task);
  }
  return entries;
}

/**
 * The tree as text, for logs: a line for each task and group, with its id, its state, and what it
 * waits for and since when, where that is known. (asyncio.format_call_graph, `asyncio pstree`)
 * @param tree default: `taskTree()`
 */
export function formatTaskTree(tree: readonly TaskInfo[] = taskTree()): string {
  const lines: string[] = [];
  // Each with what stands before its own line, and before those below it.
  const open: (readonly [entry: Entry, before: string, below: string])[] = [];
  for (const entry of entriesOf(tree, false).reverse()) open.push([entry, '', '']);
  for (;;) {
    const next = open.pop();
    if (next === undefined) return lines.join('\n');
    const [{ text, children, isGroup }, before, below] = next;
    lines.push(before + text);
    const entries = entriesOf(children, isGroup);
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i] as Entry;
      const last = i === entries.length - 1;
      open.push([entry, `${below}${last ? '└── ' : '├── '}`, `${below}${last ? '    ' : '│   '}`]);
    }
  }
}
