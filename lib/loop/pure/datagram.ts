/**
 * A datagram socket over node:dgram.
 *
 * In: calls of io. Out: calls of the sink, in its context. Never: a name looked up here; a call of
 * the sink from inside a call that was made here.
 */
import { Buffer } from 'node:buffer';
import { createSocket, type Socket, type SocketOptions } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { notSupportedError, systemErrorByCode } from '../../base/errors.ts';
import {
  callSink,
  type DatagramHandle,
  type DatagramSink,
  type OpenUdp,
  type SocketAddress,
  type UdpSetting,
} from '../backend.ts';
import type { PureBackend } from './backend.ts';
import { reusePortSupported } from './listener.ts';

type SystemError = NodeJS.ErrnoException & { address?: string; port?: number };

/** Addresses come looked up; node:dgram would ask the resolver all the same, and wait for it. */
const noLookup: NonNullable<SocketOptions['lookup']> = (host, _options, done) => {
  done(null, host, isIPv6(host) ? 6 : 4);
};

export class PureDatagram implements DatagramHandle {
  readonly #backend: PureBackend;
  readonly #socket: Socket;
  readonly #connected: boolean;
  #sink: DatagramSink | null;
  #closing = false;
  /** `close()` waits for what is under way. */
  #finishing = false;
  #sending = 0;
  #sendingBytes = 0;
  #drainLowBytes = -1;
  #drainAsked = false;
  #local: SocketAddress | null = null;
  #remote: SocketAddress | null = null;

  constructor(backend: PureBackend, options: OpenUdp, sink: DatagramSink) {
    const { localHost, reusePort, remoteHost } = options;
    this.#backend = backend;
    this.#sink = sink;
    this.#connected = remoteHost !== undefined;
    const type = isIPv6(localHost) ? 'udp6' : 'udp4';
    const supported = !reusePort || reusePortSupported();
    const wanted = { type, lookup: noLookup, ...(reusePort && supported ? { reusePort } : {}) };
    this.#socket = createSocket(wanted as SocketOptions);
    backend.datagrams.add(this);
    this.#socket.on('message', (data, from) => this.#received(data, from));
    this.#socket.on('close', () => this.#gone());
    if (supported) this.#open(options);
    else this.#refuseLater(notSupportedError('bind', 'reusePort needs Node 22.12 or 23.1'));
  }

  /** Both steps answer in this very call, but for a `connect` that succeeds. */
  #open(options: OpenUdp): void {
    const { localHost, localPort, remoteHost, remotePort, broadcast } = options;
    const socket = this.#socket;
    const onError = (error: SystemError): void => this.#refuseLater(asNative(error));
    socket.on('error', onError);
    const opened = (): void => {
      socket.off('error', onError);
      socket.on('error', (error) => this.#failed(asNative(error)));
      this.#call((sink) => sink.onOpen());
    };
    socket.once('listening', () => {
      if (broadcast) socket.setBroadcast(true);
      if (remoteHost === undefined) process.nextTick(opened);
      else {
        socket.connect(remotePort, remoteHost, (error?: SystemError) => {
          if (error instanceof Error) onError(error);
          else opened();
        });
      }
    });
    socket.bind({ address: localHost, port: localPort });
  }

