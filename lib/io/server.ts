/**
 * Servers: listeners, the list of their open streams, and the limit on them.
 *
 * In: streams that listeners accepted. Out: one transport or connection for each. Never: what
 * happens on a stream (see protocol-server.ts and handler-server.ts).
 */
import { type CancelledError, ClosedResourceError, type WaitOptions } from '../base/errors.ts';
import type { CallbackContext, SocketAddress, StreamHandle, StreamSink } from '../loop/backend.ts';
import { tlsFailed } from '../loop/channels.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { Waiter } from '../task/waiter.ts';
import { captureContext } from './callback-context.ts';
import { cancellationPending } from './cancelled.ts';
import type { StreamLimits } from './limits.ts';
import type { Listener, ListenerOwner } from './listener.ts';
import type { Server } from './net-types.ts';
import { flagDismissed, inertSink, type Stream, type StreamOwner } from './stream.ts';
import type { TlsPlan } from './tls/plan.ts';
import { type HandshakeOwner, TlsStream } from './tls/stream.ts';

/** Accepted above `maxConnections`, in the batch of the last one: waits unread for its turn. */
class HeldStream implements StreamSink {
  readonly context: CallbackContext | null = null;
  readonly stream: StreamHandle;
  readonly #server: StreamServer;

  constructor(server: StreamServer, stream: StreamHandle) {
    this.#server = server;
    this.stream = stream;
    stream.sink = this;
    stream.pause();
  }

  onData(): void {}
  onAlloc(hintBytes: number): Uint8Array {
    return inertSink.onAlloc(hintBytes);
  }
  onFilled(): void {}
  onEof(): void {}
  onDrain(): void {}

  onClosed(): void {
    this.#server.heldGone(this);
  }
}

/** Waits until all is closed. Cancelled, it hurries that up, and still waits. */
class DisposeWaiter extends Waiter<void> {
  readonly #server: StreamServer;
  #cancelled: CancelledError | null = null;

  constructor(server: StreamServer) {
    super('close');
    this.#server = server;
  }

  override deliver(error: CancelledError): void {
    this.#cancelled = error;
    this.#server.abortClients();
  }

