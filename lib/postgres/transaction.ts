/**
 * Transactions and savepoints.
 *
 * In: options and a body. Out: COMMIT, or ROLLBACK. Never: a rollback that a cancellation prevents;
 * work reported as committed that the server has rolled back; half of the work of another task
 * committed with one's own.
 */
import { shielded } from '../task/scope.ts';
import { currentTask } from '../task/spawn.ts';
import { InterfaceError, PostgresError } from './errors.ts';
import * as proto from './protocol.ts';
import { SimpleRequest, SyncRequest } from './queries.ts';
import type { OpenTransaction, Session } from './session.ts';
import type { Transaction, TransactionOptions } from './types.ts';

const isolations: Readonly<Record<string, string>> = {
  serializable: 'SERIALIZABLE',
  repeatable_read: 'REPEATABLE READ',
  read_committed: 'READ COMMITTED',
  read_uncommitted: 'READ UNCOMMITTED',
};

/** A rollback has that long before the cancellation that caused it goes on. */
const rollbackGraceMs = 5_000;

function beginSql({ isolation, readonly, deferrable }: TransactionOptions): string {
  let sql = 'BEGIN';
  if (isolation !== undefined) {
    const level = isolations[isolation];
    if (level === undefined) throw new InterfaceError(`Unknown isolation level '${isolation}'`);
    sql += ` ISOLATION LEVEL ${level}`;
  }
  if (readonly !== undefined) sql += readonly ? ' READ ONLY' : ' READ WRITE';
  if (deferrable !== undefined) sql += deferrable ? ' DEFERRABLE' : ' NOT DEFERRABLE';
  return sql;
}

const IN_FAILED_TRANSACTION = '25P02';

function aborted(): InterfaceError {
  return new InterfaceError('An error had aborted the transaction: it was rolled back');
}

/**
 * Two tasks with a transaction each share one connection: what the other one has done so far must
 * not be committed by this one.
 */
function entangled(): InterfaceError {
  const what = 'A transaction of another task was begun inside of this one, and has not ended';
  return new InterfaceError(`${what}: both are rolled back (each task needs its own connection)`);
}

type State = 'new' | 'started' | 'committed' | 'rolled back' | 'lost';

export class SessionTransaction implements Transaction, OpenTransaction {
  task: unknown = null;
  readonly #session: () => Session;
  readonly #options: TransactionOptions;
  #state: State = 'new';
  /** Null: not a savepoint. */
  #savepoint: string | null = null;

  constructor(session: () => Session, options: TransactionOptions) {
    this.#session = session;
    this.#options = options;
  }

  /** Whatever the scope: a cancellation waits for it, though not for ever. */
  async #undo(): Promise<void> {
    const name = this.#savepoint;
    const sql =
      name === null ? 'ROLLBACK' : `ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`;
    const { wire } = this.#session();
    if (wire.closed) return;
    await shielded(() => new SimpleRequest(wire, sql).submit(), { graceMs: rollbackGraceMs });
  }

  async start(): Promise<void> {
    if (this.#state !== 'new') throw new InterfaceError(`The transaction was ${this.#state}`);
    const session = this.#session();
    if (session.inTransaction || session.transactions.length > 0) {
      if (Object.keys(this.#options).length > 0) {
        throw new InterfaceError('A transaction inside another one has no options of its own');
      }
      this.#savepoint = `uvio_${++session.savepoints}`;
    }
    const sql = this.#savepoint === null ? beginSql(this.#options) : `SAVEPOINT ${this.#savepoint}`;
    this.#state = 'started';
    this.task = currentTask();
    session.transactions.push(this);
    const begin = new SimpleRequest(session.wire, sql);
    try {
      await begin.submit();
    } catch (error) {
      // Cancelled while it was sent: the server may have done it. What was never sent is not
      // undone: going back to a savepoint that is not there aborts the transaction around it.
      if (session.wire.closed || !begin.begun) this.#ended('rolled back');
      else await this.rollback().catch(() => {});
      throw error;
    }
  }

  async commit(): Promise<void> {
    this.#checkStarted('commit');
    const session = this.#session();
    if (session.wire.status === proto.IN_FAILED) {
      await this.rollback();
      throw aborted();
    }
    const inside = session.transactions.slice(session.transactions.indexOf(this) + 1);
    if (inside.some(({ task }) => task !== this.task)) {
      await this.rollback();
      throw entangled();
    }
    this.#ended('committed');
    const sql = this.#savepoint === null ? 'COMMIT' : `RELEASE SAVEPOINT ${this.#savepoint}`;
    const end = new SimpleRequest(session.wire, sql);
    let tag: string;
    try {
      tag = await end.submit();
    } catch (error) {
      this.#state = 'rolled back';
      await this.#undoUnless(end).catch(() => {});
      const { code } = error instanceof PostgresError ? error : { code: '' };
      throw code === IN_FAILED_TRANSACTION ? aborted() : error;
    }
    // So the server answers to COMMIT when a query that nobody had awaited has failed before it.
    if (tag === 'ROLLBACK') {
      this.#state = 'rolled back';
      throw aborted();
    }
  }

  /** After an end that has failed or was cancelled, perhaps before it was sent. */
  async #undoUnless(end: SimpleRequest): Promise<void> {
    const { wire } = this.#session();
    if (end.begun) {
      // A COMMIT ends the transaction, whatever becomes of it.
      if (this.#savepoint === null) return;
      await shielded(() => new SyncRequest(wire).submit(), { graceMs: rollbackGraceMs });
      if (end.completed) return;
    }
    await this.#undo();
  }

  async rollback(): Promise<void> {
    this.#checkStarted('roll back');
    this.#ended('rolled back');
    await this.#undo();
  }

  #checkStarted(what: string): void {
    if (this.#state === 'started') return;
    if (this.#state === 'lost') {
      throw new InterfaceError(`Cannot ${what}: the transaction around it has ended`);
    }
    const state = this.#state === 'new' ? 'not started' : this.#state;
    throw new InterfaceError(`Cannot ${what}: the transaction is ${state}`);
  }

  #ended(state: State): void {
    this.#state = state;
    const { transactions } = this.#session();
    const at = transactions.indexOf(this);
    if (at < 0) return;
    const [, ...inside] = transactions.splice(at);
    for (const one of inside) one.lose();
  }

  lose(): void {
    this.#state = 'lost';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'started') await this.rollback();
  }
}

/** Commits when `body` ends, and rolls back when it throws. */
export async function runTransaction<T>(
  transaction: SessionTransaction,
  body: () => PromiseLike<T> | T,
): Promise<T> {
  await transaction.start();
  let result: T;
  try {
    result = await body();
  } catch (error) {
    // The error of the body counts; one of the rollback has closed the connection.
    await transaction.rollback().catch(() => {});
    throw error;
  }
  await transaction.commit();
  return result;
}
