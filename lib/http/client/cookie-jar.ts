/**
 * Cookies that a client keeps. (RFC 6265bis, through tough-cookie)
 *
 * In: Set-Cookie headers. Out: Cookie headers. Never: a cookie for another site; for an address
 * unless that is asked for.
 */
import { isIP } from 'node:net';
import {
  Cookie,
  CookieJar as Jar,
  MemoryCookieStore,
  type SerializedCookieJar,
} from 'tough-cookie';
import { argTypeError } from '../../base/errors.ts';
import { ignore } from '../../base/quiet.ts';
import { bounded, isWellFormed, shadowsSecure } from './cookie-rules.ts';

/** Longer ones are dropped, as browsers do. */
const maxCookieBytes = 8_192;
/** So many are stored, beyond the bounds at worst, before it is looked what stays. */
const sweepEvery = 64;

interface StoredCookie {
  readonly name: string;
  readonly domain: string;
  readonly path: string;
}

function isAddress(url: URL): boolean {
  return isIP(url.hostname.replace(/^\[|\]$/g, '')) !== 0;
}

/**
 * Keeps some 180 cookies of a domain and 3,000 in all: those that were used last.
 * (aiohttp.CookieJar)
 */
export class CookieJar {
  #jar: Jar;
  #stored = 0;
  /** No look at all that are kept where nothing is to be protected. */
  #mayHoldSecure = false;
  readonly #unsafe: boolean;
  /** No look-up while nothing was stored. */
  #empty = true;

  /** @param options `unsafe`: also for IP addresses */
  constructor(options: { unsafe?: boolean } = {}) {
    this.#unsafe = options.unsafe ?? false;
    this.#jar = makeJar();
  }

  /** Stores a Set-Cookie header. One that is malformed or not for this URL is dropped. */
  set(setCookie: string, url: string | URL): void {
    if (typeof setCookie !== 'string') throw argTypeError('setCookie', 'a string', setCookie);
    const from = new URL(url);
    if (setCookie.length > maxCookieBytes || (isAddress(from) && !this.#unsafe)) return;
    const cookie = Cookie.parse(setCookie);
    if (cookie === undefined || !isWellFormed(cookie)) return;
    if (cookie.secure) this.#mayHoldSecure = true;
    const inClear = from.protocol === 'http:' && this.#mayHoldSecure;
    if (inClear && shadowsSecure(cookie, from, this.#kept())) return;
    this.#empty = false;
    this.#jar.setCookieSync(cookie, from.href, { ignoreError: true });
    if (++this.#stored % sweepEvery === 0) this.#sweep();
  }

  #kept(): readonly Cookie[] {
    let kept: readonly Cookie[] = [];
    // Its store is in memory: it calls at once.
    this.#jar.store.getAllCookies((_error, cookies) => {
      kept = cookies ?? [];
    });
    return kept;
  }

  /** The store forgets the paths, too, of which nothing is left. */
  #sweep(): void {
    const stay = bounded(this.#kept());
    const { store } = this.#jar;
    store.removeAllCookies(ignore);
    for (const cookie of stay) store.putCookie(cookie, ignore);
  }

  /** The Cookie header for a URL, or ''. */
  get(url: string | URL): string {
    if (this.#empty) return '';
    const target = new URL(url);
    if (isAddress(target) && !this.#unsafe) return '';
    return this.#jar.getCookieStringSync(target.href);
  }

  /** Drops all cookies, or those that `match` says. */
  clear(match?: (cookie: StoredCookie) => boolean): void {
    if (match === undefined) {
      this.#jar.removeAllCookiesSync();
      this.#empty = true;
      return;
    }
    const saved = this.#jar.serializeSync() as SerializedCookieJar;
    const cookies = saved.cookies.filter((one) => {
      const { key, domain, path } = one as { key?: string; domain?: string; path?: string };
      return !match({ name: key ?? '', domain: domain ?? '', path: path ?? '/' });
    });
    this.#jar = Jar.deserializeSync({ ...saved, cookies }, new MemoryCookieStore());
  }

  /** For a file: `fromJSON` makes a jar of it again. */
  toJSON(): unknown {
    return { unsafe: this.#unsafe, ...this.#jar.serializeSync() };
  }

  /** @throws TypeError for what `toJSON` did not make */
  static fromJSON(value: unknown): CookieJar {
    const saved = value as { unsafe?: boolean; cookies?: unknown };
    if (typeof value !== 'object' || value === null || !Array.isArray(saved.cookies)) {
      throw argTypeError('value', 'what toJSON() gave', value);
    }
    const jar = new CookieJar({ unsafe: saved.unsafe === true });
    jar.#jar = Jar.deserializeSync(value as SerializedCookieJar, new MemoryCookieStore());
    jar.#empty = saved.cookies.length === 0;
    jar.#mayHoldSecure = !jar.#empty;
    return jar;
  }
}

function makeJar(): Jar {
  return new Jar(new MemoryCookieStore(), { rejectPublicSuffixes: true, looseMode: false });
}
