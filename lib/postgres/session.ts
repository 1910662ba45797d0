/**
 * What belongs to one session with the server: wire, statements, types, settings, listeners.
 *
 * In: events of the wire. Out: calls of listeners. Never: a loan; connections and loans of a pool
 * are objects in front of it.
 */
import type { Catalog } from './catalog.ts';
import { closedChannel, queryChannel } from './channels.ts';
import { CodecSet } from './codec-set.ts';
import { PostgresConnectionError, type PostgresError, ProtocolError } from './errors.ts';
import { type Address, type ConnectPlan, isUtf8 } from './options.ts';
import * as proto from './protocol.ts';
import type { Request } from './request.ts';
import { StatementCache } from './statement.ts';
import type { Notification, QueryRecord } from './types.ts';
import type { Wire, WireEvents } from './wire.ts';

const maxParameters = 256;
/** Between two times that types are asked for anew on suspicion. */
const suspicionMs = 10_000;

export type Listener<T> = (value: T) => void;

/** One that was begun by `transaction()`. */
export interface OpenTransaction {
  /** That has begun it. */
  readonly task: unknown;
  /** One around it has ended. */
  lose(): void;
}

export class Session implements WireEvents {
  readonly wire: Wire;
  readonly plan: ConnectPlan;
  readonly address: Address;
  readonly statements: StatementCache;
  readonly codecs: CodecSet;
  #parameters = 0;
  #forgotMs = -Infinity;
  readonly parameters: Record<string, string> = { __proto__: null } as never;
  serverVersion: { readonly major: number; readonly minor: number } = { major: 0, minor: 0 };
  pid = 0;
  secret: Uint8Array = new Uint8Array(0);
  /** From outside in. */
  readonly transactions: OpenTransaction[] = [];
  /** For their names. */
  savepoints = 0;
  portals = 0;
  /** Queries since the session began, for `maxQueries`. */
  queries = 0;
  readonly channels: Map<string, Set<Listener<Notification>>> = new Map();
  readonly logs: Set<Listener<PostgresError>> = new Set();
  readonly terminations: Set<() => void> = new Set();
  readonly queryLoggers: Set<Listener<QueryRecord>> = new Set();
  /** End the connections of cancellations. */
  readonly couriers: Set<() => void> = new Set();
  /** For the pool. */
  onEnd: (() => void) | null = null;

  constructor(wire: Wire, plan: ConnectPlan, address: Address, catalog: Catalog) {
    this.wire = wire;
    this.plan = plan;
    this.address = address;
    this.codecs = new CodecSet(catalog, plan);
    this.statements = new StatementCache(plan, () => wire.loop.time());
    wire.events = this;
    catalog.watchers.add(this.#dropTypes);
    this.watchQueries();
  }

  get inTransaction(): boolean {
    return this.wire.status !== proto.IDLE;
  }

  /** Whether anybody wants to hear of queries, asked when that may have changed. */
  watchQueries(): void {
    this.wire.observed = this.queryLoggers.size > 0 || queryChannel.hasSubscribers;
  }

  readonly #dropTypes = (): void => {
    this.codecs.clear();
    this.statements.clear();
  };

  /** The shape of a type is not what it was, for all connections of a pool. */
  forgetTypes(): void {
    this.codecs.catalog.clear();
    this.#forgotMs = this.wire.loop.time();
  }

  /** Perhaps: but values that never fit must not have all connections ask again and again. */
  suspectTypes(): void {
    if (this.wire.loop.time() - this.#forgotMs > suspicionMs) this.forgetTypes();
  }

  /** 15.3, 9.6.24, 17devel, or a pooler's own words. */
  readVersion(text: string): void {
    const [, major = '0', minor = '0'] = /^(\d+)(?:\.(\d+))?/.exec(text) ?? [];
    this.serverVersion = { major: Number(major), minor: Number(minor) };
  }

  /** Calls user code: its errors go to the loop, and stop nothing. */
  #tell<T>(listeners: Iterable<Listener<T>>, value: T, what: string): void {
    for (const listener of [...listeners]) {
      try {
        listener(value);
      } catch (error) {
        const message = `Exception in a ${what} listener of PostgreSQL`;
        this.wire.loop.callExceptionHandler({ message, error });
      }
    }
  }

  notice(error: PostgresError): void {
    if (this.logs.size > 0) this.#tell(this.logs, error, 'log');
  }

  notification(channel: string, payload: string, pid: number): void {
    const listeners = this.channels.get(channel);
    if (listeners !== undefined) this.#tell(listeners, { channel, payload, pid }, 'notification');
  }

  parameter(name: string, value: string): void {
    // PostgreSQL has some fifteen.
    if (!(name in this.parameters) && ++this.#parameters > maxParameters) {
      throw new ProtocolError(`more than ${maxParameters} parameters`);
    }
    this.parameters[name] = value;
    if (name === 'server_version') this.readVersion(value);
    // All that comes would be read as something else than it is.
    if (name === 'client_encoding' && this.wire.startup === null && !isUtf8(value)) {
      throw new PostgresConnectionError(`client_encoding was set to ${value}; it must be UTF8`);
    }
  }

  ended(error: PostgresConnectionError | null): void {
    this.codecs.catalog.watchers.delete(this.#dropTypes);
    for (const leave of [...this.couriers]) leave();
    this.onEnd?.();
    if (closedChannel.hasSubscribers) closedChannel.publish({ pid: this.pid, error });
    this.#tell<void>(this.terminations, undefined, 'termination');
    this.channels.clear();
    this.logs.clear();
    this.terminations.clear();
  }

  /** The server has forgotten all statements. */
  discarded(): void {
    this.statements.clear(false);
  }

  query(request: Request<unknown>): void {
    const { sql: query, args, error, startedMs } = request;
    const durationMs = startedMs === 0 ? 0 : performance.now() - startedMs;
    const record: QueryRecord = {
      query,
      args,
      durationMs,
      ...(request.failed ? { error } : {}),
    };
    if (queryChannel.hasSubscribers) queryChannel.publish(record);
    this.#tell(this.queryLoggers, record, 'query');
  }
}
