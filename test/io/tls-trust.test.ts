import { Buffer } from 'node:buffer';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createSecureContext, type PeerCertificate } from 'node:tls';
import { describe, expect } from 'vitest';
import { TimeoutError } from '../../lib/base/errors.ts';
import { openConnection, openUnixConnection } from '../../lib/io/connect.ts';
import type { Connection, TlsClientOptions, TlsServerOptions } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { runTest } from '../task/support.ts';
import { catchExceptions, errorOf, localhost, tcpPair, turn, until } from './support.ts';
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

// covers: asyncio/tls-sessions
describe('keys', () => {
  const psk = Buffer.from('0123456789abcdef');

  runTest('an encrypted key and its passphrase', async () => {
    const key = pem('server-key-encrypted.pem');
    await using pair = await tlsPair({ server: { key, passphrase: 'secret' } });
    expect(pair.client.tls?.authorized).toBe(true);
  });

  runTest('a PFX file', async () => {
    const pfx = pem('server.pfx');
    await using pair = await tlsPair({
      server: { pfx, passphrase: 'secret', key: undefined, cert: undefined },
    });
    expect(pair.client.tls?.authorized).toBe(true);
  });

  runTest('a context that was made before, on both sides', async () => {
    await using pair = await tlsPair({
      server: { key: undefined, cert: undefined, secureContext: createSecureContext(serverTls) },
      client: { ca: undefined, secureContext: createSecureContext({ ca }) },
    });
    expect(pair.client.tls?.authorized).toBe(true);
  });

  runTest('a shared key in place of certificates', async () => {
    const identities: string[] = [];
    await using pair = await tlsPair({
      server: {
        key: undefined,
        cert: undefined,
        ciphers: 'PSK',
        maxVersion: 'TLSv1.2',
        pskCallback: (_socket, name) => {
          identities.push(name);
          return psk;
        },
      },
      client: {
        ciphers: 'PSK',
        pskCallback: () => ({ psk, identity: 'me' }),
        checkServerIdentity: () => undefined,
      },
    });
    expect(identities).toEqual(['me']);
    await pair.client.write('x');
    expect(String(await pair.served.read())).toBe('x');
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    runTest(`a session is resumed (${version})`, async () => {
      const server = createSecureContext({ ...serverTls, sessionIdContext: 'test' });
      const options = { server: { secureContext: server, maxVersion: version } };
      const session = await oneSession({ ...clientTls, maxVersion: version }, server);
      await using pair = await tlsPair({ ...options, client: { session, maxVersion: version } });
      expect(pair.client.tls).toMatchObject({ sessionReused: true, authorized: true });
      expect(pair.served.tls?.sessionReused).toBe(true);
    });
  }

  runTest('a session of one server is resumed by another with the same ticket keys', async () => {
    const ticketKeys = Buffer.alloc(48, 7);
    const session = await oneSession(clientTls, undefined, ticketKeys);
    await using pair = await tlsPair({ server: { ticketKeys }, client: { session } });
    expect(pair.client.tls?.sessionReused).toBe(true);
  });

  runTest('a session that the server does not know means a whole handshake', async () => {
    const session = await oneSession(clientTls);
    await using pair = await tlsPair({ client: { session } });
    expect(pair.client.tls).toMatchObject({ sessionReused: false, authorized: true });
  });

  runTest('both ends compute the same keying material', async () => {
    await using pair = await tlsPair();
    const [client, served] = [pair.client.tls, pair.served.tls];
    const label = 'EXPORTER-Channel-Binding';
    const mine = client?.exportKeyingMaterial(32, label, Buffer.alloc(0));
    expect(mine?.length).toBe(32);
    expect(mine).toEqual(served?.exportKeyingMaterial(32, label, Buffer.alloc(0)));
    expect(client?.exportKeyingMaterial(32, 'EXPERIMENTAL x')).not.toEqual(mine);
    expect(() => client?.exportKeyingMaterial(0, label)).toThrow(RangeError);
    pair.client.abort();
    await until(() => pair.client.signal.aborted);
    await turn();
    expect(() => client?.exportKeyingMaterial(32, label)).toThrow('gone');
    expect(client?.protocol).toBe('TLSv1.3');
  });
});

/** What a client got from a server for the next time. */
async function oneSession(
  client: TlsClientOptions,
  secureContext?: TlsServerOptions['secureContext'],
  ticketKeys?: Buffer,
): Promise<Buffer> {
  await using pair = await tlsPair({ server: { secureContext, ticketKeys }, client });
  await pair.served.write('ticket');
  await pair.client.read();
  await until(() => pair.client.tls?.session !== null);
  return pair.client.tls?.session as Buffer;
}

// covers: asyncio/ssl-timeouts
describe('a handshake that takes too long', () => {
  runTest('is a TimeoutError for the client', async () => {
    await using server = await startServer((connection) => connection.readAll().then(() => {}), {
      host: localhost,
    });
    const error = await errorOf(
      openConnection({
        host: localhost,
        port: server.port,
        tls: clientTls,
        tlsHandshakeTimeoutMs: 20,
      }),
    );
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error.message).toBe('No TLS handshake within 20 ms');
  });

  runTest('is dropped by a server, which serves others meanwhile', async () => {
    const served: Connection[] = [];
    await using server = await startServer(
      async (connection) => {
        served.push(connection);
        await connection.write('hello');
      },
      { host: localhost, tls: serverTls, tlsHandshakeTimeoutMs: 100 },
    );
    await using silent = await openConnection({ host: localhost, port: server.port });
    await until(() => server.connections === 1);
    const tls = clientTls;
    await using client = await openConnection({ host: localhost, port: server.port, tls });
    expect(String(await client.read())).toBe('hello');
    expect(await silent.read()).toBe(null);
    expect(served.length).toBe(1);
    await client.close();
    await until(() => server.connections === 0);
  });

  runTest('counts for maxConnections, and makes room when it fails', async () => {
    await using server = await startServer((connection) => connection.write('hello'), {
      host: localhost,
      tls: serverTls,
      tlsHandshakeTimeoutMs: 50,
      maxConnections: 1,
    });
    await using _silent = await openConnection({ host: localhost, port: server.port });
    await until(() => server.connections === 1);
    const tls = clientTls;
    await using client = await openConnection({ host: localhost, port: server.port, tls });
    expect(String(await client.read())).toBe('hello');
  });

  runTest('ends with the server', async () => {
    const server = await startServer(never, { host: localhost, tls: serverTls });
    await using silent = await openConnection({ host: localhost, port: server.port });
    await until(() => server.connections === 1);
    await server[Symbol.asyncDispose]();
    expect(server.connections).toBe(0);
    await errorOf(silent.readExactly(1));
  });

  runTest('garbage ends it, with an alert and a message on the channel', async () => {
    const { promise, stop } = nextFailure();
    await using server = await startServer(never, { host: localhost, tls: serverTls });
    await using client = await openConnection({ host: localhost, port: server.port });
    await client.write('GET / HTTP/1.1\r\n\r\n');
    const { error, remoteAddress } = await promise;
    stop();
    expect(error.code).toBe('ERR_SSL_HTTP_REQUEST');
    expect(remoteAddress.port).toBe(client.localAddress.port);
    await client.readAll().catch(() => {});
  });

  runTest('a peer that leaves ends it with ECONNRESET', async () => {
    const { promise, stop } = nextFailure();
    await using server = await startServer(never, { host: localhost, tls: serverTls });
    const client = await openConnection({ host: localhost, port: server.port });
    await client.close();
    expect((await promise).error.code).toBe('ECONNRESET');
    stop();
    await until(() => server.connections === 0);
  });

  runTest('a cancelled connect leaves nothing open', async () => {
    await using pair = await tcpPair();
    const task = createTask(() =>
      openConnection({ host: localhost, port: pair.server.port, tls: clientTls }),
    );
    await until(() => pair.server.connections === 2);
    await sleep(5);
    task.cancel();
    expect((await errorOf(task)).name).toBe('CancelledError');
    const controller = new AbortController();
    const { signal } = controller;
    const aborted = errorOf(
      openConnection({ host: localhost, port: pair.server.port, tls: clientTls, signal }),
    );
    await sleep(5);
    controller.abort();
    expect((await aborted).name).toBe('AbortError');
    await until(() => currentLoop().metrics().connections <= 4);
  });
});

