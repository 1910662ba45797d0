import { AsyncLocalStorage } from 'node:async_hooks';
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { BusyResourceError, InvalidStateError } from '../../lib/base/errors.ts';
import type { ConnectionSocket } from '../../lib/io/node-socket.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { currentTask } from '../../lib/task/task.ts';
import { deferred, fakeConnection, localhost, pattern, tcpPair } from '../io/support.ts';
import { clientTls, serverTls, tlsPair } from '../io/tls-support.ts';
import { checkLeaks } from '../support/leaks.ts';
import { virtualTest } from '../task/support.ts';
import { fakeSocket } from './support.ts';

checkLeaks();

const alpn = { ...clientTls, ALPNProtocols: ['x'] };

describe('as a net.Socket', () => {
  test('it is a Duplex, and no net.Socket', () => {
    const { socket } = fakeSocket();
    expect(socket).toBeInstanceOf(Duplex);
    expect(socket).not.toBeInstanceOf(Socket);
    expect(socket.connecting).toBe(false);
    expect(socket.pending).toBe(false);
    expect(socket.encrypted).toBe(false);
    expect(socket.authorized).toBe(false);
    expect(socket.alpnProtocol).toBe(undefined);
    expect(socket.getPeerCertificate()).toEqual({});
    expect(socket.allowHalfOpen).toBe(false);
  });

  test('addresses', async () => {
    await using pair = await tcpPair();
    const socket = pair.client.toNode() as ConnectionSocket;
    const { port } = pair.server;
    expect(socket).toMatchObject({ remoteAddress: localhost, remotePort: port });
    expect(socket).toMatchObject({ remoteFamily: 'IPv4', localFamily: 'IPv4' });
    expect(socket.localPort).toBe(pair.served.remoteAddress.port);
    const address = { address: localhost, family: 'IPv4', port: socket.localPort };
    expect(socket.address()).toEqual(address);
    expect(socket.localAddress).toBe(localhost);
  });

  test('a UNIX socket has none', () => {
    const { connection, stream } = fakeConnection();
    stream.remoteAddress = () => ({ address: '/tmp/x', port: 0, family: 'unix' });
    stream.localAddress = () => null;
    const socket = connection.toNode() as ConnectionSocket;
    expect(socket.remoteAddress).toBe(undefined);
    expect(socket.remotePort).toBe(undefined);
    expect(socket.remoteFamily).toBe(undefined);
    expect(socket.address()).toEqual({});
  });

  test('options reach the socket below, and calls can be chained', () => {
    const { socket, stream } = fakeSocket();
    const same = socket.setNoDelay().setKeepAlive(true, 1_000).setKeepAlive().ref().unref();
    expect(same).toBe(socket);
    expect(stream.calls).toContain('setNoDelay true');
    expect(stream.calls).toContain('setKeepAlive true 1000');
    expect(stream.calls).toContain('setKeepAlive false 0');
  });

  test('once it is gone they do nothing', async () => {
    const { socket, stream } = fakeSocket();
    socket.destroy();
    await once(socket, 'close');
    const before = stream.calls.length;
    socket.setNoDelay().setKeepAlive().ref().unref().setTimeout(10);
    expect(stream.calls).toHaveLength(before);
  });

  test('counts bytes, and has a readyState', async () => {
    const { socket, stream, send } = fakeSocket({ allowHalfOpen: true });
    expect(socket.readyState).toBe('open');
    send('four');
    socket.write('héllo');
    expect(socket.bytesRead).toBe(4);
    expect(socket.bytesWritten).toBe(6);
    expect(socket.bufferSize).toBe(0);
    socket.resume();
    stream.sink?.onEof();
    await once(socket, 'end');
    expect(socket.readyState).toBe('writeOnly');
    socket.destroy();
    expect(socket.readyState).toBe('closed');
    const other = fakeSocket();
    other.socket.end();
    expect(other.socket.readyState).toBe('readOnly');
  });

  test("connect() tells 'connect', since it is", async () => {
    const { socket } = fakeSocket();
    const heard = deferred();
    const event = once(socket, 'connect');
    expect(socket.connect(5432, 'localhost', () => heard.resolve())).toBe(socket);
    await heard.promise;
    await event;
  });

  test('resetAndDestroy() destroys', async () => {
    const { socket, log } = fakeSocket();
    socket.resetAndDestroy();
    await once(socket, 'close');
    expect(log).toEqual(['close']);
  });

  test('its listeners run in the context of toNode(), outside of its task', async () => {
    const store = new AsyncLocalStorage<string>();
    await using pair = await tcpPair();
    const socket = store.run('mine', () => pair.served.toNode());
    const seen = deferred<unknown[]>();
    socket.once('data', () => seen.resolve([store.getStore(), currentTask()]));
    await pair.client.write('x');
    expect(await seen.promise).toEqual(['mine', null]);
    socket.destroy();
  });
});

