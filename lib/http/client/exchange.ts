/**
 * One request and its response on a connection.
 *
 * In: a connection that is free, bytes to send, events of the connection. Out: the head of the
 * response, a body that is read, the connection back or closed. Never: a timer, a listener or a
 * sending task after its end; a connection in the pool on which something is still to come.
 */
import { Buffer } from 'node:buffer';
import { type Awaitable, type Data, isCancelled } from '../../base/errors.ts';
import type { EventLoop } from '../../io/handles.ts';
import { defaultLimits } from '../../io/limits.ts';
import type { ByteWriter } from '../../io/net-types.ts';
import type { Protocol } from '../../io/protocols.ts';
import { offAbort, onAbort } from '../../task/abort.ts';
import { currentLoop } from '../../task/frame.ts';
import { createTask } from '../../task/spawn.ts';
import type { Task } from '../../task/task.ts';
import { Waiter } from '../../task/waiter.ts';
import { ClientTimeoutError } from '../client-errors.ts';
import { ExchangeWriter, type WriteTarget } from '../exchange-writer.ts';
import { Limit } from '../limit.ts';
import type { ReadingTarget } from '../reading-handle.ts';
import type { HeaderList } from '../wire.ts';
import type { Carrier } from './carrier.ts';
import { Decoder, encodingsOf } from './decoder.ts';
import { releasedError } from './exchange-errors.ts';
import { ResponseBody } from './response-body.ts';
import type { ResponseHead } from './response-parser.ts';

/** Of an unread body: read and dropped to keep the connection. */
export const maxDiscardBytes = 65_536;
/** How long that may take, in ms. */
export const discardMs = 1_000;
/** A server that does not say 100 gets the body all the same, as RFC 9110 10.1.1 asks for. */
export const continueMs = 1_000;
/** A body of more bytes is no part of the write of its head. */
const maxJoinedBytes = 65_536;

/** What a connection becomes when the answer is 101. */
export interface Upgrade {
  /** Null: it does not, and is closed. */
  take(head: ResponseHead): Protocol | null;
}

/** What is sent, and within which limits. */
export interface Outgoing {
  readonly method: string;
  /** For messages; without a password. */
  readonly url: string;
  /** Path and query; with a proxy, all of the URL. */
  readonly target: string;
  /** Of the request line. */
  readonly host: string;
  /** Headers; framing and connection are left out by who sends them. Flat. */
  readonly lines: HeaderList;
  /** All of it as HTTP/1 has it, with its empty line. */
  readonly head: Data;
  /** Known at once; null: none, or `stream`. */
  readonly body: Data | null;
  readonly stream: ((writer: ByteWriter) => Awaitable<void>) | null;
  /** Those of its connector that send a `stream`; null: there is none. */
  readonly senders: Set<Task> | null;
  /** Of `stream`; null: chunked. */
  readonly declaredBytes: number | null;
  readonly expectContinue: boolean;
  /** Null: 101 is no answer. */
  readonly upgrade: Upgrade | null;
  /** False: the request says `connection: close`. */
  readonly keep: boolean;
  readonly signal: AbortSignal | undefined;
  /** Infinity: none. */
  readonly readMs: number;
  readonly totalMs: number;
  /** Nobody said so: it is no limit of a stream of events. */
  readonly totalIsDefault: boolean;
  readonly decompress: boolean;
}

/** Waits for the head; what comes later is told to the body. */
export class ClientExchange extends Waiter<ResponseHead> implements ReadingTarget, WriteTarget {
  readonly connection: Carrier;
  readonly plan: Outgoing;
  readonly #loop: EventLoop;
  readonly #deadlineMs: number;
  head: ResponseHead | null = null;
  writer: ExchangeWriter | null = null;
  /** Encoded bytes of the body so far. */
  bodyBytes = 0;
  /** Nothing of it is to come. */
  done = false;
  /** Made for whoever reads, or when more comes than is read ahead. */
  #body: ResponseBody | null = null;
  /** What came while there was none. */
  #early: Buffer[] = [];
  #earlyBytes = 0;
  #ended = false;
  #decoder: Decoder | null = null;
  #sender: Task | null = null;
  /** The request is complete, as far as this side is concerned. */
  #sent = false;
  /** The body waits for 100. */
  #holding = false;
  #paused = false;
  #discarded = -1;
  /** Of the whole request: most have only this limit, so the exchange is its timer. -1: none. */
  #total = -1;
  #read: Limit | null = null;
  #continue: Limit | null = null;
  #lastReadMs = 0;
  #onAbort: (() => void) | null = null;

  /** @param deadlineMs on the loop's clock; Infinity: none */
  constructor(connection: Carrier, plan: Outgoing, deadlineMs: number) {
    super('response');
    this.connection = connection;
    this.plan = plan;
    this.#deadlineMs = deadlineMs;
    this.#loop = currentLoop();
  }

