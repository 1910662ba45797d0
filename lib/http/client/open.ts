/**
 * Connections of a client: plain, TLS, UNIX sockets, through a proxy.
 *
 * In: a route. Out: a connection that is ready for a request. Never: a socket that stays open after
 * a failure or a cancellation; a request in the clear where TLS was asked for.
 */
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import { isCancelled, TimeoutError } from '../../base/errors.ts';
import type { EventLoop } from '../../io/handles.ts';
import type { ConnectOptions, LookupFunction, TlsClientOptions } from '../../io/net-types.ts';
import type { Transport } from '../../io/protocols.ts';
import { ClientConnectionError, ClientError, ClientResponseError } from '../client-errors.ts';
import { HttpHeaders } from '../headers.ts';
import { ClientConnection } from './connection.ts';
import type { ConnectorOptions } from './connector.ts';
import { ClientExchange } from './exchange.ts';

export interface ProxyRoute {
  readonly host: string;
  readonly port: number;
  /** Value of Proxy-Authorization; null: none. */
  readonly authorization: string | null;
}

/** Where a request goes. Connections of one key are as good as each other. */
export interface Route {
  readonly key: string;
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  readonly tls: TlsClientOptions | undefined;
  readonly proxy: ProxyRoute | null;
  /** The proxy passes bytes on, and knows nothing of the request. */
  readonly tunnel: boolean;
  /** HTTP/2 is offered. */
  readonly http2: boolean;
}

/** A connector, as far as opening needs it. */
interface Opener {
  readonly options: ConnectorOptions;
  readonly lookup: LookupFunction | undefined;
}

/** ClientConnectionError with the code of the system, of TLS, or of the proxy. */
export async function openRoute(
  loop: EventLoop,
  route: Route,
  opener: Opener,
  signal: AbortSignal | undefined,
): Promise<ClientConnection> {
  const { host, port } = route.proxy ?? route;
  const connection = new ClientConnection(route.key, host, port);
  try {
    await connect(loop, connection, route, opener, signal);
    if (route.tunnel) await tunnel(loop, connection, route, signal);
    // How many streams it takes, the server says first.
    if (connection.http2 !== null) await connection.http2.ready(signal);
  } catch (error) {
    connection.drop();
    if (signal?.aborted && error === signal.reason) throw error;
    throw asConnectionError(error, host, port);
  }
  return connection;
}

async function connect(
  loop: EventLoop,
  connection: ClientConnection,
  route: Route,
  opener: Opener,
  signal: AbortSignal | undefined,
): Promise<void> {
  const factory = (): ClientConnection => connection;
  const { socketPath, family, localHost, happyEyeballsDelayMs } = opener.options;
  const wish = route.http2 ? { ALPNProtocols: ['h2', 'http/1.1'] } : {};
  const direct = route.secure && route.proxy === null;
  const tls = direct ? { tls: { ...wish, ...route.tls } } : {};
  if (socketPath !== undefined) {
    const named = route.secure ? { tls: { ...identityOf(route.host), ...wish, ...route.tls } } : {};
    await loop.createUnixConnection(factory, socketPath, { ...named, signal });
    return;
  }
  const options: ConnectOptions = { host: connection.host, port: connection.port, signal, ...tls };
  if (family !== undefined) options.family = family;
  if (localHost !== undefined) options.localHost = localHost;
  if (happyEyeballsDelayMs !== undefined) options.happyEyeballsDelayMs = happyEyeballsDelayMs;
  if (opener.lookup !== undefined) options.lookup = opener.lookup;
  await loop.createConnection(factory, options);
}

/** Whom the certificate must be for. Addresses are no names of servers (RFC 6066 3). */
function identityOf(host: string): TlsClientOptions {
  if (isIP(host) === 0) return { servername: host };
  return { checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate) };
}

/** CONNECT, then TLS, if wanted, with whom the proxy connected to. (RFC 9110 9.3.6) */
async function tunnel(
  loop: EventLoop,
  connection: ClientConnection,
  route: Route,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { host, port, tls, proxy } = route;
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  let head = `CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n`;
  if (proxy?.authorization) head += `proxy-authorization: ${proxy.authorization}\r\n`;
  const outgoing = {
    method: 'CONNECT',
    url: authority,
    target: authority,
    host: authority,
    lines: [],
    head: `${head}\r\n`,
    body: null,
    stream: null,
    senders: null,
    declaredBytes: null,
    expectContinue: false,
    upgrade: null,
    keep: true,
    signal,
    totalMs: Infinity,
    totalIsDefault: false,
    readMs: Infinity,
    decompress: false,
  };
  const exchange = new ClientExchange(connection, outgoing, Infinity);
  const answer = await exchange.sendAndWait();
  if (answer.status < 200 || answer.status > 299) {
    exchange.crash(new ClientError('The proxy refused'));
    const response = { status: answer.status, headers: HttpHeaders.from(answer), url: authority };
    throw new ClientResponseError(`The proxy answers ${answer.status} to CONNECT`, response);
  }
  if (!connection.open) {
    const where = { code: 'ECONNRESET', host: connection.host, port: connection.port };
    throw new ClientConnectionError('The proxy closed the connection', where);
  }
  if (!route.secure) return;
  const options = { ...identityOf(host), ...tls, signal };
  const transport = connection.transport as Transport;
  connection.transport = await loop.startTls(transport, connection, options);
}

function asConnectionError(error: unknown, host: string, port: number): unknown {
  if (!(error instanceof Error) || error instanceof ClientError || isCancelled(error)) return error;
  if (error instanceof TimeoutError || error instanceof TypeError || error instanceof RangeError) {
    return error;
  }
  const { code } = error as { code?: unknown };
  if (typeof code !== 'string' || code.startsWith('ERR_UVIO_')) return error;
  return new ClientConnectionError(error.message, { code, host, port }, { cause: error });
}