interface Failure {
  readonly error: Error & { code?: string };
  readonly remoteAddress: { port: number };
}

function nextFailure(): { promise: Promise<Failure>; stop: () => void } {
  let listen: (message: unknown) => void = () => {};
  const promise = new Promise<Failure>((resolve) => {
    listen = (message): void => resolve(message as Failure);
  });
  subscribe('uvio:tls.failed', listen);
  return { promise, stop: () => void unsubscribe('uvio:tls.failed', listen) };
}

// covers: asyncio/tls
describe('options that are wrong are refused before anything is opened:', () => {
  const clients: readonly [string, TlsClientOptions | string, string][] = [
    ['no object', 'yes', 'ERR_INVALID_ARG_TYPE'],
    ['an authority that is no text', { ca: 5 as never }, 'ERR_INVALID_ARG_TYPE'],
    ['a certificate without a key', { cert: 5 as never }, 'ERR_INVALID_ARG_TYPE'],
    ['a cipher that is none', { ciphers: 'NOPE' }, 'ERR_SSL_NO_CIPHER_MATCH'],
    [
      'a version that is none',
      { minVersion: 'TLSv9' as never },
      'ERR_TLS_INVALID_PROTOCOL_VERSION',
    ],
    [
      'rejectUnauthorized that is no boolean',
      { rejectUnauthorized: 0 as never },
      'ERR_INVALID_ARG_TYPE',
    ],
    ['a check that is no function', { checkServerIdentity: true as never }, 'ERR_INVALID_ARG_TYPE'],
    ['a servername that is no string', { servername: 5 as never }, 'ERR_INVALID_ARG_TYPE'],
    ['ALPN names that are no strings', { ALPNProtocols: [5] as never }, 'ERR_INVALID_ARG_TYPE'],
    ['an empty ALPN name', { ALPNProtocols: [''] }, 'ERR_OUT_OF_RANGE'],
    ['a long ALPN name', { ALPNProtocols: ['x'.repeat(256)] }, 'ERR_OUT_OF_RANGE'],
    ['ALPN bytes that are cut', { ALPNProtocols: Buffer.from('\x05h2') }, 'ERR_OUT_OF_RANGE'],
    ['a session that is no buffer', { session: 'x' as never }, 'ERR_INVALID_ARG_TYPE'],
    ['a context that is none', { secureContext: {} as never }, 'ERR_INVALID_ARG_TYPE'],
    ['a socket', { socket: {} } as never, 'ERR_INVALID_ARG_TYPE'],
    ['a timeout of a socket', { timeout: 5 }, 'ERR_INVALID_ARG_TYPE'],
  ];
  for (const [what, tls, code] of clients) {
    runTest(`${what}, of a client`, async () => {
      const error = await errorOf(openConnection({ port: 1, tls: tls as TlsClientOptions }));
      expect(error.code).toBe(code);
    });
  }

  const servers: readonly [string, TlsServerOptions | string, string][] = [
    ['no object', 'yes', 'ERR_INVALID_ARG_TYPE'],
    ['no key', {}, 'ERR_INVALID_ARG_TYPE'],
    [
      'a key that is another',
      { ...serverTls, cert: pem('client.pem') },
      'ERR_OSSL_X509_KEY_VALUES_MISMATCH',
    ],
    [
      'an encrypted key without its passphrase',
      { ...serverTls, key: pem('server-key-encrypted.pem') },
      'ERR_OSSL_BAD_DECRYPT',
    ],
    [
      'an SNICallback that is no function',
      { ...serverTls, SNICallback: 5 as never },
      'ERR_INVALID_ARG_TYPE',
    ],
    [
      'both ways of ALPN',
      { ...serverTls, ALPNProtocols: ['a'], ALPNCallback: () => 'a' },
      'ERR_INVALID_ARG_TYPE',
    ],
    [
      'ticket keys of another length',
      { ...serverTls, ticketKeys: Buffer.alloc(5) },
      'ERR_INVALID_ARG_VALUE',
    ],
    ['pauseOnConnect', { ...serverTls, pauseOnConnect: true }, 'ERR_INVALID_ARG_TYPE'],
  ];
  for (const [what, tls, code] of servers) {
    runTest(`${what}, of a server`, async () => {
      const error = await errorOf(startServer(never, { tls: tls as TlsServerOptions }));
      if (what.startsWith('an encrypted')) expect(error.code).toMatch(/^ERR_/);
      else expect(error.code).toBe(code);
    });
  }

  runTest('times that are none', async () => {
    const options = { port: 1, tls: true, tlsHandshakeTimeoutMs: Number.NaN };
    expect((await errorOf(openConnection(options))).name).toBe('TypeError');
    const other = { tls: serverTls, tlsShutdownTimeoutMs: '5' as never };
    expect(await errorOf(startServer(never, other))).toBeInstanceOf(TypeError);
  });

  runTest('no servername where nobody knows the host', async () => {
    const error = await errorOf(openUnixConnection('/nowhere', { tls: { ca } }));
    expect(error.message).toContain('tls.servername');
  });
});
