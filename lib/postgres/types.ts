/**
 * The names of `uvio/postgres`: options and the interfaces of connections, pools and the rest.
 *
 * In: types only. Out: types. Never: behaviour.
 */
import type { Buffer } from 'node:buffer';
import type { ReadableStream, WritableStream } from 'node:stream/web';
import type { Awaitable, Data, WaitOptions } from '../base/errors.ts';
import type { TlsClientOptions } from '../io/net-types.ts';
import type { PostgresError } from './errors.ts';

/** A value of any type of the database: what it is only the query knows. */
// biome-ignore lint/suspicious/noExplicitAny: casts at every use would help nobody.
type DatabaseValue = any;

export interface ConnectOptions extends WaitOptions {
  /** postgres://user:password@host:port/database?option=… ; other options win over it. */
  dsn?: string;
  /** Tried in order; a leading '/' is a directory of UNIX sockets. Default PGHOST. */
  host?: string | readonly string[];
  port?: number | readonly number[];
  user?: string;
  /** Default PGPASSWORD, then ~/.pgpass. */
  password?: string | (() => Awaitable<string>);
  passfile?: string;
  database?: string;
  /**
   * As libpq's sslmode: 'prefer' (default) and 'require' encrypt and check nothing ('require' with
   * `sslrootcert` is 'verify-ca'), 'verify-full' checks the certificate and its name. Options of
   * node:tls mean 'verify-full', as does `sslrootcert=system`. Not used over UNIX sockets.
   */
  tls?: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full' | TlsClientOptions;
  /** For connecting. Default 60_000. */
  timeoutMs?: number;
  /** For every query. Default: none. */
  commandTimeoutMs?: number;
  /** Prepared statements kept; 0 for PgBouncer's transaction mode. Default 100. */
  statementCacheSize?: number;
  /** Default 300_000. */
  statementCacheLifetimeMs?: number;
  /** Longer statements are not kept. Default 15 KiB. */
  maxCacheableStatementBytes?: number;
  /** TLS without asking the server first (PostgreSQL 17); needs 'require' or more, the default. */
  directTls?: boolean;
  /** A section of pg_service.conf. */
  service?: string;
  serverSettings?: Record<string, string>;
  targetSession?: 'any' | 'primary' | 'standby' | 'read-write' | 'read-only' | 'prefer-standby';
  /** int8 values. Default 'bigint'; 'number' throws RangeError above 2^53. */
  int8?: 'bigint' | 'number' | 'string';
  /** date and timestamp values. Default 'date'; 'string' keeps microseconds. */
  dates?: 'date' | 'string';
}

/**
 * A row: columns by name and by index. Own enumerable properties are the columns, so spread,
 * Object.entries and JSON.stringify work; iterating gives the values. bool, int2, int4, float →
 * number; int8 → bigint; numeric → string; bytea → Buffer; json, jsonb → parsed; timestamptz →
 * Date; arrays → arrays; composites → rows; uuid, inet … → string; interval → Interval.
 */
export type Row = {
  readonly [column: string]: DatabaseValue;
  readonly [index: number]: DatabaseValue;
} & Iterable<DatabaseValue>;

/** All three are ±Infinity for an infinite one (PostgreSQL 17). */
export interface Interval {
  readonly months: number;
  readonly days: number;
  readonly microseconds: number;
}

export interface QueryOptions extends WaitOptions {
  /** TimeoutError; the server is told to stop, and the connection stays usable. */
  timeoutMs?: number;
}

export type Arguments = Iterable<readonly unknown[]> | AsyncIterable<readonly unknown[]>;

