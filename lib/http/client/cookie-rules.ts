/**
 * What RFC 6265bis asks for beyond tough-cookie.
 *
 * In: a cookie, the cookies that are kept. Out: whether it is taken, which of them stay. Never: a
 * jar that grows for as long as servers set cookies.
 */
import { type Cookie, canonicalDomain, defaultPath, domainMatch, pathMatch } from 'tough-cookie';
import { isFieldText } from '../headers.ts';

/** Cookies of one domain, and of all. Browsers keep about as many. */
export const maxOfDomain = 180;
export const maxCookies = 3_000;

/** Of a Cookie header; and prefixes count in any letters (RFC 6265bis 5.7, 20 and 21). */
export function isWellFormed(cookie: Cookie): boolean {
  const { key, value, secure, domain, path } = cookie;
  if (!isFieldText(`${key}=${value}`)) return false;
  if (/^__secure-/i.test(key)) return secure;
  return !/^__host-/i.test(key) || (secure && domain === null && path === '/');
}

/** It would stand in for one that only TLS may set (RFC 6265bis 5.7, 16). */
export function shadowsSecure(cookie: Cookie, from: URL, kept: readonly Cookie[]): boolean {
  const domain = canonicalDomain(cookie.domain ?? from.hostname) ?? '';
  const path = cookie.path?.startsWith('/') ? cookie.path : defaultPath(from.pathname);
  return kept.some((one) => {
    if (!one.secure || one.key !== cookie.key) return false;
    const other = one.domain ?? '';
    return (
      (domainMatch(domain, other) || domainMatch(other, domain)) && pathMatch(path, one.path ?? '/')
    );
  });
}

/** Those that stay: none that has expired; the ones that were used last. */
export function bounded(kept: readonly Cookie[]): Cookie[] {
  const now = Date.now();
  const byDomain = new Map<string, number>();
  let left = maxCookies;
  const stay = kept
    .filter((cookie) => (cookie.expiryTime() ?? Infinity) > now)
    // They come in the order in which they were made.
    .reverse()
    .sort((a, b) => lastUse(b) - lastUse(a))
    .filter(({ domain }) => {
      const count = (byDomain.get(domain ?? '') ?? 0) + 1;
      if (count > maxOfDomain || left === 0) return false;
      byDomain.set(domain ?? '', count);
      left--;
      return true;
    });
  return stay;
}

function lastUse({ lastAccessed }: Cookie): number {
  return lastAccessed instanceof Date ? lastAccessed.getTime() : 0;
}
