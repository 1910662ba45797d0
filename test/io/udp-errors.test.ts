import { describe, expect, test } from 'vitest';
import type { UdpOptions, UdpSocket } from '../../lib/io/net-types.ts';
import { openUdpSocket } from '../../lib/io/udp-socket.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory } from '../support/policy.ts';
import { errorOf, localhost, pattern, turn } from './support.ts';
import { at, openLocal, tryOpen, udpPair } from './udp-support.ts';

checkLeaks();

// covers: asyncio/create-datagram-endpoint, uvloop/udp
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

  test('allowed, it may be the peer of a connected socket', async () => {
    const peer = { remoteHost: '255.255.255.255', remotePort: 9 };
    try {
      await using socket = await openUdpSocket({ ...peer, broadcast: true });
      expect(socket.remoteAddress?.address).toBe(peer.remoteHost);
    } catch (error) {
      // A machine without a network cannot even route it.
      expect((error as NodeJS.ErrnoException).code).toBe('ENETUNREACH');
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
