import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { BrokenResourceError, CancelledError, ClosedResourceError } from '../../lib/base/errors.ts';
import { openConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { createTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import {
  errorOf,
  fakeConnection,
  localhost,
  pattern,
  Recorder,
  tcpPair,
  turn,
  until,
} from './support.ts';

checkLeaks();

const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });

/** What became of a promise so far. */
function watch(promise: Promise<void>): { state: string } {
  const seen = { state: 'pending' };
  promise.then(
    () => {
      seen.state = 'resolved';
    },
    () => {
      seen.state = 'rejected';
    },
  );
  return seen;
}

describe('below the high-water mark', () => {
  test('all writes return the same resolved promise', async () => {
    const { connection, stream } = fakeConnection();
    const first = connection.write('ab');
    expect(connection.write(Buffer.from('cd'))).toBe(first);
    await first;
    expect(Buffer.concat(stream.written).toString()).toBe('abcd');
  });

  test('exactly at the mark nobody waits', async () => {
    const { connection, stream } = fakeConnection({ highWaterBytes: 10 });
    stream.stuck = true;
    await connection.write('0123456789');
    expect(connection.writeBufferBytes).toBe(10);
  });

  test('writeLines is one write', async () => {
    const { connection, stream } = fakeConnection();
    await connection.writeLines(['a', 'b']);
    await connection.writeLines(['c', Buffer.from('d'), new Uint8Array([101])]);
    await connection.writeLines([]);
    expect(stream.written.map(String)).toEqual(['ab', 'cde', '']);
  });

  test('writeLines of large parts hands them on, where the stream gathers', async () => {
    const { connection, stream } = fakeConnection();
    const handed: (readonly Uint8Array[])[] = [];
    Object.assign(stream, { writeMany: (parts: Uint8Array[]) => handed.push(parts) * 0 });
    const large = Buffer.alloc(20_000);
    await connection.writeLines(['head', large, new Uint8Array()]);
    expect(handed).toEqual([[Buffer.from('head'), large, new Uint8Array()]]);
    expect(handed[0]?.[1]).toBe(large);
    // Short ones, and those of text alone, are joined.
    await connection.writeLines(Array.from({ length: 100 }, () => Buffer.alloc(200)));
    await connection.writeLines(['x'.repeat(20_000), 'y']);
    await connection.writeLines([Buffer.alloc(10_000), 'y']);
    expect(handed.length).toBe(1);
    expect(stream.written.map(({ length }) => length)).toEqual([20_000, 20_001, 10_001]);
  });
});

