/**
 * One end of a byte stream in memory.
 *
 * In: calls of io, and what the other end sends. Out: calls of the sink, in its context. Never: a
 * call of the sink from inside a call that was made here; a clock.
 *
 * It behaves as a TCP socket of Linux does: bytes leave while the window of the other end has
 * room; closing with unread bytes, or sending to who has closed, makes a reset; received bytes are
 * delivered before a reset is told.
 */
import { Buffer } from 'node:buffer';
import { Deque } from '../../base/deque.ts';
import { systemErrorByCode } from '../../base/errors.ts';
import {
  type BackendHost,
  callSink,
  type SocketAddress,
  type StreamHandle,
  type StreamSink,
} from '../backend.ts';
import type { Random } from './random.ts';

/** Most that one delivery brings. */
const segmentBytes = 64 * 1024;

/** Where streams live: the simulated network, or nothing but a loop. */
export interface Carrier {
  readonly host: BackendHost;
  /** Null: nothing is left to chance. */
  readonly shuffle: Random | null;
  /** How much may be under way or unread at the other end. */
  readonly windowBytes: number;
  /** Runs it later, never from inside this call. */
  soon(work: () => void): void;
  /** For the trace. */
  note(text: string): void;
  /** `onClosed` was told. */
  gone(stream: SimulatedStream): void;
}

/** The way to the other end. */
export interface Way {
  post(work: () => void): void;
}

/** A fault that waits for a connection. */
export interface Fault {
  /** The connection breaks with that delivery, counted in both directions; Infinity: never. */
  deliveriesLeft: number;
}

const noFault: Fault = { deliveriesLeft: Infinity };

export class SimulatedStream implements StreamHandle {
  sink: StreamSink | null = null;
  readonly fd: number | null = null;
  /** In traces. */
  readonly name: string;
  readonly #carrier: Carrier;
  readonly #way: Way;
  readonly #local: SocketAddress;
  readonly #remote: SocketAddress;
  #peer: SimulatedStream | null = null;
  #fault: Fault = noFault;
  /** Its sink was told of it. */
  #begun = false;

  /** Written, not sent yet. */
  readonly #out: Deque<Buffer> = new Deque();
  #outBytes = 0;
  /** Sent, not read by the other end's sink. */
  #sentBytes = 0;
  #drainLowBytes = -1;
  #shutdown = false;
  #finSent = false;

  /** Arrived, not delivered. */
  readonly #in: Deque<Buffer> = new Deque();
  #inBytes = 0;
  #endArrived = false;
  #endTold = false;
  #broken = false;
  #delivering = false;
  #chunk: Buffer | null = null;

  #paused = false;
  #readInto = false;
  #closing = false;
  #gone = false;
  #error: Error | undefined;

  constructor(
    carrier: Carrier,
    way: Way,
    name: string,
    local: SocketAddress,
    remote: SocketAddress,
  ) {
    this.#carrier = carrier;
    this.#way = way;
    this.name = name;
    this.#local = local;
    this.#remote = remote;
  }

  /** Makes two ends one connection. */
  static join(a: SimulatedStream, b: SimulatedStream, fault: Fault = noFault): void {
    a.#peer = b;
    b.#peer = a;
    a.#fault = fault;
    b.#fault = fault;
  }

  get bufferedBytes(): number {
    return this.#closing ? 0 : this.#outBytes;
  }

