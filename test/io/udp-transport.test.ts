import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { ClosedResourceError, isCancelled } from '../../lib/base/errors.ts';
import { DnsCache } from '../../lib/io/dns-cache.ts';
import '../../lib/io/loop-methods.ts';
import type { UdpOptions } from '../../lib/io/net-types.ts';
import type { DatagramProtocol, DatagramTransport } from '../../lib/io/protocols.ts';
import { openUdpSocket } from '../../lib/io/udp-socket.ts';
import type {
  Backend,
  DatagramHandle,
  DatagramSink,
  SocketAddress,
} from '../../lib/loop/backend.ts';
import { EventLoop } from '../../lib/loop/event-loop.ts';
import { createPureBackend } from '../../lib/loop/pure/backend.ts';
import { ContextVar } from '../../lib/task/context.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { createTask, currentTask } from '../../lib/task/task.ts';
import '../../lib/task/loop-methods.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory, policyName } from '../support/policy.ts';
import { catchExceptions, errorOf, localhost, turn, until } from './support.ts';
import { at, openLocal } from './udp-support.ts';

checkLeaks();

/** A protocol that writes down what happens. */
class Recorder implements DatagramProtocol {
  readonly log: string[] = [];
  readonly errors: Error[] = [];
  transport: DatagramTransport | undefined;
  lastFrom: SocketAddress | undefined;

  connectionMade(transport: DatagramTransport): void {
    this.transport = transport;
    this.log.push('made');
  }

  datagramReceived(data: Buffer, from: SocketAddress): void {
    this.lastFrom = from;
    this.log.push(`data ${data}`);
  }

  errorReceived(error: Error & { code?: string }): void {
    this.errors.push(error);
    this.log.push(`error ${error.code}`);
  }

  pauseWriting(): void {
    this.log.push('pause');
  }

  resumeWriting(): void {
    this.log.push('resume');
  }

  connectionLost(error?: Error): void {
    this.log.push(`lost ${error}`);
  }
}

async function endpoint(options: UdpOptions = { localHost: localhost }) {
  const factory = (): Recorder => new Recorder();
  return await currentLoop().createDatagramEndpoint(factory, options);
}

function target(transport: DatagramTransport): { host: string; port: number } {
  return { host: localhost, port: transport.localAddress?.port as number };
}

