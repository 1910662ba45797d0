/**
 * Running a program: a loop of its own, a main task, and an end that leaves nothing behind.
 *
 * In: main and options. Out: main's result, after everything it started has ended. Never: a handle
 * or listener left open, `process.exit`.
 */
import { isMainThread } from 'node:worker_threads';
import { type Awaitable, InvalidStateError } from '../base/errors.ts';
import { type EventLoop, type Instrument, runningLoop } from '../loop/event-loop.ts';
import { getLoopPolicy, type LoopPolicy } from '../loop/policy.ts';
import { tell } from '../loop/reports.ts';
import { reportLeftTasks } from './debug.ts';
import { checkBody } from './enter.ts';
import { reportFailures } from './failures.ts';
import { currentFrame, currentLoop } from './frame.ts';
import { CANCELLED } from './future.ts';
import { closing, forgetLoop, loopState } from './loop-state.ts';
import { spawnTask } from './spawn.ts';
import { type AnyCoro, allTasks, type Task } from './task.ts';

export interface RunOptions {
  /** Overrides `setLoopPolicy` for this run. */
  policy?: LoopPolicy;
  /** Slow-callback reports, creation stacks, misuse checks. Default: UVIO_DEBUG=1. */
  debug?: boolean;
  /** Cancels the main task when it aborts. */
  signal?: AbortSignal;
  /**
   * Signals that cancel the main task; a second one ends the process at once. If main ended by
   * that, the process ends by the signal. Default: ['SIGINT'] on the main thread, none in workers.
   * One that the program handles itself (openSignalReceiver, addSignalHandler) is left to it.
   */
  handleSignals?: readonly NodeJS.Signals[] | false;
  /** Name of the main task. */
  name?: string;
  instruments?: readonly Instrument[];
}

/** Nothing due keeps the process alive while main waits for a peer or a signal; this does. */
const keepAliveMs = 2 ** 40;

/** @internal Signals that the program handles itself: no business of a run. */
export const handledSignals: Set<NodeJS.Signals> = new Set();

/** Listens to the signals of one run. */
class Interrupts {
  readonly #task: Task;
  readonly #signals: readonly NodeJS.Signals[];
  /** The first one that came. */
  received: NodeJS.Signals | null = null;

