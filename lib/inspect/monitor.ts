/**
 * Steps that keep the loop.
 *
 * In: the steps of tasks, and how late a timer of Node is. Out: reports with the task and the stack
 * of the code. Never: a timer or thread that keeps the process alive.
 */
import { checkMs } from '../base/units.ts';
import { loopBlocked } from '../loop/channels.ts';
import type { EventLoop, Instrument } from '../loop/event-loop.ts';
import { currentLoop, frameStorage } from '../task/frame.ts';
import type { Task } from '../task/task.ts';
import { Watchdog } from './watchdog.ts';

const defaultThresholdMs = 100;

export interface BlockedReport {
  /** Of a task's step. Of something else: at least so long. */
  readonly durationMs: number;
  /** Whose step it was; null for callbacks, protocols, and what is not uvio's. */
  readonly task: Task | null;
  /**
   * The code that kept the loop, as it stood while it did; where that could not be seen, what
   * `task.getStack()` says, or null.
   */
  readonly stack: string | null;
}

type OnBlocked = (report: BlockedReport) => void;

function warn({ durationMs, task, stack }: BlockedReport): void {
  const who = task === null ? 'something that is no task' : task.describe();
  const warning = { type: 'UvioWarning', code: 'UVIO_LOOP_BLOCKED', detail: stack ?? '' };
  process.emitWarning(`The loop was kept for ${durationMs.toFixed(0)} ms by ${who}`, warning);
}

class LoopMonitor implements Instrument, Disposable {
  readonly #loop: EventLoop;
  readonly #thresholdMs: number;
  readonly #onBlocked: OnBlocked;
  readonly #watchdog: Watchdog;
  readonly #timer: NodeJS.Timeout;
  readonly #periodMs: number;
  #tickMs: number = performance.now();
  /** A step was reported since the last tick: the tick is late because of it. */
  #reported = false;
  /** Beginnings of the steps that go on: a task that is started eagerly steps inside another. */
  readonly #began: number[] = [];
  readonly #dispose = (): void => this[Symbol.dispose]();

  constructor(loop: EventLoop, thresholdMs: number, onBlocked: OnBlocked) {
    this.#loop = loop;
    this.#thresholdMs = thresholdMs;
    this.#onBlocked = onBlocked;
    this.#watchdog = new Watchdog(thresholdMs);
    this.#periodMs = Math.max(1, thresholdMs / 2);
    const tick = (): void => this.#tick();
    this.#timer = frameStorage.run(undefined, () => setInterval(tick, this.#periodMs)).unref();
    loop.addInstrument(this);
    loop.closeHooks.add(this.#dispose);
  }

  beforeTaskStep(): void {
    this.#began.push(performance.now());
  }

  afterTaskStep(task: Task): void {
    const beganMs = this.#began.pop();
    if (beganMs === undefined) return;
    const durationMs = performance.now() - beganMs;
    if (durationMs >= this.#thresholdMs) this.#report(durationMs, task);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#loop.removeInstrument(this);
    this.#loop.closeHooks.delete(this.#dispose);
    this.#watchdog.stop();
  }

  #tick(): void {
    const nowMs = performance.now();
    const lateMs = nowMs - this.#tickMs - this.#periodMs;
    if (lateMs >= this.#thresholdMs && !this.#reported) this.#report(lateMs, null);
    this.#tickMs = nowMs;
    this.#reported = false;
    this.#watchdog.beat();
  }

  #report(durationMs: number, task: Task | null): void {
    this.#reported = true;
    const stack = this.#watchdog.stack() ?? task?.getStack() ?? null;
    const report: BlockedReport = { durationMs, task, stack };
    if (loopBlocked.hasSubscribers) loopBlocked.publish(report);
    try {
      this.#onBlocked(report);
    } catch (error) {
      this.#loop.callExceptionHandler({ message: 'onBlocked of monitorLoop() threw', error });
    }
  }
}

/**
 * Reports steps that keep the current loop longer than `thresholdMs` (default 100; at least 1),
 * after each has ended: with the task, and with the stack of the code that kept the loop, which a
 * thread of its own takes meanwhile. Keeps nothing alive; ends with `dispose` or with the loop.
 * While it is on, each await of the thread costs some 100 ns more, and there is one more thread.
 * `onBlocked` runs between two steps and must be short; what it throws goes to the loop's
 * exception handler. TypeError for a threshold that is no number. (curio: longblock)
 */
export function monitorLoop(
  options: {
    thresholdMs?: number;
    /** Default: a warning on stderr. */
    onBlocked?: OnBlocked;
  } = {},
): Disposable {
  const thresholdMs = checkMs('thresholdMs', options.thresholdMs ?? defaultThresholdMs);
  return new LoopMonitor(currentLoop(), Math.max(1, thresholdMs), options.onBlocked ?? warn);
}
