import { AsyncLocalStorage } from 'node:async_hooks';
import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';
import { openConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Protocol } from '../../lib/io/protocols.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { ContextVar } from '../../lib/task/context.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { localhost, nodeServer, until } from './support.ts';

checkLeaks();

const store = new AsyncLocalStorage<string>();
const variable = new ContextVar<string>('variable', { defaultValue: 'default' });

/** What a callback sees around it. */
function look(): string {
  return `${store.getStore()} ${variable.get()} ${currentTask()?.name ?? 'no task'}`;
}

function looking(log: string[]): Protocol {
  return {
    connectionMade: () => void log.push(`made ${look()}`),
    dataReceived: () => void log.push(`data ${look()}`),
    eofReceived: () => void log.push(`eof ${look()}`),
    connectionLost: () => void log.push(`lost ${look()}`),
  };
}

test('protocol callbacks of a server see the context of createServer, and no task', async () => {
  const log: string[] = [];
  const server = await store.run('theirs', () =>
    createTask(async () => {
      variable.set('set');
      return { server: await currentLoop().createServer(() => looking(log), { host: localhost }) };
    }),
  );
  await store.run('other', async () => {
    const client = await openConnection({ host: localhost, port: server.server.port });
    await client.write('x');
    await until(() => log.length === 2);
    await client.close();
  });
  await until(() => log.length === 4);
  const seen = 'theirs set no task';
  expect(log).toEqual([`made ${seen}`, `data ${seen}`, `eof ${seen}`, `lost ${seen}`]);
  await server.server[Symbol.asyncDispose]();
});

test('those of createConnection see the context of the call', async () => {
  await using peer = await nodeServer((socket) => socket.end('x'));
  const log: string[] = [];
  const options = { host: localhost, port: peer.port };
  await store.run('caller', () => currentLoop().createConnection(() => looking(log), options));
  await until(() => log.length === 4);
  expect(log.map((line) => line.split(' ').slice(1).join(' '))).toEqual(
    Array(4).fill('caller default no task'),
  );
});

test('several servers in one turn keep their contexts apart', async () => {
  const logs: string[][] = [[], [], []];
  const servers = await Promise.all(
    logs.map((log, i) =>
      store.run(`server ${i}`, () =>
        currentLoop().createServer(() => looking(log), { host: localhost }),
      ),
    ),
  );
  const clients = await Promise.all(
    servers.map((server) => openConnection({ host: localhost, port: server.port })),
  );
  for (let round = 0; round < 20; round++) {
    for (const client of clients) void client.write('x');
    await until(() => logs.every((log) => log.length >= 2 + round));
  }
  logs.forEach((log, i) => {
    for (const line of log) expect(line).toContain(`server ${i} default no task`);
  });
  await Promise.all(clients.map((client) => client.close()));
  for (const server of servers) await server[Symbol.asyncDispose]();
});

test('handlers see the context of startServer, in a task of their own', async () => {
  const log: string[] = [];
  const { server } = await store.run('theirs', () =>
    createTask(async () => {
      variable.set('set');
      return {
        server: await startServer(
          async (connection) => {
            log.push(look());
            await connection.read();
            log.push(look());
            variable.set('changed here');
          },
          { host: localhost },
        ),
      };
    }),
  );
  for (let i = 0; i < 2; i++) {
    await using client = await openConnection({ host: localhost, port: server.port });
    await client.write(Buffer.from('x'));
    await client.read();
  }
  expect(log).toHaveLength(4);
  for (const line of log) expect(line).toMatch(/^theirs set Task-\d+$/);
  expect(log[0]).toBe(log[1]);
  expect(log[0]).not.toBe(log[2]);
  await server[Symbol.asyncDispose]();
});

test('a connection’s waits go on in the context that waited', async () => {
  await using peer = await nodeServer((socket) => socket.write('x'));
  const connection = await openConnection({ host: localhost, port: peer.port });
  const seen = await store.run('waiting', async () => {
    await connection.read();
    return store.getStore();
  });
  expect(seen).toBe('waiting');
  await connection.close();
});
