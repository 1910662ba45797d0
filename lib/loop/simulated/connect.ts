/**
 * An outgoing connection of the simulated network, until it stands.
 *
 * In: where from and where to. Out: exactly one of two calls of the sink, unless it was cancelled.
 * Never: a call from inside the call that made it.
 */
import { systemErrorByCode } from '../../base/errors.ts';
import type { ConnectRequest, ConnectSink, SocketAddress } from '../backend.ts';
import type { Lane } from './agenda.ts';
import type { SimulatedListener } from './listener.ts';
import type { Network } from './network.ts';
import type { SimulatedStream } from './stream.ts';

export class SimulatedConnect implements ConnectRequest {
  readonly #network: Network;
  readonly #sink: ConnectSink;
  readonly #from: SocketAddress;
  readonly #to: SocketAddress;
  #over = false;

  constructor(network: Network, sink: ConnectSink, from: SocketAddress, to: SocketAddress) {
    this.#network = network;
    this.#sink = sink;
    this.#from = from;
    this.#to = to;
    network.connecting.add(this);
  }

  open(bad: Error | null): void {
    const { owner } = this.#network;
    if (bad !== null) owner.soon(() => this.#fail(bad));
    else owner.schedule(owner.now() + owner.latency(), () => this.arrive());
  }

  cancel(): void {
    this.#end();
  }

  /** The first way is done: at the listener. */
  arrive(): void {
    if (this.#over) return;
    const network = this.#network;
    const listener = network.find(this.#to);
    if (listener === null) {
      this.refuse();
      return;
    }
    if (!listener.admit(this)) return;
    const { client, server, lanes } = network.makePair(this.#from, this.#to, listener.address);
    lanes.down.post(() => this.#connected(client, server, lanes.up, listener));
  }

  /** Nobody listens: the answer takes its way. */
  refuse(): void {
    const { owner } = this.#network;
    const { address, port, family } = this.#to;
    let code = 'ECONNREFUSED';
    // A path that nobody listens on does not exist: there are no files here.
    if (family === 'unix' && !address.startsWith('\0')) code = 'ENOENT';
    if (family !== 'unix' && !this.#network.isLocal(address)) code = 'EHOSTUNREACH';
    const shownPort = family === 'unix' ? undefined : port;
    const error = systemErrorByCode(code, 'connect', address, shownPort);
    owner.schedule(owner.now() + owner.latency(), () => this.#fail(error));
  }

  #connected(
    client: SimulatedStream,
    server: SimulatedStream,
    up: Lane,
    listener: SimulatedListener,
  ): void {
    const network = this.#network;
    const { owner } = network;
    network.streams.add(client);
    up.post(() => listener.accepted(server));
    if (!this.#end()) {
      client.abort();
      return;
    }
    owner.note(`connect ${client.name}`);
    const taken = owner.callOut(() => this.#sink.onConnect(client));
    if (taken && client.sink !== null) client.begin();
    else client.abort();
  }

  #fail(error: Error): void {
    if (this.#end()) this.#network.owner.callOut(() => this.#sink.onConnectError(error));
  }

  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#network.connecting.delete(this);
    this.#network.owner.ended();
    return true;
  }
}
