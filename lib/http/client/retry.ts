/**
 * Requests that are made again.
 *
 * In: a way to make the request, its plan. Out: the last response. Never: a request twice that may
 * not be made twice; a cancellation or a time limit that is tried again.
 */
import { argTypeError, isCancelled, TimeoutError } from '../../base/errors.ts';
import { checkInteger, checkMs } from '../../base/units.ts';
import { currentLoop } from '../../task/frame.ts';
import { sleep } from '../../task/sleep.ts';
import { ClientConnectionError } from '../client-errors.ts';
import type { Body } from '../response.ts';
import type { ClientResponse, ClientRetryOptions } from './types.ts';

export interface RetryPlan {
  readonly attempts: number;
  readonly delayMs: number;
  readonly factor: number;
  readonly maxDelayMs: number;
  readonly jitter: boolean;
  readonly statuses: readonly number[];
  readonly methods: readonly string[];
  readonly respectRetryAfter: boolean;
  readonly retryIf: ((error: unknown, attempt: number) => boolean) | undefined;
}

/** RFC 9110 9.2.2. */
export const idempotent: readonly string[] = ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'];

export function checkRetry(given: number | ClientRetryOptions): RetryPlan {
  const options = typeof given === 'number' ? { attempts: given } : given;
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('retry', 'a number or an object', given);
  }
  const { attempts = 3, factor = 2 } = options;
  return {
    attempts: attempts === Infinity ? attempts : checkInteger('retry.attempts', attempts, 1),
    delayMs: checkMs('retry.delayMs', options.delayMs ?? 100),
    factor: checkMs('retry.factor', factor),
    maxDelayMs: checkMs('retry.maxDelayMs', options.maxDelayMs ?? 30_000),
    jitter: options.jitter ?? true,
    statuses: options.statuses ?? [429, 502, 503, 504],
    methods: options.methods ?? idempotent,
    respectRetryAfter: options.respectRetryAfter ?? true,
    retryIf: options.retryIf,
  };
}

/** Can be sent a second time. A stream, an iterable and a function may be used up. */
export function replayable(body: Body | null): boolean {
  return (
    body === null ||
    typeof body === 'string' ||
    body instanceof Uint8Array ||
    body instanceof URLSearchParams ||
    body instanceof Blob ||
    body instanceof FormData
  );
}

/** The three forms of a date (RFC 9110 5.6.7). Date.parse alone takes 1.5 for a day of 2001. */
const dateForm = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? [\w :-]{17,26}$/;

/**
 * Retry-After in ms: seconds, or a date (RFC 9110 10.2.3); null: none.
 * @param nowMs of the clock of dates
 */
export function retryAfterMs(header: string | null, nowMs: number = Date.now()): number | null {
  if (header === null) return null;
  if (/^\d{1,15}$/.test(header)) return Number(header) * 1000;
  if (!dateForm.test(header)) return null;
  const at = Date.parse(header.endsWith(' GMT') ? header : `${header} GMT`);
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
}

export async function withRetries(
  plan: RetryPlan,
  request: {
    readonly method: string;
    readonly body: Body | null;
    readonly signal: AbortSignal | undefined;
  },
  attempt: () => Promise<ClientResponse>,
): Promise<ClientResponse> {
  const repeatable = plan.methods.includes(request.method) && replayable(request.body);
  const { signal } = request;
  let { delayMs } = plan;
  for (let count = 1; ; count++) {
    const last = !repeatable || count >= plan.attempts;
    let waitMs = Math.min(delayMs, plan.maxDelayMs);
    if (plan.jitter) waitMs *= currentLoop().random();
    try {
      const response = await attempt();
      if (last || !plan.statuses.includes(response.status)) return response;
      const asked = plan.respectRetryAfter
        ? retryAfterMs(response.headers.get('retry-after'))
        : null;
      // A server that wants more patience than there is gets none.
      if (asked !== null && asked > plan.maxDelayMs) return response;
      await response.release();
      if (asked !== null) waitMs = asked;
    } catch (error) {
      if (last || isCancelled(error) || !worthIt(plan, error, count)) throw error;
    }
    await sleep(waitMs, undefined, signal === undefined ? undefined : { signal });
    delayMs *= plan.factor;
  }
}

function worthIt(plan: RetryPlan, error: unknown, attempt: number): boolean {
  if (plan.retryIf !== undefined) return plan.retryIf(error, attempt);
  return error instanceof ClientConnectionError && !(error instanceof TimeoutError);
}
