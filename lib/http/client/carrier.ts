/**
 * What carries one exchange: a connection of HTTP/1, or a stream of HTTP/2.
 *
 * In: calls of the exchange. Out: its events, called on the exchange. Never: behaviour.
 */
import type { Data } from '../../base/errors.ts';
import type { ClientExchange, Outgoing } from './exchange.ts';

export interface Carrier {
  exchange: ClientExchange | null;
  readonly open: boolean;
  /** Exchanges that began on its connection. */
  uses: number;
  /** Something of the response has come. */
  readonly started: boolean;
  /** The server says that it did nothing for this request: any may be repeated. */
  readonly refused: boolean;
  /** What is worth to be read and dropped to keep it; Infinity: dropping it costs less. */
  readonly leftBytes: number;
  /** Bytes of the request that wait to be sent. */
  readonly bufferedBytes: number;

  /** The head. `body`: all of it, in the same write; `more`: it follows. */
  sendHead(plan: Outgoing, body: Data | null, more: boolean): void;
  /** A part of the body; consumed when it returns. `declared`: its length is in the head. */
  sendBody(data: Data, declared: boolean): void;
  endBody(declared: boolean): void;
  pauseReading(): void;
  resumeReading(): void;
  /** The exchange is over; it can take another one, or makes room for one. */
  free(): void;
  /** The exchange is over early. */
  drop(): void;
}
