/**
 * What all WebSockets of one route, or of one call of a client, have in common.
 *
 * In: a loop, checked options. Out: one object for all of them. Never: anything of one socket.
 */
import type { EventLoop } from '../../io/handles.ts';
import { FrameReader } from './frames.ts';
import { Heartbeats } from './heartbeat.ts';
import { type Masker, maskerFor } from './mask.ts';
import type { WebSocketPlan } from './options.ts';
import type { Topics } from './topics.ts';

export class Terms {
  readonly loop: EventLoop;
  readonly isServer: boolean;
  readonly plan: WebSocketPlan;
  /** Null: of a client. */
  readonly topics: Topics | null;
  readonly #mask: Masker;
  /** Null: none are wanted. */
  readonly heartbeats: Heartbeats | null;
  readonly #plain: FrameReader;
  readonly #compressed: FrameReader;

  constructor(loop: EventLoop, plan: WebSocketPlan, topics: Topics | null) {
    this.loop = loop;
    this.plan = plan;
    this.topics = topics;
    this.isServer = topics !== null;
    const { heartbeatMs, maxMessageBytes } = plan;
    this.heartbeats = heartbeatMs === Infinity ? null : new Heartbeats(loop, heartbeatMs);
    this.#mask = maskerFor(loop.backendHandle.parsers);
    const rules = { masked: this.isServer, mask: this.#mask, maxMessageBytes };
    this.#plain = new FrameReader({ ...rules, compressed: false });
    this.#compressed = new FrameReader({ ...rules, compressed: true });
  }

  /** For frames that go out; null: they are not masked. */
  get masker(): Masker | null {
    return this.isServer ? null : this.#mask;
  }

  readerFor(compressed: boolean): FrameReader {
    return compressed ? this.#compressed : this.#plain;
  }
}
