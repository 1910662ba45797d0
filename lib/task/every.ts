/**
 * Periodic work.
 *
 * In: a period and a function. Out: calls on a fixed grid of times. Never: drift (each time is
 * counted from the start, not from the call before), two calls at once.
 */
import { type Awaitable, argTypeError, rangeError, type WaitOptions } from '../base/errors.ts';
import { checkInteger, checkMs } from '../base/units.ts';
import { checkBody } from './enter.ts';
import { currentTime, sleepUntil } from './sleep.ts';

export interface EveryOptions extends WaitOptions {
  /** First call at once (tick 0) rather than after one period (tick 1). Default true. */
  immediate?: boolean;
  /** Ticks missed while `fn` ran: 'skip' to the next one (default), or run them all. */
  missed?: 'skip' | 'burst';
  /** Ends after that many calls. Default Infinity. */
  times?: number;
}

function checkPeriod(periodMs: unknown): number {
  const period = checkMs('periodMs', periodMs);
  if (period > 0 && period < Infinity) return period;
  throw rangeError('periodMs', 'more than 0 and finite', period);
}

function checkTimes(times: unknown): number {
  return times === Infinity ? times : checkInteger('times', times);
}

/**
 * Calls `fn` on a fixed grid without drift, one at a time, until cancelled or it throws.
 * `tick` is the place on the grid: the call belongs to `start + tick * periodMs`; ticks that were
 * skipped leave a gap. A call that comes late (the process was busy) moves no later one.
 * With 'burst' other tasks get a turn between the calls. Resolves after `times` calls.
 * @param periodMs milliseconds, more than 0; NaN or no number: rejects with TypeError.
 */
export async function every(
  periodMs: number,
  fn: (tick: number) => Awaitable<void>,
  options: EveryOptions = {},
): Promise<void> {
  checkPeriod(periodMs);
  checkBody('every', fn);
  const { immediate = true, missed = 'skip' } = options;
  const times = checkTimes(options.times ?? Infinity);
  if (missed !== 'skip' && missed !== 'burst') {
    throw argTypeError('missed', "'skip' or 'burst'", missed);
  }
  const startMs = currentTime();
  let tick = immediate ? 0 : 1;
  for (let calls = 0; calls < times; calls++) {
    await sleepUntil(startMs + tick * periodMs, options);
    await fn(tick);
    tick++;
    if (missed === 'skip') tick = Math.max(tick, nextTick(currentTime(), startMs, periodMs));
  }
}

/** The first tick at or after `nowMs`. Rounding must not skip one that is due right now. */
function nextTick(nowMs: number, startMs: number, periodMs: number): number {
  const last = Math.floor((nowMs - startMs) / periodMs);
  return startMs + last * periodMs < nowMs ? last + 1 : last;
}
