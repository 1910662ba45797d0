import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { CancelledError, ClosedResourceError } from '../../lib/base/errors.ts';
import { openConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Connection } from '../../lib/io/net-types.ts';
import type { Protocol, Transport } from '../../lib/io/protocols.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { sleepForever } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import {
  catchExceptions,
  deferred,
  errorOf,
  localhost,
  NodeClient,
  pattern,
  turn,
  until,
} from './support.ts';

checkLeaks();

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.write(chunk);
}

// covers: asyncio/server, trio/open-tcp-stream, curio/tcp-server
describe('life cycle', () => {
  test('listens on a free port, counts connections, stops', async () => {
    const server = await startServer(echo, { host: localhost });
    expect(server.listening).toBe(true);
    expect(server.port).toBeGreaterThan(0);
    expect(server.addresses).toEqual([{ address: localhost, port: server.port, family: 'IPv4' }]);
    expect(server.connections).toBe(0);
    const client = await openConnection({ host: localhost, port: server.port });
    await until(() => server.connections === 1);
    await client.close();
    await until(() => server.connections === 0);
    server.close();
    server.close();
    expect(server.listening).toBe(false);
    await server.waitClosed();
    const refused = await errorOf(openConnection({ host: localhost, port: server.port }));
    expect(refused.code).toBe('ECONNREFUSED');
  });

  test('without a host it listens on all interfaces, IPv4 included', async () => {
    await using server = await startServer(echo);
    await using client = await openConnection({ host: localhost, port: server.port });
    await client.write('x');
    expect(String(await client.read())).toBe('x');
  });

  test('several hosts share one free port', async () => {
    await using server = await startServer(echo, { host: ['127.0.0.1', '127.0.0.2'] });
    expect(server.addresses.map((one) => one.address)).toEqual(['127.0.0.1', '127.0.0.2']);
    expect(new Set(server.addresses.map((one) => one.port)).size).toBe(1);
    for (const { address, port } of server.addresses) {
      await using client = await openConnection({ host: address, port });
      await client.write('x');
      expect(String(await client.read())).toBe('x');
    }
  });

  test('a name is looked up', async () => {
    await using server = await startServer(echo, { host: 'localhost' });
    await using client = await openConnection({ port: server.port });
    await client.write('x');
    expect(String(await client.read())).toBe('x');
  });

  test('close leaves open connections alone; waitClosed waits for them', async () => {
    const server = await startServer(echo, { host: localhost });
    const client = await openConnection({ host: localhost, port: server.port });
    await client.write('a');
    await client.read();
    server.close();
    let closed = false;
    const waiting = server.waitClosed().then(() => {
      closed = true;
    });
    await client.write('b');
    expect(String(await client.read())).toBe('b');
    expect(closed).toBe(false);
    await client.close();
    await waiting;
    await server.waitClosed();
  });

  test('start: false accepts nothing before start()', async () => {
    let handled = 0;
    const handler = async (connection: Connection): Promise<void> => {
      handled++;
      await echo(connection);
    };
    await using server = await startServer(handler, { host: localhost, start: false });
    expect(server.listening).toBe(false);
    const client = new NodeClient(server.port);
    client.socket.write('early');
    await client.connected();
    for (let i = 0; i < 10; i++) await turn();
    expect(handled).toBe(0);
    await server.start();
    await server.start();
    expect(server.listening).toBe(true);
    expect(String(await client.bytes(5))).toBe('early');
    client.socket.destroy();
    await client.closed;
  });

  test('starting a closed server is ClosedResourceError', async () => {
    const server = await startServer(echo, { host: localhost, start: false });
    server.close();
    expect(await errorOf(server.start())).toBeInstanceOf(ClosedResourceError);
    expect(await errorOf(server.serveForever())).toBeInstanceOf(ClosedResourceError);
    await server.waitClosed();
  });

  test('serveForever serves until cancelled, then the server is closed', async () => {
    const server = await startServer(echo, { host: localhost, start: false });
    const task = createTask(() => server.serveForever());
    const client = await openConnection({ host: localhost, port: server.port });
    await client.write('x');
    expect(String(await client.read())).toBe('x');
    task.cancel();
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
    expect(server.listening).toBe(false);
    await client.close();
    await server.waitClosed();
  });

  test('serveForever ends with ClosedResourceError when somebody closes the server', async () => {
    const server = await startServer(echo, { host: localhost });
    const serving = errorOf(server.serveForever());
    await turn();
    server.close();
    expect(await serving).toBeInstanceOf(ClosedResourceError);
  });

  test('closeClients flushes, abortClients does not', async () => {
    const data = pattern(4 * 1024 * 1024);
    const ready = deferred();
    const server = await startServer(
      async (connection) => {
        void connection.write(data);
        ready.resolve();
        await connection.read().catch(() => {});
        await sleepForever();
      },
      { host: localhost },
    );
    const client = await openConnection({ host: localhost, port: server.port });
    await ready.promise;
    server.closeClients();
    expect((await client.readAll()).equals(data)).toBe(true);
    await client.close();
    await using other = await openConnection({ host: localhost, port: server.port });
    await until(() => server.connections === 2);
    server.abortClients();
    await server[Symbol.asyncDispose]();
    await errorOf(other.readExactly(data.length + 1));
  });

  test('handlers whose clients the server closes or aborts are not reported', async () => {
    const seen = catchExceptions();
    await using server = await startServer(echo, { host: localhost });
    for (const end of [() => server.closeClients(), () => server.abortClients()]) {
      const client = await new NodeClient(server.port).connected();
      await until(() => server.connections === 1);
      end();
      await client.closed;
      await until(() => server.connections === 0);
    }
    expect(seen).toEqual([]);
  });

  test('disposing twice is fine', async () => {
    const server = await startServer(echo, { host: localhost });
    const both = [server[Symbol.asyncDispose](), server[Symbol.asyncDispose]()];
    await Promise.all(both);
    await server[Symbol.asyncDispose]();
  });

  test('waitClosed can be cancelled', async () => {
    await using server = await startServer(echo, { host: localhost });
    const task = createTask(() => server.waitClosed());
    await turn();
    task.cancel();
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
  });
});

