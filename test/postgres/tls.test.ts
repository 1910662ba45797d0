/** TLS with a real server: every mode, certificates of both sides, channel binding. */
import { describe, expect, test } from 'vitest';
import { connect } from '../../lib/postgres/connection.ts';
import { Scram } from '../../lib/postgres/scram.ts';
import type { ConnectOptions } from '../../lib/postgres/types.ts';
import { pem, pemPath } from '../io/tls-support.ts';
import { sharedPostgres } from '../support/postgres.ts';
import { failure } from '../task/support.ts';
import { serverTest, withServer } from './support.ts';

const encrypted = 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()';

async function open(
  options: ConnectOptions & { params?: string } = {},
): ReturnType<typeof connect> {
  const { host, port } = await sharedPostgres();
  const { params = '', ...more } = options;
  const dsn = `postgres://postgres@${host}:${port}/postgres?${params}`;
  return connect({ dsn, ...more });
}

const params = (settings: Record<string, string>): string =>
  new URLSearchParams(settings).toString();

withServer('TLS', () => {
  test.each([
    ['nothing', {}, true],
    ["'disable'", { tls: 'disable' }, false],
    ["'prefer'", { tls: 'prefer' }, true],
    ["'require'", { tls: 'require' }, true],
    ['sslmode=require', { params: 'sslmode=require' }, true],
    [
      'its authority and verify-ca',
      { params: params({ sslmode: 'verify-ca', sslrootcert: pemPath('ca.pem') }) },
      true,
    ],
    [
      'its authority and verify-full',
      { params: params({ sslmode: 'verify-full', sslrootcert: pemPath('ca.pem') }) },
      true,
    ],
    ['options of node:tls', { tls: { ca: pem('ca.pem') } }, true],
  ] as [string, ConnectOptions & { params?: string }, boolean][])(
    'is used or not as %s says',
    async (_, options, expected) => {
      const connection = await open(options);
      expect(await connection.fetchVal(encrypted)).toBe(expected);
      const rows = await connection.fetch(
        'SELECT repeat($1, 300) AS x FROM generate_series(1, 2000)',
        'y',
      );
      expect(rows.length).toBe(2000);
      await connection.close();
    },
  );

  test.each([
    ['verify-full without its authority', { tls: 'verify-full' }, /certificate/],
    ['verify-ca without its authority', { tls: 'verify-ca' }, /certificate/],
    [
      'another authority',
      { params: params({ sslmode: 'verify-ca', sslrootcert: pemPath('other-ca.pem') }) },
      /certificate/,
    ],
    [
      "'require' with another authority",
      { params: params({ sslmode: 'require', sslrootcert: pemPath('other-ca.pem') }) },
      /certificate/,
    ],
    ['another name', { tls: { ca: pem('ca.pem'), servername: 'other.test' } }, /other\.test/],
    [
      'a file that is not there',
      { params: params({ sslmode: 'require', sslrootcert: '/no/such' }) },
      /sslrootcert/,
    ],
    [
      'a certificate without a key',
      { params: params({ sslcert: pemPath('client.pem') }) },
      /sslkey/,
    ],
    ['directTls in the clear', { tls: 'prefer', directTls: true }, /directTls/],
    ['no such mode', { params: 'sslmode=maybe' }, /maybe/],
  ] as [string, ConnectOptions & { params?: string }, RegExp][])(
    'is refused with %s',
    async (_, options, message) => {
      expect((await failure(open(options))).message).toMatch(message);
    },
  );

  serverTest("shows the client's certificate to a server that wants one", async () => {
    const refused = await failure(open({ user: 'by_cert' }));
    expect(refused).toMatchObject({ code: '28000' });
    const files = { sslcert: pemPath('client.pem'), sslkey: pemPath('client-key.pem') };
    const connection = await open({ user: 'by_cert', params: params(files) });
    expect(await connection.fetchVal('SELECT current_user::text')).toBe('by_cert');
    await connection.close();
  });

  serverTest('binds the proof of the password to the certificate', async () => {
    const by = { user: 'by_tls', password: 'secret of by_tls' };
    for (const binding of ['require', 'prefer', 'disable']) {
      const connection = await open({ ...by, params: `channel_binding=${binding}` });
      expect(await connection.fetchVal(encrypted)).toBe(true);
      await connection.close();
    }
    const { port } = await sharedPostgres();
    const plain = {
      user: 'by_scram',
      password: 'secret of by_scram',
      port,
      tls: 'disable',
    } as const;
    const unbound = failure(open({ ...plain, params: 'channel_binding=require' }));
    expect((await unbound).message).toMatch(/channel binding/);
    const unasked = failure(open({ params: 'channel_binding=require' }));
    expect((await unasked).message).toMatch(/no proof/);
  });

  serverTest('carries cancellations, too', async () => {
    const connection = await open({ tls: 'require' });
    const late = connection.with({ timeoutMs: 30 }).fetch('SELECT pg_sleep(5)');
    expect(await failure(late)).toMatchObject({ name: 'TimeoutError' });
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
    await connection.close();
  });
});

describe('channel binding', () => {
  // RFC 5802: the flag comes first, and again with the data in `c=`.
  test('is in both messages of the client', async () => {
    const binding = { flag: 'p=tls-server-end-point', data: Uint8Array.of(1, 2, 3) };
    const scram = new Scram('pencil', binding, 'abc');
    expect(scram.first).toBe('p=tls-server-end-point,,n=,r=abc');
    const answer = await new Promise<string>((resolve) => {
      scram.final('r=abcdef,s=QSXCR+Q6sek8bf92,i=1', (_, text) => resolve(text));
    });
    const [, bound = ''] = /^c=([^,]*),r=abcdef,p=/.exec(answer) ?? [];
    expect(Buffer.from(bound, 'base64').toString('latin1')).toBe(
      'p=tls-server-end-point,,\x01\x02\x03',
    );
  });
});
