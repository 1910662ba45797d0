/**
 * Requests of a session that become WebSockets.
 *
 * In: a URL, options; the answer's head. Out: a request, a WebSocket that has taken the connection
 * over. Never: a connection that stays open after an answer that makes no WebSocket.
 */
import type { WaitOptions } from '../../base/errors.ts';
import type { EventLoop } from '../../io/handles.ts';
import { currentLoop } from '../../task/frame.ts';
import { ClientResponseError, InvalidUrlError, WebSocketHandshakeError } from '../client-errors.ts';
import { HttpHeaders } from '../headers.ts';
import { makeRequest, readResponse } from '../websocket/handshake.ts';
import { checkWebSocket, type WebSocketOptions, type WebSocketPlan } from '../websocket/options.ts';
import { WebSocketStream } from '../websocket/socket.ts';
import { Terms } from '../websocket/terms.ts';
import type { Upgrade } from './exchange.ts';
import { makePlan, type PlanBase, type RequestPlan } from './request-plan.ts';
import type { ResponseHead } from './response-parser.ts';
import type { ClientResponse, RequestOptions } from './types.ts';

/** Beside those of the WebSocket: as for a request. */
export interface ClientSocketOptions
  extends WaitOptions,
    Pick<
      RequestOptions,
      'auth' | 'cookies' | 'headers' | 'maxRedirects' | 'proxy' | 'query' | 'redirect' | 'tls'
    > {
  /** For connect and handshake. Default 30_000; null for none. */
  timeoutMs?: number | null;
}

/** Headers that the handshake owns; the rest of them is the client's anyway. */
const owned: readonly string[] = [
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'sec-websocket-key',
  'sec-websocket-protocol',
  'sec-websocket-version',
];

/** With the scheme of the request that it begins as. @throws InvalidUrlError */
function checkSocketUrl(given: string | URL, base: URL | null): URL {
  const text = String(given);
  if (!URL.canParse(text, base?.href)) throw new InvalidUrlError(text);
  const url = new URL(text, base?.href);
  const { protocol } = url;
  if (protocol === 'ws:' || protocol === 'wss:') url.protocol = protocol.replace('ws', 'http');
  else if (protocol !== 'http:' && protocol !== 'https:') {
    throw new InvalidUrlError(text, `'${protocol}' is no scheme of a WebSocket`);
  }
  if (url.hash !== '') throw new InvalidUrlError(text, 'The URL of a WebSocket has no fragment');
  return url;
}

export class SocketHandshake implements Upgrade {
  readonly request: RequestPlan;
  readonly #loop: EventLoop;
  readonly #plan: WebSocketPlan;
  readonly #key: string;
  #socket: WebSocketStream | null = null;
  #refusal: string | null = null;

  /** @throws InvalidUrlError, TypeError, RangeError */
  constructor(
    base: PlanBase,
    given: string | URL,
    options: WebSocketOptions & ClientSocketOptions,
  ) {
    this.#loop = currentLoop();
    this.#plan = checkWebSocket(options);
    const url = checkSocketUrl(given, base.baseUrl);
    const { key, headers: own } = makeRequest(this.#plan.protocols, this.#plan.compress);
    this.#key = key;
    const headers = new HttpHeaders(options.headers);
    for (const name of owned) headers.delete(name);
    for (const [name, value] of own) headers.set(name, value);
    const timeoutMs = options.timeoutMs === undefined ? 30_000 : options.timeoutMs;
    const more = { ...options, headers, timeoutMs, decompress: false, raiseForStatus: false };
    this.request = { ...makePlan(base, 'GET', url, more), upgrade: this };
  }

  /** The answer says 101: the socket, or null when it makes none. */
  take(head: ResponseHead): WebSocketStream | null {
    const { protocols, compress } = this.#plan;
    const get = (name: string): string | null => head.header(name);
    // 101 is none of HTTP/1.0's (RFC 9110 15.2).
    const agreed =
      head.httpVersion === '1.0'
        ? 'It is HTTP/1.0'
        : readResponse(get, this.#key, protocols, compress);
    if (typeof agreed === 'string') {
      this.#refusal = agreed;
      return null;
    }
    this.#socket = new WebSocketStream(new Terms(this.#loop, this.#plan, null), agreed);
    return this.#socket;
  }

  /** @param answered how the request ended */
  async finish(answered: Promise<ClientResponse>): Promise<WebSocketStream> {
    let response: ClientResponse;
    try {
      response = await answered;
    } catch (error) {
      // What came was no response at all.
      if (error instanceof ClientResponseError && error.status === 0) {
        throw new WebSocketHandshakeError(`No WebSocket: ${error.message}`, error, {
          cause: error,
        });
      }
      throw error;
    }
    if (this.#socket !== null) return this.#socket;
    const { status, headers, url, history } = response;
    await response.release();
    const why = this.#refusal ?? `Its status is ${status}`;
    const message = `No WebSocket at ${url}: ${why}`;
    throw new WebSocketHandshakeError(message, { status, headers, url, history });
  }
}
