/**
 * Listening sockets and outgoing connections over node:net.
 *
 * In: addresses. Out: streams for the sink. Never: names to look up.
 *
 * What node:net cannot do: when the process is out of descriptors (EMFILE), libuv accepts and
 * closes waiting connections without telling anybody, so `onAcceptError` never comes here and
 * those clients see a closed connection. `native()` keeps them in the backlog. Nor can accepting
 * be paused: connections that come meanwhile are accepted and held, unread, until `resume()`.
 */
import { existsSync } from 'node:fs';
import * as net from 'node:net';
import { dirname } from 'node:path';
import { notSupportedError, systemErrorByCode } from '../../base/errors.ts';
import type {
  ConnectRequest,
  ConnectSink,
  ConnectTcp,
  ListenerHandle,
  ListenerSink,
  ListenTcp,
  ListenUnix,
  SocketAddress,
} from '../backend.ts';
import type { PureBackend } from './backend.ts';
import { listeningPath } from './descriptors.ts';
import { slabReads, slabSocket } from './slab.ts';
import { onRead, PureStream } from './stream.ts';

/** What fits `sockaddr_un.sun_path` with its final zero. */
const maxUnixPathBytes = process.platform === 'linux' ? 107 : 103;

/** Null, or the error of a path that the system would cut off or refuse. */
function checkUnixPath(path: string, syscall: string): Error | null {
  if (path === '') return systemErrorByCode('EINVAL', syscall, path);
  // Node would run into an assertion or a shorter name.
  if (path.includes('\0', 1)) return systemErrorByCode('EINVAL', syscall, path);
  if (Buffer.byteLength(path) <= maxUnixPathBytes) return null;
  return systemErrorByCode('ENAMETOOLONG', syscall, path);
}

/** libuv calls a folder that does not exist EACCES, as Windows does. */
function unixListenError(error: Error, path: string): Error {
  if ((error as NodeJS.ErrnoException).code !== 'EACCES' || path.startsWith('\0')) return error;
  return existsSync(dirname(path)) ? error : systemErrorByCode('ENOENT', 'listen', path);
}

/** `reusePort` came with Node 22.12 and 23.1. */
export function reusePortSupported(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
}

/** What is used of node:net's own; `onconnection` is how libuv's binding tells of a connection. */
interface AcceptingHandle {
  onconnection?: (this: unknown, error: number, client: object | undefined) => void;
}

export class PureListener implements ListenerHandle {
  readonly #backend: PureBackend;
  readonly #sink: ListenerSink;
  readonly #server: net.Server;
  readonly #noDelay: boolean;
  #unixPath: string | undefined;
  #held: PureStream[] = [];
  #paused: boolean;
  #listening = false;
  #closed = false;

