/**
 * Work in other threads and processes without a pool of one's own.
 *
 * In: functions. Out: their results. Never: threads that outlive the run they were started in.
 */
import { availableParallelism } from 'node:os';
import { argTypeError, ClosedResourceError, InvalidStateError } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { CapacityLimiter } from '../sync/capacity-limiter.ts';
import { currentLoop } from '../task/frame.ts';
import { loopState } from '../task/loop-state.ts';
import { JobPool, maxTimerMs } from './job-pool.ts';
import { Outstanding } from './outstanding.ts';
import { ProcessLane } from './process-lane.ts';
import { makeCall, type ThreadFunction } from './sent-function.ts';
import { ThreadLane } from './thread-lane.ts';
import { defaultIdleMs, type Executor, type ExecutorOptions } from './thread-pool.ts';

/** asyncio's THREAD_JOIN_TIMEOUT: how long the end of a run waits for threads. */
const closeTimeoutMs = 300_000;
/** Threads bounded by a limiter, whose size can change, instead of a number. */
class LimitedPool implements Executor {
  readonly limiter: CapacityLimiter = new CapacityLimiter(availableParallelism());
  readonly jobs: JobPool = new JobPool((host) => new ThreadLane(host), Infinity, defaultIdleMs);
  readonly #waiting: Outstanding = new Outstanding();
  #closed = false;

  async submit<T, A extends unknown[]>(
    fn: ThreadFunction<T, A>,
    args: A,
    options?: ExecutorOptions,
  ): Promise<Awaited<T>> {
    const call = makeCall(fn, args);
    if (this.#closed) throw new ClosedResourceError('The pool is closed');
    this.#waiting.add();
    try {
      // A task may have several jobs, so it cannot be the borrower itself.
      await this.limiter.acquire({ signal: options?.signal, borrower: call });
      try {
        return (await this.jobs.submit(call, options)) as Awaited<T>;
      } finally {
        this.limiter.release(call);
      }
    } finally {
      this.#waiting.remove();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#waiting.none();
    await this.jobs.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The executors of one loop. */
class LoopExecutors {
  readonly pool: LimitedPool = new LimitedPool();
  readonly processes: JobPool;
  /** Given to `setDefaultExecutor` inside a run. */
  chosen: Executor | null = null;
  #shutDown = false;

  constructor(loop: EventLoop) {
    const processes = availableParallelism();
    this.processes = new JobPool((host) => new ProcessLane(host), processes, defaultIdleMs);
    // Registers the end of tasks, if nothing has yet: their clean-up may still use threads.
    loopState(loop);
    loop.closeHooks.add(() => this.shutDown(closeTimeoutMs));
  }

  get current(): Executor {
    if (this.#shutDown) throw new ClosedResourceError('The default executor was shut down');
    return this.chosen ?? threadExecutor ?? this.pool;
  }

  async shutDown(timeoutMs: number): Promise<void> {
    this.#shutDown = true;
    const closed = Promise.all([this.chosen?.close(), this.pool.close(), this.processes.close()]);
    if (timeoutMs > maxTimerMs) {
      await closed;
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      // Real time also where the loop's clock is not: threads know no other.
      timer = setTimeout(resolve, timeoutMs, true);
    });
    const isLate = await Promise.race([closed.then(() => false), late]);
    clearTimeout(timer);
    if (isLate) this.#giveUp(closed, timeoutMs);
  }

  #giveUp(closed: Promise<unknown>, timeoutMs: number): void {
    closed.catch(() => {});
    process.emitWarning(`The default executor did not end within ${timeoutMs} ms`, {
      code: 'UVIO_EXECUTOR_TIMEOUT',
    });
    void this.pool.jobs.terminate();
    void this.processes.terminate();
  }
}

const executors: WeakMap<EventLoop, LoopExecutors> = new WeakMap();
/** Given to `setDefaultExecutor` outside of runs. */
let threadExecutor: Executor | null = null;

function executorsOf(loop: EventLoop): LoopExecutors {
  let found = executors.get(loop);
  if (found === undefined) {
    if (loop.closed) throw new InvalidStateError('The loop is closed');
    found = new LoopExecutors(loop);
    executors.set(loop, found);
  }
  return found;
}

/** @internal */
export async function shutdownDefaultExecutor(loop: EventLoop, timeoutMs: number): Promise<void> {
  checkMs('timeoutMs', timeoutMs);
  if (!loop.closed) await executorsOf(loop).shutDown(timeoutMs);
}

/**
 * Runs `fn(...args)` in a thread of the default executor, while this thread's loop goes on.
 * Cancelling a job that waits for a thread ends the wait at once. One that runs is waited for,
 * since a thread cannot be stopped, and then the cancellation is raised; an error of `fn` comes
 * before it. For work that must be stopped: `toProcess`. Errors as `ThreadPool.submit`.
 * (asyncio.to_thread, trio.to_thread.run_sync, curio.run_in_thread)
 */
export function toThread<T, A extends unknown[]>(
  fn: ThreadFunction<T, A>,
  ...args: A
): Promise<Awaited<T>> {
  return runInExecutor(null, fn, ...args);
}

/**
 * Runs `fn(...args)` in an executor. TypeError for what is none. (asyncio: loop.run_in_executor)
 * @param executor null: the default one, as `toThread`.
 */
export async function runInExecutor<T, A extends unknown[]>(
  executor: Executor | null,
  fn: ThreadFunction<T, A>,
  ...args: A
): Promise<Awaited<T>> {
  if (executor !== null) checkExecutor(executor);
  return await (executor ?? executorsOf(currentLoop()).current).submit(fn, args);
}

function checkExecutor(executor: unknown): void {
  const { submit, close } = (executor ?? {}) as Partial<Executor>;
  if (typeof submit === 'function' && typeof close === 'function') return;
  throw argTypeError('executor', 'an Executor', executor);
}

/**
 * What `toThread` uses from now on. Inside a run: for this run, which closes it at its end, as
 * asyncio does. Outside: for all loops of this thread that have none of their own, and closing it
 * stays with the caller. TypeError for what is no executor. (asyncio: loop.set_default_executor)
 */
export function setDefaultExecutor(executor: Executor): void {
  checkExecutor(executor);
  const loop = currentLoop();
  if (loop.running) executorsOf(loop).chosen = executor;
  else threadExecutor = executor;
}

/**
 * Bounds the work in the default pool of the current loop; not that in an executor which
 * `setDefaultExecutor` was given. Starts with the number of cores. `totalTokens` may be changed:
 * more than cores suit work that waits. (trio.to_thread.current_default_thread_limiter)
 */
export function defaultThreadLimiter(): CapacityLimiter {
  return executorsOf(currentLoop()).pool.limiter;
}

/**
 * As toThread, in a process that is ended when the task is cancelled: at once, by SIGKILL, and
 * what it had started itself goes on. The cancellation is raised when the process is gone. At
 * most as many processes as cores, used again, ended when idle for ten seconds or with the run.
 * Errors as `ThreadPool.submit`. (trio: anyio.to_process.run_sync; curio.run_in_process)
 */
export async function toProcess<T, A extends unknown[]>(
  fn: ThreadFunction<T, A>,
  ...args: A
): Promise<Awaited<T>> {
  const call = makeCall(fn, args);
  return (await executorsOf(currentLoop()).processes.submit(call, undefined)) as Awaited<T>;
}
