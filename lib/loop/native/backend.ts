/**
 * The backend over the addon. One for each loop; all loops of a thread share one hub.
 *
 * In: the calls of `Backend`. Out: calls of the addon. Never: anything at import; a sink called
 * from inside a call.
 */
import { statSync, unlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import { systemError, systemErrorByCode } from '../../base/errors.ts';
import { readHeld } from '../../base/read-held.ts';
import type {
  Backend,
  BackendCounters,
  BackendFactory,
  BackendHost,
  ByteParsers,
  ConnectRequest,
  ConnectSink,
  ConnectTcp,
  DatagramHandle,
  DatagramSink,
  ListenerHandle,
  ListenerSink,
  ListenFd,
  ListenTcp,
  ListenUnix,
  LookupDone,
  OpenUdp,
  ServiceDone,
  StreamHandle,
} from '../backend.ts';
import { systemLookup, systemLookupService } from '../system-names.ts';
import type { TlsEngine, TlsSink, TlsStart } from '../tls.ts';
import { loadBinding, type NativeInfo } from './binding.ts';
import { NativeDatagram } from './datagram.ts';
import { type Endpoint, getHub, type NativeHub } from './hub.ts';
import {
  LISTEN_DUPLICATE,
  LISTEN_IPV6_ONLY,
  LISTEN_NO_DELAY,
  LISTEN_PAUSED,
  LISTEN_REUSE_PORT,
} from './layout.ts';
import { NativeConnect, NativeListener } from './listener.ts';
import { NativeStream } from './stream.ts';
import { createTlsEngine } from './tls.ts';

export type { NativeInfo } from './binding.ts';

export interface NativeBackendOptions {
  readonly engine?: 'auto' | 'uv' | 'io_uring';
  /** Busy-polls for that long after activity before the loop sleeps. Microseconds; 0: never. */
  readonly spinMicros?: number;
}

/** What the addon would give here. Tries to load it; never throws. */
export function nativeInfo(): NativeInfo {
  return loadBinding().info;
}

/** The caller has asked `nativeInfo()` before. */
export function createNativeBackend(options: NativeBackendOptions = {}): BackendFactory {
  return (host) => new NativeBackend(getHub(), host, options.spinMicros ?? 0);
}

/** Unlinks the file that a UNIX socket was bound to, unless somebody has put another there. */
function fileRemover(path: string): () => void {
  const bound = statSync(path, { throwIfNoEntry: false });
  return () => {
    const now = statSync(path, { throwIfNoEntry: false });
    if (bound === undefined || now?.ino !== bound.ino || now.dev !== bound.dev) return;
    try {
      unlinkSync(path);
    } catch {
      // Removed meanwhile, or the directory became read-only: the socket is closed all the same.
    }
  };
}

function runTurn(backend: NativeBackend): void {
  backend.turn();
}

export class NativeBackend implements Backend {
  readonly name = 'uv';
  readonly hub: NativeHub;
  readonly host: BackendHost;
  deadlineMs: number = Number.POSITIVE_INFINITY;
  timerRef = false;
  #turnAsked = false;
  /** Endpoints of this loop, until their closed record has come. */
  #live = 0;
  #onEmpty: (() => void) | null = null;

  constructor(hub: NativeHub, host: BackendHost, spinMicros: number) {
    this.hub = hub;
    this.host = host;
    hub.backends.add(this);
    if (spinMicros > 0) hub.binding.setSpin(spinMicros);
  }

  now(): number {
    return performance.now();
  }

  requestTurn(): void {
    if (this.#turnAsked) return;
    this.#turnAsked = true;
    setImmediate(runTurn, this);
  }

  /** @internal */
  turn(): void {
    this.#turnAsked = false;
    this.host.onTurn();
  }

  armTimer(deadlineMs: number): void {
    this.deadlineMs = deadlineMs;
    this.hub.syncTimers();
  }

  setTimerRef(ref: boolean): void {
    this.timerRef = ref;
    this.hub.syncTimers();
  }

  listenTcp(options: ListenTcp, sink: ListenerSink): ListenerHandle {
    const flags =
      (options.reusePort ? LISTEN_REUSE_PORT : 0) |
      (options.ipv6Only ? LISTEN_IPV6_ONLY : 0) |
      (options.noDelay ? LISTEN_NO_DELAY : 0) |
      (options.paused ? LISTEN_PAUSED : 0);
    const { host, port, backlog } = options;
    const id = this.hub.binding.listenTcp(host, port, backlog, flags);
    return this.#listening(id, sink, options.paused, host, port);
  }

  listenUnix(options: ListenUnix, sink: ListenerSink): ListenerHandle {
    const { path, backlog, paused } = options;
    const id = this.hub.binding.listenUnix(path, backlog, paused ? LISTEN_PAUSED : 0);
    const listener = this.#listening(id, sink, paused, path, undefined);
    if (id >= 0 && !path.startsWith('\0')) listener.onClose = fileRemover(path);
    return listener;
  }

  listenFd(options: ListenFd, sink: ListenerSink): ListenerHandle {
    const { fd, paused } = options;
    const flags =
      (options.noDelay ? LISTEN_NO_DELAY : 0) |
      (paused ? LISTEN_PAUSED : 0) |
      (options.duplicate ? LISTEN_DUPLICATE : 0);
    const id = this.hub.binding.listenFd(fd, flags);
    return this.#listening(id, sink, paused, `fd ${fd}`, undefined);
  }

  adoptSocket(socket: number | Socket): StreamHandle {
    if (typeof socket === 'number') {
      return this.#adopted(this.hub.binding.adoptSocket(socket, 0), `fd ${socket}`);
    }
    // Node's own handle is closed; the connection goes on under a second descriptor.
    const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
    const stream = this.#adopted(this.hub.binding.adoptSocket(handle?.fd ?? -1, 1), 'net.Socket');
    const chunk = readHeld(socket);
    socket.destroy();
    if (chunk !== null) stream.unread(chunk);
    return stream;
  }

  adoptPipe(fd: number, writes: boolean): StreamHandle {
    return this.#adopted(this.hub.binding.adoptPipe(fd, writes ? 1 : 0), `fd ${fd}`);
  }

  #adopted(id: number, what: string): NativeStream {
    if (id < 0) throw systemError(id, 'open', what);
    const stream = new NativeStream(this, id);
    this.added(stream);
    return stream;
  }

  watchFd(fd: number, interest: number, onReady: (interest: number) => void): void {
    const { binding, watches } = this.hub;
    const watched = watches.get(fd);
    if (interest === 0) {
      if (watched?.backend !== this) return;
      watches.delete(fd);
      binding.watch(fd, 0);
      return;
    }
    if (watched !== undefined && watched.backend !== this) {
      throw systemErrorByCode('EEXIST', 'watch', `fd ${fd}`);
    }
    const generation = binding.watch(fd, interest);
    if (generation < 0) throw systemError(generation, 'watch', `fd ${fd}`);
    watches.set(fd, { backend: this, generation, onReady });
  }

  #listening(
    id: number,
    sink: ListenerSink,
    paused: boolean,
    host: string,
    port: number | undefined,
  ): NativeListener {
    // A closed listener's calls all answer EBADF, which they ignore: it stands in for a failed one.
    const listener = new NativeListener(this, id, sink, paused);
    if (id < 0) {
      this.#later(() => sink.onListenError(systemError(id, 'listen', host, port)));
      return listener;
    }
    this.added(listener);
    const address = this.hub.address(id, 0);
    this.#later(() => {
      if (address !== null && listener.sink !== null) sink.onListening(address);
    });
    return listener;
  }

  connectTcp(options: ConnectTcp, sink: ConnectSink): ConnectRequest {
    const { host, port, localHost = '', localPort = 0, noDelay } = options;
    const { binding } = this.hub;
    const id = binding.connectTcp(host, port, localHost, localPort, noDelay ? 1 : 0);
    return this.#connecting(id, sink, host, port);
  }

  connectUnix(path: string, sink: ConnectSink): ConnectRequest {
    return this.#connecting(this.hub.binding.connectUnix(path), sink, path, undefined);
  }

  #connecting(
    id: number,
    sink: ConnectSink,
    host: string,
    port: number | undefined,
  ): ConnectRequest {
    if (id >= 0) {
      const request = new NativeConnect(this, id, sink, host, port);
      this.added(request);
      return request;
    }
    let cancelled = false;
    this.#later(() => {
      if (!cancelled) sink.onConnectError(systemError(id, 'connect', host, port));
    });
    return {
      cancel(): void {
        cancelled = true;
      },
    };
  }

  /** Calls back after the present call, in its async context. */
  #later(callback: () => void): void {
    process.nextTick(() => {
      const before = this.host.enter();
      try {
        callback();
      } catch (error) {
        this.host.onError('Exception in an I/O callback', error, undefined);
      } finally {
        this.host.leave(before);
      }
    });
  }

  openUdp(options: OpenUdp, sink: DatagramSink): DatagramHandle {
    const { localHost, localPort, remoteHost, remotePort, reusePort, broadcast } = options;
    const { binding } = this.hub;
    const id = binding.openUdp(localHost, localPort, reusePort ? 1 : 0);
    let error = id < 0 ? systemError(id, 'bind', localHost, localPort) : null;
    const socket = new NativeDatagram(this, id, sink, remoteHost !== undefined);
    if (error === null) {
      this.added(socket);
      if (broadcast) error = socket.set({ set: 'broadcast', enable: true });
    }
    if (error === null && remoteHost !== undefined) {
      const code = binding.connectUdp(id, remoteHost, remotePort);
      if (code < 0) error = systemError(code, 'connect', remoteHost, remotePort);
    }
    if (error !== null) socket.refuse();
    this.#later(() => {
      if (error !== null) sink.onOpenError(error);
      else if (socket.sink !== null) sink.onOpen();
    });
    return socket;
  }

  lookup(hostname: string, family: 0 | 4 | 6, done: LookupDone): () => void {
    return systemLookup(hostname, family, (call) => this.#later(call), done);
  }

  lookupService(address: string, port: number, done: ServiceDone): () => void {
    return systemLookupService(address, port, (call) => this.#later(call), done);
  }

  tlsEngine(start: TlsStart, sink: TlsSink): TlsEngine | null {
    return createTlsEngine(start, sink);
  }

  counters(): BackendCounters {
    let streams = 0;
    let listeners = 0;
    let connecting = 0;
    let datagrams = 0;
    let writeBufferBytes = 0;
    for (const endpoint of this.hub.endpoints) {
      if (endpoint?.backend !== this) continue;
      if (endpoint instanceof NativeStream) {
        streams += 1;
        writeBufferBytes += this.hub.queued[endpoint.id & this.hub.slotMask] as number;
      } else if (endpoint instanceof NativeDatagram) {
        datagrams += 1;
        writeBufferBytes += this.hub.queued[endpoint.id & this.hub.slotMask] as number;
      } else if (endpoint instanceof NativeListener) listeners += 1;
      else if (endpoint.pending) connecting += 1;
    }
    return { streams, listeners, connecting, datagrams, writeBufferBytes };
  }

  close(done: () => void): void {
    for (const endpoint of this.hub.endpoints) {
      if (endpoint?.backend !== this) continue;
      if (endpoint instanceof NativeStream || endpoint instanceof NativeDatagram) endpoint.abort();
      else if (endpoint instanceof NativeListener) endpoint.close();
      else endpoint.cancel();
    }
    for (const [fd, watched] of [...this.hub.watches]) {
      if (watched.backend === this) this.watchFd(fd, 0, watched.onReady);
    }
    this.deadlineMs = Number.POSITIVE_INFINITY;
    this.timerRef = false;
    this.hub.syncTimers();
    this.#onEmpty = () => {
      this.hub.backends.delete(this);
      done();
    };
    if (this.#live === 0) this.#empty();
  }

  #empty(): void {
    const done = this.#onEmpty;
    this.#onEmpty = null;
    if (done !== null) this.#later(done);
  }

  /** @internal */
  added(endpoint: Endpoint): void {
    this.#live += 1;
    this.hub.set(endpoint.id, endpoint);
  }

  get parsers(): ByteParsers {
    return this.hub.parsers;
  }

  /** @internal A connect became a stream under the same id. */
  replace(stream: NativeStream): void {
    this.hub.set(stream.id, stream);
  }

  /** @internal */
  removed(): void {
    this.#live -= 1;
    if (this.#live === 0 && this.#onEmpty !== null) this.#empty();
  }
}
