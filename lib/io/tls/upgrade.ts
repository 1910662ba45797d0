/**
 * The wait of `Connection.startTls`.
 *
 * In: the end of a handshake. Out: a promise. Never: a connection that is half TLS: a wait that
 * does not end well aborts it.
 */
import { BrokenResourceError, ClosedResourceError } from '../../base/errors.ts';
import { Waiter } from '../../task/waiter.ts';
import type { HandshakeOwner } from './stream.ts';

/** The connection, as its upgrade sees it. */
export interface Upgradable {
  readonly open: boolean;
  abort(): void;
  /** @internal Writing is allowed again. */
  upgraded(): void;
  /** @internal Somebody was told why it is lost. */
  lossWasTold(): void;
}

export class ConnectionUpgrade extends Waiter<void> implements HandshakeOwner {
  readonly #connection: Upgradable;

  constructor(connection: Upgradable) {
    super('startTls');
    this.#connection = connection;
  }

  secured(): void {
    this.#connection.upgraded();
    this.wake();
  }

  failed(_stream: unknown, error: Error): void {
    this.#connection.lossWasTold();
    this.fail(error);
  }

  /** Somebody closed or aborted it meanwhile. */
  gone(): void {
    this.fail(closedMeanwhile());
  }

  override onCancel(): void {
    this.#connection.abort();
  }
}

export function closedMeanwhile(): ClosedResourceError {
  return new ClosedResourceError('The connection was closed during startTls()');
}

/** Why a connection that the peer has ended cannot begin a handshake. */
export function endedBefore(): BrokenResourceError {
  return new BrokenResourceError('The connection was ended by the peer');
}
