/**
 * A pool of sessions.
 *
 * In: those who want a connection. Out: loans, first come, first served. Never: a session handed
 * out with a transaction of somebody else; more than `maxSize`; a session lost to a cancellation.
 */

import { Deque } from '../base/deque.ts';
import { type Awaitable, argTypeError, type WaitOptions } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import { currentLoop } from '../task/frame.ts';
import { CancelScope, shielded } from '../task/scope.ts';
import { Waiter } from '../task/waiter.ts';
import { Catalog } from './catalog.ts';
import { connectSession, detached } from './connect.ts';
import {
  closeSession,
  endLoan,
  resetSession,
  resetSql,
  rollBackOpen,
  SessionConnection,
} from './connection.ts';
import { InterfaceError, PostgresConnectionError } from './errors.ts';
import { Executor, type Lender } from './executor.ts';
import { type ConnectPlan, makePlan } from './options.ts';
import { listen } from './pool-listen.ts';
import { AcquireWaiter, makePoolPlan, type PoolPlan } from './pool-parts.ts';
import { SimpleRequest } from './queries.ts';
import type { Session } from './session.ts';
import type {
  Connection,
  ConnectOptions,
  Notification,
  Pool,
  PooledConnection,
  PoolOptions,
  QueryOptions,
} from './types.ts';
import type { Loop } from './wire.ts';

/** A reset has that long after a cancellation. */
const resetGraceMs = 5_000;
/** And so long when nobody waits for it: what the connection is lent for next comes behind it. */
const resetMs = 5_000;

export class SessionPool extends Executor implements Pool {
  readonly #loop: Loop = currentLoop();
  readonly #plan: PoolPlan;
  readonly #catalog: Catalog = new Catalog();
  #connectPlan: ConnectPlan;
  #generation = 0;
  /** All that are open, with the generation they belong to. */
  readonly #sessions: Map<Session, number> = new Map();
  /** The last one given back is the first to go. */
  readonly #idle: { session: Session; sinceMs: number }[] = [];
  readonly #loans: Map<SessionConnection, Session> = new Map();
  readonly #waiting: Deque<AcquireWaiter> = new Deque();
  #connecting = 0;
  /** Those that belong to nobody's scope. */
  readonly #connects: Set<CancelScope> = new Set();
  #retiring = 0;
  #closing = false;
  #closed = false;
  #timer = -1;
  readonly #emptied: Set<Waiter> = new Set();
  readonly #closers: Set<() => void> = new Set();

  constructor(options: PoolOptions) {
    const holder: { pool?: SessionPool } = {};
    super({
      lend: (use, given) => (holder.pool as SessionPool).#lend(use, given),
    } satisfies Lender);
    holder.pool = this;
    this.#plan = makePoolPlan(options);
    this.#connectPlan = makePlan(options);
  }

  get size(): number {
    return this.#sessions.size;
  }

  get idle(): number {
    return this.#idle.length;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get minSize(): number {
    return this.#plan.minSize;
  }

  get maxSize(): number {
    return this.#plan.maxSize;
  }

  get closing(): boolean {
    return this.#closing;
  }

  /** @internal The first one alone: when it fails, so would the others. */
  async open(): Promise<void> {
    const { minSize } = this.#plan;
    try {
      if (minSize > 0) this.#putIdle(await this.#connect());
      const rest = Array.from({ length: Math.max(0, minSize - 1) }, () => this.#connect());
      const results = await Promise.allSettled(rest);
      for (const result of results) {
        if (result.status === 'fulfilled') this.#putIdle(result.value);
      }
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    } catch (error) {
      this.terminate();
      throw error;
    }
    this.#watchIdle();
  }

  async #connect(): Promise<Session> {
    this.#connecting++;
    const generation = this.#generation;
    try {
      const session = await connectSession(this.#loop, this.#connectPlan, this.#catalog);
      session.onEnd = () => this.#forget(session);
      const { init } = this.#plan;
      if (init !== undefined) {
        const connection = new SessionConnection(session);
        try {
          await init(connection);
        } catch (error) {
          connection.terminate();
          throw error;
        }
        connection.detach();
      }
      if (this.#closed) {
        session.wire.goodbye();
        throw new InterfaceError('The pool is closed');
      }
      if (!session.wire.closed) this.#sessions.set(session, generation);
      return session;
    } finally {
      this.#connecting--;
      this.#tellEmptied();
    }
  }

  /** Its connection is gone. */
  #forget(session: Session): void {
    this.#sessions.delete(session);
    const at = this.#idle.findIndex((one) => one.session === session);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#grow();
    this.#tellEmptied();
  }

