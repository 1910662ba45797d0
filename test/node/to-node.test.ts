import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { describe, expect, test } from 'vitest';
import {
  BrokenResourceError,
  BusyResourceError,
  ClosedResourceError,
  InvalidStateError,
} from '../../lib/base/errors.ts';
import { openConnection } from '../../lib/io/connect.ts';
import type { Connection } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import {
  deferred,
  errorOf,
  fakeConnection,
  localhost,
  pattern,
  tcpPair,
  turn,
  until,
} from '../io/support.ts';
import { checkLeaks } from '../support/leaks.ts';
import { fakeSocket, reset } from './support.ts';

checkLeaks();

const mebibyte = 1024 * 1024;
describe('as a stream', () => {
  test('bytes go both ways, in order and complete', async () => {
    await using pair = await tcpPair();
    const socket = pair.served.toNode();
    const data = pattern(2 * mebibyte);
    const echoing = pipeline(socket, socket);
    const writing = pair.client.write(data).then(() => pair.client.writeEof());
    expect((await pair.client.readAll()).equals(data)).toBe(true);
    await writing;
    await echoing;
    await pair.client.close();
  });

  test('what the connection had buffered comes first', async () => {
    await using pair = await tcpPair();
    await pair.client.write('head:body');
    expect(String(await pair.served.readUntil(':'))).toBe('head:');
    await until(() => pair.served.open);
    const socket = pair.served.toNode();
    await pair.client.write(' and more');
    await pair.client.writeEof();
    expect(String(await buffer(socket))).toBe('body and more');
  });

  test('an end that came before is told after the bytes', async () => {
    const { connection, stream, send } = fakeConnection();
    send('last');
    stream.sink?.onEof();
    const socket = connection.toNode({ allowHalfOpen: true });
    expect(String(await buffer(socket))).toBe('last');
    socket.destroy();
    stream.sink?.onClosed(undefined);
  });

  test('reading is paused above the high-water mark and goes on below', async () => {
    const { stream, socket, send } = fakeSocket();
    send(Buffer.alloc(64 * 1024));
    expect(stream.paused).toBe(true);
    expect(socket.read()).toHaveLength(64 * 1024);
    await turn();
    expect(stream.paused).toBe(false);
    socket.destroy();
    await once(socket, 'close');
  });

  test('a connection that was paused is resumed', () => {
    const { connection, stream, send } = fakeConnection({ limitBytes: 10 });
    send('more than ten bytes');
    expect(stream.paused).toBe(true);
    connection.toNode();
    expect(stream.paused).toBe(false);
  });

  test('writing waits above the high-water mark until the low-water mark', async () => {
    const { stream, socket, log } = fakeSocket();
    stream.stuck = true;
    expect(socket.write(Buffer.alloc(70_000))).toBe(false);
    socket.write('next');
    await turn();
    expect(Buffer.concat(stream.written)).toHaveLength(70_000);
    expect(stream.drainAtBytes).toBe(16 * 1024);
    expect(log).toEqual([]);
    stream.stuck = false;
    stream.drain(100);
    await turn();
    expect(Buffer.concat(stream.written)).toHaveLength(70_004);
    expect(log).toEqual(['drain']);
    expect(socket.bytesWritten).toBe(70_004);
    stream.bufferedBytes = 0;
    socket.destroy();
    await once(socket, 'close');
  });

  test('a slow reader bounds what a fast writer sends', async () => {
    await using pair = await tcpPair();
    const socket = pair.served.toNode();
    let sent = 0;
    const chunk = Buffer.alloc(mebibyte);
    while (socket.write(chunk)) sent += chunk.length;
    const held = socket.writableLength + pair.served.writeBufferBytes;
    expect(held).toBeLessThan(4 * mebibyte);
    const drained = once(socket, 'drain');
    await pair.client.readExactly(sent + chunk.length);
    await drained;
    socket.destroy();
  });

  test('writes that were waiting on the connection still resolve', async () => {
    const { connection, stream } = fakeConnection({ highWaterBytes: 10, lowWaterBytes: 5 });
    stream.stuck = true;
    const waiting = connection.write('more than ten bytes');
    const socket = connection.toNode();
    stream.stuck = false;
    stream.drain(0);
    await waiting;
    socket.destroy();
    stream.sink?.onClosed(undefined);
  });
});

