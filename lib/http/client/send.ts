/**
 * One request that goes out: cookies, a connection, the exchange on it.
 *
 * In: a request as middlewares left it. Out: its response. Never: a request twice but over a kept
 * connection that was dead, when nothing of a response came and it may be repeated.
 */
import { TimeoutError } from '../../base/errors.ts';
import type { TlsClientOptions } from '../../io/net-types.ts';
import { currentLoop } from '../../task/frame.ts';
import { timeoutAt } from '../../task/timeout.ts';
import { ClientTimeoutError, ServerDisconnectedError } from '../client-errors.ts';
import { HttpHeaders } from '../headers.ts';
import type { Body } from '../response.ts';
import type { Carrier } from './carrier.ts';
import type { Connector } from './connector.ts';
import type { CookieJar } from './cookie-jar.ts';
import type { DigestState } from './digest.ts';
import { ClientExchange, type Outgoing } from './exchange.ts';
import type { Netrc } from './netrc.ts';
import type { ProxyRoute, Route } from './open.ts';
import { makeMessage } from './outgoing.ts';
import { environmentProxy } from './proxy-env.ts';
import {
  checkMethod,
  checkUrl,
  type Repeat,
  type RequestPlan,
  type Secrets,
} from './request-plan.ts';
import { ReceivedResponse } from './response.ts';
import { idempotent, replayable } from './retry.ts';
import type { ClientRequest, ClientResponse, ClientTrace } from './types.ts';

/** What a session lends to its requests. */
export interface Sender {
  readonly connector: Connector;
  readonly cookieJar: CookieJar | null;
  readonly trace: readonly ClientTrace[];
  readonly trustEnv: boolean;
  readonly netrc: Netrc | null;
  /** Challenges that were answered, by origin. */
  readonly digests: Map<string, DigestState>;
}

/** Connections with other TLS options are other connections. */
const tlsIds: WeakMap<TlsClientOptions, number> = new WeakMap();
let nextTlsId = 1;

function tlsIdOf(tls: TlsClientOptions | undefined): string {
  if (tls === undefined) return '';
  let id = tlsIds.get(tls);
  if (id === undefined) {
    id = nextTlsId++;
    tlsIds.set(tls, id);
  }
  return `#${id}`;
}

function makeRoute(
  url: URL,
  plan: RequestPlan,
  proxy: ProxyRoute | null,
  wantsHttp2: boolean,
): Route {
  const secure = url.protocol === 'https:';
  const standard = secure ? 443 : 80;
  const port = url.port === '' ? standard : Number(url.port);
  const { hostname } = url;
  const host = hostname.charCodeAt(0) === 91 ? hostname.slice(1, -1) : hostname;
  let key = `${url.protocol}//${url.host}`;
  if (secure) key += tlsIdOf(plan.tls);
  // Proxies do not know what is upgraded to (RFC 6455 4.1).
  const tunnel = proxy !== null && (secure || plan.upgrade !== null);
  if (proxy !== null) {
    const through = `${proxy.host}:${proxy.port} ${proxy.authorization ?? ''}`;
    key = tunnel ? `${key} by ${through}` : `by ${through}`;
  }
  // What is upgraded has a connection of its own.
  const http2 = wantsHttp2 && secure && proxy === null && plan.upgrade === null;
  if (http2) key += ' h2';
  return { key, host, port, secure, tls: plan.tls, proxy, tunnel, http2 };
}

function storeCookies(exchange: ClientExchange, jar: CookieJar | null, url: URL): void {
  const lines = exchange.head?.lines ?? [];
  if (jar === null) return;
  for (let i = 0; i < lines.length; i += 2) {
    if (lines[i] === 'set-cookie') jar.set(lines[i + 1] as string, url);
  }
}

/** By the slow way: a wait for a turn, look-up, connect, TLS. */
async function acquire(
  sender: Sender,
  plan: RequestPlan,
  route: Route,
  request: ClientRequest,
  fresh: boolean,
): Promise<Carrier> {
  const { connector, trace } = sender;
  const startMs = currentLoop().time();
  const byMs = Math.min(startMs + plan.connectMs, plan.deadlineMs);
  const queued = (): void => {
    for (const hooks of trace) hooks.connectionQueued?.({ request });
  };
  const wait = { signal: plan.signal, fresh, queued: trace.length > 0 ? queued : null };
  try {
    return await timeoutAt(byMs === Infinity ? null : byMs, () => connector.acquire(route, wait));
  } catch (error) {
    if (!(error instanceof TimeoutError) || error instanceof ClientTimeoutError) throw error;
    const phase = plan.deadlineMs <= byMs ? 'total' : 'connect';
    const ms = phase === 'total' ? plan.totalMs : plan.connectMs;
    const message = `No connection to ${route.host}:${route.port} within ${ms} ms`;
    throw new ClientTimeoutError(phase, message, { cause: error });
  }
}

function traceConnection(
  trace: readonly ClientTrace[],
  connection: Carrier,
  request: ClientRequest,
  startMs: number,
): void {
  try {
    const durationMs = currentLoop().time() - startMs;
    for (const hooks of trace) {
      if (connection.uses > 0) hooks.connectionReused?.({ request });
      else hooks.connectionCreated?.({ request, durationMs });
    }
  } catch (error) {
    connection.free();
    throw error;
  }
}

function proxyOf(sender: Sender, plan: RequestPlan, url: URL): ProxyRoute | null {
  if (plan.proxy !== undefined) return plan.proxy;
  return sender.trustEnv ? environmentProxy(url, sender.netrc) : null;
}

