import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { BrokenResourceError, CancelledError, ClosedResourceError } from '../../lib/base/errors.ts';
import { openConnection } from '../../lib/io/connect.ts';
import { createTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { errorOf, fakeConnection, nodeServer, pattern, tcpPair, turn, until } from './support.ts';

checkLeaks();

const mebibyte = 1024 * 1024;
const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });

// covers: asyncio/streamwriter
describe('close', () => {
  test('flushes all that was written', async () => {
    await using peer = await nodeServer();
    const connection = await openConnection({ host: '127.0.0.1', port: peer.port });
    const socket = await peer.accepted();
    const data = pattern(4 * mebibyte);
    void connection.write(data);
    const closing = connection.close();
    expect(connection.open).toBe(false);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    await closing;
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
  });

  test('may be called again, during and after', async () => {
    await using pair = await tcpPair();
    const first = pair.client.close();
    const second = pair.client.close();
    await first;
    await second;
    await pair.client.close();
    await pair.client[Symbol.asyncDispose]();
    expect(await pair.served.read()).toBe(null);
  });

  test('makes everything else ClosedResourceError', async () => {
    await using pair = await tcpPair();
    const { client } = pair;
    const reading = errorOf(client.read());
    await client.close();
    for (const failing of [reading, errorOf(client.read()), errorOf(client.write('x'))]) {
      const error = await failing;
      expect(error).toBeInstanceOf(ClosedResourceError);
      expect(error.code).toBe('ERR_UVIO_CLOSED');
    }
    expect(await errorOf(client.writeEof())).toBeInstanceOf(ClosedResourceError);
    client.setNoDelay(true);
    client.setKeepAlive(true, 1_000);
    client.abort();
  });

  test('in a cancelled task aborts at once and does not throw', async () => {
    const { connection, stream } = fakeConnection();
    const task = createTask(async () => {
      task.cancel();
      const closing = connection.close();
      expect(stream.calls).toEqual(['abort']);
      stream.sink?.onClosed(undefined);
      await closing;
      await connection.read();
    });
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
  });

  test('cancelled while it flushes aborts, and waits for that', async () => {
    const { connection, stream } = fakeConnection();
    let over = false;
    const task = createTask(async () => {
      try {
        await connection.close();
      } finally {
        over = true;
      }
    });
    await turn();
    task.cancel();
    await turn();
    expect(stream.calls).toEqual(['close', 'abort']);
    expect(over).toBe(false);
    stream.sink?.onClosed(undefined);
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
  });

  test('tells of a loss that nobody was told of, once', async () => {
    const { connection, stream } = fakeConnection();
    void connection.write('lost');
    stream.sink?.onClosed(reset);
    const error = await errorOf(connection.close());
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause).toBe(reset);
    await connection.close();
  });

  test('tells of a loss also when an ignored write was waiting', async () => {
    const { connection, stream } = fakeConnection({ highWaterBytes: 1 });
    stream.stuck = true;
    void connection.write('lost');
    stream.sink?.onClosed(reset);
    expect((await errorOf(connection.close())).cause).toBe(reset);
    await connection.close();
  });

  test('tells when the flush failed, also as dispose', async () => {
    const { connection, stream } = fakeConnection();
    void connection.write('lost');
    const closing = errorOf(connection[Symbol.asyncDispose]());
    stream.sink?.onClosed(reset);
    expect((await closing).cause).toBe(reset);
  });

  test('dispose is silent about a loss that the block has met', async () => {
    const { connection, stream } = fakeConnection();
    const failed = async (): Promise<void> => {
      await using inner = connection;
      stream.sink?.onClosed(reset);
      await inner.read();
    };
    expect((await errorOf(failed())).cause).toBe(reset);
  });
});

