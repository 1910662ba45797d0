/**
 * HTTP/1 over the addon's parser, on streams of any backend that has one.
 *
 * In: reads. Out: exchanges, one after the other; refusals; the connection's end. Never: an object
 * for headers; a timer for each request; user code while records are read.
 */
import { Buffer } from 'node:buffer';
import type { ByteParsers, StreamHandle, StreamSink } from '../io/handles.ts';
import type { StreamProtocol } from '../io/protocols.ts';
import { flagEnded, flagGone } from '../io/stream.ts';
import { headText, writeHead } from './answer.ts';
import { LeftConnection } from './left-connection.ts';
import type { ExchangeHome, NativeExchange } from './native-exchange.ts';
import { NativeIntake } from './native-intake.ts';
import { Sweep, type Swept } from './native-sweep.ts';
import { reasonOf, refusalText } from './reasons.ts';
import { beginUpgraded } from './upgraded.ts';
import {
  type HeaderList,
  lingerMs,
  type OpenWire,
  slowBodyBytes,
  slowBodyMs,
  WireConnection,
  type WireHost,
} from './wire.ts';

/** Of one response, before the next request of its connection is handled. */
const highWaterBytes = 65_536;
const lowWaterBytes = 16_384;

// What a connection waits for, and what happens when it is due.
/** Nothing that has an end in time. */
const waitNothing = 0;
/** The first byte of a request: closed silently. */
const waitRequest = 1;
/** The rest of a head: 408. */
const waitHead = 2;
/** The rest of a body that is read: 408. */
const waitBody = 3;
/** The client's FIN after the last response: closed. */
const waitEnd = 4;

export class NativeConnection extends WireConnection implements StreamSink, ExchangeHome, Swept {
  place = -1;
  dueMs: number = Infinity;
  sentBytes = 0;
  fileWaits = false;
  readonly #sweep: Sweep;
  readonly #intake: NativeIntake;
  /** Requests that wait, from `#at` on. */
  #queue: (NativeExchange | undefined)[] = [];
  #at = 0;
  #current: NativeExchange | null = null;
  #waiting = waitNothing;
  /** When the first byte of the latest request came. */
  #requestMs = 0;
  #paused = false;
  /** A response said that it is the last one. */
  #last = false;
  #closeAsked = false;
  /** A response waits to be written before the next request is handled. */
  #draining = false;
  /** The loop over the requests is at work further down the stack. */
  #running = false;
  /** The stream belongs to somebody else, or is at its end. */
  #released = false;

  constructor(handle: StreamHandle, host: WireHost, parsers: ByteParsers, sweep: Sweep) {
    super(handle, host);
    this.#sweep = sweep;
    this.#intake = new NativeIntake(this, parsers, host.limits);
    handle.sink = this;
    sweep.add(this);
    this.#wait(waitRequest, host.limits.headersTimeoutMs);
  }

  get busy(): boolean {
    return this.#current !== null || this.queued > 0;
  }

  get closing(): boolean {
    return this.host.closing || this.#closeAsked || (this.has(flagEnded) && !this.waits);
  }

  /** Something came that was not handled yet. */
  private get waits(): boolean {
    return this.queued > 0 || this.#intake.rest !== null || this.#intake.refusal !== null;
  }

  protected override get unsentBytes(): number {
    return super.unsentBytes + (this.fileWaits ? 1 : 0);
  }

