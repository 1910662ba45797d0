import { Buffer } from 'node:buffer';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
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
import { errorOf, localhost, tcpPair, until } from './support.ts';
import { ca, clientTls, pem, serverTls } from './tls-support.ts';

checkLeaks();

const never = (): void => {
  throw new Error('the handler must not run');
};

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
      { host: localhost, tls: serverTls, tlsHandshakeTimeoutMs: 300 },
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
