/**
 * Hosts, ports and paths as users give them.
 *
 * In: options. Out: checked values, or Node's errors. Never: looking names up.
 */
import { Buffer } from 'node:buffer';
import { isIP } from 'node:net';
import { argTypeError, systemErrorByCode } from '../base/errors.ts';
import type { SocketAddress } from '../loop/backend.ts';

export type Family = 0 | 4 | 6;

/** `sockaddr_un` has 108 bytes, a closing zero included. */
const maxPathBytes = 107;

/** 0 … 65535. @throws RangeError ERR_SOCKET_BAD_PORT, as Node does. */
export function checkPort(name: string, port: unknown): number {
  if (typeof port === 'number' && Number.isInteger(port) && port >= 0 && port <= 65_535) {
    return port;
  }
  if (typeof port !== 'number') throw argTypeError(name, 'a number', port);
  const error = new RangeError(`${name} should be >= 0 and < 65536. Received ${port}.`);
  throw Object.assign(error, { code: 'ERR_SOCKET_BAD_PORT' });
}

export function checkFamily(family: unknown): Family {
  if (family === undefined) return 0;
  if (family === 0 || family === 4 || family === 6) return family;
  throw argTypeError('family', '0, 4 or 6', family);
}

export function checkHost(name: string, host: unknown): string {
  if (typeof host === 'string' && host !== '' && !host.includes('\0')) return host;
  throw argTypeError(name, 'a host name or an IP address', host);
}

/**
 * @throws Error ENAMETOOLONG before the system sees a path that it would cut off.
 * @param syscall 'listen' or 'connect'
 */
export function checkPath(path: unknown, syscall: string): string {
  if (typeof path !== 'string' || path === '' || path.indexOf('\0', 1) > 0) {
    throw argTypeError('path', 'a path without zero bytes but for a leading one', path);
  }
  if (Buffer.byteLength(path) > maxPathBytes) {
    throw systemErrorByCode('ENAMETOOLONG', syscall, path);
  }
  return path;
}

/** Whether a path is in Linux' abstract namespace: it is no file. */
export function isAbstract(path: string): boolean {
  return path.startsWith('\0');
}

/** 4 or 6 for an IP address, else 0: a name. */
export function ipFamily(host: string): Family {
  // A scope as in fe80::1%eth0 is allowed.
  return isIP(host) as Family;
}

export interface FoundAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

/** Families take turns, beginning with that of the first address (RFC 8305, section 4). */
export function interleave(addresses: readonly FoundAddress[]): FoundAddress[] {
  const first = addresses[0]?.family;
  const preferred = addresses.filter((one) => one.family === first);
  const others = addresses.filter((one) => one.family !== first);
  const mixed: FoundAddress[] = [];
  for (let i = 0; i < Math.max(preferred.length, others.length); i++) {
    const one = preferred[i];
    const other = others[i];
    if (one !== undefined) mixed.push(one);
    if (other !== undefined) mixed.push(other);
  }
  return mixed;
}

export function unixAddress(path: string): SocketAddress {
  return { address: path, port: 0, family: 'unix' };
}