describe('of a TLS connection', () => {
  test('it looks like a TLSSocket, and its bytes stay secret', async () => {
    await using pair = await tlsPair({ server: { ALPNProtocols: ['x'] }, client: alpn });
    const client = pair.client.toNode() as ConnectionSocket;
    const served = pair.served.toNode({ allowHalfOpen: true }) as ConnectionSocket;
    expect(client).toMatchObject({ encrypted: true, authorized: true, alpnProtocol: 'x' });
    expect(client.getPeerCertificate()).toMatchObject({ subject: { CN: 'server' } });
    expect(served).toMatchObject({ encrypted: true, servername: 'server.test' });
    const data = pattern(300_000);
    client.end(data);
    const chunks: Buffer[] = [];
    served.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(served, 'end');
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
    served.end('answer');
    expect(await text(client)).toBe('answer');
  });

  test('toNode() and toWeb() are refused while startTls() goes on, and work after it', async () => {
    await using pair = await tcpPair();
    const securing = pair.client.startTls(clientTls);
    expect(() => pair.client.toNode()).toThrow(BusyResourceError);
    expect(() => pair.client.toWeb()).toThrow(BusyResourceError);
    await Promise.all([securing, pair.served.startTls({ ...serverTls, isServer: true })]);
    const socket = pair.client.toNode();
    await expect(pair.client.startTls(clientTls)).rejects.toThrow(InvalidStateError);
    const { readable, writable } = pair.served.toWeb();
    const echo = readable.pipeTo(writable);
    socket.end('hello');
    expect(await text(socket)).toBe('hello');
    await echo;
  });
});

describe('setTimeout', () => {
  virtualTest('tells after that time without a byte, again and again', async () => {
    const { socket, log, send } = fakeSocket();
    let heard = 0;
    expect(socket.setTimeout(100, () => heard++)).toBe(socket);
    expect(socket.timeout).toBe(100);
    await sleep(60);
    send('x');
    await sleep(60);
    expect(log).toEqual([]);
    await sleep(60);
    socket.write('y');
    expect(log).toEqual(['timeout']);
    await sleep(99);
    expect(log).toEqual(['timeout']);
    await sleep(200);
    expect(log).toEqual(['timeout', 'timeout', 'timeout']);
    expect(heard).toBe(1);
    socket.setTimeout(0);
    await sleep(1_000);
    expect(log).toHaveLength(3);
    socket.setTimeout(Infinity).destroy();
    await once(socket, 'close');
  });

  virtualTest('a destroyed socket tells nothing, and leaves no timer', async () => {
    const { socket, log } = fakeSocket();
    const listener = (): void => void log.push('never');
    socket.setTimeout(100, listener).setTimeout(0, listener).setTimeout(50);
    socket.destroy();
    await sleep(1_000);
    expect(log).toEqual(['close']);
  });

  test('of what is no number is a TypeError', () => {
    const { socket } = fakeSocket();
    expect(() => socket.setTimeout(Number.NaN)).toThrow(TypeError);
    expect(() => socket.setTimeout('1' as never)).toThrow(TypeError);
  });
});
