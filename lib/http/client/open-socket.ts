/**
 * A WebSocket without a session of its caller's.
 *
 * In: a URL. Out: a WebSocket. Never: cookies; a connection that is kept.
 */
import type { ConnectOptions } from '../../io/net-types.ts';
import type { WebSocketOptions } from '../websocket/options.ts';
import type { WebSocketConnection } from '../websocket/types.ts';
import type { ConnectorOptions } from './connector.ts';
import { ClientSession } from './session.ts';
import type { ClientSocketOptions } from './socket-handshake.ts';

export interface OpenWebSocketOptions
  extends WebSocketOptions,
    Omit<ClientSocketOptions, 'cookies'> {
  /** How to connect. */
  connect?: Pick<
    ConnectOptions,
    'family' | 'happyEyeballsDelayMs' | 'localHost' | 'lookup' | 'tls'
  >;
  /** A UNIX socket instead of the URL's host. */
  socketPath?: string;
}

/**
 * Connects and shakes hands.
 * WebSocketHandshakeError when the answer makes no WebSocket, ClientConnectionError when there is
 * no connection, InvalidUrlError, ClientTimeoutError after `timeoutMs`. Cancelled, nothing stays
 * open.
 */
export async function openWebSocket(
  url: string | URL,
  options: OpenWebSocketOptions = {},
): Promise<WebSocketConnection> {
  const { connect = {}, socketPath, ...rest } = options;
  const { tls, ...how } = connect;
  const connector: ConnectorOptions = { ...how, dnsCacheMs: 0 };
  if (socketPath !== undefined) connector.socketPath = socketPath;
  const own = typeof tls === 'object' && rest.tls === undefined ? { ...rest, tls } : rest;
  await using session = new ClientSession({ connector, cookieJar: null });
  return await session.wsConnect(url, own);
}
