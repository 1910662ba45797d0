/**
 * TLS as a decorator: a sink towards the stream that carries the ciphertext, and a stream towards
 * io, so that transports and connections work on it unchanged.
 *
 * In: calls of io; events of the carrying stream and of the engine. Out: calls of the sink, the
 * engine, the carrying stream. Never: a byte of plaintext before the peer was judged; a call of
 * the sink from inside a call of io (rule 1 of backends); an exception of the sink into an engine.
 */
import type { Buffer } from 'node:buffer';
import { TimeoutError, tlsTruncatedError } from '../../base/errors.ts';
import {
  type CallbackContext,
  callSink,
  type SocketAddress,
  type StreamHandle,
  type StreamSink,
} from '../../loop/backend.ts';
import type { EventLoop, Job, TimerTarget } from '../../loop/event-loop.ts';
import type { TlsEngine, TlsSink } from '../../loop/tls.ts';
import { makeEngine } from './engine.ts';
import { TlsConnectionInfo } from './info.ts';
import type { TlsPlan } from './plan.ts';
import {
  CLOSING,
  disconnectedError,
  END_HELD,
  ENDED,
  FINISHED,
  FLUSHED,
  fill,
  GONE,
  type HandshakeOwner,
  INTO,
  mostDroppedBytes,
  PAUSED,
  REPLAY,
  SECURE,
  SHUTDOWN,
  TRUNCATED,
  tellClosed,
  tellData,
  tellDrain,
  tellEof,
} from './stream-state.ts';
import { judgePeer } from './trust.ts';

export type { HandshakeOwner } from './stream-state.ts';

export class TlsStream implements StreamHandle, StreamSink, TlsSink, Job, TimerTarget {
  sink: StreamSink | null = null;
  /** The carrying stream enters none: `#dispatch` enters that of the sink. */
  readonly context: CallbackContext | null = null;
  readonly #loop: EventLoop;
  readonly #carrier: StreamHandle;
  readonly #plan: TlsPlan;
  #owner: HandshakeOwner | null;
  #engine: TlsEngine;
  #flags = 0;
  #timer = -1;
  #info: TlsConnectionInfo | null = null;
  /** What the carrying stream said last about its buffer, and whether that is of this write. */
  #carrierBytes = 0;
  #wrote = false;
  #drainLowBytes = -1;
  /** Plaintext that came while paused: at most one chunk of ciphertext. */
  #held: Buffer[] = [];
  #chunk: Buffer | null = null;
  #droppedBytes = 0;
  #error: Error | undefined;

  constructor(loop: EventLoop, carrier: StreamHandle, plan: TlsPlan, owner: HandshakeOwner) {
    this.#loop = loop;
    this.#carrier = carrier;
    this.#plan = plan;
    this.#owner = owner;
    this.#engine = makeEngine(loop.backendHandle, plan.start, this);
  }

  /** Begins the handshake. */
  begin(): void {
    this.#carrier.sink = this;
    this.#arm(this.#plan.handshakeTimeoutMs);
    this.#engine.start();
  }

  /** Null before the handshake is done. */
  get info(): TlsConnectionInfo | null {
    return this.#info;
  }

  get carrier(): StreamHandle {
    return this.#carrier;
  }

  #has(flag: number): boolean {
    return (this.#flags & flag) !== 0;
  }

  // What io calls.

  get bufferedBytes(): number {
    return this.#has(CLOSING) ? 0 : this.#engine.bufferedBytes + this.#carrier.bufferedBytes;
  }