/** What connections, pools and transactions share. Arguments are $1, $2 …, always bound. */
export interface Executable {
  /** The command tag: 'INSERT 0 1'. Without arguments it may hold several statements. */
  execute(sql: string, ...args: unknown[]): Promise<string>;
  /** All or nothing; the arguments are streamed. */
  executeMany(sql: string, args: Arguments, options?: QueryOptions): Promise<void>;
  fetch<R = Row>(sql: string, ...args: unknown[]): Promise<R[]>;
  /** The first row or null. */
  fetchRow<R = Row>(sql: string, ...args: unknown[]): Promise<R | null>;
  /** The first column of the first row, or null. */
  fetchVal<T = DatabaseValue>(sql: string, ...args: unknown[]): Promise<T | null>;
  /** Rows of one query run with each of the arguments. */
  fetchMany<R = Row>(sql: string, args: Arguments): Promise<R[]>;
  /** fetch as a template: sql`SELECT * FROM users WHERE id = ${id}`. */
  sql<R = Row>(strings: TemplateStringsArray, ...args: unknown[]): Promise<R[]>;
  /** The same with options: conn.with({ timeoutMs: 2000 }).fetch(…). */
  with(options: QueryOptions): Executable;
  copyFromTable(
    table: string,
    options: CopyOptions & { output: CopyOutput; columns?: readonly string[] },
  ): Promise<string>;
  copyFromQuery(
    sql: string,
    args: readonly unknown[],
    options: CopyOptions & { output: CopyOutput },
  ): Promise<string>;
  copyToTable(
    table: string,
    options: CopyOptions & { source: CopySource; columns?: readonly string[] },
  ): Promise<string>;
  copyRecordsToTable(
    table: string,
    options: QueryOptions & {
      records: Arguments;
      columns?: readonly string[];
      schema?: string;
      where?: string;
    },
  ): Promise<string>;
}

export interface CopyOptions extends QueryOptions {
  schema?: string;
  /** Default 'text'. */
  format?: 'text' | 'csv' | 'binary';
  delimiter?: string;
  null?: string;
  header?: boolean;
  quote?: string;
  escape?: string;
  encoding?: string;
}

/** A path, a Web stream, or a function that is awaited for each chunk. */
export type CopyOutput = string | WritableStream<Uint8Array> | ((chunk: Buffer) => Awaitable<void>);
export type CopySource = string | ReadableStream<Uint8Array> | AsyncIterable<Data>;

export interface TransactionOptions {
  /** Default: the server's. */
  isolation?: 'serializable' | 'repeatable_read' | 'read_committed' | 'read_uncommitted';
  readonly?: boolean;
  deferrable?: boolean;
}

