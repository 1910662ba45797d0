import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { Duplex, PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import {
  BrokenResourceError,
  CancelledError,
  ClosedResourceError,
  InvalidStateError,
} from '../../lib/base/errors.ts';
import { fromNodeStream } from '../../lib/node/index.ts';
import { moveOnAfter } from '../../lib/task/scope.ts';
import { createTask } from '../../lib/task/task.ts';
import { errorOf, pattern, tcpPair, turn, until } from '../io/support.ts';
import { checkLeaks } from '../support/leaks.ts';

checkLeaks();

/** Two Duplexes, each of which reads what the other one writes. */
function duplexPair(): [Duplex, Duplex] {
  const [there, back] = [new PassThrough(), new PassThrough()];
  // A Duplex.from() calls its destruction an error.
  const quiet = <T extends Duplex>(stream: T): T => stream.on('error', () => {});
  const end = (readable: PassThrough, writable: PassThrough): Duplex =>
    quiet(Duplex.from({ readable: quiet(readable), writable: quiet(writable) }));
  return [end(back, there), end(there, back)];
}

/** A Duplex whose other side is the test. */
function stuckStream(): { stream: Duplex; written: Buffer[]; release: () => void } {
  const written: Buffer[] = [];
  let waiting: (() => void) | null = null;
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk);
      waiting = done;
    },
  });
  const release = (): void => {
    const done = waiting;
    waiting = null;
    done?.();
  };
  return { stream, written, release };
}

