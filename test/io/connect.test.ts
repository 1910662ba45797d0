import { describe, expect, test } from 'vitest';
import { CancelledError, TimeoutError } from '../../lib/base/errors.ts';
import { connectTcp, openConnection } from '../../lib/io/connect.ts';
import '../../lib/io/loop-methods.ts';
import type { ConnectOptions } from '../../lib/io/net-types.ts';
import type {
  Backend,
  BackendHost,
  ConnectSink,
  ConnectTcp,
  StreamHandle,
} from '../../lib/loop/backend.ts';
import { EventLoop } from '../../lib/loop/event-loop.ts';
import { createPureBackend } from '../../lib/loop/pure/backend.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { createTask } from '../../lib/task/task.ts';
import { checkLeaks } from '../support/leaks.ts';
import { errorOf, FakeStream, localhost, nodeServer, turn, until } from './support.ts';

checkLeaks();

type Found = { address: string; family: 4 | 6 };

/** A backend with a resolver and a network of the test's own, and a clock that it moves. */
class FakeNet {
  readonly loop: EventLoop;
  /** One line for each call, with the time. */
  readonly log: string[] = [];
  readonly open: Map<string, ConnectSink> = new Map();
  nowMs = 1_000;
  addresses: Found[] | Error = [];
  #lookupDone: (() => void) | null = null;
  #host: BackendHost | undefined;

  constructor() {
    this.loop = new EventLoop((host) => {
      this.#host = host;
      const real = createPureBackend(host);
      const fake: Partial<Backend> = {
        now: () => this.nowMs,
        armTimer: () => {},
        setTimerRef: () => {},
        lookup: (hostname, family, done) => this.#lookup(hostname, family, done),
        connectTcp: (options, sink) => this.#connect(options, sink),
      };
      return Object.assign(Object.create(real) as Backend, bindAll(real), fake);
    });
  }

  connect(options: Partial<ConnectOptions> = {}): Promise<string> {
    const all = { host: 'example.test', port: 80, ...options };
    return connectTcp(this.loop, all, (stream) => (stream as NamedStream).name);
  }

  found(): void {
    this.#lookupDone?.();
  }

  at(ms: number): void {
    this.nowMs = 1_000 + ms;
    this.#host?.onTimers();
  }

  accept(address: string): NamedStream {
    const stream = new NamedStream(address);
    this.#take(address).onConnect(stream);
    return stream;
  }

  refuse(address: string, code = 'ECONNREFUSED'): void {
    const error = Object.assign(new Error(`connect ${code} ${address}`), { code, address });
    this.#take(address).onConnectError(error);
  }

  #take(address: string): ConnectSink {
    const sink = this.open.get(address);
    if (sink === undefined) throw new Error(`${address} is not being tried`);
    this.open.delete(address);
    return sink;
  }

  #note(text: string): void {
    this.log.push(`${this.nowMs - 1_000} ${text}`);
  }

  #lookup(
    hostname: string,
    family: number,
    done: (error: Error | null, addresses: readonly Found[]) => void,
  ): () => void {
    this.#note(`lookup ${hostname} ${family}`);
    this.#lookupDone = () => {
      if (this.addresses instanceof Error) done(this.addresses, []);
      else done(null, this.addresses);
    };
    return () => this.#note('lookup cancelled');
  }

  #connect(options: ConnectTcp, sink: ConnectSink): { cancel(): void } {
    this.#note(`try ${options.host}`);
    this.open.set(options.host, sink);
    return {
      cancel: () => {
        this.#note(`cancel ${options.host}`);
        this.open.delete(options.host);
      },
    };
  }
}

class NamedStream extends FakeStream {
  readonly name: string;

  constructor(name: string) {
    super();
    this.name = name;
  }
}

/** Methods of a backend with private fields, to be called on another object. */
function bindAll(backend: Backend): Partial<Backend> {
  return {
    name: backend.name,
    requestTurn: () => backend.requestTurn(),
    counters: () => backend.counters(),
    close: (done) => backend.close(done),
  };
}

const four = (last: number): Found => ({ address: `10.0.0.${last}`, family: 4 });
const six = (last: number): Found => ({ address: `fd00::${last}`, family: 6 });

