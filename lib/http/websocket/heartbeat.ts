/**
 * Notices that a peer has fallen silent.
 *
 * In: that something came. Out: a ping after the silence, the end of the connection after half as
 * much more. Never: a timer per message.
 */
import type { EventLoop } from '../../io/handles.ts';

export interface Beating {
  sendHeartbeat(): void;
  heartbeatLost(): void;
}

export class Heartbeat {
  readonly #loop: EventLoop;
  readonly #everyMs: number;
  readonly #target: Beating;
  #timer = -1;
  #heardMs: number;
  #asked = false;

  constructor(loop: EventLoop, everyMs: number, target: Beating) {
    this.#loop = loop;
    this.#everyMs = everyMs;
    this.#target = target;
    this.#heardMs = loop.time();
    this.#arm();
  }

  heard(): void {
    this.#heardMs = this.#loop.time();
    this.#asked = false;
  }

  stop(): void {
    if (this.#timer >= 0) this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }

  /** @internal Of the loop. */
  onTimer(): void {
    this.#timer = -1;
    const lateMs = this.#loop.time() - this.#dueMs();
    if (lateMs >= 0) {
      if (this.#asked && lateMs > this.#everyMs / 4) {
        // The loop stood still: what the peer sent meanwhile was not read yet.
        this.#heardMs = this.#loop.time() - this.#everyMs;
      } else if (this.#asked) {
        this.#target.heartbeatLost();
        return;
      } else {
        this.#asked = true;
        this.#target.sendHeartbeat();
      }
    }
    this.#arm();
  }

  #dueMs(): number {
    return this.#heardMs + this.#everyMs * (this.#asked ? 1.5 : 1);
  }

  #arm(): void {
    this.#timer = this.#loop.armTimer(this.#dueMs(), this);
  }
}
