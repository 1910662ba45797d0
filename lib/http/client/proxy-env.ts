/**
 * Proxies that the environment names.
 *
 * In: HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in small letters first as curl reads them. Out: the proxy
 * of a URL. Never: HTTP_PROXY where a web server could have set it from a header (CGI).
 */
import { isIP } from 'node:net';
import process from 'node:process';
import type { Netrc } from './netrc.ts';
import type { ProxyRoute } from './open.ts';
import { checkProxy, netrcUser } from './request-plan.ts';

function variable(name: string): string {
  if (name === 'http_proxy' && process.env['REQUEST_METHOD'] !== undefined) return '';
  return process.env[name] ?? process.env[name.toUpperCase()] ?? '';
}

/** Name and port of an entry of no_proxy. Addresses of IPv6 stand in brackets, or alone. */
const entryForm = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/;

function readEntry(entry: string): [name: string, port: string | undefined] {
  if (isIP(entry) === 6) return [plainAddress(entry), undefined];
  const [, address, name = '', port] = entryForm.exec(entry) ?? [];
  return [address === undefined ? name : plainAddress(address), port];
}

/** As URLs have it: there are many ways to write one. */
function plainAddress(address: string): string {
  const url = `http://[${address}]`;
  return URL.canParse(url) ? new URL(url).hostname.slice(1, -1) : '';
}

/** `host`, `.host`, `*.host` with all below it, `host:port`, or `*`. */
function excluded(url: URL, list: string): boolean {
  const host = url.hostname.toLowerCase().replace(/^\[|\]$/g, '');
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  for (const entry of list.toLowerCase().split(/[\s,]+/)) {
    if (entry === '*') return true;
    const [name, wanted] = readEntry(entry);
    if (name === '' || (wanted !== undefined && wanted !== port)) continue;
    const bare = name.replace(/^\*?\./, '');
    if (host === bare || host.endsWith(`.${bare}`)) return true;
  }
  return false;
}

/** Null: none. @throws InvalidUrlError */
export function environmentProxy(url: URL, netrc: Netrc | null): ProxyRoute | null {
  const proxy = variable(url.protocol === 'https:' ? 'https_proxy' : 'http_proxy');
  if (proxy === '' || excluded(url, variable('no_proxy'))) return null;
  const given = proxy.includes('://') ? proxy : `http://${proxy}`;
  const route = checkProxy(given);
  if (route.authorization !== null) return route;
  return { ...route, authorization: netrcUser(netrc, new URL(given)) };
}
