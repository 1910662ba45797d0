/**
 * Where HTTP servers listen.
 *
 * In: a server of streams and a plan. Out: the same, bound. Never: accepting yet.
 */
import { unixAddress } from '../io/addresses.ts';
import { listenTcp, listenUnix } from '../io/listen.ts';
import type { StreamServer } from '../io/server.ts';
import type { ServePlan } from './serve-options.ts';

/** Rejects with the system's error; nothing stays open then. */
export async function bindListeners(server: StreamServer, plan: ServePlan): Promise<void> {
  if (plan.path !== undefined) {
    const listeners = await listenUnix(server.loop, plan.listen, server, plan.path);
    server.attach(listeners, [unixAddress(plan.path)]);
    return;
  }
  const listeners = await listenTcp(server.loop, plan.listen, server);
  server.attach(
    listeners,
    listeners.map((listener) => listener.address),
  );
}