  #refuseLater(error: Error): void {
    const sink = this.#sink;
    this.#sink = null;
    process.nextTick(() => {
      this.abort();
      if (sink !== null) this.#backend.callOut(() => sink.onOpenError(error));
    });
  }

  // No descriptor: Node tells none of a datagram socket.
  get fd(): null {
    return null;
  }

  get bufferedBytes(): number {
    return this.#closing ? 0 : this.#queuedBytes();
  }

  send(data: string | Uint8Array, host: string | null, port: number): number {
    if (this.#closing || this.#finishing) return 0;
    // A copy: what the kernel does not take at once would be read later.
    const bytes = Buffer.from(data as Uint8Array);
    const socket = this.#socket;
    const done = (error: SystemError | null): void => this.#sent(error, bytes.length);
    this.#sending++;
    this.#sendingBytes += bytes.length;
    try {
      if (host === null) socket.send(bytes, 0, bytes.length, done);
      else socket.send(bytes, 0, bytes.length, port, host, done);
    } catch (error) {
      process.nextTick(done, error);
    }
    return this.#queuedBytes();
  }

  /** Deno's sockets cannot tell: there a datagram counts until its callback. */
  #queuedBytes(): number {
    const socket = this.#socket as { getSendQueueSize?: () => number };
    return socket.getSendQueueSize?.() ?? this.#sendingBytes;
  }

  #sent(error: SystemError | null, bytes: number): void {
    this.#sending--;
    this.#sendingBytes -= bytes;
    if (error) this.#failed(asNative(error));
    this.#checkDrain();
    if (this.#finishing && this.#sending === 0) this.abort();
  }

  notifyDrain(lowBytes: number): void {
    this.#drainLowBytes = lowBytes;
    if (this.#drainAsked) return;
    this.#drainAsked = true;
    process.nextTick(() => {
      this.#drainAsked = false;
      this.#checkDrain();
    });
  }

  #checkDrain(): void {
    if (this.#drainLowBytes < 0 || this.bufferedBytes > this.#drainLowBytes) return;
    this.#drainLowBytes = -1;
    this.#call((sink) => sink.onDrain());
  }

  set(setting: UdpSetting): Error | null {
    if (this.#closing) return systemErrorByCode('EBADF', setting.set);
    try {
      apply(this.#socket, setting);
      return null;
    } catch (error) {
      return systemErrorByCode((error as SystemError).code ?? 'EINVAL', setting.set);
    }
  }

  close(): void {
    if (this.#closing || this.#finishing) return;
    this.#finishing = true;
    if (this.#sending === 0) this.abort();
  }

  abort(): void {
    if (this.#closing) return;
    this.localAddress();
    this.remoteAddress();
    this.#closing = true;
    this.#socket.close();
  }

  ref(): void {
    if (!this.#closing) this.#socket.ref();
  }

  unref(): void {
    if (!this.#closing) this.#socket.unref();
  }

  localAddress(): SocketAddress | null {
    if (!this.#closing) this.#local ??= addressOf(() => this.#socket.address());
    return this.#local;
  }

  remoteAddress(): SocketAddress | null {
    if (this.#connected && !this.#closing) {
      this.#remote ??= addressOf(() => this.#socket.remoteAddress());
    }
    return this.#remote;
  }

  #received(data: Buffer, from: { address: string; port: number; family: string }): void {
    const { address, port, family } = from;
    const peer = Object.freeze({ address, port, family: family === 'IPv6' ? 'IPv6' : 'IPv4' });
    this.#call((sink) => sink.onDatagram(data, peer as SocketAddress));
  }

  #failed(error: Error): void {
    this.#call((sink) => sink.onError(error));
  }

  #gone(): void {
    this.#backend.datagrams.delete(this);
    const sink = this.#sink;
    this.#sink = null;
    if (sink !== null) callSink(this.#backend.host, sink, () => sink.onClosed(), sink);
    this.#backend.streamGone();
  }

  #call(tell: (sink: DatagramSink) => void): void {
    const sink = this.#sink;
    if (sink === null || this.#closing || this.#finishing) return;
    callSink(this.#backend.host, sink, tell, sink);
  }
}

function apply(socket: Socket, setting: UdpSetting): void {
  switch (setting.set) {
    case 'broadcast':
      socket.setBroadcast(setting.enable);
      break;
    case 'ttl':
      socket.setTTL(setting.hops);
      break;
    case 'multicastTtl':
      socket.setMulticastTTL(setting.hops);
      break;
    case 'multicastLoopback':
      socket.setMulticastLoopback(setting.enable);
      break;
    case 'multicastInterface':
      socket.setMulticastInterface(setting.interface);
      break;
    case 'addMembership':
      socket.addMembership(setting.group, setting.interface);
      break;
    case 'dropMembership':
      socket.dropMembership(setting.group, setting.interface);
      break;
  }
}

function addressOf(
  ask: () => { address: string; port: number; family: string },
): SocketAddress | null {
  try {
    const { address, port, family } = ask();
    return { address, port, family: family === 'IPv6' ? 'IPv6' : 'IPv4' };
  } catch {
    return null;
  }
}

/** The same words for it on every policy. */
function asNative(error: SystemError): SystemError {
  const { code, syscall = 'send', address, port } = error;
  if (code === undefined || error.errno === undefined) return error;
  return systemErrorByCode(code, syscall, address, port);
}
