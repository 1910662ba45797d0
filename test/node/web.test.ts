import { Buffer } from 'node:buffer';
import { ReadableStream, TransformStream, WritableStream } from 'node:stream/web';
import { describe, expect, test } from 'vitest';
import {
  BrokenResourceError,
  BusyResourceError,
  CancelledError,
  ClosedResourceError,
  IncompleteReadError,
  InvalidStateError,
} from '../../lib/base/errors.ts';
import { fromWebStreams, readerFromWeb, writerFromWeb } from '../../lib/node/index.ts';
import { createTask } from '../../lib/task/task.ts';
import { deferred, errorOf, fakeConnection, pattern, tcpPair, turn } from '../io/support.ts';
import { checkLeaks } from '../support/leaks.ts';

checkLeaks();

const mebibyte = 1024 * 1024;
const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();

/** An asynchronous store for what is written, whose writes wait for the test. */
function stuckSink(): {
  writable: WritableStream<Uint8Array>;
  written: string[];
  release: () => void;
} {
  const written: string[] = [];
  let waiting = deferred();
  const writable = new WritableStream<Uint8Array>({
    write(chunk) {
      written.push(text(chunk));
      waiting = deferred();
      return waiting.promise;
    },
    close: () => void written.push('closed'),
    abort: (reason) => void written.push(`aborted ${(reason as Error).name}`),
  });
  return { writable, written, release: () => waiting.resolve() };
}