describe('abort', () => {
  test('drops what is buffered; waits get BrokenResourceError with the reason', async () => {
    await using peer = await nodeServer((socket) => socket.pause());
    const connection = await openConnection({ host: '127.0.0.1', port: peer.port });
    const writing = errorOf(connection.write(Buffer.alloc(64 * mebibyte)));
    const reading = errorOf(connection.read());
    const reason = new Error('had enough');
    connection.abort(reason);
    connection.abort();
    for (const failing of [writing, reading]) {
      const error = await failing;
      expect(error).toBeInstanceOf(BrokenResourceError);
      expect(error.cause).toBe(reason);
    }
    expect(connection.open).toBe(false);
    expect(connection.signal.reason).toBe(reason);
    expect(await errorOf(connection.read())).toBeInstanceOf(ClosedResourceError);
    await connection.close();
  });

  test('after close cuts the flush short', async () => {
    await using peer = await nodeServer((socket) => socket.pause());
    const connection = await openConnection({ host: '127.0.0.1', port: peer.port });
    void connection.write(Buffer.alloc(64 * mebibyte));
    const closing = connection.close();
    await turn();
    connection.abort();
    await closing;
  });
});

describe('signal', () => {
  test('aborts when the connection is gone, with what made it go', () => {
    const { connection, stream } = fakeConnection();
    const { signal } = connection;
    expect(connection.signal).toBe(signal);
    expect(signal.aborted).toBe(false);
    stream.sink?.onClosed(reset);
    expect(signal.aborted).toBe(true);
    expect((signal.reason as Error).cause).toBe(reset);
  });

  test('asked for afterwards, it is aborted already', async () => {
    const { connection, stream } = fakeConnection();
    const closing = connection.close();
    stream.sink?.onClosed(undefined);
    await closing;
    expect(connection.signal.aborted).toBe(true);
    expect(connection.signal.reason).toBeInstanceOf(ClosedResourceError);
  });
});

describe('half close', () => {
  test('ours: the peer sees the end and its answer is read', async () => {
    await using pair = await tcpPair();
    await pair.client.write('question');
    await pair.client.writeEof();
    expect(String(await pair.served.readAll())).toBe('question');
    await pair.served.write('answer');
    await pair.served.close();
    expect(String(await pair.client.readAll())).toBe('answer');
    await pair.client.close();
  });

  test('theirs: reads give null, writing goes on', async () => {
    await using pair = await tcpPair();
    await pair.client.writeEof();
    expect(await pair.served.read()).toBe(null);
    expect(pair.served.open).toBe(true);
    const data = pattern(mebibyte);
    const writing = pair.served.write(data).then(() => pair.served.writeEof());
    expect((await pair.client.readAll()).equals(data)).toBe(true);
    await writing;
    expect(pair.client.atEof).toBe(true);
    await pair.served.close();
    await pair.client.close();
  });
});

describe('a reset by the peer', () => {
  test('is told after the bytes that came before', async () => {
    const { connection, stream, send } = fakeConnection();
    send('before');
    stream.sink?.onClosed(reset);
    expect(connection.open).toBe(false);
    expect(await errorOf(connection.readExactly(10))).toBeInstanceOf(BrokenResourceError);
    expect(String(await connection.read())).toBe('before');
    const error = await errorOf(connection.read());
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause).toBe(reset);
    expect(await errorOf(connection.readLine())).toBe(error);
  });

  test('after the end of their data stays the end', async () => {
    const { connection, stream } = fakeConnection();
    stream.sink?.onEof();
    stream.sink?.onClosed(reset);
    expect(await connection.read()).toBe(null);
    expect((await errorOf(connection.write('x'))).cause).toBe(reset);
  });

  test('ends a waiting read with Node’s error as cause', async () => {
    await using peer = await nodeServer();
    await using connection = await openConnection({ host: '127.0.0.1', port: peer.port });
    const socket = await peer.accepted();
    const reading = errorOf(connection.read());
    socket.resetAndDestroy();
    const error = await reading;
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause).toMatchObject({ code: 'ECONNRESET', syscall: 'read' });
    expect((error.cause as NodeJS.ErrnoException).errno).toBeLessThan(0);
    await until(() => !connection.open);
  });

  test('ends a waiting write', async () => {
    await using peer = await nodeServer((socket) => socket.pause());
    await using connection = await openConnection({ host: '127.0.0.1', port: peer.port });
    const socket = await peer.accepted();
    const writing = errorOf(connection.write(Buffer.alloc(64 * mebibyte)));
    socket.resetAndDestroy();
    const error = await writing;
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(['ECONNRESET', 'EPIPE']).toContain((error.cause as NodeJS.ErrnoException).code);
  });
});
