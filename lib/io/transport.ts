/**
 * A stream seen through callbacks: drives a Protocol or a BufferedProtocol.
 *
 * In: records of the backend (it is a StreamSink). Out: calls of the protocol. Never: a promise, a
 * closure or any other allocation on the way of received data.
 */
import { Buffer } from 'node:buffer';
import { argTypeError, BusyResourceError, ClosedResourceError, type Data } from '../base/errors.ts';
import type { CallbackContext, SocketAddress, StreamHandle, StreamSink } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { checkData, joinData, type Parts } from './data.ts';
import { checkWaterMarks, type StreamLimits } from './limits.ts';
import type { BufferedProtocol, Protocol, StreamProtocol, Transport } from './protocols.ts';
import {
  flagBuffered,
  flagGone,
  flagOverHighWater,
  flagReadingPaused,
  flagSending,
  flagWriteEnded,
  Stream,
  stateAborted,
  stateClosing,
  stateLost,
  stateOpen,
} from './stream.ts';

/** Lent to the backend when a protocol's `getBuffer` failed: its stream is aborted anyway. */
const scratch: Buffer = Buffer.alloc(1);

/** A file under way; told what its transport hears. See sendfile.ts. */
export interface SendingFile {
  onDrain(): void;
  onClosed(error: Error | undefined): void;
}

/** Few transports ever have one: no field of each. */
const sendingFiles: WeakMap<StreamTransport, SendingFile> = new WeakMap();

/** What only few transports need. */
class Rare {
  /** What `onAlloc` gave out, and whose it is. */
  lent: Uint8Array | null = null;
  lender: BufferedProtocol | null = null;
  /** What the protocol threw; `connectionLost` is told. */
  fault: Error | undefined = undefined;
}

/** (asyncio.Transport) */
export class StreamTransport extends Stream implements Transport, StreamSink {
  /** Read by the backend's dispatcher. Null: nothing to be entered. */
  readonly context: CallbackContext | null;
  readonly loop: EventLoop;
  #protocol: StreamProtocol;
  #rare: Rare | null;

  constructor(
    loop: EventLoop,
    handle: StreamHandle,
    limits: StreamLimits,
    context: CallbackContext | null,
  ) {
    super(handle, limits);
    this.context = context;
    this.loop = loop;
    this.#protocol = noProtocol;
    this.#rare = null;
  }

  /** The protocol's first callback. @internal */
  begin(): void {
    try {
      this.#protocol.connectionMade?.(this);
    } catch (error) {
      this.fail('connectionMade', error);
    }
  }

  get protocol(): StreamProtocol {
    return this.#protocol;
  }

  set protocol(protocol: StreamProtocol) {
    const buffered = checkProtocol(protocol);
    this.#protocol = protocol;
    if (buffered === this.has(flagBuffered)) return;
    if (buffered) this.mark(flagBuffered);
    else this.unmark(flagBuffered);
    if (!this.has(flagGone)) this.handle.setReadInto(buffered);
  }

  get closing(): boolean {
    return this.state !== stateOpen;
  }

  get localAddress(): SocketAddress | null {
    return this.handle.localAddress();
  }

  get remoteAddress(): SocketAddress | null {
    return this.handle.remoteAddress();
  }

  get reading(): boolean {
    return !this.has(flagReadingPaused) && this.state === stateOpen;
  }

  pauseReading(): void {
    if (this.has(flagReadingPaused) || this.state !== stateOpen) return;
    this.mark(flagReadingPaused);
    this.handle.pause();
  }

  resumeReading(): void {
    if (!this.has(flagReadingPaused) || this.state !== stateOpen) return;
    this.unmark(flagReadingPaused);
    this.handle.resume();
  }

  /** As `StreamHandle` says. @internal */
  setLeastRead(bytes: number): boolean {
    return !this.has(flagGone) && this.handle.setLeastRead?.(bytes) === true;
  }

  write(data: Data): boolean {
    return this.put(checkData(data));
  }

  private put(bytes: Data | Parts): boolean {
    if (this.has(flagWriteEnded | flagSending)) {
      if (this.has(flagSending)) throw new BusyResourceError('A file is being sent');
      throw new ClosedResourceError('write after writeEof()');
    }
    if (this.state !== stateOpen) return !this.has(flagOverHighWater);
    const bufferedBytes = this.send(bytes);
    if (bufferedBytes <= this.limits.highWaterBytes) return true;
    if (!this.has(flagOverHighWater)) this.goOverHighWater();
    return false;
  }

  writeLines(parts: Iterable<Data>): boolean {
    return this.put(joinData(parts, this.gathers));
  }

  writeEof(): void {
    if (this.has(flagSending)) throw new BusyResourceError('A file is being sent');
    if (this.has(flagWriteEnded) || this.state !== stateOpen) return;
    this.mark(flagWriteEnded);
    this.handle.shutdown();
  }

  /** @internal */
  get sending(): SendingFile | null {
    return this.has(flagSending) ? (sendingFiles.get(this) ?? null) : null;
  }

  /** @internal */
  set sending(file: SendingFile | null) {
    if (file === null) {
      this.unmark(flagSending);
      sendingFiles.delete(this);
    } else {
      this.mark(flagSending);
      sendingFiles.set(this, file);
    }
  }

  get canWriteEof(): boolean {
    return true;
  }

  setWriteBufferLimits(limits: { lowBytes?: number; highBytes?: number }): void {
    const marks = checkWaterMarks(limits?.lowBytes, limits?.highBytes);
    // Those that it was made with are shared.
    this.limits = { ...this.limits, ...marks };
    if (this.state !== stateOpen) return;
    if (this.has(flagOverHighWater)) this.handle.notifyDrain(marks.lowWaterBytes);
    else if (this.handle.bufferedBytes > marks.highWaterBytes) this.goOverHighWater();
  }

