/**
 * Figures of the workers of a program, from wherever one asks.
 *
 * In: whoever can tell them, while it can. Out: a list. Never: a wait for a worker that is busy
 * beyond the time for it.
 */
import type { WaitOptions } from '../../base/errors.ts';
import { checkMs } from '../../base/units.ts';
import { Waiter } from '../../task/waiter.ts';
import type { WorkerMetrics } from './messages.ts';
import type { Service } from './service.ts';

export interface WorkerMetricsOptions extends WaitOptions {
  /** For workers to answer. Default 1_000. */
  timeoutMs?: number;
}

type Tell = (list: readonly WorkerMetrics[]) => void;

/** Who knows workers of this process. */
export interface MetricsSource {
  /** Calls `tell` once, later, and not after `timeoutMs` have passed. */
  collect(timeoutMs: number, tell: Tell): void;
}

const sources: Set<MetricsSource> = new Set();

export function addMetricsSource(source: MetricsSource): Disposable {
  sources.add(source);
  return { [Symbol.dispose]: () => void sources.delete(source) };
}

/** A program without workers counts as one. */
export class SoleWorker implements MetricsSource {
  readonly #service: Service;

  constructor(service: Service) {
    this.#service = service;
  }

  collect(_timeoutMs: number, tell: Tell): void {
    const load = this.#service.load();
    setImmediate(tell, [{ worker: 1, state: 'serving', restarts: 0, load }]);
  }
}

/**
 * Figures of each worker of `runServer` or `runApp`, in order, asked from the program's main thread
 * or from any of its workers, so that one of them tells about all. A program with `workers: 1` has
 * one; none when nothing is served. Takes `timeoutMs` at most: a worker that is too busy has no
 * load then.
 */
export async function workerMetrics(
  options: WorkerMetricsOptions = {},
): Promise<readonly WorkerMetrics[]> {
  const timeoutMs = checkMs('timeoutMs', options.timeoutMs ?? 1_000);
  const lists: (readonly WorkerMetrics[])[] = [];
  for (const source of sources) {
    const waiter = new Waiter<readonly WorkerMetrics[]>('workerMetrics');
    const promise = waiter.start(options);
    if (waiter.active) source.collect(timeoutMs, (list) => waiter.wake(list));
    lists.push(await promise);
  }
  return lists.flat();
}
