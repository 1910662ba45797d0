/**
 * A network in memory: listeners, connects and names, all in virtual time.
 *
 * In: addresses. Out: joined streams. Never: a real socket, a file, a look-up outside.
 *
 * The machine has the loopback addresses (127.0.0.0/8 and ::1) and those of the hosts that were
 * given. A connection takes three ways, as TCP's does: the client is connected after two of them,
 * the server sees it after the third.
 */
import { Buffer } from 'node:buffer';
import { isIP } from 'node:net';
import { systemErrorByCode } from '../../base/errors.ts';
import type {
  ConnectSink,
  ConnectTcp,
  DatagramSink,
  FoundAddress,
  ListenerSink,
  ListenTcp,
  ListenUnix,
  OpenUdp,
  SocketAddress,
} from '../backend.ts';
import { Lane, type LaneOwner } from './agenda.ts';
import { SimulatedConnect } from './connect.ts';
import { isMulticast, SimulatedDatagram } from './datagram.ts';
import { SimulatedListener } from './listener.ts';
import type { Random } from './random.ts';
import { type Carrier, type Fault, SimulatedStream } from './stream.ts';

/** Shares of what goes wrong, 0 … 1. */
export interface FaultRates {
  /** Of connections that break. */
  readonly breakRate: number;
  /** Of datagrams that are lost, and of those that arrive twice. */
  readonly lossRate: number;
  readonly duplicateRate: number;
}

/** What a network needs of its backend. */
export interface NetworkOwner extends Carrier, LaneOwner {
  /** For what is left to chance with any seed: faults. */
  readonly dice: Random;
  /** Calls a sink that is not a stream's; false when it threw. */
  callOut(call: () => void): boolean;
  /** Something ended: was it the last? */
  ended(): void;
}

/** The range that IANA keeps for ports nobody asked for by number. */
const firstFreePort = 49_152;
const lastPort = 65_535;
/** What fits `sockaddr_un.sun_path` with its final zero, on Linux. */
const maxPathBytes = 107;
/** A connection that is to break does so with one of its first deliveries. */
const mostDeliveries = 8;

export class Network {
  readonly owner: NetworkOwner;
  readonly streams: Set<SimulatedStream> = new Set();
  readonly listeners: Set<SimulatedListener> = new Set();
  readonly connecting: Set<SimulatedConnect> = new Set();
  readonly datagrams: Set<SimulatedDatagram> = new Set();
  readonly #hosts: ReadonlyMap<string, readonly string[]>;
  readonly #local: ReadonlySet<string>;
  readonly #rates: FaultRates;
  #lastPort = firstFreePort - 1;
  #lastStream = 0;

  constructor(
    owner: NetworkOwner,
    hosts: ReadonlyMap<string, readonly string[]>,
    rates: FaultRates,
  ) {
    this.owner = owner;
    this.#hosts = hosts;
    this.#local = new Set([...hosts.values()].flat());
    this.#rates = rates;
  }

