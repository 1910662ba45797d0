/**
 * What the task layer keeps for each loop.
 *
 * In: a loop. Out: its root region (which keeps all tasks alive), ids, failures nobody took.
 * Never: fields on the loop's own object.
 */
import type { EventLoop } from '../loop/event-loop.ts';
import type { Failure } from './failures.ts';
import { Pace } from './pace.ts';
import { ScopeNode } from './scope-node.ts';
import type { WritePace } from './write-pace.ts';

/** What a loop does with its tasks when it is closed; set by the file that knows tasks. */
export const closing: { endTasks: (loop: EventLoop) => Promise<void> } = {
  endTasks: () => Promise.resolve(),
};

export class LoopState {
  /** The region around all tasks of a loop. It is never cancelled. */
  readonly root: ScopeNode;
  /** Errors that no one has taken yet. */
  readonly failures: Set<Failure>;
  /** Of operations that complete at once. */
  readonly pace: Pace;
  /** Of writes that need not wait; made by the first of them. */
  writePace: WritePace | null;
  /** Ids count per loop, so that two simulated runs name their tasks alike. */
  lastTaskId: number;
  lastGroupId: number;
  /** Ends `runForever()`. */
  endForever: (() => void) | null;
  /** `stop()` came before `runForever()`. */
  stopAsked: boolean;

  constructor(loop: EventLoop) {
    this.root = new ScopeNode(loop, null, null, { vars: null }, false);
    this.failures = new Set();
    this.pace = new Pace(loop);
    this.writePace = null;
    this.lastTaskId = 0;
    this.lastGroupId = 0;
    this.endForever = null;
    this.stopAsked = false;
    loop.closeHooks.add(() => closing.endTasks(loop));
  }
}

const states = new WeakMap<EventLoop, LoopState>();

// Asked for each new task, nearly always for the same loop.
let lastLoop: EventLoop | undefined;
let lastState: LoopState | undefined;

export function loopState(loop: EventLoop): LoopState {
  if (loop === lastLoop) return lastState as LoopState;
  let state = states.get(loop);
  if (state === undefined) {
    state = new LoopState(loop);
    states.set(loop, state);
  }
  lastLoop = loop;
  lastState = state;
  return state;
}

/** After the end of a loop: what is looked up last is not to keep it alive. */
export function forgetLoop(loop: EventLoop): void {
  if (loop !== lastLoop) return;
  lastLoop = undefined;
  lastState = undefined;
}