describe('ends', () => {
  test('by default the end of the peer ends it, as a net.Socket', async () => {
    await using pair = await tcpPair();
    const socket = pair.served.toNode();
    socket.resume();
    const closed = once(socket, 'close');
    await pair.client.writeEof();
    expect(await pair.client.read()).toBe(null);
    await closed;
    await pair.client.close();
  });

  test('allowHalfOpen: the answer follows the end of the question', async () => {
    await using pair = await tcpPair();
    const socket = pair.served.toNode({ allowHalfOpen: true });
    await pair.client.write('question');
    await pair.client.writeEof();
    const question = once(socket, 'data');
    await once(socket, 'end');
    expect(String((await question)[0])).toBe('question');
    await turn();
    expect(socket.writable).toBe(true);
    socket.end('answer');
    expect(String(await pair.client.readAll())).toBe('answer');
    await pair.client.close();
  });

  test('end() is a half close: reading goes on', async () => {
    await using pair = await tcpPair();
    const socket = pair.served.toNode();
    socket.end('bye');
    expect(String(await pair.client.readAll())).toBe('bye');
    await pair.client.write('late');
    await pair.client.close();
    expect(String(await buffer(socket))).toBe('late');
  });

  test("'finish' waits until all is written", async () => {
    const { stream, socket, log } = fakeSocket();
    stream.stuck = true;
    socket.end('x');
    await turn();
    expect(stream.calls).toContain('shutdown');
    expect(log).toEqual([]);
    stream.drain(0);
    await turn();
    expect(log).toEqual(['finish']);
    socket.destroy();
    await once(socket, 'close');
  });

  test('after writeEof() of the connection it is not writable', async () => {
    await using pair = await tcpPair();
    await pair.served.writeEof();
    const socket = pair.served.toNode();
    expect(socket.writable).toBe(false);
    expect(await pair.client.read()).toBe(null);
    await pair.client.write('still');
    await pair.client.close();
    expect(String(await buffer(socket))).toBe('still');
  });

  test('when both halves have ended it closes by itself', async () => {
    const { stream, socket, log } = fakeSocket();
    socket.resume().end();
    stream.sink?.onEof();
    await once(socket, 'close');
    expect(stream.calls).toContain('close');
    expect(stream.calls).not.toContain('abort');
    expect(log.sort()).toEqual(['close', 'end', 'finish']);
  });

  test("an end is told although nobody reads, 'end' comes when somebody does", async () => {
    const { stream, socket, log } = fakeSocket({ allowHalfOpen: true });
    stream.sink?.onEof();
    await turn();
    expect(log).toEqual(['end']);
    socket.destroy();
    await once(socket, 'close');
  });

  test('destroy() after a write in the same turn still sends it', async () => {
    await using pair = await tcpPair();
    const socket = pair.served.toNode();
    socket.write('last words');
    socket.destroy();
    expect(String(await pair.client.readAll().catch(String))).toBe('last words');
  });

  test('destroy() while the peer does not read drops the rest', async () => {
    const { stream, socket, log } = fakeSocket();
    stream.stuck = true;
    socket.write(Buffer.alloc(100_000));
    const failed = deferred<NodeJS.ErrnoException | null | undefined>();
    socket.write('never', (error) => failed.resolve(error));
    socket.destroy();
    await once(socket, 'close');
    expect(stream.calls).toContain('abort');
    expect((await failed.promise)?.code).toBe('ECANCELED');
    expect(log).toEqual(['close']);
  });

  test('destroySoon() flushes, then destroys', async () => {
    const { stream, socket, log } = fakeSocket();
    stream.stuck = true;
    socket.write('x');
    socket.destroySoon();
    await turn();
    expect(socket.destroyed).toBe(false);
    stream.drain(0);
    await once(socket, 'close');
    expect(log).toEqual(['finish', 'close']);
  });
});

describe('errors', () => {
  test('a reset has the code of the system', async () => {
    const { stream, socket, log, connection } = fakeSocket();
    stream.sink?.onClosed(reset);
    await until(() => log.includes('close'));
    expect(log).toEqual(['error ECONNRESET', 'close']);
    expect(socket.errored).toBe(reset);
    expect(connection.signal.aborted).toBe(true);
    expect((connection.signal.reason as Error).cause).toBe(reset);
  });

  test('a write that waits fails with it', async () => {
    const { stream, socket } = fakeSocket();
    stream.stuck = true;
    const failed = deferred<unknown>();
    socket.write(Buffer.alloc(100_000), (error) => failed.resolve(error));
    stream.sink?.onClosed(reset);
    expect(await failed.promise).toBe(reset);
  });

  test('destroy(error) tells that error and closes', async () => {
    await using pair = await tcpPair();
    const socket = pair.served.toNode();
    const failed = once(socket, 'error');
    socket.destroy(new Error('enough'));
    expect(((await failed)[0] as Error).message).toBe('enough');
    await pair.client.readAll().catch(() => null);
    await until(() => pair.served.signal.aborted);
  });

  test('a loop that closes closes it', async () => {
    const { stream, socket, log } = fakeSocket();
    stream.sink?.onClosed(undefined);
    await once(socket, 'close');
    expect(log).toEqual(['close']);
  });
});

