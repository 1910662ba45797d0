/** Options, the DSN, files of libpq, authentication, several hosts. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { connect } from '../../lib/postgres/connection.ts';
import { conditionOf } from '../../lib/postgres/errors.ts';
import { replaceParameters } from '../../lib/postgres/inline.ts';
import { makePlan } from '../../lib/postgres/options.ts';
import { makeShape } from '../../lib/postgres/rows.ts';
import { Scram } from '../../lib/postgres/scram.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { passwordUsers, sharedPostgres } from '../support/postgres.ts';
import { failure } from '../task/support.ts';
import { withFake } from './fake.ts';
import { open, serverTest, where, withServer } from './support.ts';

const kept = { ...process.env };

afterEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith('PG')) delete process.env[name];
  for (const [name, value] of Object.entries(kept)) {
    if (name.startsWith('PG')) process.env[name] = value;
  }
});

function withFile<T>(text: string, mode: number, use: (path: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'uvio-pg-files-'));
  const path = join(folder, 'file');
  writeFileSync(path, text);
  chmodSync(path, mode);
  try {
    return use(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// covers: asyncpg/connect
describe('the options of connect', () => {
  test('come from a DSN', () => {
    const dsn = 'postgres://us%40er:pa%3Ass@h1:1,[::1]:2,h3/my%20db?sslmode=require&work_mem=4MB';
    const plan = makePlan(`${dsn}&application_name=a+b`);
    expect(plan).toMatchObject({
      user: 'us@er',
      database: 'my db',
      tls: 'require',
      serverSettings: { work_mem: '4MB', application_name: 'a b' },
    });
    expect(plan.addresses).toEqual([
      { host: 'h1', port: 1 },
      { host: '::1', port: 2 },
      { host: 'h3', port: 5432 },
    ]);
    expect(plan.password({ host: 'h1', port: 1 })).toBe('pa:ss');
  });

  test('of a DSN may name a socket by an option', () => {
    const plan = makePlan('postgresql:///db?host=/run/pg&port=7&user=me');
    expect(plan.addresses).toEqual([{ host: '/run/pg', port: 7 }]);
    expect([plan.user, plan.database]).toEqual(['me', 'db']);
  });

  test('of a DSN that are libpq’s alone do not go to the server', () => {
    const dsn =
      'postgres://h/db?keepalives=1&keepalives_idle=30&sslsni=1&fallback_application_name=f';
    expect(makePlan(dsn).serverSettings).toEqual({ application_name: 'f' });
    expect(makePlan(`${dsn}&application_name=a`).serverSettings).toEqual({ application_name: 'a' });
    const modes = ['true', '1', 'false', 'verify-ca'].map(
      (ssl) => makePlan(`${dsn}&ssl=${ssl}`).tls,
    );
    expect(modes).toEqual(['require', 'require', 'disable', 'verify-ca']);
  });

  test('know one encoding, and passwords that are strings', async () => {
    for (const serverSettings of [
      { client_encoding: 'LATIN1' },
      { Client_Encoding: 'SQL_ASCII' },
    ]) {
      expect(() => makePlan({ serverSettings })).toThrow(/UTF8/);
    }
    expect(() => makePlan('postgres:///?client_encoding=latin1')).toThrow(/UTF8/);
    expect(makePlan('postgres:///?client_encoding=auto').serverSettings).toEqual({});
    expect(makePlan('postgres:///?client_encoding=utf-8').serverSettings).toBeDefined();
    expect(() => makePlan({ password: 5 as never })).toThrow(TypeError);
    const { password } = makePlan({ password: () => 5 as never });
    const asked = (async () => await password({ host: 'h', port: 1 }))();
    expect(await failure(asked)).toBeInstanceOf(TypeError);
  });

  test('win over the DSN, which wins over the environment', () => {
    process.env['PGHOST'] = 'env';
    process.env['PGUSER'] = 'env';
    process.env['PGDATABASE'] = 'env';
    process.env['PGPORT'] = '7';
    const plan = makePlan({ dsn: 'postgres://dsn@dsn', host: 'option' });
    expect([plan.addresses, plan.user, plan.database]).toEqual([
      [{ host: 'option', port: 7 }],
      'dsn',
      'env',
    ]);
    expect(makePlan({ host: ['a', 'b'], port: [1, 2] }).addresses).toEqual([
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ]);
  });

  test('come from a service', () => {
    withFile('[a]\nhost=wrong\n[b]\n# comment\nhost = right\nport=9\nuser=me\n', 0o600, (path) => {
      process.env['PGSERVICEFILE'] = path;
      const plan = makePlan({ service: 'b' });
      expect([plan.addresses[0], plan.user]).toEqual([{ host: 'right', port: 9 }, 'me']);
      expect(() => makePlan({ service: 'c' })).toThrow(/No service 'c'/);
    });
  });

  const passwords =
    '# c\n*:1:*:me:one\nh\\:x:*:db:me:t\\\\w:o\n/own:*:*:*:own\nlocalhost:*:*:*:socket\n';

  test('take the password of the first line that fits', () => {
    withFile(passwords, 0o600, (passfile) => {
      const plan = makePlan({ passfile, user: 'me', database: 'db', host: 'h' });
      expect(plan.password({ host: 'any', port: 1 })).toBe('one');
      expect(plan.password({ host: 'h:x', port: 2 })).toBe('t\\w:o');
      expect(plan.password({ host: '/run', port: 2 })).toBe('socket');
      expect(plan.password({ host: '/own', port: 2 })).toBe('own');
      expect(plan.password({ host: 'other', port: 2 })).toBe(undefined);
    });
  });

  test('take none from a file that others may read', () => {
    withFile(passwords, 0o644, (passfile) => {
      const plan = makePlan({ passfile, user: 'me', host: 'h' });
      expect(plan.password({ host: 'any', port: 1 })).toBe(undefined);
    });
  });

  test('take a function for the password', async () => {
    const plan = makePlan({ password: async () => 'fresh' });
    expect(await plan.password({ host: 'h', port: 1 })).toBe('fresh');
  });

  const wrong: readonly (readonly [string, never, RegExp])[] = [
    ['a DSN of another kind', 'mysql://x' as never, /begins with/],
    ['a DSN with a bad escape', 'postgres://%zz@h' as never, /malformed/],
    ['a DSN with a bad host', 'postgres://h:x:y' as never, /bad host/],
    ['a number', 5 as never, /a DSN or an object/],
    ['a port out of range', { port: 70_000 } as never, /port/],
    ['ports for other hosts', { host: ['a', 'b', 'c'], port: [1, 2] } as never, /2 ports for 3/],
    ['no host', { host: [] } as never, /list of hosts is empty/],
    ['an unknown tls mode', { tls: 'maybe' } as never, /tls mode/],
    ['an unknown target', { targetSession: 'x' } as never, /targetSession/],
    ['an unknown int8', { int8: 'float' } as never, /int8/],
    ['an unknown kind of dates', { dates: 'x' } as never, /dates/],
    ['a time limit that is none', { timeoutMs: Number.NaN } as never, /timeoutMs/],
    ['a cache of no size', { statementCacheSize: -1 } as never, /statementCacheSize/],
    ['a NUL in the user', { user: 'a\0b' } as never, /NUL/],
    ['a NUL in a setting', { serverSettings: { a: '\0' } } as never, /NUL/],
  ];
  test.each([...wrong])('%s is refused', async (_, options, message) => {
    expect((await failure(connect(options))).message).toMatch(message);
  });
});

describe('parts', () => {
  test('SCRAM computes the example of RFC 7677', async () => {
    const scram = new Scram('pencil', undefined, 'rOprNGfwEbeRWgbNEkqO');
    const salt = 'W22ZaJ0SNY7soEsUEjb6gQ==';
    const first = `r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=${salt},i=4096`;
    const answer = await new Promise<string>((resolve) => {
      scram.final(first, (_, text) => resolve(text));
    });
    // The RFC has a user name in its messages, PostgreSQL has none: only the form is the same.
    expect(answer).toMatch(/^c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj\)hNlF\$k0,p=/);
  });

  // covers: asyncpg/263-error-classes
  test('conditions have names, unknown ones that of their class', () => {
    expect(conditionOf('23505')).toBe('unique_violation');
    expect(conditionOf('40P01')).toBe('deadlock_detected');
    expect(conditionOf('57014')).toBe('query_canceled');
    expect(conditionOf('23999')).toBe('integrity_constraint_violation');
    expect(conditionOf('99999')).toBe('unknown');
  });

  test('parameters of COPY are found outside of strings, names and comments only', () => {
    const sql = `$1 '$1' "$1" -- $1
      /* $1 */ a$1 $q$ $1 $q$ $2`;
    expect(replaceParameters(sql, ['X', 'Y'])).toBe(`X '$1' "$1" -- $1
      /* $1 */ a$1 $q$ $1 $q$ Y`);
    const nested = '/* /* $1 */ $1 */ é$1 $é$ $1 $é$ -- $1\r$1';
    expect(replaceParameters(nested, ['X'])).toBe(`${nested.slice(0, -2)}X`);
    expect(() => replaceParameters('$3', ['X'])).toThrow(/for \$3/);
    expect(() => replaceParameters("E'\\'' $1", ['X'])).toThrow(/E'/);
    expect(() => replaceParameters('$a$ x', [])).toThrow(/without end/);
  });

  test('rows that are made without generated code are the same', () => {
    const { make } = makeShape(['a', '__proto__', 'a'], []);
    const row = make([1, 2, 3]);
    expect([...row]).toEqual([1, 2, 3]);
    expect([row['a'], row[0], row[1]]).toEqual([3, 1, 2]);
    expect(Object.keys(row)).toEqual(['a', '__proto__']);
  });
});

withServer('a server', () => {
  // covers: asyncpg/authentication
  test.each([...passwordUsers])('lets %s in with the right password only', async (user) => {
    const { port } = await sharedPostgres();
    const options = { host: '127.0.0.1', port, user, database: 'postgres' };
    const connection = await connect({ ...options, password: `secret of ${user}` });
    expect(await connection.fetchVal('SELECT current_user::text')).toBe(user);
    await connection.close();
    const error = await failure(connect({ ...options, password: 'wrong' }));
    expect(error).toMatchObject({ name: 'PostgresError', code: '28P01' });
    const none = await failure(connect({ ...options, passfile: '/no/such/file' }));
    expect(none.message).toMatch(/there is none/);
  });

  serverTest('that refuses says why', async () => {
    expect(await failure(open({ user: 'by_reject' }))).toMatchObject({ code: '28000' });
    expect(await failure(open({ database: 'none' }))).toMatchObject({
      code: '3D000',
      condition: 'invalid_catalog_name',
    });
    const settings = failure(open({ serverSettings: { work_mem: 'x' } }));
    expect(await settings).toMatchObject({ code: '22023' });
  });

  serverTest('that is told to speak another encoding than UTF-8 is left', async () => {
    const connection = await open();
    await connection.execute("SET client_encoding = 'UTF8'");
    const told = await failure(connection.execute("SET client_encoding = 'LATIN1'"));
    expect(told).toMatchObject({ name: 'PostgresConnectionError' });
    expect(told.message).toMatch(/client_encoding .* UTF8/);
    expect(connection.closed).toBe(true);
  });

  serverTest('is reached by a UNIX socket, too', async () => {
    const { socketDir } = await sharedPostgres();
    const connection = await open({ host: socketDir, serverSettings: { application_name: 'x' } });
    expect(await connection.fetchVal('SHOW application_name')).toBe('x');
    const task = connection.with({ timeoutMs: 20 }).fetch('SELECT pg_sleep(5)');
    expect(await failure(task)).toMatchObject({ name: 'TimeoutError' });
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
    await connection.close();
  });

  serverTest('that is not there is skipped for the next one', async () => {
    const { host, port } = await where();
    const connection = await open({
      host: ['127.0.0.1', '/no/such/folder', host],
      port: [1, 2, port],
    });
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
    await connection.close();
    const none = await failure(open({ host: '127.0.0.1', port: 1 }));
    expect(none).toMatchObject({ name: 'PostgresConnectionError', code: 'ECONNREFUSED' });
    const all = await failure(open({ host: ['127.0.0.1', '127.0.0.1'], port: [1, 2] }));
    expect(all.message).toMatch(/No host could be used/);
  });

  serverTest('that does not answer leaves time for the next one', async () => {
    const { host, port } = await where();
    await withFake(
      (client) => client.ended(),
      async (silent) => {
        for (const targetSession of ['any', 'prefer-standby'] as const) {
          const options = { host: ['127.0.0.1', host], port: [silent, port], timeoutMs: 1_000 };
          const connection = await open({ ...options, targetSession });
          expect(await connection.fetchVal('SELECT 1')).toBe(1);
          await connection.close();
        }
      },
    );
  });

  serverTest('of another kind is skipped', async () => {
    for (const targetSession of ['any', 'primary', 'read-write', 'prefer-standby'] as const) {
      await (await open({ targetSession })).close();
    }
    for (const targetSession of ['standby', 'read-only'] as const) {
      expect((await failure(open({ targetSession }))).message).toMatch(/no .* server/);
    }
    const settings = { default_transaction_read_only: 'on' };
    await (await open({ targetSession: 'read-only', serverSettings: settings })).close();
  });

  serverTest('is left alone when connecting is cancelled', async () => {
    for (let turns = 0; turns < 6; turns++) {
      const scope = new CancelScope({ timeoutMs: turns });
      const connection = await scope.run(() => open());
      await connection?.close();
    }
    const signal = AbortSignal.abort(new Error('early'));
    expect((await failure(open({ signal }))).message).toBe('early');
  });
});
