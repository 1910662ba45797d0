/**
 * The scheduler of one run, a guest on Node's own loop: callbacks, timers, errors, figures.
 *
 * In: callbacks and deadlines; turns and timer events of the backend. Out: calls, in order; turns
 * and one armed timer asked of the backend. Never: a concrete backend, a task, a socket, blocking.
 *
 * A turn runs what was ready when it began. Up to `maxOwnTurns` turns follow each other within one
 * turn of Node, with all microtasks between them; then the backend is asked for a turn, which lets
 * I/O, Node's timers and setImmediate run. (16: measured; more makes sockets wait, fewer makes
 * chains of tasks pay for Node's turns.)
 */
import { inspect } from 'node:util';
import { Deque } from '../base/deque.ts';
import { argTypeError, InvalidStateError } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import type { Backend, BackendFactory, BackendHost } from './backend.ts';
import {
  bindCallback,
  type Callback,
  contextHooks,
  type Handle,
  LoopTimer,
  SoonHandle,
  type TimerHandle,
} from './handles.ts';
import { BusyMeter, LagHistogram, type LoopMetrics } from './metrics.ts';
import { type TimerOwner, TimerQueue } from './timer-queue.ts';
import type { TimerTarget, TimerWheel } from './timer-wheel.ts';

export { type ContextHooks, contextHooks, type Handle, type TimerHandle } from './handles.ts';
export type { LoopMetrics } from './metrics.ts';
export type { TimerTarget } from './timer-wheel.ts';

const maxOwnTurns = 16;
const defaultSlowCallbackMs = 100;

/** One entry of the ready queue. */
export interface Job {
  /** @internal */
  runJob(): void;
}

/** What the loop's exception handler is told. The task layer adds `task` and `future`. */
export interface ExceptionContext {
  readonly message: string;
  readonly error?: unknown;
  readonly transport?: unknown;
  /** Of a slow callback. */
  readonly durationMs?: number;
  /** Name of the callback. */
  readonly callback?: string;
}

