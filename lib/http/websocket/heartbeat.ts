/**
 * Notices that a peer has fallen silent.
 *
 * In: that something came. Out: a ping after the silence, the end of the connection after half as
 * much more. Never: the end of one that we do not read, unless it takes nothing either; a timer for
 * each socket or message: one sweep looks after all of a route.
 */
import type { EventLoop } from '../../io/handles.ts';
import { Sweep, type Swept } from '../native-sweep.ts';

export interface Beating {
  /** Null: what it sends is read. Else how much waits to be written to it. */
  readonly heldBytes: number | null;
  sendHeartbeat(): void;
  heartbeatLost(): void;
}

/** Of the sockets that have their options, and their loop, in common. */
export class Heartbeats {
  readonly everyMs: number;
  readonly sweep: Sweep;

  constructor(loop: EventLoop, everyMs: number) {
    this.everyMs = everyMs;
    this.sweep = new Sweep(loop, everyMs);
  }
}

export class Heartbeat implements Swept {
  place = -1;
  dueMs = 0;
  readonly #all: Heartbeats;
  readonly #target: Beating;
  #heardMs = 0;
  #asked = false;
  /** At the latest look. */
  #heldBytes: number | null = null;

  constructor(all: Heartbeats, target: Beating) {
    this.#all = all;
    this.#target = target;
    all.sweep.add(this);
    this.heard();
    this.#arm();
  }

  heard(): void {
    this.#heardMs = this.#all.sweep.nowMs;
    this.#asked = false;
  }

  stop(): void {
    this.#all.sweep.remove(this);
  }

  /** @internal Of the sweep: at the earliest when the peer can have been silent for too long. */
  onDue(nowMs: number): void {
    const { heldBytes } = this.#target;
    // It cannot be heard, but it may be seen to take what is sent.
    const silent = heldBytes === null || (heldBytes > 0 && heldBytes === this.#heldBytes);
    this.#heldBytes = heldBytes;
    if (!silent) this.heard();
    const lateMs = nowMs - this.#silentMs();
    if (lateMs >= 0) {
      const { everyMs } = this.#all;
      if (this.#asked && lateMs > everyMs / 2) {
        // The loop stood still: what the peer sent meanwhile was not read yet.
        this.#heardMs = nowMs - everyMs;
      } else if (this.#asked) {
        this.#target.heartbeatLost();
        return;
      } else {
        this.#asked = true;
        if (heldBytes === null) this.#target.sendHeartbeat();
      }
    }
    this.#arm();
  }

  /** When the silence has been too long. */
  #silentMs(): number {
    return this.#heardMs + this.#all.everyMs * (this.#asked ? 1.5 : 1);
  }

  #arm(): void {
    this.dueMs = this.#silentMs();
  }
}
