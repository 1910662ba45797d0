/**
 * The body of a request between the parser and whoever reads it.
 *
 * In: pieces as they were parsed. Out: calls of the sink while it wants them. Never: a call from
 * inside a call to the exchange.
 */
import type { Buffer } from 'node:buffer';
import type { ExchangeSink } from './wire.ts';

/** A body that nobody reads stops the connection above it. */
export const heldBytes = 65_536;
/** Likewise for pieces: each has a price of its own. */
const heldPieces = 1_024;

export class NativeBody {
  chunks: Buffer[] = [];
  /** In `chunks`. */
  waitingBytes = 0;
  /** In all. */
  receivedBytes = 0;
  /** All of it came. */
  complete = false;
  failure: { readonly status: number; readonly reason: string } | null = null;
  /** The sink asked for it. */
  wanted = false;
  paused = false;
  /** The response is complete: what comes is dropped. */
  dropped = false;
  /** The sink knows its end. */
  told = false;
  /** `100 Continue` was sent, or it is too late for it: the head of the response was given. */
  continued = false;
  /** When its speed was looked at, and how much had come. */
  slowMs = 0;
  slowBytes = 0;
  #delivering = false;

  add(chunk: Buffer): void {
    this.receivedBytes += chunk.length;
    if (this.dropped) return;
    this.chunks.push(chunk);
    this.waitingBytes += chunk.length;
  }

  /** All of it, when it came as one piece and nobody has asked for it. */
  takeAll(maxBytes: number): Buffer | null {
    if (this.wanted || !this.complete || this.waitingBytes > maxBytes) return null;
    // A full one holds the connection back until it is delivered.
    if (this.chunks.length !== 1 || this.full) return null;
    this.wanted = true;
    this.told = true;
    this.waitingBytes = 0;
    return this.chunks.pop() as Buffer;
  }

  drop(): void {
    this.dropped = true;
    this.chunks = [];
    this.waitingBytes = 0;
  }

  /** The connection is to read no further. */
  get full(): boolean {
    return this.waitingBytes > heldBytes || this.chunks.length > heldPieces;
  }

  /** Gives the sink what it wants; inside the server's context. */
  deliver(sink: ExchangeSink): void {
    if (this.#delivering || !this.wanted) return;
    this.#delivering = true;
    // A sink may end the exchange, or pause, with each call.
    let at = 0;
    while (at < this.chunks.length && !this.paused && !this.dropped) {
      const chunk = this.chunks[at++] as Buffer;
      this.waitingBytes -= chunk.length;
      sink.onBodyData(chunk);
    }
    this.chunks.splice(0, at);
    this.#delivering = false;
    if (this.chunks.length > 0 || this.told || this.dropped) return;
    if (this.failure !== null) {
      this.told = true;
      sink.onBodyError(this.failure.status, this.failure.reason);
    } else if (this.complete && !this.paused) {
      this.told = true;
      sink.onBodyEnd();
    }
  }
}