describe('happy eyeballs', () => {
  test('families take turns, each address with a head start', async () => {
    const net = new FakeNet();
    net.addresses = [six(1), six(2), six(3), four(1), four(2)];
    const connecting = net.connect();
    net.found();
    net.at(249);
    net.at(250);
    net.at(500);
    net.at(750);
    net.at(1_000);
    net.at(5_000);
    net.accept('fd00::2');
    expect(await connecting).toBe('fd00::2');
    expect(net.log).toEqual([
      '0 lookup example.test 0',
      '0 try fd00::1',
      '250 try 10.0.0.1',
      '500 try fd00::2',
      '750 try 10.0.0.2',
      '1000 try fd00::3',
      '5000 cancel fd00::1',
      '5000 cancel 10.0.0.1',
      '5000 cancel 10.0.0.2',
      '5000 cancel fd00::3',
    ]);
    expect(net.loop.metrics().timers).toBe(0);
    await net.loop.close();
  });

  test('a failure starts the next address at once, with a full head start', async () => {
    const net = new FakeNet();
    net.addresses = [six(1), four(1), four(2)];
    const connecting = net.connect({ happyEyeballsDelayMs: 100 });
    net.found();
    net.at(40);
    net.refuse('fd00::1', 'ENETUNREACH');
    net.at(100);
    net.at(140);
    net.accept('10.0.0.1');
    expect(await connecting).toBe('10.0.0.1');
    expect(net.log.slice(1)).toEqual([
      '0 try fd00::1',
      '40 try 10.0.0.1',
      '140 try 10.0.0.2',
      '140 cancel 10.0.0.2',
    ]);
    await net.loop.close();
  });

  test('one address that fails is its own error', async () => {
    const net = new FakeNet();
    net.addresses = [four(1)];
    const connecting = errorOf(net.connect());
    net.found();
    net.refuse('10.0.0.1');
    expect(await connecting).toMatchObject({ code: 'ECONNREFUSED', address: '10.0.0.1' });
    await net.loop.close();
  });

  test('several that fail are all listed, with the first one’s code', async () => {
    const net = new FakeNet();
    net.addresses = [six(1), four(1)];
    const connecting = errorOf(net.connect());
    net.found();
    net.refuse('fd00::1', 'ENETUNREACH');
    net.refuse('10.0.0.1');
    const error = (await connecting) as unknown as AggregateError & { code: string };
    expect(error).toBeInstanceOf(AggregateError);
    expect(error.code).toBe('ENETUNREACH');
    expect(error.errors.map((one: { code: string }) => one.code)).toEqual([
      'ENETUNREACH',
      'ECONNREFUSED',
    ]);
    expect(error.message).toContain('10.0.0.1');
    await net.loop.close();
  });

  test('a look-up that fails is the error', async () => {
    const net = new FakeNet();
    net.addresses = Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' });
    const connecting = errorOf(net.connect({ timeoutMs: 1_000 }));
    net.found();
    expect((await connecting).code).toBe('ENOTFOUND');
    expect(net.loop.metrics().timers).toBe(0);
    await net.loop.close();
  });

  test('a look-up that finds nothing is an error', async () => {
    const net = new FakeNet();
    const connecting = errorOf(net.connect({ timeoutMs: 1_000 }));
    net.found();
    expect((await connecting).code).toBe('EADDRNOTAVAIL');
    expect(net.loop.metrics().timers).toBe(0);
    await net.loop.close();
  });

  test('an IP address is not looked up, and the family reaches the resolver', async () => {
    const net = new FakeNet();
    const literal = net.connect({ host: 'fd00::9' });
    net.accept('fd00::9');
    expect(await literal).toBe('fd00::9');
    net.addresses = [four(1)];
    const named = net.connect({ family: 4 });
    net.found();
    net.accept('10.0.0.1');
    await named;
    expect(net.log).toEqual(['0 try fd00::9', '0 lookup example.test 4', '0 try 10.0.0.1']);
    await net.loop.close();
  });

  test('the time limit covers look-up and attempts, and closes all', async () => {
    const net = new FakeNet();
    net.addresses = [six(1), four(1)];
    const slow = errorOf(net.connect({ timeoutMs: 400 }));
    net.at(100);
    net.found();
    net.at(350);
    net.at(400);
    const error = await slow;
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error.code).toBe('ETIMEDOUT');
    expect(net.log.slice(-2)).toEqual(['400 cancel fd00::1', '400 cancel 10.0.0.1']);
    const silent = errorOf(net.connect({ timeoutMs: 50 }));
    net.at(450);
    expect(await silent).toBeInstanceOf(TimeoutError);
    expect(net.log.at(-1)).toBe('450 lookup cancelled');
    await net.loop.close();
  });

  test('a signal closes every socket', async () => {
    const net = new FakeNet();
    net.addresses = [six(1), four(1)];
    const controller = new AbortController();
    const connecting = errorOf(net.connect({ signal: controller.signal }));
    net.found();
    net.at(250);
    expect(net.open.size).toBe(2);
    controller.abort();
    expect((await connecting).name).toBe('AbortError');
    expect(net.open.size).toBe(0);
    expect(net.loop.metrics().timers).toBe(0);
    await net.loop.close();
  });

  test('a maker that throws aborts the stream and rejects', async () => {
    const net = new FakeNet();
    let stream: StreamHandle | undefined;
    const connecting = connectTcp(net.loop, { host: '10.0.0.1', port: 1 }, (made) => {
      stream = made;
      throw new Error('no protocol');
    });
    net.accept('10.0.0.1');
    expect((await errorOf(connecting)).message).toBe('no protocol');
    expect((stream as FakeStream).calls).toEqual(['abort']);
    await net.loop.close();
  });
});

