/**
 * A connection's stream in other hands: those of a Node stream or a pair of Web streams.
 *
 * In: types only. Out: what an heir must do, and what it gets. Never: behaviour.
 */
import type { Buffer } from 'node:buffer';
import type { StreamHandle, StreamSink } from '../loop/backend.ts';
import type { StreamLimits } from './limits.ts';
import type { Connection } from './net-types.ts';

/** Takes a stream over: it is its sink from then on. */
export interface Heir extends StreamSink {
  /** Flushes, then closes. */
  endSoon(): void;
  /** Closes at once. */
  cutOff(reason: unknown): void;
}

/** The state in which a stream is handed over. */
export interface HandedOver {
  /** Was received and not read. */
  readonly received: Buffer;
  /** The peer has ended, after that. */
  readonly ended: boolean;
  /** `writeEof()` was called. */
  readonly writeEnded: boolean;
}

/** A connection, as its heir sees it. */
export interface Elder extends Pick<Connection, 'localAddress' | 'remoteAddress' | 'tls'> {
  readonly handle: StreamHandle;
  readonly limits: StreamLimits;
  handOver(heir: Heir): HandedOver;
  onDrain(): void;
  onClosed(error: Error | undefined): void;
}
