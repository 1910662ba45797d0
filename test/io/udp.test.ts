import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import {
  BusyResourceError,
  CancelledError,
  ClosedResourceError,
  isCancelled,
} from '../../lib/base/errors.ts';
import type { UdpSocket } from '../../lib/io/net-types.ts';
import { openUdpSocket } from '../../lib/io/udp-socket.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory } from '../support/policy.ts';
import { inRun, runTest } from '../task/support.ts';
import { errorOf, localhost, pattern, turn, until } from './support.ts';
import { at, openLocal, tryOpen, udpPair } from './udp-support.ts';

checkLeaks();

// covers: asyncio/create-datagram-endpoint, uvloop/udp
describe('sending and receiving', () => {
  test('a datagram arrives with the address of its sender', async () => {
    await using pair = await udpPair();
    await pair.client.send('hello');
    const { data, address } = await pair.server.receive();
    expect(String(data)).toBe('hello');
    expect(address).toEqual({ ...pair.client.localAddress, address: localhost });
    await pair.server.send('back', { host: address.address, port: address.port });
    const answer = await pair.client.receive();
    expect(String(answer.data)).toBe('back');
    expect(answer.address).toEqual(pair.server.localAddress);
  });

  test('addresses of an unconnected and a connected socket', async () => {
    await using pair = await udpPair();
    expect(pair.server.localAddress).toMatchObject({ address: localhost, family: 'IPv4' });
    expect(pair.server.localAddress.port).toBeGreaterThan(0);
    expect(pair.server.remoteAddress).toBe(null);
    expect(pair.client.remoteAddress).toEqual(pair.server.localAddress);
    expect(pair.client.localAddress.address).toBe(localhost);
    pair.server.close();
    expect(pair.server.localAddress.port).toBeGreaterThan(0);
  });

  test.each([
    ['text of several bytes a letter', 'žluťoučký 🐎'],
    ['an empty text', ''],
    ['an empty array', new Uint8Array(0)],
    ['one byte', Buffer.from([0])],
    ['1,472 bytes, a full frame', pattern(1472)],
    ['4,096 bytes', pattern(4096)],
    ['4,097 bytes', pattern(4097)],
    ['65,507 bytes, the most of IPv4', pattern(65_507)],
  ])('%s arrives whole', async (_title, data) => {
    await using pair = await udpPair();
    await pair.client.send(data);
    const got = await pair.server.receive();
    expect(got.data.equals(Buffer.from(data as string))).toBe(true);
  });

  test('datagrams keep their borders and, on loopback, their order', async () => {
    await using pair = await udpPair({ maxQueued: 1000 });
    for (let i = 0; i < 200; i++) await pair.client.send(`number ${i}`);
    for (let i = 0; i < 200; i++) {
      expect(String((await pair.server.receive()).data)).toBe(`number ${i}`);
    }
  });

  test('many in one turn, of all sizes, stay what they were', async () => {
    await using pair = await udpPair({ maxQueued: 1000 });
    const sizes = Array.from({ length: 60 }, (_, i) => (i * 97) % 3000);
    for (const [i, size] of sizes.entries()) void pair.client.send(pattern(size, i + 1));
    const kept: Buffer[] = [];
    for (const _ of sizes) kept.push((await pair.server.receive()).data);
    for (const [i, size] of sizes.entries()) {
      expect(kept[i]?.equals(pattern(size, i + 1))).toBe(true);
    }
  });

  test('the memory of what was sent may be used again at once', async () => {
    await using pair = await udpPair();
    const memory = Buffer.from('first');
    const sent = pair.client.send(memory);
    memory.write('xxxxx');
    await sent;
    expect(String((await pair.server.receive()).data)).toBe('first');
  });

  test('what was received is the receiver’s own, and stays', async () => {
    await using pair = await udpPair({ maxQueued: 1000 });
    const kept: Buffer[] = [];
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 10; i++) await pair.client.send(pattern(1000, round * 10 + i));
      for (let i = 0; i < 10; i++) kept.push((await pair.server.receive()).data);
    }
    kept[0]?.fill(0);
    for (const [i, data] of kept.entries()) {
      if (i > 0) expect(data.equals(pattern(1000, i))).toBe(true);
    }
  });

  test('one socket hears of many peers', async () => {
    await using server = await openLocal();
    const clients = await Promise.all(Array.from({ length: 20 }, () => openLocal()));
    for (const [i, client] of clients.entries()) await client.send(`${i}`, at(server));
    const seen = new Map<number, string>();
    for (const _ of clients) {
      const { data, address } = await server.receive();
      seen.set(address.port, String(data));
    }
    for (const [i, client] of clients.entries()) {
      expect(seen.get(client.localAddress.port)).toBe(`${i}`);
      await client[Symbol.asyncDispose]();
    }
  });

  test('a connected socket hears of its peer only', async () => {
    await using pair = await udpPair();
    await using stranger = await openLocal();
    await stranger.send('strange', at(pair.client));
    await pair.client.send('ping');
    const { address } = await pair.server.receive();
    await pair.server.send('pong', { host: address.address, port: address.port });
    expect(String((await pair.client.receive()).data)).toBe('pong');
  });

  test('addresses of datagrams cannot be changed, as they are shared', async () => {
    await using pair = await udpPair();
    await pair.client.send('a');
    const { address } = await pair.server.receive();
    expect(Object.isFrozen(address)).toBe(true);
  });

  test('localPort is kept, and free again after close', async () => {
    const first = await openLocal();
    const { port } = first.localAddress;
    await first[Symbol.asyncDispose]();
    await using second = await openLocal({ localPort: port });
    expect(second.localAddress.port).toBe(port);
  });

  test('a connected socket can be bound, too', async () => {
    await using server = await openLocal();
    await using client = await openUdpSocket({
      localHost: '127.0.0.1',
      remoteHost: localhost,
      remotePort: server.localAddress.port,
    });
    await client.send('x');
    expect((await server.receive()).address).toEqual(client.localAddress);
  });
});

