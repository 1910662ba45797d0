/**
 * One WebSocket, of either side, on a transport.
 *
 * In: bytes of the peer; calls of tasks. Out: messages, frames. Never: more than a few messages
 * read ahead of who receives them; a message that was cut.
 *
 * RFC 6455. Received messages wait in a queue; above `readAheadBytes` or `readAheadMessages` the
 * transport stops reading, so a peer that sends faster than it is listened to is held up by TCP.
 * What ends the input, a close frame or a bad one, counts a turn later when messages came with it:
 * who answers messages at once has answered those before it.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { BrokenResourceError, ClosedResourceError } from '../../base/errors.ts';
import { quieted, resolved } from '../../base/quiet.ts';
import type { SocketAddress } from '../../io/net-types.ts';
import type { Protocol, Transport } from '../../io/protocols.ts';
import { unknownAddress } from '../../io/stream.ts';
import { closeReasonOf, readClose, writeClose } from './close-frame.ts';
import type { Compression } from './deflate.ts';
import {
  closeBadData,
  FrameError,
  type FrameSink,
  opClose,
  opPing,
  opPong,
  type Partial,
} from './frames.ts';
import { Heartbeat } from './heartbeat.ts';
import { Inbox, type InboxOwner, type Message, type ReceiveOptions } from './inbox.ts';
import {
  flagCloseReceived,
  flagCloseSent,
  flagEof,
  flagFresh,
  flagFull,
  flagGone,
  flagHeld,
  flagStopped,
  type Rare,
  SocketSender,
} from './sending.ts';
import type { WebSocketConnection } from './types.ts';
import { CloseWaiter } from './waits.ts';

/** For the peer to close the connection after both close frames, or to see why it was refused. */
const lingerMs = 1_000;
/** A peer that has taken so much meanwhile gets that time again: what was sent is on its way. */
const lingerBytes = 16_384;

