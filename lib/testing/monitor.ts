/**
 * Who looks after a simulated loop: writes the trace, and finds deadlocks.
 *
 * In: what tasks and network do. Out: lines; a DeadlockError for the run. Never: a change to what
 * runs, unless nothing does any more.
 */
import { DeadlockError } from '../base/errors.ts';
import type { EventLoop, Instrument } from '../loop/event-loop.ts';
import type { Monitor, SimulatedBackend } from '../loop/simulated/backend.ts';
import { CANCELLED, FAILED, PENDING } from '../task/future.ts';
import '../task/loop-methods.ts';
import type { Task } from '../task/task.ts';
import { describeTask, openTasks, waitsOf } from './tasks.ts';

const mostLines = 100_000;

/** Lines about a run. Of a long one the older half is let go from time to time. */
export class Trace {
  readonly lines: string[] = [];

  add(line: string): void {
    this.lines.push(line);
    if (this.lines.length >= 2 * mostLines) this.lines.splice(0, mostLines);
  }
}

/** A promise from outside of uvio may settle at any time. */
const outsideLabel = 'promise';

function endOf(task: Task): string {
  if (task.status === CANCELLED) return 'cancelled';
  return task.status === FAILED ? 'failed' : 'done';
}

export class RunMonitor implements Monitor, Instrument {
  readonly #trace: Trace;
  #loop: EventLoop | null = null;
  #backend: SimulatedBackend | null = null;
  /** The next task is a run's main task. */
  #mainComes = false;
  #main: Task | null = null;
  /** Main was told of a deadlock. */
  #told = false;

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  attach(loop: EventLoop, backend: SimulatedBackend): void {
    this.#loop = loop;
    this.#backend = backend;
    loop.addInstrument(this);
  }

  note(text: string): void {
    this.#trace.add(`${this.#backend?.now() ?? 0} ${text}`);
  }

  busyOutside(): boolean {
    return (this.#loop as EventLoop).outsideWork > 0;
  }

  stuck(mayCome: boolean): boolean {
    const loop = this.#loop as EventLoop;
    if (!loop.running) return false;
    const tasks = openTasks(loop);
    if (!mayCome && tasks.length > 0 && tasks.every(isStuck)) this.#breakDeadlock(tasks);
    return true;
  }

  // As an instrument.

  beforeRun(): void {
    this.#mainComes = true;
    this.#backend?.watch();
  }

  beforeIoWait(): void {
    if (this.#loop?.running) this.#backend?.watch();
  }

  taskSpawned(task: Task): void {
    if (this.#mainComes) {
      this.#mainComes = false;
      this.#main = task;
      this.#told = false;
    }
    this.note(`spawn ${task.name}`);
  }

  beforeTaskStep(task: Task): void {
    this.note(`step ${task.name}`);
  }

  taskExited(task: Task): void {
    this.note(`end ${task.name} ${endOf(task)}`);
  }

  /**
   * Main is cancelled, so that everything is cleaned up, and the run then rejects with the error.
   * If that is not enough, because a shield or a clean-up waits for ever, all waits fail with it.
   */
  #breakDeadlock(tasks: readonly Task[]): void {
    const error = new DeadlockError(tasks.map(describeTask));
    const main = this.#main;
    this.note('deadlock');
    if (main !== null && main.status === PENDING && !this.#told) {
      this.#told = true;
      main.observe({ takesError: false, onFutureDone: () => blame(main, error) });
      main.cancel(error);
      return;
    }
    for (const waiter of tasks.flatMap(waitsOf)) {
      waiter.onCancel();
      waiter.fail(error);
    }
  }
}

/** Nothing that a simulation knows of will end its waits. */
function isStuck(task: Task): boolean {
  const waits = waitsOf(task);
  return waits.length > 0 && waits.every((waiter) => waiter.label !== outsideLabel);
}

/** Whatever main made of its cancellation: the run ends by the deadlock. */
function blame(main: Task, error: DeadlockError): void {
  if (main.status === FAILED && main.outcome !== error) error.cause = main.outcome;
  main.status = FAILED;
  main.outcome = error;
}
