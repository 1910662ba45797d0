/**
 * Errors of futures and tasks that nobody took; in debug mode their values, too.
 *
 * In: a failed future. Out: a report to the loop's exception handler when the future is collected
 * or the run ends. Never: work for futures that succeed, outside of debug mode.
 */
import type { EventLoop, ExceptionContext } from '../loop/event-loop.ts';
import { loopState } from './loop-state.ts';

/** Lives on when the future is gone, so it must not refer to it. */
export class Failure {
  readonly loop: EventLoop;
  readonly context: ExceptionContext;

  constructor(loop: EventLoop, context: ExceptionContext) {
    this.loop = loop;
    this.context = context;
  }
}

const byFuture = new WeakMap<object, Failure>();
let registry: FinalizationRegistry<Failure> | undefined;
/** Those of all loops: what nobody took by the end of the process is reported there. */
const open: Set<Failure> = new Set();

function forget(failure: Failure): boolean {
  open.delete(failure);
  return loopState(failure.loop).failures.delete(failure);
}

function report(failure: Failure): void {
  if (!forget(failure)) return;
  failure.loop.callExceptionHandler(failure.context);
}

/** @param message says whose error it is and where that was created. */
export function trackFailure(
  future: object,
  loop: EventLoop,
  error: unknown,
  message: string,
): void {
  // Until its stack is read once, V8 keeps the receivers of its frames, the task among them.
  if (error instanceof Error) void error.stack;
  trackUntaken(future, loop, { message, code: 'UVIO_ERROR_NOT_TAKEN', error });
}

/** @param context the report, unless somebody takes what the future ended with. */
export function trackUntaken(future: object, loop: EventLoop, context: ExceptionContext): void {
  if (registry === undefined) {
    registry = new FinalizationRegistry(report);
    process.once('exit', () => {
      for (const failure of [...open]) report(failure);
    });
  }
  const failure = new Failure(loop, context);
  byFuture.set(future, failure);
  loopState(loop).failures.add(failure);
  open.add(failure);
  registry.register(future, failure);
}

/** Somebody has seen the error or the value. */
export function takeFailure(future: object): void {
  const failure = byFuture.get(future);
  if (failure !== undefined) forget(failure);
}

/** Reports what nobody took by the end of a run. */
export function reportFailures(loop: EventLoop): void {
  for (const failure of [...loopState(loop).failures]) report(failure);
}
