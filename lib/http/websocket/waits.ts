/**
 * The wait for a WebSocket's end.
 *
 * In: a socket to break off. Out: a wait. Never: a socket that is left half
 * closed by a cancellation.
 */
import { Waiter } from '../../task/waiter.ts';

/** Cancelled, the connection is broken off; the little that is left goes on without the wait. */
export class CloseWaiter extends Waiter<void> {
  readonly #socket: { abort(): void };

  constructor(socket: { abort(): void }) {
    super('close');
    this.#socket = socket;
  }

  override onCancel(): void {
    this.#socket.abort();
  }
}