/** Observer of the scheduler (trio.abc.Instrument, curio.Activation). Must not throw. */
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
  /** Slow-callback reports, creation stacks, misuse checks. */
  debug: boolean;
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
  /**
   * Waits whose end comes from work outside of the loop: threads, processes, files. Kept by those
   * rooms; a simulated clock stands still meanwhile. @internal
   */
  outsideWork = 0;
  /** @internal */
  instruments: readonly Instrument[] = [];

  readonly #ready: Deque<Job> = new Deque();
  #closed = false;
  #closing: Promise<void> | undefined;
  #handler: ExceptionHandler | null = null;
  #iterations = 0;

  /** A turn is running or surely coming, so `enqueue` needs to do nothing. */
  #awake = false;
  #ownTurns = 0;
  #backendTurnAsked = false;

  #ioWaitMs: number = -1;

  readonly #lag: LagHistogram = new LagHistogram();
  readonly #busy: BusyMeter = new BusyMeter();
  readonly #hopLater: Callback;
  readonly #hopNow: Callback;
  readonly #turnBody: Callback;
  readonly #backendTurnBody: Callback;
  readonly #timersBody: Callback;

  constructor(makeBackend: BackendFactory, options?: EventLoopOptions) {
    this.debug = options?.debug ?? process.env['UVIO_DEBUG'] === '1';
    this.#hopNow = (): void => this.#onHop();
    this.#hopLater = (): void => process.nextTick(this.#hopNow);
    this.#turnBody = (): void => this.#runTurn();
    this.#backendTurnBody = (): void => this.#runBackendTurn();
    this.#timersBody = (): void => this.timers.fire();
    this.backendHandle = makeBackend(this);
    this.backend = this.backendHandle.name;
    this.timers = new TimerQueue(this.backendHandle, this, this.#lag);
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

  /** First in, first out, in the next turn. (asyncio: call_soon) */
  callSoon<A extends unknown[]>(callback: (...args: A) => void, ...args: A): Handle {
    checkCallback(callback);
    this.#checkOpen();
    const handle = new SoonHandle(bindCallback(callback, args));
    this.enqueue(handle);
    return handle;
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
    const handle = new LoopTimer(this.timers, bindCallback(callback, args));
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
    const handle = new SoonHandle(() => void context.run(callback));
    this.enqueue(handle);
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

  addInstrument(instrument: Instrument): void {
    if (!this.instruments.includes(instrument)) {
      this.instruments = [...this.instruments, instrument];
    }
  }

  removeInstrument(instrument: Instrument): void {
    this.instruments = this.instruments.filter((other) => other !== instrument);
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
    this.closeHooks.clear();
    this.#ready.clear();
    this.timers.close();
    await new Promise<void>((done) => this.backendHandle.close(done));
  }

  /** Puts a job into the ready queue that callbacks are in. Dropped once closed. @internal */
  enqueue(job: Job): void {
    if (this.#closed) return;
    this.#ready.push(job);
    if (!this.#awake) this.#wake();
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

  /** Makes this the running loop; give the result to `leave`. @internal */
  enter(): EventLoop | undefined {
    const before = current;
    current = this;
    return before;
  }

  /** @internal */
  leave(before: EventLoop | undefined): void {
    current = before;
  }

  /** @internal */
  onTurn(): void {
    if (!this.#closed) contextHooks.atRoot(this.#backendTurnBody);
  }

  /** @internal */
  onTimers(): void {
    if (!this.#closed) contextHooks.atRoot(this.#timersBody);
  }

  /** @internal */
  onError(message: string, error: unknown, subject: unknown): void {
    this.callExceptionHandler({ message, error, transport: subject });
  }

  #checkOpen(): void {
    if (this.#closed) throw new InvalidStateError('The loop is closed');
  }

  #wake(): void {
    this.#awake = true;
    if (this.#ownTurns < maxOwnTurns) {
      // A microtask, so that those before it have run; then a tick, so that those after it have.
      this.#ownTurns++;
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

  #onHop(): void {
    if (!this.#closed) contextHooks.atRoot(this.#turnBody);
  }

  #runBackendTurn(): void {
    this.#backendTurnAsked = false;
    this.#ownTurns = 0;
    this.#runTurn();
    this.timers.onTurn();
  }

  #runTurn(): void {
    if (this.#ioWaitMs >= 0) this.#afterIoWait();
    const before = this.enter();
    this.#awake = true;
    this.#iterations++;
    const count = this.#ready.length;
    if (this.debug) this.#runReadyTimed(count);
    else this.#runReady(count);
    this.leave(before);
    if (this.#ready.length > 0) {
      this.#wake();
    } else {
      this.#awake = false;
      if (this.instruments.length > 0) this.#beforeIoWait();
    }
  }

  #runReady(count: number): void {
    const ready = this.#ready;
    let left = count;
    for (;;) {
      try {
        while (left > 0) {
          left--;
          (ready.shift() as Job).runJob();
        }
        return;
      } catch (error) {
        this.callExceptionHandler({ message: 'Exception in a callback', error });
      }
    }
  }

  #runReadyTimed(count: number): void {
    for (let left = count; left > 0; left--) {
      const job = this.#ready.shift() as Job;
      this.#runTimed(job, 'callback', () => job.runJob());
    }
  }

  /** Debug mode: one callback or timer, with a report when it took long. */
  #runTimed(subject: object, what: string, fn: Callback): void {
    // Taken before: a handle forgets its callback when it runs.
    const name = (subject as { label?: string }).label ?? subject.constructor.name;
    const startMs = performance.now();
    try {
      fn();
    } catch (error) {
      const message = `Exception in a ${what}`;
      this.callExceptionHandler({ message, error, callback: name });
    }
    const durationMs = performance.now() - startMs;
    if (durationMs >= this.slowCallbackMs) {
      const message = `Slow ${what}: ${name} took ${durationMs.toFixed(1)} ms`;
      this.callExceptionHandler({ message, durationMs, callback: name });
    }
  }

  /** @internal */
  runTimers(wheel: TimerWheel): void {
    if (this.#ioWaitMs >= 0) this.#afterIoWait();
    const before = this.enter();
    if (this.debug) this.#runTimersTimed(wheel);
    else this.#runTimersPlain(wheel);
    this.leave(before);
  }

  #runTimersPlain(wheel: TimerWheel): void {
    for (;;) {
      try {
        for (let target = wheel.takeDue(); target !== null; target = wheel.takeDue()) {
          target.onTimer();
        }
        return;
      } catch (error) {
        this.callExceptionHandler({ message: 'Exception in a timer', error });
      }
    }
  }

  #runTimersTimed(wheel: TimerWheel): void {
    for (let target = wheel.takeDue(); target !== null; target = wheel.takeDue()) {
      const due = target;
      this.#runTimed(due, 'timer', () => due.onTimer());
    }
  }

  #beforeIoWait(): void {
    const untilMs = this.timers.nearest() - this.time();
    this.#ioWaitMs = Math.max(0, untilMs);
    for (const instrument of this.instruments) instrument.beforeIoWait?.(this.#ioWaitMs);
  }

  #afterIoWait(): void {
    const timeoutMs = this.#ioWaitMs;
    this.#ioWaitMs = -1;
    for (const instrument of this.instruments) instrument.afterIoWait?.(timeoutMs);
  }
}

function checkCallback(callback: unknown): void {
  if (typeof callback !== 'function') throw argTypeError('callback', 'a function', callback);
}

/** The default handler. A report without an error is a warning and leaves the exit code alone. */
function printException(context: ExceptionContext): void {
  const { message, error, ...rest } = context;
  let text = `uvio: ${message}\n`;
  if ('error' in context) {
    process.exitCode = 1;
    text += `${inspect(error)}\n`;
  }
  for (const [name, value] of Object.entries(rest)) {
    text += `  ${name}: ${inspect(value, { depth: 0 })}\n`;
  }
  process.stderr.write(text);
}
