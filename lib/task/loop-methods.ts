/**
 * What the task layer adds to the loop: methods, and words of its own in the loop's interfaces.
 *
 * In: nothing but being imported. Out: `loop.createTask`, `loop.createFuture`. Never: anything that
 * the loop itself would have to know.
 */
import { EventLoop } from '../loop/event-loop.ts';
import { currentFrame } from './frame.ts';
import { Future } from './future.ts';
import { readSpawnArgs, spawnTask } from './spawn.ts';
import type { AnyCoro, Coro, Task, TaskOptions } from './task.ts';

declare module '../loop/event-loop.ts' {
  interface EventLoop {
    createFuture<T>(): Future<T>;
    /** The same as the function `createTask`, on this loop. */
    createTask<T>(fn: Coro<T>, options?: TaskOptions): Task<T>;
    /** Resolves at once: JavaScript does not tell a library which generators are suspended. */
    shutdownAsyncGenerators(): Promise<void>;
  }

  interface ExceptionContext {
    readonly task?: Task;
    readonly future?: Future;
  }

  interface Instrument {
    taskSpawned?(task: Task): void;
    /** It will take its next step soon. */
    taskScheduled?(task: Task): void;
    beforeTaskStep?(task: Task): void;
    afterTaskStep?(task: Task): void;
    taskExited?(task: Task): void;
  }
}

EventLoop.prototype.createFuture = function createFuture<T>(this: EventLoop): Future<T> {
  return new Future<T>({ loop: this });
};

EventLoop.prototype.createTask = function createTask<T>(
  this: EventLoop,
  fn: Coro<T>,
  options?: TaskOptions,
): Task<T> {
  const checked = readSpawnArgs('createTask', fn, []);
  return spawnTask<T>(currentFrame(), this, null, null, options ?? null, checked.fn as AnyCoro, []);
};

EventLoop.prototype.shutdownAsyncGenerators = function shutdownAsyncGenerators(): Promise<void> {
  return Promise.resolve();
};
