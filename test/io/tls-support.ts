/** Keys, certificates and pairs for the tests of TLS. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openConnection } from '../../lib/io/connect.ts';
import type {
  Connection,
  ConnectOptions,
  ListenOptions,
  Server,
  TlsClientOptions,
  TlsServerOptions,
} from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { deferred, localhost } from './support.ts';

const folder = fileURLToPath(new URL('../support/tls/', import.meta.url));

export const pemPath = (name: string): string => join(folder, name);
export const pem = (name: string): Buffer => readFileSync(pemPath(name));

/** Options of a server with that certificate. */
export function identity(name: string): { key: Buffer; cert: Buffer } {
  return { key: pem(`${name}-key.pem`), cert: pem(`${name}.pem`) };
}

export const ca: Buffer = pem('ca.pem');
export const serverTls: TlsServerOptions = identity('server');
export const clientTls: TlsClientOptions = { ca, servername: 'server.test' };

export interface TlsPair extends AsyncDisposable {
  readonly client: Connection;
  readonly served: Connection;
  readonly server: Server;
}

export interface TlsPairOptions {
  readonly server?: TlsServerOptions;
  readonly client?: TlsClientOptions;
  readonly listen?: Omit<ListenOptions, 'tls'>;
  readonly connect?: Omit<ConnectOptions, 'tls' | 'port'>;
}

/** Two ends of one TLS connection, both of uvio. */
export async function tlsPair(options: TlsPairOptions = {}): Promise<TlsPair> {
  const accepted = deferred<{ served: Connection }>();
  const over = deferred();
  const server = await startServer(
    (served) => {
      accepted.resolve({ served });
      return over.promise;
    },
    { host: localhost, ...options.listen, tls: { ...serverTls, ...options.server } },
  );
  const end = async (): Promise<void> => {
    over.resolve();
    await server[Symbol.asyncDispose]();
  };
  let client: Connection;
  try {
    const tls = { ...clientTls, ...options.client };
    client = await openConnection({ host: localhost, ...options.connect, port: server.port, tls });
  } catch (error) {
    await end();
    throw error;
  }
  const { served } = await accepted.promise;
  return {
    client,
    served,
    server,
    async [Symbol.asyncDispose]() {
      client.abort();
      served.abort();
      await end();
    },
  };
}
