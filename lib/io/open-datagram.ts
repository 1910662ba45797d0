/**
 * Opening datagram sockets: names, and the addresses to be tried.
 *
 * In: options. Out: an open endpoint. Never: a socket that stays open after a failure or a
 * cancellation.
 */
import { argTypeError, systemErrorByCode } from '../base/errors.ts';
import { checkCount } from '../base/units.ts';
import type { FoundAddress, OpenUdp } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { Waiter } from '../task/waiter.ts';
import { checkFamily, checkHost, checkPort, ipFamily } from './addresses.ts';
import { connectError } from './connect.ts';
import {
  checkFlag,
  checkRemotePort,
  type DatagramEndpoint,
  type HandleOpener,
  type Opening,
} from './datagram-endpoint.ts';
import type { LookupFunction, UdpOptions } from './net-types.ts';
import { checkLookup, resolveName } from './resolve.ts';

export interface UdpPlan {
  readonly localHost: string | undefined;
  readonly localPort: number;
  readonly remoteHost: string | undefined;
  readonly remotePort: number;
  readonly family: 0 | 4 | 6;
  readonly reusePort: boolean;
  readonly broadcast: boolean;
  readonly maxQueued: number;
  readonly lookup: LookupFunction | undefined;
}

/** @throws TypeError, RangeError */
export function checkUdp(options: UdpOptions): UdpPlan {
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'an object', options);
  }
  const { localHost, remoteHost, remotePort } = options;
  if ((remoteHost === undefined) !== (remotePort === undefined)) {
    throw argTypeError('remotePort', 'given together with remoteHost', remotePort);
  }
  return {
    localHost: localHost === undefined ? undefined : checkHost('localHost', localHost),
    localPort: checkPort('localPort', options.localPort ?? 0),
    remoteHost: remoteHost === undefined ? undefined : checkHost('remoteHost', remoteHost),
    remotePort: remotePort === undefined ? 0 : checkRemotePort('remotePort', remotePort),
    family: checkFamily(options.family),
    reusePort: checkFlag('reusePort', options.reusePort ?? false),
    broadcast: checkFlag('broadcast', options.broadcast ?? false),
    maxQueued: checkCount('maxQueued', options.maxQueued ?? 64, 1),
    lookup: checkLookup(options.lookup),
  };
}

/** A new endpoint over a handle; one for each address that is tried. */
export type EndpointMaker<E extends DatagramEndpoint> = (opening: Opening, open: HandleOpener) => E;

/** Tries addresses in their order until one can be opened. */
class OpenJob<E extends DatagramEndpoint, T> extends Waiter<T> implements Opening {
  readonly #loop: EventLoop;
  readonly #plan: UdpPlan;
  readonly #make: EndpointMaker<E>;
  readonly #finish: (endpoint: E) => T;
  #attempts: OpenUdp[] = [];
  readonly #errors: Error[] = [];
  #endpoint: E | null = null;
  #stopLookup: (() => void) | null = null;

  constructor(loop: EventLoop, plan: UdpPlan, make: EndpointMaker<E>, finish: (endpoint: E) => T) {
    super('openUdp');
    this.#loop = loop;
    this.#plan = plan;
    this.#make = make;
    this.#finish = finish;
  }

  open(): void {
    const { localHost, remoteHost } = this.#plan;
    this.#find(localHost, (locals) => {
      this.#find(remoteHost, (remotes) => {
        this.#attempts = attempts(this.#plan, locals, remotes);
        this.#tryNext();
      });
    });
  }

  /** Null for a host that was not given. */
  #find(host: string | undefined, then: (found: readonly FoundAddress[] | null) => void): void {
    const { family, lookup } = this.#plan;
    if (host === undefined) {
      then(null);
      return;
    }
    const literal = ipFamily(host);
    if (literal !== 0) {
      then([{ address: host, family: literal }]);
      return;
    }
    this.#stopLookup = resolveName(this.#loop, host, family, lookup, (error, found) => {
      this.#stopLookup = null;
      if (!this.active) return;
      if (error === null) then(found);
      else this.fail(error);
    });
  }

  #tryNext(): void {
    const next = this.#attempts.shift();
    if (next !== undefined) {
      this.#endpoint = this.#make(this, (sink) => this.#loop.backendHandle.openUdp(next, sink));
      return;
    }
    if (this.#errors.length > 0) {
      this.fail(connectError(this.#errors));
      return;
    }
    const { localHost, remoteHost, remotePort, localPort } = this.#plan;
    const [host, port] =
      remoteHost === undefined ? [localHost, localPort] : [remoteHost, remotePort];
    this.fail(systemErrorByCode('EADDRNOTAVAIL', 'bind', host, port));
  }

  opened(endpoint: DatagramEndpoint): void {
    this.#endpoint = null;
    try {
      this.wake(this.#finish(endpoint as E));
    } catch (error) {
      endpoint.abort();
      this.fail(error);
    }
  }

  openFailed(error: Error): void {
    this.#endpoint = null;
    this.#errors.push(error);
    if (this.active) this.#tryNext();
  }

  override onCancel(): void {
    this.#stopLookup?.();
    this.#endpoint?.abort();
  }
}

/** What to try: pairs of one family, in the order of the addresses found. */
function attempts(
  plan: UdpPlan,
  locals: readonly FoundAddress[] | null,
  remotes: readonly FoundAddress[] | null,
): OpenUdp[] {
  const { localPort, remotePort, reusePort, broadcast, family } = plan;
  const rest = { localPort, remotePort, reusePort, broadcast };
  const fits = (one: FoundAddress): boolean => family === 0 || one.family === family;
  if (remotes === null) {
    const found = locals ?? [anyAddress(family === 6 ? 6 : 4)];
    return found.filter(fits).map(({ address }) => {
      return { ...rest, localHost: address, remoteHost: undefined };
    });
  }
  const list: OpenUdp[] = [];
  for (const remote of remotes.filter(fits)) {
    const from = locals ?? [anyAddress(remote.family)];
    for (const local of from) {
      if (local.family !== remote.family) continue;
      list.push({ ...rest, localHost: local.address, remoteHost: remote.address });
    }
  }
  return list;
}

function anyAddress(family: 4 | 6): FoundAddress {
  return { address: family === 6 ? '::' : '0.0.0.0', family };
}

/** The way of all datagram sockets. `finish` makes what the caller gets. */
export function openDatagram<E extends DatagramEndpoint, T>(
  loop: EventLoop,
  plan: UdpPlan,
  options: UdpOptions,
  make: EndpointMaker<E>,
  finish: (endpoint: E) => T,
): Promise<T> {
  const job = new OpenJob(loop, plan, make, finish);
  const promise = job.start(options);
  if (job.active) job.open();
  return promise;
}
