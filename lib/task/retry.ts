/**
 * Calling a function again after it failed.
 *
 * In: a function and the shape of its delays. Out: its first result, or its last error. Never: a
 * second call after a cancellation; chance that a simulation cannot repeat.
 */
import { type Awaitable, argTypeError, isCancelled, rangeError } from '../base/errors.ts';
import { checkInteger, checkMs } from '../base/units.ts';
import { checkBody } from './enter.ts';
import { currentLoop } from './frame.ts';
import { sleep } from './sleep.ts';

export interface RetryOptions {
  /** Calls in all, or Infinity. Default 3. */
  attempts?: number;
  /** Milliseconds before the second call. Default 100. */
  delayMs?: number;
  /** Growth from one delay to the next, at least 1. Default 2. */
  factor?: number;
  /** No delay is longer. Default 30_000. */
  maxDelayMs?: number;
  /** Full jitter: a random part of each delay, so that clients fall out of step. Default true. */
  jitter?: boolean;
  /** False: give up now. Cancellation is never retried. */
  retryIf?: (error: unknown, attempt: number) => boolean;
}

function checkAttempts(attempts: unknown): number {
  return attempts === Infinity ? attempts : checkInteger('attempts', attempts, 1);
}

function checkFactor(factor: unknown): number {
  if (typeof factor !== 'number') throw argTypeError('factor', 'a number', factor);
  if (!(factor >= 1)) throw rangeError('factor', 'at least 1', factor);
  return factor;
}

/**
 * Calls `fn` (attempt 1, 2 …) until it succeeds; throws the last error. A CancelledError or
 * AbortError is thrown on at once, whatever `retryIf` says; a TimeoutError is an error as others.
 * The waits between the calls can be cancelled by task and scope. An error of `retryIf` takes the
 * place of the one that it was asked about. TypeError, RangeError: bad options.
 * (AWS "Exponential Backoff And Jitter"; tenacity's wait_random_exponential)
 */
export async function retry<T>(
  fn: (attempt: number) => Awaitable<T>,
  options: RetryOptions = {},
): Promise<T> {
  checkBody('retry', fn);
  const { jitter = true, retryIf } = options;
  const attempts = checkAttempts(options.attempts ?? 3);
  const factor = checkFactor(options.factor ?? 2);
  const maxDelayMs = checkMs('maxDelayMs', options.maxDelayMs ?? 30_000);
  let delayMs = checkMs('delayMs', options.delayMs ?? 100);
  if (retryIf !== undefined) checkBody('retryIf', retryIf);
  for (let attempt = 1; ; attempt++) {
    try {
      return await fn(attempt);
    } catch (error) {
      if (attempt >= attempts || isCancelled(error)) throw error;
      if (retryIf !== undefined && !retryIf(error, attempt)) throw error;
    }
    delayMs = Math.min(delayMs, maxDelayMs);
    // Infinity has no random part: times 0 it is NaN.
    await sleep(jitter && delayMs < Infinity ? currentLoop().random() * delayMs : delayMs);
    delayMs *= factor;
  }
}