describe('IPv6', () => {
  test('both ways', async (context) => {
    const server = await tryOpen({ localHost: '::1' });
    if (server === null) return context.skip();
    await using closing = server;
    await using client = await openUdpSocket({
      remoteHost: '::1',
      remotePort: server.localAddress.port,
    });
    await client.send('six');
    const { data, address } = await closing.receive();
    expect(String(data)).toBe('six');
    expect(address).toEqual(client.localAddress);
    expect(address).toMatchObject({ address: '::1', family: 'IPv6' });
    await server.send('back', { host: '::1', port: address.port });
    expect(String((await client.receive()).data)).toBe('back');
    const most = pattern(65_527);
    await client.send(most);
    expect((await server.receive()).data.equals(most)).toBe(true);
    expect((await errorOf(client.send(pattern(65_528)))).code).toBe('EMSGSIZE');
  });

  test('a socket of family 6 talks to IPv4 peers', async (context) => {
    const six = await tryOpen({ family: 6 });
    if (six === null) return context.skip();
    await using closing = six;
    await using four = await openLocal();
    await closing.send('to four', at(four));
    const { data, address } = await four.receive();
    expect(String(data)).toBe('to four');
    await four.send('to six', { host: localhost, port: address.port });
    expect((await six.receive()).address.address).toBe('::ffff:127.0.0.1');
  });

  test('an IPv4 socket does not reach an IPv6 address', async () => {
    await using socket = await openLocal();
    expect((await errorOf(socket.send('x', { host: '::1', port: 9 }))).code).toBe('EAFNOSUPPORT');
  });
});