// covers: asyncio/create-datagram-endpoint, asyncio/transports, uvloop/udp
describe('createDatagramEndpoint', () => {
  test('made, data, lost: each callback in its order', async () => {
    const [transport, protocol] = await endpoint();
    await using socket = await openLocal();
    expect(protocol.log).toEqual(['made']);
    expect(protocol.transport).toBe(transport);
    expect(transport.protocol).toBe(protocol);
    expect(transport.remoteAddress).toBe(null);
    expect(transport.tls).toBe(null);
    await socket.send('one', target(transport));
    await socket.send('', target(transport));
    await until(() => protocol.log.length === 3);
    expect(protocol.lastFrom).toEqual(socket.localAddress);
    transport.sendTo('answer', at(socket));
    expect(String((await socket.receive()).data)).toBe('answer');
    expect(transport.closing).toBe(false);
    transport.close();
    expect(transport.closing).toBe(true);
    expect(protocol.log).toEqual(['made', 'data one', 'data ']);
    await until(() => protocol.log.length === 4);
    expect(protocol.log[3]).toBe('lost undefined');
  });

  test('a connected one', async () => {
    await using server = await openLocal();
    const { host, port } = at(server);
    const [transport, protocol] = await endpoint({ remoteHost: host, remotePort: port });
    expect(transport.remoteAddress).toEqual(server.localAddress);
    transport.sendTo(Buffer.from('ping'));
    const { address } = await server.receive();
    expect(address).toEqual(transport.localAddress);
    await server.send('pong', { host, port: address.port });
    await until(() => protocol.log.includes('data pong'));
    transport.abort();
    await until(() => protocol.log.includes('lost undefined'));
  });

  test.runIf(policyName === 'native')('the native one has a descriptor', async () => {
    const [transport] = await endpoint();
    expect(transport.fd).toBeGreaterThan(2);
    transport.close();
    await until(() => transport.fd === null);
  });

  test('errorReceived: nobody listens at the connected peer', async () => {
    const gone = await openLocal();
    const { host, port } = at(gone);
    await gone[Symbol.asyncDispose]();
    const [transport, protocol] = await endpoint({ remoteHost: host, remotePort: port });
    transport.sendTo('x');
    await until(() => protocol.log.includes('error ECONNREFUSED'));
    await using back = await openLocal({ localPort: port });
    transport.sendTo('y');
    expect(String((await back.receive()).data)).toBe('y');
    transport.close();
  });

  test('close and abort inside each callback', async () => {
    await using socket = await openLocal();
    const closers: DatagramProtocol[] = [
      { connectionMade: (transport) => transport.close(), datagramReceived() {} },
      { connectionMade: (transport) => transport.abort(), datagramReceived() {} },
    ];
    for (const closer of closers) {
      const [transport] = await currentLoop().createDatagramEndpoint(() => closer, {
        localHost: localhost,
      });
      expect(transport.closing).toBe(true);
    }
    for (const how of ['close', 'abort'] as const) {
      const [transport, protocol] = await endpoint();
      const data: string[] = [];
      protocol.datagramReceived = (bytes) => {
        data.push(String(bytes));
        transport[how]();
      };
      for (const text of ['1', '2', '3']) void socket.send(text, target(transport));
      await until(() => protocol.log.includes('lost undefined'));
      // No datagram after it, of the same batch either.
      expect(data).toEqual(['1']);
    }
  });

  test('a callback that throws is reported, and the endpoint goes on', async () => {
    const seen = catchExceptions();
    const [transport, protocol] = await endpoint();
    await using socket = await openLocal();
    const log: string[] = [];
    protocol.datagramReceived = (data) => {
      log.push(String(data));
      if (log.length === 1) throw new Error('first is bad');
    };
    await socket.send('a', target(transport));
    await socket.send('b', target(transport));
    await until(() => log.length === 2);
    expect(seen.map(({ message }) => message)).toEqual([
      'Exception in protocol.datagramReceived()',
    ]);
    expect(seen[0]?.transport).toBe(transport);
    transport.close();
  });

  test('a factory that throws, and one that gives no protocol, leave no socket', async () => {
    const options = { localHost: localhost };
    const failing = currentLoop().createDatagramEndpoint(() => {
      throw new Error('no protocol');
    }, options);
    expect((await errorOf(failing)).message).toBe('no protocol');
    const wrong = currentLoop().createDatagramEndpoint(() => ({}) as never, options);
    expect(await errorOf(wrong)).toBeInstanceOf(TypeError);
    const none = currentLoop().createDatagramEndpoint(undefined as never, options);
    expect(await errorOf(none)).toBeInstanceOf(TypeError);
  });

  test('callbacks run without a task, with the variables of the caller', async () => {
    const name = new ContextVar<string>('name', { defaultValue: 'nobody' });
    await using socket = await openLocal();
    const seen: unknown[] = [];
    const [transport] = await createTask(() => {
      name.set('caller');
      const note = (): void => void seen.push(name.get(), currentTask());
      const protocol = { connectionMade: note, datagramReceived: note };
      return currentLoop().createDatagramEndpoint(() => protocol, { localHost: localhost });
    });
    await socket.send('x', target(transport));
    await until(() => seen.length === 4);
    expect(seen).toEqual(['caller', null, 'caller', null]);
    transport.close();
  });

  test('the protocol may be changed at any time', async () => {
    const [transport, first] = await endpoint();
    await using socket = await openLocal();
    await socket.send('a', target(transport));
    await until(() => first.log.length === 2);
    const second = new Recorder();
    transport.protocol = second;
    await socket.send('b', target(transport));
    await until(() => second.log.length === 1);
    expect(first.log).toEqual(['made', 'data a']);
    expect(() => {
      transport.protocol = {} as never;
    }).toThrow(TypeError);
    transport.close();
  });

  test('sendTo refuses what cannot be sent, and drops after close', async () => {
    const [transport] = await endpoint();
    expect(() => transport.sendTo('x')).toThrow(expect.objectContaining({ code: 'EDESTADDRREQ' }));
    expect(() => transport.sendTo(7 as never, target(transport))).toThrow(TypeError);
    expect(() => transport.sendTo(Buffer.alloc(65_508), target(transport))).toThrow(
      expect.objectContaining({ code: 'EMSGSIZE' }),
    );
    transport.setTTL(2);
    transport.close();
    transport.sendTo('dropped', { host: localhost, port: 9 });
    expect(() => transport.setTTL(3)).toThrow(ClosedResourceError);
    expect(transport.writeBufferBytes).toBe(0);
  });

  test('sendTo looks a name up; what fails comes by errorReceived', async () => {
    const [transport, protocol] = await endpoint();
    await using socket = await openLocal();
    const memory = Buffer.from('to a name');
    transport.sendTo(memory, { host: 'localhost', port: socket.localAddress.port });
    memory.fill(0);
    expect(String((await socket.receive()).data)).toBe('to a name');
    transport.sendTo('x', { host: 'nothing.invalid', port: 9 });
    await until(() => protocol.errors.length === 1);
    expect(['error ENOTFOUND', 'error EAI_AGAIN']).toContain(protocol.log.at(-1));
    transport.sendTo('x', { host: 'localhost', port: 9 });
    transport.close();
  });

  test('cancelled while it opens, nothing stays', async () => {
    const task = createTask(async () => {
      const opening = endpoint({ localHost: 'localhost' });
      await Promise.resolve();
      task.cancel();
      return await opening;
    });
    expect(isCancelled(await errorOf(task))).toBe(true);
    const bound = createTask(async () => {
      const opening = openUdpSocket({ localHost: localhost });
      bound.cancel();
      return await opening;
    });
    expect(isCancelled(await errorOf(bound))).toBe(true);
  });
});

