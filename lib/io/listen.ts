/**
 * Finding and binding the addresses that a server is to listen on.
 *
 * In: ListenOptions. Out: open listeners, which do not accept yet. Never: some listeners left open
 * when another failed.
 */
import { resolve } from 'node:path';
import { argTypeError, notSupportedError, type WaitOptions } from '../base/errors.ts';
import { checkBytes, checkInteger } from '../base/units.ts';
import type { ListenerHandle, ListenerSink } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { Waiter } from '../task/waiter.ts';
import {
  checkHost,
  checkPath,
  checkPort,
  type FoundAddress,
  ipFamily,
  isAbstract,
} from './addresses.ts';
import { connectUnix } from './connect.ts';
import { Listener, type ListenerOwner } from './listener.ts';
import type { ListenOptions, UnixListenOptions } from './net-types.ts';
import { inertSink } from './stream.ts';
import { planServer, type TlsPlan } from './tls/plan.ts';
import { removeStale, UnixFile } from './unix-file.ts';

const defaultBacklog = 511;
const maxBacklog = 2 ** 31 - 1;
/** How often another free port is tried when it is taken on a later host. */
const portTries = 16;

export interface ListenPlan {
  /** Empty: all interfaces. */
  readonly hosts: readonly string[];
  readonly port: number;
  /** Instead of hosts and port. */
  readonly fd: number | undefined;
  /** Of a UNIX socket; instead of all these. */
  readonly path: string | undefined;
  /** The descriptor stays the caller's. */
  readonly shareFd: boolean;
  readonly backlog: number;
  readonly reusePort: boolean;
  readonly noDelay: boolean;
  readonly maxConnections: number;
  readonly start: boolean;
  readonly tls: TlsPlan | null;
  readonly signal: AbortSignal | undefined;
}

export function checkListen(loop: EventLoop, options: ListenOptions): ListenPlan {
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'an object', options);
  }
  const { host = [], maxConnections, tls } = options;
  const hosts: readonly unknown[] = Array.isArray(host) ? host : [host];
  return {
    hosts: hosts.map((one) => checkHost('host', one)),
    port: checkPort('port', options.port ?? 0),
    fd: checkFd(options),
    path: checkPlace(options),
    shareFd: options.shareFd ?? false,
    backlog: checkInteger('backlog', options.backlog ?? defaultBacklog, 1, maxBacklog),
    reusePort: options.reusePort ?? false,
    noDelay: options.noDelay ?? true,
    maxConnections: checkBytes('maxConnections', maxConnections ?? Infinity, 1),
    start: options.start ?? true,
    tls: tls === undefined || tls === null ? null : planServer(loop, tls, options),
    signal: options.signal,
  };
}

/** The same for a UNIX socket. */
export function checkListenUnix(
  loop: EventLoop,
  path: string,
  options: UnixListenOptions,
): ListenPlan {
  return { ...checkListen(loop, options), path: checkPath(path, 'listen') };
}

function checkFd({ fd, host, port }: ListenOptions): number | undefined {
  if (fd === undefined) return undefined;
  if (host !== undefined || port !== undefined) {
    throw argTypeError('fd', 'given without host and port', fd);
  }
  return checkInteger('fd', fd, 0, 2 ** 31 - 1);
}

function checkPlace({ path, fd, host, port }: ListenOptions): string | undefined {
  if (path === undefined) return undefined;
  if (fd !== undefined || host !== undefined || port !== undefined) {
    throw argTypeError('path', 'given without host, port and fd', path);
  }
  return checkPath(path, 'listen');
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}

/** The machine has no such family, or not that address. */
function isUnavailable(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL' || code === 'EINVAL';
}

/** Where to listen, and whether the host was a name, of which not all addresses need to work. */
interface Place extends FoundAddress {
  readonly byName: boolean;
}

class LookupWaiter extends Waiter<readonly FoundAddress[]> {
  #stop: (() => void) | null = null;

  look(loop: EventLoop, host: string): void {
    this.#stop = loop.backendHandle.lookup(host, 0, (error, addresses) => {
      if (error !== null) this.fail(error);
      else this.wake(addresses);
    });
  }

  override onCancel(): void {
    this.#stop?.();
  }
}

async function findPlaces(loop: EventLoop, plan: ListenPlan, wait: WaitOptions): Promise<Place[]> {
  const places: Place[] = [];
  for (const host of plan.hosts) {
    const family = ipFamily(host);
    if (family !== 0) {
      places.push({ address: host, family, byName: false });
      continue;
    }
    const waiter = new LookupWaiter('lookup');
    const promise = waiter.start(wait);
    if (waiter.active) waiter.look(loop, host);
    for (const found of await promise) {
      const known = places.some((place) => place.address === found.address);
      if (!known) places.push({ ...found, byName: true });
    }
  }
  return places;
}