describe('the queue of received datagrams', () => {
  test('above maxQueued the later ones are dropped and counted', async () => {
    await using pair = await udpPair({ maxQueued: 3 });
    for (let i = 0; i < 10; i++) await pair.client.send(`${i}`);
    await until(() => pair.server.dropped === 7);
    const kept: string[] = [];
    for (let i = 0; i < 3; i++) kept.push(String((await pair.server.receive()).data));
    expect(kept).toEqual(['0', '1', '2']);
    await pair.client.send('next');
    expect(String((await pair.server.receive()).data)).toBe('next');
    expect(pair.server.dropped).toBe(7);
  });

  test('the default keeps 64', async () => {
    await using pair = await udpPair();
    for (let i = 0; i < 70; i++) await pair.client.send(`${i}`);
    await until(() => pair.server.dropped === 6);
  });

  test('maxQueued Infinity keeps all', async () => {
    await using pair = await udpPair({ maxQueued: Infinity });
    for (let i = 0; i < 100; i++) await pair.client.send(`${i}`);
    for (let i = 0; i < 100; i++) await pair.server.receive();
    expect(pair.server.dropped).toBe(0);
  });
});

describe('receiving and cancellation', () => {
  test('a second receiver is refused, the first one goes on', async () => {
    await using pair = await udpPair();
    const first = pair.server.receive();
    expect(await errorOf(pair.server.receive())).toBeInstanceOf(BusyResourceError);
    const loop = pair.server[Symbol.asyncIterator]();
    expect(await errorOf(loop.next())).toBeInstanceOf(BusyResourceError);
    await pair.client.send('x');
    expect(String((await first).data)).toBe('x');
  });

  test('a cancelled receive loses no datagram', async () => {
    await using pair = await udpPair();
    const task = createTask(() => pair.server.receive());
    await sleep(0);
    task.cancel();
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
    await pair.client.send('kept');
    expect(String((await pair.server.receive()).data)).toBe('kept');
  });

  test('cancelled in the turn of its arrival, a datagram is either taken or kept', async () => {
    await using pair = await udpPair({ maxQueued: 100 });
    const got: string[] = [];
    for (let i = 0; i < 20; i++) {
      const task = createTask(async () => {
        got.push(String((await pair.server.receive()).data));
      });
      await sleep(0);
      await pair.client.send(`${i}`);
      for (let turns = i % 4; turns > 0; turns--) await turn();
      task.cancel();
      await task.catch(() => {});
    }
    const ended = await moveOnAfter(2000, async () => {
      while (got.length < 20) got.push(String((await pair.server.receive()).data));
      return true;
    });
    expect(ended).toBe(true);
    expect(got).toEqual(Array.from({ length: 20 }, (_, i) => `${i}`));
  });

  test('a signal ends a receive with its reason', async () => {
    await using pair = await udpPair();
    const controller = new AbortController();
    const waiting = pair.server.receive({ signal: controller.signal });
    controller.abort(new Error('enough'));
    expect((await errorOf(waiting)).message).toBe('enough');
    const aborted = pair.server.receive({ signal: AbortSignal.abort(new Error('never')) });
    expect((await errorOf(aborted)).message).toBe('never');
    await pair.client.send('still here');
    expect(String((await pair.server.receive()).data)).toBe('still here');
  });

  runTest('a scope ends it, and the task goes on', async () => {
    await using pair = await udpPair();
    const result = await moveOnAfter(5, () => pair.server.receive());
    expect(result).toBe(undefined);
    await pair.client.send('later');
    expect(String((await pair.server.receive()).data)).toBe('later');
  });

  runTest('in a cancelled task neither receive nor send begin', async () => {
    await using pair = await udpPair();
    await pair.client.send('waits');
    for (let i = 0; i < 5; i++) await turn();
    const task = createTask(async () => {
      task.cancel();
      const errors: unknown[] = [];
      await pair.server.receive().catch((error) => errors.push(error));
      task.cancel();
      await pair.client.send('never').catch((error) => errors.push(error));
      return errors;
    });
    const errors = await task;
    expect(errors.map(isCancelled)).toEqual([true, true]);
    expect(String((await pair.server.receive()).data)).toBe('waits');
    expect(await moveOnAfter(5, () => pair.server.receive())).toBe(undefined);
  });

  runTest('for await gives datagrams, and leaving it keeps the socket', async () => {
    await using pair = await udpPair();
    for (const text of ['a', 'b', 'c']) await pair.client.send(text);
    const seen: string[] = [];
    for await (const { data } of pair.server) {
      seen.push(String(data));
      if (seen.length === 2) break;
    }
    expect(seen).toEqual(['a', 'b']);
    expect(String((await pair.server.receive()).data)).toBe('c');
  });

  runTest('an echo server of a task group', async () => {
    await using server = await openLocal();
    await taskGroup(async (group) => {
      const serving = group.startSoon(async () => {
        for await (const { data, address } of server) {
          await server.send(data, { host: address.address, port: address.port });
        }
      });
      await using client = await openUdpSocket({
        remoteHost: localhost,
        remotePort: server.localAddress.port,
      });
      for (let i = 0; i < 10; i++) {
        await client.send(`ping ${i}`);
        expect(String((await client.receive()).data)).toBe(`ping ${i}`);
      }
      serving.cancel();
    });
  });
});

