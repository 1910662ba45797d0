/**
 * The connections of sessions: a pool with limits.
 *
 * In: routes. Out: connections, kept ones first. Never: more connections than the limits; a wait
 * that overtakes an older one which could have been served; a connection on which a response may
 * still come.
 */
import { argTypeError, ClosedResourceError, InvalidStateError } from '../../base/errors.ts';
import { checkCount, checkMs } from '../../base/units.ts';
import { DnsCache } from '../../io/dns-cache.ts';
import type { EventLoop } from '../../io/handles.ts';
import type { LookupFunction, SocketAddress } from '../../io/net-types.ts';
import { currentLoop } from '../../task/frame.ts';
import { CancelScope } from '../../task/scope.ts';
import { currentTask } from '../../task/spawn.ts';
import type { Task } from '../../task/task.ts';
import { Waiter } from '../../task/waiter.ts';
import type { Carrier } from './carrier.ts';
import type { ClientConnection, ConnectionOwner } from './connection.ts';
import { openRoute, type Route } from './open.ts';

export interface ConnectorOptions {
  /** Connections, kept ones included. Default 100; Infinity: none. */
  limit?: number;
  /** Per host and port. Default: none. */
  limitPerHost?: number;
  /**
   * Idle time of a kept connection, in ms; 0: never keep. Default 15_000. A server's `Keep-Alive`
   * header shortens it.
   */
  keepAliveMs?: number;
  /** Default 10_000; 0: no cache. */
  dnsCacheMs?: number;
  /** Default 0: both. */
  family?: 0 | 4 | 6;
  /** Asked for names instead of the system's resolver. */
  lookup?: (hostname: string) => Promise<readonly SocketAddress[]>;
  localHost?: string;
  /** Default 250 (RFC 8305). */
  happyEyeballsDelayMs?: number;
  /** HTTP/2 with servers that agree on it in the TLS handshake. Default false. */
  http2?: boolean;
  /** Every connection goes to this UNIX socket. (aiohttp: UnixConnector) */
  socketPath?: string;
}

/** What a request tells the pool. */
export interface Acquisition {
  readonly signal: AbortSignal | undefined;
  /** A kept one has just failed. */
  readonly fresh: boolean;
  /** Called when it has to wait for its turn. */
  readonly queued: (() => void) | null;
}

/** Waits for its turn; null: it may open a connection, which is counted already. */
class Turn extends Waiter<Carrier | null> {
  readonly route: Route;
  readonly #turns: Set<Turn>;

  constructor(route: Route, turns: Set<Turn>) {
    super('connection');
    this.route = route;
    this.#turns = turns;
  }

  override onCancel(): void {
    this.#turns.delete(this);
  }
}

interface Host {
  open: number;
  /** Of them, those that are being opened. */
  opening: number;
  /** Null: not known yet. */
  speaks: 'http/1.1' | 'h2' | null;
  /** Those of HTTP/2 that are in use. */
  readonly shared: Set<ClientConnection>;
  /** The one used last comes last. */
  readonly idle: ClientConnection[];
}

/** Connections of one or several sessions. (aiohttp.TCPConnector) */
export class Connector implements AsyncDisposable, ConnectionOwner {
  readonly #limit: number;
  readonly #limitPerHost: number;
  readonly #keepAliveMs: number;
  /** @internal */
  readonly http2: boolean;
  /** @internal */
  readonly options: ConnectorOptions;
  /** @internal */
  readonly lookup: LookupFunction | undefined;
  /** Of its first request. */
  #loop: EventLoop | null = null;
  readonly #hosts: Map<string, Host> = new Map();
  readonly #all: Set<ClientConnection> = new Set();
  /** The one idle for longest comes first. */
  readonly #idle: Set<ClientConnection> = new Set();
  readonly #turns: Set<Turn> = new Set();
  readonly #opening: Set<CancelScope> = new Set();
  /** @internal They may outlive their exchange: what they read from is still being closed. */
  readonly senders: Set<Task> = new Set();
  #open = 0;
  #timer = -1;
  #serving = false;
  #closed = false;

