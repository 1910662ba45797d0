/**
 * Requests, checked and complete.
 *
 * In: what a user gave, the defaults of a session. Out: a plan. Never: a password in a URL that is
 * kept; an option that is wrong and is told only when the request is under way.
 */
import { Buffer } from 'node:buffer';
import { argTypeError, rangeError } from '../../base/errors.ts';
import { checkCount, checkMs } from '../../base/units.ts';
import type { TlsClientOptions } from '../../io/net-types.ts';
import { currentLoop } from '../../task/frame.ts';
import type { QueryInit } from '../application.ts';
import { InvalidUrlError } from '../client-errors.ts';
import { HttpHeaders, isToken } from '../headers.ts';
import type { Body } from '../response.ts';
import type { DigestUser } from './digest.ts';
import type { Outgoing, Upgrade } from './exchange.ts';
import type { Netrc } from './netrc.ts';
import type { ProxyRoute, Route } from './open.ts';
import { checkRetry, type RetryPlan } from './retry.ts';
import type { ClientAuth, ClientMiddleware, RequestDefaults, RequestOptions } from './types.ts';

/** Beside its headers, what is for the origin of the first request and for no other. */
export interface Secrets {
  /** Value of Cookie beside those of the jar; '': none. */
  readonly cookies: string;
  /** Whoever answers challenges of Digest; null: nobody. */
  readonly digest: DigestUser | null;
}

export const noSecrets: Secrets = { cookies: '', digest: null };

const defaultTotalMs = 300_000;

/** What the requests of a plan have in common: made by the first of them. */
export interface Repeat {
  route: Route | null;
  outgoing: Outgoing | null;
}

export interface RequestPlan {
  readonly method: string;
  /** Without user, password and fragment. */
  readonly url: URL;
  readonly headers: HttpHeaders;
  readonly body: Body | null;
  readonly secrets: Secrets;
  readonly redirect: 'follow' | 'manual' | 'error';
  readonly maxRedirects: number;
  readonly raiseForStatus: boolean;
  readonly retry: RetryPlan | null;
  readonly middlewares: readonly ClientMiddleware[];
  readonly decompress: boolean;
  readonly expectContinue: boolean;
  /** What the connection is to become. */
  readonly upgrade: Upgrade | null;
  readonly tls: TlsClientOptions | undefined;
  /** Undefined: what the environment says, if it is asked. */
  readonly proxy: ProxyRoute | null | undefined;
  readonly signal: AbortSignal | undefined;
  readonly totalMs: number;
  /** Nobody said so: events are read for longer. */
  readonly totalIsDefault: boolean;
  readonly connectMs: number;
  readonly readMs: number;
  /** On the loop's clock. */
  readonly deadlineMs: number;
  /** Of a plan that serves more than one request; null: it does not. */
  readonly repeat: Repeat | null;
}

const common: ReadonlySet<string> = new Set([
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
]);

/** As the Web's fetch: the common ones in capitals. */
export function checkMethod(method: unknown): string {
  if (!isToken(method)) throw argTypeError('method', 'a token', method);
  const upper = method.toUpperCase();
  if (upper === 'CONNECT') throw argTypeError('method', 'another one than CONNECT', method);
  return common.has(upper) ? upper : method;
}

/** @throws InvalidUrlError */
export function checkUrl(given: string | URL, base: URL | null): URL {
  const text = typeof given === 'string' ? given : String(given);
  let url: URL;
  try {
    url = base === null ? new URL(text) : new URL(text, base);
  } catch {
    throw new InvalidUrlError(text);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new InvalidUrlError(text, `'${url.protocol}' is no scheme of an HTTP request`);
  }
  return url;
}

export function addQuery(url: URL, query: QueryInit): void {
  let more: string;
  if (typeof query === 'string' || query instanceof URLSearchParams) {
    more = String(query).replace(/^\?/, '');
  } else {
    const pairs = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      const values = Array.isArray(value) ? value : [value];
      for (const one of values) pairs.append(name, String(one));
    }
    more = String(pairs);
  }
  if (more !== '') url.search = url.search === '' ? more : `${url.search.slice(1)}&${more}`;
}

function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