  closeWhenIdle(): void {
    this.#closeAsked = true;
    if (!this.busy && !this.#released) this.handle.close();
  }

  // ---- StreamSink, inside the server's context ----

  onData(chunk: Buffer): void {
    this.onSlice(chunk, 0, chunk.length);
  }

  onSlice(bytes: Buffer, from: number, to: number): void {
    // After the last response: dropped, so that no reset overtakes it.
    if (this.#last || this.#intake.refusal !== null) return;
    this.#receive(bytes, from, to);
    this.#advance(true);
  }

  onAlloc(hintBytes: number): Uint8Array {
    return new Uint8Array(hintBytes);
  }

  onFilled(): void {}

  onEof(): void {
    this.mark(flagEnded);
    const latest = this.#intake.latest;
    if (latest !== null && !latest.complete) {
      latest.failBody(400, 'The body ended early');
      this.#last = this.#last || latest.over;
    } else if (this.#intake.inHead && this.#intake.refusal === null) {
      this.#intake.refusal = { status: 400, reason: 'The request ended early' };
    }
    if (this.#current?.complete === true) this.#current.sink?.onClientEnd();
    if (this.#waiting === waitEnd) this.handle.close();
    else this.#advance(true);
  }

  onDrain(): void {
    if (this.#draining) {
      this.#draining = false;
      this.#current = null;
      this.#advance(true);
    } else {
      this.#current?.sink?.onDrain();
    }
  }

  onClosed(error: Error | undefined): void {
    this.mark(flagGone);
    this.#released = true;
    this.#sweep.remove(this);
    this.#forgetQueue();
    const current = this.#current;
    this.#current = null;
    current?.lost(error);
    this.tellClosed(error);
    this.leaveOwner();
  }

  // ---- ExchangeHome ----

  bodyWanted(exchange: NativeExchange): void {
    if (this.#current !== exchange) return;
    if (!exchange.complete && this.#waiting !== waitBody) this.#waitBody(exchange);
    this.context.run(deliverBody, exchange);
    this.#flow();
  }

  answered(exchange: NativeExchange, keep: boolean, bufferedBytes: number): void {
    if (this.#current !== exchange) return;
    if (!keep) this.#last = true;
    if (bufferedBytes > highWaterBytes) {
      this.#draining = true;
      this.handle.notifyDrain(lowWaterBytes);
      return;
    }
    this.#current = null;
    // With nothing to handle no code of the user's will run.
    this.#advance(!this.waits);
  }

  upgrade(exchange: NativeExchange, headers: HeaderList, protocol: StreamProtocol): ExchangeHome {
    if (this.#current !== exchange) return this;
    this.#current = null;
    this.#released = true;
    this.#sweep.remove(this);
    const { handle } = this;
    writeHead(handle, `${headText(101, reasonOf(101), headers)}\r\n`);
    const transport = this.handOver(handle, protocol);
    const early = this.#intake.rest ?? Buffer.alloc(0);
    if (this.#paused) handle.resume();
    this.context.run(beginUpgraded, { transport, early, ended: this.has(flagEnded) });
    return new LeftConnection(handle, this.tls);
  }

  // ---- reading ----

  #receive(bytes: Buffer, from: number, to: number): void {
    const intake = this.#intake;
    if (intake.rest !== null) {
      // Held back: the stream is paused, but what it had read already may still come.
      intake.rest = Buffer.concat([intake.rest, bytes.subarray(from, to)]);
      return;
    }
    if (!intake.inMessage) this.#requestMs = this.#sweep.nowMs;
    const busy = this.queued + (this.#current === null ? 0 : 1);
    const budget = Math.max(this.host.limits.maxPipelined + 1 - busy, 0);
    intake.feed(bytes, from, to, budget, this.#queue);
    const { refusal, latest } = intake;
    if (refusal !== null && latest !== null && !latest.complete) {
      // It is about the body of a request that was delivered: its handler is told.
      latest.failBody(refusal.status, refusal.reason);
      this.#last = this.#last || latest.over;
    }
    if (!intake.inHead || this.busy || this.#waiting !== waitRequest) return;
    // The time of the first head began with the connection.
    if (intake.fresh) this.#waiting = waitHead;
    else this.#wait(waitHead, this.host.limits.headersTimeoutMs);
  }

  /** Stops reading while too much is held, and goes on afterwards. */
  #flow(): void {
    if (this.#released) return;
    const { rest, latest } = this.#intake;
    // Behind a handshake `rest` is there, and may be empty: a client that leaves is noticed then.
    const much = (rest !== null && rest.length > 0) || latest?.body?.full === true;
    const hold = !this.#last && much;
    if (hold === this.#paused) return;
    this.#paused = hold;
    if (hold) this.handle.pause();
    else this.handle.resume();
  }

  // ---- one after the other ----

  /** @param inside the server's context is the present one */
  #advance(inside: boolean): void {
    if (this.#running) return;
    if (!inside) {
      this.context.run(advanceInside, this);
      return;
    }
    this.#running = true;
    this.#current?.deliverBody();
    while (this.#current === null && !this.#released) {
      const next = this.#last ? undefined : this.#next();
      if (next !== undefined) {
        this.#current = next;
        this.#waiting = waitNothing;
        this.dueMs = Infinity;
        this.host.onRequest(next);
      } else if (!this.#more()) {
        break;
      }
    }
    this.#running = false;
    if (this.#current?.complete === true && this.#waiting === waitBody) this.#wait(waitNothing, 0);
    this.#flow();
  }

  private get queued(): number {
    return this.#queue.length - this.#at;
  }

  // Not shift(): that moves all who wait, and each move of a new object is a word to the collector.
  #next(): NativeExchange | undefined {
    const queue = this.#queue;
    if (queue.length <= 1) return queue.pop();
    const next = queue[this.#at];
    queue[this.#at++] = undefined;
    if (this.#at === queue.length) this.#forgetQueue();
    return next;
  }

  #forgetQueue(): void {
    this.#queue = [];
    this.#at = 0;
  }

  /** @internal */
  advanceInside(): void {
    this.#advance(true);
  }

  /** Nothing is under way and nothing waits: parses what was held back, or comes to rest. */
  #more(): boolean {
    const intake = this.#intake;
    if (this.#last) {
      this.#end();
      return false;
    }
    if (intake.rest !== null) {
      const { rest } = intake;
      intake.rest = null;
      this.#receive(rest, 0, rest.length);
      if (this.queued > 0) return true;
    }
    if (intake.refusal !== null) {
      this.#answerRefusal(intake.refusal.status, intake.refusal.reason);
      return false;
    }
    if (this.closing || this.has(flagEnded)) {
      this.#released = true;
      this.handle.close();
      return false;
    }
    intake.forget();
    if (this.#waiting === waitNothing || this.#waiting === waitBody) this.#rest();
    return false;
  }

  /** Idle, or the next request has begun already, or the rest of an answered one is dropped. */
  #rest(): void {
    const { keepAliveMs, headersTimeoutMs, requestTimeoutMs } = this.host.limits;
    const { inHead, inMessage } = this.#intake;
    if (inHead) this.#wait(waitHead, headersTimeoutMs);
    else if (inMessage) this.#wait(waitRequest, Math.min(requestTimeoutMs, keepAliveMs));
    else this.#wait(waitRequest, keepAliveMs);
  }

  #answerRefusal(status: number, reason: string): void {
    this.#last = true;
    this.host.onRefused(this, status, reason);
    this.handle.write(refusalText(status, reason));
    this.#end();
  }

  /** FIN after what is buffered; then what still comes is dropped for a while. */
  #end(): void {
    if (this.#waiting === waitEnd) return;
    this.#forgetQueue();
    this.#intake.rest = null;
    if (this.has(flagEnded)) {
      this.#released = true;
      this.handle.close();
      return;
    }
    this.handle.shutdown();
    this.#wait(waitEnd, lingerMs);
  }

  // ---- time limits ----

  #wait(what: number, ms: number): void {
    this.#waiting = what;
    this.dueMs = what === waitNothing ? Infinity : this.#sweep.after(ms);
  }

  #waitBody(exchange: NativeExchange): void {
    const { body } = exchange;
    if (body === null) return;
    body.slowMs = this.#sweep.nowMs;
    body.slowBytes = body.receivedBytes;
    this.#waiting = waitBody;
    this.#dueBody(body.slowMs);
  }

  #dueBody(slowMs: number): void {
    const { requestTimeoutMs } = this.host.limits;
    const lastMs = this.#requestMs + requestTimeoutMs - this.#sweep.nowMs;
    this.dueMs = this.#sweep.after(Math.min(lastMs, slowMs + slowBodyMs - this.#sweep.nowMs));
  }

  onDue(nowMs: number): void {
    this.dueMs = Infinity;
    const ending = this.#waiting === waitRequest || this.#waiting === waitEnd;
    if (ending && this.handle.bufferedBytes > 0) {
      // Not idle: the client has yet to take the last response, for which it has its own time.
      this.#wait(this.#waiting, lingerMs);
    } else if (this.#waiting === waitRequest) {
      const reason = this.#intake.fresh ? 'No request came' : 'Idle';
      this.host.onRefused(this, 0, reason);
      this.#released = true;
      this.handle.close();
    } else if (this.#waiting === waitHead) {
      this.#refuseLate();
    } else if (this.#waiting === waitBody) {
      this.#checkBody(nowMs);
    } else if (this.#waiting === waitEnd) {
      this.#released = true;
      this.handle.close();
    }
  }

  #refuseLate(): void {
    this.#intake.refusal ??= { status: 408, reason: 'The request took too long' };
    this.#advance(false);
  }

  #checkBody(nowMs: number): void {
    const body = this.#current?.body;
    if (body === null || body === undefined || body.complete) return;
    const cameBytes = body.receivedBytes - body.slowBytes;
    // A body that we do not read cannot come faster.
    const slow =
      nowMs - body.slowMs >= slowBodyMs && cameBytes < slowBodyBytes && !body.paused && !body.full;
    if (slow || nowMs - this.#requestMs >= this.host.limits.requestTimeoutMs) {
      this.#waiting = waitNothing;
      this.#current?.failBody(408, 'The request took too long');
      this.#advance(false);
      return;
    }
    if (nowMs - body.slowMs >= slowBodyMs) {
      body.slowMs = nowMs;
      body.slowBytes = body.receivedBytes;
    }
    this.#dueBody(body.slowMs);
  }
}

function advanceInside(connection: NativeConnection): void {
  connection.advanceInside();
}

function deliverBody(exchange: NativeExchange): void {
  exchange.deliverBody();
}

/** Connections over the addon's parser; null where the loop's backend has none. */
export function nativeWire(host: WireHost): OpenWire | null {
  const { parsers } = host.loop.backendHandle;
  if (parsers === undefined) return null;
  const { keepAliveMs, headersTimeoutMs, requestTimeoutMs } = host.limits;
  const shortestMs = Math.min(keepAliveMs, headersTimeoutMs, requestTimeoutMs, lingerMs);
  const sweep = new Sweep(host.loop, shortestMs);
  return (stream) => new NativeConnection(stream, host, parsers, sweep);
}
