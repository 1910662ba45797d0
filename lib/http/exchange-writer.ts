/**
 * The body of a response, or of a client's request, as a byte writer.
 *
 * In: data of a handler. Out: writes to the exchange; promises that wait for a slow client.
 * Never: an unhandled rejection of a write that nobody awaits.
 */
import {
  BrokenResourceError,
  ClosedResourceError,
  type Data,
  type WaitOptions,
} from '../base/errors.ts';
import { quieted, quietReject, resolved } from '../base/quiet.ts';
import { checkData, dataBytes, joinData } from '../io/data.ts';
import type { ByteWriter } from '../io/net-types.ts';
import { type FileSteps, sendByKernel } from '../io/sendfile.ts';
import { cancelledPromise, takeCancellation } from '../task/waiter.ts';
import { WriteWait, writePace } from '../task/write-pace.ts';
import type { Exchange } from './wire.ts';

/** What is written to, as far as a body needs it. */
export type WriteTarget = Pick<
  Exchange,
  | 'bufferedBytes'
  | 'endResponse'
  | 'notifyDrain'
  | 'notifyWritable'
  | 'sendFile'
  | 'sendsFiles'
  | 'write'
>;

const highWaterBytes = 65_536;
const lowWaterBytes = 16_384;
/** What may be left of a write that went out at once: the line that ends a chunk. */
const leftOverBytes = 2;

export class ExchangeWriter implements ByteWriter {
  readonly #exchange: WriteTarget;
  /** Who reads: for messages. */
  readonly #peer: 'client' | 'server';
  /** Declared; null: unknown. */
  readonly #declaredBytes: number | null;
  #drains: WriteWait[] = [];
  #loss: BrokenResourceError | null = null;
  #whenLost: ((error: Error) => void) | null = null;
  ended = false;
  /** Written so far. */
  bytes = 0;
  #passedBytes = 0;

  constructor(
    exchange: WriteTarget,
    declaredBytes: number | null,
    peer: 'client' | 'server' = 'client',
  ) {
    this.#exchange = exchange;
    this.#peer = peer;
    this.#declaredBytes = declaredBytes;
  }

  get writeBufferBytes(): number {
    return this.#loss === null ? this.#exchange.bufferedBytes : 0;
  }

  write(data: Data, options?: WaitOptions): Promise<void> {
    let checked: Data;
    try {
      checked = checkData(data);
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#loss !== null) return quietReject(this.#loss);
    if (this.ended) return quietReject(new ClosedResourceError('The body is complete'));
    const cancelled = takeCancellation();
    this.bytes += dataBytes(checked);
    if (this.#declaredBytes !== null && this.bytes > this.#declaredBytes) {
      return quietReject(new RangeError('The body is longer than its content-length'));
    }
    const bufferedBytes = this.#exchange.write(checked);
    if (cancelled !== null) {
      const promise = cancelledPromise(cancelled);
      quieted(promise);
      return promise;
    }
    if (bufferedBytes <= leftOverBytes) return writePace().written(this.#passed(), options);
    if (bufferedBytes <= highWaterBytes) return resolved;
    return this.#wait(options);
  }

  writeLines(parts: Iterable<Data>, options?: WaitOptions): Promise<void> {
    try {
      return this.write(joinData(parts), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * A part of a file that the kernel sends. False where it cannot, and nothing was sent.
   * @throws Error when the file ends before; BrokenResourceError as `write`
   */
  async sendFile(fd: number, position: number, bytes: number): Promise<boolean> {
    const exchange = this.#exchange;
    if (exchange.sendsFiles !== true) return false;
    const endBytes = this.bytes + bytes;
    const steps: FileSteps = {
      step: (maxBytes) => {
        if (this.#loss !== null) throw this.#loss;
        const left = endBytes - this.bytes;
        const sent = exchange.sendFile?.(fd, position + bytes - left, maxBytes) ?? 0;
        if (sent > 0) this.bytes += sent;
        return sent;
      },
      writable: () => this.#wait(undefined, true),
      failed: (error) => error,
    };
    const sent = await sendByKernel(steps, bytes);
    if (sent && this.bytes < endBytes) throw new Error('The file became shorter while it was sent');
    return sent;
  }

  /** Completes the response. May be called again. */
  writeEof(_options?: WaitOptions): Promise<void> {
    if (this.#loss !== null) return quietReject(this.#loss);
    if (this.ended) return resolved;
    if (this.#declaredBytes !== null && this.bytes < this.#declaredBytes) {
      return quietReject(new RangeError('The body is shorter than its content-length'));
    }
    this.ended = true;
    this.#exchange.endResponse();
    return resolved;
  }

  drained(): void {
    const drains = this.#drains;
    this.#drains = [];
    const pace = writePace();
    for (const waiter of drains) pace.wake(waiter, this.#passed());
  }

  /** Bytes since the writer went on last. */
  #passed(): number {
    const passed = this.bytes - this.#passedBytes;
    this.#passedBytes = this.bytes;
    return passed;
  }

  /** Calls back when the peer is gone: whoever waits for what it would write can stop. */
  whenLost(call: (error: Error) => void): void {
    if (this.#loss === null) this.#whenLost = call;
    else call(this.#loss);
  }

  lost(error: Error | undefined): void {
    const why = error === undefined ? '' : `: ${error.message}`;
    const loss = new BrokenResourceError(`The ${this.#peer} is gone${why}`, { cause: error });
    this.#loss = loss;
    const drains = this.#drains;
    this.#drains = [];
    for (const waiter of drains) waiter.fail(loss);
    this.#whenLost?.(loss);
  }

  /** @param all until nothing is buffered any more */
  #wait(options: WaitOptions | undefined, all: boolean = false): Promise<void> {
    const waiter = new WriteWait('write');
    const promise = waiter.start(options);
    quieted(promise);
    if (waiter.active) {
      if (all) this.#exchange.notifyWritable?.();
      else if (this.#drains.length === 0) this.#exchange.notifyDrain(lowWaterBytes);
      this.#drains.push(waiter);
    }
    return promise;
  }
}