  get unsentBytes(): number {
    if (this.#has(CLOSING)) return 0;
    const carrier = this.#carrier;
    return this.#engine.bufferedBytes + (carrier.unsentBytes ?? carrier.bufferedBytes);
  }

  get fd(): number | null {
    return this.#carrier.fd;
  }

  write(data: string | Uint8Array): number {
    if (this.#has(CLOSING | SHUTDOWN)) return this.#error === undefined ? 0 : Infinity;
    this.#wrote = false;
    if (data.length > 0) this.#engine.write(data);
    if (!this.#wrote && this.#carrierBytes > 0) this.#carrierBytes = this.#carrier.bufferedBytes;
    return this.#engine.bufferedBytes + this.#carrierBytes;
  }

  notifyDrain(lowBytes: number): void {
    if (this.#has(CLOSING)) return;
    this.#drainLowBytes = lowBytes;
    this.#watchDrain();
  }

  /** The engine hands all it has on to the carrying stream, so that one is asked last. */
  #watchDrain(): void {
    const left = this.#drainLowBytes - this.#engine.bufferedBytes;
    if (left >= 0) this.#carrier.notifyDrain(left);
  }

  /** close_notify, but no FIN: reading goes on, and the engine may have to answer. */
  shutdown(): void {
    if (this.#has(CLOSING | SHUTDOWN)) return;
    this.#flags |= SHUTDOWN;
    this.#engine.shutdown();
  }

  /**
   * Sends what is buffered, close_notify and FIN, then waits, no longer than the plan says, for the
   * peer's end: closing earlier could destroy what the peer has not read yet.
   */
  close(): void {
    if (this.#has(CLOSING)) return;
    const paused = this.#has(PAUSED);
    this.#endIo();
    if (!this.#has(SECURE)) {
      this.#endEngine();
      this.#carrier.abort();
      return;
    }
    this.#arm(this.#plan.shutdownTimeoutMs);
    if (paused) this.#carrier.resume();
    if (this.#has(FINISHED)) this.#linger();
    else if (!this.#has(SHUTDOWN)) {
      this.#flags |= SHUTDOWN;
      this.#engine.shutdown();
    }
  }

  abort(): void {
    if (this.#has(GONE)) return;
    this.#endIo();
    this.#endEngine();
    this.#carrier.abort();
  }

  pause(): void {
    if (this.#has(PAUSED | CLOSING)) return;
    this.#flags |= PAUSED;
    // The handshake goes on.
    if (this.#has(SECURE)) this.#carrier.pause();
  }

  resume(): void {
    if (!this.#has(PAUSED) || this.#has(CLOSING)) return;
    this.#flags &= ~PAUSED;
    if (this.#held.length === 0 && !this.#has(END_HELD)) {
      if (this.#has(SECURE)) this.#carrier.resume();
    } else if (!this.#has(REPLAY)) {
      this.#flags |= REPLAY;
      this.#loop.enqueue(this);
    }
  }

  setReadInto(enable: boolean): void {
    if (enable) this.#flags |= INTO;
    else this.#flags &= ~INTO;
  }

  setNoDelay(enable: boolean): void {
    this.#carrier.setNoDelay(enable);
  }

  /** Of the carrier's bytes, of which there are more. */
  setLeastRead(bytes: number): boolean {
    return this.#carrier.setLeastRead?.(bytes) === true;
  }

  setKeepAlive(enable: boolean, idleMs: number): void {
    this.#carrier.setKeepAlive(enable, idleMs);
  }

  ref(): void {
    this.#carrier.ref();
  }

  unref(): void {
    this.#carrier.unref();
  }

  localAddress(): SocketAddress | null {
    return this.#carrier.localAddress();
  }

  remoteAddress(): SocketAddress | null {
    return this.#carrier.remoteAddress();
  }

  // What the carrying stream tells.

  onData(chunk: Buffer): void {
    // What comes behind close_notify is of nobody (RFC 8446, 6.1).
    if (!this.#has(ENDED | GONE) && this.#error === undefined) this.#engine.feed(chunk);
  }

  onAlloc(): Uint8Array {
    throw new Error('uvio bug: onAlloc of a TLS stream');
  }

  onFilled(): void {}

  onEof(): void {
    if (this.#error !== undefined) return;
    if (!this.#has(SECURE)) this.#fail(disconnectedError());
    else if (this.#has(CLOSING)) this.onEnd(true);
    else if (!this.#has(ENDED)) this.#engine.feedEnd();
  }

  onDrain(): void {
    if (this.#has(CLOSING)) {
      this.#flags |= FLUSHED;
      return;
    }
    const lowBytes = this.#drainLowBytes;
    if (lowBytes < 0) return;
    if (this.bufferedBytes > lowBytes) {
      this.#watchDrain();
      return;
    }
    this.#drainLowBytes = -1;
    this.#dispatch(tellDrain);
  }

  onClosed(error: Error | undefined): void {
    if (this.#has(GONE)) return;
    this.#disarm();
    // `resume()` was called before: this came first.
    if (!this.#has(PAUSED | CLOSING)) this.#replay();
    this.#flags |= GONE;
    const asked = this.#has(CLOSING);
    this.#flags |= CLOSING;
    this.#endEngine();
    const flushed = asked && this.#has(FLUSHED);
    this.#error ??= flushed ? undefined : error;
    const owner = this.#owner;
    this.#owner = null;
    if (owner !== null) {
      if (!asked) owner.failed(this, error ?? disconnectedError());
      owner.gone(this);
    }
    this.#dispatch(tellClosed);
    this.sink = null;
  }

  // What the engine tells.

  onCiphertext(bytes: Uint8Array): void {
    this.#wrote = true;
    this.#carrierBytes = this.#carrier.write(bytes);
  }

  onSecure(): void {
    if (this.#has(CLOSING)) return;
    const verdict = judgePeer(this.#plan, this.#engine);
    if (verdict.error !== null) {
      this.#fail(verdict.error);
      return;
    }
    this.#info = new TlsConnectionInfo(this.#engine, verdict);
    this.#flags |= SECURE;
    this.#disarm();
    const owner = this.#owner;
    this.#owner = null;
    const before = this.#loop.enter();
    try {
      owner?.secured(this);
    } catch (error) {
      this.#loop.onError('Exception after a TLS handshake', error, this.sink);
      this.abort();
    } finally {
      this.#loop.leave(before);
    }
    if (this.#has(PAUSED) && !this.#has(CLOSING)) this.#carrier.pause();
  }

  onPlaintext(chunk: Buffer): void {
    if (this.#has(CLOSING)) {
      this.#droppedBytes += chunk.length;
      if (this.#droppedBytes > mostDroppedBytes) this.#carrier.close();
      return;
    }
    if (this.#has(PAUSED) || this.#held.length > 0) this.#held.push(chunk);
    else this.#deliver(chunk);
  }

  onEnd(clean: boolean): void {
    if (this.#has(ENDED)) return;
    this.#flags |= ENDED;
    if (this.#has(CLOSING)) {
      if (this.#has(FINISHED)) this.#carrier.close();
      return;
    }
    if (!clean) this.#flags |= TRUNCATED;
    if (this.#has(PAUSED) || this.#held.length > 0) this.#flags |= END_HELD;
    else this.#deliverEnd();
  }

  onFinished(): void {
    this.#flags |= FINISHED;
    if (!this.#has(CLOSING)) this.onProgress();
    else if (this.#error === undefined) this.#linger();
  }

  onProgress(): void {
    if (this.#drainLowBytes >= 0) this.#watchDrain();
  }

  onSession(session: Buffer): void {
    if (this.#info !== null) this.#info.lastSession = session;
  }

  onTlsError(error: Error): void {
    // All that was ours is sent: what the peer does now changes nothing.
    if (this.#has(CLOSING) && this.#has(FINISHED)) this.#carrier.close();
    else this.#fail(error);
  }

  /** The time for the handshake, or for closing, is over. */
  onTimer(): void {
    this.#timer = -1;
    if (!this.#has(SECURE)) {
      const { handshakeTimeoutMs } = this.#plan;
      this.#fail(new TimeoutError(`No TLS handshake within ${handshakeTimeoutMs} ms`));
    } else if (this.#has(FLUSHED)) {
      this.#carrier.close();
    } else {
      const { shutdownTimeoutMs } = this.#plan;
      this.#fail(new TimeoutError(`Not all was sent within ${shutdownTimeoutMs} ms`));
      // Also when it is closing already, as the peer has ended: that waits for all to be sent.
      this.#carrier.abort();
    }
  }

  /** `resume()` found something held. */
  runJob(): void {
    this.#flags &= ~REPLAY;
    if (this.#has(PAUSED | CLOSING)) return;
    this.#replay();
    if (!this.#has(PAUSED | CLOSING)) this.#carrier.resume();
  }

  #replay(): void {
    const held = this.#held;
    this.#held = [];
    for (let at = 0; at < held.length; at++) {
      if (this.#has(CLOSING)) return;
      if (this.#has(PAUSED)) {
        // `#deliver` may have put the rest of its chunk there.
        this.#held.push(...held.slice(at));
        return;
      }
      this.#deliver(held[at] as Buffer);
    }
    if (!this.#has(END_HELD) || this.#has(PAUSED | CLOSING)) return;
    this.#flags &= ~END_HELD;
    this.#deliverEnd();
  }

  #deliver(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#dispatch(this.#has(INTO) ? fill : tellData);
  }

  #deliverEnd(): void {
    if (this.#has(TRUNCATED)) this.#fail(tlsTruncatedError());
    else this.#dispatch(tellEof);
  }

  takeChunk(): Buffer {
    const chunk = this.#chunk as Buffer;
    this.#chunk = null;
    return chunk;
  }

  /** Copies into the sink's memory, as long as it wants that. */
  fill(sink: StreamSink): void {
    const chunk = this.takeChunk();
    let at = 0;
    while (at < chunk.length) {
      if (this.#has(CLOSING)) return;
      if (this.#has(PAUSED)) {
        this.#held.push(chunk.subarray(at));
        return;
      }
      if (!this.#has(INTO)) {
        sink.onData(chunk.subarray(at));
        return;
      }
      const target = sink.onAlloc(chunk.length - at);
      if (target.length === 0) throw new RangeError('onAlloc gave no room');
      const bytes = Math.min(target.length, chunk.length - at);
      target.set(chunk.subarray(at, at + bytes));
      at += bytes;
      sink.onFilled(bytes);
    }
  }

  get error(): Error | undefined {
    return this.#error;
  }

  /** close_notify is out: FIN, and until the peer ends, too. */
  #linger(): void {
    if (this.#has(ENDED)) {
      this.#carrier.close();
      return;
    }
    this.#carrier.shutdown();
    this.#carrier.notifyDrain(0);
  }

  /** It cannot go on. An alert was written already, if there is one. */
  #fail(error: Error): void {
    if (this.#error !== undefined || this.#has(GONE)) return;
    this.#error = error;
    const owner = this.#has(CLOSING) ? null : this.#owner;
    this.#endIo();
    this.#endEngine();
    // An alert is small: what is still there waits for a peer that does not read.
    if (this.#carrier.bufferedBytes > 0) this.#carrier.abort();
    else this.#carrier.close();
    owner?.failed(this, error);
  }

  #endEngine(): void {
    this.#engine.destroy();
    this.#info?.detach();
  }

  #endIo(): void {
    this.#flags = (this.#flags | CLOSING) & ~(PAUSED | END_HELD);
    this.#held = [];
    this.#drainLowBytes = -1;
    this.#disarm();
  }

  #arm(delayMs: number): void {
    if (delayMs !== Infinity) this.#timer = this.#loop.armTimer(this.#loop.time() + delayMs, this);
  }

  #disarm(): void {
    if (this.#timer >= 0) this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }

  #dispatch(tell: (stream: TlsStream) => void): void {
    if (this.sink !== null) callSink(this.#loop, this.sink, tell, this);
  }
}
