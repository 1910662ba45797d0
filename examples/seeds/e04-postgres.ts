/** E4: a table, two rows, and a query, over a connection that is closed whatever happens. */
import { run } from 'uvio';
import { type ConnectOptions, connect } from 'uvio/postgres';
import { startedAs } from './started-as.ts';

const testdb: ConnectOptions = {
  user: 'user',
  password: 'password',
  database: 'testdb',
  host: 'localhost',
};

// covers: seeds/E4
export async function main(options: ConnectOptions = testdb): Promise<void> {
  const conn = await connect(options);
  try {
    await conn.execute(`
      CREATE TABLE IF NOT EXISTS users (
        id SERIAL PRIMARY KEY,
        name TEXT NOT NULL
      )`);
    await conn.execute('INSERT INTO users(name) VALUES($1)', 'Alice');
    await conn.execute('INSERT INTO users(name) VALUES($1)', 'Bob');
    const rows = await conn.fetch('SELECT * FROM users');
    for (const row of rows) console.log(`User ID: ${row['id']}, Name: ${row['name']}`);
  } finally {
    await conn.close();
  }
}

if (startedAs(import.meta.url)) await run(main);
