/** The network of a simulation: times, faults and addresses. */
import { describe, expect, test } from 'vitest';
import { BrokenResourceError, type DeadlockError, TimeoutError } from '../../lib/base/errors.ts';
import { openConnection, openUnixConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Connection } from '../../lib/io/net-types.ts';
import { startServer, startUnixServer } from '../../lib/io/start-server.ts';
import { getRunningLoop, run } from '../../lib/task/run.ts';
import { currentTime, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { type SimulationOptions, simulated, waitAllTasksBlocked } from '../../lib/testing/index.ts';
import { pattern } from '../io/support.ts';
import { failure } from '../task/support.ts';

const localhost = '127.0.0.1';

function simulation(title: string, options: SimulationOptions, main: () => Promise<void>): void {
  test(title, () => run(main, { policy: simulated(options), handleSignals: false }));
}

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.write(chunk);
}

describe('latency', () => {
  simulation('a connection takes two ways, an answer two more', { latencyMs: 10 }, async () => {
    await using server = await startServer(echo, { host: localhost });
    expect(currentTime()).toBe(0);
    const client = await openConnection({ host: localhost, port: server.port });
    expect(currentTime()).toBe(20);
    await client.write('x');
    expect(String(await client.read())).toBe('x');
    expect(currentTime()).toBe(40);
    const refused = await failure(openConnection({ host: localhost, port: 1 }));
    expect(refused).toMatchObject({
      code: 'ECONNREFUSED',
      message: `connect ECONNREFUSED ${localhost}:1`,
    });
    expect(currentTime()).toBe(60);
    await client.close();
  });

  simulation('a window goes out in one way, the next one after it', { latencyMs: 10 }, async () => {
    const times: number[] = [];
    const handler = async (connection: Connection): Promise<void> => {
      for await (const _ of connection) times.push(currentTime());
    };
    await using server = await startServer(handler, { host: localhost });
    await using client = await openConnection({ host: localhost, port: server.port });
    void client.write(Buffer.alloc(65_535 * 3));
    await sleep(100);
    expect(times).toEqual([30, 40, 50]);
  });

  simulation('from a range, bytes stay in order', { latencyMs: [1, 50], seed: 5 }, async () => {
    await using server = await startServer(echo, { host: localhost });
    await using client = await openConnection({ host: localhost, port: server.port });
    const data = pattern(20_000);
    const writing = createTask(async () => {
      for (let at = 0; at < data.length; at += 100) {
        await client.write(data.subarray(at, at + 100));
        await sleep(1);
      }
    });
    expect((await client.readExactly(data.length)).equals(data)).toBe(true);
    expect(currentTime()).toBeGreaterThan(200);
    await writing;
  });

  simulation('a time limit on a connect and on a read is exact', { latencyMs: 80 }, async () => {
    await using server = await startServer(() => sleepForever(), { host: localhost });
    const { port } = server;
    const slow = openConnection({ host: localhost, port, timeoutMs: 100 });
    expect(await failure(slow)).toBeInstanceOf(TimeoutError);
    expect(currentTime()).toBe(100);
    await using client = await openConnection({ host: localhost, port, timeoutMs: 161 });
    const late = new AbortController();
    getRunningLoop().callLater(1, () => late.abort(new Error('late')));
    expect((await failure(client.read(undefined, late))).message).toBe('late');
  });

  simulation('names take a way', { latencyMs: 5, hosts: { 'db.test': '10.0.0.7' } }, async () => {
    const missing = await failure(openConnection({ host: 'nothing.test', port: 1 }));
    expect(missing).toMatchObject({
      code: 'ENOTFOUND',
      syscall: 'getaddrinfo',
      hostname: 'nothing.test',
      message: 'getaddrinfo ENOTFOUND nothing.test',
    });
    expect(currentTime()).toBe(5);
    const given = openConnection({ host: 'db.test', port: 1, timeoutMs: 4 });
    expect(await failure(given)).toBeInstanceOf(TimeoutError);
    expect(currentTime()).toBe(9);
  });
});

const hosts = { 'db.test': ['10.0.0.7', 'fd00::7'], 'web.test': '10.0.0.8' };