// covers: asyncio/open-connection
describe('handlers', () => {
  test('the connection closes when the handler ends', async () => {
    await using server = await startServer(
      async (connection) => {
        await connection.write('bye');
      },
      { host: localhost },
    );
    await using client = await openConnection({ host: localhost, port: server.port });
    expect(String(await client.readAll())).toBe('bye');
  });

  test('a handler that is no async function is fine', async () => {
    await using server = await startServer(
      (connection) => {
        void connection.write('sync');
      },
      { host: localhost },
    );
    await using client = await openConnection({ host: localhost, port: server.port });
    expect(String(await client.readAll())).toBe('sync');
  });

  // covers: seeds/C18
  test('each runs in a task of its own', async () => {
    const tasks = new Set<unknown>();
    await using server = await startServer(
      async (connection) => {
        tasks.add(currentTask());
        await connection.read();
        tasks.add(currentTask());
      },
      { host: localhost },
    );
    for (let i = 0; i < 3; i++) {
      await using client = await openConnection({ host: localhost, port: server.port });
      await client.write('x');
      await client.read();
    }
    expect(tasks.size).toBe(3);
    expect(tasks.has(null)).toBe(false);
  });

  test('one that throws is reported and loses only its own connection', async () => {
    const seen = catchExceptions();
    const boom = new Error('boom');
    await using server = await startServer(
      async (connection) => {
        const text = String(await connection.read());
        if (text === 'bad') throw boom;
        await connection.write(text);
        await echo(connection);
      },
      { host: localhost },
    );
    await using good = await openConnection({ host: localhost, port: server.port });
    await good.write('good');
    expect(String(await good.read())).toBe('good');
    const bad = await openConnection({ host: localhost, port: server.port });
    await bad.write('bad');
    await bad.read().catch(() => null);
    await until(() => seen.length > 0);
    expect(seen).toHaveLength(1);
    expect(seen[0]?.error).toBe(boom);
    expect(seen[0]?.transport).toHaveProperty('remoteAddress');
    await good.write('still');
    expect(String(await good.read())).toBe('still');
    bad.abort();
  });

  test('one that throws synchronously, too', async () => {
    const seen = catchExceptions();
    await using server = await startServer(
      () => {
        throw new Error('at once');
      },
      { host: localhost },
    );
    const client = new NodeClient(server.port);
    await client.closed;
    await until(() => seen.length > 0);
    expect((seen[0] as { error: Error }).error.message).toBe('at once');
  });

  test('a peer that resets is not reported', async () => {
    const seen = catchExceptions();
    let ended = false;
    await using server = await startServer(
      async (connection) => {
        try {
          await echo(connection);
        } finally {
          ended = true;
        }
      },
      { host: localhost },
    );
    const client = await new NodeClient(server.port).connected();
    client.socket.write('x');
    await client.bytes(1);
    client.socket.resetAndDestroy();
    await until(() => ended && server.connections === 0);
    expect(seen).toEqual([]);
  });

  // covers: seeds/C32
  test('await using cancels them, and waits for their clean-up', async () => {
    const log: string[] = [];
    {
      await using server = await startServer(
        async (connection) => {
          try {
            await connection.read();
          } catch (error) {
            log.push((error as Error).name);
            await turn();
            log.push('cleaned up');
            throw error;
          }
        },
        { host: localhost },
      );
      const client = new NodeClient(server.port);
      await until(() => server.connections === 1);
      void client.closed.then(() => log.push('client closed'));
    }
    expect(log.slice(0, 2)).toEqual(['CancelledError', 'cleaned up']);
    await until(() => log.length === 3);
  });

  test('a cancelled disposal stops flushing to stuck peers', async () => {
    const scope = new CancelScope();
    const clients: NodeClient[] = [];
    const task = createTask(() =>
      scope.run(async () => {
        await using server = await currentLoop().createServer(
          () => ({
            connectionMade: (transport) => void transport.write(Buffer.alloc(64 * 1024 * 1024)),
            dataReceived() {},
          }),
          { host: localhost },
        );
        const stuck = new NodeClient(server.port);
        stuck.socket.pause();
        await until(() => server.connections === 1);
        setImmediate(() => scope.cancel());
        clients.push(stuck);
      }),
    );
    await task;
    expect(scope.cancelledCaught).toBe(true);
    for (const client of clients) client.socket.destroy();
  });
});