  listenTcp(options: ListenTcp, sink: ListenerSink): SimulatedListener {
    const { host, reusePort, ipv6Only, backlog, paused } = options;
    const address: SocketAddress = {
      address: host,
      port: options.port === 0 ? this.freePort() : options.port,
      family: isIP(host) === 6 ? 'IPv6' : 'IPv4',
    };
    const listener = new SimulatedListener(this, sink, address, backlog, paused);
    listener.reusePort = reusePort;
    listener.ipv6Only = ipv6Only;
    listener.open(this.#refuseListen(listener));
    return listener;
  }

  listenUnix({ path, backlog, paused }: ListenUnix, sink: ListenerSink): SimulatedListener {
    const address: SocketAddress = { address: path, port: 0, family: 'unix' };
    const listener = new SimulatedListener(this, sink, address, backlog, paused);
    listener.open(pathError(path, 'listen') ?? this.#refuseListen(listener));
    return listener;
  }

  connectTcp(options: ConnectTcp, sink: ConnectSink): SimulatedConnect {
    const { host, port, localHost, localPort } = options;
    const family = isIP(host) === 6 ? 'IPv6' : 'IPv4';
    // Connecting to "any address" is connecting to this machine.
    const address = here(host);
    const from = localHost ?? (family === 'IPv6' ? '::1' : '127.0.0.1');
    const request = new SimulatedConnect(
      this,
      sink,
      { address: from, port: localPort || this.freePort(), family },
      { address, port, family },
    );
    const bad = this.isLocal(from) ? null : systemErrorByCode('EADDRNOTAVAIL', 'bind', from);
    request.open(bad);
    return request;
  }

  connectUnix(path: string, sink: ConnectSink): SimulatedConnect {
    const nameless: SocketAddress = { address: '', port: 0, family: 'unix' };
    const to: SocketAddress = { address: path, port: 0, family: 'unix' };
    const request = new SimulatedConnect(this, sink, nameless, to);
    request.open(pathError(path, 'connect'));
    return request;
  }

  openUdp(options: OpenUdp, sink: DatagramSink): SimulatedDatagram {
    return new SimulatedDatagram(this, options, sink);
  }

  /** A datagram on its way: lost, once or twice, and each with a time of its own. */
  carry(from: SimulatedDatagram, to: SocketAddress, data: Buffer): void {
    const { owner } = this;
    const { lossRate, duplicateRate } = this.#rates;
    if (lossRate > 0 && owner.dice.chance(lossRate)) {
      owner.note(`lose datagram to ${to.port} ${data.length}`);
      return;
    }
    const copies = duplicateRate > 0 && owner.dice.chance(duplicateRate) ? 2 : 1;
    const target = unmapped({ ...to, address: here(to.address) });
    for (let copy = 0; copy < copies; copy++) {
      const own = copy === 0 ? data : Buffer.from(data);
      owner.schedule(owner.now() + owner.latency(), () => this.#arrive(from, target, own));
    }
  }

  #arrive(from: SimulatedDatagram, to: SocketAddress, data: Buffer): void {
    const fitting = [...this.datagrams].filter((socket) => socket.takes(from, to));
    if (isMulticast(to.address) || to.address === '255.255.255.255') {
      for (const socket of fitting) socket.arrive(Buffer.from(data), from);
      return;
    }
    // As with listeners; a peer that always comes to the same one keeps what it says together.
    const exact = fitting.filter((socket) => socket.address.address === to.address);
    const choice = exact.length > 0 ? exact : fitting;
    const chosen = choice[from.address.port % Math.max(choice.length, 1)];
    if (chosen !== undefined) {
      chosen.arrive(data, from);
    } else if (this.isLocal(to.address)) {
      this.owner.schedule(this.owner.now() + this.owner.latency(), () => from.refused());
    }
  }

  /** Null: there is no such name. */
  lookup(hostname: string, family: 0 | 4 | 6): FoundAddress[] | null {
    const literal = isIP(hostname) !== 0;
    const known = hostname === 'localhost' ? ['127.0.0.1', '::1'] : this.#hosts.get(hostname);
    const found = (literal ? [hostname] : (known ?? [])).map((address): FoundAddress => {
      return { address, family: isIP(address) === 6 ? 6 : 4 };
    });
    const wanted = found.filter((one) => family === 0 || one.family === family);
    return wanted.length === 0 ? null : wanted;
  }

  /** The first name with that address; null: none has it. */
  nameOf(address: string): string | null {
    for (const [name, addresses] of this.#hosts) if (addresses.includes(address)) return name;
    return address === '::1' || /^127\./.test(address) ? 'localhost' : null;
  }

  /** An address of the simulated machine. */
  isLocal(address: string): boolean {
    if (address === '0.0.0.0' || address === '::' || address === '::1') return true;
    return /^127\.\d+\.\d+\.\d+$/.test(address) || this.#local.has(address);
  }

  /** The listener that takes a connection to that address, or null. */
  find(to: SocketAddress): SimulatedListener | null {
    const fitting = [...this.listeners].filter((listener) => listener.takes(to));
    // A listener of the very address comes before one of all addresses.
    const exact = fitting.filter((listener) => listener.address.address === to.address);
    const choice = exact.length > 0 ? exact : fitting;
    if (choice.length <= 1) return choice[0] ?? null;
    // Several share the port by reusePort: in turn, unless it is left to chance.
    const { shuffle } = this.owner;
    const index = shuffle === null ? this.#lastStream : shuffle.upTo(choice.length);
    return choice[index % choice.length] as SimulatedListener;
  }

  /** The two ends of a new connection; nobody knows of them yet. */
  makePair(
    from: SocketAddress,
    to: SocketAddress,
    listener: SocketAddress,
  ): { client: SimulatedStream; server: SimulatedStream; lanes: { up: Lane; down: Lane } } {
    const { owner } = this;
    const lanes = { up: new Lane(owner), down: new Lane(owner) };
    const name = `#${++this.#lastStream}`;
    const client = new SimulatedStream(owner, lanes.up, `${name} client`, from, to);
    const [here, there] =
      listener.family === 'IPv6' && to.family === 'IPv4' ? [mapped(to), mapped(from)] : [to, from];
    const server = new SimulatedStream(owner, lanes.down, `${name} server`, here, there);
    SimulatedStream.join(client, server, this.#drawFault());
    return { client, server, lanes };
  }

  freePort(): number {
    for (;;) {
      this.#lastPort = this.#lastPort >= lastPort ? firstFreePort : this.#lastPort + 1;
      const port = this.#lastPort;
      const used = [...this.listeners, ...this.datagrams];
      if (!used.some((socket) => socket.address.port === port)) return port;
    }
  }

  get idle(): boolean {
    const { streams, listeners, connecting, datagrams } = this;
    return streams.size + listeners.size + connecting.size + datagrams.size === 0;
  }

  #drawFault(): Fault {
    const { dice } = this.owner;
    // Not drawn when nothing is to break, so that the other numbers of a seed stay as they are.
    const { breakRate } = this.#rates;
    const breaks = breakRate > 0 && dice.chance(breakRate);
    return { deliveriesLeft: breaks ? dice.upTo(mostDeliveries) : Infinity };
  }

  /** Null, or why a datagram socket cannot have its address. */
  refuseBind(socket: SimulatedDatagram): Error | null {
    const { address, port } = socket.address;
    if (!this.isLocal(address)) return systemErrorByCode('EADDRNOTAVAIL', 'bind', address, port);
    for (const other of this.datagrams) {
      if (other.address.port !== port || (other.reusePort && socket.reusePort)) continue;
      const all = [address, other.address.address].some((one) => one === '0.0.0.0' || one === '::');
      if (!all && other.address.address !== address) continue;
      return systemErrorByCode('EADDRINUSE', 'bind', address, port);
    }
    return null;
  }

  #refuseListen(listener: SimulatedListener): Error | null {
    const { address, port, family } = listener.address;
    if (family !== 'unix' && !this.isLocal(address)) {
      return systemErrorByCode('EADDRNOTAVAIL', 'listen', address, port);
    }
    for (const other of this.listeners) {
      if (!listener.conflictsWith(other)) continue;
      return systemErrorByCode('EADDRINUSE', 'listen', address, family === 'unix' ? -1 : port);
    }
    return null;
  }
}

function here(host: string): string {
  return host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
}

function mapped({ address, port }: SocketAddress): SocketAddress {
  return { address: `::ffff:${address}`, port, family: 'IPv6' };
}

/** Where an address such as ::ffff:127.0.0.1 leads. */
function unmapped(to: SocketAddress): SocketAddress {
  const address = /^::ffff:([\d.]+)$/i.exec(to.address)?.[1];
  return address === undefined ? to : { address, port: to.port, family: 'IPv4' };
}

/** Null, or the error of a path that the system would cut off or refuse. */
function pathError(path: string, syscall: string): Error | null {
  if (path === '' || path.includes('\0', 1)) return systemErrorByCode('EINVAL', syscall, path);
  if (Buffer.byteLength(path) <= maxPathBytes) return null;
  return systemErrorByCode('ENAMETOOLONG', syscall, path);
}
