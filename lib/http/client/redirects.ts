/**
 * A request with its redirects. (RFC 9110 15.4, WHATWG Fetch 4.4)
 *
 * In: a plan, a way to send. Out: the last response. Never: credentials for another origin; a body
 * that was used up sent a second time.
 */
import { ClientResponseError, InvalidUrlError, TooManyRedirectsError } from '../client-errors.ts';
import { HttpHeaders } from '../headers.ts';
import type { Body } from '../response.ts';
import {
  checkUrl,
  netrcUser,
  noSecrets,
  type RequestPlan,
  type Secrets,
  takeUser,
} from './request-plan.ts';
import { replayable } from './retry.ts';
import { again, mayRepeat, received, type Sender, sendRequest } from './send.ts';
import { sendWithDigest } from './send-digest.ts';
import type { ClientRequest, ClientResponse } from './types.ts';

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

class OutgoingRequest implements ClientRequest {
  method: string;
  url: URL;
  readonly headers: HttpHeaders;
  body: Body | null;

  constructor(method: string, url: URL, headers: HttpHeaders, body: Body | null) {
    this.method = method;
    this.url = url;
    this.headers = headers;
    this.body = body;
  }
}

/** @internal The first request of a plan; another one for each attempt, as it may be changed. */
export function firstRequest(plan: RequestPlan): ClientRequest {
  const { method, body, url, headers } = plan;
  if (plan.middlewares.length === 0) return new OutgoingRequest(method, url, headers, body);
  return new OutgoingRequest(method, new URL(url), new HttpHeaders(headers), body);
}

/** Through the middlewares. */
function dispatch(
  sender: Sender,
  plan: RequestPlan,
  request: ClientRequest,
  secrets: Secrets,
  history: readonly ClientResponse[],
): Promise<ClientResponse> {
  const { middlewares } = plan;
  const send = secrets.digest === null ? sendRequest : sendWithDigest;
  if (middlewares.length === 0) return send(sender, plan, request, secrets, history);
  const step = async (at: number, current: ClientRequest): Promise<ClientResponse> => {
    const middleware = middlewares[at];
    if (middleware === undefined) return send(sender, plan, current, secrets, history);
    return await middleware(current, (next) => step(at + 1, next));
  };
  return step(0, request);
}

function refuse(response: ClientResponse, why: string): ClientResponseError {
  const { status, headers, url, history } = response;
  return new ClientResponseError(`${url} ${why}`, { status, headers, url, history });
}

/** Where a redirect leads to. */
interface Location {
  readonly url: URL;
  /** Value of Authorization; null: the URL names nobody. */
  readonly user: string | null;
}

function percentEncoded(byte: string): string {
  return `%${byte.charCodeAt(0).toString(16).toUpperCase()}`;
}

/** Null: none. @throws InvalidUrlError, TypeError for a user whom Basic cannot name */
function locationOf(response: ClientResponse, plan: RequestPlan): Location | null {
  if (!redirects.has(response.status)) return null;
  const location = response.headers.get('location');
  if (location === null) return null;
  // What is not ASCII should be UTF-8; if it is not, its bytes are all that is known.
  const text = location.replace(/[\x80-\xff]/g, percentEncoded);
  const known = plan.upgrade === null ? text : text.replace(/^ws(?=s?:)/i, 'http');
  const url = checkUrl(known, new URL(response.url));
  url.hash = '';
  return { url, user: takeUser(url) };
}

function nextRequest(
  sender: Sender,
  before: ClientRequest,
  status: number,
  { url, user: named }: Location,
): ClientRequest | null {
  const headers = new HttpHeaders(before.headers);
  let { method, body } = before;
  const toGet =
    status === 303 ? method !== 'GET' && method !== 'HEAD' : status < 303 && method === 'POST';
  if (toGet) {
    body = null;
    method = 'GET';
    for (const name of ['encoding', 'language', 'length', 'location', 'type']) {
      headers.delete(`content-${name}`);
    }
  } else if (!replayable(body)) return null;
  if (before.url.origin !== url.origin) {
    for (const name of ['authorization', 'cookie', 'host', 'proxy-authorization']) {
      headers.delete(name);
    }
  }
  let user = named;
  if (before.url.origin !== url.origin) user ??= netrcUser(sender.netrc, url);
  if (user !== null) headers.set('authorization', user);
  return new OutgoingRequest(method, url, headers, body);
}

/** What a redirect sets, or deletes, is the jar's from then on. */
function withoutSet(secrets: Secrets, response: ClientResponse): Secrets {
  if (secrets.cookies === '') return secrets;
  const set = response.cookies;
  const others = secrets.cookies.split('; ').filter((one) => !set.has(one.split('=')[0] as string));
  return { ...secrets, cookies: others.join('; ') };
}

export async function follow(
  sender: Sender,
  plan: RequestPlan,
  first: ClientRequest,
): Promise<ClientResponse> {
  let history: readonly ClientResponse[] = [];
  let request = first;
  let { secrets } = plan;
  const known = plan.repeat === null ? null : again(sender, plan, first);
  for (;;) {
    let response: ClientResponse;
    if (known !== null && request === first) {
      // Not by dispatch: each async function on the way costs a promise.
      try {
        await known.sendAndWait();
        response = received(sender, known, first.url, history);
      } catch (error) {
        if (!mayRepeat(known, null, error)) throw error;
        response = await sendRequest(sender, plan, request, secrets, history, true);
      }
    } else {
      response = await dispatch(sender, plan, request, secrets, history);
    }
    if (plan.redirect === 'manual') return response;
    let location: Location | null;
    try {
      location = locationOf(response, plan);
    } catch (error) {
      await response.release();
      if (error instanceof InvalidUrlError) throw error;
      throw refuse(response, 'redirects to what is no URL');
    }
    if (location === null) return response;
    await response.release();
    if (plan.redirect === 'error') throw refuse(response, 'redirects');
    if (history.length >= plan.maxRedirects) {
      const { status, headers } = response;
      const message = `More than ${plan.maxRedirects} redirects`;
      throw new TooManyRedirectsError(message, { status, headers, url: response.url, history });
    }
    const next = nextRequest(sender, request, response.status, location);
    if (next === null) throw refuse(response, 'asks for the body again, which was used up');
    if (request.url.origin !== next.url.origin) secrets = noSecrets;
    else if (sender.cookieJar !== null) secrets = withoutSet(secrets, response);
    for (const hooks of sender.trace) hooks.redirect?.({ request, location: next.url });
    history = [...history, response];
    request = next;
  }
}
