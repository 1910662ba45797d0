/**
 * The reading half of a connection.
 *
 * In: records of the backend (it is a StreamSink). Out: promises of bytes. Never: a second waiting
 * reader; a byte lost to a cancelled read; more than one promise for a read.
 *
 * A read either is met from the buffer at once, or waits with the one embedded waiter while `want`
 * says for what. Received data goes straight to a reader that waits for anything, else into the
 * buffer, where above `limitBytes` the backend is told to pause.
 */
import { Buffer } from 'node:buffer';
import {
  argTypeError,
  BrokenResourceError,
  BusyResourceError,
  type Data,
  type WaitOptions,
} from '../base/errors.ts';
import { checkBytes, checkInteger } from '../base/units.ts';
import type { StreamHandle } from '../loop/backend.ts';
import { cancelledPromise, takeCancellation } from '../task/waiter.ts';
import { noteRead } from '../task/write-pace.ts';
import { checkAttached, isEmpty } from './data.ts';
import { LineLoop, Reader } from './iterators.ts';
import type { StreamLimits } from './limits.ts';
import type { ByteReader } from './net-types.ts';
import { ReadBuffer } from './read-buffer.ts';
import {
  flagEnded,
  flagGone,
  flagLossTold,
  flagReadingPaused,
  flagReceivingInto,
  Stream,
  stateLost,
  stateOpen,
} from './stream.ts';
import {
  checkSeparators,
  notYet,
  type Want,
  WantAll,
  WantExactly,
  WantInto,
  WantSome,
  WantUntil,
  wantAny,
  wantChunk,
  wantLine,
  wantNextLine,
} from './wants.ts';

/**
 * Memory that a handle was given while nobody waited with memory of his own. Not a field: it is
 * filled before anything else can happen, and most streams never need it.
 */
let spare: Buffer | null = null;

/** Stands for the buffer of the many connections that have nothing to be read. Never written. */
const emptyBuffer: ReadBuffer = new ReadBuffer();

// Also a StreamSink, which is not said here: its members are internal, so declarations would not
// hold. The assignments to `handle.sink` check it.
export abstract class ReadingStream extends Stream implements ByteReader {
  #buffer: ReadBuffer;
  /** Made by the first read that has to wait, or the first loop over chunks. */
  #reader: Reader | null;
  /** Why the connection was lost; `cause` has the system's error. */
  #loss: BrokenResourceError | null;

  constructor(handle: StreamHandle, limits: StreamLimits) {
    super(handle, limits);
    this.#buffer = emptyBuffer;
    this.#reader = null;
    this.#loss = null;
  }

  /** @internal None: promises carry their own. */
  get context(): null {
    return null;
  }

  /** @internal */
  abstract onDrain(): void;
  /** @internal The stream is gone: settles what waits, except for the reader. */
  protected abstract settle(loss: BrokenResourceError | null): void;

