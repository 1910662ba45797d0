/** Settings as libpq reads them, passwords as the server prepares them, couriers, direct TLS. */
import { existsSync, readFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { connect } from '../../lib/postgres/connection.ts';
import { makePlan } from '../../lib/postgres/options.ts';
import { saslPrep } from '../../lib/postgres/sasl-prep.ts';
import { pem, pemPath } from '../io/tls-support.ts';
import { sharedPostgres } from '../support/postgres.ts';
import { failure, inRun } from '../task/support.ts';
import { evilTest, options } from './evil.ts';
import { started } from './fake.ts';
import { open, serverTest, where, withServer } from './support.ts';

const kept = { ...process.env };

afterEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith('PG')) delete process.env[name];
  for (const [name, value] of Object.entries(kept)) {
    if (name.startsWith('PG')) process.env[name] = value;
  }
});

describe('hostaddr', () => {
  test('is where a host is, whose name remains', () => {
    const plan = makePlan('postgres://a.test:1,b.test:2,/d?hostaddr=10.0.0.1,,::1&user=me');
    expect(plan.addresses).toEqual([
      { host: 'a.test', port: 1, ip: '10.0.0.1' },
      { host: 'b.test', port: 2 },
      { host: '::1', port: 5432 },
    ]);
  });

  test('is a host if there is no other', () => {
    const plan = makePlan('postgres:///d?hostaddr=10.0.0.1,10.0.0.2');
    expect(plan.addresses).toEqual([
      { host: '10.0.0.1', port: 5432 },
      { host: '10.0.0.2', port: 5432 },
    ]);
    expect(plan.serverSettings).toEqual({});
  });

  test('comes from the environment, and not for hosts of the options', () => {
    process.env['PGHOSTADDR'] = '10.0.0.1';
    expect(makePlan('postgres://h').addresses).toEqual([{ host: 'h', port: 5432, ip: '10.0.0.1' }]);
    expect(makePlan({ host: 'h' }).addresses).toEqual([{ host: 'h', port: 5432 }]);
  });

  test('is refused if it is none, or not of all hosts', () => {
    expect(() => makePlan('postgres://h?hostaddr=name')).toThrow(/'name' is no IP address/);
    expect(() => makePlan('postgres://a,b?hostaddr=::1')).toThrow(/1 addresses .* for 2 hosts/);
  });
});

describe('settings of libpq', () => {
  test('keepalives and their idle time, in seconds', () => {
    const idleOf = (query: string): number | null => makePlan(`postgres://h?${query}`).keepAliveMs;
    expect(idleOf('')).toBe(0);
    expect(idleOf('keepalives=1&keepalives_idle=30')).toBe(30_000);
    expect(idleOf('keepalives=0&keepalives_idle=30')).toBe(null);
    expect(() => idleOf('keepalives_idle=soon')).toThrow(/keepalives_idle: 'soon'/);
  });

  test("sslrootcert=system means 'verify-full', and nothing less", () => {
    expect(makePlan('postgres://h?sslrootcert=system').tls).toBe('verify-full');
    expect(makePlan('postgres://h?sslrootcert=system&sslnegotiation=direct').tls).toBe(
      'verify-full',
    );
    expect(makePlan('postgres://h?sslrootcert=system&sslmode=disable').tls).toBe('disable');
    for (const mode of ['allow', 'prefer', 'require', 'verify-ca']) {
      const dsn = `postgres://h?sslrootcert=system&sslmode=${mode}`;
      expect(() => makePlan(dsn), mode).toThrow(/'verify-full'/);
    }
    const files = `postgres://h?sslrootcert=${encodeURIComponent(pemPath('ca.pem'))}`;
    expect(makePlan(files).tls).toBe('prefer');
  });

  test('connect_timeout is a number of seconds, or none', () => {
    const limit = (text: string): number =>
      makePlan(`postgres://h?connect_timeout=${text}`).timeoutMs;
    expect(['3', '0', '-1'].map(limit)).toEqual([3_000, Infinity, Infinity]);
    for (const text of ['abc', '1.5', '']) expect(() => limit(text), text).toThrow(/whole number/);
  });
});

