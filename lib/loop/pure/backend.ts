/**
 * The backend over Node's own modules: no compiler needed, and the reference for behaviour.
 *
 * In: the loop's calls. Out: node:net, node:dgram, setImmediate, one setTimeout. Never: tasks.
 */
import type { ListenOptions, Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { InvalidStateError, notSupportedError } from '../../base/errors.ts';
import type {
  Backend,
  BackendCounters,
  BackendFactory,
  BackendHost,
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
import { PureDatagram } from './datagram.ts';
import { listeningRefused, openPipe, openSocket } from './descriptors.ts';
import { PureConnect, PureListener, tcpListenOptions, unixListenOptions } from './listener.ts';
import { PureStream } from './stream.ts';
import { PureTimer } from './timer.ts';

export const createPureBackend: BackendFactory = (host) => new PureBackend(host);

/** node:net tells no paths of UNIX sockets, nor that it is one. */
function unixPaths(socket: Socket): [] | [local: string, remote: string] {
  return socket.remoteAddress === undefined ? ['', ''] : [];
}

export class PureBackend implements Backend {
  readonly name = 'pure' as const;
  /** @internal */
  readonly host: BackendHost;
  /** @internal */
  readonly streams: Set<PureStream> = new Set();
  /** @internal */
  readonly listeners: Set<ListenerHandle> = new Set();
  /** @internal */
  readonly connecting: Set<ConnectRequest> = new Set();
  /** @internal */
  readonly datagrams: Set<DatagramHandle> = new Set();
  /**
   * Held only to keep its memory in use. Node reads into 64 KiB of malloc's each, which a garbage
   * collection frees by the megabytes: with nothing in use at its end, glibc gives the heap back
   * to the kernel, and each page of it is faulted in again. The last chunk is mostly at that end.
   * Without it 64 KiB messages cost twice the CPU.
   * @internal
   */
  lastChunk: Uint8Array | null = null;
  readonly #timer: PureTimer;
  readonly #onTurn: () => void;
  #turnAsked: NodeJS.Immediate | undefined;
  #closing = false;
  #closed: (() => void) | undefined;

  constructor(host: BackendHost) {
    this.host = host;
    this.#timer = new PureTimer(() => host.onTimers());
    this.#onTurn = (): void => {
      this.#turnAsked = undefined;
      host.onTurn();
    };
  }

  now(): number {
    return performance.now();
  }

  requestTurn(): void {
    if (!this.#closing) this.#turnAsked ??= setImmediate(this.#onTurn);
  }

  armTimer(deadlineMs: number): void {
    if (!this.#closing) this.#timer.arm(deadlineMs);
  }

  setTimerRef(ref: boolean): void {
    this.#timer.setRef(ref);
  }

  listenTcp(options: ListenTcp, sink: ListenerSink): ListenerHandle {
    const { noDelay, paused } = options;
    return new PureListener(this, sink, tcpListenOptions(options), noDelay, paused);
  }

  listenUnix(options: ListenUnix, sink: ListenerSink): ListenerHandle {
    return new PureListener(this, sink, unixListenOptions(options), false, options.paused);
  }

  listenFd(options: ListenFd, sink: ListenerSink): ListenerHandle {
    const { fd, backlog, noDelay, paused } = options;
    if (options.duplicate) {
      throw notSupportedError('listen', 'threads share sockets other than TCP only on native()');
    }
    const refused = listeningRefused(fd);
    // Node's types do not know `fd`, its documentation does.
    const listen = { fd, backlog } as ListenOptions;
    return new PureListener(this, sink, listen, noDelay, paused, refused);
  }

  adoptSocket(given: number | Socket): StreamHandle {
    const socket = typeof given === 'number' ? openSocket(given) : given;
    socket.allowHalfOpen = true;
    const stream = new PureStream(this, socket, false, ...unixPaths(socket));
    socket.resume();
    return stream;
  }

  adoptPipe(fd: number, writes: boolean): StreamHandle {
    return new PureStream(this, openPipe(fd, writes), false, '', '');
  }

  connectTcp(options: ConnectTcp, sink: ConnectSink): ConnectRequest {
    return new PureConnect(this, sink, options);
  }

  connectUnix(path: string, sink: ConnectSink): ConnectRequest {
    return new PureConnect(this, sink, path);
  }

  openUdp(options: OpenUdp, sink: DatagramSink): DatagramHandle {
    return new PureDatagram(this, options, sink);
  }

  lookup(hostname: string, family: 0 | 4 | 6, done: LookupDone): () => void {
    return systemLookup(hostname, family, (call) => this.callOut(call), done);
  }

  lookupService(address: string, port: number, done: ServiceDone): () => void {
    return systemLookupService(address, port, (call) => this.callOut(call), done);
  }

  counters(): BackendCounters {
    let writeBufferBytes = 0;
    for (const stream of this.streams) writeBufferBytes += stream.bufferedBytes;
    for (const socket of this.datagrams) writeBufferBytes += socket.bufferedBytes;
    return {
      streams: this.streams.size,
      listeners: this.listeners.size,
      connecting: this.connecting.size,
      datagrams: this.datagrams.size,
      writeBufferBytes,
    };
  }

  close(done: () => void): void {
    if (this.#closing) throw new InvalidStateError('The backend was closed before');
    this.#timer.arm(Infinity);
    clearImmediate(this.#turnAsked);
    this.#closing = true;
    this.lastChunk = null;
    for (const request of [...this.connecting]) request.cancel();
    for (const listener of [...this.listeners]) listener.close();
    for (const stream of [...this.streams]) stream.abort();
    for (const socket of [...this.datagrams]) socket.abort();
    this.#closed = done;
    this.streamGone();
  }

  /** Something ended: was it the last? @internal */
  streamGone(): void {
    if (this.#closed === undefined) return;
    if (this.streams.size + this.listeners.size > 0) return;
    if (this.connecting.size + this.datagrams.size > 0) return;
    setImmediate(this.#closed);
    this.#closed = undefined;
  }

  /** Calls a sink that is not a stream's; false when it threw. @internal */
  callOut(call: () => void): boolean {
    const before = this.host.enter();
    try {
      call();
      return true;
    } catch (error) {
      this.host.onError('Exception in an I/O callback', error, undefined);
      return false;
    } finally {
      this.host.leave(before);
    }
  }
}
