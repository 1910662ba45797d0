import { Buffer } from 'node:buffer';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createSecureContext, type PeerCertificate } from 'node:tls';
import { describe, expect } from 'vitest';
import { openConnection } from '../../lib/io/connect.ts';
import type { TlsClientOptions, TlsServerOptions } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { checkLeaks } from '../support/leaks.ts';
import { runTest } from '../task/support.ts';
import { catchExceptions, errorOf, localhost, turn, until } from './support.ts';
import { ca, clientTls, identity, pem, serverTls, tlsPair } from './tls-support.ts';

checkLeaks();

const never = (): void => {
  throw new Error('the handler must not run');
};

/** The handshake of a client fails; what both sides say. */
async function handshakeErrors(
  server: TlsServerOptions,
  client: TlsClientOptions,
): Promise<{ client: Error & { code?: string }; server: (Error & { code?: string }) | undefined }> {
  let told: Error | undefined;
  const listen = (message: unknown): void => {
    told = (message as { error: Error }).error;
  };
  subscribe('uvio:tls.failed', listen);
  try {
    await using listening = await startServer(never, {
      host: localhost,
      tls: { ...serverTls, ...server },
    });
    const tls = { ...clientTls, ...client };
    const error = await errorOf(openConnection({ host: localhost, port: listening.port, tls }));
    await until(() => listening.connections === 0);
    return { client: error, server: told };
  } finally {
    unsubscribe('uvio:tls.failed', listen);
  }
}

interface Refusal {
  readonly why: string;
  readonly server?: TlsServerOptions;
  readonly client?: TlsClientOptions;
  readonly code: RegExp;
  /** What the channel of the server says; left out: the server has noticed nothing yet. */
  readonly serverCode?: RegExp;
}

const rsa128 = 'ECDHE-RSA-AES128-GCM-SHA256';
const rsa256 = 'ECDHE-RSA-AES256-GCM-SHA384';

const atServer: readonly Refusal[] = [
  {
    why: 'the versions have nothing in common',
    server: { maxVersion: 'TLSv1.2' },
    client: { minVersion: 'TLSv1.3' },
    code: /^ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION$/,
    serverCode: /^ERR_SSL_UNSUPPORTED_PROTOCOL$/,
  },
  {
    why: 'the ciphers have nothing in common',
    server: { maxVersion: 'TLSv1.2', ciphers: rsa128 },
    client: { ciphers: rsa256 },
    code: /^ERR_SSL_.*ALERT_HANDSHAKE_FAILURE$/,
    serverCode: /^ERR_SSL_NO_SHARED_CIPHER$/,
  },
  {
    why: 'the ALPN names have nothing in common',
    server: { ALPNProtocols: ['h2'] },
    client: { ALPNProtocols: ['http/1.1', 'dot'] },
    code: /^ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL$/,
    serverCode: /^ERR_SSL_NO_APPLICATION_PROTOCOL$/,
  },
  {
    why: 'the ALPNCallback chooses nothing',
    server: { ALPNCallback: () => undefined },
    client: { ALPNProtocols: ['h2'] },
    code: /^ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL$/,
    serverCode: /^ERR_SSL_NO_APPLICATION_PROTOCOL$/,
  },
  {
    why: 'a certificate is asked for in TLS 1.2, and there is none',
    server: { requestCert: true, ca, maxVersion: 'TLSv1.2' },
    code: /^ERR_SSL_.*ALERT_HANDSHAKE_FAILURE$/,
    serverCode: /^ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE$/,
  },
  {
    why: 'the SNICallback gives an error',
    server: { SNICallback: (_name, done) => done(Object.assign(new Error('no'), { code: 'NO' })) },
    code: /^ECONNRESET$/,
    serverCode: /^NO$/,
  },
];

const atClient: readonly Refusal[] = [
  { why: 'the certificate has expired', server: identity('expired'), code: /^CERT_HAS_EXPIRED$/ },
  {
    why: 'the certificate was signed by itself',
    server: identity('self-signed'),
    code: /^DEPTH_ZERO_SELF_SIGNED_CERT$/,
  },
  {
    why: 'the certificate is for other names',
    server: identity('other'),
    code: /^ERR_TLS_CERT_ALTNAME_INVALID$/,
  },
  {
    why: 'the servername is another',
    client: { servername: 'wrong.test' },
    code: /^ERR_TLS_CERT_ALTNAME_INVALID$/,
  },
  {
    why: 'another authority has signed it',
    client: { ca: pem('other-ca.pem') },
    code: /^UNABLE_TO_VERIFY_LEAF_SIGNATURE$/,
  },
  {
    why: 'none of the authorities of the system has signed it',
    client: { ca: undefined },
    code: /^UNABLE_TO_VERIFY_LEAF_SIGNATURE$/,
  },
  {
    why: 'undefined is given in place of the checks',
    server: identity('self-signed'),
    client: { rejectUnauthorized: undefined, checkServerIdentity: undefined },
    code: /^DEPTH_ZERO_SELF_SIGNED_CERT$/,
  },
  {
    why: 'the own check says no',
    client: { checkServerIdentity: () => Object.assign(new Error('pin'), { code: 'PIN' }) },
    code: /^PIN$/,
  },
  {
    why: 'the own check throws',
    client: {
      checkServerIdentity: () => {
        throw Object.assign(new Error('pin'), { code: 'THROWN' });
      },
    },
    code: /^THROWN$/,
  },
  {
    why: 'the own check is an async function, whatever it says',
    client: { checkServerIdentity: (async () => Promise.reject(new Error('pin'))) as never },
    code: /^ERR_INVALID_ARG_TYPE$/,
  },
];