describe('real connects', () => {
  test('localhost, addresses on both sides, options', async () => {
    await using peer = await nodeServer();
    await using connection = await openConnection({
      port: peer.port,
      localHost: '127.0.0.1',
      family: 4,
      noDelay: false,
    });
    const socket = await peer.accepted();
    expect(connection.remoteAddress).toEqual({
      address: localhost,
      port: peer.port,
      family: 'IPv4',
    });
    expect(connection.localAddress.port).toBe(socket.remotePort);
    expect(connection.tls).toBe(null);
    connection.setNoDelay();
    connection.setKeepAlive(true, 10_000);
    connection.setKeepAlive(false);
  });

  test('a refused one has Node’s shape', async () => {
    const peer = await nodeServer();
    const { port } = peer;
    await peer[Symbol.asyncDispose]();
    const error = await errorOf(openConnection({ host: localhost, port }));
    expect(error).toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address: localhost,
      port,
    });
    expect(error.message).toBe(`connect ECONNREFUSED ${localhost}:${port}`);
  });

  test('a name that does not exist', async () => {
    const error = await errorOf(openConnection({ host: 'nothing.invalid', port: 1 }));
    expect(['ENOTFOUND', 'EAI_AGAIN']).toContain(error.code);
  });

  test('cancelled in a task, nothing stays open', async () => {
    await using peer = await nodeServer();
    const options = { host: localhost, port: peer.port };
    const task = createTask(async () => {
      const connecting = openConnection(options);
      task.cancel();
      return await connecting;
    });
    expect(await errorOf(task)).toBeInstanceOf(CancelledError);
    expect(currentLoop().backendHandle.counters().connecting).toBe(0);
    const late = createTask(async () => {
      late.cancel();
      await openConnection(options);
    });
    expect(await errorOf(late)).toBeInstanceOf(CancelledError);
  });

  test('a cancelled scope ends it, and its task goes on', async () => {
    await using peer = await nodeServer();
    const scope = new CancelScope();
    const result = await createTask(() =>
      scope.run(() => {
        const connecting = openConnection({ host: localhost, port: peer.port });
        scope.cancel();
        return connecting;
      }),
    );
    expect(result).toBe(undefined);
    expect(scope.cancelledCaught).toBe(true);
  });

  test('bytes that come before the first read are kept', async () => {
    await using peer = await nodeServer((socket) => socket.write('early'));
    await using connection = await openConnection({ host: localhost, port: peer.port });
    for (let i = 0; i < 10; i++) await turn();
    expect(String(await connection.read())).toBe('early');
  });

  test('createConnection gives transport and protocol', async () => {
    await using peer = await nodeServer((socket) => socket.end('hi'));
    const seen: string[] = [];
    const made = {
      connectionMade: () => void seen.push('made'),
      dataReceived: (data: Buffer) => void seen.push(String(data)),
      eofReceived: () => void seen.push('eof'),
      connectionLost: (error?: Error) => void seen.push(`lost ${error}`),
    };
    const options = { host: localhost, port: peer.port };
    const [transport, protocol] = await currentLoop().createConnection(() => made, options);
    expect(protocol).toBe(made);
    expect(transport.protocol).toBe(made);
    await until(() => seen.length === 4);
    expect(seen).toEqual(['made', 'hi', 'eof', 'lost undefined']);
  });

  test('a factory that throws rejects createConnection', async () => {
    await using peer = await nodeServer();
    const failing = currentLoop().createConnection(
      () => {
        throw new Error('no protocol');
      },
      { host: localhost, port: peer.port },
    );
    expect((await errorOf(failing)).message).toBe('no protocol');
    const wrong = currentLoop().createConnection(() => ({}) as never, {
      host: localhost,
      port: peer.port,
    });
    expect(await errorOf(wrong)).toBeInstanceOf(TypeError);
  });
});

describe('bad input', () => {
  test.each([-1, 65_536, Number.NaN, 0.5])('port %d is a RangeError', async (port) => {
    const error = await errorOf(openConnection({ port }));
    expect(error).toBeInstanceOf(RangeError);
    expect(error.code).toBe('ERR_SOCKET_BAD_PORT');
  });

  test.each([
    [{ port: 1, happyEyeballsDelayMs: Number.NaN }],
    [{ port: 1, timeoutMs: Number.NaN }],
    [{ port: 1, family: 5 }],
    [{ port: 1, host: '' }],
    [{ port: 1, host: 'a\0b' }],
    [{ port: 1, localHost: 7 }],
    [{}],
    [null],
    [undefined],
  ])('options %j are a TypeError', async (options) => {
    const error = await errorOf(openConnection(options as unknown as ConnectOptions));
    expect(error).toBeInstanceOf(TypeError);
  });
});
