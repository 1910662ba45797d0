/**
 * Waits of a WebSocket's tasks.
 *
 * In: errors, a socket to break off. Out: promises that may be ignored. Never: an unhandled
 * rejection of a call that nobody awaits.
 */
import { Waiter } from '../../task/waiter.ts';

export const resolved: Promise<void> = Promise.resolve();
export const ignore = (): void => {};

export function quietReject(error: unknown): Promise<never> {
  const promise = Promise.reject(error);
  promise.catch(ignore);
  return promise;
}

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
