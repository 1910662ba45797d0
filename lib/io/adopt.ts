/**
 * Transports over descriptors that somebody else has opened: accepted sockets, ends of pipes, ttys.
 *
 * In: a number, or a node:net socket. Out: a transport that owns it. Never: a descriptor closed
 * that was refused.
 */
import { Socket } from 'node:net';
import {
  argTypeError,
  InvalidStateError,
  notSupportedError,
  systemErrorByCode,
  type WaitOptions,
} from '../base/errors.ts';
import { checkInteger } from '../base/units.ts';
import type { StreamHandle } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { checkSignal, takeCancellation } from '../task/waiter.ts';
import { captureContext } from './callback-context.ts';
import { defaultLimits } from './limits.ts';
import { checkFactory, openTransport, type ProtocolFactory } from './protocol-server.ts';
import type { BaseProtocol, Protocol, StreamProtocol } from './protocols.ts';
import { StreamTransport } from './transport.ts';

/** The end of a pipe that is read. (asyncio.ReadTransport) */
class ReadPipeTransport extends StreamTransport {
  override get canWriteEof(): boolean {
    return false;
  }

  /** @throws Error EBADF: this end cannot be written. */
  override write(): boolean {
    throw systemErrorByCode('EBADF', 'write');
  }

  override writeEof(): void {
    throw systemErrorByCode('EBADF', 'write');
  }

  /** There is no other half to be kept open. @internal */
  override onEof(): void {
    super.onEof();
    this.close();
  }
}

/** The end of a pipe that is written; its protocol receives nothing. (asyncio.WriteTransport) */
class WritePipeTransport extends StreamTransport {
  #own: BaseProtocol = {};
  readonly #adapter: Protocol = {
    dataReceived: (): void => {},
    connectionMade: (): void => this.#own.connectionMade?.(this),
    connectionLost: (error): void => this.#own.connectionLost?.(error),
    pauseWriting: (): void => this.#own.pauseWriting?.(),
    resumeWriting: (): void => this.#own.resumeWriting?.(),
  };

  override get protocol(): StreamProtocol {
    return this.#own as StreamProtocol;
  }

  override set protocol(protocol: BaseProtocol) {
    if (typeof protocol !== 'object' || protocol === null) {
      throw argTypeError('protocol', 'an object', protocol);
    }
    this.#own = protocol;
    super.protocol = this.#adapter;
  }

  /** There is one half only: its end is the end of the pipe. */
  override writeEof(): void {
    super.writeEof();
    this.close();
  }
}

/** For loops whose backend has no descriptors: the simulated one. */
function unsupported(loop: EventLoop): Error {
  return notSupportedError('open', `the ${loop.backend} backend has no descriptors`);
}

function checkCall(loop: EventLoop, factory: unknown): void {
  checkFactory(factory);
  if (loop.closed) throw new InvalidStateError('The loop is closed');
}

export function adoptPipe<P extends BaseProtocol>(
  loop: EventLoop,
  factory: () => P,
  fd: number,
  writes: boolean,
): [StreamTransport, P] {
  checkCall(loop, factory);
  checkInteger('fd', fd, 0, 2 ** 31 - 1);
  const backend = loop.backendHandle;
  if (backend.adoptPipe === undefined) throw unsupported(loop);
  const handle = backend.adoptPipe(fd, writes);
  const Transport = writes ? WritePipeTransport : ReadPipeTransport;
  return open(loop, handle, factory as unknown as ProtocolFactory, Transport) as [
    StreamTransport,
    StreamProtocol & P,
  ];
}

function open<P extends StreamProtocol>(
  loop: EventLoop,
  handle: StreamHandle,
  factory: ProtocolFactory<P>,
  Transport: typeof StreamTransport,
): [StreamTransport, P] {
  const context = captureContext(loop);
  return openTransport(loop, handle, defaultLimits, context, factory, undefined, Transport);
}

/** What Node still has to do with a socket would be lost, or come twice. */
function checkNodeSocket(socket: Socket): void {
  if ((socket as { encrypted?: boolean }).encrypted) {
    throw notSupportedError('open', 'a TLS socket cannot be taken over');
  }
  if (socket.destroyed || socket.connecting || socket.pending) {
    throw systemErrorByCode('ENOTCONN', 'open', 'net.Socket');
  }
  if (socket.writableLength > 0 || socket.writableEnded) {
    throw new InvalidStateError('The socket has data to write, or was ended');
  }
}

export function adoptSocket<P extends StreamProtocol>(
  loop: EventLoop,
  factory: () => P,
  socket: number | Socket,
  options: WaitOptions & { tls?: unknown },
): [StreamTransport, P] {
  checkCall(loop, factory);
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'an object', options);
  }
  const { tls } = options;
  if (tls !== undefined && tls !== false && tls !== null) {
    throw notSupportedError('open', 'adopt the socket without, then call loop.startTls()');
  }
  if (socket instanceof Socket) checkNodeSocket(socket);
  else if (typeof socket === 'number') checkInteger('socket', socket, 0, 2 ** 31 - 1);
  else throw argTypeError('socket', 'a descriptor or a net.Socket', socket);
  const cancelled = takeCancellation();
  if (cancelled !== null) throw cancelled;
  checkSignal(options);
  const backend = loop.backendHandle;
  if (backend.adoptSocket === undefined) throw unsupported(loop);
  return open(loop, backend.adoptSocket(socket), factory, StreamTransport);
}