describe('closing', () => {
  test('a waiting receive and all later calls meet ClosedResourceError', async () => {
    const socket = await openLocal();
    const waiting = errorOf(socket.receive());
    socket.close();
    socket.close();
    expect(await waiting).toBeInstanceOf(ClosedResourceError);
    expect(await errorOf(socket.receive())).toBeInstanceOf(ClosedResourceError);
    expect(await errorOf(socket.send('x', at(socket)))).toBeInstanceOf(ClosedResourceError);
    expect(() => socket.setTTL(1)).toThrow(ClosedResourceError);
    await socket[Symbol.asyncDispose]();
    await socket[Symbol.asyncDispose]();
  });

  test('what was sent before close arrives', async () => {
    await using pair = await udpPair();
    void pair.client.send('last words');
    pair.client.close();
    expect(String((await pair.server.receive()).data)).toBe('last words');
  });

  test('datagrams that nobody has received are dropped', async () => {
    await using pair = await udpPair();
    await pair.client.send('unread');
    for (let i = 0; i < 5; i++) await turn();
    pair.server.close();
    expect(await errorOf(pair.server.receive())).toBeInstanceOf(ClosedResourceError);
  });

  test('a loop over datagrams ends with ClosedResourceError', async () => {
    const socket = await openLocal();
    const loop = (async () => {
      for await (const _ of socket) expect.unreachable();
    })();
    await turn();
    socket.close();
    expect(await errorOf(loop)).toBeInstanceOf(ClosedResourceError);
  });

  runTest('asyncDispose in a cancelled task closes all the same', async () => {
    let socket: UdpSocket | undefined;
    const task = createTask(async () => {
      await using mine = await openLocal();
      socket = mine;
      await mine.receive();
    });
    await until(() => socket !== undefined);
    task.cancel();
    expect(isCancelled(await errorOf(task))).toBe(true);
    expect(await errorOf((socket as UdpSocket).receive())).toBeInstanceOf(ClosedResourceError);
  });

  test('a run that ends closes what was left open', async () => {
    let left: UdpSocket | undefined;
    await inRun(async () => {
      left = await openLocal();
    });
    expect(
      await errorOf((left as UdpSocket).send('x', { host: localhost, port: 9 })),
    ).toBeInstanceOf(ClosedResourceError);
  });
});

describe.skipIf(inMemory)('with others', () => {
  test('node:dgram, both ways', async () => {
    await using socket = await openLocal();
    const peer = createSocket('udp4');
    peer.bind(0, localhost);
    await once(peer, 'listening');
    peer.send('from node', socket.localAddress.port, localhost);
    const { data, address } = await socket.receive();
    expect(String(data)).toBe('from node');
    expect(address.port).toBe(peer.address().port);
    const heard = once(peer, 'message');
    await socket.send('from uvio', { host: localhost, port: address.port });
    expect(String((await heard)[0])).toBe('from uvio');
    peer.close();
  });
});
