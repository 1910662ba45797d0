/**
 * Making servers.
 *
 * In: a handler or a factory, and where to listen. Out: servers that listen. Never: a server half
 * made after an error or a cancellation.
 */

import { currentLoop } from '../task/frame.ts';
import { unixAddress } from './addresses.ts';
import { HandlerServer } from './handler-server.ts';
import { makeLimits } from './limits.ts';
import { checkListen, checkListenUnix, type ListenPlan, listenTcp, listenUnix } from './listen.ts';
import type { ConnectionHandler, ListenOptions, Server, UnixListenOptions } from './net-types.ts';
import type { StreamServer } from './server.ts';

/** Binds all addresses, or the path, before the first connection is accepted. */
export async function openServer(server: StreamServer, plan: ListenPlan): Promise<Server> {
  const { loop } = server;
  const { path } = plan;
  server.tls = plan.tls;
  if (path === undefined) {
    const listeners = await listenTcp(loop, plan, server);
    server.attach(
      listeners,
      listeners.map((listener) => listener.address),
    );
  } else {
    server.attach([await listenUnix(loop, plan, server, path)], [unixAddress(path)]);
  }
  if (plan.start) await server.start();
  return server;
}

/**
 * One task per connection; the connection closes when the handler ends. An error goes to the
 * loop's exception handler and aborts that connection only; that a peer went away is no error.
 * Closing the server with `await using` cancels the handlers.
 * Rejects with the system's error (EADDRINUSE …). Cancelled, nothing stays open.
 * (asyncio.start_server, trio.serve_tcp, curio.tcp_server)
 */
export async function startServer(
  handler: ConnectionHandler,
  options: ListenOptions = {},
): Promise<Server> {
  const loop = currentLoop();
  const plan = checkListen(loop, options);
  const server = new HandlerServer(loop, makeLimits(options), plan.maxConnections, handler);
  return openServer(server, plan);
}

/**
 * The same on a UNIX socket. A stale socket file is replaced; ours is removed at the end.
 * (asyncio.start_unix_server, curio.unix_server)
 * @param path at most 107 bytes (else ENAMETOOLONG); a leading '\0' means Linux' abstract namespace
 */
export async function startUnixServer(
  handler: ConnectionHandler,
  path: string,
  options: UnixListenOptions = {},
): Promise<Server> {
  const loop = currentLoop();
  const plan = checkListenUnix(loop, path, options);
  const server = new HandlerServer(loop, makeLimits(options), plan.maxConnections, handler);
  return openServer(server, plan);
}