// covers: asyncio/streamwriter
describe('above the high-water mark', () => {
  test('a write waits until the low-water mark', async () => {
    const { connection, stream } = fakeConnection({ highWaterBytes: 10, lowWaterBytes: 4 });
    stream.stuck = true;
    const seen = watch(connection.write('01234567890'));
    await turn();
    expect(seen.state).toBe('pending');
    expect(stream.calls).toEqual(['notifyDrain 4']);
    stream.drain(4);
    await turn();
    expect(seen.state).toBe('resolved');
  });

  test('several tasks wait, and all go on', async () => {
    const { connection, stream } = fakeConnection({ highWaterBytes: 10 });
    stream.stuck = true;
    const order: number[] = [];
    const writers = [1, 2, 3].map((id) =>
      createTask(async () => {
        await connection.write('0123456789x');
        order.push(id);
      }),
    );
    await turn();
    expect(order).toEqual([]);
    stream.drain();
    for (const writer of writers) await writer;
    expect(order).toEqual([1, 2, 3]);
  });

  test('writes of one task that ignores them share one promise', () => {
    const { connection, stream } = fakeConnection({ highWaterBytes: 10 });
    stream.stuck = true;
    const first = connection.write('0123456789x');
    for (let i = 0; i < 1_000; i++) expect(connection.write('x')).toBe(first);
    stream.drain();
    expect(stream.calls).toEqual(['notifyDrain 2']);
  });

  test('maxBufferedBytes refuses what exceeds it, and only that', async () => {
    const { connection, stream } = fakeConnection({ highWaterBytes: 10, maxBufferedBytes: 20 });
    stream.stuck = true;
    const waiting = connection.write('012345678901');
    const error = await errorOf(connection.write('012345678'));
    expect(error.code).toBe('ERR_UVIO_BUFFER_FULL');
    expect(await errorOf(connection.write('ééééé'))).toMatchObject({
      code: 'ERR_UVIO_BUFFER_FULL',
    });
    expect(connection.writeBufferBytes).toBe(12);
    void connection.write('éééé');
    expect(connection.writeBufferBytes).toBe(20);
    expect(connection.open).toBe(true);
    stream.drain();
    await waiting;
    await connection.write('again');
    expect(stream.written.map(String)).toEqual(['012345678901', 'éééé', 'again']);
  });

  test('one awaited write may be larger than maxBufferedBytes', async () => {
    const { connection, stream } = fakeConnection({ highWaterBytes: 10, maxBufferedBytes: 20 });
    stream.stuck = true;
    const waiting = connection.write(Buffer.alloc(100));
    stream.drain(2);
    await waiting;
    const next = connection.write(Buffer.alloc(100));
    stream.drain();
    await next;
    expect(stream.written.length).toBe(2);
  });

  test('a cancelled write has taken its bytes', async () => {
    const { connection, stream } = fakeConnection({ highWaterBytes: 10 });
    stream.stuck = true;
    const task = createTask(() => connection.write('0123456789x'));
    await turn();
    task.cancel();
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
    expect(String(stream.written[0])).toBe('0123456789x');
    const next = connection.write('more');
    stream.drain();
    await next;
  });

  test('an aborted signal ends the wait, the bytes are taken', async () => {
    const { connection, stream } = fakeConnection({ highWaterBytes: 10 });
    stream.stuck = true;
    const controller = new AbortController();
    const waiting = errorOf(connection.write('0123456789x', { signal: controller.signal }));
    controller.abort(new Error('no more'));
    expect((await waiting).message).toBe('no more');
    const early = connection.write('y', { signal: controller.signal });
    expect((await errorOf(early)).message).toBe('no more');
    expect(stream.written.map(String)).toEqual(['0123456789x', 'y']);
    stream.drain();
  });

  test('the loss of the connection rejects with the cause', async () => {
    const { connection, stream } = fakeConnection({ highWaterBytes: 10 });
    stream.stuck = true;
    const waiting = errorOf(connection.write('0123456789x'));
    stream.sink?.onClosed(reset);
    const error = await waiting;
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.code).toBe('ERR_UVIO_BROKEN');
    expect(error.cause).toBe(reset);
    expect(await errorOf(connection.write('x'))).toBe(error);
  });
});

test('in a cancelled task the bytes are taken and the promise rejects', async () => {
  const { connection, stream } = fakeConnection();
  const task = createTask(async () => {
    task.cancel();
    await connection.write('taken');
  });
  expect(await errorOf(task)).toBeInstanceOf(CancelledError);
  expect(stream.written.map(String)).toEqual(['taken']);
});

test('ignored writes never become unhandled rejections', async () => {
  const unhandled: unknown[] = [];
  const note = (error: unknown): unknown => unhandled.push(error);
  process.on('unhandledRejection', note);
  const { connection, stream } = fakeConnection({ highWaterBytes: 1, maxBufferedBytes: 4 });
  stream.stuck = true;
  void connection.write('ab');
  void connection.write('abcd');
  void connection.writeEof();
  void connection.write('after eof');
  stream.sink?.onClosed(reset);
  void connection.write('after loss');
  void connection.close();
  const task = createTask(async () => {
    task.cancel();
    void fakeConnection().connection.write('cancelled');
  });
  await task.wait();
  await turn();
  await turn();
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
});

// covers: asyncio/streamwriter
describe('writeEof', () => {
  test('is a FIN after the data, and reading goes on', async () => {
    const { connection, stream, send } = fakeConnection();
    await connection.write('last');
    await connection.writeEof();
    await connection.writeEof();
    expect(stream.calls).toEqual(['shutdown']);
    send('answer');
    expect(String(await connection.read())).toBe('answer');
    expect(connection.open).toBe(true);
    const error = await errorOf(connection.write('more'));
    expect(error).toBeInstanceOf(ClosedResourceError);
  });

  test('waits for what is buffered', async () => {
    const { connection, stream } = fakeConnection();
    stream.stuck = true;
    await connection.write('abc');
    const seen = watch(connection.writeEof());
    await turn();
    expect(seen.state).toBe('pending');
    stream.drain();
    await turn();
    expect(seen.state).toBe('resolved');
  });
});