// covers: asyncio/getaddrinfo
describe('names', () => {
  test('localHost and remoteHost may be names', async () => {
    await using server = await openUdpSocket({ localHost: 'localhost', family: 4 });
    const { port } = server.localAddress;
    const options = { remoteHost: 'localhost', remotePort: port, family: 4 } as const;
    await using client = await openUdpSocket(options);
    await client.send('x');
    expect(String((await server.receive()).data)).toBe('x');
  });

  test('a name that does not exist', async () => {
    const error = await errorOf(openUdpSocket({ remoteHost: 'nothing.invalid', remotePort: 9 }));
    expect(['ENOTFOUND', 'EAI_AGAIN']).toContain(error.code);
  });

  test('send looks names up with the socket’s own lookup', async () => {
    const asked: string[] = [];
    const cache = new DnsCache({
      lookup: async (hostname, options) => {
        asked.push(`${hostname} ${options?.family}`);
        await sleep(0);
        return [
          { address: '::1', port: 0, family: 'IPv6' },
          { address: localhost, port: 0, family: 'IPv4' },
        ];
      },
    });
    await using server = await openLocal();
    await using socket = await openLocal({ lookup: cache.lookup });
    const to = { host: 'server.test', port: server.localAddress.port };
    await socket.send('a', to);
    await socket.send('b', to);
    expect(String((await server.receive()).data)).toBe('a');
    expect(String((await server.receive()).data)).toBe('b');
    expect(asked).toEqual(['server.test 4']);
  });

  test('of several local addresses the first that can be bound', async () => {
    const lookup = async () => [
      { address: '192.0.2.1', port: 0, family: 'IPv4' as const },
      { address: localhost, port: 0, family: 'IPv4' as const },
    ];
    await using socket = await openUdpSocket({ localHost: 'here.test', lookup });
    expect(socket.localAddress.address).toBe(localhost);
    const nowhere = async () => (await lookup()).slice(0, 1);
    const error = await errorOf(openUdpSocket({ localHost: 'x.test', lookup: nowhere }));
    expect(error.code).toBe('EADDRNOTAVAIL');
  });

  test.runIf(!inMemory)('a cancelled send to a name sends nothing', async () => {
    await using socket = await openLocal();
    const task = createTask(() => socket.send('x', { host: 'localhost', port: at(socket).port }));
    await turn();
    task.cancel();
    const error = await task.catch((reason) => reason);
    // The answer may have come first.
    if (error !== undefined) expect(isCancelled(error)).toBe(true);
  });
});

/** A handle whose kernel takes nothing until it is told to. */
class FullHandle implements DatagramHandle {
  readonly fd: null = null;
  bufferedBytes = 0;
  drainAt = -1;
  closed = false;
  readonly sink: DatagramSink;

  constructor(sink: DatagramSink) {
    this.sink = sink;
  }

  send(data: string | Uint8Array): number {
    this.bufferedBytes += data.length;
    return this.bufferedBytes;
  }

  notifyDrain(lowBytes: number): void {
    this.drainAt = lowBytes;
  }

