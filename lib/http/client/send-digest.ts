/**
 * Requests of whoever answers challenges of Digest.
 *
 * In: a request, a user. Out: its response, after the challenge if there was one. Never: a third
 * request; a body that was used up sent a second time.
 */
import { Buffer } from 'node:buffer';
import { HttpHeaders } from '../headers.ts';
import type { Body } from '../response.ts';
import { type DigestState, type DigestUser, readChallenge } from './digest.ts';
import { checkMethod, type RequestPlan, type Secrets } from './request-plan.ts';
import { replayable } from './retry.ts';
import { type Sender, sendRequest } from './send.ts';
import type { ClientRequest, ClientResponse } from './types.ts';

/** Of what a body consists, where that is known; null: it is not. */
function bytesOf(body: Body | null): Uint8Array | null {
  if (body === null) return Buffer.alloc(0);
  if (body instanceof Uint8Array) return body;
  return typeof body === 'string' || body instanceof URLSearchParams
    ? Buffer.from(String(body))
    : null;
}

/** A copy, with its answer; null: a challenge that asks for the hash of a body that has none. */
function authorized(
  request: ClientRequest,
  state: DigestState,
  user: DigestUser,
): ClientRequest | null {
  const { url, body } = request;
  const method = checkMethod(request.method);
  const value = state.answer(user, method, url.pathname + url.search, bytesOf(body));
  if (value === null) return null;
  const headers = new HttpHeaders(request.headers);
  headers.set('authorization', value);
  return { method, url, headers, body };
}

/** As `sendRequest`, for `secrets` with a user of Digest. */
export async function sendWithDigest(
  sender: Sender,
  plan: RequestPlan,
  request: ClientRequest,
  secrets: Secrets,
  history: readonly ClientResponse[],
): Promise<ClientResponse> {
  const user = secrets.digest as DigestUser;
  const { digests } = sender;
  const { origin } = request.url;
  if (request.headers.has('authorization')) {
    return await sendRequest(sender, plan, request, secrets, history);
  }
  const known = digests.get(origin);
  const first = (known && authorized(request, known, user)) ?? request;
  const response = await sendRequest(sender, plan, first, secrets, history);
  if (response.status !== 401) {
    known?.note(response);
    return response;
  }
  const state = readChallenge(response.headers.get('www-authenticate'));
  if (state === null) return response;
  // Also for a body that is used up: the next request has its answer with it.
  digests.set(origin, state);
  const second = replayable(request.body) ? authorized(request, state, user) : null;
  if (second === null) return response;
  await response.release();
  const answer = await sendRequest(sender, plan, second, secrets, history);
  state.note(answer);
  return answer;
}