describe('toWeb', () => {
  test('bytes go both ways, in order and complete', async () => {
    await using pair = await tcpPair();
    const { readable, writable } = pair.served.toWeb();
    const data = pattern(2 * mebibyte);
    const echoing = readable.pipeTo(writable);
    const writing = pair.client.write(data).then(() => pair.client.writeEof());
    expect((await pair.client.readAll()).equals(data)).toBe(true);
    await Promise.all([writing, echoing]);
    await pair.client.close();
  });

  test('what the connection had buffered comes first', async () => {
    await using pair = await tcpPair();
    await pair.client.write('head:body');
    await pair.served.readUntil(':');
    const { readable, writable } = pair.served.toWeb();
    const reader = readable.getReader();
    expect(text((await reader.read()).value)).toBe('body');
    await pair.client.close();
    expect((await reader.read()).done).toBe(true);
    await writable.close();
  });

  test('the readable is one of bytes: reads go into the memory of the caller', async () => {
    const { connection, stream } = fakeConnection();
    const { readable } = connection.toWeb();
    const reader = readable.getReader({ mode: 'byob' });
    const reading = reader.read(new Uint8Array(4));
    stream.sink?.onData(Buffer.from('abcdef'));
    expect(text((await reading).value)).toBe('abcd');
    expect(text((await reader.read(new Uint8Array(4))).value)).toBe('ef');
    const last = reader.read(new Uint8Array(4));
    stream.sink?.onEof();
    expect((await last).done).toBe(true);
    connection.abort();
    stream.sink?.onClosed(undefined);
  });

  test('a chunk is not the memory of the backend, which must not be detached', async () => {
    const { connection, stream } = fakeConnection();
    const { readable } = connection.toWeb();
    const slab = Buffer.from('slab');
    stream.sink?.onData(slab);
    const { value } = await readable.getReader().read();
    expect(text(value)).toBe('slab');
    expect(slab.buffer.byteLength).toBeGreaterThan(0);
    expect(value?.buffer).not.toBe(slab.buffer);
  });

  test('reading is paused while nobody reads', async () => {
    const { connection, stream } = fakeConnection({ limitBytes: 10 });
    const { readable } = connection.toWeb();
    stream.sink?.onData(Buffer.alloc(10));
    expect(stream.paused).toBe(true);
    await readable.getReader().read();
    await turn();
    expect(stream.paused).toBe(false);
  });

  test('writing waits above the high-water mark until the low-water mark', async () => {
    const { connection, stream } = fakeConnection();
    stream.stuck = true;
    const writer = connection.toWeb().writable.getWriter();
    let written = false;
    const writing = writer.write(Buffer.alloc(70_000)).then(() => {
      written = true;
    });
    await turn();
    expect(written).toBe(false);
    expect(stream.drainAtBytes).toBe(16 * 1024);
    stream.drain(16 * 1024);
    await writing;
  });

  test('closing the writable is a half close, both ends close the connection', async () => {
    await using pair = await tcpPair();
    const { readable, writable } = pair.served.toWeb();
    const writer = writable.getWriter();
    await writer.write(Buffer.from('bye'));
    await writer.close();
    expect(String(await pair.client.readAll())).toBe('bye');
    await pair.client.write('late');
    await pair.client.close();
    const reader = readable.getReader();
    expect(text((await reader.read()).value)).toBe('late');
    expect((await reader.read()).done).toBe(true);
  });

  test('after writeEof() of the connection a write is refused', async () => {
    await using pair = await tcpPair();
    await pair.served.writeEof();
    const { writable } = pair.served.toWeb();
    const writer = writable.getWriter();
    expect(await errorOf(writer.write(Buffer.from('x')))).toBeInstanceOf(ClosedResourceError);
    await errorOf(writer.closed);
  });

  test('an end that came before is told after the bytes', async () => {
    const { connection, stream, send } = fakeConnection();
    send('last');
    stream.sink?.onEof();
    const reader = connection.toWeb().readable.getReader();
    expect(text((await reader.read()).value)).toBe('last');
    expect((await reader.read()).done).toBe(true);
  });

  test('a reset fails both, with the code of the system', async () => {
    const { connection, stream } = fakeConnection();
    stream.stuck = true;
    const { readable, writable } = connection.toWeb();
    const reading = errorOf(readable.getReader().read());
    const writing = errorOf(writable.getWriter().write(Buffer.alloc(100_000)));
    stream.sink?.onClosed(reset);
    expect(await reading).toBe(reset);
    expect(await writing).toBe(reset);
    expect(connection.signal.aborted).toBe(true);
  });

  test('cancelling the readable flushes and closes', async () => {
    const { connection, stream } = fakeConnection();
    const { readable, writable } = connection.toWeb();
    const writer = writable.getWriter();
    await writer.write(Buffer.from('sent'));
    await readable.cancel('enough');
    expect(stream.calls).toContain('close');
    const error = await errorOf(writer.closed);
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause).toBe('enough');
  });

  test('aborting the writable aborts', async () => {
    const { connection, stream } = fakeConnection();
    const { readable, writable } = connection.toWeb();
    await writable.abort(new Error('enough'));
    expect(stream.calls).toContain('abort');
    expect((await errorOf(readable.getReader().read())).cause).toMatchObject({ message: 'enough' });
  });

  test('a chunk that is no bytes is a TypeError, and fails the stream', async () => {
    const { connection } = fakeConnection();
    const { writable } = connection.toWeb();
    const writer = writable.getWriter();
    expect(await errorOf(writer.write('text' as never))).toBeInstanceOf(TypeError);
    await errorOf(writer.closed);
  });

  test('the connection refuses direct use, close() and abort() end the streams', async () => {
    const soft = fakeConnection();
    const { readable } = soft.connection.toWeb();
    expect(await errorOf(soft.connection.read())).toBeInstanceOf(InvalidStateError);
    const closing = soft.connection.close();
    expect(soft.stream.calls).toContain('close');
    soft.stream.sink?.onClosed(undefined);
    await closing;
    expect(await errorOf(readable.getReader().read())).toBeInstanceOf(BrokenResourceError);
    const hard = fakeConnection();
    const pair = hard.connection.toWeb();
    hard.connection.abort();
    expect(hard.stream.calls).toContain('abort');
    await errorOf(pair.readable.getReader().read());
  });

  test('cannot be made while a task reads', async () => {
    const { connection, send } = fakeConnection();
    const reading = connection.read();
    expect(() => connection.toWeb()).toThrow(BusyResourceError);
    send('x');
    await reading;
  });
});

describe('fromWebStreams', () => {
  test('bytes go both ways; close closes and cancels', async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const connection = fromWebStreams({ readable, writable });
    const data = pattern(mebibyte);
    const writing = connection.write(data).then(() => connection.writeEof());
    expect((await connection.readAll()).equals(data)).toBe(true);
    await writing;
    expect(connection.localAddress.address).toBe('');
    await connection.close();
  });

  test('there and back again', async () => {
    await using pair = await tcpPair();
    const connection = fromWebStreams(pair.client.toWeb());
    await connection.write('around\n');
    expect(await pair.served.readLine()).toBe('around');
    await pair.served.write('back');
    await pair.served.close();
    expect(String(await connection.readAll())).toBe('back');
    await connection.close();
  });

  test('a cancelled read loses nothing', async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const connection = fromWebStreams({ readable, writable });
    const task = createTask(() => connection.read());
    await turn();
    task.cancel();
    await connection.write('kept');
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
    expect(String(await connection.readExactly(4))).toBe('kept');
    connection.abort();
  });

  test('an error of one stream reaches the other, and is the cause', async () => {
    const { writable, written } = stuckSink();
    const boom = Object.assign(new Error('boom'), { code: 'EBOOM' });
    const broken = deferred();
    const readable = new ReadableStream<Uint8Array>({
      pull: () => broken.promise.then(() => Promise.reject(boom)),
    });
    const connection = fromWebStreams({ readable, writable });
    const reading = errorOf(connection.read());
    broken.resolve();
    const error = await reading;
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause).toBe(boom);
    await turn();
    expect(written).toEqual(['aborted Error']);
  });

  test('abort aborts and cancels', async () => {
    const { writable, written } = stuckSink();
    const cancelled = deferred<unknown>();
    const readable = new ReadableStream<Uint8Array>({
      cancel: (reason) => cancelled.resolve(reason),
    });
    const connection = fromWebStreams({ readable, writable });
    connection.abort();
    expect(((await cancelled.promise) as Error).name).toBe('AbortError');
    await connection.close();
    expect(written).toEqual(['aborted AbortError']);
  });

  test.each([
    ['nothing', null],
    ['no streams', {}],
    ['half a pair', { readable: new ReadableStream() }],
  ])('%s is a TypeError', (_what, pair) => {
    expect(() => fromWebStreams(pair as never)).toThrow(TypeError);
  });
});