// covers: asyncio/tls, trio/streams
describe('a handshake fails, with the code that Node gives, when', () => {
  for (const { why, server, client, code, serverCode } of [...atServer]) {
    runTest(why, async () => {
      const errors = await handshakeErrors(server ?? {}, client ?? {});
      expect(errors.client.code).toMatch(code);
      expect(errors.server?.code).toMatch(serverCode as RegExp);
    });
  }
  for (const { why, server, client, code } of atClient) {
    runTest(why, async () => {
      await using listening = await startServer(() => {}, {
        host: localhost,
        tls: { ...serverTls, ...server },
      });
      const tls = { ...clientTls, ...client };
      const error = await errorOf(openConnection({ host: localhost, port: listening.port, tls }));
      expect(error).toBeInstanceOf(Error);
      expect(error.code).toMatch(code);
    });
  }
});

// covers: asyncio/tls
describe('whom a client trusts', () => {
  runTest('the name of the host is checked when no servername is given', async () => {
    await using pair = await tlsPair({
      connect: { host: 'localhost' },
      listen: { host: 'localhost' },
      client: { servername: undefined },
    });
    expect(pair.client.tls).toMatchObject({ servername: 'localhost', authorized: true });
    expect(pair.served.tls?.servername).toBe('localhost');
  });

  runTest('an address is checked, and is not sent as a name', async () => {
    await using pair = await tlsPair({ client: { servername: undefined } });
    expect(pair.client.tls).toMatchObject({ servername: null, authorized: true });
    expect(pair.served.tls?.servername).toBe(null);
  });

  runTest('an empty servername is not sent, and the host is checked', async () => {
    await using pair = await tlsPair({ client: { servername: '' } });
    expect(pair.client.tls).toMatchObject({ servername: null, authorized: true });
  });

  runTest('rejectUnauthorized: false goes on, and tells what is wrong', async () => {
    await using pair = await tlsPair({
      server: identity('self-signed'),
      client: { rejectUnauthorized: false },
    });
    expect(pair.client.tls).toMatchObject({
      authorized: false,
      authorizationError: 'DEPTH_ZERO_SELF_SIGNED_CERT',
    });
    await pair.client.write('x');
    expect(String(await pair.served.read())).toBe('x');
  });

  runTest('the environment cannot turn the checks off', async () => {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    try {
      const errors = await errorOf(tlsPair({ server: identity('self-signed') }));
      expect(errors.code).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    }
  });

  runTest('the own check gets the name and the certificate with its chain', async () => {
    const seen: [string, PeerCertificate][] = [];
    const checkServerIdentity = (host: string, certificate: PeerCertificate): undefined => {
      seen.push([host, certificate]);
      return undefined;
    };
    await using _pair = await tlsPair({ client: { checkServerIdentity, servername: 'any.test' } });
    expect(seen.length).toBe(1);
    expect(seen[0]?.[0]).toBe('any.test');
    expect(seen[0]?.[1]).toMatchObject({
      subject: { CN: 'server' },
      issuerCertificate: { subject: { CN: 'uvio test ca' } },
    });
  });
});

// covers: asyncio/tls
describe('client certificates', () => {
  const asking: TlsServerOptions = { requestCert: true, ca };

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    runTest(`one that is trusted lets the client in (${version})`, async () => {
      await using pair = await tlsPair({
        server: { ...asking, maxVersion: version },
        client: identity('client'),
      });
      expect(pair.served.tls).toMatchObject({
        protocol: version,
        authorized: true,
        authorizationError: null,
        peerCertificate: { subject: { CN: 'client' } },
      });
    });
  }

  runTest('without one a TLS 1.3 client learns it with its first read', async () => {
    await using server = await startServer(never, {
      host: localhost,
      tls: { ...serverTls, ...asking },
    });
    await using client = await openConnection({
      host: localhost,
      port: server.port,
      tls: clientTls,
    });
    const error = await errorOf(client.read());
    expect((error.cause as { code: string }).code).toMatch(/ALERT_CERTIFICATE_REQUIRED$/);
  });

  runTest('a stranger is not let in', async () => {
    await using server = await startServer(never, {
      host: localhost,
      tls: { ...serverTls, ...asking },
    });
    const tls = { ...clientTls, ...identity('stranger') };
    await using client = await openConnection({ host: localhost, port: server.port, tls });
    expect((await errorOf(client.read())).cause).toMatchObject({ code: 'ERR_UVIO_TLS_TRUNCATED' });
  });

  runTest('with rejectUnauthorized: false the handler sees what is wrong', async () => {
    await using pair = await tlsPair({
      server: { ...asking, rejectUnauthorized: false },
      client: identity('stranger'),
    });
    expect(pair.served.tls).toMatchObject({
      authorized: false,
      authorizationError: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      peerCertificate: { subject: { CN: 'stranger' } },
    });
  });

  runTest('with rejectUnauthorized: false none is needed', async () => {
    await using pair = await tlsPair({ server: { ...asking, rejectUnauthorized: false } });
    expect(pair.served.tls).toMatchObject({ authorized: false, peerCertificate: null });
  });

  runTest('a server that does not ask for one knows nobody', async () => {
    await using pair = await tlsPair({ client: identity('client') });
    expect(pair.served.tls).toMatchObject({
      authorized: false,
      authorizationError: null,
      peerCertificate: null,
    });
  });
});

