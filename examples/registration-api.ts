/**
 * An API that registers users: HTTP in front, a pool of PostgreSQL behind. A request whose client
 * is gone cancels its query; a name that is taken is the client's error.
 */
import { Application, HttpError, Key, Response, runApp } from 'uvio/http';
import { createPool, type Pool, type PoolOptions, PostgresError } from 'uvio/postgres';
import { startedAs } from './seeds/started-as.ts';

const pools: Key<Pool> = new Key('pool');

const usersSql = `
  CREATE TABLE IF NOT EXISTS users (
    id SERIAL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
  )`;

// covers: seeds/C13, seeds/C24
export function makeApp(options: PoolOptions): Application {
  const app = new Application({ maxBodyBytes: 10_000 });
  app.cleanupContext(async function* (application) {
    await using pool = await createPool({ maxSize: 20, ...options });
    await pool.execute(usersSql);
    application.state.set(pools, pool);
    yield;
  });
  app.post('/users', async (request) => {
    const { name } = await request.json<{ name?: unknown }>();
    if (typeof name !== 'string') throw new HttpError(422, 'A user has a name');
    const pool = app.state.get(pools).with({ timeoutMs: 2_000, signal: request.signal });
    try {
      const id = await pool.fetchVal('INSERT INTO users(name) VALUES($1) RETURNING id', name);
      return Response.json({ id }, { status: 201 });
    } catch (error) {
      if (error instanceof PostgresError && error.condition === 'unique_violation') {
        throw new HttpError(409, 'The name is taken');
      }
      throw error;
    }
  });
  app.get('/users/count', async () => {
    return Response.json({
      count: await app.state.get(pools).fetchVal('SELECT count(*)::int FROM users'),
    });
  });
  return app;
}

if (startedAs(import.meta.url)) await runApp(makeApp({}), { port: 8080 });
