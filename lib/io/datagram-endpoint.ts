/**
 * What datagram sockets and datagram transports have in common: one open socket on this side.
 *
 * In: a datagram handle of the backend. Out: addresses, settings, checked targets. Never: promises,
 * protocols.
 */
import { isIP } from 'node:net';
import {
  argTypeError,
  bufferFullError,
  ClosedResourceError,
  type Data,
  systemErrorByCode,
} from '../base/errors.ts';
import type {
  CallbackContext,
  DatagramHandle,
  DatagramSink,
  SocketAddress,
  UdpSetting,
} from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { checkHost, checkPort } from './addresses.ts';
import { checkData, dataBytes } from './data.ts';
import { defaultLimits } from './limits.ts';
import type { DatagramSettings, LookupFunction } from './net-types.ts';
import { unknownAddress } from './stream.ts';

/** The longest datagram: 65,535 less the headers of IPv4 and UDP; IPv6 does not count its own. */
const maxBytes4 = 65_507;
const maxBytes6 = 65_527;

/** Opens the socket of a sink. */
export type HandleOpener = (sink: DatagramSink) => DatagramHandle;

/** Told how opening ended: exactly one of the two. */
export interface Opening {
  opened(endpoint: DatagramEndpoint): void;
  openFailed(error: Error): void;
}

export interface Target {
  /** Null: the connected peer. */
  readonly host: string | null;
  readonly port: number;
  /** To be looked up. */
  readonly named: boolean;
}

const connectedPeer: Target = { host: null, port: 0, named: false };

export abstract class DatagramEndpoint implements DatagramSettings {
  abstract readonly context: CallbackContext | null;
  readonly loop: EventLoop;
  /** @internal */
  readonly handle: DatagramHandle;
  /** @internal */
  readonly lookup: LookupFunction | undefined;
  #opening: Opening | null;
  #closed: boolean;
  #gone: boolean;

  constructor(
    loop: EventLoop,
    lookup: LookupFunction | undefined,
    opening: Opening,
    open: HandleOpener,
  ) {
    this.loop = loop;
    this.lookup = lookup;
    this.#opening = opening;
    this.#closed = false;
    this.#gone = false;
    // No sink is called before this returns.
    this.handle = open(this as unknown as DatagramSink);
  }

  /** `close()` or `abort()` was called. */
  get closing(): boolean {
    return this.#closed;
  }

  /** @internal The socket is closed, or could not be opened. */
  get gone(): boolean {
    return this.#gone;
  }

  get localAddress(): SocketAddress {
    return this.handle.localAddress() ?? unknownAddress;
  }

  get remoteAddress(): SocketAddress | null {
    return this.handle.remoteAddress();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.handle.close();
    this.ended();
  }

  abort(): void {
    if (this.#gone) return;
    const first = !this.#closed;
    this.#closed = true;
    this.handle.abort();
    if (first) this.ended();
  }

  /** Nothing is received or sent any more. */
  protected abstract ended(): void;

  setBroadcast(enable: boolean): void {
    this.#set({ set: 'broadcast', enable: checkFlag('enable', enable) });
  }

  setTTL(hops: number): void {
    this.#set({ set: 'ttl', hops: checkHops(hops) });
  }

  setMulticastTTL(hops: number): void {
    this.#set({ set: 'multicastTtl', hops: checkHops(hops) });
  }

  setMulticastLoopback(enable: boolean): void {
    this.#set({ set: 'multicastLoopback', enable: checkFlag('enable', enable) });
  }

  setMulticastInterface(multicastInterface: string): void {
    const on = checkHost('multicastInterface', multicastInterface);
    this.#set({ set: 'multicastInterface', interface: on });
  }

  addMembership(group: string, multicastInterface?: string): void {
    this.#member('addMembership', group, multicastInterface);
  }

  dropMembership(group: string, multicastInterface?: string): void {
    this.#member('dropMembership', group, multicastInterface);
  }

  #member(set: 'addMembership' | 'dropMembership', group: string, on: string | undefined): void {
    const checked = on === undefined ? undefined : checkHost('multicastInterface', on);
    this.#set({ set, group: checkHost('group', group), interface: checked });
  }

