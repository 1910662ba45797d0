import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import {
  BusyResourceError,
  CancelledError,
  ClosedResourceError,
  IncompleteReadError,
  LimitOverrunError,
} from '../../lib/base/errors.ts';
import { createTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { errorOf, fakeConnection, turn } from './support.ts';

checkLeaks();

const text = (bytes: Buffer | null): string | null => (bytes === null ? null : bytes.toString());

/** Every way to cut a text into three parts, empty ones left out. */
function* splits(whole: string): Generator<string[]> {
  for (let first = 0; first <= whole.length; first++) {
    for (let second = first; second <= whole.length; second++) {
      const parts = [whole.slice(0, first), whole.slice(first, second), whole.slice(second)];
      yield parts.filter((part) => part !== '');
    }
  }
}

describe('read', () => {
  test('gives what is there, joined, without waiting', async () => {
    const { connection, send } = fakeConnection();
    send('ab');
    send('cd');
    expect(text(await connection.read())).toBe('abcd');
  });

  test('hands a single chunk out without a copy, queued or awaited', async () => {
    const { connection } = fakeConnection();
    const first = Buffer.from('first');
    const second = Buffer.from('second');
    connection.onData(first);
    expect(await connection.read()).toBe(first);
    const waiting = connection.read();
    connection.onData(second);
    expect(await waiting).toBe(second);
  });

  test('gives at most maxBytes and keeps the rest', async () => {
    const { connection, send } = fakeConnection();
    send('abcdef');
    expect(text(await connection.read(4))).toBe('abcd');
    const waiting = connection.read(4);
    expect(text(await waiting)).toBe('ef');
    const later = connection.read(2);
    send('xyz');
    expect(text(await later)).toBe('xy');
    expect(text(await connection.read())).toBe('z');
  });

  test('gives null at the end, again and again, after all bytes', async () => {
    const { connection, send } = fakeConnection();
    send('last');
    connection.onEof();
    expect(connection.atEof).toBe(false);
    expect(text(await connection.read())).toBe('last');
    expect(connection.atEof).toBe(true);
    expect(await connection.read()).toBe(null);
    expect(await connection.read(10)).toBe(null);
  });

  test('a waiting read gets null when the end comes', async () => {
    const { connection } = fakeConnection();
    const waiting = connection.read();
    connection.onEof();
    expect(await waiting).toBe(null);
  });

  test('a second reader gets BusyResourceError, and the first one its bytes', async () => {
    const { connection, send } = fakeConnection();
    const first = connection.read();
    const error = await errorOf(connection.readLine());
    expect(error).toBeInstanceOf(BusyResourceError);
    expect(error.code).toBe('ERR_UVIO_BUSY');
    send('x');
    expect(text(await first)).toBe('x');
  });

  test.each([0, -1, 1.5, Number.NaN])('read(%d) is a RangeError', async (size) => {
    const { connection } = fakeConnection();
    const error = await errorOf(connection.read(size));
    expect(error).toBeInstanceOf(RangeError);
    expect(error.code).toBe('ERR_OUT_OF_RANGE');
  });
});

// covers: asyncio/streamreader, trio/anyio-streams
describe('readExactly', () => {
  test('gives its bytes at every split of the input', async () => {
    for (const parts of splits('0123456789')) {
      const { connection, send } = fakeConnection();
      const early = connection.readExactly(4);
      for (const part of parts) send(part);
      expect(text(await early)).toBe('0123');
      expect(text(await connection.readExactly(6))).toBe('456789');
    }
  });

  test('of nothing needs nothing', async () => {
    const { connection } = fakeConnection();
    expect((await connection.readExactly(0)).length).toBe(0);
  });

  test('an early end is IncompleteReadError with the partial bytes', async () => {
    const { connection, send } = fakeConnection();
    const waiting = connection.readExactly(10);
    send('abc');
    connection.onEof();
    const error = (await errorOf(waiting)) as IncompleteReadError;
    expect(error).toBeInstanceOf(IncompleteReadError);
    expect(error.partial.toString()).toBe('abc');
    expect(error.expectedBytes).toBe(10);
    expect(await connection.read()).toBe(null);
  });

  test('more than the read-ahead limit is read without a pause', async () => {
    const { connection, stream } = fakeConnection({ limitBytes: 10 });
    const waiting = connection.readExactly(1_000);
    for (let i = 0; i < 100; i++) connection.onData(Buffer.alloc(10, i));
    const result = await waiting;
    expect(result.length).toBe(1_000);
    expect(stream.paused).toBe(false);
  });

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])('of %d is refused', async (size) => {
    const { connection } = fakeConnection();
    expect(await errorOf(connection.readExactly(size))).toBeInstanceOf(RangeError);
  });
});

