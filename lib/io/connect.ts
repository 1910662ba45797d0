/**
 * Opening connections: name look-up and happy eyeballs.
 *
 * In: a host and a port. Out: a stream, handed to whoever asked. Never: a socket that stays open
 * after a failure, a timeout or a cancellation.
 */
import { argTypeError, systemErrorByCode, TimeoutError } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import type { ConnectRequest, ConnectSink, StreamHandle } from '../loop/backend.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { currentLoop } from '../task/frame.ts';
import { Waiter } from '../task/waiter.ts';
import {
  checkFamily,
  checkHost,
  checkPath,
  checkPort,
  type Family,
  type FoundAddress,
  interleave,
  ipFamily,
} from './addresses.ts';
import { StreamConnection } from './connection.ts';
import { makeLimits } from './limits.ts';
import type {
  Connection,
  ConnectOptions,
  LookupFunction,
  TlsClientOptions,
  TlsTimes,
  UnixConnectOptions,
} from './net-types.ts';
import { checkLookup, resolveName } from './resolve.ts';
import { inertSink } from './stream.ts';
import { planClient, type TlsPlan } from './tls/plan.ts';
import { type HandshakeOwner, TlsStream } from './tls/stream.ts';

/** RFC 8305 calls it Connection Attempt Delay. */
const defaultHeadStartMs = 250;

/** Turns the stream into what the caller gets. It sets `stream.sink`. */
export type StreamMaker<T> = (stream: StreamHandle) => T;

/** What `connectTcp` needs to know, checked. */
interface ConnectPlan {
  readonly host: string;
  readonly port: number;
  readonly family: Family;
  readonly localHost: string | undefined;
  readonly localPort: number | undefined;
  readonly headStartMs: number;
  readonly timeoutMs: number;
  readonly noDelay: boolean;
  readonly lookup: LookupFunction | undefined;
}

function checkPlan(options: ConnectOptions): ConnectPlan {
  if (typeof options !== 'object' || options === null) {
    throw argTypeError('options', 'an object', options);
  }
  const { localHost, localPort } = options;
  return {
    host: checkHost('host', options.host ?? 'localhost'),
    port: checkPort('port', options.port),
    family: checkFamily(options.family),
    localHost: localHost === undefined ? undefined : checkHost('localHost', localHost),
    localPort: localPort === undefined ? undefined : checkPort('localPort', localPort),
    headStartMs: checkMs(
      'happyEyeballsDelayMs',
      options.happyEyeballsDelayMs ?? defaultHeadStartMs,
    ),
    timeoutMs: checkMs('timeoutMs', options.timeoutMs ?? Infinity),
    noDelay: options.noDelay ?? true,
    lookup: checkLookup(options.lookup),
  };
}

/** Null: no TLS. */
function planTls(
  loop: EventLoop,
  options: TlsTimes & { tls?: boolean | TlsClientOptions | null },
  host: string | null,
): TlsPlan | null {
  const { tls } = options;
  if (tls === undefined || tls === false || tls === null) return null;
  return planClient(loop, tls, host, options);
}

/** One address that is being tried. */
class Attempt<T> implements ConnectSink {
  readonly #job: ConnectJob<T>;
  request: ConnectRequest | null = null;

  constructor(job: ConnectJob<T>) {
    this.#job = job;
  }

  onConnect(stream: StreamHandle): void {
    this.#job.connected(this, stream);
  }

  onConnectError(error: Error): void {
    this.#job.refused(this, error);
  }
}

/** Tries addresses, each with a head start before the next. Ends with the first that answers. */
class ConnectJob<T> extends Waiter<T> implements HandshakeOwner {
  readonly #loop: EventLoop;
  readonly #plan: ConnectPlan | null;
  readonly #tls: TlsPlan | null;
  readonly #make: StreamMaker<T>;
  #addresses: readonly FoundAddress[] = [];
  /** Of `localHost`; null: any. */
  #locals: readonly FoundAddress[] | null = null;
  #nextAddress = 0;
  #tried: Attempt<T>[] = [];
  readonly #errors: Error[] = [];
  #headStart = -1;
  #limit = -1;
  #stopLookup: (() => void) | null = null;
  #handshake: TlsStream | null = null;

