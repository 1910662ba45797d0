/**
 * A listening address of the simulated network.
 *
 * In: connections that arrive. Out: streams for the sink. Never: more than `backlog` that wait for
 * a paused sink; further ones wait outside, unanswered, as behind a full queue of the kernel.
 */
import type { ListenerHandle, ListenerSink, SocketAddress } from '../backend.ts';
import type { SimulatedConnect } from './connect.ts';
import type { Network } from './network.ts';
import type { SimulatedStream } from './stream.ts';

export class SimulatedListener implements ListenerHandle {
  readonly fd: number | null = null;
  readonly address: SocketAddress;
  reusePort = false;
  ipv6Only = false;
  readonly #network: Network;
  readonly #sink: ListenerSink;
  readonly #backlog: number;
  /** Connected, not reported. */
  #held: SimulatedStream[] = [];
  /** Answered, but their third way is not done. */
  #expected = 0;
  /** Not answered: the queue is full. */
  #outside: SimulatedConnect[] = [];
  #paused: boolean;
  #closed = false;

  constructor(
    network: Network,
    sink: ListenerSink,
    address: SocketAddress,
    backlog: number,
    paused: boolean,
  ) {
    this.#network = network;
    this.#sink = sink;
    this.address = address;
    this.#backlog = backlog;
    this.#paused = paused;
  }

  /** Told a little later, whatever becomes of it. */
  open(refused: Error | null): void {
    const { owner, listeners } = this.#network;
    if (refused === null) listeners.add(this);
    else this.#closed = true;
    owner.soon(() => {
      if (refused !== null) owner.callOut(() => this.#sink.onListenError(refused));
      else if (!this.#closed) owner.callOut(() => this.#sink.onListening(this.address));
    });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    this.#network.owner.soon(() => this.#reportHeld());
  }

  ref(): void {}
  unref(): void {}

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { owner, listeners } = this.#network;
    for (const stream of this.#held) stream.reset();
    this.#held = [];
    const outside = this.#outside;
    this.#outside = [];
    owner.soon(() => {
      for (const request of outside) request.refuse();
      listeners.delete(this);
      owner.callOut(() => this.#sink.onListenerClosed());
      owner.ended();
    });
  }

  /** Whether a connection to that address comes here. */
  takes(to: SocketAddress): boolean {
    const { address, port, family } = this.address;
    if (this.#closed || port !== to.port) return false;
    if (address === to.address) return true;
    if (to.family === 'unix' || family === 'unix') return false;
    if (address === '::') return to.family === 'IPv6' || !this.ipv6Only;
    return address === '0.0.0.0' && to.family === 'IPv4';
  }

  conflictsWith(other: SimulatedListener): boolean {
    if (other.#closed || (this.reusePort && other.reusePort)) return false;
    return other.takes(this.address) || this.takes(other.address) || this.#sharesAll(other);
  }

  /** A client is here. False: the queue is full, the client waits outside. */
  admit(request: SimulatedConnect): boolean {
    if (this.#paused && this.#held.length + this.#expected >= this.#backlog) {
      this.#outside.push(request);
      return false;
    }
    this.#expected++;
    return true;
  }

  /** A connection that was admitted is complete. */
  accepted(stream: SimulatedStream): void {
    this.#expected--;
    this.#network.streams.add(stream);
    if (this.#closed) {
      stream.reset();
    } else if (this.#paused || this.#held.length > 0) {
      this.#held.push(stream);
    } else {
      this.#report(stream);
    }
  }

  /** `::` and `0.0.0.0` share their IPv4 addresses. */
  #sharesAll(other: SimulatedListener): boolean {
    const [here, there] = [this.address, other.address];
    if (here.port !== there.port) return false;
    const six = here.address === '::' ? this : there.address === '::' ? other : null;
    const four = here.address === '0.0.0.0' || there.address === '0.0.0.0';
    return six !== null && four && !six.ipv6Only;
  }

  #report(stream: SimulatedStream): void {
    const { owner } = this.#network;
    owner.note(`accept ${stream.name}`);
    const taken = owner.callOut(() => this.#sink.onConnection(stream));
    if (taken && stream.sink !== null) stream.begin();
    else stream.abort();
  }

  #reportHeld(): void {
    while (!this.#paused && !this.#closed) {
      const stream = this.#held.shift();
      if (stream === undefined) break;
      this.#report(stream);
    }
    if (this.#paused || this.#closed) return;
    for (const request of this.#outside.splice(0)) request.arrive();
  }
}