  /** TypeError and RangeError for wrong options. */
  constructor(options: ConnectorOptions = {}) {
    if (typeof options !== 'object' || options === null) {
      throw argTypeError('connector', 'an object', options);
    }
    this.options = options;
    this.#limit = checkCount('limit', options.limit ?? 100, 1);
    this.#limitPerHost = checkCount('limitPerHost', options.limitPerHost ?? Infinity, 1);
    this.#keepAliveMs = checkMs('keepAliveMs', options.keepAliveMs ?? 15_000);
    const { http2 = false, lookup } = options;
    if (typeof http2 !== 'boolean') throw argTypeError('http2', 'a boolean', http2);
    this.http2 = http2;
    const ttlMs = checkMs('dnsCacheMs', options.dnsCacheMs ?? 10_000);
    const asked = lookup === undefined ? {} : { lookup };
    this.lookup = ttlMs === 0 ? lookup : new DnsCache({ ttlMs, ...asked }).lookup;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Connections; those of them that are kept; requests that wait for one. */
  stats(): { open: number; idle: number; waiting: number } {
    return { open: this.#open, idle: this.#idle.size, waiting: this.#turns.size };
  }

  /** @internal A kept connection. */
  take(key: string): Carrier | null {
    this.#checkOpen();
    return this.#pop(key);
  }

  #pop(key: string): Carrier | null {
    const host = this.#hosts.get(key);
    if (host === undefined) return null;
    for (const { http2 } of host.shared) if (http2?.room) return http2.lend();
    const now = (this.#loop as EventLoop).time();
    for (;;) {
      const connection = host.idle.pop();
      if (connection === undefined) return null;
      this.#idle.delete(connection);
      if (connection.idleUntilMs > now && connection.http2?.room !== false) {
        return lend(host, connection);
      }
      connection.drop();
    }
  }

  /** @internal Waits for a kept one, or for room to open one, and opens it. */
  async acquire(route: Route, wait: Acquisition): Promise<Carrier> {
    for (;;) {
      const kept = wait.fresh ? null : this.take(route.key);
      if (kept !== null) return kept;
      this.#checkOpen();
      let reserved = this.#reserve(route);
      if (!reserved) {
        wait.queued?.();
        const turn = new Turn(route, this.#turns);
        const promise = turn.start({ signal: wait.signal });
        if (turn.active) this.#turns.add(turn);
        const given = await promise;
        if (given?.open) return given;
        reserved = given === null;
      }
      if (reserved) return await this.#connect(route, wait);
    }
  }

  async #connect(route: Route, wait: Acquisition): Promise<Carrier> {
    let connection: ClientConnection | undefined;
    const scope = new CancelScope();
    const host = this.#hostOf(route.key);
    this.#opening.add(scope);
    try {
      const loop = this.#loop as EventLoop;
      connection = await scope.run(() => openRoute(loop, route, this, wait.signal));
    } catch (error) {
      host.opening--;
      this.#unreserve(route.key);
      throw error;
    } finally {
      this.#opening.delete(scope);
    }
    host.opening--;
    if (!connection?.open || this.#closed) {
      this.#unreserve(route.key);
      connection?.drop();
      this.#checkOpen();
      return await this.acquire(route, { ...wait, fresh: true });
    }
    connection.owner = this;
    this.#all.add(connection);
    host.speaks = connection.http2 === null ? 'http/1.1' : 'h2';
    const carrier = lend(host, connection);
    // Who waits for what this one speaks, or for a place on it.
    if (this.http2 && this.#turns.size > 0) this.#serve();
    return carrier;
  }

  /** @internal */
  connectionFree(connection: ClientConnection): void {
    if (!connection.open) return;
    if (connection.http2?.busy) {
      if (this.#turns.size > 0) this.#serve();
      return;
    }
    const keepMs = Math.min(this.#keepAliveMs, connection.keepAliveMs);
    if (this.#closed || keepMs === 0 || connection.transport?.closing) {
      connection.drop();
      return;
    }
    const loop = this.#loop as EventLoop;
    connection.idleUntilMs = loop.time() + keepMs;
    const host = this.#hostOf(connection.key);
    host.shared.delete(connection);
    host.idle.push(connection);
    this.#idle.add(connection);
    if (this.#timer < 0 && keepMs !== Infinity) {
      this.#timer = loop.armTimer(connection.idleUntilMs, this);
    }
    if (this.#turns.size > 0) this.#serve();
  }

  /** @internal */
  connectionGone(connection: ClientConnection): void {
    if (!this.#all.delete(connection)) return;
    const { idle, shared } = this.#hostOf(connection.key);
    shared.delete(connection);
    if (this.#idle.delete(connection)) idle.splice(idle.indexOf(connection), 1);
    this.#unreserve(connection.key);
    if (this.#open === 0) this.#stopTimer();
  }

  /** @internal Connections that were idle for too long. */
  onTimer(): void {
    this.#timer = -1;
    const loop = this.#loop as EventLoop;
    const now = loop.time();
    let next = Infinity;
    // Servers may have shortened the time of some.
    for (const connection of this.#idle) {
      if (connection.idleUntilMs <= now) connection.drop();
      else next = Math.min(next, connection.idleUntilMs);
    }
    if (next !== Infinity && this.#timer < 0) this.#timer = loop.armTimer(next, this);
  }

  /**
   * Closes all connections; requests under way get ClosedResourceError. Done when what sends bodies
   * has ended, but for a body that itself calls this. Idempotent.
   */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopTimer();
    const turns = [...this.#turns];
    this.#turns.clear();
    for (const turn of turns) turn.fail(closedError());
    for (const scope of this.#opening) scope.cancel();
    for (const connection of [...this.#all]) {
      connection.crash(closedError());
      connection.drop();
    }
    const current = currentTask();
    const others = [...this.senders].filter((task) => task !== current);
    if (others.length > 0) await Promise.allSettled(others);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #stopTimer(): void {
    if (this.#timer >= 0) this.#loop?.cancelTimer(this.#timer);
    this.#timer = -1;
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError();
    const loop = currentLoop();
    if (this.#loop === loop) return;
    if (this.#loop !== null && this.#open > 0) {
      throw new InvalidStateError('The connections of this session belong to another loop');
    }
    this.#loop = loop;
  }

  #hostOf(key: string): Host {
    let host = this.#hosts.get(key);
    if (host === undefined) {
      host = { open: 0, opening: 0, speaks: null, shared: new Set(), idle: [] };
      this.#hosts.set(key, host);
    }
    return host;
  }

  /** Counts one more connection if that is within the limits; a kept one may go for it. */
  #reserve({ key, http2 }: Route): boolean {
    const host = this.#hostOf(key);
    // One connection may be enough for all.
    if (http2 && host.opening > 0 && host.speaks !== 'http/1.1') return false;
    let victim: ClientConnection | undefined;
    if (host.open >= this.#limitPerHost) {
      victim = host.idle[0];
      if (victim === undefined) return false;
    } else if (this.#open >= this.#limit) {
      [victim] = this.#idle;
      if (victim === undefined) return false;
    }
    // Counted first: the room that the other one leaves is not for those who wait.
    host.open++;
    host.opening++;
    this.#open++;
    victim?.drop();
    return true;
  }

  #unreserve(key: string): void {
    const host = this.#hostOf(key);
    host.open--;
    this.#open--;
    if (host.open === 0) this.#hosts.delete(key);
    if (this.#turns.size > 0 && !this.#serving) this.#serve();
  }

  /** Gives turns, oldest first, to those that can go on. */
  #serve(): void {
    this.#serving = true;
    for (const turn of this.#turns) {
      if (this.#open >= this.#limit && this.#idle.size === 0 && !this.http2) break;
      const { key } = turn.route;
      const kept = this.#pop(key);
      if (kept === null && !this.#reserve(turn.route)) continue;
      this.#turns.delete(turn);
      turn.wake(kept);
    }
    this.#serving = false;
  }
}

/** A place on it for one exchange. */
function lend(host: Host, connection: ClientConnection): Carrier {
  if (connection.http2 === null) return connection;
  host.shared.add(connection);
  return connection.http2.lend();
}

function closedError(): ClosedResourceError {
  return new ClosedResourceError('The session was closed');
}
