/** The rules of lib/loop/backend.ts, by number, on the backend of the policy under test. */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { StreamHandle } from '../../lib/loop/backend.ts';
import { runningLoop } from '../../lib/loop/event-loop.ts';
import { inMemory } from '../support/policy.ts';
import {
  bench,
  benchForEach,
  connect,
  connectDefaults,
  Recorder,
  tcpDefaults,
  turns,
  unixPath,
} from './backend-support.ts';

benchForEach();

describe.each(['tcp', 'unix'] as const)('%s', (family) => {
  test('bytes go both ways, then each side ends', async () => {
    const { client, server, c, s } = await bench.pair(family);
    // A backend may collect the writes of a turn.
    expect(c.write('grüße')).toBeLessThanOrEqual(7);
    expect(c.write(new Uint8Array([1, 2, 3]))).toBeLessThanOrEqual(10);
    await server.until(() => server.bytes === 10);
    expect(server.received).toEqual(Buffer.concat([Buffer.from('grüße'), Buffer.from([1, 2, 3])]));
    s.write(Buffer.from('back'));
    await client.until(() => client.bytes === 4);
    c.shutdown();
    c.shutdown();
    expect(c.write('lost')).toBe(0);
    await server.until(() => server.events.includes('eof'));
    // Half-open: the other direction still works.
    s.write('more');
    await client.until(() => client.bytes === 8);
    s.close();
    await server.closed();
    await client.until(() => client.events.includes('eof'));
    c.close();
    await client.closed();
    expect(client.error).toBeUndefined();
    expect(server.error).toBeUndefined();
    expect(client.events.at(-1)).toBe('closed');
  });

  test('close() flushes a large buffer first', async () => {
    const { client, server, c } = await bench.pair(family);
    const data = Buffer.alloc(20_000_000, 'abcdefg');
    expect(c.write(data)).toBeGreaterThan(0);
    c.close();
    c.close();
    expect(c.write('late')).toBe(0);
    await server.until(() => server.events.includes('eof'));
    expect(server.bytes).toBe(data.length);
    expect(server.received.equals(data)).toBe(true);
    await client.closed();
  });

  test('rule 1: nothing is called from inside a call', async () => {
    let inside = false;
    const bad: string[] = [];
    const watch = (recorder: Recorder): void => {
      for (const name of ['data', 'eof', 'drain', 'closed'] as const) {
        recorder.hooks[name] = () => inside && bad.push(name);
      }
    };
    const { client, server, c, s } = await bench.pair(family, watch);
    watch(client);
    const call = (fn: () => void): void => {
      inside = true;
      fn();
      inside = false;
    };
    call(() => s.pause());
    call(() => void c.write(Buffer.alloc(1000)));
    await turns();
    call(() => s.resume());
    call(() => c.notifyDrain(0));
    await client.until(() => client.events.includes('drain'));
    await server.until(() => server.bytes === 1000);
    call(() => s.shutdown());
    await client.until(() => client.events.includes('eof'));
    call(() => s.close());
    call(() => c.abort());
    await Promise.all([client.closed(), server.closed()]);
    expect(bad).toEqual([]);
  });

  test('rule 2: onClosed comes once and last, after abort and after close + abort', async () => {
    const { client, server, c, s } = await bench.pair(family);
    c.write('x');
    c.abort();
    c.abort();
    c.close();
    await client.closed();
    await server.until(() => server.events.includes('eof') || server.closes > 0);
    s.close();
    s.abort();
    await server.closed();
    await turns();
    expect([client.closes, server.closes]).toEqual([1, 1]);
    expect(client.error).toBeUndefined();
    expect(client.events.at(-1)).toBe('closed');
    expect(server.events.at(-1)).toBe('closed');
  });

  test('rule 2: a stream whose both ends have ended is open until it is closed', async () => {
    const { client, server, c, s } = await bench.pair(family);
    c.shutdown();
    s.shutdown();
    await client.until(() => client.events.includes('eof'));
    await server.until(() => server.events.includes('eof'));
    await turns();
    expect([client.closes, server.closes]).toEqual([0, 0]);
    c.close();
    s.abort();
    await Promise.all([client.closed(), server.closed()]);
  });

  test('rule 3: paused, neither data nor the end come', async () => {
    const { client, server, c, s } = await bench.pair(family);
    s.pause();
    s.pause();
    c.write('held');
    c.shutdown();
    await turns(20);
    expect(server.events).toEqual([]);
    s.resume();
    await server.until(() => server.events.includes('eof'));
    expect(server.received.toString()).toBe('held');
    expect(client.closes).toBe(0);
  });

  test('rule 3: only the end is held', async () => {
    const { server, c, s } = await bench.pair(family);
    s.pause();
    c.shutdown();
    await turns(20);
    expect(server.events).toEqual([]);
    s.resume();
    s.pause();
    await turns(20);
    expect(server.events).toEqual([]);
    s.resume();
    await server.until(() => server.events.includes('eof'));
    expect(server.events).toEqual(['eof']);
  });

  test('rule 3: pausing inside onData holds the rest', async () => {
    const { server, c, s } = await bench.pair(family);
    const data = Buffer.alloc(1_000_000, '0123456789');
    let paused = false;
    server.hooks.data = () => {
      expect(paused).toBe(false);
      paused = true;
      s.pause();
      setImmediate(() => {
        paused = false;
        s.resume();
      });
    };
    c.write(data);
    c.shutdown();
    await server.until(() => server.events.includes('eof'));
    expect(server.received.equals(data)).toBe(true);
  });

  test('rule 4: memory given to write may be reused at once', async () => {
    const { server, c, s } = await bench.pair(family);
    s.pause();
    const size = 40_000;
    const scratch = Buffer.alloc(size);
    const expected: Buffer[] = [];
    for (let i = 0; i < 60; i++) {
      scratch.fill(i);
      expected.push(Buffer.from(scratch));
      c.write(scratch);
      scratch.fill(255);
    }
    s.resume();
    await server.until(() => server.bytes === size * 60);
    expect(server.received.equals(Buffer.concat(expected))).toBe(true);
  });

  test('rule 5: a chunk stays as it was', async () => {
    const { server, c } = await bench.pair(family);
    for (let i = 0; i < 50; i++) {
      c.write(Buffer.alloc(3000, i));
      await server.until(() => server.bytes === 3000 * (i + 1));
    }
    const all = server.received;
    for (let i = 0; i < 50; i++) expect(all[i * 3000]).toBe(i);
  });

  test('rule 6: a sink that throws is reported; the stream goes on', async () => {
    const { server, c, s } = await bench.pair(family);
    const boom = new Error('boom');
    for (const name of ['data', 'eof', 'closed'] as const) {
      server.hooks[name] = () => {
        throw boom;
      };
    }
    c.write('one');
    await server.until(() => server.bytes === 3);
    await turns();
    c.write('two');
    await server.until(() => server.bytes === 6);
    c.shutdown();
    await server.until(() => server.events.includes('eof'));
    s.close();
    await server.closed();
    await turns();
    expect(bench.errors.length).toBeGreaterThanOrEqual(4);
    expect(new Set(bench.errors)).toEqual(new Set([boom]));
  });

  test('rule 7: paused in onConnection, nothing is read', async () => {
    const { server, c, s } = await bench.pair(family, (_recorder, stream) => stream.pause());
    c.write('early');
    await turns(20);
    expect(server.events).toEqual([]);
    s.resume();
    await server.until(() => server.bytes === 5);
  });

  test('readInto: the memory of the sink is filled', async () => {
    const { server, c, s } = await bench.pair(family);
    s.setReadInto(true);
    c.write('0123456789abcdef');
    await server.until(() => server.bytes === 16);
    expect(server.events.every((event) => event === 'filled')).toBe(true);
    expect(server.received.toString()).toBe('0123456789abcdef');
    s.setReadInto(false);
    c.write('then');
    await server.until(() => server.bytes === 20);
    expect(server.events.at(-1)).toBe('data');
  });

  test('notifyDrain: once, when no more than that is buffered', async () => {
    const { client, server, c, s } = await bench.pair(family);
    s.pause();
    const low = 50_000;
    let buffered = 0;
    while (buffered < 2_000_000) buffered = c.write(Buffer.alloc(100_000));
    expect(c.bufferedBytes).toBe(buffered);
    expect(bench.backend.counters().writeBufferBytes).toBe(buffered);
    c.notifyDrain(low);
    await turns();
    expect(client.events).toEqual([]);
    client.hooks.drain = () => expect(c.bufferedBytes).toBeLessThanOrEqual(low);
    s.resume();
    await client.until(() => client.events.includes('drain'));
    await turns();
    expect(client.events).toEqual(['drain']);
    c.close();
    await server.until(() => server.events.includes('eof'));
    expect(server.bytes % 100_000).toBe(0);
    expect(bench.errors).toEqual([]);
  });

  test('callbacks run as the running loop, in the context of the sink', async () => {
    const storage = new AsyncLocalStorage<string>();
    const resource = storage.run('mine', () => new AsyncResource('test'));
    const seen: unknown[] = [];
    const { server, c } = await bench.pair(family, (recorder) => {
      recorder.context = { run: (fn, arg) => void resource.runInAsyncScope(fn, null, arg) };
      recorder.hooks.data = () => seen.push(storage.getStore(), runningLoop() === bench.loop);
    });
    c.write('x');
    await server.until(() => server.bytes === 1);
    await turns();
    expect(seen).toEqual(['mine', true]);
    expect(runningLoop()).toBeUndefined();
  });

  test('closing the backend aborts what is open', async () => {
    const { client, server, c } = await bench.pair(family);
    const listener = bench.listen(family);
    await listener.listening;
    c.write('x');
    await bench.end();
    await listener.gone;
    expect([client.closes, server.closes]).toEqual([1, 1]);
  });
});

