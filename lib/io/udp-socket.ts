/**
 * A datagram socket that tasks use with promises.
 *
 * In: datagrams of the backend (it is a DatagramSink). Out: promises of datagrams. Never: a second
 * waiting receiver; a datagram lost to a cancelled receive; more than `maxQueued` that wait.
 */
import { Buffer } from 'node:buffer';
import { Deque } from '../base/deque.ts';
import {
  BusyResourceError,
  type CancelledError,
  ClosedResourceError,
  type Data,
  type WaitOptions,
} from '../base/errors.ts';
import { quieted, resolved } from '../base/quiet.ts';
import type { SocketAddress } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { refused } from '../sync/entry.ts';
import { ListedWaiter, WaiterList } from '../sync/waiter-list.ts';
import { currentFrame, currentLoop } from '../task/frame.ts';
import { paceOf } from '../task/pace.ts';
import { Waiter } from '../task/waiter.ts';
import { cancellationPending } from './cancelled.ts';
import {
  DatagramEndpoint,
  type HandleOpener,
  type Opening,
  type Target,
} from './datagram-endpoint.ts';
import { defaultLimits } from './limits.ts';
import { lookup as systemLookup } from './names.ts';
import type { Datagram, UdpOptions, UdpSocket } from './net-types.ts';
import { checkUdp, openDatagram, type UdpPlan } from './open-datagram.ts';

/** The one wait of those who receive; also the iterator, which needs no state. */
class Receiver extends Waiter<unknown> implements AsyncIterator<Datagram, undefined> {
  readonly #socket: Socket;
  /** What `for await` waits for comes as a step. */
  asStep: boolean;

  constructor(socket: Socket) {
    super('receive');
    this.#socket = socket;
    this.asStep = false;
  }

  give(datagram: Datagram): void {
    this.wake(this.asStep ? { value: datagram, done: false } : datagram);
  }

  next(): Promise<IteratorResult<Datagram, undefined>> {
    return this.#socket.take(true, undefined) as Promise<IteratorResult<Datagram, undefined>>;
  }

