import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { openConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { Connection, Server } from '../../lib/io/net-types.ts';
import type {
  BufferedProtocol,
  Protocol,
  StreamProtocol,
  Transport,
} from '../../lib/io/protocols.ts';
import { StreamTransport } from '../../lib/io/transport.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { checkLeaks } from '../support/leaks.ts';
import {
  catchExceptions,
  fakeTransport,
  localhost,
  NodeClient,
  Recorder,
  turn,
  until,
} from './support.ts';

checkLeaks();

class BufferedRecorder implements BufferedProtocol {
  readonly log: string[] = [];
  readonly memory = Buffer.alloc(4);

  getBuffer(): Uint8Array {
    return this.memory;
  }

  bufferUpdated(bytes: number): void {
    this.log.push(`filled ${this.memory.subarray(0, bytes)}`);
  }
}

/** A server of one kind of protocol, and a client for it. */
async function serve(make: () => StreamProtocol): Promise<{ server: Server; client: Connection }> {
  const server = await currentLoop().createServer(make, { host: localhost });
  const client = await openConnection({ host: localhost, port: server.port });
  return { server, client };
}

// covers: asyncio/protocol
describe('callbacks', () => {
  test('come in order: made, data, eof, lost', async () => {
    const recorder = new Recorder();
    const { server, client } = await serve(() => recorder);
    await client.write('a');
    await until(() => recorder.log.length === 2);
    await client.close();
    await until(() => recorder.log.length === 4);
    expect(recorder.log).toEqual(['made', 'data a', 'eof', 'lost']);
    await server[Symbol.asyncDispose]();
    expect(recorder.log).toHaveLength(4);
  });

  test('eofReceived that returns true keeps the write side open', async () => {
    class HalfOpen extends Recorder {
      override eofReceived(): boolean {
        this.log.push('eof');
        void currentLoop().callSoon(() => {
          this.transport?.write('answer after eof');
          this.transport?.close();
        });
        return true;
      }
    }
    const recorder = new HalfOpen();
    const { server, client } = await serve(() => recorder);
    await client.writeEof();
    expect(String(await client.readAll())).toBe('answer after eof');
    await until(() => recorder.log.includes('lost'));
    await client.close();
    await server[Symbol.asyncDispose]();
  });

  test('a reset is told to connectionLost, once, in Node’s shape', async () => {
    const recorder = new Recorder();
    const server = await currentLoop().createServer(() => recorder, { host: localhost });
    const client = await new NodeClient(server.port).connected();
    client.socket.write('x');
    await until(() => recorder.log.length === 2);
    client.socket.resetAndDestroy();
    await until(() => recorder.log.length === 3);
    expect(recorder.lost).toMatchObject({ code: 'ECONNRESET', syscall: 'read' });
    await server[Symbol.asyncDispose]();
    expect(recorder.log).toHaveLength(3);
  });

  test('optional ones may be missing', () => {
    const { transport, stream, send } = fakeTransport({ dataReceived: () => {} });
    send('x');
    stream.bufferedBytes = 1_000_000;
    expect(transport.write('x')).toBe(false);
    stream.drain();
    stream.sink?.onEof();
    stream.sink?.onClosed(undefined);
    expect(stream.calls).toEqual(['notifyDrain 16384', 'close']);
  });
});

describe('a protocol that throws', () => {
  const boom = new Error('boom');
  const throwing: [string, (transport: Transport) => Partial<Protocol>][] = [
    [
      'connectionMade',
      () => ({
        connectionMade() {
          throw boom;
        },
      }),
    ],
    [
      'dataReceived',
      () => ({
        dataReceived() {
          throw boom;
        },
      }),
    ],
    [
      'eofReceived',
      () => ({
        eofReceived() {
          throw boom;
        },
      }),
    ],
  ];

  test.each(throwing)('in %s is reported, aborted, and told once', async (name, make) => {
    const seen = catchExceptions();
    const lost: unknown[] = [];
    const { server, client } = await serve(() => ({
      dataReceived() {},
      connectionLost: (error?: Error) => void lost.push(error),
      ...make(undefined as never),
    }));
    await client.write('x');
    await client.writeEof();
    await until(() => lost.length > 0);
    expect(lost).toEqual([boom]);
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ error: boom, message: `Exception in protocol.${name}()` });
    expect(seen[0]?.transport).toBeInstanceOf(StreamTransport);
    client.abort();
    await server[Symbol.asyncDispose]();
  });

  test('in the factory costs that connection only', async () => {
    const seen = catchExceptions();
    let count = 0;
    const recorder = new Recorder();
    const server = await currentLoop().createServer(
      () => {
        if (count++ === 0) throw boom;
        return recorder;
      },
      { host: localhost },
    );
    const first = new NodeClient(server.port);
    await first.closed;
    const second = await openConnection({ host: localhost, port: server.port });
    await second.write('x');
    await until(() => recorder.log.length === 2);
    expect(seen.map((context) => context.error)).toEqual([boom]);
    await second.close();
    await server[Symbol.asyncDispose]();
  });

  test('in pauseWriting, resumeWriting and connectionLost is reported only', () => {
    const seen = catchExceptions();
    const { transport, stream } = fakeTransport({
      dataReceived() {},
      pauseWriting() {
        throw new Error('pause');
      },
      resumeWriting() {
        throw new Error('resume');
      },
      connectionLost() {
        throw new Error('lost');
      },
    });
    stream.bufferedBytes = 1_000_000;
    transport.write('x');
    stream.drain();
    expect(transport.closing).toBe(false);
    stream.sink?.onClosed(undefined);
    const messages = seen.map((context) => (context.error as Error).message);
    expect(messages).toEqual(['pause', 'resume', 'lost']);
  });

  test('something that is no Error is wrapped for connectionLost', () => {
    const seen = catchExceptions();
    const recorder = new Recorder();
    recorder.dataReceived = () => {
      throw 'text';
    };
    const { stream, send } = fakeTransport(recorder);
    send('x');
    stream.sink?.onClosed(undefined);
    expect(recorder.lost).toBeInstanceOf(Error);
    expect(recorder.lost?.cause).toBe('text');
    expect(seen[0]?.error).toBe('text');
  });
});