  /** The kernel takes what waits. */
  drain(): void {
    this.bufferedBytes = 0;
    if (this.drainAt >= 0) this.sink.onDrain();
    this.drainAt = -1;
  }

  set(): null {
    return null;
  }

  close(): void {
    this.closed = true;
    process.nextTick(() => this.sink.onClosed());
  }

  abort(): void {
    this.close();
  }

  ref(): void {}
  unref(): void {}

  localAddress(): SocketAddress {
    return { address: localhost, port: 1, family: 'IPv4' };
  }

  remoteAddress(): SocketAddress {
    return { address: localhost, port: 2, family: 'IPv4' };
  }
}

/** A loop with such a socket. */
function fullLoop(): { loop: EventLoop; handle: () => FullHandle } {
  let handle: FullHandle | undefined;
  const loop = new EventLoop((host) => {
    const backend: Backend = createPureBackend(host);
    backend.openUdp = (_options, sink) => {
      handle = new FullHandle(sink);
      process.nextTick(() => sink.onOpen());
      return handle;
    };
    return backend;
  });
  return { loop, handle: () => handle as FullHandle };
}

describe('back-pressure', () => {
  const kilobyte = 'x'.repeat(1024);

  test('pauseWriting above the high-water mark, resumeWriting when it has drained', async () => {
    const { loop, handle } = fullLoop();
    const options = { remoteHost: localhost, remotePort: 2 };
    const [transport, protocol] = await loop.createDatagramEndpoint(() => new Recorder(), options);
    for (let i = 0; i < 64; i++) transport.sendTo(kilobyte);
    expect(protocol.log).toEqual(['made']);
    transport.sendTo('x');
    transport.sendTo('x');
    expect(protocol.log).toEqual(['made', 'pause']);
    expect(handle().drainAt).toBe(16 * 1024);
    expect(transport.writeBufferBytes).toBe(65_538);
    handle().drain();
    expect(protocol.log).toEqual(['made', 'pause', 'resume']);
    transport.setWriteBufferLimits({ highBytes: 10 });
    transport.sendTo('12345678901');
    expect(protocol.log.at(-1)).toBe('pause');
    expect(handle().drainAt).toBe(2);
    transport.setWriteBufferLimits({ lowBytes: 5, highBytes: 10 });
    expect(handle().drainAt).toBe(5);
    transport.close();
    await turn();
    await loop.close();
  });

  test('above 16 MiB sendTo refuses', async () => {
    const { loop, handle } = fullLoop();
    const options = { remoteHost: localhost, remotePort: 2 };
    const [transport] = await loop.createDatagramEndpoint(() => new Recorder(), options);
    transport.sendTo(kilobyte.repeat(63));
    transport.sendTo(kilobyte.repeat(63));
    handle().bufferedBytes = 16 * 1024 * 1024 + 1;
    expect(() => transport.sendTo('x')).toThrow(
      expect.objectContaining({ code: 'ERR_UVIO_BUFFER_FULL' }),
    );
    transport.close();
    await turn();
    await loop.close();
  });

  test('send waits above the mark; cancelled or closed, the wait ends', async () => {
    const { loop, handle } = fullLoop();
    const open = createTaskOn(loop, () => openUdpSocket({ remoteHost: localhost, remotePort: 2 }));
    const socket = await open;
    await socket.send(kilobyte.repeat(63));
    const controller = new AbortController();
    const ends: string[] = [];
    const note = (what: string) => (error?: unknown) => {
      ends.push(`${what} ${error === undefined ? 'sent' : (error as Error).name}`);
    };
    void socket.send(kilobyte.repeat(2)).then(note('first'));
    void socket.send('x', undefined, { signal: controller.signal }).catch(note('second'));
    void socket.send('y').then(note('third'));
    await turn();
    expect(ends).toEqual([]);
    controller.abort();
    await turn();
    handle().drain();
    await turn();
    expect(ends).toEqual(['second AbortError', 'first sent', 'third sent']);
    await socket.send(kilobyte.repeat(60));
    const waiting = errorOf(socket.send(kilobyte.repeat(60)));
    socket.close();
    expect(await waiting).toBeInstanceOf(ClosedResourceError);
    await turn();
    await loop.close();
  });
});

function createTaskOn<T>(loop: EventLoop, fn: () => Promise<T>): Promise<T> {
  return loop.createTask(fn) as unknown as Promise<T>;
}