  /** Opens connections for those who wait, not in the scope of any of them. */
  #grow(): void {
    const free = this.#plan.maxSize - this.#sessions.size - this.#connecting;
    let wanted = Math.min(free, this.#waiting.length - this.#connecting);
    if (this.#closing) wanted = 0;
    for (; wanted > 0; wanted--) {
      detached(this.#loop, async () => {
        const scope = new CancelScope();
        this.#connects.add(scope);
        try {
          const session = await scope.run(() => this.#connect());
          this.#connects.delete(scope);
          if (session !== undefined) this.#hand(session);
        } catch (error) {
          this.#connects.delete(scope);
          const waiter = this.#waiting.shift();
          waiter?.disarm();
          waiter?.fail(error);
          this.#grow();
        }
      });
    }
  }

  /** To the first who waits, else to the idle ones. */
  #hand(session: Session): void {
    if (session.wire.closed) {
      this.#forget(session);
      return;
    }
    const waiter = this.#waiting.shift();
    if (waiter === undefined) {
      this.#putIdle(session);
    } else {
      waiter.disarm();
      waiter.wake(session);
    }
  }

  #putIdle(session: Session): void {
    if (session.wire.closed) return;
    this.#idle.push({ session, sinceMs: this.#loop.time() });
    this.#tellEmptied();
  }

  #obtain(options: WaitOptions & { timeoutMs?: number }): Promise<Session> {
    const waiter = new AcquireWaiter(this.#waiting, this.#loop);
    const timeoutMs = checkMs('timeoutMs', options.timeoutMs ?? Infinity);
    const promise = waiter.start(options);
    if (!waiter.active) return promise;
    const ready = this.#waiting.length === 0 ? this.#idle.pop() : undefined;
    if (ready !== undefined) {
      waiter.wake(ready.session);
    } else {
      waiter.limit(timeoutMs);
      this.#waiting.push(waiter);
      this.#grow();
    }
    return promise;
  }

  async acquire(options: WaitOptions & { timeoutMs?: number } = {}): Promise<PooledConnection> {
    for (;;) {
      if (this.#closing) throw new InterfaceError('The pool is closing');
      const session = await this.#obtain(options);
      // It may have broken in the turn in which it was handed over.
      if (session.wire.closed) continue;
      const connection = new SessionConnection(session, (one) => this.#giveBack(one));
      this.#loans.set(connection, session);
      const { setup } = this.#plan;
      if (setup === undefined) return connection;
      try {
        await setup(connection);
        return connection;
      } catch (error) {
        connection.terminate();
        await this.#giveBack(connection);
        throw error;
      }
    }
  }

  async use<T>(
    fn: (connection: Connection) => Awaitable<T>,
    options: WaitOptions & { timeoutMs?: number } = {},
  ): Promise<T> {
    if (typeof fn !== 'function') throw argTypeError('fn', 'a function', fn);
    const connection = await this.acquire(options);
    try {
      return await fn(connection);
    } finally {
      await connection.release();
    }
  }

  async #lend<T>(use: (session: Session) => Promise<T>, { signal }: QueryOptions): Promise<T> {
    const given = await this.acquire(signal === undefined ? {} : { signal });
    const connection = given as SessionConnection;
    try {
      const { session } = connection;
      session.queries++;
      return await use(session);
    } finally {
      // A query that was given up is ended on the server: its user does not wait for that.
      if (connection.answered || this.#plan.reset !== undefined) await connection.release();
      else detached(this.#loop, () => this.#giveBack(connection));
    }
  }

  async release(connection: PooledConnection): Promise<void> {
    if (!(connection instanceof SessionConnection)) {
      throw argTypeError('connection', 'a connection of this pool', connection);
    }
    if (!this.#loans.has(connection)) {
      if (connection.closed) return;
      throw new InterfaceError('The connection is not one of this pool');
    }
    await this.#giveBack(connection);
  }

  async #giveBack(connection: SessionConnection): Promise<void> {
    const session = this.#loans.get(connection);
    if (session === undefined) return;
    this.#loans.delete(connection);
    try {
      const { reset } = this.#plan;
      if (session.wire.closed) return;
      endLoan(session);
      if (reset !== undefined) {
        await shielded(() => resetBy(reset, connection, session), { graceMs: resetGraceMs });
      } else if (session.inTransaction || !session.wire.idle) {
        await shielded(() => resetSession(session), { graceMs: resetGraceMs });
      } else {
        this.#resetSoon(session);
      }
    } catch (error) {
      session.wire.destroy(new PostgresConnectionError('Its reset failed', { cause: error }));
      if (this.#plan.reset !== undefined) throw error;
    } finally {
      connection.detach();
      this.#returned(session);
    }
  }

  /** Nobody waits for the answer: what comes next is sent behind it. */
  #resetSoon(session: Session): void {
    new SimpleRequest(session.wire, resetSql).submitDetached(resetMs, (error) => {
      session.wire.destroy(new PostgresConnectionError('Its reset failed', { cause: error }));
    });
  }

  #returned(session: Session): void {
    const generation = this.#sessions.get(session);
    const used = session.queries >= this.#plan.maxQueries;
    if (session.wire.closed) {
      this.#forget(session);
    } else if (this.#closing || used || generation !== this.#generation) {
      this.#retire(session);
    } else {
      this.#hand(session);
    }
    this.#tellEmptied();
  }

  /** Closed in the background; its place is free at once. */
  #retire(session: Session): void {
    this.#sessions.delete(session);
    session.onEnd = null;
    const closer = (): void => session.wire.destroy(new PostgresConnectionError('Terminated'));
    this.#closers.add(closer);
    this.#retiring++;
    detached(this.#loop, async () => {
      await closeSession(session).catch(() => {});
      this.#retiring--;
      this.#closers.delete(closer);
      this.#tellEmptied();
    });
    this.#grow();
  }

  // --- Idle ones

  #watchIdle(): void {
    const { maxIdleMs } = this.#plan;
    if (maxIdleMs === 0 || maxIdleMs === Infinity || this.#closing) return;
    this.#timer = this.#loop.armTimer(this.#loop.time() + maxIdleMs / 2, {
      onTimer: () => {
        this.#timer = -1;
        this.#dropIdle(this.#loop.time() - maxIdleMs);
        this.#watchIdle();
      },
    });
    this.#loop.setTimerRef(this.#timer, false);
  }

  #dropIdle(beforeMs: number): void {
    while (this.#sessions.size > this.#plan.minSize) {
      const oldest = this.#idle[0];
      if (oldest === undefined || oldest.sinceMs > beforeMs) return;
      this.#idle.shift();
      this.#retire(oldest.session);
    }
  }

  async expireConnections(): Promise<void> {
    this.#generation++;
    for (const { session } of this.#idle.splice(0)) this.#retire(session);
  }

  setConnectOptions(options: ConnectOptions): void {
    this.#connectPlan = makePlan(options);
  }

  listen(
    channel: string,
    options: WaitOptions = {},
  ): AsyncIterable<Notification & { readonly reconnected: boolean }> {
    if (this.#closing) throw new InterfaceError('The pool is closing');
    const open = (): Promise<Session> => {
      return connectSession(this.#loop, this.#connectPlan, this.#catalog);
    };
    return listen({ open, closing: () => this.#closing, closers: this.#closers }, channel, options);
  }

  // --- The end

  private get inUse(): boolean {
    if (this.#loans.size > 0 || this.#connecting > 0 || this.#retiring > 0) return true;
    // One is handed over in this turn.
    return this.#sessions.size > this.#idle.length;
  }

  async #unused(): Promise<void> {
    while (this.inUse) {
      const waiter = new Waiter<void>('close');
      const promise = waiter.start();
      if (waiter.active) this.#emptied.add(waiter);
      await promise;
    }
  }

  #tellEmptied(): void {
    if (this.inUse) return;
    for (const waiter of this.#emptied) waiter.wake();
    this.#emptied.clear();
  }

  #refuseWaiting(): void {
    for (let waiter = this.#waiting.shift(); waiter !== undefined; waiter = this.#waiting.shift()) {
      waiter.disarm();
      waiter.fail(new InterfaceError('The pool is closing'));
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return await this.#unused();
    this.#closing = true;
    this.#stopTimer();
    this.#refuseWaiting();
    for (const scope of this.#connects) scope.cancel();
    try {
      await this.#unused();
      this.#closed = true;
      for (const closer of [...this.#closers]) closer();
      this.#idle.length = 0;
      const sessions = [...this.#sessions.keys()];
      for (const session of sessions) session.onEnd = null;
      this.#sessions.clear();
      await Promise.all(sessions.map((session) => closeSession(session)));
    } catch (error) {
      this.terminate();
      throw error;
    }
  }

  terminate(): void {
    this.#closing = true;
    this.#closed = true;
    this.#stopTimer();
    this.#refuseWaiting();
    for (const scope of this.#connects) scope.cancel();
    const error = new PostgresConnectionError('The pool was terminated');
    for (const closer of [...this.#closers]) closer();
    for (const session of [...this.#sessions.keys()]) {
      session.onEnd = null;
      session.wire.destroy(error);
    }
    this.#sessions.clear();
    this.#idle.length = 0;
    this.#loans.clear();
    this.#tellEmptied();
  }

  #stopTimer(): void {
    if (this.#timer !== -1) this.#loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The user's hook stands for the reset query, not for the end of a transaction. */
async function resetBy(
  reset: NonNullable<PoolOptions['reset']>,
  connection: SessionConnection,
  session: Session,
): Promise<void> {
  await rollBackOpen(session);
  await reset(connection);
  if (!session.wire.closed) await rollBackOpen(session);
}

/**
 * Opens a pool with `minSize` connections. Errors as `connect`; when one of them fails none stays
 * open. (asyncpg.create_pool)
 */
export async function createPool(options: string | PoolOptions = {}): Promise<Pool> {
  const pool = new SessionPool(typeof options === 'string' ? { dsn: options } : options);
  await pool.open();
  return pool;
}