  close(): void {
    if (this.state !== stateOpen) return;
    this.state = stateClosing;
    this.handle.close();
  }

  /** @internal */
  finish(): void {
    this.close();
  }

  abort(): void {
    if (this.state === stateAborted || this.has(flagGone)) return;
    this.state = stateAborted;
    this.handle.abort();
  }

  /**
   * Another transport goes on with this connection, over `handle`. From now on this one is as good
   * as closed; its protocol hears nothing of it. @internal
   */
  replaceBy(handle: StreamHandle, protocol: StreamProtocol): StreamTransport {
    const fresh = new StreamTransport(this.loop, handle, this.limits, this.context);
    handle.sink = fresh;
    fresh.protocol = protocol;
    if (this.has(flagBuffered)) this.handle.setReadInto(false);
    if (this.has(flagReadingPaused)) this.handle.resume();
    if (this.has(flagOverHighWater)) {
      fresh.mark(flagOverHighWater);
      handle.notifyDrain(this.limits.lowWaterBytes);
    }
    this.owner?.streamReplaced(this, fresh);
    this.state = stateLost;
    this.mark(flagGone);
    this.#protocol = noProtocol;
    return fresh;
  }

  onData(chunk: Buffer): void {
    try {
      if (this.has(flagBuffered)) this.copyToProtocol(chunk);
      else (this.#protocol as Protocol).dataReceived(chunk);
    } catch (error) {
      this.fail('dataReceived', error);
    }
  }

  onAlloc(hintBytes: number): Uint8Array {
    const protocol = this.#protocol as BufferedProtocol;
    try {
      const target = protocol.getBuffer(hintBytes);
      if (!(target instanceof Uint8Array) || target.length === 0) {
        throw argTypeError('getBuffer()', 'a Uint8Array of at least one byte', target);
      }
      this.rare.lent = target;
      this.rare.lender = protocol;
      return target;
    } catch (error) {
      this.fail('getBuffer', error);
      this.rare.lender = null;
      return scratch;
    }
  }

  onFilled(bytes: number): void {
    const { rare } = this;
    const { lent, lender } = rare;
    rare.lent = null;
    rare.lender = null;
    if (lender === this.#protocol && lender !== null) {
      try {
        lender.bufferUpdated(bytes);
      } catch (error) {
        this.fail('bufferUpdated', error);
      }
    } else if (lent !== null) {
      // The protocol changed after its buffer was asked for: the bytes are the new one's.
      this.onData(Buffer.from(lent.subarray(0, bytes)));
    }
  }

  onEof(): void {
    try {
      if (this.#protocol.eofReceived?.() === true) return;
    } catch (error) {
      this.fail('eofReceived', error);
      return;
    }
    this.close();
  }

  onDrain(): void {
    if (this.has(flagSending)) this.sending?.onDrain();
    if (!this.has(flagOverHighWater)) return;
    this.unmark(flagOverHighWater);
    try {
      this.#protocol.resumeWriting?.();
    } catch (error) {
      this.report('resumeWriting', error);
    }
  }

  onClosed(error: Error | undefined): void {
    if (this.state === stateOpen) this.state = stateLost;
    this.mark(flagGone);
    this.tellClosed(error);
    this.leaveOwner();
    if (this.has(flagSending)) this.sending?.onClosed(error);
    const protocol = this.#protocol;
    try {
      protocol.connectionLost?.(this.#rare?.fault ?? error);
    } catch (thrown) {
      this.report('connectionLost', thrown);
    }
  }

  private get rare(): Rare {
    this.#rare ??= new Rare();
    return this.#rare;
  }

  private goOverHighWater(): void {
    this.mark(flagOverHighWater);
    this.handle.notifyDrain(this.limits.lowWaterBytes);
    try {
      this.#protocol.pauseWriting?.();
    } catch (error) {
      this.report('pauseWriting', error);
    }
  }

  /** Bytes came for a protocol that was set after the backend had read them. */
  private copyToProtocol(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0 && this.state === stateOpen) {
      if (!this.has(flagBuffered)) {
        (this.#protocol as Protocol).dataReceived(rest);
        return;
      }
      const protocol = this.#protocol as BufferedProtocol;
      const target = this.onAlloc(rest.length);
      if (this.rare.lender === null) return;
      const count = Math.min(target.length, rest.length);
      target.set(rest.subarray(0, count));
      rest = rest.subarray(count);
      this.rare.lent = null;
      this.rare.lender = null;
      protocol.bufferUpdated(count);
    }
  }

  /** An error in a callback that received something: the connection cannot go on. (asyncio) */
  private fail(callback: string, error: unknown): void {
    this.rare.fault ??= error instanceof Error ? error : new Error(String(error), { cause: error });
    this.report(callback, error);
    this.abort();
  }

  private report(callback: string, error: unknown): void {
    const message = `Exception in protocol.${callback}()`;
    this.loop.callExceptionHandler({ message, error, transport: this });
  }
}

/** Before `begin`. */
const noProtocol: Protocol = { dataReceived: () => {} };

/** True for a BufferedProtocol, false for a Protocol. @throws TypeError for neither. */
export function checkProtocol(protocol: StreamProtocol): boolean {
  if (typeof (protocol as BufferedProtocol | null)?.getBuffer === 'function') return true;
  if (typeof (protocol as Protocol | null)?.dataReceived === 'function') return false;
  throw argTypeError('protocol', 'an object with dataReceived() or getBuffer()', protocol);
}
