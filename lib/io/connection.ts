/**
 * A connection: a stream that tasks read, write and close with promises.
 *
 * In: a stream handle. Out: `Connection`. Never: an unhandled rejection of a write that nobody
 * awaits; state per connection that an idle one does not need.
 *
 * Below the high-water mark all writes return one shared promise. Above it writers wait, and what
 * an idle connection lacks (waiters, abort signal) is made in `#rare`.
 */
import type { Duplex } from 'node:stream';
import {
  BrokenResourceError,
  BusyResourceError,
  bufferFullError,
  type CancelledError,
  ClosedResourceError,
  type Data,
  InvalidStateError,
  type WaitOptions,
} from '../base/errors.ts';
import { quieted, quietReject, resolved } from '../base/quiet.ts';
import type { SocketAddress } from '../loop/backend.ts';
import { currentFrame, currentLoop, type Frame } from '../task/frame.ts';
import { cancelledPromise, takeCancellation, Waiter } from '../task/waiter.ts';
import { writePace } from '../task/write-pace.ts';
import { cancellationPending } from './cancelled.ts';
import { checkData, joinData, type Parts } from './data.ts';
import type { Connection, NodeStreamOptions, StartTlsOptions, WebStreamPair } from './net-types.ts';
import { ConnectionSocket } from './node-socket.ts';
import { ReadingStream } from './reading-stream.ts';
import {
  flagEnded,
  flagGone,
  flagHandedOver,
  flagLossTold,
  flagOverHighWater,
  flagReadingPaused,
  flagUpgrading,
  flagWriteEnded,
  stateAborted,
  stateClosing,
  stateLost,
  stateOpen,
  unknownAddress,
} from './stream.ts';
import type { HandedOver, Heir } from './taken.ts';
import { planUpgrade } from './tls/plan.ts';
import { TlsStream } from './tls/stream.ts';
import { ConnectionUpgrade, endedBefore, type Upgradable } from './tls/upgrade.ts';
import { WebBridge } from './web-bridge.ts';

/** Waits for the end. Cancelled, it gives up flushing, but waits for the little that is left. */
class CloseWaiter extends Waiter<void> {
  readonly #connection: StreamConnection;
  #cancelled: CancelledError | null = null;

  constructor(connection: StreamConnection) {
    super('close');
    this.#connection = connection;
  }

  override deliver(error: CancelledError): void {
    this.#cancelled = error;
    this.#connection.abort();
  }

  finish(loss: BrokenResourceError | null): void {
    const error = this.#cancelled ?? loss;
    if (error === null) this.wake();
    else this.fail(error);
  }
}

/** What only few connections need. */
class Rare {
  /** Writers that wait for the buffer to drain, in order. */
  drains: Waiter<void>[] = [];
  /** The last of them: its promise is shared by all writes of the same task and scope. */
  drain: Waiter<void> | null = null;
  drainPromise: Promise<void> = resolved;
  drainFrame: Frame | undefined = undefined;
  /** Waits of `close()`. */
  closers: CloseWaiter[] = [];
  controller: AbortController | null = null;
  abortReason: unknown = undefined;
  /** What took the stream over. */
  heir: Heir | null = null;
}

export class StreamConnection extends ReadingStream implements Connection, Upgradable {
  #rare: Rare | null = null;

  get open(): boolean {
    return this.state === stateOpen;
  }

  get localAddress(): SocketAddress {
    return this.handle.localAddress() ?? unknownAddress;
  }

  get remoteAddress(): SocketAddress {
    return this.handle.remoteAddress() ?? unknownAddress;
  }

  get signal(): AbortSignal {
    const rare = this.getRare();
    if (rare.controller === null) {
      rare.controller = new AbortController();
      const gone = this.has(flagGone) || this.state === stateAborted;
      if (gone) rare.controller.abort(this.goneReason());
    }
    return rare.controller.signal;
  }