describe('maxConnections', () => {
  test('further ones wait, and come in order when there is room', async () => {
    await using server = await startServer(echo, { host: localhost, maxConnections: 2 });
    const clients: NodeClient[] = [];
    for (let i = 0; i < 5; i++) {
      const client = await new NodeClient(server.port).connected();
      client.socket.write(`hello ${i}`);
      clients.push(client);
    }
    await clients[1]?.bytes(7);
    for (let i = 0; i < 20; i++) await turn();
    expect(server.connections).toBe(2);
    expect(clients.map((client) => String(client.received))).toEqual([
      'hello 0',
      'hello 1',
      '',
      '',
      '',
    ]);
    for (let i = 0; i < 3; i++) {
      clients[i]?.socket.end();
      expect(String(await clients[i + 2]?.bytes(7))).toBe(`hello ${i + 2}`);
      expect(server.connections).toBeLessThanOrEqual(2);
    }
    for (const client of clients) client.socket.destroy();
  });

  test('waiting ones are let go when the server closes', async () => {
    const server = await startServer(echo, { host: localhost, maxConnections: 1 });
    const first = await new NodeClient(server.port).connected();
    const second = await new NodeClient(server.port).connected();
    await until(() => server.connections === 1);
    await server[Symbol.asyncDispose]();
    await first.closed;
    await second.closed;
  });
});

