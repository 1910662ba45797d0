/** Sockets and peers for the tests of datagrams. */

import type { UdpOptions, UdpSocket } from '../../lib/io/net-types.ts';
import { openUdpSocket } from '../../lib/io/udp-socket.ts';
import { localhost } from './support.ts';

/** Where a socket on loopback is reached. */
export function at(socket: UdpSocket): { host: string; port: number } {
  return { host: localhost, port: socket.localAddress.port };
}

export function openLocal(options: UdpOptions = {}): Promise<UdpSocket> {
  return openUdpSocket({ localHost: localhost, ...options });
}

/** IPv6 on loopback is missing on some machines. */
export async function tryOpen(options: UdpOptions): Promise<UdpSocket | null> {
  try {
    return await openUdpSocket(options);
  } catch {
    return null;
  }
}

export interface UdpPair extends AsyncDisposable {
  /** Unconnected. */
  readonly server: UdpSocket;
  /** Connected to it. */
  readonly client: UdpSocket;
}

export async function udpPair(
  serverOptions: UdpOptions = {},
  clientOptions: UdpOptions = {},
): Promise<UdpPair> {
  const server = await openLocal(serverOptions);
  const { host, port } = at(server);
  const client = await openUdpSocket({ remoteHost: host, remotePort: port, ...clientOptions });
  return {
    server,
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
