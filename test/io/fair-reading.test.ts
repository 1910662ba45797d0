/** Of many that have something to read, none waits for long. */
import { expect, test } from 'vitest';
import { openConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Connection } from '../../lib/io/net-types.ts';
import type { Transport } from '../../lib/io/protocols.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory } from '../support/policy.ts';
import { localhost, until } from './support.ts';

checkLeaks();

const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test.skipIf(inMemory)('a turn of Node reads all connections that have something', async () => {
  const count = 800;
  const bytes = 8_192;
  let received = 0;
  const made: Transport[] = [];
  const server = await currentLoop().createServer(
    () => ({
      connectionMade: (transport: Transport) => void made.push(transport),
      dataReceived(data: Buffer): void {
        received += data.length;
      },
    }),
    { host: localhost, backlog: 1_000 },
  );
  const clients: Connection[] = [];
  while (clients.length < count) {
    const some = Array.from({ length: 50 }, () =>
      openConnection({ host: localhost, port: server.port }),
    );
    clients.push(...(await Promise.all(some)));
  }
  await until(() => made.length === count);
  for (const client of clients) client.write(Buffer.alloc(bytes));
  // One for the flush, one for the look behind it.
  for (let turn = 0; turn < 3; turn++) await immediate();
  expect(received).toBe(count * bytes);
  for (const client of clients) client.abort();
  await server[Symbol.asyncDispose]();
});

test.skipIf(inMemory)('a flood of datagrams keeps no stream from being read', async () => {
  const loop = currentLoop();
  let datagrams = 0;
  // It sends itself as much as it gets, more than a turn takes.
  const [transport] = await loop.createDatagramEndpoint(
    () => ({
      connectionMade(): void {},
      datagramReceived(data: Buffer): void {
        datagrams++;
        send(data);
      },
    }),
    { localHost: localhost },
  );
  const { port } = transport.localAddress as { port: number };
  const send = (data: Buffer): void => transport.sendTo(data, { host: localhost, port });
  let heardAt = -1;
  const server = await loop.createServer(
    () => ({
      dataReceived(): void {
        heardAt = datagrams;
      },
    }),
    { host: localhost },
  );
  const client = await openConnection({ host: localhost, port: server.port });
  for (let i = 0; i < 40; i++) send(Buffer.alloc(4_000));
  await until(() => datagrams > 1_000);
  const before = datagrams;
  await client.write('x');
  await until(() => heardAt >= 0 || datagrams > before + 20_000);
  expect(heardAt - before).toBeLessThan(1_000);
  transport.abort();
  client.abort();
  await server[Symbol.asyncDispose]();
  await immediate();
});