  /**
   * Sends the request and waits for the head of the response. Cancelled, the connection is closed;
   * in a task that is cancelled already, nothing is sent and it goes back.
   */
  sendAndWait(): Promise<ResponseHead> {
    const { connection, plan } = this;
    const promise = this.start();
    if (!this.active) {
      this.done = true;
      connection.free();
      return promise;
    }
    connection.exchange = this;
    connection.uses++;
    this.#arm(plan);
    try {
      this.#send(plan);
    } catch (error) {
      this.crash(error);
    }
    return promise;
  }

  override onCancel(): void {
    this.#settle(false);
  }

  /** Ends it early, whatever is under way. The connection is closed. */
  crash(error: unknown): void {
    if (this.done) return;
    this.#settle(false);
    this.#decoder?.destroy();
    if (this.active) this.fail(error);
    else if (this.head !== null) this.body.fail(error);
  }

  /**
   * Nobody reads what is left: keeps the connection when that is little. The body fails, unless
   * all of it is there.
   */
  discard(): void {
    this.#decoder?.destroy();
    if (this.done) this.#body?.fail(releasedError());
    if (this.done || this.#discarded >= 0) return;
    if (this.connection.leftBytes > maxDiscardBytes) {
      this.#abandon();
      return;
    }
    this.#discarded = 0;
    this.body.fail(releasedError());
    this.#dropTotal();
    this.#read?.stop();
    this.#read = new Limit(this.#loop, () => this.#abandon());
    this.#read.arm(this.#loop.time() + discardMs);
    this.#paused = false;
    this.connection.resumeReading();
  }

  /** The body is read as events, which may come for as long as the server likes. */
  readsEvents(): void {
    if (this.plan.totalIsDefault) this.#dropTotal();
  }

  // ---- the response ----

  onInterim(status: number): void {
    this.#lastReadMs = this.#loop.time();
    if (status === 100 && this.#holding) this.#sendHeld();
  }

  onHead(head: ResponseHead): void {
    const { plan } = this;
    this.#noteRead();
    this.head = head;
    // A final response says that the body is not wanted.
    this.#holding = false;
    this.#continue?.stop();
    try {
      const wanted = plan.decompress && head.bodyBytes !== 0;
      const encodings = wanted ? encodingsOf(head.header('content-encoding')) : null;
      if (encodings !== null) {
        this.#decoder = new Decoder(encodings, this, (error) => this.#decodingFailed(error));
        this.#body = new ResponseBody(this.#decoder);
        this.#decoder.body = this.#body;
      }
    } catch (error) {
      this.crash(error);
      return;
    }
    this.wake(head);
  }

  /** @param rest what came behind it */
  onUpgrade(head: ResponseHead, rest: Buffer): void {
    this.head = head;
    const protocol = (this.plan.upgrade as Upgrade).take(head);
    if (protocol === null) {
      this.#settle(false);
    } else {
      this.#stop();
      const transport = this.connection.release();
      transport.protocol = protocol;
      protocol.connectionMade?.(transport);
      if (rest.length > 0) protocol.dataReceived(rest);
    }
    this.wake(head);
  }

  onBody(chunk: Buffer): void {
    this.bodyBytes += chunk.length;
    if (this.#discarded >= 0) {
      this.#discarded += chunk.length;
      if (this.#discarded > maxDiscardBytes) this.#abandon();
      return;
    }
    this.#noteRead();
    if (this.#decoder !== null) this.#decoder.write(chunk);
    else if (this.#body !== null) this.#body.onData(chunk);
    else {
      this.#early.push(chunk);
      this.#earlyBytes += chunk.length;
      if (this.#earlyBytes > defaultLimits.limitBytes) this.#makeBody();
    }
  }

  onEnd(clean: boolean): void {
    const { head } = this;
    const kept = clean && this.#sent && this.plan.keep && (head as ResponseHead).keepAlive;
    this.#settle(kept && this.bufferedBytes === 0);
    // What was dropped is no end of what came before.
    if (this.#discarded >= 0) return;
    this.#ended = true;
    if (this.#decoder !== null) this.#decoder.end();
    else this.#body?.onEof();
  }

  /** Of the response, decoded. */
  get body(): ResponseBody {
    return this.#body ?? this.#makeBody();
  }

  /** The body if all of it is there and nobody has begun to read it; it can be taken once. */
  takeWhole(): Buffer | null {
    if (this.#body !== null || !this.#ended) return null;
    const early = this.#early;
    this.#early = [];
    return early.length === 1 ? (early[0] as Buffer) : Buffer.concat(early);
  }

  #makeBody(): ResponseBody {
    const body = new ResponseBody(this);
    this.#body = body;
    const early = this.#early;
    this.#early = [];
    for (const chunk of early) body.onData(chunk);
    if (this.#ended) body.onEof();
    return body;
  }

  pauseBody(): void {
    if (this.done || this.#discarded >= 0) return;
    this.#paused = true;
    this.connection.pauseReading();
  }

  resumeBody(): void {
    if (this.done || !this.#paused) return;
    this.#paused = false;
    this.#lastReadMs = this.#loop.time();
    this.connection.resumeReading();
  }

  // ---- the request ----

  get bufferedBytes(): number {
    return this.connection.bufferedBytes;
  }

  /** Of the body as it is written; consumed when it returns. */
  write(data: Data): number {
    if (this.done) return 0;
    this.connection.sendBody(data, this.plan.declaredBytes !== null);
    return this.bufferedBytes;
  }

  /** The transport tells of it by itself, at the same marks. */
  notifyDrain(): void {}

  endResponse(): void {
    if (this.done) return;
    this.connection.endBody(this.plan.declaredBytes !== null);
    this.#sent = true;
  }

  #send(plan: Outgoing): void {
    const { connection } = this;
    const { body, stream } = plan;
    if (body === null && stream === null) {
      connection.sendHead(plan, null, false);
      this.#sent = true;
    } else if (plan.expectContinue) {
      connection.sendHead(plan, null, true);
      this.#holding = true;
      this.#continue = new Limit(this.#loop, () => this.#sendHeld());
      this.#continue.arm(this.#loop.time() + continueMs);
    } else if (body !== null && body.length <= maxJoinedBytes) {
      connection.sendHead(plan, body, false);
      this.#sent = true;
    } else {
      connection.sendHead(plan, null, true);
      this.#sendBody(plan);
    }
  }

  #sendHeld(): void {
    this.#continue?.stop();
    if (!this.#holding || this.done) return;
    this.#holding = false;
    this.#sendBody(this.plan);
  }

  #sendBody({ body, stream, declaredBytes }: Outgoing): void {
    if (body !== null) {
      this.connection.sendBody(body, true);
      this.connection.endBody(true);
      this.#sent = true;
      return;
    }
    if (stream === null) return;
    this.writer = new ExchangeWriter(this, declaredBytes, 'server');
    const sender = createTask(this.#stream.bind(this), stream, this.writer);
    this.#sender = sender;
    const { senders } = this.plan;
    senders?.add(sender);
    sender.addDoneCallback(() => senders?.delete(sender));
  }

  async #stream(
    stream: (writer: ByteWriter) => Awaitable<void>,
    writer: ExchangeWriter,
  ): Promise<void> {
    try {
      await stream(writer);
      await writer.writeEof();
    } catch (error) {
      // What it meets after the end of the exchange is the end itself.
      if (!this.done || !isCancelled(error)) this.crash(error);
    }
  }

  // ---- limits and the end ----

  #arm(plan: Outgoing): void {
    const { signal } = plan;
    const deadlineMs = this.#deadlineMs;
    if (deadlineMs !== Infinity) this.#total = this.#loop.armTimer(deadlineMs, this);
    if (plan.readMs !== Infinity) {
      this.#lastReadMs = this.#loop.time();
      this.#read = new Limit(this.#loop, () => this.#readLimit());
      this.#read.arm(this.#lastReadMs + plan.readMs);
    }
    if (signal !== undefined) {
      this.#onAbort = (): void => this.crash(signal.reason);
      onAbort(signal, this.#onAbort);
    }
  }

  /** @internal The whole request took too long. */
  onTimer(): void {
    this.#total = -1;
    this.crash(new ClientTimeoutError('total', `No response within ${this.plan.totalMs} ms`));
  }

  /** The time since the last read, while somebody wants to read. */
  #readLimit(): void {
    const { readMs } = this.plan;
    const now = this.#loop.time();
    // Not while the request is still going out.
    const waits = !this.#paused && this.#sent && this.bufferedBytes === 0;
    const since = waits ? this.#lastReadMs : now;
    if (now < since + readMs) this.#read?.arm(since + readMs);
    else this.crash(new ClientTimeoutError('read', `Nothing came for ${readMs} ms`));
  }

  /** Reading the clock is not free, and few have a limit for reads. */
  #noteRead(): void {
    if (this.#read !== null) this.#lastReadMs = this.#loop.time();
  }

  #abandon(): void {
    this.crash(releasedError());
  }

  #decodingFailed(error: Error): void {
    if (this.done) this.body.fail(error);
    else this.crash(error);
  }

  #dropTotal(): void {
    if (this.#total >= 0) this.#loop.cancelTimer(this.#total);
    this.#total = -1;
  }

  #settle(kept: boolean): void {
    this.#stop();
    if (kept) this.connection.free();
    else this.connection.drop();
  }

  #stop(): void {
    this.done = true;
    this.#dropTotal();
    this.#read?.stop();
    this.#continue?.stop();
    if (this.#onAbort !== null) offAbort(this.plan.signal as AbortSignal, this.#onAbort);
    if (!this.#sent) {
      this.#sender?.cancel();
      this.writer?.lost(undefined);
    }
  }
}
