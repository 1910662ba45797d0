/**
 * What the task layer adds to the loop: methods, and words of its own in the loop's interfaces.
 *
 * In: nothing but being imported. Out: `loop.createTask`, `loop.createFuture`. Never: anything that
 * the loop itself would have to know.
 */
import { EventLoop } from '../loop/event-loop.ts';
import { currentFrame } from './frame.ts';
import { Future } from './future.ts';
import { runForever, stopLoop } from './run.ts';
import { readSpawnArgs, spawnTask } from './spawn.ts';
import type { AnyCoro, Coro, Task, TaskOptions } from './task.ts';

declare module '../loop/event-loop.ts' {
  interface EventLoop {
    createFuture<T>(): Future<T>;
    /** The same as the function `createTask`, on this loop. */
    createTask<T>(fn: Coro<T>, options?: TaskOptions): Task<T>;
    /**
     * Runs until `stop()`. Node cannot block, hence a promise. Keeps the process alive meanwhile.
     * InvalidStateError when the loop runs already or is closed. (asyncio: run_forever)
     */
    runForever(): Promise<void>;
    /**
     * Ends `runForever()` after what is ready now; before it, lets the next one end like that.
     * InvalidStateError in a `run()`: its main task is to be cancelled. (asyncio: stop)
     */
    stop(): void;
    /**
     * Resolves at once: JavaScript tells no library which generators are suspended. Those in a
     * `for await` of a task are closed when the task is cancelled, as the end of a run does with
     * all that are left; one whose `next()` was called by hand is to be closed by hand.
     * (asyncio: shutdown_asyncgens)
     */
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

EventLoop.prototype.runForever = function forever(this: EventLoop): Promise<void> {
  return runForever(this);
};

EventLoop.prototype.stop = function stop(this: EventLoop): void {
  stopLoop(this);
};

EventLoop.prototype.shutdownAsyncGenerators = function shutdownAsyncGenerators(): Promise<void> {
  return Promise.resolve();
};
