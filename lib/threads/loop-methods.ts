/**
 * What threads add to the loop.
 *
 * In: nothing but being imported. Out: `loop.shutdownDefaultExecutor`, calls from other threads.
 * Never: exports; it adds to EventLoop.
 */
import { EventLoop } from '../loop/event-loop.ts';
import { shutdownDefaultExecutor } from './default-executor.ts';
import { callByName, channelOf, register } from './threadsafe.ts';

declare module '../loop/event-loop.ts' {
  interface EventLoop {
    /**
     * Ends the default pool, and the executor that was set inside the run: takes no new work and
     * waits for what was accepted. After `timeoutMs` it gives up with a process warning, code
     * UVIO_EXECUTOR_TIMEOUT, and stops the pool's threads, whose jobs then fail with
     * BrokenResourceError. The end of a run does this with five minutes. Not cancellable.
     * @param timeoutMs milliseconds of real time; default Infinity.
     * (asyncio: loop.shutdown_default_executor)
     */
    shutdownDefaultExecutor(timeoutMs?: number): Promise<void>;
    /**
     * Asks this loop to run a registered function in its next turn. TypeError when there is none
     * of that name; InvalidStateError when the loop is closed. That is for this thread; from
     * another one, post the same to the loop's channel:
     *
     *     const channel = new BroadcastChannel(name); // of loop.threadsafeChannel
     *     channel.postMessage(['progress', 50]);
     *     channel.close();
     *
     * Calls that a job made are run before its result is seen.
     * (asyncio: loop.call_soon_threadsafe)
     */
    callSoonThreadsafe(name: string, ...args: unknown[]): void;
    /**
     * Lets other threads call `fn` by name; it runs as a callback of this loop, without a current
     * task, and may start some (asyncio: run_coroutine_threadsafe). Calls of unknown names go to
     * the exception handler. Disposing takes it back. InvalidStateError: the name is taken.
     */
    registerThreadsafe<A extends unknown[]>(name: string, fn: (...args: A) => void): Disposable;
    /** The name of the BroadcastChannel on which the loop takes `[name, ...args]`. */
    readonly threadsafeChannel: string;
  }
}

EventLoop.prototype.shutdownDefaultExecutor = function (
  this: EventLoop,
  timeoutMs: number = Infinity,
): Promise<void> {
  return shutdownDefaultExecutor(this, timeoutMs);
};

EventLoop.prototype.callSoonThreadsafe = function (
  this: EventLoop,
  name: string,
  ...args: unknown[]
): void {
  callByName(this, name, args);
};

EventLoop.prototype.registerThreadsafe = function <A extends unknown[]>(
  this: EventLoop,
  name: string,
  fn: (...args: A) => void,
): Disposable {
  return register(this, name, fn as (...args: unknown[]) => void);
};

Object.defineProperty(EventLoop.prototype, 'threadsafeChannel', {
  configurable: true,
  get(this: EventLoop): string {
    return channelOf(this);
  },
});
