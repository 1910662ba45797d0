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
  ListenerSink,
  ListenTcp,
  ListenUnix,
  SocketAddress,
} from '../backend.ts';
import { Lane, type LaneOwner } from './agenda.ts';
import { SimulatedConnect } from './connect.ts';
import { SimulatedListener } from './listener.ts';
import type { Random } from './random.ts';
import { type Carrier, type Fault, SimulatedStream } from './stream.ts';

export interface FoundAddress {
  readonly address: string;
  readonly family: 4 | 6;
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
  readonly #hosts: ReadonlyMap<string, readonly string[]>;
  readonly #local: ReadonlySet<string>;
  readonly #breakRate: number;
  #lastPort = firstFreePort - 1;
  #lastStream = 0;

  constructor(
    owner: NetworkOwner,
    hosts: ReadonlyMap<string, readonly string[]>,
    breakRate: number,
  ) {
    this.owner = owner;
    this.#hosts = hosts;
    this.#local = new Set([...hosts.values()].flat());
    this.#breakRate = breakRate;
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
    const address = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
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
      if (![...this.listeners].some((listener) => listener.address.port === port)) return port;
    }
  }

  get idle(): boolean {
    return this.streams.size + this.listeners.size + this.connecting.size === 0;
  }

  #drawFault(): Fault {
    const { dice } = this.owner;
    // Not drawn when nothing is to break, so that the other numbers of a seed stay as they are.
    const breaks = this.#breakRate > 0 && dice.chance(this.#breakRate);
    return { deliveriesLeft: breaks ? dice.upTo(mostDeliveries) : Infinity };
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

function mapped({ address, port }: SocketAddress): SocketAddress {
  return { address: `::ffff:${address}`, port, family: 'IPv6' };
}

/** Null, or the error of a path that the system would cut off or refuse. */
function pathError(path: string, syscall: string): Error | null {
  if (path === '' || path.includes('\0', 1)) return systemErrorByCode('EINVAL', syscall, path);
  if (Buffer.byteLength(path) <= maxPathBytes) return null;
  return systemErrorByCode('ENAMETOOLONG', syscall, path);
}
