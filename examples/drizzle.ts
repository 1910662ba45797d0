/**
 * Drizzle over a pool of uvio: Drizzle's node-postgres driver asks for little of a pool of `pg`.
 *
 * Drizzle makes text of dates and JSON by itself, so the pool exchanges these as text. It also does
 * so with arrays, which uvio refuses as text: these go in as `sql` with a cast. Its errors wrap
 * those of uvio: a cancellation is the `cause` of what a query rejects with.
 */
import { gt } from 'drizzle-orm';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { integer, jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core';
import { run, shielded } from 'uvio';
import {
  type Connection,
  createPool,
  type Executable,
  type Pool,
  type PooledConnection,
  type PoolOptions,
  type Row,
} from 'uvio/postgres';
import { startedAs } from './seeds/started-as.ts';

interface Query {
  readonly text: string;
  readonly rowMode?: 'array';
}

interface Result {
  readonly rows: unknown[];
  readonly rowCount: number;
}

async function query(on: Executable, { text, rowMode }: Query, args: unknown[]): Promise<Result> {
  const rows = await on.fetch<Row>(text, ...args);
  return { rows: rowMode === 'array' ? rows.map((row) => [...row]) : rows, rowCount: rows.length };
}

class Client {
  readonly #loan: PooledConnection;
  #ending: Promise<void> | null = null;

  constructor(loan: PooledConnection) {
    this.#loan = loan;
  }

  /** A rollback also in a scope that was cancelled. */
  query(asked: Query, args: unknown[]): Promise<Result> {
    if (asked.text === 'rollback') return shielded(() => query(this.#loan, asked, args));
    return query(this.#loan, asked, args);
  }

  release(): void {
    this.#ending ??= this.#loan.release();
  }
}

/** Drizzle knows a pool by its name. */
class UvioPool {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  query(asked: Query, args: unknown[]): Promise<Result> {
    return query(this.#pool, asked, args);
  }

  async connect(): Promise<Client> {
    return new Client(await this.#pool.acquire());
  }
}

const asText = { encode: (value: string) => value, decode: (value: string) => value };

/** What the pool for Drizzle is made with. */
export const drizzleOptions: PoolOptions = {
  dates: 'string',
  int8: 'string',
  init: async (connection: Connection) => {
    await connection.setTypeCodec('json', asText);
    await connection.setTypeCodec('jsonb', asText);
  },
};

/** A pool made with `drizzleOptions`, for Drizzle. */
export function uvioDrizzle(pool: Pool): NodePgDatabase {
  // biome-ignore lint/suspicious/noExplicitAny: it is a pool of pg as far as Drizzle uses one.
  return drizzle(new UvioPool(pool) as any);
}

const cities = pgTable('cities', {
  name: text().primaryKey(),
  people: integer().notNull(),
  founded: timestamp({ withTimezone: true }),
  more: jsonb().$type<{ readonly river: string }>(),
});

export async function main(options: PoolOptions = {}): Promise<string[]> {
  await using pool = await createPool({ ...options, ...drizzleOptions });
  await pool.execute(`CREATE TABLE cities
    (name text PRIMARY KEY, people int, founded timestamptz, more jsonb)`);
  const db = uvioDrizzle(pool);
  await db.transaction(async (transaction) => {
    await transaction.insert(cities).values([
      { name: 'Gdańsk', people: 486_000, founded: new Date('0997-01-01T00:00:00Z') },
      { name: 'Łódź', people: 658_000, more: { river: 'Ner' } },
    ]);
  });
  const large = await db.select().from(cities).where(gt(cities.people, 500_000));
  return large.map(({ name, more }) => `${name} on the ${more?.river}`);
}

if (startedAs(import.meta.url)) console.log(await run(main));
