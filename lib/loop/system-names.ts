/**
 * The system's resolver, as the backends over a real network share it.
 *
 * In: names and addresses. Out: the answer, unless nobody waits for it any more. Never: a cache; an
 * answer from inside the call that asks.
 */
import { lookup, lookupService } from 'node:dns';
import type { FoundAddress, LookupDone, ServiceDone } from './backend.ts';

/** Calls back as the running loop. */
type CallOut = (call: () => void) => void;

/**
 * getaddrinfo, on a thread of libuv's. Its answer cannot be stopped: once cancelled, it is dropped
 * when it comes. The order is the system's (RFC 6724).
 */
export function systemLookup(
  hostname: string,
  family: 0 | 4 | 6,
  callOut: CallOut,
  done: LookupDone,
): () => void {
  let cancelled = false;
  lookup(hostname, { all: true, family, verbatim: true }, (error, found) => {
    if (cancelled) return;
    callOut(() => done(error, error === null ? (found as FoundAddress[]) : []));
  });
  return (): void => {
    cancelled = true;
  };
}

/** getnameinfo, likewise. */
export function systemLookupService(
  address: string,
  port: number,
  callOut: CallOut,
  done: ServiceDone,
): () => void {
  let cancelled = false;
  lookupService(address, port, (error, hostname, service) => {
    if (!cancelled) callOut(() => done(error, hostname, service));
  });
  return (): void => {
    cancelled = true;
  };
}
