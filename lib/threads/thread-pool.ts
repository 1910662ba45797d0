/**
 * Executors, and the pool of worker threads that is one.
 *
 * In: functions and their arguments. Out: results, made in another thread. Never: a thread before
 * the first job.
 */
import { availableParallelism } from 'node:os';
import type { WaitOptions } from '../base/errors.ts';
import { checkInteger, checkMs } from '../base/units.ts';
import { JobPool } from './job-pool.ts';
import { makeCall, type ThreadFunction } from './sent-function.ts';
import { ThreadLane } from './thread-lane.ts';

export interface ExecutorOptions extends WaitOptions {
  /** Moved instead of copied: they have no bytes here any more once the job has started. */
  transfer?: readonly ArrayBuffer[];
}

export interface Executor extends AsyncDisposable {
  submit<T, A extends unknown[]>(
    fn: ThreadFunction<T, A>,
    args: A,
    options?: ExecutorOptions,
  ): Promise<Awaited<T>>;
  /** Waits for running work; nothing new is taken. */
  close(): Promise<void>;
}

export const defaultIdleMs = 10_000;

/**
 * Worker threads that start when needed, at most `maxThreads`, and end when idle for `idleMs`.
 * Idle threads do not keep the process alive. Jobs are served first come, first served.
 * (concurrent.futures.ThreadPoolExecutor)
 */
export class ThreadPool implements Executor {
  readonly #jobs: JobPool;

  /**
   * Defaults: the number of cores, 10_000. TypeError and RangeError for other than a whole number
   * of threads from 1 on; `idleMs` may be Infinity.
   */
  constructor(options: { maxThreads?: number; idleMs?: number } = {}) {
    const { maxThreads = availableParallelism(), idleMs = defaultIdleMs } = options;
    checkInteger('options.maxThreads', maxThreads, 1);
    checkMs('options.idleMs', idleMs);
    this.#jobs = new JobPool((host) => new ThreadLane(host), maxThreads, idleMs);
  }

  /**
   * Runs `fn(...args)` in a thread. The arguments are copied when the job starts.
   *
   * Cancellation, and an abort of `signal`, remove a job that waits at once. One that runs is
   * waited for, since a thread cannot be stopped; then the cancellation is raised, or
   * `signal.reason`. An error of the job itself comes first.
   *
   * Errors keep class name, message, stack, cause and fields; classes of JavaScript itself are
   * themselves again, others are an Error of that name. Others: TypeError with
   * ERR_UVIO_NOT_SENDABLE for a function, argument or result that cannot be copied;
   * BrokenResourceError when the thread ends meanwhile (`process.exit`, out of memory: see
   * `cause`), while the pool goes on; ClosedResourceError after `close()`.
   */
  async submit<T, A extends unknown[]>(
    fn: ThreadFunction<T, A>,
    args: A,
    options?: ExecutorOptions,
  ): Promise<Awaited<T>> {
    return (await this.#jobs.submit(makeCall(fn, args), options)) as Awaited<T>;
  }

  /** Lets all accepted jobs end, then ends the threads. Not cancellable. Idempotent. */
  close(): Promise<void> {
    return this.#jobs.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
