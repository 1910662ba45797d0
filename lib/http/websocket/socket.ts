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
import { Deque } from '../../base/deque.ts';
import {
  argTypeError,
  BrokenResourceError,
  BusyResourceError,
  bufferFullError,
  ClosedResourceError,
  type Data,
  rangeError,
  type WaitOptions,
} from '../../base/errors.ts';
import { checkData } from '../../io/data.ts';
import type { EventLoop } from '../../io/handles.ts';
import type { SocketAddress } from '../../io/net-types.ts';
import type { Protocol, Transport } from '../../io/protocols.ts';
import { unknownAddress } from '../../io/stream.ts';
import { timeout } from '../../task/scope.ts';
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
import type { WebSocketPlan } from './options.ts';
import { Pings } from './pings.ts';
import type { Subscriber, Topics } from './topics.ts';

/** Iterating gives text as string and binary as Buffer, until the close. */
export interface WebSocketConnection extends AsyncDisposable, AsyncIterable<string | Buffer> {
  /** False once either side has begun to close, or the connection is gone. */
  readonly open: boolean;
  /** The subprotocol; '' for none. */
  readonly protocol: string;
  readonly remoteAddress: SocketAddress;
  /** From the peer; 1005 without one, 1006 when the connection broke; null while open. */
  readonly closeCode: number | null;
  readonly closeReason: string;
  /** Bytes that wait to be written. */
  readonly bufferedBytes: number;
  /**
   * A string is text, bytes are binary. Taken at once and in order; resolves as `ByteWriter.write`
   * does. Rejects with ERR_UVIO_BUFFER_FULL above `maxBufferedBytes`, then nothing was taken.
   */
  send(data: Data, options?: WaitOptions): Promise<void>;
  sendJson(value: unknown, options?: WaitOptions): Promise<void>;
  /**
   * The next message. ClosedResourceError after the close, BrokenResourceError when the connection
   * broke, TimeoutError after `timeoutMs`. Cancelled, no message is lost.
   */
  receive(options?: WaitOptions & { timeoutMs?: number }): Promise<string | Buffer>;
  /** TypeError for a binary message, which stays the next one. */
  receiveText(options?: WaitOptions & { timeoutMs?: number }): Promise<string>;
  /** TypeError for a text message, which stays the next one. */
  receiveBytes(options?: WaitOptions & { timeoutMs?: number }): Promise<Buffer>;
  receiveJson<T = unknown>(options?: WaitOptions & { timeoutMs?: number }): Promise<T>;
  /** Waits for the pong. @param data at most 125 bytes */
  ping(data?: Uint8Array, options?: WaitOptions): Promise<void>;
  /**
   * Default 1000; waits for the peer's close frame and the end, at most `closeTimeoutMs`.
   * Cancelled, the connection is broken off.
   */
  close(code?: number, reason?: string): Promise<void>;
  /** Gets what is published under the topic from now on. */
  subscribe(topic: string): void;
  unsubscribe(topic: string): void;
  /** To all subscribers of the topic on this server but this one; gives their number. */
  publish(topic: string, data: Data): number;
}

type Message = string | Buffer;
type ReceiveOptions = WaitOptions & { timeoutMs?: number };

/** What may be read ahead of the receiver. */
const readAheadBytes = 65_536;
const readAheadMessages = 64;
/** For the peer to close the connection after both close frames, or to see why it was refused. */
const lingerMs = 1_000;

const resolved: Promise<void> = Promise.resolve();
const ignore = (): void => {};

function quietReject(error: unknown): Promise<never> {
  const promise = Promise.reject(error);
  promise.catch(ignore);
  return promise;
}

/** Cancelled, the connection is broken off and the wait goes on for the little that is left. */
class CloseWaiter extends Waiter<void> {
  readonly #socket: WebSocketStream;

  constructor(socket: WebSocketStream) {
    super('close');
    this.#socket = socket;
  }

  override onCancel(): void {
    this.#socket.abort();
  }
}

/** What only few sockets need. */
class Rare {
  readonly pings: Pings = new Pings();
  drains: Waiter<void>[] = [];
  closers: Waiter<void>[] = [];
  topics: Set<string> | null = null;
}