describe('readerFromWeb', () => {
  test('reads lines, exact counts, to the end', async () => {
    const parts = ['one\ntw', 'o\nrest', '', ' and more'].map((part) => Buffer.from(part));
    const reader = readerFromWeb(ReadableStream.from(parts) as ReadableStream<Uint8Array>);
    expect(await reader.readLine()).toBe('one');
    expect(await reader.readLine()).toBe('two');
    expect(String(await reader.readExactly(4))).toBe('rest');
    expect(String(await reader.readAll())).toBe(' and more');
    expect(reader.atEof).toBe(true);
  });

  test('an early end is IncompleteReadError', async () => {
    const reader = readerFromWeb(ReadableStream.from([Buffer.from('ab')]) as never);
    expect(await errorOf(reader.readExactly(3))).toBeInstanceOf(IncompleteReadError);
  });

  test('reads ahead up to 64 KiB only', async () => {
    let pulls = 0;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulls++;
        controller.enqueue(new Uint8Array(16 * 1024));
      },
    });
    const reader = readerFromWeb(stream);
    for (let i = 0; i < 20; i++) await turn();
    expect(pulls).toBeLessThanOrEqual(7);
    await reader.readExactly(mebibyte);
    expect(pulls).toBeGreaterThanOrEqual(64);
  });

  test('a chunk that is no bytes breaks it', async () => {
    const reader = readerFromWeb(ReadableStream.from(['text']) as never);
    expect((await errorOf(reader.read())).cause).toBeInstanceOf(TypeError);
  });

  test('a locked one is a TypeError', () => {
    const stream = new ReadableStream<Uint8Array>();
    stream.getReader();
    expect(() => readerFromWeb(stream)).toThrow(TypeError);
    expect(() => readerFromWeb(undefined as never)).toThrow(TypeError);
  });
});

describe('writerFromWeb', () => {
  test('write waits above the high-water mark, and takes a copy', async () => {
    const { writable, written, release } = stuckSink();
    const writer = writerFromWeb(writable);
    const bytes = Buffer.from('a');
    await writer.write(bytes);
    bytes.fill(0);
    let waited = false;
    const waiting = writer.write(Buffer.alloc(100_000)).then(() => {
      waited = true;
    });
    await turn();
    expect(waited).toBe(false);
    expect(writer.writeBufferBytes).toBe(100_001);
    release();
    await turn();
    release();
    await waiting;
    expect(written[0]).toBe('a');
  });

  test('writeEof closes the stream, and waits until that is done', async () => {
    const { writable, written, release } = stuckSink();
    const writer = writerFromWeb(writable);
    await writer.writeLines(['a', 'b']);
    const ending = writer.writeEof();
    await turn();
    expect(written).toEqual(['ab']);
    release();
    await ending;
    expect(written).toEqual(['ab', 'closed']);
    expect((await errorOf(writer.write('late'))).code).toBe('ERR_UVIO_CLOSED');
  });

  test('an error of the sink is the cause', async () => {
    const boom = new Error('disk full');
    const writer = writerFromWeb(new WritableStream({ write: () => Promise.reject(boom) }));
    await writer.write('x');
    await turn();
    expect((await errorOf(writer.write('y'))).cause).toBe(boom);
  });

  test('an error at its end rejects writeEof', async () => {
    const boom = new Error('disk full');
    const writer = writerFromWeb(new WritableStream({ close: () => Promise.reject(boom) }));
    await writer.write('x');
    expect((await errorOf(writer.writeEof())).cause).toBe(boom);
  });
});
