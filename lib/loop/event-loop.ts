/**
 * The scheduler of one run, a guest on Node's own loop: callbacks, timers, errors, figures.
 *
 * In: callbacks and deadlines; turns and timer events of the backend. Out: calls, in order; turns
 * and one armed timer asked of the backend. Never: a concrete backend, a task, a socket, blocking.
 *
 * A turn runs what was ready when it began. As many as `TurnBudget` allows follow each other within
 * one turn of Node, with all microtasks between them; then the backend is asked for a turn, which
 * lets I/O, Node's timers and setImmediate run.
 */
import { Deque } from '../base/deque.ts';
import { argTypeError, InvalidStateError } from '../base/errors.ts';
import { checkMs, noteSeconds } from '../base/units.ts';
import type { Backend, BackendFactory, BackendHost } from './backend.ts';
import { drain } from './drain.ts';
import {
  bindCallback,
  type Callback,
  contextHooks,
  type Handle,
  LoopTimer,
  noContext,
  SoonHandle,
  type TimerHandle,
} from './handles.ts';
import { BusyMeter, LagHistogram, type LoopMetrics } from './metrics.ts';
import { type ExceptionContext, printException, tell } from './reports.ts';
import { runJobs, runJobsTimed, runTimers, runTimersTimed } from './running.ts';
import { type TimerOwner, TimerQueue } from './timer-queue.ts';
import type { TimerTarget, TimerWheel } from './timer-wheel.ts';
import { TurnBudget } from './turn-budget.ts';
import { TurnWait } from './turn-wait.ts';

export { type ContextHooks, contextHooks, type Handle, type TimerHandle } from './handles.ts';
export type { LoopMetrics } from './metrics.ts';
export type { ExceptionContext } from './reports.ts';
export type { TimerTarget } from './timer-wheel.ts';

const defaultSlowCallbackMs = 100;

/** One entry of the ready queue. */
export interface Job {
  /** @internal */
  runJob(): void;
}

/**
 * Observer of the scheduler (trio.abc.Instrument, curio.Activation). Must not throw: one that does
 * is removed, and its error goes to the exception handler.
 */
export interface Instrument {
  beforeRun?(): void;
  afterRun?(): void;
  /** Nothing is ready: the loop gives way to Node. Infinity: no timer is armed. */
  beforeIoWait?(timeoutMs: number): void;
  afterIoWait?(timeoutMs: number): void;
}

export type ExceptionHandler = (loop: EventLoop, context: ExceptionContext) => void;

export interface EventLoopOptions {
  /** Default: UVIO_DEBUG=1. */
  debug?: boolean;
}

let current: EventLoop | undefined;

/** The loop whose callbacks run right now; undefined between them. */
export function runningLoop(): EventLoop | undefined {
  return current;
}

const settled: Promise<void> = Promise.resolve();

export class EventLoop implements BackendHost, TimerOwner {
  /** 'uv', 'io_uring', 'pure' or 'simulated'. */
  readonly backend: string;
  /** Debug mode reports longer callbacks. */
  slowCallbackMs: number = defaultSlowCallbackMs;
  /** Set while a `run` is on this loop. */
  running = false;

  /** @internal */
  readonly backendHandle: Backend;
  /** @internal */
  readonly timers: TimerQueue;
  /** Run by `close()`, before the backend closes. @internal */
  readonly closeHooks: Set<() => void | Promise<void>> = new Set();
  /** Kept by the task layer. @internal */
  liveTasks = 0;
  /** Waits for threads, processes, files; simulated time stands still meanwhile. @internal */
  outsideWork = 0;
  /** @internal */
  looks = 0;
  /** @internal */
  instruments: readonly Instrument[] = [];
  /** Debug mode, or somebody observes: one look for all that is only done then. @internal */
  watched = false;
  /** The task layer tells of each step. @internal */
  followed = false;

  readonly #ready: Deque<Job> = new Deque();
  #debug: boolean;
  #closed = false;
  #closing: Promise<void> | undefined;
  #handler: ExceptionHandler | null = null;
  #iterations = 0;