describe('addresses', () => {
  simulation('given hosts can be listened on and connected to', { hosts }, async () => {
    await using db = await startServer(echo, { host: 'db.test', port: 5432 });
    await using web = await startServer(echo, { host: 'web.test', port: 5432 });
    expect(db.addresses.map((one) => one.address)).toEqual(['10.0.0.7', 'fd00::7']);
    for (const family of [4, 6] as const) {
      await using client = await openConnection({ host: 'db.test', port: 5432, family });
      await client.write('db');
      expect(String(await client.readExactly(2))).toBe('db');
      expect(client.remoteAddress.address).toBe(family === 4 ? '10.0.0.7' : 'fd00::7');
    }
    await using client = await openConnection({ host: 'web.test', port: 5432 });
    await waitAllTasksBlocked();
    expect([db.connections, web.connections]).toEqual([0, 1]);
    await using from = await openConnection({
      host: 'web.test',
      port: 5432,
      localHost: '10.0.0.7',
      localPort: 777,
    });
    expect(from.localAddress).toEqual({ address: '10.0.0.7', port: 777, family: 'IPv4' });
    expect(client.localAddress.address).toBe(localhost);
  });

  simulation('other machines are out of reach, and not to be listened on', {}, async () => {
    const far = { host: '192.0.2.1', port: 80 };
    expect((await failure(openConnection(far))).code).toBe('EHOSTUNREACH');
    expect((await failure(startServer(echo, far))).code).toBe('EADDRNOTAVAIL');
    const from = { host: localhost, port: 1, localHost: '192.0.2.1' };
    expect((await failure(openConnection(from))).code).toBe('EADDRNOTAVAIL');
  });

  simulation('localhost has both families; :: takes IPv4 too', {}, async () => {
    await using server = await startServer(
      (connection) => void connection.write(connection.remoteAddress.address),
    );
    expect(server.addresses[0]).toMatchObject({ address: '::', family: 'IPv6' });
    for (const [host, seen] of [
      ['127.0.0.1', '::ffff:127.0.0.1'],
      ['::1', '::1'],
      ['localhost', '::ffff:127.0.0.1'],
    ] as const) {
      await using client = await openConnection({ host, port: server.port });
      expect(String(await client.readAll())).toBe(seen);
    }
  });

  simulation('a port is taken once, by one address or by all', {}, async () => {
    const at = (host: string, port: number): Promise<unknown> =>
      startServer(echo, { host, port }).then((server) => server.close());
    await using all = await startServer(echo, { host: '0.0.0.0' });
    await using six = await startServer(echo, { host: '::1', port: all.port });
    for (const host of ['127.0.0.1', '0.0.0.0', '::']) {
      expect((await failure(at(host, all.port))).code).toBe('EADDRINUSE');
    }
    expect(six.listening).toBe(true);
    await using one = await startServer(echo, { host: '127.0.0.2' });
    expect((await failure(at('0.0.0.0', one.port))).code).toBe('EADDRINUSE');
    await at('127.0.0.3', one.port);
    await at('127.0.0.3', one.port);
  });

  simulation('reusePort spreads connections', {}, async () => {
    const counts = [0, 0];
    const servers = [];
    let port = 0;
    for (const i of [0, 1]) {
      const handler = (): void => void (counts[i] = (counts[i] as number) + 1);
      const server = await startServer(handler, { host: localhost, port, reusePort: true });
      port = server.port;
      servers.push(server);
    }
    for (let i = 0; i < 10; i++) {
      await using client = await openConnection({ host: localhost, port });
      await client.readAll();
    }
    expect(counts).toEqual([5, 5]);
    for (const server of servers) await server[Symbol.asyncDispose]();
  });

  simulation('paths and abstract names', {}, async () => {
    for (const path of ['/run/service.sock', '\0abstract']) {
      const missing = path.startsWith('\0') ? 'ECONNREFUSED' : 'ENOENT';
      expect((await failure(openUnixConnection(path))).code).toBe(missing);
      const server = await startUnixServer(echo, path);
      expect((await failure(startUnixServer(echo, path))).code).toBe('EADDRINUSE');
      await using client = await openUnixConnection(path);
      await client.write('x');
      expect(String(await client.read())).toBe('x');
      await server[Symbol.asyncDispose]();
      expect((await failure(openUnixConnection(path))).code).toBe(missing);
    }
  });
});

