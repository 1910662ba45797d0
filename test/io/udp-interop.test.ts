/** Datagrams to and from a Python program of asyncio, as its protocols see them. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { openUdpSocket } from '../../lib/io/udp-socket.ts';
import { foreignEnv } from '../support/foreign.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory } from '../support/policy.ts';
import { localhost, pattern } from './support.ts';

checkLeaks();

const program = `
import asyncio
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
        print(transport.get_extra_info('sockname')[1], flush=True)
    def datagram_received(self, data, address):
        self.transport.sendto(data[::-1], address)
async def main():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Echo, local_addr=('127.0.0.1', 0))
    await asyncio.sleep(30)
asyncio.run(main())
`;

const hasPython =
  !inMemory && spawnSync('python3', ['-c', 'import asyncio'], { env: foreignEnv() }).status === 0;

// covers: asyncio/create-datagram-endpoint, uvloop/udp
test.runIf(hasPython)('an asyncio peer gets what was sent, and answers', async () => {
  const python = spawn('python3', ['-c', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: foreignEnv(),
  });
  const [line] = await once(python.stdout, 'data');
  const remotePort = Number(String(line));
  try {
    await using client = await openUdpSocket({ remoteHost: localhost, remotePort });
    // Before 3.13 asyncio sends no empty datagrams.
    for (const bytes of [1, 64, 1472, 65_507]) {
      const sent = pattern(bytes, bytes + 1);
      await client.send(sent);
      const { data, address } = await client.receive();
      expect(data.equals(Buffer.from(sent).reverse())).toBe(true);
      expect(address).toEqual({ address: localhost, port: remotePort, family: 'IPv4' });
    }
  } finally {
    python.kill();
    await once(python, 'exit');
  }
});