/** @throws TypeError */
function checkAuth(auth: ClientAuth): ClientAuth {
  if (typeof auth !== 'object' || auth === null) throw argTypeError('auth', 'an object', auth);
  if ('bearer' in auth) {
    if (typeof auth.bearer !== 'string' || !/^[\x21-\x7e]+$/.test(auth.bearer)) {
      throw argTypeError('auth.bearer', 'a string of visible characters', '(not shown)');
    }
    return auth;
  }
  const { username, password, scheme = 'basic' } = auth;
  if (typeof username !== 'string' || hasControl(username) || username.includes(':')) {
    throw argTypeError('auth.username', 'a string without a colon', username);
  }
  if (typeof password !== 'string' || hasControl(password)) {
    throw argTypeError('auth.password', 'a string without control characters', '(not shown)');
  }
  if (scheme !== 'basic' && scheme !== 'digest') {
    throw rangeError('auth.scheme', "'basic' or 'digest'", scheme);
  }
  return auth;
}

/** Value of Authorization; null: Digest, which waits for its challenge. @throws TypeError */
export function authorizationOf(given: ClientAuth): string | null {
  const auth = checkAuth(given);
  if ('bearer' in auth) return `Bearer ${auth.bearer}`;
  const { username, password, scheme } = auth;
  if (scheme === 'digest') return null;
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Takes user and password out of a URL; null: there were none. */
export function takeUser(url: URL): string | null {
  if (url.username === '' && url.password === '') return null;
  const auth = { username: decodePart(url.username), password: decodePart(url.password) };
  url.username = '';
  url.password = '';
  return authorizationOf(auth);
}

/** Value of Authorization; null: nobody is named, or whom Basic cannot name. */
export function netrcUser(netrc: Netrc | null, url: URL): string | null {
  const user = netrc === null ? null : netrc.find(url.hostname);
  if (user === null || hasControl(user.username + user.password)) return null;
  return user.username.includes(':') ? null : authorizationOf(user);
}

export function checkProxy(given: string | URL): ProxyRoute {
  if (!URL.canParse(String(given))) throw new InvalidUrlError('(proxy)', 'The proxy is no URL');
  const url = new URL(given);
  if (url.protocol !== 'http:') {
    throw new InvalidUrlError(url.host, `'${url.protocol}' is no scheme of a proxy`);
  }
  const authorization = takeUser(url);
  const port = url.port === '' ? 80 : Number(url.port);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port, authorization };
}

/** The body, and its type if `headers` has none. */
function takeBody(options: RequestOptions, headers: HttpHeaders): Body | null {
  const { body, json, form } = options;
  const given =
    Number(body !== undefined) + Number(json !== undefined) + Number(form !== undefined);
  if (given > 1) throw argTypeError('options', 'with one of body, json and form', options);
  if (json !== undefined) {
    const text = JSON.stringify(json);
    if (text === undefined) throw argTypeError('json', 'expressible as JSON', json);
    if (!headers.has('content-type')) headers.set('content-type', 'application/json');
    return text;
  }
  if (form === undefined) return body ?? null;
  const pairs = form instanceof URLSearchParams ? form : new URLSearchParams(form);
  return pairs;
}

function cookieText(cookies: Record<string, string> | undefined): string {
  if (cookies === undefined) return '';
  const parts: string[] = [];
  for (const [name, value] of Object.entries(cookies)) {
    if (!isToken(name) || /[^\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]/.test(value)) {
      throw argTypeError('cookies', 'names and values of the form of RFC 6265', name);
    }
    parts.push(`${name}=${value}`);
  }
  return parts.join('; ');
}

function limitOf(name: string, ms: number | null): number {
  return ms === null ? Infinity : checkMs(name, ms);
}

function makeHeaders(defaults: HttpHeaders, options: RequestOptions): HttpHeaders {
  const headers = new HttpHeaders(defaults);
  if (options.headers !== undefined) {
    const own = new HttpHeaders(options.headers);
    const list = own.toList();
    for (let i = 0; i < list.length; i += 2) headers.delete(list[i] as string);
    for (let i = 0; i < list.length; i += 2) headers.put(list[i] as string, list[i + 1] as string);
  }
  return headers;
}

function checkRedirect(redirect: unknown): 'follow' | 'manual' | 'error' {
  if (redirect === 'follow' || redirect === 'manual' || redirect === 'error') return redirect;
  throw rangeError('redirect', "'follow', 'manual' or 'error'", redirect);
}

/** What a session has checked once. */
export interface PlanBase {
  readonly defaults: RequestDefaults;
  readonly headers: HttpHeaders;
  readonly baseUrl: URL | null;
  readonly netrc: Netrc | null;
}