  constructor(task: Task, signals: readonly NodeJS.Signals[]) {
    this.#task = task;
    this.#signals = signals;
    for (const signal of signals) process.on(signal, this.#onSignal);
  }

  stop(): void {
    for (const signal of this.#signals) process.off(signal, this.#onSignal);
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    if (handledSignals.has(signal)) return;
    if (this.received !== null) {
      this.stop();
      process.kill(process.pid, signal);
      return;
    }
    this.received = signal;
    this.#task.cancel(new Error(`The process received ${signal}`));
  };
}

function ended(task: Task, takesError: boolean): Promise<void> {
  return new Promise((resolve) => {
    task.observe({ onFutureDone: () => resolve(), takesError });
  });
}

const leftBehind: WeakSet<Task> = new WeakSet();

/**
 * @internal A run ends without it: it was cancelled, and whoever started it gave it up and said so.
 * Its promise may never settle, and the program would never end.
 */
export function leaveBehind(task: Task): void {
  leftBehind.add(task);
}

/** Until none is left: clean-up may start new ones. */
async function endTasks(loop: EventLoop): Promise<void> {
  for (let round = 0; ; round++) {
    const tasks = [...allTasks(loop)].filter((task) => !leftBehind.has(task));
    if (tasks.length === 0) return;
    if (loop.debug && round === 0) reportLeftTasks(tasks);
    for (const task of tasks) task.cancel('the run ended');
    for (const task of tasks) await ended(task, false);
  }
}

closing.endTasks = endTasks;

/** Marks the loop as running, and keeps the process alive, until the result is called. */
function beginRun(loop: EventLoop): () => void {
  loop.running = true;
  tell(loop, 'beforeRun');
  const alive = loop.armTimer(loop.time() + keepAliveMs, { onTimer() {} });
  return () => {
    loop.cancelTimer(alive);
    loop.running = false;
    tell(loop, 'afterRun');
  };
}

/** @internal `loop.runForever()`. */
export async function runForever(loop: EventLoop): Promise<void> {
  if (loop.closed) throw new InvalidStateError('The loop is closed');
  if (loop.running) throw new InvalidStateError('The loop is running already');
  const state = loopState(loop);
  const endRun = beginRun(loop);
  await new Promise<void>((resolve) => {
    state.endForever = resolve;
    if (state.stopAsked) stopLoop(loop);
  });
  state.stopAsked = false;
  endRun();
}

/** @internal `loop.stop()`. */
export function stopLoop(loop: EventLoop): void {
  const state = loopState(loop);
  const { endForever } = state;
  if (endForever === null) {
    if (loop.running) throw new InvalidStateError('The loop is in run(): cancel the main task');
    state.stopAsked = true;
    return;
  }
  state.endForever = null;
  // Behind what is ready now, as asyncio does.
  loop.enqueue({ runJob: () => endForever() });
}

function checkNoRun(): void {
  const loop = currentFrame()?.loop ?? runningLoop();
  if (loop?.running) throw new InvalidStateError('run() cannot be called inside another run');
}

/** Several runs on one loop (asyncio.Runner, curio.Kernel). */
export class Runner implements AsyncDisposable {
  readonly loop: EventLoop;
  readonly #options: RunOptions;
  #closed = false;
  /** The signal that cancelled main. */
  #received: NodeJS.Signals | null = null;

  constructor(options: RunOptions = {}) {
    this.#options = options;
    this.loop = (options.policy ?? getLoopPolicy()).createLoop();
    if (options.debug !== undefined) this.loop.debug = options.debug;
    for (const instrument of options.instruments ?? []) this.loop.addInstrument(instrument);
  }

  /** Runs `main` as a task and gives its result. What it leaves behind goes on in the next run. */
  async run<T>(main: () => Awaitable<T>): Promise<T> {
    checkBody('run', main);
    checkNoRun();
    const { loop } = this;
    if (this.#closed) throw new InvalidStateError('The runner is closed');
    if (loop.running) throw new InvalidStateError('The runner is running already');
    const { task } = await this.#runMain(main);
    return task.result();
  }

  /** Cancels what is left and closes the loop. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    if (this.loop.running) throw new InvalidStateError('The runner is running');
    this.#closed = true;
    const { loop } = this;
    loop.running = true;
    await endTasks(loop);
    loop.running = false;
    reportFailures(loop);
    await loop.close();
    forgetLoop(loop);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal For `run`: the end of main and of all else, then the signal that caused it. */
  async runOnce<T>(main: () => Awaitable<T>): Promise<T> {
    const { task } = await this.#runMain(main);
    await this.close();
    const signal = this.#received;
    if (signal !== null && task.status === CANCELLED) process.kill(process.pid, signal);
    return task.result();
  }

  /** A task cannot be passed through a promise bare: it would be awaited. */
  async #runMain<T>(main: () => Awaitable<T>): Promise<{ task: Task<T> }> {
    const { loop } = this;
    const { signal, name = 'main' } = this.#options;
    const handled = this.#options.handleSignals ?? (isMainThread ? ['SIGINT' as const] : false);
    const endRun = beginRun(loop);
    const task = spawnTask<T>(undefined, loop, null, null, { name }, main as AnyCoro, []);
    const done = ended(task as Task, true);
    const interrupts = new Interrupts(task as Task, handled === false ? [] : handled);
    const onAbort = (): void => void task.cancel(signal?.reason);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
    await done;
    signal?.removeEventListener('abort', onAbort);
    interrupts.stop();
    this.#received = interrupts.received;
    endRun();
    return { task };
  }
}

/**
 * Runs `main` as the main task and returns its result. Before it settles, tasks that are left are
 * cancelled and awaited, async generators are closed, thread pools are ended.
 * Rejects with main's error; `InvalidStateError` inside another run; TypeError for a promise.
 * (asyncio.run, uvloop.run, trio.run, curio.run)
 */
export async function run<T>(main: () => Awaitable<T>, options?: RunOptions): Promise<T> {
  checkBody('run', main);
  checkNoRun();
  return await new Runner(options).runOnce(main);
}

/** The loop of the running task; throws InvalidStateError outside a run. */
export function getRunningLoop(): EventLoop {
  const loop = currentFrame()?.loop ?? runningLoop();
  if (loop === undefined || loop.closed) throw new InvalidStateError('No loop is running');
  return loop;
}

/** The running loop, else the thread's default loop. */
export function getEventLoop(): EventLoop {
  return currentLoop();
}
