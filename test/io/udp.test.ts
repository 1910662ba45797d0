import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import {
  BusyResourceError,
  CancelledError,
  ClosedResourceError,
  isCancelled,
} from '../../lib/base/errors.ts';
import type { UdpOptions, UdpSocket } from '../../lib/io/net-types.ts';
import { openUdpSocket } from '../../lib/io/udp-socket.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory } from '../support/policy.ts';
import { inRun, runTest } from '../task/support.ts';
import { errorOf, localhost, pattern, turn, until } from './support.ts';
import { at, openLocal, udpPair } from './udp-support.ts';

checkLeaks();

/** IPv6 on loopback is missing on some machines. */
async function tryOpen(options: UdpOptions): Promise<UdpSocket | null> {
  try {
    return await openUdpSocket(options);
  } catch {
    return null;
  }
}

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

describe('errors', () => {
  test('a connected peer that does not listen: ECONNREFUSED, and the socket goes on', async () => {
    const gone = await openLocal();
    const { port } = gone.localAddress;
    await using client = await openUdpSocket({ remoteHost: localhost, remotePort: port });
    await gone[Symbol.asyncDispose]();
    const waiting = errorOf(client.receive());
    await client.send('anyone?');
    expect(await waiting).toMatchObject({ code: 'ECONNREFUSED', syscall: 'recvmsg' });
    await using back = await openLocal({ localPort: port });
    await client.send('now');
    expect(String((await back.receive()).data)).toBe('now');
  });

  test('without a waiting receiver the next send or receive tells of it, once', async () => {
    const gone = await openLocal();
    const { port } = gone.localAddress;
    await using client = await openUdpSocket({ remoteHost: localhost, remotePort: port });
    await gone[Symbol.asyncDispose]();
    await client.send('first');
    for (let i = 0; i < 10; i++) await turn();
    expect((await errorOf(client.send('second'))).code).toBe('ECONNREFUSED');
    const receiving = client.receive();
    await using back = await openLocal({ localPort: port });
    await client.send('third');
    const { address } = await back.receive();
    await back.send('here', { host: localhost, port: address.port });
    expect(String((await receiving).data)).toBe('here');
  });

  test('an unconnected socket hears nothing of it', async () => {
    const gone = await openLocal();
    const target = at(gone);
    await gone[Symbol.asyncDispose]();
    await using socket = await openLocal();
    await socket.send('anyone?', target);
    for (let i = 0; i < 10; i++) await turn();
    await socket.send('me', at(socket));
    expect(String((await socket.receive()).data)).toBe('me');
  });

  test('a datagram that is too long: EMSGSIZE at once', async () => {
    await using pair = await udpPair();
    const error = await errorOf(pair.client.send(pattern(65_508)));
    expect(error).toMatchObject({ code: 'EMSGSIZE', syscall: 'send' });
    const text = 'ř'.repeat(32_754);
    expect((await errorOf(pair.client.send(text))).code).toBe('EMSGSIZE');
    await pair.client.send('short');
    expect(String((await pair.server.receive()).data)).toBe('short');
  });

  test('sending without a peer, or to another than the connected one', async () => {
    await using pair = await udpPair();
    expect((await errorOf(pair.server.send('x'))).code).toBe('EDESTADDRREQ');
    expect((await errorOf(pair.client.send('x', at(pair.server)))).code).toBe('EISCONN');
  });

  test('a port in use', async () => {
    await using first = await openLocal();
    const { port } = first.localAddress;
    const error = await errorOf(openLocal({ localPort: port }));
    expect(error).toMatchObject({ code: 'EADDRINUSE', syscall: 'bind', address: localhost, port });
    expect(error.message).toBe(`bind EADDRINUSE: address already in use ${localhost}:${port}`);
  });

  test('an address that is not of this machine', async () => {
    const error = await errorOf(openUdpSocket({ localHost: '192.0.2.1' }));
    expect(error).toMatchObject({ code: 'EADDRNOTAVAIL', syscall: 'bind' });
  });

  test('a local address of another family than the peer’s', async () => {
    const options = { localHost: localhost, remoteHost: '::1', remotePort: 9 };
    expect((await errorOf(openUdpSocket(options))).code).toBe('EADDRNOTAVAIL');
  });

  test('a broadcast needs to be allowed', async () => {
    await using socket = await openUdpSocket();
    await socket.send('x', { host: '255.255.255.255', port: 9 });
    const error = await errorOf(socket.receive());
    // A machine without a network cannot even route it.
    expect(['EACCES', 'ENETUNREACH']).toContain(error.code);
    if (error.code === 'EACCES') {
      expect(error).toMatchObject({ syscall: 'send', address: '255.255.255.255', port: 9 });
    }
  });

  const bad: [string, UdpOptions, string][] = [
    ['options that are no object', 7 as never, 'ERR_INVALID_ARG_TYPE'],
    ['a localPort of -1', { localPort: -1 }, 'ERR_SOCKET_BAD_PORT'],
    ['an empty localHost', { localHost: '' }, 'ERR_INVALID_ARG_TYPE'],
    ['a remoteHost without a port', { remoteHost: localhost }, 'ERR_INVALID_ARG_TYPE'],
    ['a remotePort without a host', { remotePort: 1 }, 'ERR_INVALID_ARG_TYPE'],
    ['a remotePort of 0', { remoteHost: localhost, remotePort: 0 }, 'ERR_SOCKET_BAD_PORT'],
    ['family 5', { family: 5 as never }, 'ERR_INVALID_ARG_TYPE'],
    ['maxQueued 0', { maxQueued: 0 }, 'ERR_OUT_OF_RANGE'],
    ['maxQueued NaN', { maxQueued: Number.NaN }, 'ERR_OUT_OF_RANGE'],
    ['reusePort as a number', { reusePort: 1 as never }, 'ERR_INVALID_ARG_TYPE'],
    ['a lookup that is no function', { lookup: {} as never }, 'ERR_INVALID_ARG_TYPE'],
  ];
  test.each(bad)('%s is refused', async (_title, options, code) => {
    expect((await errorOf(openUdpSocket(options))).code).toBe(code);
  });

  const badSends: [string, unknown, unknown, string][] = [
    ['a number', 7, undefined, 'ERR_INVALID_ARG_TYPE'],
    ['no host', 'x', { port: 1 }, 'ERR_INVALID_ARG_TYPE'],
    ['a target that is a text', 'x', 'localhost', 'ERR_INVALID_ARG_TYPE'],
    ['port 0', 'x', { host: localhost, port: 0 }, 'ERR_SOCKET_BAD_PORT'],
    ['port 65536', 'x', { host: localhost, port: 65_536 }, 'ERR_SOCKET_BAD_PORT'],
  ];
  test.each(badSends)('sending %s is refused', async (_title, data, to, code) => {
    await using socket = await openLocal();
    const target = to === undefined ? at(socket) : to;
    expect((await errorOf(socket.send(data as string, target as never))).code).toBe(code);
  });
});