  override wake(): void {
    if (this.#cancelled === null) super.wake();
    else this.fail(this.#cancelled);
  }
}

export abstract class StreamServer implements Server, StreamOwner, ListenerOwner, HandshakeOwner {
  readonly loop: EventLoop;
  /** @internal */
  readonly limits: StreamLimits;
  /** @internal That of whoever made the server. */
  readonly context: CallbackContext;
  /** @internal Set before it listens. */
  tls: TlsPlan | null = null;
  /** @internal Open streams, linked through the streams themselves. */
  first: Stream | null = null;
  #connections = 0;
  readonly #handshakes: Set<TlsStream> = new Set();
  readonly #maxConnections: number;
  #held: HeldStream[] = [];
  #listeners: readonly Listener[] = [];
  #openListeners = 0;
  #started = false;
  #closed = false;
  #acceptPaused = false;
  #addresses: readonly SocketAddress[] = [];
  #closeWaiters: Waiter<void>[] = [];
  #serveWaiters: Waiter<never>[] = [];

  constructor(loop: EventLoop, limits: StreamLimits, maxConnections: number) {
    this.loop = loop;
    this.limits = limits;
    this.context = captureContext(loop);
    this.#maxConnections = maxConnections;
  }

  /** Makes the transport or connection of a stream, sets it as the sink and starts it. */
  protected abstract open(stream: StreamHandle): void;

  /** @internal Takes bound listeners over. */
  attach(listeners: readonly Listener[], addresses: readonly SocketAddress[]): void {
    this.#listeners = listeners;
    for (const listener of listeners) listener.attached = true;
    this.#openListeners = listeners.length;
    this.#addresses = addresses;
  }

  get addresses(): readonly SocketAddress[] {
    return this.#addresses;
  }

  get port(): number {
    return this.#addresses[0]?.port ?? 0;
  }

  /** @internal Of the first address. */
  get descriptor(): number | null {
    return this.#listeners[0]?.descriptor ?? null;
  }

  get listening(): boolean {
    return this.#started && !this.#closed;
  }

  get connections(): number {
    return this.#connections + this.#handshakes.size;
  }

  async start(): Promise<void> {
    if (this.#closed) throw new ClosedResourceError('The server was closed');
    if (this.#started) return;
    this.#started = true;
    for (const listener of this.#listeners) listener.resume();
  }

  async serveForever(): Promise<never> {
    await this.start();
    const waiter = new Waiter<never>('serveForever');
    this.#serveWaiters.push(waiter);
    try {
      return await waiter.start();
    } finally {
      this.#serveWaiters = this.#serveWaiters.filter((one) => one !== waiter);
      this.close();
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const listener of this.#listeners) listener.close();
    for (const held of this.#held) held.stream.abort();
    const waiters = this.#serveWaiters;
    this.#serveWaiters = [];
    for (const waiter of waiters) waiter.fail(new ClosedResourceError('The server was closed'));
    this.#checkDone();
  }

  closeClients(): void {
    this.#abortHandshakes();
    this.#forEach((stream) => {
      stream.mark(flagDismissed);
      stream.finish();
    });
  }

  abortClients(): void {
    this.#abortHandshakes();
    this.#forEach((stream) => {
      stream.mark(flagDismissed);
      stream.abort();
    });
  }

  waitClosed(options?: WaitOptions): Promise<void> {
    const waiter = new Waiter<void>('waitClosed');
    const promise = waiter.start(options);
    if (waiter.active) this.#waitWith(waiter);
    return promise;
  }

  [Symbol.asyncDispose](): Promise<void> {
    const waiter = new DisposeWaiter(this);
    this.close();
    this.#abortHandshakes();
    this.endClients();
    let promise: Promise<void>;
    if (cancellationPending()) {
      this.abortClients();
      promise = waiter.begin(null);
    } else {
      promise = waiter.start();
    }
    this.#waitWith(waiter);
    return promise;
  }

  /** What `await using` does with open connections. */
  protected endClients(): void {
    this.closeClients();
  }

  /** @internal */
  accept(stream: StreamHandle): void {
    if (this.#closed) {
      stream.sink = inertSink;
      stream.abort();
      return;
    }
    if (this.connections < this.#maxConnections) this.#begin(stream);
    else this.#held.push(new HeldStream(this, stream));
    if (this.connections >= this.#maxConnections && !this.#acceptPaused) {
      this.#acceptPaused = true;
      for (const listener of this.#listeners) listener.pause();
    }
  }

  #begin(stream: StreamHandle): void {
    if (this.tls === null) {
      this.open(stream);
      return;
    }
    let handshake: TlsStream | null = null;
    try {
      handshake = new TlsStream(this.loop, stream, this.tls, this);
      this.#handshakes.add(handshake);
      handshake.begin();
    } catch (error) {
      stream.sink ??= inertSink;
      if (handshake === null) stream.abort();
      else handshake.abort();
      this.loop.callExceptionHandler({ message: 'A TLS handshake cannot begin', error });
    }
  }

  /** @internal */
  secured(handshake: TlsStream): void {
    this.#handshakes.delete(handshake);
    this.open(handshake);
  }

  /**
   * A peer that cannot talk is nobody's mistake here, and any stranger could fill a log with it: so
   * it is told to who asked for it. (asyncio tells it in debug mode) @internal
   */
  failed(handshake: TlsStream, error: Error): void {
    if (!tlsFailed.hasSubscribers) return;
    const localAddress = handshake.localAddress();
    tlsFailed.publish({ error, localAddress, remoteAddress: handshake.remoteAddress() });
  }

  /** @internal */
  gone(handshake: TlsStream): void {
    if (this.#handshakes.delete(handshake)) this.#oneLess();
  }

  #abortHandshakes(): void {
    for (const handshake of this.#handshakes) handshake.abort();
  }

  /** @internal */
  acceptFailed(error: Error): void {
    this.loop.callExceptionHandler({ message: 'Accepting a connection failed', error });
  }

  /** @internal */
  listenerClosed(): void {
    this.#openListeners--;
    this.#checkDone();
  }

  /** @internal */
  heldGone(held: HeldStream): void {
    this.#held = this.#held.filter((one) => one !== held);
  }

  /** Puts a new stream into the list. */
  protected link(stream: Stream): void {
    const { first } = this;
    stream.owner = this;
    stream.next = first;
    if (first !== null) first.previous = stream;
    this.first = stream;
    this.#connections++;
  }

  /** @internal */
  streamGone(stream: Stream): void {
    const { previous, next } = stream;
    if (previous === null) this.first = next;
    else previous.next = next;
    if (next !== null) next.previous = previous;
    stream.previous = null;
    stream.next = null;
    this.#connections--;
    this.#oneLess();
  }

  /** @internal */
  streamReplaced(stream: Stream, fresh: Stream): void {
    const { previous, next } = stream;
    fresh.owner = this;
    fresh.previous = previous;
    fresh.next = next;
    if (previous === null) this.first = fresh;
    else previous.next = fresh;
    if (next !== null) next.previous = fresh;
    stream.owner = null;
    stream.previous = null;
    stream.next = null;
  }

  #oneLess(): void {
    if (this.#acceptPaused) this.#acceptMore();
    if (this.connections === 0) this.#checkDone();
  }

  #acceptMore(): void {
    if (this.#closed) return;
    while (this.connections < this.#maxConnections) {
      const held = this.#held.shift();
      if (held === undefined) break;
      this.#begin(held.stream);
      held.stream.resume();
    }
    if (this.connections >= this.#maxConnections) return;
    this.#acceptPaused = false;
    if (!this.#started) return;
    for (const listener of this.#listeners) listener.resume();
  }

  /** Streams may leave the list meanwhile. */
  #forEach(visit: (stream: Stream) => void): void {
    let stream = this.first;
    while (stream !== null) {
      const { next } = stream;
      visit(stream);
      stream = next;
    }
  }

  #waitWith(waiter: Waiter<void>): void {
    this.#closeWaiters.push(waiter);
    this.#checkDone();
  }

  #checkDone(): void {
    if (!this.#closed || this.#openListeners > 0 || this.connections > 0) return;
    const waiters = this.#closeWaiters;
    this.#closeWaiters = [];
    for (const waiter of waiters) waiter.wake();
  }
}