/** What of a message a receiver takes. */
type Wanted = 'any' | 'text' | 'bytes';

class Receiver extends Waiter<Message> {
  readonly wanted: Wanted;

  constructor(wanted: Wanted) {
    super('receive');
    this.wanted = wanted;
  }
}

function mismatch(message: Message, wanted: Wanted): TypeError | null {
  const text = typeof message === 'string';
  if (wanted === 'any' || text === (wanted === 'text')) return null;
  return new TypeError(`The message is ${text ? 'text' : 'binary'}`);
}

export class WebSocketStream implements WebSocketConnection, Protocol, FrameSink, Subscriber {
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
  #queue: Deque<Message> | null = null;
  #queuedBytes = 0;
  #receiver: Receiver | null = null;
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
      promise.catch(ignore);
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
    promise.catch(ignore);
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
    return this.#receive('any', options);
  }

  receiveText(options?: ReceiveOptions): Promise<string> {
    return this.#receive('text', options) as Promise<string>;
  }

  receiveBytes(options?: ReceiveOptions): Promise<Buffer> {
    return this.#receive('bytes', options) as Promise<Buffer>;
  }

  async receiveJson<T = unknown>(options?: ReceiveOptions): Promise<T> {
    const message = await this.receive(options);
    return JSON.parse(message as string) as T;
  }

  #receive(wanted: Wanted, options: ReceiveOptions | undefined): Promise<Message> {
    if (options?.timeoutMs !== undefined) {
      const { timeoutMs, ...rest } = options;
      return timeout(timeoutMs, () => this.#receive(wanted, rest));
    }
    if (this.#receiver?.active) {
      return Promise.reject(new BusyResourceError('Another task receives from this WebSocket'));
    }
    const cancelled = takeCancellation();
    if (cancelled !== null) return cancelledPromise(cancelled);
    if (options?.signal?.aborted) return Promise.reject(options.signal.reason);
    const queue = this.#queue;
    if (queue !== null && queue.length > 0) {
      const message = queue.shift() as Message;
      const error = mismatch(message, wanted);
      if (error !== null) {
        queue.unshift(message);
        return Promise.reject(error);
      }
      this.#taken(message, queue);
      return Promise.resolve(message);
    }
    if (this.#ended) return Promise.reject(this.#receiveRefusal());
    const receiver = new Receiver(wanted);
    this.#receiver = receiver;
    return receiver.start(options);
  }

  /** No message will come any more. */
  get #ended(): boolean {
    return this.#gone || this.#closeReceived || this.#fault !== null;
  }

  #taken(message: Message, queue: Deque<Message>): void {
    this.#queuedBytes -= message.length;
    const below = this.#queuedBytes <= readAheadBytes / 2 && queue.length <= readAheadMessages / 2;
    if (below) this.#transport?.resumeReading();
  }

  #receiveRefusal(): Error {
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
        const waiting = this.#queue?.length ?? 0;
        if (waiting === 0 && this.#ended) return { value: undefined, done: true };
        try {
          return { value: await this.receive(), done: false };
        } catch (error) {
          const over = (this.#queue?.length ?? 0) === 0 && this.#ended;
          const told = error instanceof ClosedResourceError || error instanceof BrokenResourceError;
          if (over && told) return { value: undefined, done: true };
          throw error;
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
    const message = text ? bytes.toString('utf8') : bytes;
    const receiver = this.#receiver;
    if (receiver?.active) {
      const error = mismatch(message, receiver.wanted);
      if (error === null) {
        receiver.wake(message);
        return;
      }
      receiver.fail(error);
    }
    this.#queue ??= new Deque();
    this.#queue.push(message);
    this.#queuedBytes += message.length;
    const above = this.#queuedBytes > readAheadBytes || this.#queue.length > readAheadMessages;
    if (above) this.#transport?.pauseReading();
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
    this.#endReceiver();
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
    promise.catch(ignore);
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
    this.#endReceiver();
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

  #endReceiver(): void {
    const receiver = this.#receiver;
    this.#receiver = null;
    if (receiver?.active) receiver.fail(this.#receiveRefusal());
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
    this.#endReceiver();
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
