/**
 * The time limit of clients that do not read: one timer for all connections of a server.
 *
 * In: connections, in a list of the server's. Out: those whose client takes nothing are broken.
 * Never: work for a write, or for a connection before its time; a timer without a connection.
 */
import type { EventLoop } from '../io/handles.ts';
import type { WireConnection } from './wire.ts';

/** How often one is looked at in the time that it has. */
const looks = 4;

export class WriteWatch {
  readonly #loop: EventLoop;
  readonly #everyMs: number;
  readonly #connections: () => Iterable<WireConnection>;
  #timer = -1;

  /** @param timeoutMs Infinity: no limit */
  constructor(loop: EventLoop, timeoutMs: number, connections: () => Iterable<WireConnection>) {
    this.#loop = loop;
    this.#everyMs = timeoutMs / looks;
    this.#connections = connections;
  }

  /** There is a connection. */
  begin(): void {
    if (this.#timer !== -1 || this.#everyMs === Infinity || this.#loop.closed) return;
    this.#timer = this.#loop.armTimer(this.#loop.time() + this.#everyMs, this);
  }

  stop(): void {
    if (this.#timer !== -1) this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }

  /** @internal Of the loop. */
  onTimer(): void {
    this.#timer = -1;
    for (const connection of this.#connections()) {
      // The first look found the bytes; as many more make the whole time.
      if (connection.countStalls() > looks) connection.abort();
      this.begin();
    }
  }
}