describe('a password', () => {
  // RFC 4013, 3; the last ones are forbidden, and taken as they are.
  test.each([
    ['I\u00adX', 'IX'],
    ['user', 'user'],
    ['\u00aa', 'a'],
    ['\u2168', 'IX'],
    ['a\u1680b\u3000', 'a b '],
    ['\u2764\ufe0f', '\u2764'],
    ['\u05d0\ufb21', '\u05d0\u05d0'],
    ['\u00ad', '\u00ad'],
    ['\u2168\x07', '\u2168\x07'],
    ['\u{1f600}\u2168', '\u{1f600}\u2168'],
    ['\ufb21a', '\ufb21a'],
    ['\u0627\ufe0f1', '\u0627\ufe0f1'],
  ])('%j is prepared as %j', (given, prepared) => {
    expect(saslPrep(given)).toBe(prepared);
  });

  withServer('of a server', () => {
    serverTest('may have what SASLprep maps, or forbids', async () => {
      const { port } = await sharedPostgres();
      const admin = await open();
      const user = `scram_${process.pid}`;
      await admin.execute(`CREATE ROLE ${user} LOGIN IN ROLE scram_users`);
      for (const password of ['\u2764\ufe0f', 'a\u00adb', '\u{1f600}\u2168', '\u2168', 'e\u0301']) {
        await admin.execute("SET password_encryption = 'scram-sha-256'");
        await admin.execute(`ALTER ROLE ${user} PASSWORD '${password}'`);
        const by = { host: '127.0.0.1', port, user, database: 'postgres', password };
        await (await connect(by)).close();
      }
      await admin.execute(`DROP ROLE ${user}`);
      await admin.close();
    });
  });
});

describe('a cancellation that the server does not take', () => {
  evilTest(
    'leaves no socket behind when the connection is given up',
    async (client) => {
      const { code } = await client.startup();
      if (code !== 80_877_102) {
        await client.send(started);
        await client.until('H');
      }
      // The courier's connection is never closed by this side.
      await client.ended();
      ends.push(code);
    },
    async (port) => {
      ends.length = 0;
      const connection = await connect({ ...options, port });
      // biome-ignore lint/suspicious/noExplicitAny: a limit that users cannot set.
      const { wire, couriers } = (connection as any).session;
      wire.graceMs = 50;
      const late = connection.with({ timeoutMs: 30 }).fetch('SELECT x');
      expect(await failure(late)).toMatchObject({ name: 'TimeoutError' });
      expect(await failure(connection.fetch('SELECT x'))).toMatchObject({
        name: 'PostgresConnectionError',
      });
      await expect.poll(() => ends.length).toBe(2);
      expect(couriers.size).toBe(0);
      expect(ends.sort()).toEqual([3 << 16, 80_877_102]);
    },
  );
  const ends: number[] = [];
});

withServer('directTls', () => {
  /** A server of TLS, which speaks PostgreSQL inside. */
  async function behindTls(
    protocols: string[],
    use: (port: number) => Promise<void>,
  ): Promise<void> {
    const server = createTlsServer(
      { key: pem('server-key.pem'), cert: pem('server.pem'), ALPNProtocols: protocols },
      (socket) => {
        socket.on('error', () => {});
        socket.once('data', () => socket.write(started));
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      await use((server.address() as { port: number }).port);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  }

  test('goes on with a server that says it speaks PostgreSQL', () =>
    inRun(() =>
      behindTls(['postgresql'], async (port) => {
        const connection = await connect({ ...options, port, tls: 'require', directTls: true });
        connection.terminate();
      }),
    ));

  test('is refused with a server of anything else', () =>
    inRun(() =>
      behindTls([], async (port) => {
        const error = await failure(connect({ ...options, port, tls: 'require', directTls: true }));
        expect(error).toMatchObject({ name: 'PostgresConnectionError' });
        expect(error.message).toMatch(/does not speak PostgreSQL/);
      }),
    ));

  serverTest('saves a question from PostgreSQL 17 on', async () => {
    const at = await where();
    const first = await open();
    const { major } = first.serverVersion;
    await first.close();
    if (major < 17) return;
    const connection = await connect({ ...at, directTls: true });
    const late = connection.with({ timeoutMs: 30 }).fetch('SELECT pg_sleep(5)');
    expect(await failure(late)).toMatchObject({ name: 'TimeoutError' });
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
    await connection.close();
  });
});

withServer('TCP asks whether the server is there', () => {
  /** The kernel's timer of the connection: 02 is that of keep-alive. */
  const timerOf = (port: number): string | undefined => {
    const lines = readFileSync('/proc/net/tcp', 'utf8').split('\n');
    const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    const fields = lines.map((line) => line.trim().split(/\s+/));
    return fields.find(([, from]) => from?.endsWith(local))?.[5]?.split(':')[0];
  };

  test.skipIf(!existsSync('/proc/net/tcp'))('unless it is told not to', async () => {
    await sharedPostgres();
    await inRun(async () => {
      for (const [query, timer] of [
        ['', '02'],
        ['?keepalives=0', '00'],
      ]) {
        const { user, database, host, port } = await where();
        const dsn = `postgres://${user}@${host}:${port}/${database}${query}`;
        await using connection = await connect({ dsn, tls: 'disable' });
        const own = await connection.fetchVal('SELECT inet_client_port()');
        // What was sent last may not be acknowledged yet.
        await expect.poll(() => timerOf(own as number)).toBe(timer);
      }
    });
  });
});