  write(data: Data, options?: WaitOptions): Promise<void> {
    let bytes: Data;
    try {
      bytes = checkData(data);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.put(bytes, options);
  }

  private put(bytes: Data | Parts, options: WaitOptions | undefined): Promise<void> {
    if (this.state !== stateOpen || this.has(flagWriteEnded)) return this.refuseWrite();
    const cancelled = takeCancellation();
    if (this.has(flagOverHighWater) && this.isFull(bytes)) {
      if (cancelled !== null) return quieted(cancelledPromise(cancelled));
      const { maxBufferedBytes } = this.limits;
      return quietReject(bufferFullError(this.writeBufferBytes, maxBufferedBytes));
    }
    const bufferedBytes = this.send(bytes);
    if (bufferedBytes > this.limits.highWaterBytes) this.askForDrain(this.limits.lowWaterBytes);
    if (cancelled !== null) return quieted(cancelledPromise(cancelled));
    if (options?.signal?.aborted) {
      return quietReject(options.signal.reason);
    }
    if (bufferedBytes === 0) return writePace().written(bytes.length, options);
    if (bufferedBytes <= this.limits.highWaterBytes) return resolved;
    return this.waitForDrain(options);
  }

  writeLines(parts: Iterable<Data>, options?: WaitOptions): Promise<void> {
    let data: Data | Parts;
    try {
      data = joinData(parts, this.gathers);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.put(data, options);
  }

  writeEof(options?: WaitOptions): Promise<void> {
    if (this.state !== stateOpen || this.has(flagUpgrading)) return this.refuseWrite();
    const cancelled = takeCancellation();
    if (!this.has(flagWriteEnded)) {
      this.mark(flagWriteEnded);
      this.handle.shutdown();
    }
    if (cancelled !== null) return quieted(cancelledPromise(cancelled));
    if (this.handle.bufferedBytes === 0) return resolved;
    // No more comes, so writers that wait for the low-water mark may as well wait for this.
    this.unmark(flagOverHighWater);
    this.askForDrain(0);
    return this.waitForDrain(options);
  }

  startTls(options: StartTlsOptions = {}): Promise<void> {
    const upgrade = new ConnectionUpgrade(this);
    let stream: TlsStream;
    let promise: Promise<void>;
    try {
      const loop = currentLoop();
      const plan = planUpgrade(loop, options);
      const refusal = this.refuseUpgrade();
      if (refusal !== null) return refusal;
      promise = upgrade.start(options);
      if (!upgrade.active) return promise;
      stream = new TlsStream(loop, this.handle, plan, upgrade);
    } catch (error) {
      return Promise.reject(error);
    }
    this.receiveChunks();
    const carrier = this.handle;
    this.handle = stream;
    stream.sink = this;
    this.mark(flagWriteEnded | flagUpgrading);
    if (this.has(flagReadingPaused)) {
      this.unmark(flagReadingPaused);
      carrier.resume();
    }
    if (this.has(flagOverHighWater)) stream.notifyDrain(this.limits.lowWaterBytes);
    stream.begin();
    return promise;
  }

  /** @internal */
  upgraded(): void {
    this.unmark(flagWriteEnded | flagUpgrading);
  }

  /** @internal */
  lossWasTold(): void {
    this.mark(flagLossTold);
  }

  close(): Promise<void> {
    if (this.has(flagGone)) return this.closeResult();
    const closers = this.getRare().closers;
    const waiter = new CloseWaiter(this);
    let promise: Promise<void>;
    if (this.state === stateAborted || cancellationPending()) {
      // At once. The cancellation stays for the next wait: an error of a clean-up would hide the
      // one that led to it.
      this.abort();
      promise = waiter.begin(null);
    } else {
      this.finish();
      promise = waiter.start();
    }
    closers.push(waiter);
    quieted(promise);
    return promise;
  }

  abort(reason?: unknown): void {
    if (this.has(flagGone) || this.state === stateAborted) return;
    this.state = stateAborted;
    if (this.has(flagHandedOver)) this.#rare?.heir?.cutOff(reason);
    else this.handle.abort();
    const cause = reason === undefined ? undefined : { cause: reason };
    const error = new BrokenResourceError('The connection was aborted', cause);
    this.stopReading(error);
    const rare = this.#rare;
    if (rare === null) return;
    rare.abortReason = reason;
    this.endDrains(error);
    rare.controller?.abort(reason ?? error);
  }

  /** As `close()`, but silent about a loss that came before: the block has met it, or will not. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.has(flagGone) ? resolved : this.close();
  }

  /** @internal `close()` for who does not wait. */
  finish(): void {
    if (this.has(flagHandedOver)) this.#rare?.heir?.endSoon();
    if (this.state !== stateOpen) return;
    this.state = stateClosing;
    this.handle.close();
    this.stopReading(new ClosedResourceError('The connection was closed'));
  }

  toNode(options?: NodeStreamOptions): Duplex {
    return new ConnectionSocket(this, options);
  }

  toWeb(): WebStreamPair {
    return new WebBridge(this).pair();
  }

  /**
   * @internal Gives the stream away. The heir becomes the sink, and tells this connection of
   * drains and of the end, for those who wait here and for the server.
   */
  handOver(heir: Heir): HandedOver {
    if (this.state === stateLost) {
      throw this.loss ?? new BrokenResourceError('The connection was ended by the peer');
    }
    if (this.state !== stateOpen) throw this.closedError();
    if (this.has(flagUpgrading)) throw new BusyResourceError('startTls() goes on');
    if (this.hasReader) throw new BusyResourceError('A task reads from this connection');
    this.receiveChunks();
    this.getRare().heir = heir;
    this.state = stateClosing;
    this.mark(flagHandedOver);
    this.handle.sink = heir;
    const writeEnded = this.has(flagWriteEnded);
    return { received: this.takeReceived(), ended: this.has(flagEnded), writeEnded };
  }

  /** @internal */
  onDrain(): void {
    this.unmark(flagOverHighWater);
    this.endDrains(null);
  }

  protected override settle(loss: BrokenResourceError | null): void {
    const rare = this.#rare;
    if (rare === null) return;
    // By `startTls`, before the stream had ended.
    const known = this.lossTold;
    this.endDrains(this.drainError(loss));
    const closers = rare.closers;
    rare.closers = [];
    for (const closer of closers) {
      // Who aborts does not ask whether the bytes arrived.
      const silent = loss === null || known || this.state === stateAborted;
      closer.finish(silent ? null : this.tellLoss(loss));
    }
    rare.controller?.abort(this.goneReason());
  }

  /** `close()` of a connection that is gone: tells of a loss if nobody was told yet. */
  private closeResult(): Promise<void> {
    const loss = this.loss;
    const untold = loss !== null && !this.lossTold && this.state !== stateAborted;
    if (this.state === stateLost) this.state = stateClosing;
    return untold ? quietReject(this.tellLoss(loss)) : resolved;
  }

  private refuseWrite(): Promise<never> {
    const loss = this.loss;
    if (this.state === stateLost) {
      const error = loss ?? new BrokenResourceError('The connection was ended by the peer');
      return quietReject(error);
    }
    if (this.has(flagUpgrading)) {
      return quietReject(new BusyResourceError('startTls() goes on'));
    }
    if (this.state !== stateOpen) return quietReject(this.closedError());
    return quietReject(new ClosedResourceError('write after writeEof()'));
  }

  private refuseUpgrade(): Promise<never> | null {
    if (this.has(flagUpgrading) || this.state !== stateOpen || this.has(flagWriteEnded)) {
      return this.refuseWrite();
    }
    if (this.hasReader) {
      return Promise.reject(new BusyResourceError('Another task reads from this connection'));
    }
    const { unreadBytes } = this;
    if (unreadBytes > 0) {
      const text = `${unreadBytes} bytes came in the clear and were not read before startTls()`;
      return Promise.reject(new InvalidStateError(text));
    }
    return this.has(flagEnded) ? Promise.reject(endedBefore()) : null;
  }

  private askForDrain(lowBytes: number): void {
    if (this.has(flagOverHighWater)) return;
    this.mark(flagOverHighWater);
    this.handle.notifyDrain(lowBytes);
  }

  private waitForDrain(options: WaitOptions | undefined): Promise<void> {
    const rare = this.getRare();
    const frame = currentFrame();
    const signal = options?.signal;
    if (signal === undefined && rare.drain?.active && rare.drainFrame === frame) {
      return rare.drainPromise;
    }
    const waiter = new Waiter<void>('write');
    const promise = waiter.start(options);
    quieted(promise);
    if (!waiter.active) return promise;
    rare.drains.push(waiter);
    if (signal === undefined) {
      rare.drain = waiter;
      rare.drainPromise = promise;
      rare.drainFrame = frame;
    }
    return promise;
  }

  private endDrains(error: BrokenResourceError | null): void {
    const rare = this.#rare;
    if (rare === null || rare.drains.length === 0) return;
    const drains = rare.drains;
    rare.drains = [];
    rare.drain = null;
    rare.drainPromise = resolved;
    rare.drainFrame = undefined;
    for (const waiter of drains) {
      if (error === null) waiter.wake();
      else waiter.fail(error);
    }
  }

  /** What writers that still wait are told when the stream is gone. */
  private drainError(loss: BrokenResourceError | null): BrokenResourceError | null {
    if (loss !== null) return loss;
    return this.state === stateClosing ? null : new BrokenResourceError('The connection was lost');
  }

  private goneReason(): unknown {
    const reason = this.#rare?.abortReason;
    return reason ?? this.loss ?? new ClosedResourceError('The connection is closed');
  }

  private getRare(): Rare {
    this.#rare ??= new Rare();
    return this.#rare;
  }
}