/** Disposing without `commit()` rolls back. */
export interface Transaction extends AsyncDisposable {
  start(): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

export interface Notification {
  readonly channel: string;
  readonly payload: string;
  readonly pid: number;
}

export interface TypeCodec {
  encode(value: DatabaseValue): DatabaseValue;
  decode(value: DatabaseValue): DatabaseValue;
  schema?: string;
  /** Of what encode gives and decode gets. Default 'text'. */
  format?: 'text' | 'binary' | 'tuple';
}

export interface Cursor<R> extends AsyncIterable<R> {
  /** Rows read at a time while iterating. Default 50. */
  prefetch(rows: number): this;
  /** At most that many rows; empty at the end. */
  fetch(rows: number): Promise<R[]>;
  fetchRow(): Promise<R | null>;
  /** Skips rows; gives their number. */
  forward(rows: number): Promise<number>;
}

export interface StatementColumn {
  readonly name: string;
  readonly type: string;
  readonly oid: number;
}

export interface PreparedStatement<R = Row> {
  readonly query: string;
  readonly name: string;
  readonly parameters: readonly StatementColumn[];
  readonly attributes: readonly StatementColumn[];
  fetch(...args: unknown[]): Promise<R[]>;
  fetchRow(...args: unknown[]): Promise<R | null>;
  fetchVal<T = DatabaseValue>(...args: unknown[]): Promise<T | null>;
  executeMany(args: Arguments): Promise<void>;
  /** Only inside a transaction. */
  cursor(...args: unknown[]): Cursor<R>;
  explain(options?: { analyze?: boolean }, ...args: unknown[]): Promise<unknown>;
}

/**
 * One session with the server. Queries that are not awaited one by one are sent together and
 * answered in order, and have one transaction in common: tasks that need one each take a
 * connection each. Cancelling a query tells the server to stop it; the connection stays usable.
 */
export interface Connection extends Executable, AsyncDisposable {
  readonly closed: boolean;
  readonly inTransaction: boolean;
  readonly serverPid: number;
  readonly serverVersion: { readonly major: number; readonly minor: number };
  readonly settings: Readonly<Record<string, string>>;
  /** Commits fn's work, rolls back when it throws. Inside a transaction: a savepoint. */
  transaction<T>(
    fn: (connection: Connection) => Awaitable<T>,
    options?: TransactionOptions,
  ): Promise<T>;
  transaction(options?: TransactionOptions): Transaction;
  prepare<R = Row>(sql: string, options?: QueryOptions): Promise<PreparedStatement<R>>;
  /** Only inside a transaction. */
  cursor<R = Row>(sql: string, ...args: unknown[]): Cursor<R>;
  /** Sends the queries of `fn` without waiting for each other's answer. */
  pipeline<T>(fn: (connection: Executable) => Awaitable<T>): Promise<T>;
  addListener(channel: string, callback: (notification: Notification) => void): Promise<void>;
  removeListener(channel: string, callback: (notification: Notification) => void): Promise<void>;
  /** Notices and warnings. */
  addLogListener(callback: (message: PostgresError) => void): void;
  removeLogListener(callback: (message: PostgresError) => void): void;
  addTerminationListener(callback: () => void): void;
  removeTerminationListener(callback: () => void): void;
  addQueryLogger(callback: (record: QueryRecord) => void): void;
  removeQueryLogger(callback: (record: QueryRecord) => void): void;
  setTypeCodec(type: string, codec: TypeCodec): Promise<void>;
  resetTypeCodec(type: string, options?: { schema?: string }): Promise<void>;
  /** 'hstore' and others that come with the client. */
  setBuiltinTypeCodec(type: string, options: { codec: string; schema?: string }): Promise<void>;
  /** Forget cached types after a change of the schema. */
  reloadSchemaState(): Promise<void>;
  reset(): Promise<void>;
  close(options?: { timeoutMs?: number }): Promise<void>;
  /** Without telling the server. */
  terminate(): void;
}

export interface QueryRecord {
  readonly query: string;
  readonly args: readonly unknown[];
  readonly durationMs: number;
  readonly error?: unknown;
}

export interface PoolOptions extends ConnectOptions {
  /** Default 10. */
  minSize?: number;
  /** Default 10. */
  maxSize?: number;
  /** A connection is replaced after that many queries. Default 50_000. */
  maxQueries?: number;
  /** Default 300_000; 0: never. */
  maxIdleMs?: number;
  /** Each time a connection is handed out. */
  setup?: (connection: Connection) => Awaitable<void>;
  /** Once for each new connection: type codecs. */
  init?: (connection: Connection) => Awaitable<void>;
  /** Instead of the reset query. */
  reset?: (connection: Connection) => Awaitable<void>;
}

/** A connection on loan; disposing gives it back. */
export interface PooledConnection extends Connection {
  release(): Promise<void>;
}

export interface Pool extends Executable, AsyncDisposable {
  readonly size: number;
  readonly idle: number;
  readonly waiting: number;
  readonly minSize: number;
  readonly maxSize: number;
  readonly closing: boolean;
  /** `await using conn = await pool.acquire()`; first come, first served. */
  acquire(options?: WaitOptions & { timeoutMs?: number }): Promise<PooledConnection>;
  /** Lends a connection to `fn`. */
  use<T>(
    fn: (connection: Connection) => Awaitable<T>,
    options?: WaitOptions & { timeoutMs?: number },
  ): Promise<T>;
  release(connection: PooledConnection): Promise<void>;
  /**
   * Notifications over a connection of its own; reconnects by itself, then the first item has
   * `reconnected`, as some may have been lost.
   */
  listen(
    channel: string,
    options?: WaitOptions,
  ): AsyncIterable<Notification & { readonly reconnected: boolean }>;
  /** Connections are replaced at their next release. */
  expireConnections(): Promise<void>;
  setConnectOptions(options: ConnectOptions): void;
  /** Waits for all loans to come back. */
  close(): Promise<void>;
  terminate(): void;
}
