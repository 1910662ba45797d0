/**
 * E14: rows by a connection of a pool. (The text it is from closes the pool after a `return`; here
 * leaving the block closes it.)
 */
import { run } from 'uvio';
import { createPool, type PoolOptions } from 'uvio/postgres';
import { startedAs } from './started-as.ts';

export interface User {
  readonly id: number;
  readonly name: string;
  readonly active: boolean;
}

const mydb: PoolOptions = {
  user: 'user',
  password: 'password',
  database: 'mydb',
  host: 'localhost',
};

// covers: seeds/E14
export async function main(options: PoolOptions = mydb): Promise<User[]> {
  await using pool = await createPool(options);
  await using conn = await pool.acquire();
  return await conn.fetch<User>('SELECT * FROM users WHERE active = $1', true);
}

if (startedAs(import.meta.url)) console.log(await run(main));
