/**
 * Figures about a loop: a histogram of lateness and the share of time that was busy.
 *
 * In: lateness of timer batches in ms. Out: percentiles and `LoopMetrics`. Never: timers or
 * handles of its own.
 */
import { type EventLoopUtilization, performance } from 'node:perf_hooks';

export interface LoopMetrics {
  /** Turns of this loop, its own ones between Node's included. */
  readonly iterations: number;
  /** Time the thread was busy since the loop was made. */
  readonly busyMs: number;
  /** Time the thread waited for I/O since the loop was made. */
  readonly idleMs: number;
  /** Busy share since the last call, 0 … 1. */
  readonly utilization: number;
  /** Tasks that have not ended. */
  readonly tasks: number;
  /** Callbacks that wait for the next turn. */
  readonly ready: number;
  readonly timers: number;
  readonly connections: number;
  /** Bytes that wait to be written. */
  readonly writeBufferBytes: number;
  /** How late timers fired, one sample a batch (its first timer). 0 before the first. */
  readonly lagP50Ms: number;
  readonly lagP99Ms: number;
}

/** Eight buckets for each doubling, from 1 µs: at most 9 % off, 1 KiB, no allocation. */
const perDoubling = 8;
const bucketCount = 32 * perDoubling;

export class LagHistogram {
  readonly #counts: Uint32Array = new Uint32Array(bucketCount);
  #total = 0;

  record(ms: number): void {
    const us = Math.min(Math.max(ms * 1000, 0), 0xffff_ffff) >>> 0;
    this.#counts[bucketOf(us)] = (this.#counts[bucketOf(us)] as number) + 1;
    this.#total++;
  }

  get count(): number {
    return this.#total;
  }

  /** @param share 0 … 1. Upper bound of the bucket, in ms; 0 when nothing was recorded. */
  percentile(share: number): number {
    if (this.#total === 0) return 0;
    const wanted = Math.max(1, Math.ceil(share * this.#total));
    let seen = 0;
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      seen += this.#counts[bucket] as number;
      if (seen >= wanted) return upperBoundUs(bucket) / 1000;
    }
    return upperBoundUs(bucketCount - 1) / 1000;
  }
}

function bucketOf(us: number): number {
  if (us < perDoubling) return us;
  const exponent = 31 - Math.clz32(us);
  const mantissa = (us >>> (exponent - 3)) & (perDoubling - 1);
  return (exponent - 2) * perDoubling + mantissa;
}

function upperBoundUs(bucket: number): number {
  if (bucket < perDoubling) return bucket;
  const exponent = Math.floor(bucket / perDoubling) + 2;
  return (perDoubling + (bucket % perDoubling) + 1) * 2 ** (exponent - 3) - 1;
}

/** Busy and idle time of this thread from a starting point on. */
export class BusyMeter {
  readonly #start: EventLoopUtilization = performance.eventLoopUtilization();
  #last: EventLoopUtilization = this.#start;

  read(): { busyMs: number; idleMs: number; utilization: number } {
    const now = performance.eventLoopUtilization();
    const since = performance.eventLoopUtilization(now, this.#last);
    this.#last = now;
    // Before Node's loop has started both are 0, and the share is not a number.
    const utilization = Number.isFinite(since.utilization) ? since.utilization : 0;
    return {
      busyMs: now.active - this.#start.active,
      idleMs: now.idle - this.#start.idle,
      utilization: Math.min(1, Math.max(0, utilization)),
    };
  }
}
