/**
 * What instruments hear of tasks, and how the steps of a task are seen.
 *
 * In: the moments of a task, when its loop is watched. Out: calls to instruments, reports of slow
 * steps. Never: a cost for loops that nobody watches, beyond looking at one field.
 *
 * A step is a stretch in which a task's code runs without another's between; tasks that are woken
 * together take turns, microtask by microtask. A task's first step is a call of ours; all later
 * ones are microtasks, which only Node's hooks see from outside: so while a loop is in debug mode,
 * or has an instrument with beforeTaskStep or afterTaskStep, one async hook is on for the thread.
 * It makes every await of the thread slower meanwhile. What a task's code does in callbacks of
 * others (setTimeout, events) is no step.
 */
import {
  type AsyncHook,
  AsyncResource,
  createHook,
  executionAsyncResource,
} from 'node:async_hooks';
import { types } from 'node:util';
import { contextHooks, type EventLoop, type Instrument } from '../loop/event-loop.ts';
import { slowCode, tell } from '../loop/reports.ts';
import { frameStorage, nobodyFollows, withoutDestroy } from './frame.ts';
import type { Region } from './scope-node.ts';
import { PENDING } from './status.ts';
import type { Task } from './task.ts';

/** Loops whose steps are followed. */
const loops: Set<EventLoop> = new Set();
let hook: AsyncHook | null = null;

/** The task whose step is going on. */
let stepping: Task | null = null;
let beganMs = 0;
let endAsked = false;

export function noteSpawned(loop: EventLoop, task: Task): void {
  task.needExtra().bornMs = loop.time();
  tell(loop, 'taskSpawned', task);
  tell(loop, 'taskScheduled', task);
}

/** A wait of the region begins. */
export function noteWait(region: Region): void {
  const { task } = region;
  if (task !== null) task.needExtra().waitsSinceMs = region.loop.time();
}

/** The task's wait has ended; it goes on in a microtask. */
export function noteScheduled(region: Region): void {
  if (region.task !== null) tell(region.loop, 'taskScheduled', region.task);
}

/** A step that is a call, of a task that may start another one inside of its own step. */
export function runStep(task: Task, timed: boolean, step: () => void): void {
  const outer = stepping;
  const outerBeganMs = beganMs;
  begin(task);
  try {
    step();
  } finally {
    end(timed);
    stepping = outer;
    beganMs = outerBeganMs;
  }
}

function begin(task: Task): void {
  stepping = task;
  beganMs = performance.now();
  tell(task.loop, 'beforeTaskStep', task);
}

function end(timed: boolean): void {
  const task = stepping as Task;
  const { loop } = task;
  stepping = null;
  tell(loop, 'afterTaskStep', task);
  if (!timed || !loop.debug) return;
  const durationMs = performance.now() - beganMs;
  if (durationMs < loop.slowCallbackMs) return;
  const callback = task.describe();
  const message = `Slow step: ${callback} took ${durationMs.toFixed(1)} ms`;
  loop.callExceptionHandler({ message, code: slowCode, task, durationMs, callback });
}

/** Ends a step that was a microtask, when something else begins. */
function endStep(): void {
  if (stepping !== null) end(true);
}

function endWhenDrained(): void {
  endAsked = false;
  endStep();
}

/** Before anything asynchronous runs on the thread; microtasks are the promises among it. */
function onBefore(): void {
  if (!types.isPromise(executionAsyncResource())) return;
  const task = frameStorage.getStore()?.task ?? null;
  if (task === stepping) return;
  endStep();
  if (task === null || task.status !== PENDING || !task.loop.followed) return;
  begin(task);
  if (endAsked) return;
  endAsked = true;
  process.nextTick(endWhenDrained);
}

function followsSteps(instrument: Instrument): boolean {
  try {
    return instrument.beforeTaskStep !== undefined || instrument.afterTaskStep !== undefined;
  } catch {
    // A getter of the user's threw. It is told when it is called.
    return false;
  }
}

contextHooks.watch = (loop): void => {
  loop.followed = !loop.closed && (loop.debug || loop.instruments.some(followsSteps));
  if (loop.followed) loops.add(loop);
  else loops.delete(loop);
  if (loops.size === 0) {
    hook?.disable();
  } else {
    hook ??= createHook({ before: onBefore });
    hook.enable();
  }
};

// A turn may have been asked for inside of a task: what runs in it belongs to nobody. Entering a
// resource is cheaper than `run(undefined)` where AsyncLocalStorage keeps the frame: that makes a
// map each time.
contextHooks.makeRoot = () => {
  const root = frameStorage.run(undefined, () => new AsyncResource('UVIO', withoutDestroy));
  return (fn): void => {
    if (stepping !== null) endStep();
    if (nobodyFollows()) frameStorage.run(undefined, fn);
    else root.runInAsyncScope(fn);
  };
};
