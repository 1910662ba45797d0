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
import { checkSignal, takeCancellation, Waiter } from '../task/waiter.ts';
import { captureContext } from './callback-context.ts';
import { defaultLimits } from './limits.ts';
import type { TlsServerOptions, TlsTimes } from './net-types.ts';
import { checkFactory, openTransport, type ProtocolFactory } from './protocol-server.ts';
import type { BaseProtocol, Protocol, StreamProtocol, Transport } from './protocols.ts';
import { inertSink } from './stream.ts';
import { planServer, type TlsPlan } from './tls/plan.ts';
import { type HandshakeOwner, TlsStream } from './tls/stream.ts';
import { StreamTransport } from './transport.ts';

/** Of `connectAcceptedSocket`. */
export interface AcceptedSocketOptions extends WaitOptions, TlsTimes {
  /** The peer is the client of a handshake, which comes before the protocol is made. */
  readonly tls?: TlsServerOptions | undefined;
}

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
  const context = captureContext(loop);
  const make = factory as unknown as ProtocolFactory<StreamProtocol & P>;
  return openTransport(loop, handle, defaultLimits, context, make, undefined, Transport);
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

/** The handshake of an adopted socket: as a server, of which nobody knows before it is done. */
class AcceptedHandshake<P extends StreamProtocol>
  extends Waiter<[Transport, P]>
  implements HandshakeOwner
{
  readonly #make: (stream: StreamHandle) => [Transport, P];
  stream: TlsStream | null = null;

  constructor(make: (stream: StreamHandle) => [Transport, P]) {
    super('connectAcceptedSocket');
    this.#make = make;
  }

  secured(stream: TlsStream): void {
    try {
      this.wake(this.#make(stream));
    } catch (error) {
      this.fail(error);
    }
  }

  failed(_stream: TlsStream, error: Error): void {
    this.fail(error);
  }

  gone(): void {}

  override onCancel(): void {
    this.stream?.abort();
  }
}

function checkSocket(socket: unknown): void {
  if (socket instanceof Socket) checkNodeSocket(socket);
  else if (typeof socket === 'number') checkInteger('socket', socket, 0, 2 ** 31 - 1);
  else throw argTypeError('socket', 'a descriptor or a net.Socket', socket);
}

/** @throws before the socket is taken: bad arguments, cancelled, ENOTSUP */
export function adoptSocket<P extends StreamProtocol>(
  loop: EventLoop,
  factory: () => P,
  socket: number | Socket,
  options: AcceptedSocketOptions,
): [Transport, P] | Promise<[Transport, P]> {
  checkCall(loop, factory);
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'an object', options);
  }
  const { tls } = options;
  const plan = tls === undefined || tls === null ? null : planServer(loop, tls, options);
  checkSocket(socket);
  const cancelled = takeCancellation();
  if (cancelled !== null) throw cancelled;
  checkSignal(options);
  const backend = loop.backendHandle;
  if (backend.adoptSocket === undefined) throw unsupported(loop);
  const context = captureContext(loop);
  const make = (stream: StreamHandle): [Transport, P] =>
    openTransport(loop, stream, defaultLimits, context, factory);
  if (plan === null) return make(backend.adoptSocket(socket));
  const handshake = new AcceptedHandshake(make);
  const promise = handshake.start(options);
  if (!handshake.active) return promise;
  beginHandshake(loop, handshake, plan, () => backend.adoptSocket?.(socket) as StreamHandle);
  return promise;
}

function beginHandshake<P extends StreamProtocol>(
  loop: EventLoop,
  handshake: AcceptedHandshake<P>,
  plan: TlsPlan,
  adopt: () => StreamHandle,
): void {
  let carrier: StreamHandle | null = null;
  try {
    carrier = adopt();
    handshake.stream = new TlsStream(loop, carrier, plan, handshake);
    handshake.stream.begin();
  } catch (error) {
    if (carrier !== null) {
      carrier.sink = inertSink;
      carrier.abort();
    }
    handshake.fail(error);
  }
}
