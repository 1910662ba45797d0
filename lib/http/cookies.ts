/**
 * Cookies of requests and responses.
 *
 * In: Cookie header lines; names, values and options. Out: a map; Set-Cookie header lines.
 * Never: a name, value or attribute that could break out of its line.
 */
import { parse, serialize } from 'cookie';
import { argTypeError } from '../base/errors.ts';

export interface CookieOptions {
  domain?: string;
  path?: string;
  expires?: Date;
  maxAgeSeconds?: number;
  secure?: boolean;
  httpOnly?: boolean;
  sameSite?: 'Strict' | 'Lax' | 'None';
  partitioned?: boolean;
}

/** Values are decoded (%XX) where that works. The first of several cookies of a name counts. */
export function parseCookies(header: string | null): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  if (header === null) return found;
  const cookies = parse(header, { decode });
  for (const name of Object.keys(cookies)) found.set(name, cookies[name] as string);
  return found;
}

function decode(value: string): string {
  const quoted = value.length > 1 && value.startsWith('"') && value.endsWith('"');
  const text = quoted ? value.slice(1, -1) : value;
  try {
    return text.includes('%') ? decodeURIComponent(text) : text;
  } catch {
    return text;
  }
}

/** @throws TypeError for a name, value or attribute that cannot be in a cookie */
export function setCookie(name: string, value: string, options: CookieOptions = {}): string {
  if (typeof value !== 'string') throw argTypeError('value', 'a string', value);
  const { maxAgeSeconds, sameSite, ...rest } = options;
  return serialize(name, value, {
    ...rest,
    ...(maxAgeSeconds === undefined ? {} : { maxAge: maxAgeSeconds }),
    ...(sameSite === undefined ? {} : { sameSite: sameSite.toLowerCase() as 'strict' }),
  });
}

/** One that ends the cookie at once. */
export function deleteCookie(
  name: string,
  options: Pick<CookieOptions, 'domain' | 'path'> = {},
): string {
  return setCookie(name, '', { ...options, expires: new Date(0), maxAgeSeconds: 0 });
}