function cookieNames(cookies: string): string[] {
  return cookies.split(';').map((one) => (one.split('=')[0] as string).trim());
}

/** What a request says itself is not said by the jar in another way. */
function joinCookies(header: string, kept: string, own: string): string {
  const said = new Set([...cookieNames(header), ...cookieNames(own)]);
  const others = kept.split('; ').filter((one) => !said.has(one.split('=')[0] as string));
  return [header, ...others, own].filter((part) => part !== '').join('; ');
}

/** The bytes and limits of a request. Its own headers stay as they are. */
function prepare(
  sender: Sender,
  plan: RequestPlan,
  request: ClientRequest,
  route: Route,
  cookies: string,
): Outgoing {
  const { url, body } = request;
  const { proxy } = route;
  const method = plan.middlewares.length > 0 ? checkMethod(request.method) : request.method;
  const kept = sender.cookieJar?.get(url) ?? '';
  let headers = request.headers as HttpHeaders;
  const changes = body !== null || kept !== '' || cookies !== '' || proxy !== null;
  if (changes || !(headers instanceof HttpHeaders)) headers = new HttpHeaders(headers);
  if (kept !== '' || cookies !== '') {
    headers.set('cookie', joinCookies(headers.get('cookie') ?? '', kept, cookies));
  }
  let target = url.pathname + url.search;
  if (proxy !== null && !route.tunnel) {
    target = `http://${url.host}${target}`;
    if (proxy.authorization !== null) headers.set('proxy-authorization', proxy.authorization);
  }
  const { upgrade, expectContinue } = plan;
  const more = upgrade === null ? { expectContinue } : { expectContinue, upgrade: 'websocket' };
  const message = makeMessage(method, target, url.host, headers, body, more);
  return {
    method,
    url: url.href,
    target,
    host: url.host,
    lines: message.lines,
    head: message.head,
    body: message.body,
    stream: message.stream,
    senders: sender.connector.senders,
    declaredBytes: message.declaredBytes,
    keep: message.keep,
    expectContinue: expectContinue && body !== null,
    upgrade,
    signal: plan.signal,
    totalMs: plan.totalMs,
    totalIsDefault: plan.totalIsDefault,
    readMs: plan.readMs,
    decompress: plan.decompress,
  };
}

/**
 * @param secrets none when they are not for this origin
 * @param fresh on a new connection
 */
export async function sendRequest(
  sender: Sender,
  plan: RequestPlan,
  request: ClientRequest,
  secrets: Secrets,
  history: readonly ClientResponse[],
  fresh: boolean = false,
): Promise<ClientResponse> {
  const { url, body } = request;
  const { signal } = plan;
  const { connector, trace } = sender;
  if (plan.middlewares.length > 0) checkUrl(url, null);
  const proxy = proxyOf(sender, plan, url);
  const route = makeRoute(url, plan, proxy, connector.http2);
  const outgoing = prepare(sender, plan, request, route, secrets.cookies);
  if (plan.repeat !== null && proxy === null && isPlain(sender, plan, request)) {
    plan.repeat.route = route;
    plan.repeat.outgoing = outgoing;
  }
  if (signal?.aborted) throw signal.reason;
  const startMs = trace.length > 0 ? currentLoop().time() : 0;
  const connection =
    (fresh ? null : connector.take(route.key)) ??
    (await acquire(sender, plan, route, request, fresh));
  if (trace.length > 0) traceConnection(trace, connection, request, startMs);
  const exchange = new ClientExchange(connection, outgoing, plan.deadlineMs);
  try {
    await exchange.sendAndWait();
  } catch (error) {
    if (fresh || !mayRepeat(exchange, body, error)) throw error;
    return await sendRequest(sender, plan, request, secrets, history, true);
  }
  return received(sender, exchange, url, history);
}

/** Nothing of a response came over a connection that had been kept for too long. */
export function mayRepeat(exchange: ClientExchange, body: Body | null, error: unknown): boolean {
  const { connection, plan } = exchange;
  const stale = error instanceof ServerDisconnectedError && connection.uses > 1;
  const repeatable = connection.refused || (stale && idempotent.includes(plan.method));
  return repeatable && !connection.started && replayable(body);
}

/** @param exchange whose head has come */
export function received(
  sender: Sender,
  exchange: ClientExchange,
  url: URL,
  history: readonly ClientResponse[],
): ReceivedResponse {
  storeCookies(exchange, sender.cookieJar, url);
  return new ReceivedResponse(exchange, exchange.plan.url, history);
}

/** The request is as the plan has it: of no redirect, and nobody adds anything to it. */
function isPlain(sender: Sender, plan: RequestPlan, request: ClientRequest): boolean {
  if (request.url !== plan.url || request.headers !== plan.headers || sender.trustEnv) return false;
  return plan.secrets.digest === null && (sender.cookieJar?.get(plan.url) ?? '') === '';
}

/** A request that was made before, on a kept connection; null: it takes the longer way. */
export function again(
  sender: Sender,
  plan: RequestPlan,
  request: ClientRequest,
): ClientExchange | null {
  const { route, outgoing } = plan.repeat as Repeat;
  if (route === null || outgoing === null || !isPlain(sender, plan, request)) return null;
  const connection = sender.connector.take(route.key);
  return connection === null ? null : new ClientExchange(connection, outgoing, plan.deadlineMs);
}
