/**
 * What a loop says: exceptions nobody handles, reports of debug mode, events for instruments.
 *
 * In: a context or an event. Out: text on stderr, calls. Never: an exception of its own, or one of
 * an instrument that reaches the scheduler.
 */
import { inspect } from 'node:util';
import type { EventLoop, Instrument } from './event-loop.ts';

/** What the loop's exception handler is told. The task layer adds `task` and `future`. */
export interface ExceptionContext {
  readonly message: string;
  /** Of a report of debug mode, or of an error nobody took: stable, UVIO_… */
  readonly code?: string;
  readonly error?: unknown;
  readonly transport?: unknown;
  /** Of a slow callback. */
  readonly durationMs?: number;
  /** Name of the callback. */
  readonly callback?: string;
}

/** Code of the report about a callback, a timer or a task's step that took long. */
export const slowCode = 'UVIO_SLOW_CALLBACK';

/** The default handler. A report without an error is a warning and leaves the exit code alone. */
export function printException(context: ExceptionContext): void {
  const { message, error, ...rest } = context;
  let text = `uvio: ${message}\n`;
  if ('error' in context) {
    process.exitCode = 1;
    text += `${inspect(error)}\n`;
  }
  for (const [name, value] of Object.entries(rest)) {
    // A task says who it is; its fields would say less in more lines.
    const label = (value as { label?: unknown } | null)?.label;
    const shown = typeof label === 'string' ? label : inspect(value, { depth: 0 });
    text += `  ${name}: ${shown}\n`;
  }
  process.stderr.write(text);
}

/** Calls one method of all instruments; one that throws is removed and reported (as in trio). */
export function tell(loop: EventLoop, event: keyof Instrument, argument?: unknown): void {
  for (const instrument of loop.instruments) {
    try {
      (instrument[event] as ((argument: unknown) => void) | undefined)?.call(instrument, argument);
    } catch (error) {
      loop.removeInstrument(instrument);
      const name = instrument.constructor?.name ?? 'Object';
      const message = `The instrument ${name} threw in ${event} and was removed`;
      loop.callExceptionHandler({ message, error });
    }
  }
}

/** Debug mode: one callback or timer, with a report when it took long. */
export function runTimed(loop: EventLoop, subject: object, what: string, fn: () => void): void {
  // Taken before: a handle forgets its callback when it runs.
  const name = (subject as { label?: string }).label ?? subject.constructor.name;
  const startMs = performance.now();
  try {
    fn();
  } catch (error) {
    loop.callExceptionHandler({ message: `Exception in a ${what}`, error, callback: name });
  }
  const durationMs = performance.now() - startMs;
  if (durationMs < loop.slowCallbackMs) return;
  const message = `Slow ${what}: ${name} took ${durationMs.toFixed(1)} ms`;
  loop.callExceptionHandler({ message, code: slowCode, durationMs, callback: name });
}
