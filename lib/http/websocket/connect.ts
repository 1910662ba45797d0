/**
 * WebSockets of a client.
 *
 * In: a URL. Out: a WebSocket whose handshake is done. Never: a socket that stays open after a
 * failure or a cancellation; more of an answer in memory than `maxHeadBytes`.
 */
import { Buffer } from 'node:buffer';
import type { WaitOptions } from '../../base/errors.ts';
import type { EventLoop } from '../../io/handles.ts';
import type { ConnectOptions } from '../../io/net-types.ts';
import type { Protocol, Transport } from '../../io/protocols.ts';
import { currentLoop } from '../../task/frame.ts';
import { timeout } from '../../task/scope.ts';
import { Waiter } from '../../task/waiter.ts';
import {
  ClientConnectionError,
  InvalidUrlError,
  ServerDisconnectedError,
  WebSocketHandshakeError,
} from '../client-errors.ts';
import { checkHeaderName, checkHeaderValue, type HeadersInit, HttpHeaders } from '../headers.ts';
import { type Agreed, makeRequest, readResponse } from './handshake.ts';
import { checkWebSocket, type WebSocketOptions, type WebSocketPlan } from './options.ts';
import { WebSocketStream } from './socket.ts';
import { Terms } from './terms.ts';
import type { WebSocketConnection } from './types.ts';

const maxHeadBytes = 16_384;

export interface OpenWebSocketOptions extends WebSocketOptions, WaitOptions {
  headers?: HeadersInit;
  /** For connect and handshake. Default 30_000. */
  timeoutMs?: number;
  /** How to connect; host and port are the URL's. */
  connect?: Omit<ConnectOptions, 'host' | 'port' | 'signal'>;
  /** A UNIX socket instead of the URL's host. */
  socketPath?: string;
}

/** Headers that the handshake owns. */
const owned = new Set([
  'connection',
  'content-length',
  'host',
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'sec-websocket-key',
  'sec-websocket-protocol',
  'sec-websocket-version',
  'transfer-encoding',
  'upgrade',
]);

interface Target {
  readonly url: URL;
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
}

function checkUrl(given: string | URL): Target {
  const text = String(given);
  if (!URL.canParse(text)) throw new InvalidUrlError(text);
  const url = new URL(text);
  const secure = url.protocol === 'wss:' || url.protocol === 'https:';
  if (!secure && url.protocol !== 'ws:' && url.protocol !== 'http:') {
    throw new InvalidUrlError(text, `'${url.protocol}' is no scheme of a WebSocket`);
  }
  if (url.hash !== '') throw new InvalidUrlError(text, 'The URL of a WebSocket has no fragment');
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  return { url, secure, host: url.hostname.replace(/^\[|\]$/g, ''), port };
}

function requestText(target: Target, own: Iterable<readonly [string, string]>, more: HttpHeaders) {
  const { url } = target;
  let text = `GET ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n`;
  for (const [name, value] of own) text += `${name}: ${value}\r\n`;
  for (const [name, value] of more) {
    if (owned.has(name)) continue;
    text += `${checkHeaderName(name)}: ${checkHeaderValue(name, value)}\r\n`;
  }
  if (url.username !== '' && !more.has('authorization')) {
    const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    text += `authorization: Basic ${Buffer.from(user).toString('base64')}\r\n`;
  }
  return `${text}\r\n`;
}

interface Head {
  readonly status: number;
  readonly headers: HttpHeaders;
}

/** Null: not the head of a response. */
function parseHead(text: string): Head | null {
  const [first, ...lines] = text.split('\r\n');
  const found = /^HTTP\/1\.1 ([1-5]\d\d)(?: [^\r\n\0]*)?$/.exec(first as string);
  if (found === null) return null;
  const headers = new HttpHeaders();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon <= 0) return null;
    try {
      headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
    } catch {
      return null;
    }
  }
  return { status: Number(found[1]), headers };
}

/** Reads the answer, then gives the transport to the socket. */
class Handshake extends Waiter<WebSocketStream> implements Protocol {
  readonly #loop: EventLoop;
  readonly #target: Target;
  readonly #plan: WebSocketPlan;
  readonly #key: string;
  readonly #request: string;
  #transport: Transport | null = null;
  #received = '';

  constructor(loop: EventLoop, target: Target, plan: WebSocketPlan, headers: HttpHeaders) {
    super('handshake');
    this.#loop = loop;
    this.#target = target;
    this.#plan = plan;
    const { key, headers: own } = makeRequest(plan.protocols, plan.compress);
    this.#key = key;
    this.#request = requestText(target, own, headers);
  }

