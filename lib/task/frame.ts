/**
 * What the code that runs now belongs to: loop, task, innermost cancel region, variables.
 *
 * In: `frameStorage.run(frame, fn)` at a task's start and at a scope's entry. Out:
 * `currentFrame()`.
 * Never: one AsyncLocalStorage.run per wait; a frame is read there, not made.
 */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import type { EventLoop } from '../loop/event-loop.ts';
import { runningLoop } from '../loop/event-loop.ts';
import { defaultLoop } from '../loop/policy.ts';
import { carriedStorage } from './carried-storage.ts';
import { type FrameStorage, HookStorage, hooksNeeded, unfollowedPromise } from './hook-storage.ts';
import type { Region } from './scope-node.ts';
import type { Task } from './task.ts';

/** Context variables by their identity. Copied when one is set, so a snapshot is the map itself. */
export type Vars = ReadonlyMap<object, unknown>;

/** What owns context variables: a task, or a `Context`. */
export interface VarsBox {
  /** @internal */
  vars: Vars | null;
}

/** The value in AsyncLocalStorage. Regions are frames, too: entering a scope makes one object. */
export class Frame {
  readonly loop: EventLoop;
  /** @internal The running task; null in callbacks and outside of tasks. */
  readonly task: Task | null;
  /** @internal Innermost cancel region; the task itself when there is no scope. */
  readonly scope: Region;
  /** @internal */
  readonly box: VarsBox;

  constructor(loop: EventLoop, task: Task | null, scope: Region, box: VarsBox) {
    this.loop = loop;
    this.task = task;
    this.scope = scope;
    this.box = box;
  }
}

/** @internal Destroy hooks would cost a finalizer for each. */
export const withoutDestroy: { readonly requireManualDestroy: boolean } = {
  requireManualDestroy: true,
};

const hookStorage: HookStorage<Frame> | null = hooksNeeded(AsyncLocalStorage)
  ? new HookStorage<Frame>()
  : null;

/** Node's own, with what the others have. */
class PlainStorage<T>
  extends AsyncLocalStorage<T | undefined>
  implements FrameStorage<T | undefined>
{
  runBoth<A, B, R>(store: T | undefined, fn: (first: A, second: B) => R, first: A, second: B): R {
    return this.run(store, fn, first, second);
  }
}

/** @internal Makes a frame current while `fn` runs, and in all async code that starts in it. */
export const frameStorage: FrameStorage<Frame | undefined> =
  hookStorage ?? carriedStorage<Frame>() ?? new PlainStorage<Frame>();

/** @internal Makes a promise with less, where promises are what stores follow; null elsewhere. */
export const plainPromise: typeof unfollowedPromise | null =
  hookStorage === null ? null : unfollowedPromise;

/** @internal Nobody but uvio keeps anything for async code. */
export function nobodyFollows(): boolean {
  return hookStorage?.alone() ?? false;
}

/**
 * @internal Keeps the async context of the caller, for code that runs later. Null where nobody but
 * uvio has anything in it: then a frame is all there is to enter.
 */
export function captureResource(): AsyncResource | null {
  return nobodyFollows() ? null : new AsyncResource('UVIO', withoutDestroy);
}

/** Undefined outside of tasks and scopes. */
export function currentFrame(): Frame | undefined {
  return frameStorage.getStore();
}

/** The loop of the current task, else the one that runs callbacks now, else the default loop. */
export function currentLoop(): EventLoop {
  return frameStorage.getStore()?.loop ?? runningLoop() ?? defaultLoop();
}
