/**
 * One WebSocket, of either side, on a transport.
 *
 * In: bytes of the peer; calls of tasks. Out: messages, frames. Never: more than a few messages
 * read ahead of who receives them; a message that was cut.
 *
 * RFC 6455. Received messages wait in a queue; above `readAheadBytes` or `readAheadMessages` the
 * transport stops reading, so a peer that sends faster than it is listened to is held up by TCP.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import {
  argTypeError,
  BrokenResourceError,
  bufferFullError,
  ClosedResourceError,
  type Data,
  rangeError,
  type WaitOptions,
} from '../../base/errors.ts';
import { quieted, quietReject, resolved } from '../../base/quiet.ts';
import { checkData } from '../../io/data.ts';
import type { EventLoop } from '../../io/handles.ts';
import type { SocketAddress } from '../../io/net-types.ts';
import type { Protocol, Transport } from '../../io/protocols.ts';
import { unknownAddress } from '../../io/stream.ts';
import { cancelledPromise, takeCancellation, Waiter } from '../../task/waiter.ts';
import { makeFrame } from './build.ts';
import { closeReasonOf, readClose, writeClose } from './close-frame.ts';
import { deflate, inflate, minDeflateBytes } from './deflate.ts';
import {
  closeBadData,
  FrameError,
  FrameReader,
  type FrameSink,
  opBinary,
  opClose,
  opPing,
  opPong,
  opText,
} from './frames.ts';
import type { Agreed } from './handshake.ts';
import { Heartbeat } from './heartbeat.ts';
import { Inbox, type InboxOwner, type Message, type ReceiveOptions } from './inbox.ts';
import type { WebSocketPlan } from './options.ts';
import { Pings } from './pings.ts';
import type { Subscriber, Topics } from './topics.ts';
import type { WebSocketConnection } from './types.ts';
import { CloseWaiter } from './waits.ts';

/** For the peer to close the connection after both close frames, or to see why it was refused. */
const lingerMs = 1_000;

/** What only few sockets need. */
class Rare {
  readonly pings: Pings = new Pings();
  drains: Waiter<void>[] = [];
  closers: Waiter<void>[] = [];
  topics: Set<string> | null = null;
}