// covers: asyncio/streamreader, trio/anyio-streams
describe('readUntil', () => {
  test('gives the part with its separator at every split of the input', async () => {
    for (const parts of splits('ab\r\ncd\r\n')) {
      const { connection, send } = fakeConnection();
      const early = connection.readUntil('\r\n');
      for (const part of parts) send(part);
      expect(text(await early)).toBe('ab\r\n');
      expect(text(await connection.readUntil(Buffer.from('\r\n')))).toBe('cd\r\n');
    }
  });

  test('of several separators the one that ends first counts, at every split', async () => {
    for (const parts of splits('ab--cd+++e-f')) {
      const { connection, send } = fakeConnection();
      const separators = ['+++', '--', 'd+'];
      const early = connection.readUntil(separators);
      for (const part of parts) send(part);
      expect(text(await early)).toBe('ab--');
      expect(text(await connection.readUntil(separators))).toBe('cd+');
      expect(text(await connection.readUntil(['-', '++']))).toBe('++');
      expect(text(await connection.readUntil('-'))).toBe('e-');
    }
  });

  test('an early end is IncompleteReadError without a number', async () => {
    const { connection, send } = fakeConnection();
    send('half');
    connection.onEof();
    const error = (await errorOf(connection.readUntil('\n'))) as IncompleteReadError;
    expect(error.partial.toString()).toBe('half');
    expect(error.expectedBytes).toBe(null);
  });

  test('the limit holds at every split, and leaves the bytes', async () => {
    for (const parts of splits('12345678;rest')) {
      const { connection, send } = fakeConnection({ limitBytes: 8 });
      const waiting = connection.readUntil(';');
      for (const part of parts) send(part);
      expect(text(await waiting)).toBe('12345678;');
    }
    for (const parts of splits('123456789;')) {
      const { connection, send } = fakeConnection({ limitBytes: 8 });
      const waiting = errorOf(connection.readUntil(';'));
      for (const part of parts) send(part);
      const error = (await waiting) as LimitOverrunError;
      expect(error).toBeInstanceOf(LimitOverrunError);
      expect(error.bufferedBytes).toBeGreaterThan(8);
      expect(text(await connection.readExactly(10))).toBe('123456789;');
    }
  });

  test.each([[''], [[]], [['a', '']], [5]])('separator %j is a TypeError', async (separator) => {
    const { connection } = fakeConnection();
    expect(await errorOf(connection.readUntil(separator as string))).toBeInstanceOf(TypeError);
  });
});