describe('addresses and options', () => {
  test('tcp addresses, kept after the end once asked for', async () => {
    const listener = bench.listen();
    const address = await listener.listening;
    expect(address).toMatchObject({ address: '127.0.0.1', family: 'IPv4' });
    const client = await connect(bench.backend, address);
    const server = await listener.connection(0);
    const [c, s] = [client.handle as StreamHandle, server.handle as StreamHandle];
    expect(c.remoteAddress()).toEqual(address);
    expect(s.localAddress()).toEqual(address);
    expect(s.remoteAddress()).toEqual(c.localAddress());
    expect([c.fd, listener.handle.fd].every((fd) => (fd ?? 0) > 0)).toBe(!inMemory);
    s.setNoDelay(false);
    s.setKeepAlive(true, 10_000);
    s.unref();
    s.ref();
    listener.handle.unref();
    listener.handle.ref();
    c.close();
    await client.closed();
    expect(c.remoteAddress()).toEqual(address);
    expect(c.fd).toBeNull();
  });

  test('a local address to connect from', async () => {
    const listener = bench.listen();
    const address = await listener.listening;
    await connect(bench.backend, address, { localHost: '127.0.0.2' });
    const server = await listener.connection(0);
    expect(server.handle?.remoteAddress()?.address).toBe('127.0.0.2');
  });

  test('ipv6Only leaves the port to IPv4', async () => {
    const six = bench.listen('tcp', { host: '::', ipv6Only: true });
    const address = await six.listening.catch(() => null);
    if (address === null) return;
    const four = bench.listen('tcp', { host: '0.0.0.0', port: address.port });
    expect((await four.listening).port).toBe(address.port);
  });

  test('reusePort shares a port, or says ENOTSUP', async () => {
    const first = bench.listen('tcp', { reusePort: true });
    const address = await first.listening.catch((error) => error);
    if (address instanceof Error) {
      expect(address).toMatchObject({ code: 'ENOTSUP', syscall: 'listen' });
      return;
    }
    const second = bench.listen('tcp', { reusePort: true, port: address.port });
    expect((await second.listening).port).toBe(address.port);
  });

  test('unix addresses; the file is gone after close', async () => {
    const listener = bench.listen('unix');
    const address = await listener.listening;
    const client = await connect(bench.backend, address);
    const server = await listener.connection(0);
    expect(address).toMatchObject({ port: 0, family: 'unix' });
    expect(client.handle?.remoteAddress()).toEqual(address);
    expect(server.handle?.localAddress()).toEqual(address);
    expect(existsSync(address.address)).toBe(!inMemory);
    listener.handle.close();
    await listener.gone;
    expect(existsSync(address.address)).toBe(false);
  });

  test.runIf(process.platform === 'linux')('abstract names', async () => {
    const path = `\0uvio-${process.pid}`;
    const address = await new Promise<{ address: string }>((resolve, reject) => {
      const sink = {
        onListening: resolve,
        onListenError: reject,
        onConnection(stream: StreamHandle): void {
          stream.sink = new Recorder();
        },
        onAcceptError(): void {},
        onListenerClosed(): void {},
      };
      bench.backend.listenUnix({ path, backlog: 5, paused: false }, sink);
    });
    expect(address.address).toBe(path);
    await connect(bench.backend, { address: path, port: 0, family: 'unix' });
  });

  test('a paused listener holds connections back', async () => {
    const listener = bench.listen('tcp', { paused: true });
    const address = await listener.listening;
    const client = await connect(bench.backend, address);
    client.handle?.write('hello');
    await turns(20);
    expect(listener.accepted).toEqual([]);
    listener.handle.resume();
    const server = await listener.connection(0);
    await server.until(() => server.bytes === 5);
    listener.handle.pause();
    await connect(bench.backend, address);
    await turns(20);
    expect(listener.accepted.length).toBe(1);
  });

  test('lookup', async () => {
    const found = await new Promise((resolve) => {
      bench.backend.lookup('127.0.0.1', 0, (error, addresses) => resolve([error, addresses]));
    });
    expect(found).toEqual([null, [{ address: '127.0.0.1', family: 4 }]]);
    const cancel = bench.backend.lookup('localhost', 4, () => expect.unreachable());
    cancel();
    await turns();
  });
});

