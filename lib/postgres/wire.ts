/**
 * The connection as a protocol on a transport: messages, queues, cancellation.
 *
 * In: bytes of the server; requests. Out: one write for all messages of a turn; each answer to the
 * request it belongs to. Never: a copy of a message that came in one piece; memory for bytes that
 * were only announced; a request sent while a cancellation is under way that could hit it.
 *
 * Two queues: `#waiting` has written nothing, `#inFlight` waits for answers. One request at a time
 * may hold the right to write (`#writer`), for those that need an answer before they can go on.
 */
import type { Buffer } from 'node:buffer';
import { Deque } from '../base/deque.ts';
import type { BufferedProtocol, Transport } from '../io/protocols.ts';
import type { currentLoop } from '../task/frame.ts';
import { Waiter } from '../task/waiter.ts';
import { PostgresConnectionError, PostgresError, ProtocolError, readFields } from './errors.ts';
import { Inbox } from './inbox.ts';
import { Patience } from './patience.ts';
import * as proto from './protocol.ts';
import { LATER, NOTHING, type Request, SENT } from './request.ts';
import { Writer } from './writer.ts';

export type Loop = ReturnType<typeof currentLoop>;

/** Who hears of what is not an answer. */
export interface WireEvents {
  notice(error: PostgresError): void;
  notification(channel: string, payload: string, pid: number): void;
  parameter(name: string, value: string): void;
  ended(error: PostgresConnectionError | null): void;
  query(request: Request<unknown>): void;
  discarded(): void;
}

/** The part that knows the messages before the first ReadyForQuery. */
export interface StartupHandler {
  onMessage(type: number, body: Buffer): void;
  lost(error: PostgresConnectionError): void;
}

/** Sends a CancelRequest, and tells when the server has taken it. */
export type CancelSender = (done: () => void) => void;

/** After that long without an answer to a cancellation the connection is closed. */
const cancelGraceMs = 5_000;
const firstRepeatMs = 100;

// A shared promise: then() on it costs less than queueMicrotask, which makes an object.
const soon: Promise<void> = Promise.resolve();

export class Wire implements BufferedProtocol {
  readonly loop: Loop;
  readonly out: Writer = new Writer();
  readonly commandTimeoutMs: number;
  transport: Transport | null = null;
  events: WireEvents | null = null;
  cancelSender: CancelSender | null = null;
  startup: StartupHandler | null = null;
  /** The state at the last ReadyForQuery. */
  status: number = proto.IDLE;
  closed = false;
  /** Somebody logs queries. */
  observed = false;
  /** A cancellation was sent and its request has ended: an error 57014 may be another one's. */
  strayCancel = false;
  writable = true;
  graceMs: number = cancelGraceMs;
  readonly #waiting: Deque<Request<unknown>> = new Deque();
  readonly #inFlight: Deque<Request<unknown>> = new Deque();
  #writer: Request<unknown> | null = null;
  #flushing = false;
  readonly #inbox: Inbox = new Inbox();
  readonly #patience: Patience;
  /** Of the answer that comes: where it began, and what came of it by earlier reads. */
  #answerAt = 0;
  #answerBytes = 0;
  /** Of a message that nobody wants. */
  #skipBytes = 0;
  /** Cancellations under way: nothing new is sent. */
  #cancelling: Request<unknown> | null = null;
  #cancelTaken = true;
  #graceTimer = -1;
  #cancelEndMs = 0;
  #ended: PostgresConnectionError | null = null;
  #lost = false;
  readonly #drains: Set<Waiter> = new Set();
  readonly #closings: Set<Waiter> = new Set();

  constructor(loop: Loop, commandTimeoutMs: number = Infinity) {
    this.loop = loop;
    this.#patience = new Patience(loop);
    this.commandTimeoutMs = commandTimeoutMs;
  }

  /** Where the bytes of messages are, until the next read. */
  get buffer(): Buffer {
    return this.#inbox.buffer;
  }

  /** The same memory. */
  get view(): DataView {
    return this.#inbox.view;
  }