// covers: asyncio/streamreader
describe('readLine', () => {
  test('gives lines without their ends at every split of the input', async () => {
    for (const parts of splits('ä\r\nb\n\nc')) {
      const { connection, send } = fakeConnection();
      const early = connection.readLine();
      const bytes = Buffer.from(parts.join(''));
      const cut = Buffer.from(parts[0] ?? '').length;
      connection.onData(Buffer.from(bytes.subarray(0, cut)));
      connection.onData(Buffer.from(bytes.subarray(cut)));
      connection.onEof();
      expect(await early).toBe('ä');
      expect(await connection.readLine()).toBe('b');
      expect(await connection.readLine()).toBe('');
      expect(await connection.readLine()).toBe('c');
      expect(await connection.readLine()).toBe(null);
      send('');
    }
  });

  test('a line at the limit passes, one byte more does not', async () => {
    const { connection, send } = fakeConnection({ limitBytes: 4 });
    send('1234\n12345\n');
    expect(await connection.readLine()).toBe('1234');
    expect(await errorOf(connection.readLine())).toBeInstanceOf(LimitOverrunError);
    expect(await errorOf(connection.readLine())).toBeInstanceOf(LimitOverrunError);
    expect(text(await connection.read())).toBe('12345\n');
  });

  test('a long line of single bytes is not searched again and again', async () => {
    const { connection } = fakeConnection({ limitBytes: 100_000 });
    const waiting = connection.readLine();
    for (let i = 0; i < 60_000; i++) connection.onData(Buffer.from('x'));
    connection.onData(Buffer.from('\n'));
    expect((await waiting)?.length).toBe(60_000);
  });
});

describe('readAll', () => {
  test('gives everything to the end', async () => {
    const { connection, send } = fakeConnection({ limitBytes: 4 });
    send('abc');
    const waiting = connection.readAll();
    send('defghijkl');
    send('m');
    connection.onEof();
    expect(text(await waiting)).toBe('abcdefghijklm');
    expect((await connection.readAll()).length).toBe(0);
  });

  test('above maxBytes it is LimitOverrunError and the bytes stay', async () => {
    const { connection, send } = fakeConnection();
    const waiting = errorOf(connection.readAll(5));
    send('abcdef');
    expect(await waiting).toBeInstanceOf(LimitOverrunError);
    expect(text(await connection.read())).toBe('abcdef');
  });
});

describe('readInto', () => {
  test('fills the target and tells how far', async () => {
    const { connection, send } = fakeConnection();
    const target = Buffer.alloc(4, '.');
    const waiting = connection.readInto(target);
    send('abcdef');
    expect(await waiting).toBe(4);
    expect(await connection.readInto(target.subarray(1))).toBe(2);
    expect(target.toString()).toBe('aefd');
    connection.onEof();
    expect(await connection.readInto(target)).toBe(0);
    expect(await connection.readInto(new Uint8Array(0))).toBe(0);
  });

  test('a target that was transferred away is refused and no byte is lost', async () => {
    const { connection, send } = fakeConnection();
    const target = new Uint8Array(8);
    structuredClone(target.buffer, { transfer: [target.buffer] });
    const error = await errorOf(connection.readInto(target));
    expect(error.code).toBe('ERR_UVIO_BUFFER_DETACHED');
    send('x');
    expect(text(await connection.read())).toBe('x');
  });

  test('a target that is transferred away during the wait loses no byte', async () => {
    const { connection, send } = fakeConnection();
    const target = new Uint8Array(8);
    const waiting = errorOf(connection.readInto(target));
    structuredClone(target.buffer, { transfer: [target.buffer] });
    send('x');
    expect((await waiting).code).toBe('ERR_UVIO_BUFFER_DETACHED');
    expect(text(await connection.read())).toBe('x');
  });
});

describe('loops', () => {
  // covers: seeds/C33
  test('over chunks gives each one as it came, then ends', async () => {
    const { connection, send } = fakeConnection();
    const chunk = Buffer.from('one');
    connection.onData(chunk);
    send('two');
    connection.onEof();
    const seen: Buffer[] = [];
    for await (const data of connection) seen.push(data);
    expect(seen.map(String)).toEqual(['one', 'two']);
    expect(seen[0]).toBe(chunk);
  });

  test('left early keeps the connection and the bytes', async () => {
    const { connection, send, stream } = fakeConnection();
    send('one');
    send('two');
    for await (const data of connection) {
      expect(String(data)).toBe('one');
      break;
    }
    expect(connection.open).toBe(true);
    expect(stream.calls).toEqual([]);
    for await (const data of connection) {
      expect(String(data)).toBe('two');
      break;
    }
  });

  test('over lines gives the last one without a newline, too', async () => {
    const { connection, send } = fakeConnection();
    send('one\r\ntwo\nthr');
    const seen: string[] = [];
    const done = (async () => {
      for await (const line of connection.lines()) seen.push(line);
    })();
    await turn();
    send('ee');
    connection.onEof();
    await done;
    expect(seen).toEqual(['one', 'two', 'three']);
  });
});