describe('a Duplex as a connection', () => {
  test('bytes go both ways, with all kinds of reads', async () => {
    const [left, right] = duplexPair();
    const connection = fromNodeStream(left);
    right.write('line\nexactly');
    expect(await connection.readLine()).toBe('line');
    expect(String(await connection.readExactly(7))).toBe('exactly');
    const read = once(right, 'data');
    await connection.write('answer');
    expect(String((await read)[0])).toBe('answer');
    await connection.close();
    right.destroy();
  });

  test('what the stream had buffered comes first', async () => {
    const stream = new PassThrough();
    stream.write('before');
    await turn();
    const connection = fromNodeStream(stream);
    expect(String(await connection.read())).toBe('before');
    connection.abort();
  });

  test('large data arrives complete, through a slow reader', async () => {
    const stream = new PassThrough();
    const connection = fromNodeStream(stream);
    const data = pattern(1024 * 1024);
    const writing = (async () => {
      for (let at = 0; at < data.length; at += 50_000) {
        await connection.write(data.subarray(at, at + 50_000));
      }
      await connection.writeEof();
    })();
    const chunks: Buffer[] = [];
    for await (const chunk of connection) {
      chunks.push(chunk);
      if (chunks.length % 4 === 0) await turn();
    }
    await writing;
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
    await connection.close();
  });

  test('a stream that nobody reads from is not read ahead without bounds', async () => {
    const stream = new PassThrough();
    const connection = fromNodeStream(stream);
    let sent = 0;
    const chunk = Buffer.alloc(16 * 1024);
    do sent += chunk.length;
    while (stream.write(chunk) || sent < 128 * 1024);
    await turn();
    const full = stream.writableNeedDrain || stream.readableLength > 0;
    expect(full).toBe(true);
    expect(await connection.readExactly(sent)).toHaveLength(sent);
    connection.abort();
  });

  test('write waits above the high-water mark, and takes a copy', async () => {
    const { stream, written, release } = stuckStream();
    const connection = fromNodeStream(stream);
    const bytes = Buffer.from('first');
    await connection.write(bytes);
    bytes.fill(0);
    let waited = false;
    const waiting = connection.write(Buffer.alloc(100_000)).then(() => {
      waited = true;
    });
    await turn();
    expect(waited).toBe(false);
    expect(connection.writeBufferBytes).toBe(100_005);
    release();
    await turn();
    release();
    await waiting;
    expect(String(written[0])).toBe('first');
    connection.abort();
  });

  test('half close: the answer follows the end of the question', async () => {
    const [left, right] = duplexPair();
    const connection = fromNodeStream(left);
    right.end('question');
    expect(String(await connection.readAll())).toBe('question');
    expect(connection.open).toBe(true);
    const answer = once(right, 'data');
    await connection.write('answer');
    await connection.writeEof();
    expect(String((await answer)[0])).toBe('answer');
    await connection.close();
    right.destroy();
  });

  test('an end is told although reading was paused before', async () => {
    const stream = new PassThrough();
    const connection = fromNodeStream(stream);
    stream.end(Buffer.alloc(100_000));
    await turn();
    expect(await connection.readAll()).toHaveLength(100_000);
    expect(await connection.read()).toBe(null);
    await connection.close();
  });

  test('a stream that has ended before', async () => {
    const stream = new PassThrough({ autoDestroy: false });
    stream.resume().end();
    await once(stream, 'end');
    const connection = fromNodeStream(stream);
    expect(await connection.read()).toBe(null);
    expect((await errorOf(connection.write('x'))).code).toBe('ERR_UVIO_CLOSED');
    await connection.close();
  });

  test('close flushes', async () => {
    const { stream, written, release } = stuckStream();
    const connection = fromNodeStream(stream);
    void connection.write('a');
    void connection.write('b');
    const closing = connection.close();
    await turn();
    release();
    await turn();
    release();
    await closing;
    expect(String(Buffer.concat(written))).toBe('ab');
    expect(stream.destroyed).toBe(true);
  });

  test('abort destroys at once', async () => {
    const { stream } = stuckStream();
    const connection = fromNodeStream(stream);
    void connection.write('never');
    connection.abort();
    expect(stream.destroyed).toBe(true);
    await connection.close();
  });

  test('an error of the stream is the cause, with its code', async () => {
    const { stream } = stuckStream();
    const connection = fromNodeStream(stream);
    const reading = errorOf(connection.read());
    const writing = errorOf(connection.write(Buffer.alloc(100_000)));
    const boom = Object.assign(new Error('boom'), { code: 'EBOOM' });
    stream.destroy(boom);
    for (const failing of [reading, writing]) {
      const error = await failing;
      expect(error).toBeInstanceOf(BrokenResourceError);
      expect(error.cause).toBe(boom);
    }
    await connection.close();
  });

  test('a stream that somebody else destroys is broken, not at its end', async () => {
    const { stream } = stuckStream();
    const connection = fromNodeStream(stream);
    const reading = errorOf(connection.read());
    stream.destroy();
    expect((await reading).cause).toMatchObject({ code: 'ERR_STREAM_PREMATURE_CLOSE' });
  });

  test('a cancelled read loses nothing', async () => {
    const [left, right] = duplexPair();
    const connection = fromNodeStream(left);
    const task = createTask(() => connection.read());
    await turn();
    task.cancel();
    right.write('kept');
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
    expect(await moveOnAfter(0, () => connection.readExactly(10))).toBe(undefined);
    expect(String(await connection.readExactly(4))).toBe('kept');
    connection.abort();
    right.destroy();
  });

  test('addresses of a stream that has none are empty; options are passed on', async () => {
    const { stream } = stuckStream();
    const calls: unknown[] = [];
    const setNoDelay = (on: boolean): void => void calls.push(on);
    Object.assign(stream, { remoteAddress: '192.0.2.1', remotePort: 5, setNoDelay });
    const connection = fromNodeStream(stream);
    expect(connection.localAddress.address).toBe('');
    expect(connection.remoteAddress).toEqual({ address: '192.0.2.1', port: 5, family: 'IPv4' });
    connection.setNoDelay();
    connection.setKeepAlive(true);
    expect(calls).toEqual([true]);
    connection.abort();
  });

  test('there and back again', async () => {
    await using pair = await tcpPair();
    const connection = fromNodeStream(pair.client.toNode());
    expect(connection.remoteAddress.port).toBe(pair.server.port);
    await connection.write('around');
    expect(String(await pair.served.readExactly(6))).toBe('around');
    await pair.served.write('back');
    await pair.served.close();
    expect(String(await connection.readAll())).toBe('back');
    await connection.close();
    await until(() => !pair.client.open);
  });
});

describe('what is refused', () => {
  test.each([
    ['nothing', null],
    ['a string', 'stream'],
    ['half a stream', { read() {}, on() {} }],
    ['object mode', new Duplex({ objectMode: true })],
    ['an encoding', new PassThrough({ encoding: 'utf8' })],
  ])('%s', (_what, stream) => {
    expect(() => fromNodeStream(stream as Duplex)).toThrow(TypeError);
  });

  test('a destroyed one, and the same one twice', async () => {
    const stream = new PassThrough();
    const connection = fromNodeStream(stream);
    expect(() => fromNodeStream(stream)).toThrow(InvalidStateError);
    await connection.close();
    expect(() => fromNodeStream(new PassThrough().destroy())).toThrow(ClosedResourceError);
  });
});