  // --- The transport's side

  connectionMade(transport: Transport): void {
    this.transport = transport;
  }

  pauseWriting(): void {
    this.writable = false;
  }

  resumeWriting(): void {
    this.writable = true;
    for (const waiter of this.#drains) waiter.wake();
    this.#drains.clear();
  }

  eofReceived(): boolean {
    return false;
  }

  connectionLost(error?: Error): void {
    this.#lost = true;
    this.#end(new PostgresConnectionError('The server closed the connection', { cause: error }));
    for (const waiter of this.#closings) waiter.wake();
    this.#closings.clear();
  }

  getBuffer(): Uint8Array {
    return this.#inbox.room();
  }

  bufferUpdated(bytes: number): void {
    if (this.closed) return;
    this.#inbox.to += bytes;
    try {
      this.#read();
    } catch (error) {
      const wrong = error instanceof PostgresConnectionError ? error : asConnectionError(error);
      this.destroy(wrong);
    }
  }

  // --- Bytes to messages

  #read(): void {
    const inbox = this.#inbox;
    const { buffer, view, to: end } = inbox;
    this.#answerAt = inbox.from;
    let at = inbox.from + Math.min(this.#skipBytes, end - inbox.from);
    this.#skipBytes -= at - inbox.from;
    let size = 5;
    while (end - at >= 5) {
      const type = buffer[at] as number;
      const rows = type === proto.DATA_ROW || type === proto.COPY_DATA;
      const head = this.#inFlight.peek();
      if (rows && head !== undefined) {
        const stop = head.rows(at, end);
        if (stop > at) {
          at = stop;
          continue;
        }
      }
      const length = view.getInt32(at + 1);
      proto.checkLength(type, length, this.startup !== null);
      size = 1 + length;
      if (size > end - at) {
        if (rows && head !== undefined && (head.abandoned || head.failed)) {
          this.#skipBytes = size - (end - at);
          at = end;
        }
        break;
      }
      this.#message(type, at + 5, at + size);
      if (this.closed) return;
      at += size;
      size = 5;
    }
    this.#answerBytes += at - this.#answerAt;
    inbox.from = at;
    inbox.settle(size, this.#inFlight.length === 0);
    this.#settle();
  }

  #message(type: number, at: number, end: number): void {
    if (this.startup !== null) {
      this.startup.onMessage(type, this.buffer.subarray(at, end));
      return;
    }
    switch (type) {
      case proto.READY:
        this.#ready(this.buffer[at] as number, end);
        return;
      case proto.ERROR:
        this.#serverError(at, end);
        return;
      case proto.NOTICE:
        this.events?.notice(new PostgresError(readFields(this.buffer.subarray(at, end))));
        return;
      case proto.NOTIFICATION:
      case proto.PARAMETER_STATUS:
        this.readStrings(type, at, end);
        return;
      case proto.CLOSE_COMPLETE:
        return;
    }
    const head = this.#inFlight.peek();
    if (head === undefined) {
      throw new ProtocolError(`a message '${String.fromCharCode(type)}' that nobody asked for`);
    }
    head.onMessage(type, at, end);
  }

  /** A notification, or a parameter that has changed. */
  readStrings(type: number, at: number, end: number): void {
    const { buffer } = this;
    const from = type === proto.NOTIFICATION ? at + 4 : at;
    const middle = buffer.indexOf(0, from);
    if (middle < from || middle >= end - 1 || buffer[end - 1] !== 0) {
      throw new ProtocolError('two strings that have no end');
    }
    const first = buffer.toString('utf8', from, middle);
    const second = buffer.toString('utf8', middle + 1, end - 1);
    if (type === proto.PARAMETER_STATUS) this.events?.parameter(first, second);
    else this.events?.notification(first, second, this.view.getInt32(at));
  }

  #serverError(at: number, end: number): void {
    const head = this.#inFlight.peek();
    const error = new PostgresError(readFields(this.buffer.subarray(at, end)), head?.sql);
    // Its last words: the end of the connection may never be heard of.
    if (error.severity === 'FATAL' || error.severity === 'PANIC') {
      throw new PostgresConnectionError(error.message, { cause: error });
    }
    if (head === undefined) throw new ProtocolError(`an error without a query: ${error}`);
    head.onServerError(error);
  }

  #ready(status: number, end: number): void {
    const head = this.#inFlight.peek();
    if (head === undefined) throw new ProtocolError('it is ready, and nothing was asked');
    if (status !== proto.IDLE && status !== proto.IN_TRANSACTION && status !== proto.IN_FAILED) {
      throw new ProtocolError(`a transaction state ${status}`);
    }
    const idleBefore = this.status === proto.IDLE;
    this.status = status;
    if (!head.onReady()) return;
    this.#inFlight.shift();
    this.#patience.answered(head.answerBytes);
    head.measure(this.#answerBytes + end - this.#answerAt);
    this.#answerAt = end;
    this.#answerBytes = 0;
    if (this.#writer === head) this.#writer = null;
    if (this.#cancelling === head) this.#endCancel(false);
    if (head.mayRetry(idleBefore && status === proto.IDLE)) {
      head.again();
      this.#waiting.unshift(head);
    } else {
      head.finish();
    }
    const next = this.#inFlight.peek();
    if (next === undefined) this.strayCancel = false;
    else if (next.abandoned) this.#cancelHead(next);
    this.#pump();
  }

  // --- Requests

  /** Nothing is sent or awaited. */
  get idle(): boolean {
    return this.#inFlight.length === 0 && this.#waiting.length === 0 && !this.closed;
  }

  /** All others are answered; asked by the request that is about to write. */
  get alone(): boolean {
    return this.#inFlight.length === 1;
  }

  enqueue(request: Request<unknown>): void {
    if (this.#ended !== null) {
      request.lost(closedError(this.#ended));
      return;
    }
    this.#waiting.push(request);
    this.#pump();
  }

  #pump(): void {
    while (this.#writer === null && this.#cancelling === null && !this.closed) {
      const request = this.#waiting.shift();
      if (request === undefined) return;
      this.#inFlight.push(request);
      request.begun = true;
      const begun = request.send();
      if (begun === LATER) {
        this.#inFlight.delete(request);
        request.begun = false;
        this.#waiting.unshift(request);
        return;
      }
      if (begun === NOTHING) {
        this.#inFlight.delete(request);
        request.finish();
        continue;
      }
      this.flushSoon();
      if (begun === SENT) this.#patience.sent(request.answerBytes);
      else this.#writer = request;
    }
  }

  /** It has written its last message. */
  sent(request: Request<unknown>): void {
    this.flushSoon();
    if (this.#writer !== request) return;
    this.#writer = null;
    this.#pump();
  }

  flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    soon.then(this.#flush);
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    this.flush();
  };

  flush(): void {
    if (this.closed || this.out.length === 0) return;
    this.transport?.write(this.out.take());
    this.#settle();
  }

  #settle(): void {
    const first = this.#cancelling === null ? (this.#inFlight.peek()?.answerBytes ?? 0) : 0;
    const came = this.#answerBytes + this.#inbox.to - this.#inbox.from;
    this.#patience.settle(this.transport, this.#inFlight.length, first, came);
  }

  /** Once the transport takes more. */
  drained(): Promise<void> {
    if (this.writable || this.closed) return Promise.resolve();
    return waitIn(this.#drains);
  }

  pauseReading(): void {
    this.transport?.pauseReading();
  }

  resumeReading(): void {
    this.transport?.resumeReading();
  }

  observe(request: Request<unknown>): void {
    this.events?.query(request);
  }

  // --- Cancellation

  /** Nobody waits for it any more. */
  giveUp(request: Request<unknown>): void {
    if (request.finished || this.closed) return;
    request.abandoned = true;
    if (!request.begun) {
      this.#waiting.delete(request);
      request.failWith(null);
      request.finished = true;
      return;
    }
    request.abandon();
    this.resumeReading();
    if (this.#inFlight.peek() === request) this.#cancelHead(request);
    else if (this.#waiting.delete(request)) request.finished = true;
  }

  #cancelHead(request: Request<unknown>): void {
    if (this.#cancelling !== null || this.closed) return;
    this.#cancelling = request;
    this.flush();
    this.#settle();
    this.#cancelEndMs = this.loop.time() + this.graceMs;
    this.#sendCancel(firstRepeatMs);
  }

  /**
   * A cancellation that comes just before the server has read the query has no effect: so it is
   * repeated, until the grace time is over.
   */
  #sendCancel(repeatMs: number): void {
    if (this.#cancelTaken && this.cancelSender !== null) {
      this.#cancelTaken = false;
      this.cancelSender(() => {
        this.#cancelTaken = true;
        if (this.#cancelling?.finished) this.#endCancel(true);
      });
    }
    const nextMs = Math.min(this.loop.time() + repeatMs, this.#cancelEndMs);
    this.#graceTimer = this.loop.armTimer(nextMs, {
      onTimer: () => {
        this.#graceTimer = -1;
        if (nextMs < this.#cancelEndMs) {
          if (!this.#cancelling?.finished) this.#sendCancel(repeatMs * 2);
          return;
        }
        const limit = `${this.graceMs} ms`;
        this.destroy(new PostgresConnectionError(`No answer to a cancellation within ${limit}`));
      },
    });
  }

  /** Both the server's answer and the end of the cancelling connection have come, or not yet. */
  #endCancel(pump: boolean): void {
    this.strayCancel = true;
    if (this.#cancelling !== null) this.#cancelling.finished = true;
    if (!this.#cancelTaken) return;
    this.#cancelling = null;
    if (this.#graceTimer !== -1) this.loop.cancelTimer(this.#graceTimer);
    this.#graceTimer = -1;
    if (!pump) return;
    if (this.#inFlight.length === 0) this.strayCancel = false;
    this.#pump();
  }

  // --- The end

  /** Says good-bye once all that was written is sent. */
  goodbye(): void {
    if (this.closed) return;
    const mark = this.out.message(proto.TERMINATE);
    this.out.endMessage(mark);
    this.flush();
    this.#end(null);
    this.transport?.close();
  }

  /** The transport is gone, too. */
  gone(): Promise<void> {
    if (this.transport === null || this.#lost) return Promise.resolve();
    return waitIn(this.#closings);
  }

  destroy(error: PostgresConnectionError): void {
    this.#end(error);
    this.transport?.abort();
  }

  #end(error: PostgresConnectionError | null): void {
    if (this.closed) return;
    this.closed = true;
    this.#ended = error ?? new PostgresConnectionError('The connection is closed');
    if (this.#graceTimer !== -1) this.loop.cancelTimer(this.#graceTimer);
    this.#graceTimer = -1;
    this.#patience.end();
    this.startup?.lost(this.#ended);
    const left = [...this.#inFlight, ...this.#waiting];
    this.#inFlight.clear();
    this.#waiting.clear();
    for (const request of left) request.lost(this.#ended);
    for (const waiter of this.#drains) waiter.wake();
    this.#drains.clear();
    this.events?.ended(error);
  }
}

function closedError(reason: PostgresConnectionError): PostgresConnectionError {
  return new PostgresConnectionError('The connection is closed', { cause: reason });
}

function asConnectionError(error: unknown): PostgresConnectionError {
  const text = error instanceof Error ? error.message : String(error);
  return new PostgresConnectionError(`The connection broke: ${text}`, { cause: error });
}

class DrainWaiter extends Waiter {
  readonly #set: Set<Waiter>;

  constructor(set: Set<Waiter>) {
    super('drain');
    this.#set = set;
  }

  override onCancel(): void {
    this.#set.delete(this);
  }
}

function waitIn(set: Set<Waiter>): Promise<void> {
  const waiter = new DrainWaiter(set);
  const promise = waiter.start();
  if (waiter.active) set.add(waiter);
  return promise;
}
