/**
 * Kysely over a pool of uvio: queries are typed by Kysely, and cancelled by the scope around them.
 */
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
  type TransactionSettings,
} from 'kysely';
import { run, shielded } from 'uvio';
import { createPool, type Pool, type PooledConnection, type PoolOptions } from 'uvio/postgres';
import { startedAs } from './seeds/started-as.ts';

class UvioConnection implements DatabaseConnection {
  readonly loan: PooledConnection;

  constructor(loan: PooledConnection) {
    this.loan = loan;
  }

  async executeQuery<R>({ sql, parameters, query }: CompiledQuery): Promise<QueryResult<R>> {
    const changes = ['InsertQueryNode', 'UpdateQueryNode', 'DeleteQueryNode', 'MergeQueryNode'];
    if (!changes.includes(query.kind))
      return { rows: await this.loan.fetch<R>(sql, ...parameters) };
    if ('returning' in query && query.returning !== undefined) {
      const rows = await this.loan.fetch<R>(sql, ...parameters);
      return { rows, numAffectedRows: BigInt(rows.length) };
    }
    const tag = await this.loan.execute(sql, ...parameters);
    return { rows: [], numAffectedRows: BigInt(tag.split(' ').at(-1) as string) };
  }

  async *streamQuery<R>(
    { sql, parameters }: CompiledQuery,
    chunkSize: number,
  ): AsyncIterableIterator<QueryResult<R>> {
    await using transaction = this.loan.transaction();
    await transaction.start();
    const cursor = this.loan.cursor<R>(sql, ...parameters);
    for (;;) {
      const rows = await cursor.fetch(chunkSize);
      if (rows.length === 0) break;
      yield { rows };
    }
    await transaction.commit();
  }
}

class UvioDriver implements Driver {
  readonly pool: Pool;

  constructor(pool: Pool) {
    this.pool = pool;
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<UvioConnection> {
    return new UvioConnection(await this.pool.acquire());
  }

  async beginTransaction(
    { loan }: UvioConnection,
    { isolationLevel, accessMode }: TransactionSettings,
  ): Promise<void> {
    const isolation = isolationLevel === undefined ? '' : ` ISOLATION LEVEL ${isolationLevel}`;
    await loan.execute(`BEGIN${isolation}${accessMode === undefined ? '' : ` ${accessMode}`}`);
  }

  async commitTransaction({ loan }: UvioConnection): Promise<void> {
    await loan.execute('COMMIT');
  }

  /** Also in a scope that was cancelled. */
  async rollbackTransaction({ loan }: UvioConnection): Promise<void> {
    await shielded(() => loan.execute('ROLLBACK'));
  }

  async releaseConnection({ loan }: UvioConnection): Promise<void> {
    await loan.release();
  }

  /** The pool is its owner's. */
  async destroy(): Promise<void> {}
}

/** For `new Kysely<Database>({ dialect: uvioDialect(pool) })`. */
export function uvioDialect(pool: Pool): Dialect {
  return {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new UvioDriver(pool),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  };
}

interface Database {
  readonly cities: { readonly name: string; readonly people: number };
}

export async function main(options: PoolOptions = {}): Promise<string[]> {
  await using pool = await createPool(options);
  const db = new Kysely<Database>({ dialect: uvioDialect(pool) });
  await db.schema
    .createTable('cities')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('people', 'integer')
    .execute();
  await db.transaction().execute(async (transaction) => {
    await transaction
      .insertInto('cities')
      .values([
        { name: 'Gdańsk', people: 486_000 },
        { name: 'Łódź', people: 658_000 },
      ])
      .execute();
  });
  const large = db.selectFrom('cities').select('name').where('people', '>', 500_000);
  return (await large.execute()).map(({ name }) => name);
}

if (startedAs(import.meta.url)) console.log(await run(main));
