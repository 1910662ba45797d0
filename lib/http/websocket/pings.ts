/**
 * Pings that wait for their pongs.
 *
 * In: payloads. Out: promises. Never: an entry of a ping that nobody waits for any more, once a
 * later one was answered.
 */
import { Buffer } from 'node:buffer';
import type { WaitOptions } from '../../base/errors.ts';
import { quieted } from '../../base/quiet.ts';
import { Waiter } from '../../task/waiter.ts';

interface Ping {
  readonly payload: Buffer;
  readonly waiter: Waiter<void>;
}

export class Pings {
  #open: Ping[] = [];
  #count = 0;

  /** `payload` null: the wait did not begin, nothing is to be sent. */
  add(
    data: Uint8Array | undefined,
    options: WaitOptions | undefined,
  ): { payload: Buffer | null; promise: Promise<void> } {
    const waiter = new Waiter<void>('ping');
    const promise = waiter.start(options);
    quieted(promise);
    if (!waiter.active) return { payload: null, promise };
    const payload = data === undefined ? this.#nextPayload() : Buffer.from(data);
    this.#open.push({ payload, waiter });
    return { payload, promise };
  }

  #nextPayload(): Buffer {
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(++this.#count % 2 ** 32);
    return payload;
  }

  /** A pong answers all pings up to its own: a peer may leave out earlier ones (§5.5.3). */
  answered(payload: Buffer): void {
    const at = this.#open.findLastIndex((ping) => ping.payload.equals(payload));
    for (const ping of this.#open.splice(0, at + 1)) ping.waiter.wake();
  }

  end(error: Error): void {
    const open = this.#open;
    this.#open = [];
    for (const ping of open) ping.waiter.fail(error);
  }
}