  constructor(
    loop: EventLoop,
    plan: ConnectPlan | null,
    tls: TlsPlan | null,
    make: StreamMaker<T>,
  ) {
    super('connect');
    this.#loop = loop;
    this.#plan = plan;
    this.#tls = tls;
    this.#make = make;
  }

  connectTcp(plan: ConnectPlan): void {
    if (plan.timeoutMs !== Infinity) {
      const target = { onTimer: () => this.#timedOut(plan) };
      this.#limit = this.#loop.armTimer(this.#loop.time() + plan.timeoutMs, target);
    }
    if (plan.localHost === undefined) this.#findPeer(plan);
    else {
      this.#find(plan, plan.localHost, (found) => {
        this.#locals = found;
        this.#findPeer(plan);
      });
    }
  }

  #findPeer(plan: ConnectPlan): void {
    this.#find(plan, plan.host, (found) => {
      // An address is only reached from a local one of its family.
      const usable = this.#locals === null ? found : found.filter((one) => this.#localFor(one));
      if (usable.length === 0) {
        this.#stop();
        const { localHost = plan.host } = plan;
        this.fail(systemErrorByCode('EADDRNOTAVAIL', 'connect', localHost, plan.localPort));
        return;
      }
      this.#addresses = interleave(usable);
      this.#tryNext();
    });
  }

  /** The local address to connect from to that one. */
  #localFor(peer: FoundAddress): string | undefined {
    return this.#locals?.find((local) => local.family === peer.family)?.address;
  }

  /** The addresses of a host; an IP address is its own. */
  #find(plan: ConnectPlan, host: string, then: (found: readonly FoundAddress[]) => void): void {
    const literal = ipFamily(host);
    if (literal !== 0) {
      then([{ address: host, family: literal }]);
      return;
    }
    this.#stopLookup = resolveName(this.#loop, host, plan.family, plan.lookup, (error, found) => {
      this.#stopLookup = null;
      if (!this.active) return;
      if (error === null) {
        then(found);
        return;
      }
      this.#stop();
      this.fail(error);
    });
  }

  connectUnix(path: string): void {
    const attempt = new Attempt(this);
    this.#tried.push(attempt);
    attempt.request = this.#loop.backendHandle.connectUnix(path, attempt);
  }

  connected(attempt: Attempt<T>, stream: StreamHandle): void {
    this.#forget(attempt);
    this.#stop();
    if (this.#tls === null) this.#open(stream);
    else this.#startTls(stream, this.#tls);
  }

  #open(stream: StreamHandle): void {
    try {
      this.wake(this.#make(stream));
    } catch (error) {
      // A protocol factory threw.
      stream.sink ??= inertSink;
      stream.abort();
      this.fail(error);
    }
  }

  #startTls(stream: StreamHandle, plan: TlsPlan): void {
    try {
      this.#handshake = new TlsStream(this.#loop, stream, plan, this);
      this.#handshake.begin();
    } catch (error) {
      this.#handshake = null;
      stream.sink = inertSink;
      stream.abort();
      this.fail(error);
    }
  }

  secured(stream: TlsStream): void {
    this.#handshake = null;
    this.#open(stream);
  }

  failed(_stream: TlsStream, error: Error): void {
    this.#handshake = null;
    this.fail(error);
  }

  gone(): void {}

  refused(attempt: Attempt<T>, error: Error): void {
    this.#forget(attempt);
    this.#errors.push(error);
    if (this.#nextAddress < this.#addresses.length) this.#tryNext();
    else if (this.#tried.length === 0) {
      this.#stop();
      this.fail(connectError(this.#errors));
    }
  }

  /** The head start is over. */
  onTimer(): void {
    this.#headStart = -1;
    this.#tryNext();
  }

  override onCancel(): void {
    this.#stop();
  }

  #tryNext(): void {
    const plan = this.#plan as ConnectPlan;
    this.#dropHeadStart();
    const next = this.#addresses[this.#nextAddress++];
    if (next === undefined) return;
    const attempt = new Attempt(this);
    this.#tried.push(attempt);
    attempt.request = this.#loop.backendHandle.connectTcp(
      {
        host: next.address,
        port: plan.port,
        localHost: this.#localFor(next),
        localPort: plan.localPort,
        noDelay: plan.noDelay,
      },
      attempt,
    );
    if (this.#nextAddress < this.#addresses.length && plan.headStartMs !== Infinity) {
      this.#headStart = this.#loop.armTimer(this.#loop.time() + plan.headStartMs, this);
    }
  }

  #timedOut(plan: ConnectPlan): void {
    this.#limit = -1;
    if (!this.active) return;
    this.#stop();
    const where = `${plan.host}:${plan.port}`;
    const cause = this.#errors.length > 0 ? { cause: connectError(this.#errors) } : undefined;
    this.fail(new TimeoutError(`No connection to ${where} within ${plan.timeoutMs} ms`, cause));
  }

  #forget(attempt: Attempt<T>): void {
    this.#tried = this.#tried.filter((one) => one !== attempt);
  }

  #dropHeadStart(): void {
    if (this.#headStart >= 0) this.#loop.cancelTimer(this.#headStart);
    this.#headStart = -1;
  }

  /** Closes all that is still tried. */
  #stop(): void {
    this.#dropHeadStart();
    if (this.#limit >= 0) this.#loop.cancelTimer(this.#limit);
    this.#limit = -1;
    this.#stopLookup?.();
    this.#stopLookup = null;
    for (const attempt of this.#tried) attempt.request?.cancel();
    this.#tried = [];
    this.#handshake?.abort();
    this.#handshake = null;
  }
}

