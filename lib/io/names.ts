/**
 * Names of machines: the system's resolver, awaited.
 *
 * In: a name or an address. Out: addresses or names. Never: an answer to who was cancelled; a
 * cache (see dns-cache.ts).
 */
import { argTypeError, notFoundError, type WaitOptions } from '../base/errors.ts';
import type { FoundAddress, SocketAddress } from '../loop/backend.ts';
import { currentLoop } from '../task/frame.ts';
import { Waiter } from '../task/waiter.ts';
import { checkFamily, checkHost, checkPort, ipFamily } from './addresses.ts';

class NameWaiter<T> extends Waiter<T> {
  stop: (() => void) | null = null;

  override onCancel(): void {
    this.stop?.();
  }
}

/** As users see them: of a name there is no port. */
export function socketAddresses(found: readonly FoundAddress[]): SocketAddress[] {
  return found.map(({ address, family }) => {
    return { address, port: 0, family: family === 6 ? 'IPv6' : 'IPv4' };
  });
}

/**
 * All addresses of a name by the system's resolver, in its order (RFC 6724); an IP address is its
 * own. Rejects with Node's errors: ENOTFOUND, EAI_AGAIN … A cancelled call rejects at once; the
 * system cannot be stopped, and its late answer is dropped. (asyncio: loop.getaddrinfo)
 */
export async function lookup(
  hostname: string,
  options: WaitOptions & { family?: 0 | 4 | 6 } = {},
): Promise<SocketAddress[]> {
  const host = checkHost('hostname', hostname);
  const family = checkFamily(options.family);
  const literal = ipFamily(host);
  // The resolver of Node takes an address for an answer, whatever family was asked for.
  if (literal !== 0 && family !== 0 && family !== literal) throw notFoundError('getaddrinfo', host);
  const waiter = new NameWaiter<SocketAddress[]>('lookup');
  const promise = waiter.start(options);
  if (waiter.active) {
    waiter.stop = currentLoop().backendHandle.lookup(host, family, (error, found) => {
      if (error !== null) waiter.fail(error);
      else waiter.wake(socketAddresses(found));
    });
  }
  return promise;
}

/**
 * The names of an IP address and a port. Errors and cancellation as `lookup`.
 * (asyncio: loop.getnameinfo)
 */
export async function lookupService(
  address: string,
  port: number,
  options: WaitOptions = {},
): Promise<{ hostname: string; service: string }> {
  if (typeof address !== 'string' || ipFamily(address) === 0) {
    throw argTypeError('address', 'an IP address', address);
  }
  checkPort('port', port);
  const waiter = new NameWaiter<{ hostname: string; service: string }>('lookupService');
  const promise = waiter.start(options);
  if (waiter.active) {
    const { backendHandle } = currentLoop();
    waiter.stop = backendHandle.lookupService(address, port, (error, hostname, service) => {
      if (error !== null) waiter.fail(error);
      else waiter.wake({ hostname, service });
    });
  }
  return promise;
}