describe('bad input', () => {
  test('a used port is EADDRINUSE with Node’s fields, and nothing stays open', async () => {
    await using server = await startServer(echo, { host: localhost });
    const { port } = server;
    const error = await errorOf(startServer(echo, { host: localhost, port }));
    expect(error).toMatchObject({
      code: 'EADDRINUSE',
      syscall: 'listen',
      address: localhost,
      port,
    });
    expect((error as NodeJS.ErrnoException).errno).toBeLessThan(0);
    const several = startServer(echo, { host: ['127.0.0.2', localhost], port });
    expect((await errorOf(several)).code).toBe('EADDRINUSE');
    await until(() => currentLoop().backendHandle.counters().listeners === 1);
  });

  test('an address of another machine is EADDRNOTAVAIL', async () => {
    const error = await errorOf(startServer(echo, { host: '192.0.2.1' }));
    expect(error.code).toBe('EADDRNOTAVAIL');
  });

  test.each([-1, 65_536, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('port %d', async (port) => {
    const error = await errorOf(startServer(echo, { port }));
    expect(error).toBeInstanceOf(RangeError);
    expect(error.code).toBe('ERR_SOCKET_BAD_PORT');
  });

  test.each([
    [{ port: '80' }],
    [{ host: 5 }],
    [{ host: '' }],
    [{ backlog: 0 }],
    [{ backlog: Number.NaN }],
    [{ maxConnections: 0 }],
    [{ highWaterBytes: Number.NaN }],
    [{ lowWaterBytes: 10, highWaterBytes: 5 }],
    [{ limitBytes: 0 }],
  ])('options %j are refused', async (options) => {
    const error = await errorOf(startServer(echo, options as object));
    expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
    expect(error.code).toMatch(/^ERR_/);
  });

  test('something that is no function, and no options', async () => {
    expect(await errorOf(startServer(5 as never))).toBeInstanceOf(TypeError);
    expect(await errorOf(startServer(echo, null as never))).toBeInstanceOf(TypeError);
    expect(await errorOf(currentLoop().createServer({} as never))).toBeInstanceOf(TypeError);
  });
});

test('a cancelled start leaves nothing open', async () => {
  const task = createTask(async () => {
    task.cancel();
    await startServer(echo, { host: localhost });
  });
  expect(await errorOf(task)).toBeInstanceOf(CancelledError);
  const controller = new AbortController();
  const starting = startServer(echo, {
    host: ['127.0.0.1', 'localhost'],
    signal: controller.signal,
  });
  controller.abort();
  expect((await errorOf(starting)).name).toBe('AbortError');
});

// covers: seeds/C3, seeds/C30
test('1,000 connections at once, each with its own answer', { timeout: 30_000 }, async () => {
  await using server = await startServer(echo, { host: localhost });
  const opened = Array.from({ length: 1_000 }, async (_, i) => {
    const client = await openConnection({ host: localhost, port: server.port });
    await client.write(`hello ${i}\n`);
    return client;
  });
  const clients = await Promise.all(opened);
  const lines = await Promise.all(clients.map((client) => client.readLine()));
  expect(lines).toEqual(clients.map((_, i) => `hello ${i}`));
  expect(server.connections).toBe(1_000);
  await Promise.all(clients.map((client) => client.close()));
  await until(() => server.connections === 0);
});

test('protocol servers close, abort and wait in the same way', async () => {
  const lost: (Error | undefined)[] = [];
  const made: Transport[] = [];
  const server = await currentLoop().createServer(
    (): Protocol => ({
      connectionMade: (transport) => void made.push(transport),
      dataReceived: () => {},
      connectionLost: (error) => void lost.push(error),
    }),
    { host: localhost },
  );
  const clients = [new NodeClient(server.port), new NodeClient(server.port)];
  await until(() => made.length === 2);
  expect(server.connections).toBe(2);
  await server[Symbol.asyncDispose]();
  expect(lost).toEqual([undefined, undefined]);
  for (const client of clients) {
    client.socket.destroy();
    await client.closed;
  }
});
