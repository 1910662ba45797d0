/**
 * The loop's methods for protocols: asyncio's layer below connections.
 *
 * In: protocol factories. Out: transports and servers. Never: exports; it adds to EventLoop.
 */
import { EventLoop } from '../loop/event-loop.ts';
import { captureContext } from './callback-context.ts';
import { connectTcp, connectUnix, type StreamMaker } from './connect.ts';
import { openTransport as openDatagramTransport } from './datagram-transport.ts';
import { defaultLimits, makeLimits } from './limits.ts';
import { checkListen, checkListenUnix } from './listen.ts';
import type {
  ConnectOptions,
  ListenOptions,
  Server,
  StartTlsOptions,
  UdpOptions,
  UnixConnectOptions,
  UnixListenOptions,
} from './net-types.ts';
import {
  checkFactory,
  openTransport,
  type ProtocolFactory,
  ProtocolServer,
} from './protocol-server.ts';
import type {
  DatagramProtocol,
  DatagramTransport,
  StreamProtocol,
  Transport,
} from './protocols.ts';
import { openServer } from './start-server.ts';
import { startTls } from './tls/start-tls.ts';

declare module '../loop/event-loop.ts' {
  interface EventLoop {
    /**
     * Connects, then makes the protocol and calls its `connectionMade`. Callbacks run without a
     * current task, in the caller's context variables. Errors and cancellation as
     * `openConnection`. (asyncio: loop.create_connection)
     */
    createConnection<P extends StreamProtocol>(
      factory: () => P,
      options: ConnectOptions,
    ): Promise<[Transport, P]>;
    /** One protocol per connection. Errors as `startServer`. (asyncio: loop.create_server) */
    createServer(factory: () => StreamProtocol, options?: ListenOptions): Promise<Server>;
    createUnixConnection<P extends StreamProtocol>(
      factory: () => P,
      path: string,
      options?: UnixConnectOptions,
    ): Promise<[Transport, P]>;
    createUnixServer(
      factory: () => StreamProtocol,
      path: string,
      options?: UnixListenOptions,
    ): Promise<Server>;
    /**
     * Opens a datagram socket, then makes the protocol and calls its `connectionMade`. Callbacks
     * run without a current task, in the caller's context variables; one that throws is reported,
     * and the socket goes on. Errors and cancellation as `openUdpSocket`.
     * (asyncio: loop.create_datagram_endpoint)
     */
    createDatagramEndpoint<P extends DatagramProtocol>(
      factory: () => P,
      options: UdpOptions,
    ): Promise<[DatagramTransport, P]>;
    /**
     * Turns the connection of `transport` into a TLS one, with a transport of its own; the old one
     * must not be used any more. `protocol` may be the one it has: its `connectionMade` is not
     * called again, and its `connectionLost` is, also when the handshake fails. As a client it
     * needs `servername`. Rejects as `openConnection` with `tls`; ClosedResourceError; cancelled,
     * the connection is aborted. (asyncio: loop.start_tls)
     */
    startTls(
      transport: Transport,
      protocol: StreamProtocol,
      options: StartTlsOptions,
    ): Promise<Transport>;
  }
}

function transportMaker<P extends StreamProtocol>(
  loop: EventLoop,
  factory: ProtocolFactory<P>,
  options: ConnectOptions | UnixConnectOptions | undefined,
): StreamMaker<[Transport, P]> {
  checkFactory(factory);
  const limits = options === undefined ? defaultLimits : makeLimits(options);
  const context = captureContext(loop);
  return (stream) => openTransport(loop, stream, limits, context, factory);
}

EventLoop.prototype.createConnection = async function <P extends StreamProtocol>(
  this: EventLoop,
  factory: () => P,
  options: ConnectOptions,
): Promise<[Transport, P]> {
  return connectTcp(this, options, transportMaker(this, factory, options ?? undefined));
};

EventLoop.prototype.createUnixConnection = async function <P extends StreamProtocol>(
  this: EventLoop,
  factory: () => P,
  path: string,
  options: UnixConnectOptions = {},
): Promise<[Transport, P]> {
  return connectUnix(this, path, options, transportMaker(this, factory, options));
};

EventLoop.prototype.createServer = async function (
  this: EventLoop,
  factory: () => StreamProtocol,
  options: ListenOptions = {},
): Promise<Server> {
  const plan = checkListen(this, options);
  const limits = makeLimits(options);
  return openServer(new ProtocolServer(this, limits, plan.maxConnections, factory), plan);
};

EventLoop.prototype.createUnixServer = async function (
  this: EventLoop,
  factory: () => StreamProtocol,
  path: string,
  options: UnixListenOptions = {},
): Promise<Server> {
  const plan = checkListenUnix(this, path, options);
  const limits = makeLimits(options);
  return openServer(new ProtocolServer(this, limits, plan.maxConnections, factory), plan);
};

EventLoop.prototype.createDatagramEndpoint = async function <P extends DatagramProtocol>(
  this: EventLoop,
  factory: () => P,
  options: UdpOptions,
): Promise<[DatagramTransport, P]> {
  checkFactory(factory);
  return openDatagramTransport(this, factory, options);
};

EventLoop.prototype.startTls = async function (
  this: EventLoop,
  transport: Transport,
  protocol: StreamProtocol,
  options: StartTlsOptions,
): Promise<Transport> {
  return startTls(this, transport, protocol, options);
};
