import { once } from 'node:events';
import * as net from 'node:net';
import { describe, expect, test } from 'vitest';
import * as errors from '../../lib/base/errors.ts';
import { CancelledError, ExceptionGroup, isCancelled } from '../../lib/base/errors.ts';

describe('classes', () => {
  test('every class carries its name, a code of the table and its message', () => {
    const made: Error[] = [
      new errors.CancelledError(),
      new errors.TimeoutError(),
      new errors.ExceptionGroup([new Error('a')]),
      new errors.InvalidStateError(),
      new errors.WouldBlock(),
      new errors.QueueEmpty(),
      new errors.QueueFull(),
      new errors.QueueShutDown(),
      new errors.BrokenBarrierError(),
      new errors.ClosedResourceError(),
      new errors.BrokenResourceError(),
      new errors.BusyResourceError(),
      new errors.EndOfChannel(),
      new errors.IncompleteReadError(Buffer.from('ab'), 5),
      new errors.LimitOverrunError(70_000),
      new errors.ProcessError('ended with code 1', {
        exitCode: 1,
        exitSignal: null,
        stdout: Buffer.alloc(0),
        stderr: Buffer.alloc(0),
      }),
    ];
    for (const error of made) {
      const name = error.constructor.name;
      expect(error.name).toBe(name);
      expect(error.stack).toMatch(new RegExp(`^${name}: `));
      expect(error.message).not.toBe('');
      const code = (error as NodeJS.ErrnoException).code;
      const row = errors.errorTable.find((entry) => entry.code === code);
      expect(row?.className).toBe(name);
      expect(Object.keys(error)).not.toContain('name');
    }
  });

  test('codes are unique', () => {
    const codes = errors.errorTable.map((entry) => entry.code);
    expect(new Set(codes).size).toBe(codes.length);
  });

  test('reason and cause are kept', () => {
    const cause = new Error('why');
    const error = new CancelledError('stop', { reason: 7, cause });
    expect(error).toMatchObject({ message: 'stop', reason: 7, cause, code: 'ABORT_ERR' });
    expect('cause' in new CancelledError()).toBe(false);
    expect(new errors.TimeoutError('late', { cause }).cause).toBe(cause);
    expect(new errors.BrokenResourceError('gone', { cause }).cause).toBe(cause);
  });

  test('isCancelled knows every abort', () => {
    expect(isCancelled(new CancelledError())).toBe(true);
    expect(isCancelled(AbortSignal.abort().reason)).toBe(true);
    expect(isCancelled(Object.assign(new Error('x'), { code: 'ABORT_ERR' }))).toBe(true);
    for (const other of [
      new Error('x'),
      null,
      undefined,
      'AbortError',
      new errors.TimeoutError(),
    ]) {
      expect(isCancelled(other)).toBe(false);
    }
  });

  test('hierarchy', () => {
    expect(new errors.QueueEmpty()).toBeInstanceOf(errors.WouldBlock);
    expect(new ExceptionGroup([])).toBeInstanceOf(AggregateError);
    expect(errors.bufferFullError(10, 5)).toMatchObject({ code: 'ERR_UVIO_BUFFER_FULL' });
  });
});

describe('ExceptionGroup', () => {
  const a = new TypeError('a');
  const b = new RangeError('b');
  const c = new TypeError('c');

  test('split keeps the nesting, message and cause; empty parts are null', () => {
    const group = new ExceptionGroup([a, new ExceptionGroup([b, c], 'inner'), b], 'outer');
    group.cause = 'because';
    const [types, rest] = group.split((error) => error instanceof TypeError);
    expect(types?.message).toBe('outer');
    expect(types?.cause).toBe('because');
    expect(types?.stack).toBe(group.stack);
    expect(types?.errors[0]).toBe(a);
    expect(types?.errors[1]).toMatchObject({ message: 'inner', errors: [c] });
    expect(rest?.leaves()).toEqual([b, b]);
    expect(group.subgroup(() => false)).toBeNull();
    expect(group.split(() => true)[1]).toBeNull();
    expect(group.leaves()).toEqual([a, b, c, b]);
  });

  test('nesting of 10,000 needs no call stack', () => {
    let group = new ExceptionGroup([a, b]);
    for (let i = 0; i < 10_000; i++) group = new ExceptionGroup([group]);
    expect(group.leaves()).toEqual([a, b]);
    const [left, right] = group.split((error) => error === a);
    expect(left?.leaves()).toEqual([a]);
    expect(right?.leaves()).toEqual([b]);
  });
});

describe('system errors', () => {
  test('connect: the same as Node', async () => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    server.close();
    await once(server, 'close');
    const [node] = (await once(net.connect(port, '127.0.0.1'), 'error').catch((error) => [
      error,
    ])) as [NodeJS.ErrnoException];
    const own = errors.systemErrorByCode('ECONNREFUSED', 'connect', '127.0.0.1', port);
    expect(own.message).toBe(node.message);
    expect({ ...own }).toEqual({ ...node });
    expect(own).toBeInstanceOf(Error);
  });

  test('listen: the long form', async () => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    const second = net.createServer().listen(port, '127.0.0.1');
    const [node] = (await once(second, 'error').catch((error) => [error])) as [
      NodeJS.ErrnoException,
    ];
    server.close();
    const own = errors.systemError(node.errno as number, 'listen', '127.0.0.1', port);
    expect(own.message).toBe(node.message);
    expect({ ...own }).toEqual({ ...node });
  });

  test('without an address, and with a number nobody knows', () => {
    const reset = errors.systemErrorByCode('ECONNRESET', 'read');
    expect(reset.message).toBe('read ECONNRESET');
    expect(reset).not.toHaveProperty('address');
    expect(errors.systemError(-99_999, 'read').code).toBe('Unknown system error -99999');
    expect(() => errors.systemErrorByCode('ENOSUCH', 'read')).toThrow(TypeError);
    expect(errors.notSupportedError('reusePort', 'old Node')).toMatchObject({ code: 'ENOTSUP' });
  });
});