/** @internal The one error, or all of them with the shape of the first, as Node does it. */
export function connectError(errors: readonly Error[]): Error {
  const first = errors[0] as NodeJS.ErrnoException;
  if (errors.length === 1) return first;
  const all = new AggregateError(errors, errors.map((one) => one.message).join('; '));
  const { code, errno, syscall } = first;
  return Object.assign(all, { code, errno, syscall });
}

/** The way of all TCP connects. Cancellation closes every socket. */
export function connectTcp<T>(
  loop: EventLoop,
  options: ConnectOptions,
  make: StreamMaker<T>,
): Promise<T> {
  const plan = checkPlan(options);
  const job = new ConnectJob(loop, plan, planTls(loop, options, plan.host), make);
  const promise = job.start(options);
  if (job.active) job.connectTcp(plan);
  return promise;
}

export function connectUnix<T>(
  loop: EventLoop,
  path: string,
  options: UnixConnectOptions,
  make: StreamMaker<T>,
): Promise<T> {
  const checked = checkPath(path, 'connect');
  const job = new ConnectJob(loop, null, planTls(loop, options, null), make);
  const promise = job.start(options);
  if (job.active) job.connectUnix(checked);
  return promise;
}

/**
 * Opens a TCP connection; names are tried with happy eyeballs.
 * Rejects with the system's error (ECONNREFUSED, ENOTFOUND …; of several addresses an
 * AggregateError with the first one's code), TimeoutError after `timeoutMs`. With `tls` also as
 * node:tls: CERT_HAS_EXPIRED, SELF_SIGNED_CERT_IN_CHAIN, ERR_TLS_CERT_ALTNAME_INVALID, ERR_SSL_…,
 * ECONNRESET; TimeoutError after `tlsHandshakeTimeoutMs`. Cancellation closes every socket.
 * (asyncio.open_connection, trio.open_tcp_stream, RFC 8305)
 */
export async function openConnection(options: ConnectOptions): Promise<Connection> {
  const loop = currentLoop();
  const limits = makeLimits(options ?? {});
  return connectTcp(loop, options, (stream) => {
    const connection = new StreamConnection(stream, limits);
    stream.sink = connection;
    connection.tellOpened();
    return connection;
  });
}

/**
 * Opens a connection to a UNIX socket. Errors and cancellation as `openConnection`; ENAMETOOLONG
 * above 107 bytes. (asyncio.open_unix_connection, trio.open_unix_socket)
 * @param path a leading '\0' means Linux' abstract namespace
 */
export async function openUnixConnection(
  path: string,
  options: UnixConnectOptions = {},
): Promise<Connection> {
  const loop = currentLoop();
  const limits = makeLimits(options);
  return connectUnix(loop, path, options, (stream) => {
    const connection = new StreamConnection(stream, limits);
    stream.sink = connection;
    connection.tellOpened();
    return connection;
  });
}