describe('rule 8: errors of Node’s shape', () => {
  test('a port in use', async () => {
    const first = bench.listen();
    const { port } = await first.listening;
    const second = bench.listen('tcp', { port });
    const error = await second.listening.catch((reason) => reason);
    expect(error).toMatchObject({
      code: 'EADDRINUSE',
      syscall: 'listen',
      address: '127.0.0.1',
      port,
      message: `listen EADDRINUSE: address already in use 127.0.0.1:${port}`,
    });
  });

  test('nobody listens', async () => {
    const listener = bench.listen();
    const address = await listener.listening;
    listener.handle.close();
    await listener.gone;
    const error = await connect(bench.backend, address).catch((reason) => reason);
    expect(error).toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address: '127.0.0.1',
      port: address.port,
      message: `connect ECONNREFUSED 127.0.0.1:${address.port}`,
    });
    const path = unixPath();
    const missing = await connect(bench.backend, { address: path, port: 0, family: 'unix' }).catch(
      (reason) => reason,
    );
    expect(missing).toMatchObject({ code: 'ENOENT', syscall: 'connect', address: path });
  });

  test('a UNIX path that is too long', async () => {
    const path = `/tmp/${'x'.repeat(120)}`;
    const target = { address: path, port: 0, family: 'unix' } as const;
    const connecting = await connect(bench.backend, target).catch((reason) => reason);
    expect(connecting).toMatchObject({ code: 'ENAMETOOLONG', syscall: 'connect', address: path });
    const listening = await new Promise<Error>((resolve) => {
      const sink = {
        onListening: (): void => expect.unreachable(),
        onListenError: resolve,
        onConnection(): void {},
        onAcceptError(): void {},
        onListenerClosed(): void {},
      };
      bench.backend.listenUnix({ path, backlog: 5, paused: false }, sink);
    });
    expect(listening).toMatchObject({ code: 'ENAMETOOLONG', syscall: 'listen', address: path });
  });

  test('a reset by the peer', async () => {
    const { client, server, c, s } = await bench.pair();
    s.pause();
    c.write('unread');
    await turns(20);
    // Closing with unread data makes the kernel send RST.
    s.abort();
    await server.closed();
    await client.until(() => client.closes > 0 || client.events.includes('eof'));
    if (client.closes > 0) expect(client.error).toMatchObject({ code: 'ECONNRESET' });
  });

  test('a write finds the reset of the peer and tells it by its name', async () => {
    const listener = bench.listen();
    const { port } = await listener.listening;
    const peer = bench.foreignClient(port);
    await once(peer, 'connect');
    const server = await listener.connection(0);
    peer.resetAndDestroy();
    server.handle?.write(Buffer.from('x'));
    await server.closed();
    expect(server.error).toMatchObject({ code: 'ECONNRESET', errno: expect.any(Number) });
  });

  test('a cancelled connect says nothing', async () => {
    const listener = bench.listen('tcp', tcpDefaults);
    const { port } = await listener.listening;
    const sink = {
      onConnect: (): void => expect.unreachable(),
      onConnectError: (): void => expect.unreachable(),
    };
    const request = bench.backend.connectTcp({ ...connectDefaults, port }, sink);
    request.cancel();
    request.cancel();
    expect(bench.backend.counters().connecting).toBe(0);
    await turns(20);
  });
});