describe('changing the protocol', () => {
  test('inside dataReceived: the next bytes are the new one’s', async () => {
    const second = new Recorder();
    const first: Protocol = {
      connectionMade(transport) {
        this.transport = transport;
      },
      dataReceived(data) {
        expect(String(data)).toBe('one');
        this.transport.protocol = second;
        this.transport.write('ready');
      },
    } as Protocol & { transport: Transport };
    const { server, client } = await serve(() => first);
    await client.write('one');
    expect(String(await client.readExactly(5))).toBe('ready');
    await client.write('two');
    await until(() => second.log.length > 0);
    expect(second.log).toEqual(['data two']);
    await client.close();
    await until(() => second.log.length === 3);
    expect(second.log).toEqual(['data two', 'eof', 'lost']);
    await server[Symbol.asyncDispose]();
  });

  test('to one with memory of its own and back', () => {
    const plain = new Recorder();
    const buffered = new BufferedRecorder();
    const { transport, stream, send } = fakeTransport(plain);
    send('a');
    transport.protocol = buffered;
    // Read by the backend before it heard of the change.
    send('bcdefg');
    const target = transport.onAlloc(10);
    expect(target).toBe(buffered.memory);
    target.set(Buffer.from('hi'));
    transport.onFilled(2);
    transport.protocol = plain;
    send('j');
    expect(plain.log).toEqual(['made', 'data a', 'data j']);
    expect(buffered.log).toEqual(['filled bcde', 'filled fg', 'filled hi']);
    expect(stream.calls).toEqual(['setReadInto true', 'setReadInto false']);
  });

  test('to a plain one when bytes for its memory are ready already', async () => {
    // Two transports in one batch: whichever is first changes the other one.
    const reported = catchExceptions();
    const transports: Transport[] = [];
    const plain = new Recorder();
    let changed = false;
    class Changer extends BufferedRecorder {
      transport: Transport | undefined;
      connectionMade(transport: Transport): void {
        this.transport = transport;
        transports.push(transport);
      }
      override bufferUpdated(bytes: number): void {
        super.bufferUpdated(bytes);
        const other = transports.find((one) => one !== this.transport);
        if (other !== undefined && !changed) other.protocol = plain;
        changed = true;
      }
    }
    const { server, client } = await serve(() => new Changer());
    const second = await openConnection({ host: localhost, port: server.port });
    await until(() => transports.length === 2);
    void client.write('ab');
    void second.write('ab');
    await until(() => plain.log.length > 0);
    expect(plain.log).toEqual(['data ab']);
    expect(reported).toEqual([]);
    await Promise.all([client.close(), second.close()]);
    await server[Symbol.asyncDispose]();
  });

  test('while its memory is being filled: the bytes are the new one’s', () => {
    const buffered = new BufferedRecorder();
    const plain = new Recorder();
    const { transport } = fakeTransport(buffered);
    const target = transport.onAlloc(10);
    transport.protocol = plain;
    target.set(Buffer.from('xy'));
    transport.onFilled(2);
    target.fill(0);
    expect(plain.log).toEqual(['data xy']);
    expect(buffered.log).toEqual([]);
  });

  test('to something that is none is a TypeError and changes nothing', () => {
    const recorder = new Recorder();
    const { transport } = fakeTransport(recorder);
    for (const wrong of [null, undefined, {}, 5, { dataReceived: 5 }]) {
      expect(() => {
        transport.protocol = wrong as unknown as Protocol;
      }).toThrow(TypeError);
    }
    expect(transport.protocol).toBe(recorder);
  });
});

