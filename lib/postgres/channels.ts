/**
 * The diagnostics channels of the client.
 *
 * In: events. Out: messages to whoever subscribed by node:diagnostics_channel. Never: a message,
 * or an object for one, when nobody subscribed.
 */
import { type Channel, channel } from 'node:diagnostics_channel';

/** A QueryRecord: `{ query, args, durationMs, error }`. */
export const queryChannel: Channel = channel('uvio:postgres.query');
/** `{ pid, host, port, database, user }`. */
export const connectedChannel: Channel = channel('uvio:postgres.connected');
/** `{ pid, error }`; `error` when the connection was lost. */
export const closedChannel: Channel = channel('uvio:postgres.closed');