  override onCancel(): void {
    this.#transport?.abort();
  }

  connectionMade(transport: Transport): void {
    this.#transport = transport;
    transport.write(this.#request);
  }

  dataReceived(chunk: Buffer): void {
    if (!this.active) return;
    this.#received += chunk.toString('latin1');
    const end = this.#received.indexOf('\r\n\r\n');
    if (end < 0) {
      if (this.#received.length > maxHeadBytes) this.#refuse(0, null, 'Its head is too long');
      return;
    }
    const head = end > maxHeadBytes ? null : parseHead(this.#received.slice(0, end));
    if (head === null) {
      this.#refuse(0, null, 'It is no response of HTTP/1.1');
      return;
    }
    if (head.status !== 101) {
      this.#refuse(head.status, head.headers, `Its status is ${head.status}`);
      return;
    }
    const { protocols, compress } = this.#plan;
    const get = (name: string): string | null => head.headers.get(name);
    const agreed = readResponse(get, this.#key, protocols, compress);
    if (typeof agreed === 'string') this.#refuse(101, head.headers, agreed);
    else this.#open(agreed, Buffer.from(this.#received.slice(end + 4), 'latin1'));
  }

  #open(agreed: Agreed, early: Buffer): void {
    const transport = this.#transport as Transport;
    const socket = new WebSocketStream(new Terms(this.#loop, this.#plan, null), agreed);
    transport.protocol = socket;
    socket.connectionMade(transport);
    this.wake(socket);
    if (early.length > 0) socket.dataReceived(early);
  }

  #refuse(status: number, headers: HttpHeaders | null, why: string): void {
    const { url } = this.#target;
    const response = { status, headers: headers ?? new HttpHeaders(), url: bare(url) };
    this.#transport?.abort();
    this.fail(new WebSocketHandshakeError(`No WebSocket at ${bare(url)}: ${why}`, response));
  }

  connectionLost(error?: Error): void {
    if (!this.active) return;
    const { host, port } = this.#target;
    const code = (error as { code?: string } | undefined)?.code ?? 'ECONNRESET';
    const message = 'The server closed the connection before its answer';
    this.fail(new ServerDisconnectedError(message, { code, host, port }, { cause: error }));
  }
}

function bare(url: URL): string {
  const copy = new URL(url);
  copy.username = '';
  copy.password = '';
  return copy.href;
}

async function open(
  target: Target,
  plan: WebSocketPlan,
  options: OpenWebSocketOptions,
): Promise<{ socket: WebSocketStream }> {
  const loop = currentLoop();
  const headers = new HttpHeaders(options.headers);
  const handshake = new Handshake(loop, target, plan, headers);
  const { signal } = options;
  const wait: WaitOptions = signal === undefined ? {} : { signal };
  // Begun here and not by the factory: callbacks belong to no task that could be cancelled.
  const done = handshake.start(wait);
  done.catch(() => {});
  const factory = (): Handshake => handshake;
  const { host, port, secure } = target;
  const tls = secure ? { tls: options.connect?.tls ?? true } : {};
  try {
    if (options.socketPath !== undefined) {
      await loop.createUnixConnection(factory, options.socketPath, { ...wait });
    } else {
      await loop.createConnection(factory, { ...options.connect, ...tls, ...wait, host, port });
    }
  } catch (error) {
    handshake.fail(error);
    const { code } = error as { code?: unknown };
    if (!(error instanceof Error) || typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code)) {
      throw error;
    }
    if (code === 'ETIMEDOUT' && error.name === 'TimeoutError') throw error;
    throw new ClientConnectionError(error.message, { code, host, port }, { cause: error });
  }
  return { socket: await done };
}

/**
 * Connects and shakes hands.
 * WebSocketHandshakeError when the answer makes no WebSocket, ClientConnectionError when there is
 * no connection, InvalidUrlError, TimeoutError after `timeoutMs`. Cancelled, nothing stays open.
 */
export async function openWebSocket(
  url: string | URL,
  options: OpenWebSocketOptions = {},
): Promise<WebSocketConnection> {
  const target = checkUrl(url);
  const plan = checkWebSocket(options);
  const { timeoutMs = 30_000 } = options;
  const { socket } = await timeout(timeoutMs, () => open(target, plan, options));
  return socket;
}