  return(): Promise<IteratorReturnResult<undefined>> {
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** Waits for the end. Cancelled, it gives up sending, but waits for the little that is left. */
class CloseWaiter extends Waiter<void> {
  readonly #socket: Socket;
  #cancelled: CancelledError | null = null;

  constructor(socket: Socket) {
    super('close');
    this.#socket = socket;
  }

  override deliver(error: CancelledError): void {
    this.#cancelled = error;
    this.#socket.abort();
  }

  finish(): void {
    if (this.#cancelled === null) this.wake();
    else this.fail(this.#cancelled);
  }
}

class Socket extends DatagramEndpoint implements UdpSocket {
  /** @internal None: promises carry their own. */
  readonly context: null = null;
  readonly #maxQueued: number;
  readonly #queue: Deque<Datagram> = new Deque();
  readonly #receiver: Receiver = new Receiver(this);
  /** Senders that wait for the kernel. */
  readonly #drains: WaiterList<ListedWaiter<void>> = new WaiterList();
  #closers: CloseWaiter[] = [];
  #dropped = 0;
  /** Came by itself, and was told to nobody yet. */
  #error: Error | null = null;
  #overHighWater = false;

  constructor(loop: EventLoop, plan: UdpPlan, opening: Opening, open: HandleOpener) {
    super(loop, plan.lookup, opening, open);
    this.#maxQueued = plan.maxQueued;
  }

  get dropped(): number {
    return this.#dropped;
  }

  send(data: Data, to?: { host: string; port: number }, options?: WaitOptions): Promise<void> {
    if (this.closing) return this.#refuseClosed();
    let target: Target;
    let bytes: Data;
    try {
      target = this.targetOf(to);
      bytes = this.checkSend(data, target);
    } catch (error) {
      return Promise.reject(error);
    }
    if (target.named) return this.#sendToName(bytes, target, options);
    return this.#send(bytes, target.host, target.port, options);
  }

  async #sendToName(data: Data, target: Target, options?: WaitOptions): Promise<void> {
    // Taken now: the caller may reuse its memory.
    const bytes = typeof data === 'string' ? data : Buffer.from(data);
    const family = this.localAddress.family === 'IPv6' ? 0 : 4;
    const ask = this.lookup ?? systemLookup;
    const found = await ask(target.host as string, { family, signal: options?.signal });
    await this.#send(bytes, this.firstOf(found, target), target.port, options);
  }

  #send(
    bytes: Data,
    host: string | null,
    port: number,
    options: WaitOptions | undefined,
  ): Promise<void> {
    const frame = currentFrame();
    const refusal = refused(frame, options);
    if (refusal !== null) return refusal;
    if (this.closing) return this.#refuseClosed();
    if (this.#error !== null) return paceOf(frame).rejected(this.#takeError());
    const buffered = this.handle.send(bytes, host, port);
    if (buffered <= defaultLimits.highWaterBytes && !this.#overHighWater) {
      return paceOf(frame).done();
    }
    if (!this.#overHighWater) {
      this.#overHighWater = true;
      this.handle.notifyDrain(defaultLimits.lowWaterBytes);
    }
    const waiter = new ListedWaiter<void>('send');
    const promise = waiter.startIn(frame, options);
    if (waiter.active) this.#drains.push(waiter);
    return promise;
  }

  #refuseClosed(): Promise<never> {
    return Promise.reject(new ClosedResourceError('The socket was closed'));
  }

  #takeError(): Error {
    const error = this.#error as Error;
    this.#error = null;
    return error;
  }

  receive(options?: WaitOptions): Promise<Datagram> {
    return this.take(false, options) as Promise<Datagram>;
  }

  [Symbol.asyncIterator](): AsyncIterator<Datagram, undefined> {
    return this.#receiver;
  }

  /** @internal */
  take(asStep: boolean, options: WaitOptions | undefined): Promise<unknown> {
    const receiver = this.#receiver;
    if (receiver.active) {
      return Promise.reject(new BusyResourceError('Another task receives from this socket'));
    }
    const frame = currentFrame();
    const refusal = refused(frame, options);
    if (refusal !== null) return refusal;
    if (this.closing) return this.#refuseClosed();
    const first = this.#queue.shift();
    if (first !== undefined) {
      return Promise.resolve(asStep ? { value: first, done: false } : first);
    }
    if (this.#error !== null) return Promise.reject(this.#takeError());
    receiver.asStep = asStep;
    return receiver.startIn(frame, options);
  }

  /** @internal */
  protected override ended(): void {
    this.#queue.clear();
    const error = new ClosedResourceError('The socket was closed');
    this.#receiver.fail(error);
    for (const waiter of this.#drains.take()) waiter.fail(error);
  }

  /** @internal */
  protected override get overHighWater(): boolean {
    return this.#overHighWater;
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (this.gone) return resolved;
    const waiter = new CloseWaiter(this);
    let promise: Promise<void>;
    if (cancellationPending()) {
      // The cancellation stays for the next wait.
      this.abort();
      promise = waiter.begin(null);
    } else {
      this.close();
      promise = waiter.start();
    }
    this.#closers.push(waiter);
    quieted(promise);
    return promise;
  }

  /** @internal */
  onDatagram(data: Buffer, address: SocketAddress): void {
    const datagram = { data, address };
    if (this.#receiver.active) this.#receiver.give(datagram);
    else if (this.#queue.length < this.#maxQueued) this.#queue.push(datagram);
    else this.#dropped++;
  }

  /** @internal */
  onError(error: Error): void {
    if (this.#receiver.active) this.#receiver.fail(error);
    else this.#error = error;
  }

  /** @internal */
  onDrain(): void {
    this.#overHighWater = false;
    for (const waiter of this.#drains.take()) waiter.wake();
  }

  /** @internal */
  override onClosed(): void {
    super.onClosed();
    this.ended();
    const closers = this.#closers;
    this.#closers = [];
    for (const closer of closers) closer.finish();
  }
}

/**
 * Opens a datagram socket: bound, and connected when a peer is given. Names are looked up; of
 * several addresses the first that works counts. Rejects with the system's error (EADDRINUSE,
 * EADDRNOTAVAIL, ENOTFOUND …; of several addresses an AggregateError with the first one's code).
 * Cancellation leaves no socket. (asyncio: loop.create_datagram_endpoint; trio.socket)
 */
export async function openUdpSocket(options: UdpOptions = {}): Promise<UdpSocket> {
  const loop = currentLoop();
  const plan = checkUdp(options);
  const make = (opening: Opening, open: HandleOpener): Socket => {
    return new Socket(loop, plan, opening, open);
  };
  return openDatagram(loop, plan, options, make, (socket) => socket);
}