describe('many large parts', () => {
  const parts = (): Uint8Array[] => Array.from({ length: 70 }, (_, i) => pattern(16 * 1024, i));

  test('arrive in order, between what is written before and after, of any size', async () => {
    await using pair = await tcpPair();
    const expected = Buffer.concat([Buffer.from('before'), ...parts(), Buffer.from('after')]);
    const received = pair.client.readExactly(expected.length);
    const list = parts();
    const writes = [
      pair.served.write('before'),
      pair.served.writeLines(list),
      pair.served.write('after'),
    ];
    // The memory is the caller's own again.
    for (const part of list) part.fill(0);
    await Promise.all(writes);
    expect((await received).equals(expected)).toBe(true);
  });

  test('of memory that is gone, or shared, or shrinks later', async () => {
    await using pair = await tcpPair();
    const gone = new Uint8Array(20_000);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    const kept = Buffer.alloc(20_000, 'a');
    const error = await errorOf(pair.served.writeLines([kept, gone]));
    expect(error.code).toBe('ERR_UVIO_BUFFER_DETACHED');
    const shared = new Uint8Array(new SharedArrayBuffer(20_000)).fill(98);
    const memory = Reflect.construct(ArrayBuffer, [20_000, { maxByteLength: 40_000 }]);
    const shrinks = new Uint8Array(memory).fill(99);
    const received = pair.client.readExactly(60_000);
    const written = pair.served.writeLines([kept, shared, shrinks]);
    memory.resize(0);
    shared.fill(0);
    await written;
    const text = String(await received);
    expect(text === 'a'.repeat(20_000) + 'b'.repeat(20_000) + 'c'.repeat(20_000)).toBe(true);
  });

  test('are refused above maxBufferedBytes, and lost with the connection', async () => {
    await using pair = await tcpPair({ maxBufferedBytes: 1 << 20 });
    const many = Array.from({ length: 16 }, () => Buffer.alloc(1 << 20));
    const first = pair.served.writeLines(many);
    expect((await errorOf(pair.served.writeLines(many))).code).toBe('ERR_UVIO_BUFFER_FULL');
    pair.client.abort();
    expect(await errorOf(first)).toBeInstanceOf(BrokenResourceError);
    expect(await errorOf(pair.served.writeLines(many))).toBeInstanceOf(BrokenResourceError);
  });

  test('of a transport', async () => {
    const recorder = new Recorder();
    const server = await currentLoop().createServer(() => recorder, { host: localhost });
    await using client = await openConnection({ host: localhost, port: server.port });
    await until(() => recorder.transport !== undefined);
    const received = client.readExactly(70 * 16 * 1024);
    expect(recorder.transport?.writeLines(parts())).toBeTypeOf('boolean');
    expect((await received).equals(Buffer.concat(parts()))).toBe(true);
    recorder.transport?.writeEof();
    expect(() => recorder.transport?.writeLines(parts())).toThrow(ClosedResourceError);
    server.close();
    await client.close();
    await server.waitClosed();
  });
});

describe('bad data', () => {
  test.each([[5], [null], [undefined], [{}], [[1, 2]], [new ArrayBuffer(2)]])(
    'write(%j) is a TypeError',
    async (data) => {
      const { connection, stream } = fakeConnection();
      const error = await errorOf(connection.write(data as unknown as string));
      expect(error).toBeInstanceOf(TypeError);
      expect(error.code).toBe('ERR_INVALID_ARG_TYPE');
      expect(stream.written).toEqual([]);
    },
  );

  test('writeLines of a string or of bytes is a TypeError', async () => {
    const { connection } = fakeConnection();
    for (const parts of ['abc', Buffer.from('abc'), 5, null]) {
      const error = await errorOf(connection.writeLines(parts as unknown as string[]));
      expect(error).toBeInstanceOf(TypeError);
    }
  });

  test('a detached buffer has its own code; an empty one is fine', async () => {
    const { connection } = fakeConnection();
    const data = new Uint8Array(4);
    structuredClone(data.buffer, { transfer: [data.buffer] });
    const error = await errorOf(connection.write(data));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.code).toBe('ERR_UVIO_BUFFER_DETACHED');
    await connection.write(new Uint8Array(0));
    await connection.write('');
  });

  test('shared memory is copied before it is written', async () => {
    const { connection, stream } = fakeConnection();
    const shared = new Uint8Array(new SharedArrayBuffer(100_000)).fill(7);
    let given: unknown;
    const write = stream.write.bind(stream);
    stream.write = (data) => {
      given = data;
      return write(data);
    };
    await connection.write(shared);
    expect((given as Uint8Array).buffer).not.toBeInstanceOf(SharedArrayBuffer);
    expect(stream.written[0]?.every((byte) => byte === 7)).toBe(true);
  });
});
