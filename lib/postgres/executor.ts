/**
 * What connections, pools and `with(options)` share: queries and COPY.
 *
 * In: SQL and arguments. Out: requests on a session that `lend` brings. Never: text of arguments
 * inside SQL, but where PostgreSQL takes no parameters (COPY of a query).
 */
import { checkMs } from '../base/units.ts';
import { copyIn, copyOptionsSql, copyOut, copyRecords, quoteName, tableSql } from './copy.ts';
import { InterfaceError } from './errors.ts';
import { inlineArguments } from './inline.ts';
import { runMany } from './many.ts';
import { QueryRequest, SimpleRequest, type Wanted } from './queries.ts';
import type { Session } from './session.ts';
import { checkSql } from './statement.ts';
import type {
  Arguments,
  CopyOptions,
  CopyOutput,
  CopySource,
  Executable,
  QueryOptions,
  Row,
} from './types.ts';

/** Brings a session, for one use of it. */
export interface Lender {
  lend<T>(use: (session: Session) => Promise<T>, options: QueryOptions): Promise<T>;
}

function template(strings: TemplateStringsArray): string {
  if (!Array.isArray(strings)) throw new InterfaceError('sql is a template tag: sql`SELECT …`');
  let text = strings[0] as string;
  for (let i = 1; i < strings.length; i++) text += `$${i}${strings[i]}`;
  return text;
}

const templates: WeakMap<TemplateStringsArray, string> = new WeakMap();

export class Executor implements Executable {
  readonly #lender: Lender;
  readonly #options: QueryOptions;

  constructor(lender: Lender, options: QueryOptions = {}) {
    this.#lender = lender;
    this.#options = options;
  }

  #query<T>(sql: string, args: readonly unknown[], wanted: Wanted): Promise<T> {
    const options = this.#options;
    return this.#lender.lend(
      (session) => new QueryRequest<T>(session, sql, args, wanted, null).submit(options),
      options,
    );
  }

  #lend<T>(use: (session: Session) => Promise<T>, given?: QueryOptions): Promise<T> {
    return this.#lender.lend(use, this.#merged(given));
  }

  #merged(given: QueryOptions | undefined): QueryOptions {
    if (given?.timeoutMs !== undefined) checkMs('timeoutMs', given.timeoutMs);
    return given === undefined ? this.#options : { ...this.#options, ...definedOf(given) };
  }

  execute(sql: string, ...args: unknown[]): Promise<string> {
    if (args.length > 0) return this.#query(sql, args, 'tag');
    const options = this.#options;
    return this.#lend(async (session) => {
      return await new SimpleRequest(session.wire, checkSql(sql)).submit(options);
    });
  }

  async executeMany(sql: string, args: Arguments, options?: QueryOptions): Promise<void> {
    const merged = this.#merged(options);
    await this.#lend((session) => runMany(session, sql, args, merged, false), options);
  }

  fetch<R = Row>(sql: string, ...args: unknown[]): Promise<R[]> {
    return this.#query(sql, args, 'rows');
  }

  fetchRow<R = Row>(sql: string, ...args: unknown[]): Promise<R | null> {
    return this.#query(sql, args, 'row');
  }

  // biome-ignore lint/suspicious/noExplicitAny: a value of any type of the database.
  fetchVal<T = any>(sql: string, ...args: unknown[]): Promise<T | null> {
    return this.#query(sql, args, 'value');
  }

  fetchMany<R = Row>(sql: string, args: Arguments): Promise<R[]> {
    const options = this.#options;
    return this.#lend((session) => runMany(session, sql, args, options, true) as Promise<R[]>);
  }

  sql<R = Row>(strings: TemplateStringsArray, ...args: unknown[]): Promise<R[]> {
    let text = templates.get(strings);
    if (text === undefined) {
      text = template(strings);
      templates.set(strings, text);
    }
    return this.#query(text, args, 'rows');
  }

  with(options: QueryOptions): Executable {
    return new Executor(this.#lender, this.#merged(options));
  }

  async copyFromTable(
    table: string,
    options: CopyOptions & { output: CopyOutput; columns?: readonly string[] },
  ): Promise<string> {
    const target = tableSql(table, options.schema, options.columns);
    const sql = `COPY ${target} TO STDOUT${copyOptionsSql(options)}`;
    const merged = this.#merged(options);
    return await this.#lend((session) => copyOut(session, sql, options.output, merged), merged);
  }

  async copyFromQuery(
    sql: string,
    args: readonly unknown[],
    options: CopyOptions & { output: CopyOutput },
  ): Promise<string> {
    const merged = this.#merged(options);
    const tail = copyOptionsSql(options);
    return await this.#lend(async (session) => {
      const query = await inlineArguments(session, checkSql(sql), args, merged);
      return await copyOut(session, `COPY (${query}) TO STDOUT${tail}`, options.output, merged);
    }, merged);
  }

  async copyToTable(
    table: string,
    options: CopyOptions & { source: CopySource; columns?: readonly string[] },
  ): Promise<string> {
    const target = tableSql(table, options.schema, options.columns);
    const sql = `COPY ${target} FROM STDIN${copyOptionsSql(options)}`;
    const merged = this.#merged(options);
    return await this.#lend((session) => copyIn(session, sql, options.source, merged), merged);
  }

  async copyRecordsToTable(
    table: string,
    options: QueryOptions & {
      records: Arguments;
      columns?: readonly string[];
      schema?: string;
      where?: string;
    },
  ): Promise<string> {
    const { columns, schema, where, records } = options;
    const list = columns === undefined ? '*' : columns.map(quoteName).join(', ');
    const condition = where === undefined ? '' : ` WHERE ${checkSql(where)}`;
    const target = {
      sql: `COPY ${tableSql(table, schema, columns)} FROM STDIN WITH (FORMAT binary)${condition}`,
      columnsSql: `SELECT ${list} FROM ${tableSql(table, schema, undefined)}`,
    };
    const merged = this.#merged(options);
    return await this.#lend((session) => copyRecords(session, target, records, merged), merged);
  }
}

function definedOf({ timeoutMs, signal }: QueryOptions): QueryOptions {
  return {
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(signal === undefined ? {} : { signal }),
  };
}