  write(data: string | Uint8Array): number {
    if (this.#closing || this.#shutdown) return 0;
    // Copied, for rule 4.
    const bytes = typeof data === 'string' ? Buffer.from(data, 'utf8') : Buffer.from(data);
    if (bytes.length > 0) {
      this.#out.push(bytes);
      this.#outBytes += bytes.length;
      if (this.#broken) this.#carrier.soon(() => this.#lose('write'));
      else this.#send();
    }
    return this.#outBytes;
  }

  notifyDrain(lowBytes: number): void {
    if (this.#closing) return;
    this.#drainLowBytes = lowBytes;
    this.#checkDrain();
  }

  shutdown(): void {
    if (this.#closing || this.#shutdown) return;
    this.#shutdown = true;
    this.#send();
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (!this.#paused) this.#dropUnread();
    this.#send();
  }

  abort(): void {
    const first = !this.#closing;
    this.#closing = true;
    this.#dropUnsent();
    if (first || !this.#gone) this.#carrier.soon(() => this.#finish());
  }

  /** Ends it as `abort`, and the other end meets a reset: what a crash or a firewall does. */
  reset(): void {
    if (this.#gone || this.#finSent) return;
    this.#finSent = true;
    this.#way.post(() => this.#peer?.arriveReset());
    this.abort();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused || this.#closing) return;
    this.#paused = false;
    this.#carrier.soon(() => this.#deliver());
  }

  setReadInto(enable: boolean): void {
    this.#readInto = enable;
  }

  setNoDelay(): void {}
  setKeepAlive(): void {}
  ref(): void {}
  unref(): void {}

  localAddress(): SocketAddress | null {
    return this.#local;
  }

  remoteAddress(): SocketAddress | null {
    return this.#remote;
  }

  /** The sink was set and told; reading begins, after the call that told it. */
  begin(): void {
    this.#begun = true;
    this.#carrier.soon(() => this.#deliver());
  }

  /** A segment of the other end is here. */
  arrive(segment: Buffer): void {
    if (this.#gone) {
      // Nobody is there any more: the other end is told.
      this.#way.post(() => this.#peer?.arriveReset());
      return;
    }
    this.#carrier.note(`data to ${this.name} ${segment.length}`);
    if (--this.#fault.deliveriesLeft <= 0) {
      this.#carrier.note(`break ${this.name}`);
      this.#peer?.arriveReset();
      this.arriveReset();
      return;
    }
    if (this.#closing && !this.#paused) {
      this.#peer?.consumed(segment.length);
      return;
    }
    this.#in.push(segment);
    this.#inBytes += segment.length;
    // With chance, it is noticed later, perhaps together with the next one.
    if (this.#carrier.shuffle?.chance(0.3)) this.#carrier.soon(() => this.#deliver());
    else this.#deliver();
  }

  /** The other end has sent its last byte. */
  arriveEnd(): void {
    if (this.#gone) return;
    this.#endArrived = true;
    this.#deliver();
  }

  arriveReset(): void {
    if (this.#gone || this.#broken) return;
    this.#broken = true;
    // What waits to be written meets the reset even while nothing is read.
    if (this.#outBytes > 0 || this.#closing) this.#lose('write');
    else this.#deliver();
  }

  /** The other end has read that much. */
  consumed(bytes: number): void {
    this.#sentBytes -= bytes;
    if (!this.#gone) this.#send();
  }

  /** As much as the window takes; the end after the last byte. */
  #send(): void {
    const { shuffle, windowBytes } = this.#carrier;
    const peer = this.#peer as SimulatedStream;
    while (this.#outBytes > 0 && this.#sentBytes < windowBytes && !this.#broken) {
      const room = Math.min(windowBytes - this.#sentBytes, segmentBytes);
      // No small segment into a window that is about to open (RFC 9293, 3.8.6.2.1): they would
      // only become smaller.
      if (room < this.#outBytes && room < windowBytes / 2) break;
      const segment = this.#take(shuffle?.chance(0.5) ? shuffle.upTo(room) : room);
      this.#sentBytes += segment.length;
      this.#way.post(() => peer.arrive(segment));
    }
    this.#checkDrain();
    if (this.#outBytes > 0) return;
    if (this.#closing) {
      this.#carrier.soon(() => this.#finish());
    } else if (this.#shutdown && !this.#finSent) {
      this.#finSent = true;
      this.#way.post(() => peer.arriveEnd());
    }
  }

  /** From the first buffer that waits. With chance, a write is cut at any place. */
  #take(mostBytes: number): Buffer {
    const first = this.#out.shift() as Buffer;
    const { shuffle } = this.#carrier;
    const cut = shuffle?.chance(0.3) ? shuffle.upTo(first.length) : first.length;
    const bytes = Math.min(mostBytes, cut);
    if (bytes < first.length) this.#out.unshift(first.subarray(bytes));
    this.#outBytes -= bytes;
    return first.subarray(0, bytes);
  }

  #checkDrain(): void {
    if (this.#drainLowBytes < 0 || this.#outBytes > this.#drainLowBytes) return;
    this.#carrier.soon(() => {
      if (this.#closing || this.#broken || this.#drainLowBytes < 0) return;
      if (this.#outBytes > this.#drainLowBytes) return;
      this.#drainLowBytes = -1;
      this.#dispatch(tellDrain);
    });
  }

  #deliver(): void {
    // A sink that resumes itself is served by the loop that runs already.
    if (!this.#begun || this.#delivering || this.#gone) return;
    this.#delivering = true;
    while (this.#inBytes > 0 && !this.#paused && !this.#closing) {
      const chunk = this.#takeChunk();
      this.#inBytes -= chunk.length;
      this.#chunk = chunk;
      this.#dispatch(this.#readInto ? fill : tellData);
      this.#peer?.consumed(chunk.length - this.#putBack());
    }
    this.#delivering = false;
    if (this.#inBytes > 0 || this.#gone) return;
    if (this.#endArrived && !this.#endTold && !this.#paused && !this.#closing) {
      this.#endTold = true;
      this.#carrier.note(`end to ${this.name}`);
      this.#dispatch(tellEnd);
    }
    if (this.#broken) this.#lose('read');
  }

  /** With chance, what has arrived is read at once, as a socket does. */
  #takeChunk(): Buffer {
    const first = this.#in.shift() as Buffer;
    if (this.#in.length === 0 || !this.#carrier.shuffle?.chance(0.5)) return first;
    const chunk = Buffer.concat([first, ...this.#in]);
    this.#in.clear();
    return chunk;
  }

  /** What `fill` has left, because the sink paused or went back to `onData`. */
  #putBack(): number {
    const rest = this.#chunk;
    this.#chunk = null;
    if (rest === null || rest.length === 0) return 0;
    if (this.#closing) return 0;
    this.#in.unshift(rest);
    this.#inBytes += rest.length;
    return rest.length;
  }

  takeAll(): Buffer {
    const chunk = this.#chunk as Buffer;
    this.#chunk = null;
    return chunk;
  }

  /** Copies into the sink's memory, as long as it wants that. */
  fill(): void {
    for (let rest = this.#chunk; rest !== null && rest.length > 0; rest = this.#chunk) {
      if (this.#closing || this.#paused || !this.#readInto || this.sink === null) return;
      const target = this.sink.onAlloc(rest.length);
      if (target.length === 0) throw new RangeError('onAlloc gave no room');
      const bytes = Math.min(target.length, rest.length);
      target.set(rest.subarray(0, bytes));
      this.#chunk = rest.subarray(bytes);
      this.sink.onFilled(bytes);
    }
  }

  #dropUnsent(): void {
    this.#out.clear();
    this.#outBytes = 0;
  }

  #dropUnread(): void {
    const bytes = this.#inBytes;
    this.#in.clear();
    this.#inBytes = 0;
    if (bytes > 0) this.#carrier.soon(() => this.#peer?.consumed(bytes));
  }

  /** The reset of the other end, as the sink is told of it. */
  #lose(syscall: 'read' | 'write'): void {
    if (this.#gone) return;
    // Who aborts does not ask; who closes wants to know that bytes were lost.
    const told = !this.#closing || this.#outBytes > 0;
    if (told) this.#error = systemErrorByCode('ECONNRESET', syscall);
    this.#finSent = true;
    this.#dropUnsent();
    this.#finish();
  }

  /** The last call to the sink. */
  #finish(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#closing = true;
    if (!this.#finSent) {
      this.#finSent = true;
      const peer = this.#peer;
      if (this.#inBytes > 0) this.#way.post(() => peer?.arriveReset());
      else this.#way.post(() => peer?.arriveEnd());
    }
    this.#in.clear();
    this.#carrier.note(`close ${this.name}${this.#error === undefined ? '' : ' ECONNRESET'}`);
    this.#dispatch(tellClosed);
    this.sink = null;
    this.#carrier.gone(this);
  }

  get error(): Error | undefined {
    return this.#error;
  }

  #dispatch(tell: (stream: SimulatedStream) => void): void {
    if (this.sink !== null) callSink(this.#carrier.host, this.sink, tell, this);
  }
}

function tellData(stream: SimulatedStream): void {
  stream.sink?.onData(stream.takeAll());
}

function fill(stream: SimulatedStream): void {
  stream.fill();
}

function tellEnd(stream: SimulatedStream): void {
  stream.sink?.onEof();
}

function tellDrain(stream: SimulatedStream): void {
  stream.sink?.onDrain();
}

function tellClosed(stream: SimulatedStream): void {
  stream.sink?.onClosed(stream.error);
}
