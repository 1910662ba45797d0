/**
 * Digest authentication. (RFC 7616; aiohttp.DigestAuthMiddleware)
 *
 * In: a user, the challenge of a server. Out: values of Authorization. Never: a password, or its
 * hash, for a server that was not asked at first; a nonce's count that was used before.
 */
import { Buffer } from 'node:buffer';
import { createHash, randomBytes } from 'node:crypto';
import { type Challenge, parseChallenges, parseParameters, quoted } from './challenges.ts';
import type { ClientResponse } from './types.ts';

export interface DigestUser {
  readonly username: string;
  readonly password: string;
}

interface Algorithm {
  /** As the header has it. */
  readonly name: string;
  /** As node:crypto has it. */
  readonly hash: string;
  /** The hash of user and password depends on the nonces, too. */
  readonly session: boolean;
}

/** The best one first. */
const algorithms: readonly Algorithm[] = [
  ['SHA-512-256', 'sha512-256'] as const,
  ['SHA-256', 'sha256'] as const,
  ['MD5', 'md5'] as const,
].flatMap(([name, hash]) => [
  { name: `${name}-sess`, hash, session: true },
  { name, hash, session: false },
]);

/** A challenge that can be answered, and how often that was done. */
export class DigestState {
  readonly #algorithm: Algorithm;
  readonly #named: boolean;
  readonly #realm: string;
  readonly #opaque: string | undefined;
  /** '': of RFC 2069, which has none. */
  readonly #qop: 'auth' | 'auth-int' | '';
  readonly #userHash: boolean;
  readonly #utf8: boolean;
  readonly #clientNonce: string;
  #nonce: string;
  #count = 0;

  constructor(
    algorithm: Algorithm,
    qop: 'auth' | 'auth-int' | '',
    parameters: ReadonlyMap<string, string>,
    clientNonce: string,
  ) {
    this.#algorithm = algorithm;
    this.#named = parameters.has('algorithm');
    this.#realm = parameters.get('realm') as string;
    this.#nonce = parameters.get('nonce') as string;
    this.#opaque = parameters.get('opaque');
    this.#qop = qop;
    this.#userHash = parameters.get('userhash')?.toLowerCase() === 'true';
    this.#utf8 = parameters.get('charset')?.toUpperCase() === 'UTF-8';
    this.#clientNonce = clientNonce;
  }

  /** Value of Authorization. @param body null: it is not known, and not asked for */
  answer(user: DigestUser, method: string, target: string, body: Uint8Array | null): string | null {
    const { name, session } = this.#algorithm;
    if (this.#qop === 'auth-int' && body === null) return null;
    this.#count++;
    const count = this.#count.toString(16).padStart(8, '0');
    const { username, password } = user;
    const realm = this.#realm;
    let secret = this.#hash(`${username}:${realm}:${password}`);
    if (session) secret = this.#hash(`${secret}:${this.#nonce}:${this.#clientNonce}`);
    let what = `${method}:${target}`;
    if (this.#qop === 'auth-int') what += `:${this.#hash(body as Uint8Array)}`;
    const middle = this.#qop === '' ? '' : `:${count}:${this.#clientNonce}:${this.#qop}`;
    const response = this.#hash(`${secret}:${this.#nonce}${middle}:${this.#hash(what)}`);
    const parts = [
      this.#userPart(username),
      `realm=${quoted(realm)}`,
      `nonce=${quoted(this.#nonce)}`,
      `uri=${quoted(target)}`,
      `response="${response}"`,
    ];
    if (this.#named) parts.push(`algorithm=${name}`);
    if (this.#opaque !== undefined) parts.push(`opaque=${quoted(this.#opaque)}`);
    if (this.#qop !== '') parts.push(`qop=${this.#qop}`, `nc=${count}`);
    if (this.#qop !== '' || session) parts.push(`cnonce="${this.#clientNonce}"`);
    if (this.#userHash) parts.push('userhash=true');
    return `Digest ${parts.join(', ')}`;
  }

  /** A server may say in its answer which nonce is next. */
  note(response: ClientResponse): void {
    const info = response.headers.get('authentication-info');
    const next = info === null ? undefined : parseParameters(info).get('nextnonce');
    if (next === undefined || next === this.#nonce) return;
    this.#nonce = next;
    this.#count = 0;
  }

  #userPart(username: string): string {
    if (this.#userHash) return `username="${this.#hash(`${username}:${this.#realm}`)}"`;
    if (/^[\x20-\x7e]*$/.test(username)) return `username=${quoted(username)}`;
    const escaped = encodeURIComponent(username).replace(/['()*]/g, (one) => {
      return `%${one.charCodeAt(0).toString(16).toUpperCase()}`;
    });
    return `username*=UTF-8''${escaped}`;
  }

  #hash(text: string | Uint8Array): string {
    const hash = createHash(this.#algorithm.hash);
    if (typeof text !== 'string') return hash.update(text).digest('hex');
    const latin1 = !this.#utf8 && /^[\0-\xff]*$/.test(text);
    return hash.update(Buffer.from(text, latin1 ? 'latin1' : 'utf8')).digest('hex');
  }
}

function stateFor(challenge: Challenge, clientNonce: string): [number, DigestState] | null {
  const { scheme, parameters } = challenge;
  if (scheme !== 'digest' || !parameters.has('realm') || !parameters.has('nonce')) return null;
  const name = (parameters.get('algorithm') ?? 'MD5').toUpperCase();
  const rank = algorithms.findIndex((one) => one.name.toUpperCase() === name);
  if (rank < 0) return null;
  const offered = parameters.get('qop');
  const kinds = (offered ?? '').toLowerCase().split(/[\s,]+/);
  const qop = kinds.includes('auth') ? 'auth' : kinds.includes('auth-int') ? 'auth-int' : '';
  if (qop === '' && offered !== undefined) return null;
  return [rank, new DigestState(algorithms[rank] as Algorithm, qop, parameters, clientNonce)];
}

/** The best challenge of WWW-Authenticate; null: none of Digest that can be answered. */
export function readChallenge(
  header: string | null,
  clientNonce: string = randomBytes(16).toString('hex'),
): DigestState | null {
  let best: [number, DigestState] | null = null;
  for (const challenge of parseChallenges(header ?? '')) {
    const found = stateFor(challenge, clientNonce);
    if (found !== null && (best === null || found[0] < best[0])) best = found;
  }
  return best === null ? null : best[1];
}
