import { Buffer } from 'node:buffer';
import { createSecureContext } from 'node:tls';
import { describe, expect } from 'vitest';
import type { TlsClientOptions, TlsServerOptions } from '../../lib/io/net-types.ts';
import { checkLeaks } from '../support/leaks.ts';
import { runTest } from '../task/support.ts';
import { turn, until } from './support.ts';
import { ca, clientTls, pem, serverTls, tlsPair } from './tls-support.ts';

checkLeaks();

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
