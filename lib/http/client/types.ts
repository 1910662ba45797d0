/**
 * The public shapes of the client.
 *
 * In: types only. Out: names of `uvio/http`. Never: behaviour.
 */
import type { Buffer } from 'node:buffer';
import type { WaitOptions } from '../../base/errors.ts';
import type { ByteReader, TlsClientOptions } from '../../io/net-types.ts';
import type { RetryOptions } from '../../task/retry.ts';
import type { QueryInit } from '../application.ts';
import type { ServerSentEvent } from '../events.ts';
import type { HeadersInit } from '../headers.ts';
import type { BodyPart } from '../multipart.ts';
import type { Body } from '../response.ts';
import type { Connector, ConnectorOptions } from './connector.ts';
import type { CookieJar } from './cookie-jar.ts';

/** In ms. A limit that passes rejects with ClientTimeoutError. (aiohttp.ClientTimeout) */
export interface ClientTimeouts {
  /**
   * The whole request with its body. Default 300_000, but not for `events()` once they are read;
   * null for none.
   */
  totalMs?: number | null;
  /** Wait for a free connection, look-up, connect and TLS. Default 30_000. */
  connectMs?: number | null;
  /** Between two reads. Default: none. */
  readMs?: number | null;
}

export interface ClientRetryOptions extends RetryOptions {
  /** Default 429, 502, 503, 504. */
  statuses?: readonly number[];
  /** Default: the idempotent ones. */
  methods?: readonly string[];
  /** Waits for as long as `Retry-After` says, at most `maxDelayMs`. Default true. */
  respectRetryAfter?: boolean;
}

/** A request before it is sent: what middlewares may change. */
export interface ClientRequest {
  method: string;
  url: URL;
  readonly headers: Headers;
  body: Body | null;
}

/** Runs around each request that goes out, those of redirects and retries included. */
export type ClientMiddleware = (
  request: ClientRequest,
  next: (request: ClientRequest) => Promise<ClientResponse>,
) => Promise<ClientResponse>;

/**
 * Basic is sent at once, Digest (RFC 7616) when a server asks for it: SHA-512-256, SHA-256 or MD5,
 * each also `-sess`. Passwords of Digest are not sent.
 */
export type ClientAuth =
  | { username: string; password: string; scheme?: 'basic' | 'digest' }
  | { bearer: string };

/** Options of a request; given to a session they are its defaults. */
export interface RequestDefaults {
  /** Those of a request replace the session's of the same names. */
  headers?: HeadersInit;
  /** Not sent to another origin that a redirect leads to. */
  auth?: ClientAuth;
  timeout?: ClientTimeouts;
  /** `timeout.totalMs`. */
  timeoutMs?: number | null;
  /** Default 'follow'. */
  redirect?: 'follow' | 'manual' | 'error';
  /** Default 10. */
  maxRedirects?: number;
  /** Throw ClientResponseError for 400 and above. Default false. */
  raiseForStatus?: boolean;
  /** A number: `attempts`. Default false. */
  retry?: number | ClientRetryOptions | false;
  middlewares?: readonly ClientMiddleware[];
  /** Decompress the body. Default true. */
  decompress?: boolean;
  /** Connections are shared by requests that give the same object. */
  tls?: TlsClientOptions;
  /** URL of an HTTP proxy, user and password in it; null: none. */
  proxy?: string | URL | null;
}

export interface RequestOptions extends RequestDefaults, WaitOptions {
  /** Added to the query of the URL. */
  query?: QueryInit;
  body?: Body;
  /** Body and content type; instead of `body`. */
  json?: unknown;
  /** application/x-www-form-urlencoded; instead of `body`. */
  form?: Record<string, string> | URLSearchParams;
  /** For this request only, beside those of the jar that have other names. */
  cookies?: Record<string, string>;
  /** Wait for 100, at most a second, before the body. Default false. */
  expectContinue?: boolean;
}

/** Hooks, called as things happen; what they throw rejects the request. (aiohttp.TraceConfig) */
export interface ClientTrace {
  requestStart?(event: { request: ClientRequest }): void;
  requestEnd?(event: { request: ClientRequest; response: ClientResponse }): void;
  requestError?(event: { request: ClientRequest; error: unknown }): void;
  redirect?(event: { request: ClientRequest; location: URL }): void;
  connectionQueued?(event: { request: ClientRequest }): void;
  connectionCreated?(event: { request: ClientRequest; durationMs: number }): void;
  connectionReused?(event: { request: ClientRequest }): void;
}

export interface SessionOptions extends RequestDefaults {
  /** Relative URLs are resolved against it. */
  baseUrl?: string | URL;
  /** A connector is not closed by the session. Default: one of its own. */
  connector?: Connector | ConnectorOptions;
  /** Null: no cookies. Default: a new jar. */
  cookieJar?: CookieJar | null;
  /**
   * HTTP_PROXY, HTTPS_PROXY, NO_PROXY, and for hosts without `auth` the file that NETRC names, or
   * `~/.netrc`, as it is when the session is made. Default false.
   */
  trustEnv?: boolean;
  trace?: readonly ClientTrace[];
}

/** A promise of the response with short cuts that read the body and free the connection. */
export interface ResponsePromise extends Promise<ClientResponse> {
  text(): Promise<string>;
  // biome-ignore lint/suspicious/noExplicitAny: as the Web's.
  json<T = any>(): Promise<T>;
  bytes(): Promise<Buffer>;
}

/**
 * A Web Response, and more. Read the body or dispose it, so that its connection is free again: a
 * body that is left alone holds its connection until the total time limit.
 */
export interface ClientResponse extends globalThis.Response, AsyncDisposable {
  readonly httpVersion: '1.0' | '1.1' | '2';
  /** Those that this response sets. */
  readonly cookies: ReadonlyMap<string, string>;
  /** Responses of the redirects before this one; their bodies are dropped. */
  readonly history: readonly ClientResponse[];
  /** The Link header by rel. */
  readonly links: ReadonlyMap<string, URL>;
  /** The body as it comes. A cancelled read loses nothing. */
  readonly reader: ByteReader;
  // biome-ignore lint/suspicious/noExplicitAny: as the Web's.
  json<T = any>(): Promise<T>;
  bytes(): Promise<Buffer>;
  /**
   * Server-sent events, until the server ends. Leaving the loop closes the connection, and so does
   * a cancelled read. A total limit that was given counts for them, the default one does not:
   * `readMs` finds out a server that has gone silent, if it sends comments in between as uvio's do.
   */
  events(): AsyncIterable<ServerSentEvent>;
  multipart(): AsyncIterable<BodyPart>;
  /** Throws ClientResponseError for 400 and above, the body dropped; else gives itself. */
  raiseForStatus(): this;
  /** Drops the rest of the body; the connection is kept when little is left. Never waits. */
  release(): Promise<void>;
}
