/**
 * A session as its user sees it: a connection of one's own, or on loan from a pool.
 *
 * In: calls. Out: requests on the session. Never: a session once it was closed or given back.
 */
import { type Awaitable, argTypeError } from '../base/errors.ts';
import { checkMs } from '../base/units.ts';
import { currentLoop } from '../task/frame.ts';
import { CancelScope } from '../task/scope.ts';
import { timeout } from '../task/timeout.ts';
import { Catalog } from './catalog.ts';
import { connectSession } from './connect.ts';
import { quoteChannel, quoteName } from './copy.ts';
import { SessionCursor } from './cursor.ts';
import { InterfaceError, PostgresConnectionError, type PostgresError } from './errors.ts';
import { Executor, type Lender } from './executor.ts';
import { makePlan } from './options.ts';
import { SessionStatement } from './prepared.ts';
import { PrepareRequest, SimpleRequest, SyncRequest } from './queries.ts';
import type { Session } from './session.ts';
import { runTransaction, SessionTransaction } from './transaction.ts';
import { resetTypeCodec, setBuiltinTypeCodec, setTypeCodec } from './type-codecs.ts';
import type {
  Connection,
  ConnectOptions,
  Cursor,
  Executable,
  Notification,
  PooledConnection,
  PreparedStatement,
  QueryOptions,
  QueryRecord,
  Row,
  Transaction,
  TransactionOptions,
  TypeCodec,
} from './types.ts';

/** What a session had at its start. */
export const resetSql: string = 'SELECT pg_advisory_unlock_all();CLOSE ALL;UNLISTEN *;RESET ALL;';

/** There is no way to close a statement: the server may forget those that nobody can use. */
const unreachable: FinalizationRegistry<() => void> = new FinalizationRegistry((letGo) => letGo());

/** Where the session of a connection is. */
class Holder implements Lender {
  session: Session | null;

  constructor(session: Session) {
    this.session = session;
  }

  get(): Session {
    const { session } = this;
    if (session === null) throw new InterfaceError('The connection was given back to its pool');
    return session;
  }

  lend<T>(use: (session: Session) => Promise<T>): Promise<T> {
    try {
      const session = this.get();
      session.queries++;
      return use(session);
    } catch (error) {
      return Promise.reject(error);
    }
  }
}

export class SessionConnection extends Executor implements PooledConnection {
  readonly #holder: Holder;
  readonly #giveBack: ((connection: SessionConnection) => Promise<void>) | null;

  constructor(
    session: Session,
    giveBack: ((connection: SessionConnection) => Promise<void>) | null = null,
  ) {
    const holder = new Holder(session);
    super(holder);
    this.#holder = holder;
    this.#giveBack = giveBack;
  }

  /** @internal The session; InterfaceError when it was given back. */
  get session(): Session {
    return this.#holder.get();
  }

  /** @internal Ends the loan: the session that was lent, or null. */
  detach(): Session | null {
    const { session } = this.#holder;
    this.#holder.session = null;
    return session;
  }

  /** @internal Nothing that was sent waits for its answer. */
  get answered(): boolean {
    const { session } = this.#holder;
    return session === null || session.wire.idle || session.wire.closed;
  }

  get closed(): boolean {
    return this.#holder.session?.wire.closed ?? true;
  }

  get inTransaction(): boolean {
    return this.session.inTransaction;
  }

  get serverPid(): number {
    return this.session.pid;
  }

  get serverVersion(): { readonly major: number; readonly minor: number } {
    return this.session.serverVersion;
  }

  get settings(): Readonly<Record<string, string>> {
    return { ...this.session.parameters };
  }

  transaction<T>(
    fn: (connection: Connection) => Awaitable<T>,
    options?: TransactionOptions,
  ): Promise<T>;
  transaction(options?: TransactionOptions): Transaction;
  transaction<T>(
    first: ((connection: Connection) => Awaitable<T>) | TransactionOptions = {},
    options: TransactionOptions = {},
  ): Promise<T> | Transaction {
    const session = (): Session => this.session;
    if (typeof first !== 'function') return new SessionTransaction(session, first);
    return runTransaction(new SessionTransaction(session, options), () => first(this));
  }

  async prepare<R = Row>(sql: string, options: QueryOptions = {}): Promise<PreparedStatement<R>> {
    const statement = await new PrepareRequest(this.session, sql).submit(options);
    const { statements } = this.session;
    statements.hold(statement);
    const prepared = new SessionStatement<R>(() => this.session, statement, options);
    unreachable.register(prepared, () => statements.letGo(statement));
    return prepared;
  }

  cursor<R = Row>(sql: string, ...args: unknown[]): Cursor<R> {
    return new SessionCursor<R>(() => this.session, sql, args, null);
  }

  /** Queries of one turn share a round trip anyhow; this waits for those that nobody awaited. */
  async pipeline<T>(fn: (connection: Executable) => Awaitable<T>): Promise<T> {
    if (typeof fn !== 'function') throw argTypeError('fn', 'a function', fn);
    const { session } = this;
    const result = await fn(this);
    if (!session.wire.idle) await new SyncRequest(session.wire).submit();
    return result;
  }

  // --- Listeners

  async addListener(
    channel: string,
    callback: (notification: Notification) => void,
  ): Promise<void> {
    checkCallback(callback);
    const { session } = this;
    const sql = `LISTEN ${quoteChannel(channel)}`;
    let listeners = session.channels.get(channel);
    if (listeners === undefined) {
      listeners = new Set();
      session.channels.set(channel, listeners);
    }
    listeners.add(callback);
    try {
      // Not only for the first one: its LISTEN may fail yet, or was undone by a rollback.
      await new SimpleRequest(session.wire, sql).submit();
    } catch (error) {
      listeners.delete(callback);
      const left = session.channels.get(channel);
      if (left === listeners && left.size === 0) session.channels.delete(channel);
      throw error;
    }
  }