  #set(setting: UdpSetting): void {
    if (this.#closed) throw new ClosedResourceError('The socket was closed');
    const error = this.handle.set(setting);
    if (error !== null) throw error;
  }

  /** Where to send. @throws as `UdpSocket.send` rejects with */
  protected targetOf(to: { host: string; port: number } | undefined): Target {
    const connected = this.remoteAddress !== null;
    if (to === undefined) {
      if (!connected) throw systemErrorByCode('EDESTADDRREQ', 'send');
      return connectedPeer;
    }
    if (typeof to !== 'object' || to === null) throw argTypeError('to', 'a host and a port', to);
    const host = checkHost('to.host', to.host);
    const port = checkRemotePort('to.port', to.port);
    if (connected) throw systemErrorByCode('EISCONN', 'send', host, port);
    const family = isIP(host);
    if (family === 0) return { host, port, named: true };
    return { host: this.addressFor(host, port), port, named: false };
  }

  /** An IP address as this socket can reach it. @throws Error EAFNOSUPPORT */
  protected addressFor(address: string, port: number): string {
    const six = this.localAddress.family === 'IPv6';
    if ((isIP(address) === 6) === six) return address;
    if (six) return `::ffff:${address}`;
    throw systemErrorByCode('EAFNOSUPPORT', 'send', address, port);
  }

  /** Where a name leads. @throws Error EADDRNOTAVAIL: to nothing that this socket can reach */
  protected firstOf(found: readonly { readonly address: string }[], target: Target): string {
    const six = this.localAddress.family === 'IPv6';
    const first = found.find((one) => six || isIP(one.address) === 4);
    if (first !== undefined) return this.addressFor(first.address, target.port);
    throw systemErrorByCode('EADDRNOTAVAIL', 'send', target.host ?? undefined, target.port);
  }

  /** @throws TypeError, Error EMSGSIZE or ERR_UVIO_BUFFER_FULL */
  protected checkSend(data: Data, target: Target): Data {
    const bytes = checkData(data);
    const max = this.localAddress.family === 'IPv6' ? maxBytes6 : maxBytes4;
    if (bytes.length * 3 > max && dataBytes(bytes) > max) {
      throw systemErrorByCode('EMSGSIZE', 'send', target.host ?? undefined, target.port);
    }
    const { maxBufferedBytes } = defaultLimits;
    const buffered = this.overHighWater ? this.handle.bufferedBytes : 0;
    if (buffered > maxBufferedBytes) throw bufferFullError(buffered, maxBufferedBytes);
    return bytes;
  }

  /** The kernel is behind. */
  protected abstract get overHighWater(): boolean;

  /** @internal */
  onOpen(): void {
    const opening = this.#opening;
    this.#opening = null;
    opening?.opened(this);
  }

  /** @internal */
  onOpenError(error: Error): void {
    const opening = this.#opening;
    this.#opening = null;
    this.#closed = true;
    this.#gone = true;
    opening?.openFailed(error);
  }

  /** @internal */
  onClosed(): void {
    this.#opening = null;
    this.#closed = true;
    this.#gone = true;
  }
}

/** A peer's: not 0. @throws RangeError ERR_SOCKET_BAD_PORT */
export function checkRemotePort(name: string, port: unknown): number {
  if (checkPort(name, port) !== 0) return port as number;
  const error = new RangeError(`${name} should be > 0 and < 65536. Received 0.`);
  throw Object.assign(error, { code: 'ERR_SOCKET_BAD_PORT' });
}

export function checkFlag(name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw argTypeError(name, 'a boolean', value);
}

function checkHops(hops: unknown): number {
  if (typeof hops === 'number' && Number.isInteger(hops)) return hops;
  throw argTypeError('hops', 'a whole number', hops);
}
