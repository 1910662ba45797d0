/** The examples with PostgreSQL, against a real one. */
import { Agent, request } from 'node:http';
import { expect, vi } from 'vitest';
import * as registration from '../../examples/registration-api.ts';
import * as e04 from '../../examples/seeds/e04-postgres.ts';
import * as e14 from '../../examples/seeds/e14-pool.ts';
import { serve } from '../../lib/http/index.ts';
import { connect } from '../../lib/postgres/connection.ts';
import { serverTest, where, withServer } from './support.ts';

type Where = Awaited<ReturnType<typeof where>>;

/** A database of this test: the examples make tables that stay. */
async function withDatabase(use: (place: Where) => Promise<void>): Promise<void> {
  const place = await where();
  const database = `examples_${process.pid}_${performance.now().toFixed(0)}`;
  await using connection = await connect(place);
  await connection.execute(`CREATE DATABASE ${database}`);
  try {
    await use({ ...place, database });
  } finally {
    await connection.execute(`DROP DATABASE ${database} WITH (FORCE)`);
  }
}

const agent = new Agent({ keepAlive: true, maxSockets: 100 });

/** With node:http, which is nothing of ours. */
function post(url: string, body: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: 'POST', agent }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    asked.on('error', reject).end(body);
  });
}

withServer('the example', () => {
  serverTest('E4 prints its users', () =>
    withDatabase(async (place) => {
      const log = vi.spyOn(console, 'log').mockImplementation(() => {});
      try {
        await e04.main(place);
        expect(log.mock.calls).toEqual([['User ID: 1, Name: Alice'], ['User ID: 2, Name: Bob']]);
      } finally {
        log.mockRestore();
      }
    }),
  );

  serverTest('E14 gives the active users', () =>
    withDatabase(async (place) => {
      const connection = await connect(place);
      await connection.execute(`
        CREATE TABLE users (id int, name text, active bool);
        INSERT INTO users VALUES (1, 'Alice', true), (2, 'Bob', false)`);
      await connection.close();
      expect(await e14.main({ ...place, minSize: 1 })).toEqual([
        { id: 1, name: 'Alice', active: true },
      ]);
    }),
  );

  // covers: seeds/C12
  serverTest('of an API registers 1,000 users at the same time, each once', () =>
    withDatabase(async (place) => {
      const app = registration.makeApp({ ...place, minSize: 1 });
      await using server = await serve(app, { host: '127.0.0.1', port: 0 });
      const url = new URL('/users', server.url).href;
      const names = Array.from({ length: 1_000 }, (_, i) => `user ${i}`);
      const answers = await Promise.all(names.map((name) => post(url, JSON.stringify({ name }))));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
      const ids = new Set(answers.map(({ text }) => (JSON.parse(text) as { id: number }).id));
      expect(ids.size).toBe(1_000);
      expect((await post(url, '{"name":"user 7"}')).status).toBe(409);
      expect((await post(url, '{}')).status).toBe(422);
      const count = await fetch(`${url}/count`, { headers: { connection: 'close' } });
      expect(await count.json()).toEqual({ count: 1_000 });
      agent.destroy();
    }),
  );
});
