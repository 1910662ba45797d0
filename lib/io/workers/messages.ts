/**
 * What the thread that supervises workers and those that serve tell each other.
 *
 * In: types only. Out: messages that can be copied. Never: behaviour.
 */
import type { MessagePort } from 'node:worker_threads';
import type { EventLoop } from '../handles.ts';

/** Under this name in the `workerData` of a worker. */
export const orderKey = 'uvio:worker';

/** What a worker is started with. */
export interface WorkerOrder {
  /** From 1. */
  readonly worker: number;
  /** Where the others listen; null for the first of all, which may choose. */
  readonly port: number | null;
  /** What the main thread listens on, instead of a port. */
  readonly fd: number | null;
  readonly channel: MessagePort;
}

/** What one worker does now. */
export interface WorkerLoad {
  /** Open ones. */
  readonly connections: number;
  /** Of its loop. `utilization` counts from the last time that anybody asked. */
  readonly loop: ReturnType<EventLoop['metrics']>;
}

export interface WorkerMetrics<Load extends WorkerLoad = WorkerLoad> {
  /** From 1. A thread that takes the place of a dead one takes its number, too. */
  readonly worker: number;
  /** Waiting: it died, and is started again in a while. */
  readonly state: 'starting' | 'serving' | 'stopping' | 'waiting';
  /** How often it was started again. */
  readonly restarts: number;
  /** Null when it does not serve, or is too busy to answer in time. */
  readonly load: Load | null;
}

export type ToWorker =
  | { readonly kind: 'stop' }
  | { readonly kind: 'ask'; readonly id: number }
  /** Answers `askAll`. */
  | { readonly kind: 'all'; readonly id: number; readonly list: readonly WorkerMetrics[] };

export type FromWorker =
  | { readonly kind: 'serving'; readonly port: number; readonly url: string }
  /** Its server is closed; the thread is to end now. */
  | { readonly kind: 'closed' }
  /** Answers `ask`. */
  | { readonly kind: 'load'; readonly id: number; readonly load: WorkerLoad }
  | { readonly kind: 'askAll'; readonly id: number; readonly timeoutMs: number };
