/**
 * Names and addresses, as connects and datagram sockets ask for them.
 *
 * In: a host. Out: its addresses, by a callback that may be called off. Never: a call from inside
 * the one that asks.
 */
import { argTypeError } from '../base/errors.ts';
import type { FoundAddress, LookupDone } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { ipFamily } from './addresses.ts';
import type { LookupFunction } from './net-types.ts';

export function checkLookup(lookup: unknown): LookupFunction | undefined {
  if (lookup === undefined || typeof lookup === 'function') return lookup as LookupFunction;
  throw argTypeError('lookup', 'a function such as lookup or that of a DnsCache', lookup);
}

/** What a lookup of the user's own gave, checked. */
function checkFound(found: unknown): FoundAddress[] {
  if (!Array.isArray(found)) throw argTypeError('lookup()', 'an array of addresses', found);
  return found.map((one: { address?: unknown } | null) => {
    const address = one?.address;
    const family = typeof address === 'string' ? ipFamily(address) : 0;
    if (family === 0) throw argTypeError('lookup()', 'an array of IP addresses', address);
    return { address: address as string, family };
  });
}

/** The addresses of a name. Returns how to call it off; then nobody is told. */
export function resolveName(
  loop: EventLoop,
  hostname: string,
  family: 0 | 4 | 6,
  lookup: LookupFunction | undefined,
  done: LookupDone,
): () => void {
  if (lookup === undefined) return loop.backendHandle.lookup(hostname, family, done);
  const controller = new AbortController();
  let over = false;
  const end = (error: Error | null, found: readonly FoundAddress[]): void => {
    if (over) return;
    over = true;
    done(error, found);
  };
  const fail = (error: unknown): void => {
    end(error instanceof Error ? error : new Error(String(error), { cause: error }), []);
  };
  // In a promise: an error that it throws at once comes later, too.
  new Promise<unknown>((resolve) => {
    resolve(lookup(hostname, { family, signal: controller.signal }));
  })
    .then(checkFound)
    .then((found) => end(null, found), fail);
  return (): void => {
    over = true;
    controller.abort();
  };
}