describe('read-ahead', () => {
  test('pauses above the limit and resumes at half of it', async () => {
    const { connection, stream } = fakeConnection({ limitBytes: 100 });
    connection.onData(Buffer.alloc(100));
    expect(stream.paused).toBe(false);
    connection.onData(Buffer.alloc(20));
    expect(stream.paused).toBe(true);
    await connection.readExactly(60);
    expect(stream.paused).toBe(true);
    await connection.readExactly(10);
    expect(stream.paused).toBe(false);
    expect(stream.calls).toEqual(['pause', 'resume']);
  });

  test('a read that has to wait resumes at once', async () => {
    const { connection, stream } = fakeConnection({ limitBytes: 10 });
    connection.onData(Buffer.alloc(20));
    expect(stream.paused).toBe(true);
    const waiting = connection.readExactly(30);
    expect(stream.paused).toBe(false);
    connection.onData(Buffer.alloc(30));
    await waiting;
    expect(stream.paused).toBe(true);
  });
});

describe('cancelled reads', () => {
  const reads: [
    string,
    (connection: ReturnType<typeof fakeConnection>['connection']) => unknown,
  ][] = [
    ['read', (connection) => connection.read()],
    ['readExactly', (connection) => connection.readExactly(100)],
    ['readUntil', (connection) => connection.readUntil('#')],
    ['readLine', (connection) => connection.readLine()],
    ['readAll', (connection) => connection.readAll()],
    ['readInto', (connection) => connection.readInto(new Uint8Array(4))],
    ['for await', (connection) => connection[Symbol.asyncIterator]().next()],
  ];

  test.each(reads)('%s loses no byte when its task is cancelled', async (_name, read) => {
    const { connection, send } = fakeConnection();
    const task = createTask(async () => {
      await read(connection);
    });
    await turn();
    task.cancel();
    send('kept');
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
    send(' all');
    expect(text(await connection.read())).toBe('kept all');
  });

  test.each(reads)('%s in a cancelled task takes nothing', async (_name, read) => {
    const { connection, send } = fakeConnection();
    send('kept');
    const task = createTask(async () => {
      task.cancel();
      await read(connection);
    });
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
    expect(text(await connection.read())).toBe('kept');
  });

  test('partial bytes of a cancelled read are there for the next one', async () => {
    const { connection, send } = fakeConnection();
    const task = createTask(() => connection.readExactly(6));
    await turn();
    send('abc');
    task.cancel();
    await errorOf(task);
    send('def');
    expect(text(await connection.readExactly(6))).toBe('abcdef');
  });

  test('bytes that came in the same turn as the cancellation are delivered', async () => {
    const { connection, send } = fakeConnection();
    let got: string | null = null;
    const task = createTask(async () => {
      got = text(await connection.read());
    });
    await turn();
    send('first');
    task.cancel();
    await task.wait();
    expect(got).toBe('first');
  });

  test('a signal rejects with its reason and loses nothing', async () => {
    const { connection, send } = fakeConnection();
    const controller = new AbortController();
    const waiting = errorOf(connection.read(undefined, { signal: controller.signal }));
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await waiting).toBe(reason);
    send('kept');
    const again = connection.read(undefined, { signal: controller.signal });
    expect(await errorOf(again)).toBe(reason);
    expect(text(await connection.read())).toBe('kept');
  });
});

test('reading after close is ClosedResourceError, also for a read that waits', async () => {
  const { connection, stream } = fakeConnection();
  const waiting = errorOf(connection.read());
  const closing = connection.close();
  expect(await waiting).toBeInstanceOf(ClosedResourceError);
  expect((await errorOf(connection.readLine())).code).toBe('ERR_UVIO_CLOSED');
  stream.sink?.onClosed(undefined);
  await closing;
});
