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
import { checkListen, type ListenPlan, listenTcp, listenUnix } from './listen.ts';
import type { ConnectionHandler, ListenOptions, Server, UnixListenOptions } from './net-types.ts';
import type { StreamServer } from './server.ts';

/** Binds all addresses before the first connection is accepted. */
export async function serveTcp(server: StreamServer, plan: ListenPlan): Promise<Server> {
  if (plan.path !== undefined) return serveUnix(server, plan, plan.path);
  server.tls = plan.tls;
  const listeners = await listenTcp(server.loop, plan, server);
  const addresses = listeners.map((listener) => listener.address);
  server.attach(listeners, addresses);
  if (plan.start) await server.start();
  return server;
}

export async function serveUnix(
  server: StreamServer,
  plan: ListenPlan,
  path: string,
): Promise<Server> {
  server.tls = plan.tls;
  const listeners = await listenUnix(server.loop, plan, server, path);
  server.attach(listeners, [unixAddress(path)]);
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
  return serveTcp(server, plan);
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
  const plan = checkListen(loop, options);
  const server = new HandlerServer(loop, makeLimits(options), plan.maxConnections, handler);
  return serveUnix(server, plan, path);
}
