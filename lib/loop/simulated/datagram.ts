/**
 * A datagram socket of the simulated network.
 *
 * In: datagrams of others, each with a way of its own: it may be lost, doubled or overtaken. Out:
 * calls of the sink, in its context. Never: a call of the sink from inside a call made here.
 *
 * It behaves as a UDP socket of Linux does: a connected one hears of its peer only, and learns that
 * nobody listens there; an unconnected one does not.
 */
import { Buffer } from 'node:buffer';
import { isIP } from 'node:net';
import { systemErrorByCode } from '../../base/errors.ts';
import {
  callSink,
  type DatagramHandle,
  type DatagramSink,
  type OpenUdp,
  type SocketAddress,
  type UdpSetting,
} from '../backend.ts';
import type { Network } from './network.ts';

const everyone = '255.255.255.255';

/** 224.0.0.0/4 and ff00::/8. */
export function isMulticast(address: string): boolean {
  const first = Number.parseInt(address, 10);
  return isIP(address) === 4 ? first >= 224 && first <= 239 : /^ff/i.test(address);
}

export class SimulatedDatagram implements DatagramHandle {
  readonly fd: null = null;
  readonly address: SocketAddress;
  readonly reusePort: boolean;
  readonly #network: Network;
  readonly #remote: SocketAddress | null;
  readonly #groups: Set<string> = new Set();
  #sink: DatagramSink | null;
  #broadcast: boolean;
  #loopback = true;
  #closing = false;

  constructor(network: Network, options: OpenUdp, sink: DatagramSink) {
    const { localHost, localPort, remoteHost, remotePort, reusePort } = options;
    const family = isIP(localHost) === 6 ? 'IPv6' : 'IPv4';
    const any = localHost === '0.0.0.0' || localHost === '::';
    this.#network = network;
    this.#sink = sink;
    this.reusePort = reusePort;
    this.#broadcast = options.broadcast;
    this.#remote =
      remoteHost === undefined ? null : { address: remoteHost, port: remotePort, family };
    // Connecting settles from which address it sends.
    const loopback = family === 'IPv6' ? '::1' : '127.0.0.1';
    const address = remoteHost !== undefined && any ? loopback : localHost;
    const port = localPort === 0 ? network.freePort() : localPort;
    this.address = Object.freeze({ address, port, family });
    const refused = network.refuseBind(this);
    if (refused === null) network.datagrams.add(this);
    else this.#closing = true;
    network.owner.soon(() => {
      if (refused !== null) network.owner.callOut(() => sink.onOpenError(refused));
      else if (!this.#closing) this.#call((one) => one.onOpen());
    });
  }

  get bufferedBytes(): number {
    return 0;
  }

  send(data: string | Uint8Array, host: string | null, port: number): number {
    if (this.#closing) return 0;
    // A copy for the receiver, to whom it belongs.
    const bytes = Buffer.from(data as Uint8Array);
    const to = host === null ? this.#remote : { address: host, port, family: this.address.family };
    if (to === null) this.#failLater('EDESTADDRREQ');
    else if (to.address === everyone && !this.#broadcast) this.#failLater('EACCES', to);
    else this.#network.carry(this, to, bytes);
    return 0;
  }

  #failLater(code: string, to?: SocketAddress): void {
    const error = systemErrorByCode(code, 'send', to?.address, to?.port);
    this.#network.owner.soon(() => this.#call((sink) => sink.onError(error)));
  }

  notifyDrain(): void {
    this.#network.owner.soon(() => this.#call((sink) => sink.onDrain()));
  }

  set(setting: UdpSetting): Error | null {
    const code = this.#closing ? 'EBADF' : this.#apply(setting);
    return code === null ? null : systemErrorByCode(code, setting.set);
  }

  #apply(setting: UdpSetting): string | null {
    switch (setting.set) {
      case 'broadcast':
        this.#broadcast = setting.enable;
        return null;
      case 'multicastLoopback':
        this.#loopback = setting.enable;
        return null;
      case 'ttl':
        return setting.hops >= 1 && setting.hops <= 255 ? null : 'EINVAL';
      case 'multicastTtl':
        return setting.hops >= 0 && setting.hops <= 255 ? null : 'EINVAL';
      case 'multicastInterface':
        return isIP(setting.interface) === 0 ? 'EINVAL' : null;
      default:
        return this.#changeGroup(setting.set === 'addMembership', setting.group);
    }
  }

  #changeGroup(join: boolean, group: string): string | null {
    const family = this.address.family === 'IPv6' ? 6 : 4;
    if (!isMulticast(group) || isIP(group) !== family) return 'EINVAL';
    if (join === this.#groups.has(group)) return join ? 'EADDRINUSE' : 'EADDRNOTAVAIL';
    if (join) this.#groups.add(group);
    else this.#groups.delete(group);
    return null;
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    const { owner, datagrams } = this.#network;
    owner.soon(() => {
      datagrams.delete(this);
      const sink = this.#sink;
      this.#sink = null;
      if (sink !== null) callSink(this.#network.owner.host, sink, () => sink.onClosed(), sink);
      owner.ended();
    });
  }

  abort(): void {
    this.close();
  }

  ref(): void {}
  unref(): void {}

  localAddress(): SocketAddress {
    return this.address;
  }

  remoteAddress(): SocketAddress | null {
    return this.#remote;
  }

  /** Whether a datagram to that address comes here. */
  takes(from: SimulatedDatagram, to: SocketAddress): boolean {
    const { address, port, family } = this.address;
    if (this.#closing || port !== to.port) return false;
    const remote = this.#remote;
    if (remote !== null && from.seenBy(this, remote) !== remote) return false;
    const any = address === '::' || (address === '0.0.0.0' && to.family === 'IPv4');
    if (isMulticast(to.address)) {
      return this.#groups.has(to.address) && (any || address === to.address) && from.#loopback;
    }
    if (to.address === everyone) return any && family === 'IPv4';
    return address === to.address || any;
  }

  /** The address that `other` sees; `known` itself if it is that one. */
  seenBy(other: SimulatedDatagram, known?: SocketAddress): SocketAddress {
    const { port, family } = this.address;
    const any = this.address.address === '0.0.0.0' || this.address.address === '::';
    const own = any ? (family === 'IPv6' ? '::1' : '127.0.0.1') : this.address.address;
    const mapped = other.address.family === 'IPv6' && family === 'IPv4';
    const address = mapped ? `::ffff:${own}` : own;
    if (known?.address === address && known.port === port) return known;
    return Object.freeze({ address, port, family: other.address.family });
  }

  arrive(data: Buffer, from: SimulatedDatagram): void {
    if (this.#closing) return;
    const peer = from.seenBy(this);
    this.#network.owner.note(`datagram to ${this.address.port} ${data.length}`);
    this.#call((sink) => sink.onDatagram(data, peer));
  }

  /** Nobody listens there. */
  refused(): void {
    if (this.#remote === null) return;
    const error = systemErrorByCode('ECONNREFUSED', 'recvmsg');
    this.#call((sink) => sink.onError(error));
  }

  #call(tell: (sink: DatagramSink) => void): void {
    if (this.#sink === null || this.#closing) return;
    callSink(this.#network.owner.host, this.#sink, tell, this.#sink);
  }
}
