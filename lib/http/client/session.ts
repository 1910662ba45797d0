/**
 * The client: connections, cookies and defaults of many requests.
 *
 * In: methods, URLs, options. Out: responses, WebSockets. Never: a connection after its close.
 */
import type { Buffer } from 'node:buffer';
import { argTypeError, ClosedResourceError, TimeoutError } from '../../base/errors.ts';
import { timeoutAt } from '../../task/timeout.ts';
import { ClientTimeoutError } from '../client-errors.ts';
import { HttpHeaders } from '../headers.ts';
import type { Body } from '../response.ts';
import type { WebSocketOptions } from '../websocket/options.ts';
import type { WebSocketConnection } from '../websocket/types.ts';
import { Connector } from './connector.ts';
import { CookieJar } from './cookie-jar.ts';
import type { DigestState } from './digest.ts';
import { Netrc } from './netrc.ts';
import { firstRequest, follow } from './redirects.ts';
import type { RequestPlan } from './request-plan.ts';
import { checkUrl, type PlanBase, PlanCache } from './request-plan.ts';
import { takeBytes, takeJson, takeText } from './response.ts';
import { withRetries } from './retry.ts';
import type { Sender } from './send.ts';
import { type ClientSocketOptions, SocketHandshake } from './socket-handshake.ts';
import type {
  ClientResponse,
  ClientTrace,
  RequestOptions,
  ResponsePromise,
  SessionOptions,
} from './types.ts';

// By `then`: an async function costs two promises more.

function readText(this: Promise<ClientResponse>): Promise<string> {
  return this.then(takeText);
}

function readJson<T>(this: Promise<ClientResponse>): Promise<T> {
  return this.then(takeJson) as Promise<T>;
}

function readBytes(this: Promise<ClientResponse>): Promise<Buffer> {
  return this.then(takeBytes);
}

/** A native promise with three methods more; none is made per request. */
function withShortCuts(promise: Promise<ClientResponse>): ResponsePromise {
  const made = promise as ResponsePromise;
  made.text = readText;
  made.json = readJson;
  made.bytes = readBytes;
  return made;
}

function makeConnector(given: SessionOptions['connector']): Connector {
  return given instanceof Connector ? given : new Connector(given ?? {});
}

function makeBase(options: SessionOptions, netrc: Netrc | null): PlanBase {
  const headers = new HttpHeaders(options.headers);
  if (!headers.has('accept')) headers.put('accept', '*/*');
  if (!headers.has('user-agent')) headers.put('user-agent', 'uvio');
  const { baseUrl } = options;
  return {
    defaults: { ...options },
    headers,
    baseUrl: baseUrl === undefined ? null : checkUrl(baseUrl, null),
    netrc,
  };
}

/**
 * Connections, cookies and defaults of a client. Close it, or use `await using`. Errors of requests
 * are ClientErrors, ClientTimeoutError (a TimeoutError), and for wrong arguments TypeError and
 * RangeError. A request that is cancelled or fails closes its connection. (aiohttp.ClientSession)
 */
export class ClientSession implements AsyncDisposable, Sender {
  readonly connector: Connector;
  readonly cookieJar: CookieJar | null;
  /** @internal */
  readonly trace: readonly ClientTrace[];
  /** @internal */
  readonly trustEnv: boolean;
  /** @internal Null: the environment is not trusted, or names nobody. */
  readonly netrc: Netrc | null;
  /** @internal */
  readonly digests: Map<string, DigestState> = new Map();
  readonly #base: PlanBase;
  readonly #plans: PlanCache;
  readonly #ownsConnector: boolean;
  #closed = false;

