/**
 * The backend over Node's own modules: no compiler needed, and the reference for behaviour.
 *
 * In: the loop's calls. Out: node:net, node:dns, setImmediate, one setTimeout. Never: tasks.
 */
import { lookup as dnsLookup } from 'node:dns';
import { performance } from 'node:perf_hooks';
import type {
  Backend,
  BackendCounters,
  BackendFactory,
  BackendHost,
  ConnectRequest,
  ConnectSink,
  ConnectTcp,
  ListenerHandle,
  ListenerSink,
  ListenTcp,
  ListenUnix,
} from '../backend.ts';
import { PureTimer } from './timer.ts';

export const createPureBackend: BackendFactory = (host) => new PureBackend(host);

class PureBackend implements Backend {
  readonly name = 'pure' as const;
  readonly #timer: PureTimer;
  readonly #onTurn: () => void;
  #turnAsked: NodeJS.Immediate | undefined;

  constructor(host: BackendHost) {
    this.#timer = new PureTimer(() => host.onTimers());
    this.#onTurn = (): void => {
      this.#turnAsked = undefined;
      host.onTurn();
    };
  }

  now(): number {
    return performance.now();
  }

  requestTurn(): void {
    this.#turnAsked ??= setImmediate(this.#onTurn);
  }

  armTimer(deadlineMs: number): void {
    this.#timer.arm(deadlineMs);
  }

  setTimerRef(ref: boolean): void {
    this.#timer.setRef(ref);
  }

  listenTcp(_options: ListenTcp, _sink: ListenerSink): ListenerHandle {
    throw new Error('soon');
  }

  listenUnix(_options: ListenUnix, _sink: ListenerSink): ListenerHandle {
    throw new Error('soon');
  }

  connectTcp(_options: ConnectTcp, _sink: ConnectSink): ConnectRequest {
    throw new Error('soon');
  }

  connectUnix(_path: string, _sink: ConnectSink): ConnectRequest {
    throw new Error('soon');
  }

  lookup(
    hostname: string,
    family: 0 | 4 | 6,
    done: (error: Error | null, addresses: readonly { address: string; family: 4 | 6 }[]) => void,
  ): () => void {
    let cancelled = false;
    dnsLookup(hostname, { all: true, family }, (error, addresses) => {
      if (cancelled) return;
      done(error, error === null ? (addresses as { address: string; family: 4 | 6 }[]) : []);
    });
    return (): void => {
      cancelled = true;
    };
  }

  counters(): BackendCounters {
    return { streams: 0, listeners: 0, connecting: 0, writeBufferBytes: 0 };
  }

  close(done: () => void): void {
    this.#timer.arm(Infinity);
    clearImmediate(this.#turnAsked);
    setImmediate(done);
  }
}
