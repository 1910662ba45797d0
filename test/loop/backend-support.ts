/** Sinks that write down what they hear, and connected pairs, straight on a backend. */
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import type {
  Backend,
  CallbackContext,
  ConnectTcp,
  ListenerHandle,
  ListenerSink,
  ListenTcp,
  SocketAddress,
  StreamHandle,
  StreamSink,
} from '../../lib/loop/backend.ts';
import type { EventLoop } from '../../lib/loop/event-loop.ts';
import { MemorySocket } from '../support/memory-socket.ts';
import { inMemory, testPolicy } from '../support/policy.ts';

export class Recorder implements StreamSink {
  context: CallbackContext | null = null;
  /** In order: 'data', 'eof', 'drain', 'filled', 'closed'. */
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  error: Error | undefined;
  closes = 0;
  handle: StreamHandle | undefined;
  /** Called inside the callbacks. */
  hooks: Partial<Record<'data' | 'eof' | 'drain' | 'closed', (recorder: Recorder) => void>> = {};
  buffer: Uint8Array = new Uint8Array(7);
  #waiting: { test: () => boolean; resolve: () => void }[] = [];

  get received(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get bytes(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  /** Resolves when `test` holds, looked at after each event. */
  until(test: () => boolean): Promise<void> {
    if (test()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ test, resolve }));
  }

  #note(event: 'data' | 'eof' | 'drain' | 'closed' | 'filled'): void {
    this.events.push(event);
    this.#waiting = this.#waiting.filter(({ test, resolve }) => !test() || resolve());
    if (event !== 'filled') this.hooks[event]?.(this);
  }

  onData(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.#note('data');
  }
  onAlloc(_hintBytes: number): Uint8Array {
    return this.buffer;
  }
  onFilled(bytes: number): void {
    this.chunks.push(Buffer.from(this.buffer.subarray(0, bytes)));
    this.#note('filled');
  }
  onEof(): void {
    this.#note('eof');
  }
  onDrain(): void {
    this.#note('drain');
  }
  onClosed(error: Error | undefined): void {
    this.error = error;
    this.closes++;
    this.#note('closed');
  }

  closed(): Promise<void> {
    return this.until(() => this.closes > 0);
  }
}

export const tcpDefaults: Omit<ListenTcp, 'port'> & { port: number } = {
  host: '127.0.0.1',
  port: 0,
  backlog: 128,
  reusePort: false,
  ipv6Only: false,
  noDelay: true,
  paused: false,
};

export const connectDefaults: Omit<ConnectTcp, 'port'> = {
  host: '127.0.0.1',
  localHost: undefined,
  localPort: undefined,
  noDelay: true,
};

let pathCount = 0;

export function unixPath(): string {
  return join(tmpdir(), `uvio-${process.pid}-${pathCount++}.sock`);
}

/** A listener that gives each connection a recorder. */
export class TestListener implements ListenerSink {
  readonly accepted: Recorder[] = [];
  readonly listening: Promise<SocketAddress>;
  readonly gone: Promise<void>;
  handle!: ListenerHandle;
  onStream: (recorder: Recorder, stream: StreamHandle) => void = () => {};
  #bound!: (address: SocketAddress) => void;
  #failed!: (error: Error) => void;
  #gone!: () => void;
  #waiting: (() => void)[] = [];

  constructor() {
    this.listening = new Promise((resolve, reject) => {
      this.#bound = resolve;
      this.#failed = reject;
    });
    this.gone = new Promise((resolve) => {
      this.#gone = resolve;
    });
  }

  onListening(address: SocketAddress): void {
    this.#bound(address);
  }
  onListenError(error: Error): void {
    this.#failed(error);
  }
  onConnection(stream: StreamHandle): void {
    const recorder = new Recorder();
    recorder.handle = stream;
    stream.sink = recorder;
    this.accepted.push(recorder);
    this.onStream(recorder, stream);
    for (const wake of this.#waiting.splice(0)) wake();
  }
  onAcceptError(): void {}
  onListenerClosed(): void {
    this.#gone();
  }

  async connection(index: number): Promise<Recorder> {
    while (this.accepted.length <= index) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.accepted[index] as Recorder;
  }
}

export function connect(
  backend: Backend,
  address: SocketAddress,
  options: Partial<ConnectTcp> = {},
): Promise<Recorder> {
  return new Promise((resolve, reject) => {
    const sink = {
      onConnect(stream: StreamHandle): void {
        const recorder = new Recorder();
        recorder.handle = stream;
        stream.sink = recorder;
        resolve(recorder);
      },
      onConnectError: reject,
    };
    if (address.family === 'unix') backend.connectUnix(address.address, sink);
    else backend.connectTcp({ ...connectDefaults, port: address.port, ...options }, sink);
  });
}

export interface Pair {
  readonly client: Recorder;
  readonly server: Recorder;
  readonly c: StreamHandle;
  readonly s: StreamHandle;
}

/** One loop of the policy under test with whatever was opened on it. */
export class Bench {
  readonly loop: EventLoop = testPolicy().createLoop();
  readonly backend: Backend = this.loop.backendHandle;
  readonly errors: unknown[] = [];

  constructor() {
    this.loop.setExceptionHandler((_loop, context) => this.errors.push(context.error));
  }

  listen(family: 'tcp' | 'unix' = 'tcp', options: Partial<ListenTcp> = {}): TestListener {
    const listener = new TestListener();
    listener.handle =
      family === 'tcp'
        ? this.backend.listenTcp({ ...tcpDefaults, ...options }, listener)
        : this.backend.listenUnix({ path: unixPath(), backlog: 128, paused: false }, listener);
    return listener;
  }

  async pair(
    family: 'tcp' | 'unix' = 'tcp',
    onStream: TestListener['onStream'] = () => {},
  ): Promise<Pair> {
    const listener = this.listen(family);
    listener.onStream = onStream;
    const address = await listener.listening;
    const client = await connect(this.backend, address);
    const server = await listener.connection(0);
    listener.handle.close();
    await listener.gone;
    return { client, server, c: client.handle as StreamHandle, s: server.handle as StreamHandle };
  }

  /** A client that is not of this backend; in a simulation a stand-in for it. */
  foreignClient(port: number): Socket {
    if (!inMemory) return createConnection(port, '127.0.0.1');
    const socket = new MemorySocket();
    socket.connect(this.loop, port);
    return socket as unknown as Socket;
  }

  end(): Promise<void> {
    return this.loop.close();
  }
}

/** Of the test that runs, in files that call `benchForEach`. */
export let bench: Bench;

/** Each test gets one, and leaves nothing open on it. */
export function benchForEach(): void {
  beforeEach(() => {
    bench = new Bench();
  });

  afterEach(async () => {
    await bench.end();
    expect(bench.backend.counters()).toMatchObject({ streams: 0, listeners: 0, connecting: 0 });
  });
}

/** Lets Node's loop turn, so that what must not happen has had its chance. */
export async function turns(count: number = 5): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