/** Listens on all hosts of the plan, with the same port. */
export async function listenTcp(
  loop: EventLoop,
  plan: ListenPlan,
  owner: ListenerOwner,
): Promise<Listener[]> {
  const wait: WaitOptions = { signal: plan.signal };
  if (plan.fd !== undefined) return [await listenFd(loop, plan.fd, plan, owner, wait)];
  if (plan.hosts.length === 0) return [await listenEverywhere(loop, plan, owner, wait)];
  const places = await findPlaces(loop, plan, wait);
  for (let tries = 1; ; tries++) {
    const opened: Listener[] = [];
    try {
      await listenAt(loop, plan, owner, places, opened, wait);
      return opened;
    } catch (error) {
      for (const listener of opened) listener.close();
      const unlucky = plan.port === 0 && opened.length > 0 && codeOf(error) === 'EADDRINUSE';
      if (!unlucky || tries === portTries) throw error;
    }
  }
}

function listenFd(
  loop: EventLoop,
  fd: number,
  plan: ListenPlan,
  owner: ListenerOwner,
  wait: WaitOptions,
): Promise<Listener> {
  const backend = loop.backendHandle;
  const { backlog, noDelay, shareFd: duplicate } = plan;
  const make = (sink: ListenerSink): ListenerHandle => {
    if (backend.listenFd !== undefined) {
      return backend.listenFd({ fd, duplicate, backlog, noDelay, paused: true }, sink);
    }
    throw notSupportedError('listen', `the ${backend.name} backend has no descriptors`);
  };
  return new Listener(owner).open(make, wait);
}

async function listenEverywhere(
  loop: EventLoop,
  plan: ListenPlan,
  owner: ListenerOwner,
  wait: WaitOptions,
): Promise<Listener> {
  try {
    return await listenOne(loop, plan, owner, '::', plan.port, false, wait);
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    return await listenOne(loop, plan, owner, '0.0.0.0', plan.port, false, wait);
  }
}

async function listenAt(
  loop: EventLoop,
  plan: ListenPlan,
  owner: ListenerOwner,
  places: readonly Place[],
  opened: Listener[],
  wait: WaitOptions,
): Promise<void> {
  // `::` takes IPv4 connections as well, unless IPv4 is listened on for itself.
  const ipv6Only = places.some((place) => place.family === 4);
  let unavailable: unknown;
  for (const place of places) {
    const port = opened[0]?.address.port ?? plan.port;
    try {
      const only = ipv6Only && place.family === 6;
      opened.push(await listenOne(loop, plan, owner, place.address, port, only, wait));
    } catch (error) {
      if (!place.byName || !isUnavailable(error)) throw error;
      unavailable = error;
    }
  }
  if (opened.length === 0) throw unavailable;
}

function listenOne(
  loop: EventLoop,
  plan: ListenPlan,
  owner: ListenerOwner,
  host: string,
  port: number,
  ipv6Only: boolean,
  wait: WaitOptions,
): Promise<Listener> {
  const { backlog, reusePort, noDelay } = plan;
  const options = { host, port, backlog, reusePort, ipv6Only, noDelay, paused: true };
  const make = loop.backendHandle.listenTcp.bind(loop.backendHandle, options);
  return new Listener(owner).open(make, wait);
}

/** @throws Error EADDRINUSE also for a path at which there is a file of another kind. */
export async function listenUnix(
  loop: EventLoop,
  plan: ListenPlan,
  owner: ListenerOwner,
  path: string,
): Promise<Listener> {
  if (plan.fd !== undefined) throw argTypeError('path', 'given without fd', path);
  const wait: WaitOptions = { signal: plan.signal };
  const options = { path: checkPath(path, 'listen'), backlog: plan.backlog, paused: true };
  const make = loop.backendHandle.listenUnix.bind(loop.backendHandle, options);
  // The process may be elsewhere when the file is to go.
  const file = isAbstract(path) ? null : resolve(path);
  let listener: Listener;
  try {
    listener = await new Listener(owner).open(make, wait);
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE' || file === null) throw error;
    if (!(await removeStale(path, () => answers(loop, path, wait)))) throw error;
    listener = await new Listener(owner).open(make, wait);
  }
  if (file !== null) listener.file = new UnixFile(file);
  return listener;
}

/** Whether a server is behind the path. In doubt there is. */
async function answers(loop: EventLoop, path: string, wait: WaitOptions): Promise<boolean> {
  try {
    await connectUnix(loop, path, wait, (stream) => {
      stream.sink = inertSink;
      stream.abort();
    });
    return true;
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return false;
    if (code === 'ABORT_ERR' || wait.signal?.aborted) throw error;
    return true;
  }
}
