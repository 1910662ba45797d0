import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';
import { ClosedResourceError } from '../../lib/base/errors.ts';
import { checkData } from '../../lib/io/data.ts';
import { checkLeaks } from '../support/leaks.ts';
import { fakeTransport, Recorder } from './support.ts';

checkLeaks();

test('write tells whether the buffer is at or below the high-water mark', () => {
  const calls: string[] = [];
  const { transport, stream } = fakeTransport({
    dataReceived() {},
    pauseWriting: () => void calls.push('pause'),
    resumeWriting: () => void calls.push('resume'),
  });
  transport.setWriteBufferLimits({ highBytes: 10, lowBytes: 5 });
  stream.stuck = true;
  expect(transport.write('0123456789')).toBe(true);
  expect(transport.write('x')).toBe(false);
  expect(transport.write('y')).toBe(false);
  expect(calls).toEqual(['pause']);
  stream.drain(5);
  expect(calls).toEqual(['pause', 'resume']);
  expect(transport.writeLines(['1', Buffer.from('2')])).toBe(true);
  expect(transport.writeBufferBytes).toBe(7);
});

// CVE-2020-8265: a write behind a close used freed memory.
test('writing after close is dropped, and all may be called again', () => {
  const { transport, stream } = fakeTransport(new Recorder());
  transport.close();
  transport.close();
  expect(transport.closing).toBe(true);
  transport.write('x');
  transport.writeEof();
  transport.pauseReading();
  transport.resumeReading();
  expect(stream.written).toEqual([]);
  expect(stream.calls).toEqual(['close']);
  transport.abort();
  stream.sink?.onClosed(undefined);
  transport.abort();
  transport.write('y');
  expect(stream.calls).toEqual(['close', 'abort']);
  expect(transport.fd).toBe(null);
});

test('writing after writeEof is an error', () => {
  const { transport, stream } = fakeTransport(new Recorder());
  expect(transport.canWriteEof).toBe(true);
  transport.writeEof();
  transport.writeEof();
  expect(() => transport.write('x')).toThrow(ClosedResourceError);
  expect(stream.calls).toEqual(['shutdown']);
});

test('writing what is no data throws', () => {
  const { transport, stream } = fakeTransport(new Recorder());
  for (const wrong of [5, null, {}, [1]]) {
    expect(() => transport.write(wrong as unknown as string)).toThrow(TypeError);
  }
  const detached = new Uint8Array(4);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  expect([detached.length, detached.buffer.byteLength]).toEqual([0, 0]);
  expect(() => detached.buffer.slice(0, 0)).toThrow(TypeError);
  expect(() => transport.write(detached)).toThrow(
    expect.objectContaining({ code: 'ERR_UVIO_BUFFER_DETACHED' }),
  );
  expect(stream.written).toEqual([]);
});

// V8 of Node 20 and 22: compiled code that has seen arrays of resizable memory takes a detached one
// for as long as it was.
test('a detached array is none after compiled code has seen resizable memory', () => {
  const resizable: Uint8Array = Reflect.construct(Uint8Array, [
    Reflect.construct(ArrayBuffer, [8, { maxByteLength: 16 }]),
  ]);
  const gone = (bytes: number): Uint8Array => {
    const array = new Uint8Array(bytes);
    structuredClone(array.buffer, { transfer: [array.buffer] });
    return array;
  };
  for (let i = 0; i < 100_000; i++) {
    for (const data of [new Uint8Array(4), Buffer.alloc(3), resizable]) checkData(data);
  }
  for (const bytes of [4, 5000]) {
    expect(() => checkData(gone(bytes))).toThrow('transferred away');
  }
});

test('limits: a missing one follows, wrong ones are refused', () => {
  const { transport, stream } = fakeTransport(new Recorder());
  transport.setWriteBufferLimits({ highBytes: 100 });
  stream.stuck = true;
  transport.write(Buffer.alloc(101));
  expect(stream.calls).toEqual(['notifyDrain 25']);
  transport.setWriteBufferLimits({ lowBytes: 10 });
  expect(stream.calls).toEqual(['notifyDrain 25', 'notifyDrain 10']);
  for (const wrong of [
    { highBytes: 10, lowBytes: 11 },
    { highBytes: Number.NaN },
    { lowBytes: -1 },
  ]) {
    expect(() => transport.setWriteBufferLimits(wrong)).toThrow(RangeError);
  }
  expect(() => transport.setWriteBufferLimits({ highBytes: '1' as never })).toThrow(TypeError);
});

test('a lower high-water mark pauses at once', () => {
  const calls: string[] = [];
  const { transport, stream } = fakeTransport({
    dataReceived() {},
    pauseWriting: () => void calls.push('pause'),
  });
  stream.stuck = true;
  transport.write(Buffer.alloc(1_000));
  transport.setWriteBufferLimits({ highBytes: 500 });
  expect(calls).toEqual(['pause']);
});