/** @throws TypeError, RangeError, InvalidUrlError */
export function makePlan(
  base: PlanBase,
  method: string,
  given: string | URL,
  options: RequestOptions,
): RequestPlan {
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'an object', options);
  }
  const { defaults } = base;
  const url = checkUrl(given, base.baseUrl);
  if (url.hash !== '') url.hash = '';
  if (options.query !== undefined) addQuery(url, options.query);
  const headers = makeHeaders(base.headers, options);
  const user = takeUser(url);
  const auth = options.auth ?? defaults.auth;
  let digest: DigestUser | null = null;
  if (!headers.has('authorization')) {
    const value = auth === undefined ? (user ?? netrcUser(base.netrc, url)) : authorizationOf(auth);
    if (value !== null) headers.set('authorization', value);
    else if (auth !== undefined) digest = auth as DigestUser;
  }
  const body = takeBody(options, headers);
  const decompress = options.decompress ?? defaults.decompress ?? true;
  if (decompress && !headers.has('accept-encoding')) {
    headers.put('accept-encoding', 'gzip, deflate, br');
  }
  const { timeout: own } = options;
  const { timeout: general } = defaults;
  const ownTotal = options.timeoutMs !== undefined ? options.timeoutMs : own?.totalMs;
  const total = defaults.timeoutMs !== undefined ? defaults.timeoutMs : general?.totalMs;
  const said = pick(ownTotal, total, undefined);
  const totalMs = limitOf('timeoutMs', said === undefined ? defaultTotalMs : said);
  const proxy = options.proxy !== undefined ? options.proxy : defaults.proxy;
  const retry = options.retry ?? defaults.retry ?? false;
  return {
    method: checkMethod(method),
    url,
    headers,
    body,
    secrets: { cookies: cookieText(options.cookies), digest },
    redirect: checkRedirect(options.redirect ?? defaults.redirect ?? 'follow'),
    maxRedirects: checkCount('maxRedirects', options.maxRedirects ?? defaults.maxRedirects ?? 10),
    raiseForStatus: options.raiseForStatus ?? defaults.raiseForStatus ?? false,
    retry: retry === false ? null : checkRetry(retry),
    middlewares: options.middlewares ?? defaults.middlewares ?? [],
    decompress,
    expectContinue: options.expectContinue ?? false,
    upgrade: null,
    tls: options.tls ?? defaults.tls,
    proxy: proxy === undefined || proxy === null ? proxy : checkProxy(proxy),
    signal: options.signal,
    totalMs,
    totalIsDefault: said === undefined,
    connectMs: limitOf('connectMs', pick(own?.connectMs, general?.connectMs, 30_000)),
    readMs: limitOf('readMs', pick(own?.readMs, general?.readMs, null)),
    deadlineMs: deadlineOf(totalMs),
    repeat: null,
  };
}

function deadlineOf(totalMs: number): number {
  return totalMs === Infinity ? Infinity : currentLoop().time() + totalMs;
}

/** URLs whose plans are kept. */
const maxPlans = 64;

/**
 * Plans of requests that have a method and a URL, and nothing else of their own: they are made
 * once. Not with middlewares or hooks, which are given the parts of a plan and could change them.
 */
export class PlanCache {
  readonly #base: PlanBase;
  readonly #usable: boolean;
  readonly #plans: Map<string, Map<string, RequestPlan>> = new Map();
  #size = 0;

  constructor(base: PlanBase, usable: boolean) {
    this.#base = base;
    this.#usable = usable && (base.defaults.middlewares ?? []).length === 0;
  }

  /** @throws TypeError, RangeError, InvalidUrlError */
  planFor(method: string, url: string | URL, options: RequestOptions | undefined): RequestPlan {
    if (options !== undefined || typeof url !== 'string' || !this.#usable) {
      return makePlan(this.#base, method, url, options === undefined ? {} : options);
    }
    const known = this.#plans.get(method)?.get(url);
    if (known !== undefined) return { ...known, deadlineMs: deadlineOf(known.totalMs) };
    const plan = {
      ...makePlan(this.#base, method, url, {}),
      repeat: { route: null, outgoing: null },
    };
    if (this.#size >= maxPlans) {
      this.#plans.clear();
      this.#size = 0;
    }
    let ofMethod = this.#plans.get(method);
    if (ofMethod === undefined) this.#plans.set(method, (ofMethod = new Map()));
    ofMethod.set(url, plan);
    this.#size++;
    return plan;
  }
}

/** The first that is said; null is said, too. */
function pick<T extends number | null | undefined>(
  own: number | null | undefined,
  general: number | null | undefined,
  standard: T,
): number | null | T {
  if (own !== undefined) return own;
  return general === undefined ? standard : general;
}
