/**
 * Statements that the user prepares.
 *
 * In: arguments. Out: rows, what the server says of the statement. Never: a use after the
 * connection was given back.
 */
import { SessionCursor } from './cursor.ts';
import { runMany } from './many.ts';
import { QueryRequest, type Wanted } from './queries.ts';
import type { RequestOptions } from './request.ts';
import type { Session } from './session.ts';
import type { Statement } from './statement.ts';
import { SessionTransaction } from './transaction.ts';
import type { Arguments, Cursor, PreparedStatement, Row, StatementColumn } from './types.ts';

export class SessionStatement<R = Row> implements PreparedStatement<R> {
  readonly #session: () => Session;
  readonly #statement: Statement;
  readonly #options: RequestOptions;
  readonly parameters: readonly StatementColumn[];
  readonly attributes: readonly StatementColumn[];

  constructor(session: () => Session, statement: Statement, options: RequestOptions) {
    this.#session = session;
    this.#statement = statement;
    this.#options = options;
    const { catalog } = session().codecs;
    const typeOf = (oid: number): string => catalog.get(oid)?.name ?? String(oid);
    this.parameters = statement.parameterOids.map((oid, i) => {
      return { name: `$${i + 1}`, type: typeOf(oid), oid };
    });
    const columns = statement.columns ?? [];
    this.attributes = columns.map(({ name, oid }) => ({ name, type: typeOf(oid), oid }));
  }

  get query(): string {
    return this.#statement.sql;
  }

  get name(): string {
    return this.#statement.name;
  }

  async #run<T>(args: readonly unknown[], wanted: Wanted): Promise<T> {
    const statement = this.#statement;
    const session = this.#session();
    return await new QueryRequest<T>(session, statement.sql, args, wanted, statement).submit(
      this.#options,
    );
  }

  fetch(...args: unknown[]): Promise<R[]> {
    return this.#run(args, 'rows');
  }

  fetchRow(...args: unknown[]): Promise<R | null> {
    return this.#run(args, 'row');
  }

  // biome-ignore lint/suspicious/noExplicitAny: a value of any type of the database.
  fetchVal<T = any>(...args: unknown[]): Promise<T | null> {
    return this.#run(args, 'value');
  }

  async executeMany(args: Arguments): Promise<void> {
    const statement = this.#statement;
    await runMany(this.#session(), statement.sql, args, this.#options, false, statement);
  }

  cursor(...args: unknown[]): Cursor<R> {
    return new SessionCursor<R>(this.#session, this.#statement.sql, args, this.#statement);
  }

  /** The plan as PostgreSQL's JSON. With `analyze` the query runs, and is undone. */
  async explain(options: { analyze?: boolean } = {}, ...args: unknown[]): Promise<unknown> {
    const session = this.#session();
    const explain = async (mode: string): Promise<unknown> => {
      const sql = `EXPLAIN (FORMAT JSON, VERBOSE${mode}) ${this.query}`;
      return await new QueryRequest(session, sql, args, 'value', null).submit(this.#options);
    };
    if (options.analyze !== true) return await explain('');
    const transaction = new SessionTransaction(this.#session, {});
    await transaction.start();
    try {
      return await explain(', ANALYZE');
    } finally {
      await transaction.rollback();
    }
  }
}