  constructor(
    backend: PureBackend,
    sink: ListenerSink,
    options: net.ListenOptions,
    noDelay: boolean,
    paused: boolean,
    refused: Error | null = listenRefused(options),
  ) {
    this.#backend = backend;
    this.#sink = sink;
    this.#unixPath = options.path;
    this.#paused = paused;
    this.#noDelay = noDelay;
    this.#server = net.createServer({ allowHalfOpen: true, noDelay });
    backend.listeners.add(this);
    this.#server.on('connection', (socket) => this.#accepted(socket, false));
    this.#server.on('error', (error) => this.#failed(error));
    this.#server.on('listening', () => this.#bound());
    if (refused === null) this.#server.listen(options);
    else process.nextTick(() => this.#failed(refused));
  }

  get fd(): number | null {
    const { _handle: handle } = this.#server as unknown as { _handle?: { fd?: number } | null };
    const fd = handle?.fd;
    return fd === undefined || fd < 0 ? null : fd;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    if (this.#held.length > 0) setImmediate(() => this.#replay());
  }

  ref(): void {
    this.#server.ref();
  }

  unref(): void {
    this.#server.unref();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const stream of this.#held) stream.abort();
    this.#held = [];
    // Its callback waits for all connections; the socket itself is closed at once.
    this.#server.close();
    setImmediate(() => this.#gone(() => this.#sink.onListenerClosed()));
  }

  #gone(last: () => void): void {
    if (!this.#backend.listeners.delete(this)) return;
    this.#backend.callOut(last);
    this.#backend.streamGone();
  }

  #failed(error: Error): void {
    if (this.#closed) return;
    if (this.#listening) {
      this.#backend.callOut(() => this.#sink.onAcceptError(error));
      return;
    }
    this.#closed = true;
    const path = this.#unixPath;
    const told = path === undefined ? error : unixListenError(error, path);
    this.#gone(() => this.#sink.onListenError(told));
  }

  #bound(): void {
    if (this.#closed) return;
    this.#listening = true;
    this.#takeHandles();
    // An inherited one may be either: Node knows the addresses of TCP only.
    if (this.#server.address() === null) this.#unixPath = listeningPath(this.fd ?? -1);
    const address = serverAddress(this.#server, this.#unixPath);
    this.#backend.callOut(() => this.#sink.onListening(address));
  }

  /** Accepted handles become sockets over the slab, which node:net's server does not make. */
  #takeHandles(): void {
    const { _handle: handle } = this.#server as unknown as { _handle?: AcceptingHandle | null };
    const accept = handle?.onconnection;
    if (!slabReads || !handle || typeof accept !== 'function') return;
    handle.onconnection = (error, client): void => {
      if (client === undefined) {
        accept.call(handle, error, client);
        return;
      }
      const socket = slabSocket(client, onRead);
      if (this.#noDelay) socket.setNoDelay(true);
      this.#accepted(socket, true);
    };
  }

  #accepted(socket: net.Socket, slabbed: boolean): void {
    const remote = this.#unixPath === undefined ? undefined : '';
    const stream = new PureStream(this.#backend, socket, slabbed, this.#unixPath, remote);
    if (this.#closed) {
      stream.abort();
    } else if (this.#paused) {
      stream.pause();
      this.#held.push(stream);
    } else {
      this.#report(stream);
    }
  }

  #report(stream: PureStream): void {
    const taken = this.#backend.callOut(() => this.#sink.onConnection(stream));
    if (!taken || stream.sink === null) stream.abort();
  }

  #replay(): void {
    while (!this.#paused && !this.#closed) {
      const stream = this.#held.shift();
      if (stream === undefined) return;
      if (stream.error !== undefined) continue;
      // First resumed, so that the sink can pause it again.
      stream.resume();
      this.#report(stream);
    }
  }
}

function listenRefused(options: net.ListenOptions): Error | null {
  if (options.path !== undefined) return checkUnixPath(options.path, 'listen');
  if (options.reusePort && !reusePortSupported()) {
    return notSupportedError('listen', 'reusePort needs Node 22.12 or 23.1');
  }
  return null;
}

function serverAddress(server: net.Server, unixPath: string | undefined): SocketAddress {
  if (unixPath !== undefined) return { address: unixPath, port: 0, family: 'unix' };
  const { address, port, family } = server.address() as net.AddressInfo;
  return { address, port, family: family === 'IPv6' ? 'IPv6' : 'IPv4' };
}

export function tcpListenOptions(options: ListenTcp): net.ListenOptions {
  const { host, port, backlog, ipv6Only, reusePort } = options;
  return reusePort
    ? { host, port, backlog, ipv6Only, reusePort }
    : { host, port, backlog, ipv6Only };
}

export function unixListenOptions(options: ListenUnix): net.ListenOptions {
  return { path: options.path, backlog: options.backlog };
}

export class PureConnect implements ConnectRequest {
  readonly #backend: PureBackend;
  readonly #sink: ConnectSink;
  readonly #unixPath: string | undefined;
  #socket: net.Socket | undefined;
  #over = false;

  constructor(backend: PureBackend, sink: ConnectSink, target: ConnectTcp | string) {
    this.#backend = backend;
    this.#sink = sink;
    backend.connecting.add(this);
    this.#unixPath = typeof target === 'string' ? target : undefined;
    const refused = this.#unixPath === undefined ? null : checkUnixPath(this.#unixPath, 'connect');
    if (refused !== null) {
      process.nextTick(() => this.#failed(refused));
      return;
    }
    const socket = net.connect(connectOptions(target));
    this.#socket = socket;
    // Not removed later: an error after a cancelled connect must not end the process.
    socket.on('error', (error) => this.#failed(error));
    socket.once('connect', () => this.#connected(socket));
  }

  cancel(): void {
    if (!this.#end()) return;
    this.#socket?.destroy();
  }

  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#backend.connecting.delete(this);
    this.#backend.streamGone();
    return true;
  }

  #failed(error: Error): void {
    if (this.#end()) this.#backend.callOut(() => this.#sink.onConnectError(error));
  }

  #connected(socket: net.Socket): void {
    if (this.#over) return;
    const local = this.#unixPath === undefined ? undefined : '';
    // Before `#end`: a closing backend must see the one or the other.
    const stream = new PureStream(this.#backend, socket, slabReads, local, this.#unixPath);
    this.#end();
    const taken = this.#backend.callOut(() => this.#sink.onConnect(stream));
    if (!taken || stream.sink === null) stream.abort();
  }
}

function connectOptions(target: ConnectTcp | string): net.NetConnectOpts {
  const shared = slabReads ? { allowHalfOpen: true, onread: onRead } : { allowHalfOpen: true };
  if (typeof target === 'string') return { path: target, ...shared };
  const { host, port, noDelay, localHost, localPort } = target;
  const options: net.TcpNetConnectOpts = { host, port, noDelay, ...shared };
  if (localHost !== undefined) options.localAddress = localHost;
  if (localPort !== undefined) options.localPort = localPort;
  return options;
}