// covers: asyncio/tls
describe('ALPN and SNI', () => {
  runTest("the server's order decides among the client's names", async () => {
    await using pair = await tlsPair({
      server: { ALPNProtocols: ['h2', 'http/1.1'] },
      client: { ALPNProtocols: ['http/1.1', 'h2'] },
    });
    expect([pair.client.tls?.alpn, pair.served.tls?.alpn]).toEqual(['h2', 'h2']);
  });

  runTest('without ALPN on one side nothing is agreed on', async () => {
    await using pair = await tlsPair({ client: { ALPNProtocols: ['h2'] } });
    expect([pair.client.tls?.alpn, pair.served.tls?.alpn]).toEqual([false, false]);
  });

  runTest('names may be given as on the wire', async () => {
    const wire = Buffer.from('\x02h2');
    await using pair = await tlsPair({
      server: { ALPNProtocols: wire },
      client: { ALPNProtocols: wire },
    });
    expect(pair.client.tls?.alpn).toBe('h2');
  });

  runTest('ALPNCallback chooses by name and offer', async () => {
    const offers: unknown[] = [];
    await using pair = await tlsPair({
      server: {
        ALPNCallback: (offer) => {
          offers.push({ ...offer });
          return offer.protocols[1];
        },
      },
      client: { ALPNProtocols: ['a', 'b'] },
    });
    expect(pair.client.tls?.alpn).toBe('b');
    expect(offers).toEqual([{ servername: 'server.test', protocols: ['a', 'b'] }]);
  });

  for (const later of [false, true]) {
    runTest(
      `SNICallback gives the certificate of the name, ${later ? 'later' : 'at once'}`,
      async () => {
        const other = createSecureContext(identity('other'));
        const names: string[] = [];
        await using pair = await tlsPair({
          server: {
            SNICallback: (name, done) => {
              names.push(name);
              if (later) currentLoop().callSoon(() => done(null, other));
              else done(null, other);
            },
          },
          client: { servername: 'other.test' },
        });
        expect(names).toEqual(['other.test']);
        expect(pair.client.tls?.peerCertificate?.subject.CN).toBe('other');
        expect(pair.served.tls?.servername).toBe('other.test');
      },
    );
  }

  runTest('an SNICallback without an answer leaves the certificate of the server', async () => {
    await using pair = await tlsPair({ server: { SNICallback: (_name, done) => done(null) } });
    expect(pair.client.tls?.peerCertificate?.subject.CN).toBe('server');
  });

  const throwing: readonly [string, TlsServerOptions][] = [
    [
      'SNICallback',
      {
        SNICallback: () => {
          throw new Error('mine');
        },
      },
    ],
    [
      'ALPNCallback',
      {
        ALPNCallback: () => {
          throw new Error('mine');
        },
      },
    ],
    ['ALPNCallback', { ALPNCallback: () => 'not offered' }],
    [
      'SNICallback',
      {
        SNICallback: async () => {
          await turn();
          throw new Error('mine');
        },
      },
    ],
    ['ALPNCallback', { ALPNCallback: (async () => Promise.reject(new Error('mine'))) as never }],
    [
      'pskCallback',
      {
        maxVersion: 'TLSv1.2',
        ciphers: 'PSK',
        pskCallback: () => {
          throw new Error('mine');
        },
      },
    ],
    [
      'pskCallback',
      { maxVersion: 'TLSv1.2', ciphers: 'PSK', pskCallback: () => 'no bytes' as never },
    ],
  ];
  // CVE-2026-21637, CVE-2021-22940: it ended the process, or left a freed socket in use.
  for (const [name, server] of throwing) {
    runTest(`a mistake in the ${name} fails that handshake and is told to the loop`, async () => {
      const seen = catchExceptions();
      const psk = { psk: Buffer.from('0123456789abcdef'), identity: 'me' };
      const client = { ALPNProtocols: ['h2'], ciphers: 'PSK:DEFAULT', pskCallback: () => psk };
      await handshakeErrors(server, name === 'pskCallback' ? client : { ALPNProtocols: ['h2'] });
      expect(seen.map(({ message }) => message)).toEqual([
        `Exception in the ${name} of a TLS server`,
      ]);
    });
  }
});