describe('settings', () => {
  test('values out of range are the system’s errors', async () => {
    await using socket = await openLocal();
    socket.setTTL(10);
    socket.setMulticastTTL(0);
    socket.setMulticastLoopback(false);
    socket.setBroadcast(true);
    expect(() => socket.setTTL(0)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => socket.setTTL(256)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => socket.setMulticastTTL(256)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => socket.setTTL(1.5)).toThrow(TypeError);
    expect(() => socket.setBroadcast(1 as never)).toThrow(TypeError);
    expect(() => socket.addMembership('10.0.0.1')).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
    expect(() => socket.addMembership('')).toThrow(TypeError);
  });

  test('a group: members get what is sent to it, until they leave', async (context) => {
    const group = '239.255.77.77';
    await using member = await openUdpSocket({ maxQueued: 10 });
    const { port } = member.localAddress;
    await using sender = await openLocal();
    try {
      member.addMembership(group, localhost);
      sender.setMulticastInterface(localhost);
    } catch {
      return context.skip();
    }
    sender.setMulticastTTL(0);
    await sender.send('to all', { host: group, port });
    expect(String((await member.receive()).data)).toBe('to all');
    expect(() => member.addMembership(group, localhost)).toThrow(
      expect.objectContaining({ code: 'EADDRINUSE' }),
    );
    member.dropMembership(group, localhost);
    expect(() => member.dropMembership(group, localhost)).toThrow(
      expect.objectContaining({ code: 'EADDRNOTAVAIL' }),
    );
    await sender.send('gone', { host: group, port });
    await sender.send('direct', { host: localhost, port });
    expect(String((await member.receive()).data)).toBe('direct');
  });

  // On a real machine this needs an interface other than loopback, where all is looped back.
  test.runIf(inMemory)('without loopback members of this machine get nothing', async () => {
    const group = '239.255.77.78';
    await using member = await openUdpSocket();
    const { port } = member.localAddress;
    await using sender = await openLocal();
    member.addMembership(group, localhost);
    sender.setMulticastInterface(localhost);
    sender.setMulticastLoopback(false);
    await sender.send('to others', { host: group, port });
    await sender.send('direct', { host: localhost, port });
    expect(String((await member.receive()).data)).toBe('direct');
  });

  test('a group of IPv6', async (context) => {
    const member = await tryOpen({ family: 6 });
    if (member === null) return context.skip();
    await using closing = member;
    try {
      closing.addMembership('ff01::77', '::%lo');
      closing.setMulticastInterface('::%lo');
    } catch {
      return context.skip();
    }
    const { port } = member.localAddress;
    await member.send('six', { host: 'ff01::77', port });
    const got = await member.receive().catch((error) => error);
    // The loopback interface may have no route for it.
    if (got instanceof Error) expect(got).toMatchObject({ code: 'ENETUNREACH', syscall: 'send' });
    else expect(String(got.data)).toBe('six');
    member.dropMembership('ff01::77', '::%lo');
  });

  test('sockets with reusePort share a port, or the answer is ENOTSUP', async () => {
    const first = await openLocal({ reusePort: true }).catch((error) => error);
    if (first instanceof Error) {
      expect(first).toMatchObject({ code: 'ENOTSUP' });
      return;
    }
    await using one = first as UdpSocket;
    await using two = await openLocal({ reusePort: true, localPort: one.localAddress.port });
    await using sender = await openLocal();
    await sender.send('whose?', at(one));
    const got = await Promise.race([one.receive(), two.receive()]);
    expect(String(got.data)).toBe('whose?');
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