  /** TypeError, RangeError, InvalidUrlError. */
  constructor(options: SessionOptions = {}) {
    if (typeof options !== 'object' || options === null) {
      throw argTypeError('options', 'an object', options);
    }
    this.trustEnv = options.trustEnv ?? false;
    this.netrc = this.trustEnv ? new Netrc() : null;
    this.#base = makeBase(options, this.netrc);
    this.connector = makeConnector(options.connector);
    this.#ownsConnector = !(options.connector instanceof Connector);
    this.cookieJar = options.cookieJar === undefined ? new CookieJar() : options.cookieJar;
    this.trace = options.trace ?? [];
    this.#plans = new PlanCache(this.#base, this.trace.length === 0);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Sends a request; resolves when the head of the response is there. Cancellation, `signal` and
   * time limits close its connection, later also while the body is read.
   */
  request(method: string, url: string | URL, options?: RequestOptions): ResponsePromise {
    let response: Promise<ClientResponse>;
    try {
      this.#checkOpen();
      const plan = this.#plans.planFor(method, url, options);
      response = this.trace.length === 0 ? this.#run(plan) : this.#traced(plan);
    } catch (error) {
      response = Promise.reject(error);
    }
    return withShortCuts(response);
  }

  get(url: string | URL, options?: RequestOptions): ResponsePromise {
    return this.request('GET', url, options);
  }

  post(url: string | URL, options?: RequestOptions): ResponsePromise {
    return this.request('POST', url, options);
  }

  put(url: string | URL, options?: RequestOptions): ResponsePromise {
    return this.request('PUT', url, options);
  }

  patch(url: string | URL, options?: RequestOptions): ResponsePromise {
    return this.request('PATCH', url, options);
  }

  delete(url: string | URL, options?: RequestOptions): ResponsePromise {
    return this.request('DELETE', url, options);
  }

  head(url: string | URL, options?: RequestOptions): ResponsePromise {
    return this.request('HEAD', url, options);
  }

  options(url: string | URL, options?: RequestOptions): ResponsePromise {
    return this.request('OPTIONS', url, options);
  }

  /**
   * A WebSocket: its handshake is a request of the session, with its headers, credentials, cookies,
   * proxy, middlewares and redirects. Its connection is its own from then on: it counts for no
   * limit, and the session does not close it. Rejects as `openWebSocket`. (aiohttp: ws_connect)
   */
  async wsConnect(
    url: string | URL,
    options: WebSocketOptions & ClientSocketOptions = {},
  ): Promise<WebSocketConnection> {
    this.#checkOpen();
    const handshake = new SocketHandshake(this.#base, url, options);
    const { request } = handshake;
    const answer = this.trace.length === 0 ? this.#run(request) : this.#traced(request);
    const socket = await handshake.finish(answer);
    return socket;
  }

  /** The Web's fetch on this session. `signal` of a Request counts. */
  readonly fetch = async (
    input: string | URL | Request,
    given?: RequestInit,
  ): Promise<ClientResponse> => {
    const init = given ?? {};
    if (!(input instanceof Request))
      return await this.request(init.method ?? 'GET', input, webOptions(init));
    const request = new Request(input, init);
    const options = webOptions({
      headers: request.headers,
      redirect: request.redirect,
      signal: request.signal,
      ...(request.body === null ? {} : { body: request.body }),
    });
    return await this.request(request.method, request.url, options);
  };

  /** Closes its connections; requests under way reject with ClosedResourceError. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#ownsConnector) await this.connector.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #checkOpen(): void {
    if (this.#closed) throw new ClosedResourceError('The session was closed');
  }

  async #traced(plan: RequestPlan): Promise<ClientResponse> {
    const request = firstRequest(plan);
    for (const hooks of this.trace) hooks.requestStart?.({ request });
    let response: ClientResponse | null = null;
    try {
      response = await this.#run(plan);
      for (const hooks of this.trace) hooks.requestEnd?.({ request, response });
      return response;
    } catch (error) {
      await response?.release();
      for (const hooks of this.trace) hooks.requestError?.({ request, error });
      throw error;
    }
  }

  #run(plan: RequestPlan): Promise<ClientResponse> {
    const { retry, middlewares, deadlineMs } = plan;
    const plain = retry === null && middlewares.length === 0 && !plan.raiseForStatus;
    return plain ? follow(this, plan, firstRequest(plan)) : this.#runAll(plan, deadlineMs);
  }

  async #runAll(plan: RequestPlan, deadlineMs: number): Promise<ClientResponse> {
    let response: ClientResponse;
    try {
      // What is not an exchange takes time, too.
      const limit = deadlineMs === Infinity ? null : deadlineMs;
      response = await timeoutAt(limit, () => this.#attempts(plan));
    } catch (error) {
      if (!(error instanceof TimeoutError) || error instanceof ClientTimeoutError) throw error;
      const message = `No response within ${plan.totalMs} ms`;
      throw new ClientTimeoutError('total', message, { cause: error });
    }
    return plan.raiseForStatus ? response.raiseForStatus() : response;
  }

  #attempts(plan: RequestPlan): Promise<ClientResponse> {
    if (plan.retry === null) return follow(this, plan, firstRequest(plan));
    return withRetries(plan.retry, plan, () => follow(this, plan, firstRequest(plan)));
  }
}

function webOptions(init: RequestInit): RequestOptions {
  const { headers, body, redirect, signal } = init;
  return {
    ...(headers === undefined ? {} : { headers: new Headers(headers) }),
    ...(body === undefined || body === null ? {} : { body: webBody(body) }),
    ...(redirect === undefined ? {} : { redirect }),
    ...(signal === undefined || signal === null ? {} : { signal }),
  };
}

/** The Web takes memory of any form. */
function webBody(body: NonNullable<RequestInit['body']>): Body {
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  if (!ArrayBuffer.isView(body) || body instanceof Uint8Array) return body as Body;
  return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
}
