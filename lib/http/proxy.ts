/**
 * What proxies say of the client.
 *
 * In: the peer's address, forwarding headers, whom to trust. Out: address, scheme and host of the
 * client. Never: a word of an address that is not trusted.
 */

import { BlockList, isIP } from 'node:net';
import { argTypeError } from '../base/errors.ts';
import { validHost } from './framing.ts';
import { trimBlanks } from './headers.ts';
import type { HeaderSource } from './wire.ts';

/** Whether what this peer forwards counts. */
export type TrustTest = (address: string) => boolean;

/** @throws TypeError for what is no list of addresses or networks ('10.0.0.0/8') */
export function makeTrust(option: boolean | readonly string[] | undefined): TrustTest | null {
  if (option === undefined || option === false) return null;
  if (option === true) return () => true;
  if (!Array.isArray(option)) throw argTypeError('trustProxy', 'a boolean or addresses', option);
  const list = new BlockList();
  for (const entry of option as readonly unknown[]) {
    const [address = '', bits] = String(entry).split('/');
    const family = isIP(address);
    if (family === 0) throw argTypeError('trustProxy', 'a list of IP addresses', entry);
    const type = family === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, type);
    else list.addSubnet(address, Number(bits), type);
  }
  return (address) => {
    const plain = unmapped(address);
    const family = isIP(plain);
    return family !== 0 && list.check(plain, family === 6 ? 'ipv6' : 'ipv4');
  };
}

/** An IPv4 address of a socket that takes both. */
export function unmapped(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

export interface Forwarded {
  readonly ip: string;
  readonly scheme: 'http' | 'https' | null;
  readonly host: string | null;
}

/**
 * The client as the trusted proxies in front tell it. Proxies pass on what they do not know, so one
 * of both kinds of headers may be the client's own: X-Forwarded-*, which nearly all of them set,
 * comes before RFC 7239's Forwarded.
 */
export function readForwarded(source: HeaderSource, peer: string, trust: TrustTest): Forwarded {
  const direct = unmapped(peer);
  if (!trust(direct)) return { ip: direct, scheme: null, host: null };
  const legacy = readLegacy(source);
  const hops = legacy.length > 0 ? legacy : readStandard(source.header('forwarded'));
  // From the nearest hop outwards, as far as each one is trusted.
  let ip = direct;
  let scheme: string | null = null;
  let host: string | null = null;
  for (let i = hops.length - 1; i >= 0 && trust(ip); i--) {
    const hop = hops[i] as Hop;
    scheme = hop.scheme ?? scheme;
    host = hop.host ?? host;
    if (isIP(hop.address) === 0) break;
    ip = unmapped(hop.address);
  }
  return {
    ip,
    scheme: scheme === 'https' || scheme === 'http' ? scheme : null,
    host: host !== null && host !== '' && validHost(host) ? host : null,
  };
}

interface Hop {
  readonly address: string;
  readonly scheme: string | null;
  readonly host: string | null;
}

function readLegacy(source: HeaderSource): Hop[] {
  const list = (name: string): string[] => {
    const value = source.header(name);
    return value === null ? [] : value.split(',').map((one) => trimBlanks(one));
  };
  const addresses = list('x-forwarded-for');
  const schemes = list('x-forwarded-proto').map((scheme) => scheme.toLowerCase());
  const hosts = list('x-forwarded-host');
  const last = addresses.length - 1;
  if (last < 0) {
    if (schemes.length + hosts.length === 0) return [];
    return [{ address: '', scheme: schemes.at(-1) ?? null, host: hosts.at(-1) ?? null }];
  }
  // Proxies append to all lists or to the first only: counted from their ends.
  return addresses.map((address, at) => ({
    address: plainAddress(address),
    scheme: schemes[schemes.length - 1 - (last - at)] ?? schemes[0] ?? null,
    host: hosts[hosts.length - 1 - (last - at)] ?? hosts[0] ?? null,
  }));
}

function readStandard(header: string | null): Hop[] {
  if (header === null) return [];
  return header.split(',').map((element) => {
    const hop: Record<string, string> = { __proto__: null as never };
    for (const pair of element.split(';')) {
      const at = pair.indexOf('=');
      if (at < 0) continue;
      const value = trimBlanks(pair, at + 1);
      const text = value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
      hop[trimBlanks(pair, 0, at).toLowerCase()] = text;
    }
    return {
      address: plainAddress(hop['for'] ?? ''),
      scheme: hop['proto']?.toLowerCase() ?? null,
      host: hop['host'] ?? null,
    };
  });
}

/** Without port and brackets. */
function plainAddress(text: string): string {
  if (text.startsWith('[')) return text.slice(1, text.indexOf(']'));
  const colon = text.indexOf(':');
  return colon > 0 && colon === text.lastIndexOf(':') ? text.slice(0, colon) : text;
}
