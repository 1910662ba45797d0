/**
 * Answers of the resolver, kept for a while.
 *
 * In: names. Out: addresses. Never: an error that is kept; two calls for one name at a time; an
 * entry more than `maxEntries`.
 */
import type { WaitOptions } from '../base/errors.ts';
import { argTypeError, notFoundError } from '../base/errors.ts';
import { checkCount, checkMs } from '../base/units.ts';
import type { FoundAddress, LookupDone, SocketAddress } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { atOnce, refusedNow } from '../sync/entry.ts';
import { ListedWaiter, WaiterList } from '../sync/waiter-list.ts';
import { currentLoop } from '../task/frame.ts';
import { checkFamily, checkHost, ipFamily } from './addresses.ts';
import { captureContext } from './callback-context.ts';
import { socketAddresses } from './names.ts';
import type { LookupFunction } from './net-types.ts';
import { checkLookup, resolveName } from './resolve.ts';

export interface DnsCacheOptions {
  /** How long an answer counts, in ms. Default 10_000, as aiohttp's. */
  ttlMs?: number;
  /** Names that are kept; the one not used for longest goes first. Default 1000. */
  maxEntries?: number;
  /** Who is asked. Default: the system's resolver. */
  lookup?: LookupFunction;
}

class Entry {
  /** Null: being asked for. */
  found: readonly FoundAddress[] | null = null;
  expiresMs: number = Infinity;
  readonly waiters: WaiterList<ListedWaiter<SocketAddress[]>> = new WaiterList();
}

/**
 * Keeps the answers of a resolver: `openConnection({ host, port, lookup: cache.lookup })`. Tasks
 * that ask for one name at the same time share one call; errors are not kept. Entries belong to the
 * loop on which they were asked for, as their clocks differ. (aiohttp: use_dns_cache)
 */
export class DnsCache {
  readonly #ttlMs: number;
  readonly #maxEntries: number;
  readonly #ask: LookupFunction | undefined;
  readonly #loops: WeakMap<EventLoop, Map<string, Entry>> = new WeakMap();

  /** TypeError and RangeError for wrong options. */
  constructor(options: DnsCacheOptions = {}) {
    if (typeof options !== 'object' || options === null) {
      throw argTypeError('options', 'an object', options);
    }
    this.#ttlMs = checkMs('ttlMs', options.ttlMs ?? 10_000);
    this.#maxEntries = checkCount('maxEntries', options.maxEntries ?? 1000);
    this.#ask = checkLookup(options.lookup);
  }

  /**
   * As `lookup`. A call that is cancelled rejects at once; what it asked for is kept when it comes.
   */
  readonly lookup = (
    hostname: string,
    options: WaitOptions & { family?: 0 | 4 | 6 } = {},
  ): Promise<SocketAddress[]> => {
    try {
      const host = checkHost('hostname', hostname);
      return this.#lookup(host, checkFamily(options.family), options);
    } catch (error) {
      return Promise.reject(error);
    }
  };

  /** Forgets one name, or all. Who waits gets the answer all the same. */
  clear(hostname?: string): void {
    const entries = this.#entries(currentLoop());
    if (hostname === undefined) entries.clear();
    else for (const family of [0, 4, 6]) entries.delete(keyOf(hostname, family));
  }

  /** Names that are kept or being asked for on this loop. */
  get size(): number {
    return this.#entries(currentLoop()).size;
  }

  #lookup(host: string, family: 0 | 4 | 6, options: WaitOptions): Promise<SocketAddress[]> {
    const refusal = refusedNow(options);
    if (refusal !== null) return refusal;
    const literal = ipFamily(host);
    if (literal !== 0) {
      if (family !== 0 && family !== literal) throw notFoundError('getaddrinfo', host);
      return atOnce(socketAddresses([{ address: host, family: literal }]));
    }
    const loop = currentLoop();
    const entries = this.#entries(loop);
    const key = keyOf(host, family);
    let entry = entries.get(key);
    if (entry !== undefined && entry.expiresMs <= loop.time()) entry = undefined;
    // The newest is the last one of the map.
    entries.delete(key);
    if (entry?.found) {
      entries.set(key, entry);
      return atOnce(socketAddresses(entry.found));
    }
    const asked = entry === undefined;
    entry ??= new Entry();
    entries.set(key, entry);
    const waiter = new ListedWaiter<SocketAddress[]>('lookup');
    const promise = waiter.start(options);
    if (waiter.active) entry.waiters.push(waiter);
    if (asked) this.#askFor(loop, host, family, entry);
    return promise;
  }

  #askFor(loop: EventLoop, host: string, family: 0 | 4 | 6, entry: Entry): void {
    const entries = this.#entries(loop);
    const key = keyOf(host, family);
    // Outside of the task that asks first: its cancellation is nothing to the others.
    const ask = (done: LookupDone): void => {
      resolveName(loop, host, family, this.#ask, done);
    };
    captureContext(loop).run(ask, (error, found) => {
      const waiters = entry.waiters.take();
      if (error === null) {
        entry.found = found;
        entry.expiresMs = loop.time() + this.#ttlMs;
        this.#makeRoom(entries);
        for (const waiter of waiters) waiter.wake(socketAddresses(found));
        return;
      }
      if (entries.get(key) === entry) entries.delete(key);
      for (const waiter of waiters) waiter.fail(error);
    });
  }

  /** Entries that somebody waits for stay. */
  #makeRoom(entries: Map<string, Entry>): void {
    for (const [key, entry] of entries) {
      if (entries.size <= this.#maxEntries) return;
      if (entry.found !== null) entries.delete(key);
    }
  }

  #entries(loop: EventLoop): Map<string, Entry> {
    let entries = this.#loops.get(loop);
    if (entries === undefined) {
      entries = new Map();
      this.#loops.set(loop, entries);
    }
    return entries;
  }
}

/** Names do not depend on case. */
function keyOf(hostname: string, family: number): string {
  return `${family} ${hostname.toLowerCase()}`;
}