describe('the connection that it came from', () => {
  const uses: [string, (connection: Connection) => PromiseLike<unknown>][] = [
    ['read', (one) => one.read()],
    ['readLine', (one) => one.readLine()],
    ['a loop', (one) => one[Symbol.asyncIterator]().next()],
    ['write', (one) => one.write('x')],
    ['writeEof', (one) => one.writeEof()],
  ];
  test.each(uses)('refuses %s, and says why', async (_what, use) => {
    const { connection } = fakeSocket();
    const error = await errorOf(use(connection));
    expect(error).toBeInstanceOf(InvalidStateError);
    expect(error.message).toContain('toNode()');
    expect(connection.open).toBe(false);
  });

  test('is handed over once only', async () => {
    const { connection } = fakeSocket();
    expect(() => connection.toNode()).toThrow(InvalidStateError);
    expect(() => connection.toWeb()).toThrow(InvalidStateError);
  });

  test('cannot be handed over while a task reads; the read goes on', async () => {
    const { connection, send } = fakeConnection();
    const reading = connection.read();
    expect(() => connection.toNode()).toThrow(BusyResourceError);
    send('x');
    expect(String(await reading)).toBe('x');
  });

  test('cannot be handed over when closed or lost; what it holds can still be read', async () => {
    const closed = fakeConnection();
    void closed.connection.close();
    expect(() => closed.connection.toNode()).toThrow(ClosedResourceError);
    const lost = fakeConnection();
    lost.send('left');
    lost.stream.sink?.onClosed(reset);
    expect(() => lost.connection.toNode()).toThrow(BrokenResourceError);
    expect(String(await lost.connection.read())).toBe('left');
  });

  test('bad options are refused before anything happens', () => {
    const { connection } = fakeConnection();
    expect(() => connection.toNode(5 as never)).toThrow(TypeError);
    expect(connection.open).toBe(true);
  });

  test('close() flushes and closes the stream, abort() destroys it', async () => {
    const soft = fakeSocket();
    soft.socket.write('x');
    await soft.connection.close();
    expect(soft.log).toEqual(['finish', 'close']);
    const hard = fakeSocket();
    hard.stream.stuck = true;
    hard.socket.write('x');
    hard.connection.abort();
    await once(hard.socket, 'close');
    expect(hard.stream.calls).toContain('abort');
  });

  test('keeps its addresses and its signal', async () => {
    await using pair = await tcpPair();
    const { port } = pair.served.remoteAddress;
    const socket = pair.served.toNode();
    expect(pair.served.remoteAddress.port).toBe(port);
    expect(pair.served.signal.aborted).toBe(false);
    socket.destroy();
    await until(() => pair.served.signal.aborted);
  });

  test('the end of its handler does not end the stream; the server waits for it', async () => {
    const taken = deferred<{ socket: Duplex }>();
    const server = await startServer(
      (connection) => taken.resolve({ socket: connection.toNode() }),
      { host: localhost },
    );
    const client = await openConnection({ host: localhost, port: server.port });
    const { socket } = await taken.promise;
    await turn();
    expect(server.connections).toBe(1);
    let closed = false;
    server.close();
    const waiting = server.waitClosed().then(() => {
      closed = true;
    });
    socket.write('alive');
    expect(String(await client.readExactly(5))).toBe('alive');
    expect(closed).toBe(false);
    socket.destroy();
    await waiting;
    await client.close();
  });

  test.each(['closeClients', 'abortClients'] as const)('%s of the server ends it', async (end) => {
    const taken = deferred<{ socket: Duplex }>();
    await using server = await startServer(
      (connection) => taken.resolve({ socket: connection.toNode() }),
      { host: localhost },
    );
    await using client = await openConnection({ host: localhost, port: server.port });
    const { socket } = await taken.promise;
    server[end]();
    await once(socket, 'close');
    await client.readAll().catch(() => null);
    expect(server.connections).toBe(0);
  });
});