export class WebSocketStream
  implements WebSocketConnection, Protocol, FrameSink, InboxOwner, Subscriber
{
  readonly protocol: string;
  closeCode: number | null = null;
  closeReason = '';
  /** @internal Called once, when there is a transport. */
  onMade: (() => void) | null = null;
  readonly #plan: WebSocketPlan;
  readonly #agreed: Agreed;
  readonly #loop: EventLoop;
  readonly #isServer: boolean;
  readonly #topics: Topics | null;
  readonly #reader: FrameReader;
  #transport: Transport | null = null;
  readonly #inbox: Inbox = new Inbox(this);
  #closeSent = false;
  #closeReceived = false;
  #gone = false;
  #full = false;
  /** Why it broke; null while it did not. */
  #fault: Error | null = null;
  #heartbeat: Heartbeat | null = null;
  #endTimer = -1;
  #rare: Rare | null = null;

  constructor(
    loop: EventLoop,
    isServer: boolean,
    plan: WebSocketPlan,
    agreed: Agreed,
    topics: Topics | null,
  ) {
    this.#loop = loop;
    this.#isServer = isServer;
    this.#plan = plan;
    this.#agreed = agreed;
    this.#topics = topics;
    this.protocol = agreed.protocol;
    this.#reader = new FrameReader(this, {
      masked: isServer,
      compressed: agreed.deflate !== null,
      maxMessageBytes: plan.maxMessageBytes,
    });
  }

  get open(): boolean {
    return !this.#gone && !this.#closeSent && !this.#closeReceived && this.#fault === null;
  }

  get remoteAddress(): SocketAddress {
    return this.#transport?.remoteAddress ?? unknownAddress;
  }

  get bufferedBytes(): number {
    return this.#transport?.writeBufferBytes ?? 0;
  }

  // ---- sending ----

  send(data: Data, options?: WaitOptions): Promise<void> {
    let checked: Data;
    try {
      checked = checkData(data);
    } catch (error) {
      return Promise.reject(error);
    }
    if (!this.open) return quietReject(this.#sendRefusal());
    const cancelled = takeCancellation();
    if (cancelled !== null) {
      const promise = cancelledPromise(cancelled);
      quieted(promise);
      return promise;
    }
    if (options?.signal?.aborted) return quietReject(options.signal.reason);
    if (this.#full) {
      const { maxBufferedBytes } = this.#plan;
      const { bufferedBytes } = this;
      if (bufferedBytes + checked.length > maxBufferedBytes) {
        return quietReject(bufferFullError(bufferedBytes, maxBufferedBytes));
      }
    }
    this.#write(checked);
    return this.#full ? this.#waitForDrain(options) : resolved;
  }

  sendJson(value: unknown, options?: WaitOptions): Promise<void> {
    try {
      const text = JSON.stringify(value) as string | undefined;
      if (text === undefined) throw argTypeError('value', 'a value that JSON has', value);
      return this.send(text, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #write(data: Data): void {
    const { deflate: agreement } = this.#agreed;
    const opcode = typeof data === 'string' ? opText : opBinary;
    const transport = this.#transport as Transport;
    if (agreement === null || data.length < minDeflateBytes) {
      transport.write(makeFrame(opcode, data, !this.#isServer));
    } else {
      transport.write(makeFrame(opcode | 0x40, deflate(data, agreement), !this.#isServer));
    }
  }

  #waitForDrain(options: WaitOptions | undefined): Promise<void> {
    const waiter = new Waiter<void>('send');
    const promise = waiter.start(options);
    quieted(promise);
    if (waiter.active) this.#getRare().drains.push(waiter);
    return promise;
  }

  #sendRefusal(): Error {
    if (this.#fault !== null) return this.#broken();
    return new ClosedResourceError('The WebSocket was closed');
  }

  ping(data?: Uint8Array, options?: WaitOptions): Promise<void> {
    if (data !== undefined && (!(data instanceof Uint8Array) || data.length > 125)) {
      return Promise.reject(argTypeError('data', 'at most 125 bytes', data));
    }
    if (!this.open) return quietReject(this.#sendRefusal());
    const { pings } = this.#getRare();
    const { payload, promise } = pings.add(data, options);
    if (payload !== null) this.#control(opPing, payload);
    return promise;
  }

  #control(opcode: number, payload: string | Uint8Array): void {
    this.#transport?.write(makeFrame(opcode, payload, !this.#isServer));
  }

  // ---- receiving ----

  receive(options?: ReceiveOptions): Promise<Message> {
    return this.#inbox.receive('any', options);
  }

  receiveText(options?: ReceiveOptions): Promise<string> {
    return this.#inbox.receive('text', options) as Promise<string>;
  }

  receiveBytes(options?: ReceiveOptions): Promise<Buffer> {
    return this.#inbox.receive('bytes', options) as Promise<Buffer>;
  }

  async receiveJson<T = unknown>(options?: ReceiveOptions): Promise<T> {
    const message = await this.receive(options);
    return JSON.parse(message as string) as T;
  }

  /** @internal */
  get inputEnded(): boolean {
    return this.#gone || this.#closeReceived || this.#fault !== null;
  }

  /** @internal */
  pauseInput(): void {
    this.#transport?.pauseReading();
  }

  /** @internal */
  resumeInput(): void {
    this.#transport?.resumeReading();
  }

  /** @internal */
  receiveRefusal(): Error {
    if (this.#fault !== null) return this.#broken();
    const { closeCode, closeReason } = this;
    const why = closeReason === '' ? '' : `: ${closeReason}`;
    return new ClosedResourceError(`The WebSocket was closed with code ${closeCode}${why}`);
  }

  #broken(): BrokenResourceError {
    const cause = this.#fault as Error;
    return new BrokenResourceError(`The WebSocket broke: ${cause.message}`, { cause });
  }

  [Symbol.asyncIterator](): AsyncIterator<Message, undefined> {
    return {
      next: async (): Promise<IteratorResult<Message, undefined>> => {
        if (this.#inbox.length === 0 && this.inputEnded) return { value: undefined, done: true };
        try {
          return { value: await this.receive(), done: false };
        } catch (error) {
          const told = error instanceof ClosedResourceError || error instanceof BrokenResourceError;
          if (!told || this.#inbox.length > 0 || !this.inputEnded) throw error;
          return { value: undefined, done: true };
        }
      },
    };
  }

  // ---- frames that come ----

  /** @internal */
  onMessage(payload: Buffer, text: boolean, compressed: boolean): void {
    const bytes = compressed ? inflate(payload, this.#plan.maxMessageBytes) : payload;
    if (text && compressed && !isUtf8(bytes)) {
      throw new FrameError(closeBadData, 'A text is not UTF-8');
    }
    this.#inbox.push(text ? bytes.toString('utf8') : bytes, this.#closeSent);
  }

  /** @internal */
  onControl(opcode: number, payload: Buffer): void {
    if (opcode === opPing) {
      // To a peer that pings without reading, no more pongs than fit.
      if (!this.#closeSent && !this.#full) this.#control(opPong, payload);
    } else if (opcode === opPong) {
      this.#rare?.pings.answered(payload);
    } else {
      this.#closeFrame(payload);
    }
  }

  #closeFrame(payload: Buffer): void {
    const { code, reason } = readClose(payload);
    this.closeCode = code;
    this.closeReason = reason;
    this.#closeReceived = true;
    this.#reader.stop();
    if (!this.#closeSent) this.#sendClose(payload.subarray(0, 2));
    this.#inbox.end();
    // The server closes first (RFC 6455 §7.1.1), so that the client has no TIME_WAIT.
    if (this.#isServer) this.#transport?.close();
    else this.#endWithin(lingerMs);
  }

  #sendClose(payload: Uint8Array): void {
    this.#closeSent = true;
    this.#heartbeat?.stop();
    this.#control(opClose, payload);
  }

  // ---- the end ----

  close(code: number = 1000, reason: string = ''): Promise<void> {
    let payload: Buffer;
    try {
      payload = writeClose(code, reason);
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#gone) return resolved;
    if (this.open) {
      this.#sendClose(payload);
      this.#endWithin(this.#plan.closeTimeoutMs);
      // What nobody receives must not keep the close frame from being read.
      this.#transport?.resumeReading();
    }
    const waiter = new CloseWaiter(this);
    const promise = waiter.start();
    if (waiter.active) this.#getRare().closers.push(waiter);
    else this.abort();
    quieted(promise);
    return promise;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal When it is gone, in whatever way. Cancelled, the connection is broken off. */
  get ended(): Promise<void> {
    if (this.#gone) return resolved;
    const waiter = new CloseWaiter(this);
    const promise = waiter.start();
    if (waiter.active) this.#getRare().closers.push(waiter);
    return promise;
  }

  /** Breaks the connection off, without a close frame. @internal */
  abort(): void {
    this.#fault ??= new ClosedResourceError('The WebSocket was aborted');
    this.#transport?.abort();
  }

  /** The peer broke the protocol: tells it why, then ends. */
  #fail(error: FrameError): void {
    this.#fault = error;
    this.#reader.stop();
    if (!this.#closeSent) this.#sendClose(writeClose(error.closeCode, closeReasonOf(error)));
    this.#inbox.end();
    const transport = this.#transport as Transport;
    // What still comes is dropped for a while: a reset could overtake the close frame.
    transport.writeEof();
    transport.resumeReading();
    this.#endWithin(lingerMs);
  }

  #endWithin(ms: number): void {
    if (this.#endTimer >= 0) this.#loop.cancelTimer(this.#endTimer);
    this.#endTimer = this.#loop.armTimer(this.#loop.time() + ms, { onTimer: () => this.#late() });
  }

  #late(): void {
    this.#endTimer = -1;
    if (!this.#closeReceived) {
      this.#fault ??= new BrokenResourceError('No close frame came in time');
    }
    this.#transport?.abort();
  }

  /** @internal */
  sendHeartbeat(): void {
    this.#control(opPing, Buffer.from([0]));
  }

  /** @internal */
  heartbeatLost(): void {
    this.#fault ??= new BrokenResourceError('The peer has fallen silent');
    this.#transport?.abort();
  }

  // ---- of the transport ----

  connectionMade(transport: Transport): void {
    this.#transport = transport;
    const { heartbeatMs } = this.#plan;
    if (heartbeatMs !== Infinity) this.#heartbeat = new Heartbeat(this.#loop, heartbeatMs, this);
    this.onMade?.();
    this.onMade = null;
  }

  dataReceived(chunk: Buffer): void {
    this.#heartbeat?.heard();
    try {
      this.#reader.push(chunk);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#fail(error);
    }
  }

  eofReceived(): void {
    if (!this.#closeReceived) {
      this.#fault ??= new BrokenResourceError(
        'The peer ended the connection without a close frame',
      );
    }
  }

  pauseWriting(): void {
    this.#full = true;
  }

  resumeWriting(): void {
    this.#full = false;
    const rare = this.#rare;
    if (rare === null || rare.drains.length === 0) return;
    const { drains } = rare;
    rare.drains = [];
    for (const waiter of drains) waiter.wake();
  }

  connectionLost(error?: Error): void {
    this.#gone = true;
    if (this.#endTimer >= 0) this.#loop.cancelTimer(this.#endTimer);
    this.#endTimer = -1;
    this.#heartbeat?.stop();
    this.#reader.stop();
    if (!this.#closeReceived) {
      this.#fault ??= error ?? new BrokenResourceError('The connection was lost');
      this.closeCode = 1006;
    }
    this.#inbox.end();
    this.#endRare();
  }

  #endRare(): void {
    const rare = this.#rare;
    if (rare === null) return;
    const refusal = this.#sendRefusal();
    for (const waiter of rare.drains) waiter.fail(refusal);
    rare.drains = [];
    rare.pings.end(refusal);
    for (const waiter of rare.closers) waiter.wake();
    rare.closers = [];
    for (const topic of rare.topics ?? []) this.#topics?.remove(topic, this);
    rare.topics = null;
  }

  // ---- topics ----

  subscribe(topic: string): void {
    const topics = this.#checkTopic(topic);
    if (!this.open) return;
    const rare = this.#getRare();
    rare.topics ??= new Set();
    rare.topics.add(topic);
    topics.add(topic, this);
  }

  unsubscribe(topic: string): void {
    const topics = this.#checkTopic(topic);
    if (this.#rare?.topics?.delete(topic)) topics.remove(topic, this);
  }

  publish(topic: string, data: Data): number {
    return this.#checkTopic(topic).publish(topic, data, this);
  }

  #checkTopic(topic: unknown): Topics {
    if (typeof topic !== 'string') throw argTypeError('topic', 'a string', topic);
    if (this.#topics === null) throw rangeError('topic', 'of a server: clients have none', topic);
    return this.#topics;
  }

  /** @internal */
  get windowBits(): number {
    return this.#agreed.deflate?.windowBits ?? 0;
  }

  /** @internal False: it was left out, or its connection ended. */
  deliver(frame: Buffer): boolean {
    if (!this.open) return false;
    if (this.#full && this.bufferedBytes + frame.length > this.#plan.maxBufferedBytes) {
      if (!this.#plan.dropsWhenSlow) {
        this.#fault = new BrokenResourceError('The peer is too slow for what is published');
        this.#transport?.abort();
      }
      return false;
    }
    this.#transport?.write(frame);
    return true;
  }

  #getRare(): Rare {
    this.#rare ??= new Rare();
    return this.#rare;
  }
}