  read(maxBytes?: number, options?: WaitOptions): Promise<Buffer | null> {
    if (maxBytes === undefined || maxBytes === Infinity) return this.readWant(wantAny, options);
    try {
      return this.readWant(new WantSome(checkInteger('maxBytes', maxBytes, 1)), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  readExactly(bytes: number, options?: WaitOptions): Promise<Buffer> {
    try {
      const count = checkInteger('bytes', bytes);
      if (count === 0) return this.readNothing(Buffer.alloc(0), options);
      return this.readWant(new WantExactly(count), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  readUntil(separator: Data | readonly Data[], options?: WaitOptions): Promise<Buffer> {
    try {
      return this.readWant(new WantUntil(checkSeparators(separator)), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  readLine(options?: WaitOptions): Promise<string | null> {
    return this.readWant(wantLine, options);
  }

  readAll(maxBytes: number = Infinity, options?: WaitOptions): Promise<Buffer> {
    try {
      return this.readWant(new WantAll(checkBytes('maxBytes', maxBytes)), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  readInto(target: Uint8Array, options?: WaitOptions): Promise<number> {
    try {
      if (!(target instanceof Uint8Array)) throw argTypeError('target', 'a Uint8Array', target);
      if (isEmpty(target)) {
        checkAttached(target);
        return this.readNothing(0, options);
      }
      const want = new WantInto(target);
      const promise = this.readWant(want, options);
      if (want.direct && this.#reader?.want === want && this.#reader.active) this.receiveInto();
      return promise;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  lines(): AsyncIterable<string> {
    return new LineLoop(this);
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined> {
    this.#reader ??= new Reader(this);
    return this.#reader;
  }

  /** @internal One step of a `for await` over chunks. */
  nextChunk(): Promise<IteratorResult<Buffer, undefined>> {
    return this.readWant(wantChunk, undefined);
  }

  /** @internal One step of a `for await` over lines. */
  nextLine(): Promise<IteratorResult<string, undefined>> {
    return this.readWant(wantNextLine, undefined);
  }

  get atEof(): boolean {
    return this.has(flagEnded) && this.#buffer.bytes === 0;
  }

  /** @internal */
  onData(chunk: Buffer): void {
    noteRead(chunk.length);
    const reader = this.#reader;
    if (reader?.active && this.#buffer.bytes === 0) {
      // The short way of nearly all data: nothing is queued and any bytes will do.
      if (reader.want === wantChunk) {
        reader.wake({ value: chunk, done: false });
        return;
      }
      if (reader.want === wantAny) {
        reader.wake(chunk);
        return;
      }
    }
    if (this.#buffer === emptyBuffer) this.#buffer = new ReadBuffer();
    this.#buffer.push(chunk);
    if (reader?.active) this.tryReader(reader);
    else this.pauseAboveLimit();
  }

  /**
   * @internal Only here, just before the system writes to it, is memory of a `readInto()` lent: a
   * wait that has ended is not asked for any.
   */
  onAlloc(hintBytes: number): Uint8Array {
    const target = this.waitingMemory();
    if (target !== null) {
      spare = null;
      return target;
    }
    this.receiveChunks();
    spare = Buffer.allocUnsafeSlow(hintBytes);
    return spare;
  }

  /** @internal */
  onFilled(bytes: number): void {
    const chunk = spare;
    spare = null;
    if (chunk === null) {
      noteRead(bytes);
      this.#reader?.wake(bytes);
    } else this.onData(chunk.subarray(0, bytes));
  }

  /** @internal */
  onEof(): void {
    this.mark(flagEnded);
    if (this.#reader?.active) this.tryReader(this.#reader);
  }

  /** @internal */
  onClosed(error: Error | undefined): void {
    this.mark(flagGone);
    this.tellClosed(error);
    if (this.state === stateOpen) {
      this.state = stateLost;
      if (error === undefined) this.mark(flagEnded);
    }
    const loss = error === undefined ? null : this.lossOf(error);
    this.#loss = loss;
    if (this.#reader?.active) {
      if (this.has(flagEnded) || loss === null) this.tryReader(this.#reader);
      else this.failReader(this.tellLoss(loss));
    }
    this.settle(loss);
    this.leaveOwner();
  }

  /** What readers are told of the error that ended the stream. */
  protected lossOf(error: Error): BrokenResourceError {
    return new BrokenResourceError(`The connection was lost: ${error.message}`, { cause: error });
  }

  /** A read waits. */
  protected get hasReader(): boolean {
    return this.#reader?.active ?? false;
  }

  protected get unreadBytes(): number {
    return this.#buffer.bytes;
  }

  /** Why a connection that is gone cannot be used. */
  protected get loss(): BrokenResourceError | null {
    return this.#loss;
  }

  protected get lossTold(): boolean {
    return this.has(flagLossTold);
  }

  /** @internal Whether `error` says no more than that this connection was lost. */
  isLoss(error: unknown): boolean {
    return error === this.#loss && error !== null;
  }

  protected tellLoss(loss: BrokenResourceError): BrokenResourceError {
    this.mark(flagLossTold);
    return loss;
  }

  /** All that was received and nobody has read; it belongs to the caller. */
  protected takeReceived(): Buffer {
    const received = this.#buffer.take(this.#buffer.bytes);
    this.#buffer = emptyBuffer;
    return received;
  }

  /** Ends a waiting read; from `close` and `abort`, which also drop what nobody can read now. */
  protected stopReading(error: Error): void {
    this.failReader(error);
    this.#buffer = emptyBuffer;
  }

  protected failReader(error: unknown): void {
    this.#reader?.fail(error);
  }

  private readWant<T>(want: Want<T>, options: WaitOptions | undefined): Promise<T> {
    const empty = this.#buffer.bytes === 0 && this.state === stateOpen && !this.has(flagEnded);
    if (empty && !this.#reader?.active) return this.waitForMore(want, options);
    const refusal = this.refuseRead(options);
    if (refusal !== null) return refusal;
    try {
      const result = want.take(this.#buffer, this.has(flagEnded), this.limits.limitBytes);
      if (result !== notYet) {
        this.resumeBelowLimit();
        return Promise.resolve(result);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    // Only an open stream can still bring what is missing.
    if (this.#loss !== null) return Promise.reject(this.tellLoss(this.#loss));
    return this.waitForMore(want, options);
  }

  /** A read of no bytes, which any stream that is not closed can give. */
  private readNothing<T>(nothing: T, options: WaitOptions | undefined): Promise<T> {
    return this.refuseRead(options) ?? Promise.resolve(nothing);
  }

  /** The rejection of a read that cannot even begin, or null. */
  private refuseRead(options: WaitOptions | undefined): Promise<never> | null {
    if (this.#reader?.active) {
      return Promise.reject(new BusyResourceError('Another task reads from this connection'));
    }
    const cancelled = takeCancellation();
    if (cancelled !== null) return cancelledPromise(cancelled);
    if (options?.signal?.aborted) return Promise.reject(options.signal.reason);
    if (this.state !== stateOpen && this.state !== stateLost) {
      return Promise.reject(this.closedError());
    }
    return null;
  }

  private waitForMore<T>(want: Want<T>, options: WaitOptions | undefined): Promise<T> {
    this.#reader ??= new Reader(this);
    const reader = this.#reader;
    if (this.#buffer.bytes > 0) reader.want = want.remember?.(this.#buffer) ?? want;
    else reader.want = want;
    const promise = reader.start(options) as Promise<T>;
    if (reader.active && this.has(flagReadingPaused | flagReceivingInto)) this.prepare(want);
    return promise;
  }

  /** A read begins to wait where the one before has left things as it needed them. */
  private prepare(want: Want<unknown>): void {
    if (!(want instanceof WantInto && want.direct)) this.receiveChunks();
    if (this.has(flagReadingPaused)) this.resumeReading();
  }

  /** Until another kind of read waits: switching for each `readInto()` would cost two calls. */
  private receiveInto(): void {
    if (this.has(flagReceivingInto) || this.handle.receivesInto !== true) return;
    this.mark(flagReceivingInto);
    this.handle.setReadInto(true);
  }

  /** Before anybody else gets the handle, too. */
  protected receiveChunks(): void {
    if (!this.has(flagReceivingInto)) return;
    this.unmark(flagReceivingInto);
    this.handle.setReadInto(false);
  }

  /** Of the `readInto()` that waits; null when none does, or its memory has gone. */
  private waitingMemory(): Uint8Array | null {
    const reader = this.#reader;
    if (!reader?.active || !(reader.want instanceof WantInto)) return null;
    try {
      return reader.want.memory();
    } catch (error) {
      reader.fail(error);
      return null;
    }
  }

  /** More came, or the end: gives the reader its result if that is enough. */
  private tryReader(reader: Reader): void {
    const want = reader.want as Want<unknown>;
    let result: unknown;
    try {
      result = want.take(this.#buffer, this.has(flagEnded), this.limits.limitBytes);
    } catch (error) {
      reader.fail(error);
      this.pauseAboveLimit();
      return;
    }
    if (result === notYet) {
      reader.want = want.remember?.(this.#buffer) ?? want;
      return;
    }
    reader.wake(result);
    this.pauseAboveLimit();
  }

  private pauseAboveLimit(): void {
    if (this.has(flagReadingPaused) || this.#buffer.bytes <= this.limits.limitBytes) return;
    if (this.state !== stateOpen) return;
    this.mark(flagReadingPaused);
    this.handle.pause();
  }

  private resumeBelowLimit(): void {
    if (this.has(flagReadingPaused) && this.#buffer.bytes <= this.limits.limitBytes / 2)
      this.resumeReading();
  }

  private resumeReading(): void {
    this.unmark(flagReadingPaused);
    if (this.state === stateOpen) this.handle.resume();
  }
}