  async removeListener(
    channel: string,
    callback: (notification: Notification) => void,
  ): Promise<void> {
    if (this.closed) return;
    const { session } = this;
    const listeners = session.channels.get(channel);
    if (!listeners?.delete(callback) || listeners.size > 0) return;
    session.channels.delete(channel);
    await new SimpleRequest(session.wire, `UNLISTEN ${quoteName(channel)}`).submit();
  }

  addLogListener(callback: (message: PostgresError) => void): void {
    checkCallback(callback);
    this.session.logs.add(callback);
  }

  removeLogListener(callback: (message: PostgresError) => void): void {
    this.#holder.session?.logs.delete(callback);
  }

  addTerminationListener(callback: () => void): void {
    checkCallback(callback);
    this.session.terminations.add(callback);
  }

  removeTerminationListener(callback: () => void): void {
    this.#holder.session?.terminations.delete(callback);
  }

  addQueryLogger(callback: (record: QueryRecord) => void): void {
    checkCallback(callback);
    const { session } = this;
    session.queryLoggers.add(callback);
    session.watchQueries();
  }

  removeQueryLogger(callback: (record: QueryRecord) => void): void {
    const { session } = this.#holder;
    session?.queryLoggers.delete(callback);
    session?.watchQueries();
  }

  // --- Types

  async setTypeCodec(type: string, codec: TypeCodec): Promise<void> {
    await setTypeCodec(this.session, type, codec);
  }

  async resetTypeCodec(type: string, options: { schema?: string } = {}): Promise<void> {
    await resetTypeCodec(this.session, type, options.schema);
  }

  async setBuiltinTypeCodec(
    type: string,
    options: { codec: string; schema?: string },
  ): Promise<void> {
    await setBuiltinTypeCodec(this.session, type, options.codec, options.schema);
  }

  async reloadSchemaState(): Promise<void> {
    this.session.forgetTypes();
  }

  // --- The end

  async reset(): Promise<void> {
    await resetSession(this.session);
  }

  async close(options: { timeoutMs?: number } = {}): Promise<void> {
    if (this.#giveBack !== null) return await this.release();
    if (!this.closed) await closeSession(this.session, options.timeoutMs);
  }

  terminate(): void {
    const { session } = this.#holder;
    session?.wire.destroy(new PostgresConnectionError('The connection was terminated'));
  }

  async release(): Promise<void> {
    if (this.#giveBack === null) throw new InterfaceError('The connection belongs to no pool');
    if (this.#holder.session !== null) await this.#giveBack(this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function checkCallback(callback: unknown): void {
  if (typeof callback !== 'function') throw argTypeError('callback', 'a function', callback);
}

/** Ends a transaction that was left open, and waits for queries that nobody has awaited. */
export async function rollBackOpen({ wire, inTransaction }: Session): Promise<void> {
  if (inTransaction || !wire.idle) await new SimpleRequest(wire, 'ROLLBACK').submit();
}

function forgetListeners(session: Session): void {
  session.channels.clear();
  session.logs.clear();
  session.queryLoggers.clear();
  session.watchQueries();
  session.transactions.length = 0;
}

/** The next borrower is somebody else. */
export function endLoan(session: Session): void {
  forgetListeners(session);
  session.terminations.clear();
  session.statements.letAllGo();
}

/** As new, but for prepared statements, which stay. */
export async function resetSession(session: Session): Promise<void> {
  forgetListeners(session);
  await rollBackOpen(session);
  await new SimpleRequest(session.wire, resetSql).submit();
}

const farewellMs = 10_000;

/** Waits for what was asked before, says good-bye, and waits for the socket's end. */
export async function closeSession(session: Session, timeoutMs?: number): Promise<void> {
  const { wire } = session;
  if (wire.closed) return;
  const limitMs = timeoutMs === undefined ? farewellMs : checkMs('timeoutMs', timeoutMs);
  const end = async (): Promise<void> => {
    if (!wire.idle) await new SyncRequest(wire).submit();
    wire.goodbye();
    await wire.gone();
  };
  try {
    await timeout(limitMs, end);
  } catch (error) {
    wire.destroy(new PostgresConnectionError('The connection was terminated'));
    wire.transport?.abort();
    throw error;
  }
}

/**
 * Opens a connection. Rejects with PostgresError when the server refuses (its `code` says why),
 * PostgresConnectionError when there is none, TimeoutError after `timeoutMs`, InterfaceError for
 * options that make no sense. Cancellation closes the socket. (asyncpg.connect)
 */
export async function connect(options?: string | ConnectOptions): Promise<Connection> {
  const plan = makePlan(options);
  const signal = typeof options === 'object' ? options.signal : undefined;
  signal?.throwIfAborted();
  const session = await withSignal(signal, () =>
    connectSession(currentLoop(), plan, new Catalog()),
  );
  return new SessionConnection(session);
}

/** Runs `work` in a scope that the signal cancels; rejects with its reason. */
export async function withSignal<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  if (signal === undefined) return await work();
  const scope = new CancelScope({ signal });
  let result: T | undefined;
  await scope.run(async () => {
    result = await work();
  });
  if (scope.cancelledCaught) throw signal.reason;
  return result as T;
}