  /** A turn is running or surely coming, so `enqueue` needs to do nothing. */
  #awake = false;
  readonly #budget: TurnBudget = new TurnBudget();
  #backendTurnAsked = false;

  #ioWaitMs: number = -1;

  readonly #lag: LagHistogram = new LagHistogram();
  readonly #busy: BusyMeter = new BusyMeter();
  readonly #atRoot: (fn: Callback) => void;
  readonly #hopLater: Callback;
  readonly #hopNow: Callback;
  readonly #turnBody: Callback;
  readonly #backendTurnBody: Callback;
  readonly #timersBody: Callback;

  constructor(makeBackend: BackendFactory, options?: EventLoopOptions) {
    this.#debug = options?.debug ?? process.env['UVIO_DEBUG'] === '1';
    this.#atRoot = contextHooks.makeRoot();
    this.#hopNow = (): void => this.#runOwnTurns();
    this.#hopLater = (): void => process.nextTick(this.#hopNow);
    this.#turnBody = (): void => this.#runTurn();
    this.#backendTurnBody = (): void => this.#runBackendTurn();
    this.#timersBody = (): void => this.timers.fire();
    this.backendHandle = makeBackend(this);
    this.backend = this.backendHandle.name;
    this.timers = new TimerQueue(this.backendHandle, this, this.#lag);
    if (this.#debug) this.#watch();
  }

  /** Slow-callback reports, creation stacks, misuse checks. */
  get debug(): boolean {
    return this.#debug;
  }

  set debug(on: boolean) {
    this.#debug = on;
    this.#watch();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Nothing is ready. Meant to be asked between turns. @internal */
  get idle(): boolean {
    return !this.#awake;
  }

  /** How many turns there were. @internal */
  get turns(): number {
    return this.#iterations;
  }

  /** Monotonic milliseconds on the clock of `performance.now()`; virtual when simulated. */
  time(): number {
    return this.backendHandle.now();
  }

  /** Uniform in [0, 1); of the backend's seed when that has one. @internal */
  random(): number {
    return this.backendHandle.random?.() ?? Math.random();
  }

  /** First in, first out, in the next turn. (asyncio: call_soon) */
  callSoon<A extends unknown[]>(callback: (...args: A) => void, ...args: A): Handle {
    checkCallback(callback);
    this.#checkOpen();
    return this.#addHandle(bindCallback(callback, args));
  }

  /**
   * Runs `callback` once after `delayMs`, never earlier. 0 or less: in the next turn.
   * Infinity: never. Within one millisecond, late timers may run in order of arming.
   * TypeError for NaN. (asyncio: call_later)
   */
  callLater<A extends unknown[]>(
    delayMs: number,
    callback: (...args: A) => void,
    ...args: A
  ): TimerHandle {
    // The checks of all callers of this hot path in one; which one it was is told in the cold.
    if (typeof delayMs !== 'number' || Number.isNaN(delayMs) || typeof callback !== 'function') {
      checkMs('delayMs', delayMs);
      checkCallback(callback);
    }
    if (this.#closed) this.#checkOpen();
    if (this.#debug) noteSeconds('A delay', delayMs);
    // Of most calls the rest is empty: asked this way, no array is made for it.
    const work =
      // biome-ignore lint/complexity/noArguments: the rest would be an array.
      arguments.length === 2 && contextHooks.capture === noContext
        ? (callback as unknown as Callback)
        : bindCallback(callback, args);
    const handle = new LoopTimer(this.timers, work);
    this.timers.armAfter(delayMs, handle);
    return handle;
  }

  /** The same at a time of `time()`. Equal times keep their order. (asyncio: call_at) */
  callAt<A extends unknown[]>(
    whenMs: number,
    callback: (...args: A) => void,
    ...args: A
  ): TimerHandle {
    checkMs('whenMs', whenMs);
    checkCallback(callback);
    this.#checkOpen();
    const handle = new LoopTimer(this.timers, bindCallback(callback, args));
    handle.slot = this.timers.armAt(whenMs, handle);
    return handle;
  }

  /** `callSoon` inside a context: anything with `run(fn)`. */
  callInContext(context: { run(fn: () => void): unknown }, callback: () => void): Handle {
    checkCallback(callback);
    this.#checkOpen();
    return this.#addHandle(() => void context.run(callback));
  }

  #addHandle(work: Callback): Handle {
    const handle = new SoonHandle(work);
    this.#ready.push(handle);
    if (!this.#awake) this.#wake();
    return handle;
  }

  /** Null restores the default: print to stderr and set `process.exitCode` to 1. */
  setExceptionHandler(handler: ExceptionHandler | null): void {
    if (handler !== null && typeof handler !== 'function') {
      throw argTypeError('handler', 'a function or null', handler);
    }
    this.#handler = handler;
  }

  callExceptionHandler(context: ExceptionContext): void {
    if (this.#handler === null) {
      printException(context);
      return;
    }
    try {
      this.#handler(this, context);
    } catch (error) {
      printException(context);
      printException({ message: 'The exception handler itself threw', error });
    }
  }

  /**
   * From the next event on; twice is once. Whether it follows steps is looked at here: a method for
   * them that is added later is not called. TypeError for what is no object.
   */
  addInstrument(instrument: Instrument): void {
    if (typeof instrument !== 'object' || instrument === null) {
      throw argTypeError('instrument', 'an object', instrument);
    }
    if (this.instruments.includes(instrument)) return;
    this.instruments = [...this.instruments, instrument];
    this.#watch();
  }

  /** From the next event on. Nothing when it is not there. */
  removeInstrument(instrument: Instrument): void {
    this.instruments = this.instruments.filter((other) => other !== instrument);
    this.#watch();
  }

  #watch(): void {
    this.watched = !this.#closed && (this.#debug || this.instruments.length > 0);
    contextHooks.watch(this);
  }

  metrics(): LoopMetrics {
    const counters = this.backendHandle.counters();
    return {
      iterations: this.#iterations,
      ...this.#busy.read(),
      tasks: this.liveTasks,
      ready: this.#ready.length,
      timers: this.timers.size,
      connections: counters.streams,
      writeBufferBytes: counters.writeBufferBytes,
      lagP50Ms: this.#lag.percentile(0.5),
      lagP99Ms: this.#lag.percentile(0.99),
    };
  }

  /** Ends what runs on the loop, then the backend. InvalidStateError while running. Idempotent. */
  close(): Promise<void> {
    if (this.running) {
      return Promise.reject(new InvalidStateError('A running loop cannot be closed'));
    }
    this.#closing ??= this.#closeNow();
    return this.#closing;
  }

  async #closeNow(): Promise<void> {
    for (const hook of this.closeHooks) {
      try {
        await hook();
      } catch (error) {
        this.callExceptionHandler({ message: 'Error while the loop closed', error });
      }
    }
    this.#closed = true;
    this.#watch();
    this.closeHooks.clear();
    this.#ready.clear();
    this.timers.close();
    await new Promise<void>((done) => this.backendHandle.close(done));
  }

  /**
   * Puts a job into the ready queue. Dropped once closed. For code that runs in tasks: a tick from
   * a microtask comes when all microtasks have run. @internal
   */
  enqueue(job: Job): void {
    if (this.#closed) return;
    this.#ready.push(job);
    if (this.#awake) return;
    if (this.#budget.left) {
      this.#awake = true;
      this.#budget.addTurn();
      process.nextTick(this.#hopNow);
    } else {
      this.#wake();
    }
  }

  /**
   * Resolves in the next turn, in the order of the ready queue. Who asks right behind one another
   * shares one promise, which costs a fraction of one for each. @internal
   */
  nextTurn(): Promise<void> {
    const last = this.#ready.last;
    if (last instanceof TurnWait) {
      this.#budget.addJobs(1);
      return last.promise;
    }
    const wait = new TurnWait();
    this.enqueue(wait);
    return wait.promise;
  }

  /** The network has its turn before any other turn that was not asked for yet. @internal */
  endTurns(): void {
    this.#budget.end();
  }

  /** Calls `target.onTimer()` once, not before `deadlineMs`. @internal */
  armTimer(deadlineMs: number, target: TimerTarget): number {
    this.#checkOpen();
    return this.timers.idOf(this.timers.armAt(deadlineMs, target));
  }

  /** O(1). False: it fired or was cancelled before. @internal */
  cancelTimer(id: number): boolean {
    return this.timers.cancelId(id);
  }

  /** @internal */
  setTimerRef(id: number, ref: boolean): void {
    this.timers.setIdRef(id, ref);
  }

  /** An event of the network: makes this the running loop; `leave` gets the result. @internal */
  enter(): EventLoop | undefined {
    this.#budget.ioCame();
    return this.#enter();
  }

  /** @internal */
  leave(before: EventLoop | undefined): void {
    current = before;
  }

  /** @internal */
  onTurn(): void {
    if (!this.#closed) this.#atRoot(this.#backendTurnBody);
  }

  /** @internal */
  onTimers(): void {
    if (!this.#closed) this.#atRoot(this.#timersBody);
  }

  /** @internal */
  onError(message: string, error: unknown, subject: unknown): void {
    this.callExceptionHandler({ message, error, transport: subject });
  }

  #enter(): EventLoop | undefined {
    const before = current;
    current = this;
    return before;
  }

  #checkOpen(): void {
    if (this.#closed) throw new InvalidStateError('The loop is closed');
  }

  #wake(): void {
    this.#awake = true;
    if (this.#budget.left) {
      // A microtask, so that those before it have run; then a tick, so that those after it have.
      this.#budget.addTurn();
      settled.then(this.#hopLater);
    } else {
      this.askTurn();
    }
  }

  /** @internal */
  askTurn(): void {
    if (this.#backendTurnAsked) return;
    this.#backendTurnAsked = true;
    this.backendHandle.requestTurn();
  }

  /** From a tick. Between two turns everything runs that promises and ticks have ready. */
  #runOwnTurns(): void {
    let more = !this.#closed;
    while (more) {
      more = false;
      try {
        this.#atRoot(this.#turnBody);
        more = drain() && this.#ready.length > 0 && this.#budget.left;
      } finally {
        if (more) this.#budget.addTurn();
        else this.#goOn();
      }
    }
  }

  #runBackendTurn(): void {
    this.#backendTurnAsked = false;
    this.looks++;
    this.#budget.renew();
    this.#runTurn();
    this.#goOn();
    this.timers.onTurn();
  }

  #runTurn(): void {
    if (this.#ioWaitMs >= 0) this.#afterIoWait();
    const before = this.#enter();
    this.#awake = true;
    this.#iterations++;
    const count = this.#ready.length;
    this.#budget.addJobs(count);
    if (this.#debug) runJobsTimed(this, this.#ready, count);
    else runJobs(this, this.#ready, count);
    this.leave(before);
  }

  /** Behind a turn: another one, or a rest. */
  #goOn(): void {
    if (this.#ready.length > 0) {
      this.#wake();
    } else {
      this.#awake = false;
      if (this.instruments.length > 0) this.#beforeIoWait();
    }
  }

  /** @internal */
  runTimers(wheel: TimerWheel): void {
    if (this.#ioWaitMs >= 0) this.#afterIoWait();
    const before = this.#enter();
    if (this.#debug) runTimersTimed(this, wheel);
    else runTimers(this, wheel);
    this.leave(before);
  }

  #beforeIoWait(): void {
    const untilMs = this.timers.nearest() - this.time();
    this.#ioWaitMs = Math.max(0, untilMs);
    tell(this, 'beforeIoWait', this.#ioWaitMs);
  }

  #afterIoWait(): void {
    const timeoutMs = this.#ioWaitMs;
    this.#ioWaitMs = -1;
    tell(this, 'afterIoWait', timeoutMs);
  }
}

function checkCallback(callback: unknown): void {
  if (typeof callback !== 'function') throw argTypeError('callback', 'a function', callback);
}
