import { describe, expect, test } from 'vitest';
import {
  BrokenResourceError,
  CancelledError,
  ClosedResourceError,
  IncompleteReadError,
} from '../../lib/base/errors.ts';
import { currentTime, sleep } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { memoryConnectionPair, waitAllTasksBlocked } from '../../lib/testing/index.ts';
import { pattern } from '../io/support.ts';
import { failure, runTest, virtualTest } from '../task/support.ts';

const kibibyte = 1024;

// covers: trio/mockclock
describe('memoryConnectionPair', () => {
  runTest('carries bytes both ways, in order', async () => {
    const [left, right] = memoryConnectionPair();
    await left.write('to the ');
    await left.write('right\n');
    await right.write('to the left');
    expect(await right.readLine()).toBe('to the right');
    expect(String(await left.readExactly(11))).toBe('to the left');
    await Promise.all([left.close(), right.close()]);
    expect([left.open, right.open]).toEqual([false, false]);
  });

  runTest('takes megabytes, byte for byte, in both directions at once', async () => {
    const [left, right] = memoryConnectionPair();
    const data = pattern(3 * 1024 * kibibyte);
    const send = async (connection: typeof left): Promise<void> => {
      for (let at = 0; at < data.length; at += 50_000) {
        await connection.write(data.subarray(at, at + 50_000));
      }
      await connection.writeEof();
    };
    const sending = [createTask(send, left), createTask(send, right)];
    const [fromLeft, fromRight] = await Promise.all([right.readAll(), left.readAll()]);
    for (const task of sending) await task;
    expect(fromLeft.equals(data) && fromRight.equals(data)).toBe(true);
    await Promise.all([left.close(), right.close()]);
  });

  runTest('is half-closed by writeEof', async () => {
    const [left, right] = memoryConnectionPair();
    await left.write('question');
    await left.writeEof();
    expect(String(await right.readAll())).toBe('question');
    await right.write('answer');
    await right.close();
    expect(String(await left.readAll())).toBe('answer');
    expect(await failure(left.write('more'))).toBeInstanceOf(ClosedResourceError);
    await left.close();
  });

  runTest('holds a writer back that nobody reads from', async () => {
    const [left, right] = memoryConnectionPair({ highWaterBytes: 1_000 });
    const piece = Buffer.alloc(1_000);
    let sent = 0;
    const writer = createTask(async () => {
      for (; sent < 500; sent++) await left.write(piece);
      await left.writeEof();
    });
    await waitAllTasksBlocked();
    expect(writer.done).toBe(false);
    // What the other end reads ahead, the way, and the mark.
    expect(sent * piece.length).toBeLessThan(100_000);
    expect(left.writeBufferBytes).toBeGreaterThan(250);
    expect((await right.readAll()).length).toBe(500 * piece.length);
    await writer;
    await Promise.all([left.close(), right.close()]);
  });

  runTest('tells the end, and an end that comes too early', async () => {
    const [left, right] = memoryConnectionPair();
    await left.write('abc');
    await left.close();
    expect(await failure(right.readExactly(5))).toBeInstanceOf(IncompleteReadError);
    expect(await right.read()).toBeNull();
    await right.close();
  });

  runTest('writing to an end that has closed breaks the connection', async () => {
    const [left, right] = memoryConnectionPair();
    await right.close();
    await left.write('into the void');
    await waitAllTasksBlocked();
    const error = await failure(left.write('again'));
    expect(error).toBeInstanceOf(BrokenResourceError);
    expect(error.cause).toMatchObject({ code: 'ECONNRESET' });
    left.abort();
  });

  runTest('aborted, the other end sees the end, and what was on its way', async () => {
    const [left, right] = memoryConnectionPair();
    const reading = failure(left.read());
    await left.write('sent');
    left.abort('enough');
    expect(await reading).toBeInstanceOf(BrokenResourceError);
    expect(String(await right.readAll())).toBe('sent');
    await right.close();
  });

  runTest('a cancelled read loses no byte', async () => {
    const [left, right] = memoryConnectionPair();
    const reader = createTask(() => right.readExactly(6));
    await left.write('abc');
    await waitAllTasksBlocked();
    reader.cancel();
    expect(await failure(reader)).toBeInstanceOf(CancelledError);
    await left.write('def');
    expect(String(await right.readExactly(6))).toBe('abcdef');
    await Promise.all([left.close(), right.close()]);
  });

  virtualTest('takes no virtual time', async () => {
    const [left, right] = memoryConnectionPair();
    const sleeper = createTask(() => sleep(5));
    await left.write(pattern(300 * kibibyte).subarray(0, 50_000));
    await right.readExactly(50_000);
    expect(currentTime()).toBe(0);
    await sleeper;
  });

  test('works outside of a run; sizes are checked', async () => {
    const [left, right] = memoryConnectionPair();
    await left.write('x');
    expect(String(await right.read())).toBe('x');
    expect([left.remoteAddress.family, left.tls, right.localAddress.port]).toEqual([
      'unix',
      null,
      0,
    ]);
    await Promise.all([left.close(), right.close()]);
    expect(() => memoryConnectionPair({ highWaterBytes: -1 })).toThrow(RangeError);
    expect(() => memoryConnectionPair({ highWaterBytes: '1' as never })).toThrow(TypeError);
  });
});
