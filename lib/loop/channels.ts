/**
 * The diagnostics channels that uvio publishes on.
 *
 * In: events of the rooms above. Out: messages to whoever subscribed by node:diagnostics_channel.
 * Never: a message, or an object for one, when nobody subscribed.
 */
import { type Channel, channel } from 'node:diagnostics_channel';

/** `{ task }`. */
export const taskSpawned: Channel = channel('uvio:task.spawned');
/** `{ task }`, which is done: with a result, an error or a cancellation. */
export const taskExited: Channel = channel('uvio:task.exited');
/** `{ task, error }`: somebody asked for its cancellation. */
export const taskCancelled: Channel = channel('uvio:task.cancelled');
/** A BlockedReport, while a `monitorLoop` is on. */
export const loopBlocked: Channel = channel('uvio:loop.blocked');
/** `{ connection }`: a Connection or a Transport that is open now, of a client or a server. */
export const connectionOpened: Channel = channel('uvio:connection.opened');
/** `{ connection, error }`: it is gone; `error` when it was lost. */
export const connectionClosed: Channel = channel('uvio:connection.closed');

/** `{ error, localAddress, remoteAddress }`: a handshake failed on a TLS server. */
export const tlsFailed: Channel = channel('uvio:tls.failed');

export const channels: readonly string[] = [
  taskSpawned,
  taskExited,
  taskCancelled,
  loopBlocked,
  connectionOpened,
  connectionClosed,
  tlsFailed,
].map(({ name }) => String(name));