// covers: asyncio/protocol
describe('getBuffer', () => {
  test.each([[null], [new Uint8Array(0)], ['text'], [undefined]])(
    'that returns %j is a reported error and aborts',
    (wrong) => {
      const seen = catchExceptions();
      const { transport, stream } = fakeTransport({
        getBuffer: () => wrong as Uint8Array,
        bufferUpdated() {},
      });
      expect(transport.onAlloc(10).length).toBeGreaterThan(0);
      expect(seen[0]?.error).toBeInstanceOf(TypeError);
      expect(stream.calls).toEqual(['setReadInto true', 'abort']);
    },
  );

  test('gets a hint of at least one byte, and everything arrives', async () => {
    const hints: number[] = [];
    const memory = Buffer.alloc(3);
    let received = '';
    const { server, client } = await serve(() => ({
      getBuffer(hint: number) {
        hints.push(hint);
        return memory;
      },
      bufferUpdated(bytes: number) {
        received += memory.subarray(0, bytes).toString('latin1');
      },
    }));
    await client.write('0123456789');
    await until(() => received.length === 10);
    expect(received).toBe('0123456789');
    expect(hints.every((hint) => hint >= 1)).toBe(true);
    await client.close();
    await server[Symbol.asyncDispose]();
  });
});

test('closing inside a callback is safe, whatever comes after', async () => {
  const log: string[] = [];
  const { server, client } = await serve(() => {
    let transport: Transport | undefined;
    return {
      connectionMade(made: Transport) {
        transport = made;
      },
      dataReceived() {
        log.push('data');
        transport?.write('bye');
        transport?.close();
        transport?.close();
        transport?.write('dropped');
      },
      connectionLost: () => void log.push('lost'),
    };
  });
  await client.write('x');
  expect(String(await client.readAll())).toBe('bye');
  await until(() => log.includes('lost'));
  await turn();
  expect(log).toEqual(['data', 'lost']);
  await client.close();
  await server[Symbol.asyncDispose]();
});

test('aborting inside connectionMade brings no data, but connectionLost', async () => {
  const log: string[] = [];
  const server = await currentLoop().createServer(
    () => ({
      connectionMade(transport: Transport) {
        transport.abort();
        log.push('made');
      },
      dataReceived: () => void log.push('data'),
      connectionLost: () => void log.push('lost'),
    }),
    { host: localhost },
  );
  const client = new NodeClient(server.port);
  client.socket.write('x');
  await client.closed;
  await until(() => log.length === 2);
  expect(log).toEqual(['made', 'lost']);
  await server[Symbol.asyncDispose]();
});

test('transports know their addresses, also after the end if asked before', async () => {
  const recorder = new Recorder();
  const { server, client } = await serve(() => recorder);
  await until(() => recorder.transport !== undefined);
  const transport = recorder.transport as Transport;
  expect(transport.localAddress).toEqual({
    address: localhost,
    port: server.port,
    family: 'IPv4',
  });
  expect(transport.remoteAddress?.port).toBe(client.localAddress.port);
  expect(transport.tls).toBe(null);
  expect(transport.reading).toBe(true);
  await client.close();
  await until(() => recorder.log.includes('lost'));
  expect(transport.localAddress?.port).toBe(server.port);
  expect(transport.reading).toBe(false);
  await server[Symbol.asyncDispose]();
});