export class WebSocketStream
  extends SocketSender
  implements WebSocketConnection, Protocol, FrameSink, InboxOwner
{
  /** @internal */
  partial: Partial | null = null;
  /** Made for who receives, or for the first message that waits. */
  #ownInbox: Inbox | null = null;
  #heartbeat: Heartbeat | null = null;

  /** @internal For who serves it: called once, when there is a transport. */
  socketMade(): void {}

  /** @internal Called once, when that is gone. */
  socketGone(): void {}

  /** @internal */
  get stopped(): boolean {
    return this.has(flagStopped);
  }

  /** @internal */
  get full(): boolean {
    return this.has(flagHeld);
  }

  /** @internal */
  hold(rest: Buffer): void {
    this.rare.rest = rest;
  }

  private get inbox(): Inbox {
    this.#ownInbox ??= new Inbox(this);
    return this.#ownInbox;
  }

  get protocol(): string {
    return this.agreed.protocol;
  }

  get remoteAddress(): SocketAddress {
    return this.transport?.remoteAddress ?? unknownAddress;
  }

  // ---- receiving ----

  receive(options?: ReceiveOptions): Promise<Message> {
    return this.inbox.receive('any', options);
  }

  receiveText(options?: ReceiveOptions): Promise<string> {
    return this.inbox.receive('text', options) as Promise<string>;
  }

  receiveBytes(options?: ReceiveOptions): Promise<Buffer> {
    return this.inbox.receive('bytes', options) as Promise<Buffer>;
  }

  async receiveJson<T = unknown>(options?: ReceiveOptions): Promise<T> {
    const message = await this.receive(options);
    return JSON.parse(message as string) as T;
  }

  /** @internal */
  get inputEnded(): boolean {
    return (this.flags & (flagGone | flagCloseReceived)) !== 0 || this.fault !== null;
  }

  /** @internal */
  pauseInput(): void {
    this.flags |= flagHeld;
    this.transport?.pauseReading();
  }

  /** @internal */
  resumeInput(): void {
    if (this.has(flagHeld)) this.#heartbeat?.heard();
    this.flags &= ~flagHeld;
    const rest = this.rareParts?.rest ?? null;
    if (rest !== null) {
      this.rare.rest = null;
      this.dataReceived(rest);
    }
    if (!this.has(flagHeld)) this.transport?.resumeReading();
  }

  /** @internal */
  receiveRefusal(): Error {
    if (this.fault !== null) return this.broken();
    const { closeCode, closeReason } = this;
    const why = closeReason === '' ? '' : `: ${closeReason}`;
    return new ClosedResourceError(`The WebSocket was closed with code ${closeCode}${why}`);
  }

  [Symbol.asyncIterator](): AsyncIterator<Message, undefined> {
    return this.inbox;
  }

  // ---- frames that come ----

  /** @internal */
  onMessage(payload: Buffer, text: boolean, compressed: boolean): void {
    let bytes = payload;
    if (compressed) {
      const { maxMessageBytes } = this.terms.plan;
      bytes = (this.compression as Compression).inflate(payload, maxMessageBytes);
      if (text && !isUtf8(bytes)) throw new FrameError(closeBadData, 'A text is not UTF-8');
    }
    this.flags |= flagFresh;
    this.take(text ? bytes.toString('utf8') : bytes);
  }

  /** @internal A message has come. */
  protected take(message: Message): void {
    this.inbox.push(message, this.has(flagCloseSent));
  }

  /** @internal */
  onControl(opcode: number, payload: Buffer): void {
    if (opcode === opPing) {
      // To a peer that pings without reading, no more pongs than fit.
      if (!this.has(flagCloseSent | flagFull)) this.sendControl(opPong, payload);
    } else if (opcode === opPong) {
      this.rareParts?.pings?.answered(payload);
    } else {
      this.endInput(payload);
    }
  }

  /** @param why a close frame, or the fault of a bad one */
  private endInput(why: FrameError | Buffer): void {
    this.flags |= flagStopped;
    const answering = this.waiting > 0 && this.rareParts?.sends === true;
    if (!(this.has(flagFresh) || answering) || !this.open) {
      this.countEnd(why);
      return;
    }
    const { rare } = this;
    rare.ending = why;
    rare.endingBehind = Infinity;
    this.askEnd(rare);
  }

  private askEnd(rare: Rare): void {
    if (rare.endingAsked) return;
    rare.endingAsked = true;
    this.terms.loop.callSoon(() => this.endSoon(rare));
  }

  /** Messages that nobody has received. */
  private get waiting(): number {
    return this.#ownInbox?.length ?? 0;
  }

  /** Not as long as each turn, or whoever goes on with sending, takes messages before it. */
  private endSoon(rare: Rare): void {
    rare.endingAsked = false;
    const { waiting } = this;
    if (waiting === 0 || waiting >= rare.endingBehind) {
      this.endNow();
      return;
    }
    rare.endingBehind = waiting;
    if (!rare.sends) this.askEnd(rare);
    else if (rare.endTimer < 0) this.endWithin(this.terms.plan.closeTimeoutMs);
  }

  /** @internal */
  senderGoesOn(): void {
    const { rare } = this;
    if (rare.ending !== null && !rare.sends) this.askEnd(rare);
  }

  private endNow(): void {
    const why = this.rareParts?.ending ?? null;
    if (why === null) return;
    this.rare.ending = null;
    this.countEnd(why);
  }

  private countEnd(why: FrameError | Buffer): void {
    try {
      if (why instanceof FrameError) throw why;
      this.closeFrame(why);
    } catch (error) {
      this.fail(error as FrameError);
    }
  }

  /** @throws FrameError */
  private closeFrame(payload: Buffer): void {
    const { code, reason } = readClose(payload);
    const { rare } = this;
    rare.closeCode = code;
    rare.closeReason = reason;
    this.flags |= flagCloseReceived;
    const answers = !this.has(flagCloseSent);
    if (answers) this.sendClose(payload.subarray(0, 2));
    this.#ownInbox?.end();
    // The server closes first (RFC 6455 §7.1.1), so that the client has no TIME_WAIT.
    if (this.terms.isServer && !answers) this.transport?.close();
    else if (this.terms.isServer || this.has(flagEof)) this.part();
    else this.endWithin(lingerMs);
  }

  /** After a close frame that the peer has yet to read. */
  private part(): void {
    const transport = this.transport as Transport;
    if (this.has(flagEof)) {
      transport.close();
      return;
    }
    // What still comes is dropped for a while: a reset could overtake the close frame.
    transport.writeEof();
    transport.resumeReading();
    this.rare.leftBytes = transport.writeBufferBytes;
    this.endWithin(lingerMs);
  }

  private sendClose(payload: Uint8Array): void {
    this.flags |= flagCloseSent;
    this.#heartbeat?.stop();
    this.sendControl(opClose, payload);
  }

  // ---- the end ----

  close(code: number = 1000, reason: string = ''): Promise<void> {
    let payload: Buffer;
    try {
      payload = writeClose(code, reason);
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.has(flagGone)) return resolved;
    this.beginClose(payload, this.terms.plan.closeTimeoutMs);
    const waiter = new CloseWaiter(this);
    const promise = waiter.start();
    if (waiter.active) this.rare.closers.push(waiter);
    else this.abort();
    quieted(promise);
    return promise;
  }

  private beginClose(payload: Buffer, limitMs: number): void {
    if (!this.open) return;
    this.sendClose(payload);
    this.endWithin(limitMs);
    // What nobody receives must not keep the close frame from being read.
    this.resumeInput();
  }

  /** Closes without a wait. @internal */
  finish(code: number, limitMs: number): void {
    this.beginClose(writeClose(code, ''), Math.min(limitMs, this.terms.plan.closeTimeoutMs));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal When it is gone, in whatever way. Cancelled, the connection is broken off. */
  get ended(): Promise<void> {
    if (this.has(flagGone)) return resolved;
    const waiter = new CloseWaiter(this);
    const promise = waiter.start();
    if (waiter.active) this.rare.closers.push(waiter);
    return promise;
  }

  /** Breaks the connection off, without a close frame. @internal */
  abort(): void {
    this.break(new ClosedResourceError('The WebSocket was aborted'));
    this.transport?.abort();
  }

  /** The peer broke the protocol: tells it why, then ends. */
  private fail(error: FrameError): void {
    this.rare.fault = error;
    if (!this.has(flagCloseSent)) {
      this.sendClose(writeClose(error.closeCode, closeReasonOf(error)));
    }
    this.#ownInbox?.end();
    this.part();
  }

  private endWithin(ms: number): void {
    this.stopTimer();
    const { loop } = this.terms;
    this.rare.endTimer = loop.armTimer(loop.time() + ms, { onTimer: () => this.late() });
  }

  private stopTimer(): void {
    const rare = this.rareParts;
    if (rare === null || rare.endTimer < 0) return;
    this.terms.loop.cancelTimer(rare.endTimer);
    rare.endTimer = -1;
  }

  private late(): void {
    const { rare } = this;
    rare.endTimer = -1;
    if (rare.ending !== null) {
      this.endNow();
      return;
    }
    const { bufferedBytes } = this;
    if (this.has(flagCloseReceived) && rare.leftBytes - bufferedBytes >= lingerBytes) {
      rare.leftBytes = bufferedBytes;
      this.endWithin(lingerMs);
      return;
    }
    if (!this.has(flagCloseReceived)) {
      this.break(new BrokenResourceError('No close frame came in time'));
    }
    this.transport?.abort();
  }

  /** @internal */
  sendHeartbeat(): void {
    this.sendControl(opPing, Buffer.from([0]));
  }

  /** @internal */
  get heldBytes(): number | null {
    return this.has(flagHeld) ? this.bufferedBytes : null;
  }

  /** @internal */
  heartbeatLost(): void {
    this.break(new BrokenResourceError('The peer has fallen silent'));
    this.transport?.abort();
  }

  // ---- of the transport ----

  connectionMade(transport: Transport): void {
    this.transport = transport;
    const { heartbeats } = this.terms;
    if (heartbeats !== null) this.#heartbeat = new Heartbeat(heartbeats, this);
    this.socketMade();
  }

  dataReceived(chunk: Buffer): void {
    this.#heartbeat?.heard();
    const rest = this.rareParts?.rest ?? null;
    if (rest !== null) {
      this.hold(Buffer.concat([rest, chunk]));
      return;
    }
    this.flags &= ~flagFresh;
    try {
      this.terms.readerFor(this.compression !== null).push(this, chunk);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.endInput(error);
    }
  }

  eofReceived(): boolean {
    this.flags |= flagEof;
    // What came before it is answered first; whatever it is, it ends the connection.
    if (this.rareParts !== null && this.rareParts.ending !== null) return true;
    if (!this.has(flagCloseReceived)) {
      this.break(new BrokenResourceError('The peer ended the connection without a close frame'));
    }
    return false;
  }

  connectionLost(error?: Error): void {
    this.endNow();
    this.flags |= flagGone | flagStopped;
    if (this.rareParts !== null) {
      this.rareParts.published = null;
      this.rareParts.rest = null;
    }
    this.stopTimer();
    this.#heartbeat?.stop();
    if (!this.has(flagCloseReceived)) {
      this.break(error ?? new BrokenResourceError('The connection was lost'));
      this.rare.closeCode = 1006;
    }
    this.#ownInbox?.end();
    this.endRare();
    this.socketGone();
  }

  private endRare(): void {
    const rare = this.rareParts;
    if (rare === null) return;
    const refusal = this.sendRefusal();
    for (const waiter of rare.drains) waiter.fail(refusal);
    rare.drains = [];
    rare.pings?.end(refusal);
    for (const waiter of rare.closers) waiter.wake();
    rare.closers = [];
    for (const topic of rare.topics ?? []) this.terms.topics?.remove(topic, this);
    rare.topics = null;
  }
}
