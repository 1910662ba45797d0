// One client of one peer, measured: `node client.mjs <peer> <case> <seconds> <port>` prints JSON.
// Peers: uvio-native, uvio-pure, pg, postgres.js, floor-net; under bun: bun.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [, , peer, name, seconds, port] = process.argv;
const here = fileURLToPath(new URL('.', import.meta.url));
const cases = JSON.parse(readFileSync(join(here, 'cases.json'), 'utf8'));
const require = createRequire(join(here, '../../.peers/node_modules/x.js'));
const server = { host: '127.0.0.1', port: Number(port), user: 'postgres', database: 'postgres' };
const manySql = 'INSERT INTO bench_many VALUES ($1, $2)';
/** As many for COPY as asyncpg's own benchmark takes. */
const copied = Array.from({ length: 10_000 }, (_, i) => [i, `text ${i}`, i / 2, new Date(i * 1e6)]);
const copySql = `SELECT i, 'text ' || i, i * 1.5::float8, now() FROM generate_series(1, 10000) i`;
const rows = Array.from({ length: 1000 }, (_, i) => [i, `text ${i}`]);

/** Each gives functions of one connection. */
const openers = {
  async uvio() {
    const { connect } = await import('../../dist/postgres/index.js');
    return async () => {
      const connection = await connect({ ...server, tls: 'disable' });
      return {
        fetch: (sql, args) => connection.fetch(sql, ...args),
        execute: (sql) => connection.execute(sql),
        many: () => connection.executeMany(manySql, rows),
        copyOut: (sql) => connection.copyFromQuery(sql, [], { output: () => {} }),
        copyIn: () => connection.copyRecordsToTable('bench_copy', { records: copied }),
        end: () => connection.close(),
      };
    };
  },
  async pg() {
    const pg = require('pg');
    return async () => {
      const client = new pg.Client(server);
      await client.connect();
      return {
        // Named, hence prepared once.
        fetch: (text, values) => client.query({ name: text.slice(0, 60), text, values }),
        execute: (sql) => client.query(sql),
        async many() {
          await client.query('BEGIN');
          for (const values of rows) await client.query({ name: 'many', text: manySql, values });
          await client.query('COMMIT');
        },
        end: () => client.end(),
      };
    };
  },
  async 'postgres.js'() {
    const postgres = require('postgres');
    return async () => {
      const sql = postgres({ ...server, max: 1, onnotice: () => {} });
      return {
        fetch: (text, args) => sql.unsafe(text, args, { prepare: true }),
        execute: (text) => sql.unsafe(text),
        many: () =>
          sql.begin((tx) =>
            Promise.all(rows.map((values) => tx.unsafe(manySql, values, { prepare: true }))),
          ),
        end: () => sql.end(),
      };
    };
  },
  async 'floor-net'() {
    if (cases[name] === undefined) throw new Error(`The floor has no ${name}`);
    const { openFloor } = await import('./floor.mjs');
    return () => openFloor(server);
  },
  async bun() {
    return async () => {
      const { host, user, database } = server;
      const url = `postgres://${user}@${host}:${port}/${database}`;
      const sql = new globalThis.Bun.SQL({ url, max: 1 });
      await sql.connect();
      return {
        fetch: (text, args) => sql.unsafe(text, args),
        execute: (text) => sql.unsafe(text),
        many: () => sql.begin((tx) => Promise.all(rows.map((row) => tx.unsafe(manySql, row)))),
        end: () => sql.end(),
      };
    };
  },
};

/** Runs `step` on all connections until the time is over; CPU µs per operation. */
async function measure(clients, step, forMs) {
  let count = 0;
  const loop = async (client, endMs) => {
    while (performance.now() < endMs) {
      await step(client);
      count++;
    }
  };
  const all = (ms) => Promise.all(clients.map((client) => loop(client, performance.now() + ms)));
  // With 2,000 queries a second V8 still compiles after two seconds.
  await all(2500);
  count = 0;
  const before = process.cpuUsage();
  const beginMs = performance.now();
  await all(forMs);
  const { user, system } = process.cpuUsage(before);
  const perS = count / ((performance.now() - beginMs) / 1000);
  return { cpuMicros: (user + system) / count, perS };
}

async function main() {
  const open = await openers[peer.startsWith('uvio') ? 'uvio' : peer]();
  const single = cases[name] === undefined;
  const clients = await Promise.all(Array.from({ length: single ? 1 : 10 }, open));
  let step;
  if (name === 'executeMany') {
    await clients[0].execute('CREATE TEMP TABLE bench_many (a int, b text)');
    step = (client) => client.many();
  } else if (name === 'copyOut') {
    if (clients[0].copyOut === undefined) throw new Error(`${peer} has no COPY`);
    step = (client) => client.copyOut(copySql);
  } else if (name === 'copyIn') {
    if (clients[0].copyIn === undefined) throw new Error(`${peer} has no COPY`);
    const columns = '(a int, b text, c float8, d timestamptz)';
    await clients[0].execute(`CREATE TEMP TABLE bench_copy ${columns}`);
    // Emptied each time: a table that grows says nothing of the client.
    step = async (client) => {
      await client.copyIn();
      await client.execute('TRUNCATE bench_copy');
    };
  } else if (name === 'pipelined') {
    const { sql } = cases.one;
    step = (client) =>
      Promise.all(Array.from({ length: 100 }, (_, i) => client.fetch(sql, [i, 'hello'])));
  } else {
    const { sql, args } = cases[name];
    step = (client) => client.fetch(sql, args);
  }
  const result = await measure(clients, step, Number(seconds) * 1000);
  console.log(JSON.stringify(result));
  await Promise.all(clients.map((client) => client.end()));
}

if (peer.startsWith('uvio')) {
  const { native, pure, run, setLoopPolicy } = await import('../../dist/index.js');
  setLoopPolicy(peer === 'uvio-native' ? native({ required: true }) : pure());
  await run(main);
} else {
  await main();
  process.exit(0);
}