describe('a full backlog', () => {
  simulation('lets further clients wait outside until there is room', {}, async () => {
    const options = { host: localhost, backlog: 2, start: false };
    const server = await startServer(echo, options);
    const { port } = server;
    const clients = [1, 2, 3, 4].map((id) =>
      createTask(async () => {
        await using client = await openConnection({ host: localhost, port });
        await client.write(`${id}`);
        return String(await client.read());
      }),
    );
    await waitAllTasksBlocked();
    expect(getRunningLoop().backendHandle.counters().connecting).toBe(2);
    const late = openConnection({ host: localhost, port, timeoutMs: 50 });
    expect(await failure(late)).toBeInstanceOf(TimeoutError);
    await server.start();
    expect(await Promise.all(clients)).toEqual(['1', '2', '3', '4']);
    await server[Symbol.asyncDispose]();
  });

  simulation('is reset and refused when the server closes', {}, async () => {
    const server = await startServer(echo, { host: localhost, backlog: 1, start: false });
    const { port } = server;
    const inside = createTask(async () => {
      await using client = await openConnection({ host: localhost, port });
      await client.read();
    });
    await waitAllTasksBlocked();
    const outside = createTask(() => openConnection({ host: localhost, port }));
    await waitAllTasksBlocked();
    server.close();
    expect((await failure(outside)).code).toBe('ECONNREFUSED');
    expect((await failure(inside)).cause).toMatchObject({ code: 'ECONNRESET' });
    await server.waitClosed();
  });
});

// covers: seeds/C26
describe('resets', () => {
  simulation('closing with unread bytes makes one; what came before is read', {}, async () => {
    await using server = await startServer(
      async (connection) => {
        await connection.write('last words');
        await connection.read(1);
        await sleep(5);
        // A megabyte waits behind the read-ahead.
        connection.abort();
      },
      { host: localhost },
    );
    await using client = await openConnection({ host: localhost, port: server.port });
    void client.write(Buffer.alloc(1024 * 1024));
    await sleep(10);
    expect(String(await client.readExactly(10))).toBe('last words');
    const error = await failure(client.read());
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause).toMatchObject({ code: 'ECONNRESET' });
  });

  simulation(
    'a breakRate of 1 breaks every connection that goes on',
    { breakRate: 1 },
    async () => {
      const reports: unknown[] = [];
      getRunningLoop().setExceptionHandler((_loop, context) => reports.push(context));
      await using server = await startServer(echo, { host: localhost });
      for (let i = 0; i < 20; i++) {
        await using client = await openConnection({ host: localhost, port: server.port });
        let answers = 0;
        const error = await failure(async () => {
          for (; answers < 10; answers++) {
            await client.write('ping');
            await client.readExactly(4);
          }
        });
        expect(error).toBeInstanceOf(BrokenResourceError);
        expect(answers).toBeLessThan(4);
      }
      await waitAllTasksBlocked();
      expect([server.connections, reports]).toEqual([0, []]);
    },
  );

  test('a breakRate of a half breaks about half of them, the same ones again', async () => {
    const broken = (seed: number): Promise<string> =>
      run(
        async () => {
          let seen = '';
          await using server = await startServer(echo, { host: localhost });
          for (let i = 0; i < 100; i++) {
            await using client = await openConnection({ host: localhost, port: server.port });
            try {
              for (let round = 0; round < 6; round++) {
                await client.write('ping');
                await client.readExactly(4);
              }
              seen += '.';
            } catch {
              seen += 'x';
            }
          }
          return seen;
        },
        { policy: simulated({ seed, breakRate: 0.5 }), handleSignals: false },
      );
    const first = await broken(3);
    expect(first.replaceAll('.', '').length).toBeGreaterThan(30);
    expect(first.replaceAll('.', '').length).toBeLessThan(70);
    expect(await broken(3)).toBe(first);
    expect(await broken(4)).not.toBe(first);
  });
});

test('a deadlock names reads and writes, as well', async () => {
  const main = async (): Promise<void> => {
    getRunningLoop().setExceptionHandler(() => {});
    // Both write until the other one reads.
    const flood = async (connection: Connection): Promise<void> => {
      for (;;) await connection.write(Buffer.alloc(100_000));
    };
    await using server = await startServer(flood, { host: localhost });
    await using client = await openConnection({ host: localhost, port: server.port });
    await flood(client);
  };
  const error = await failure(run(main, { policy: simulated(), handleSignals: false }));
  expect((error as DeadlockError).tasks).toEqual([
    'main waits for write',
    'Task-2 waits for write',
  ]);
});
