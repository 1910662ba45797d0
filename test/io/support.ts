/** Peers and fakes for the tests of io. */
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server as NetServer, Socket } from 'node:net';
import { openConnection } from '../../lib/io/connect.ts';
import { StreamConnection } from '../../lib/io/connection.ts';
import { defaultLimits, makeLimits } from '../../lib/io/limits.ts';
import type { Connection, ListenOptions, Server, StreamOptions } from '../../lib/io/net-types.ts';
import type { Protocol, StreamProtocol, Transport } from '../../lib/io/protocols.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { StreamTransport } from '../../lib/io/transport.ts';
import type { SocketAddress, StreamHandle, StreamSink } from '../../lib/loop/backend.ts';
import type { EventLoop, ExceptionContext } from '../../lib/loop/event-loop.ts';
import { currentLoop } from '../../lib/task/frame.ts';
import { listenInMemory, MemorySocket } from '../support/memory-socket.ts';
import { inMemory } from '../support/policy.ts';

export const localhost = '127.0.0.1';

/** A turn of Node's loop: I/O, timers and everything ready have had their chance. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Turns until the condition holds. */
export async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 5_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`never came true: ${condition}`);
    await turn();
  }
}

export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

export function deferred<T = void>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((onResult, onError) => {
    resolve = onResult;
    reject = onError;
  });
  return { promise, resolve, reject };
}

/** The error that a promise rejects with; fails when it does not. */
export async function errorOf(promise: PromiseLike<unknown>): Promise<Error & { code?: string }> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error as Error & { code?: string };
  }
  throw new Error(`expected a rejection, got ${String(value)}`);
}

/** Bytes that differ at every place of a 64 KiB block, and from block to block. */
export function pattern(bytes: number, seed = 1): Buffer {
  const data = Buffer.allocUnsafe(bytes);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    data[i] = state >>> 24;
  }
  return data;
}

/** Exceptions that the loop was told of. */
export function catchExceptions(loop: EventLoop = currentLoop()): ExceptionContext[] {
  const seen: ExceptionContext[] = [];
  loop.setExceptionHandler((_loop, context) => seen.push(context));
  return seen;
}

/** A stream handle under the test's control. It records what it is told. */
export class FakeStream implements StreamHandle {
  sink: StreamSink | null = null;
  bufferedBytes = 0;
  readonly fd: number | null = 7;
  readonly written: Buffer[] = [];
  readonly calls: string[] = [];
  paused = false;
  drainAtBytes = -1;
  /** Bytes that the peer does not take. */
  stuck = false;

  write(data: string | Uint8Array): number {
    const bytes = Buffer.from(data as string);
    this.written.push(bytes);
    if (this.stuck) this.bufferedBytes += bytes.length;
    return this.bufferedBytes;
  }

  /** The peer reads all but `restBytes`. */
  drain(restBytes = 0): void {
    this.bufferedBytes = restBytes;
    if (this.drainAtBytes < restBytes) return;
    this.drainAtBytes = -1;
    this.sink?.onDrain();
  }

  notifyDrain(lowBytes: number): void {
    this.calls.push(`notifyDrain ${lowBytes}`);
    this.drainAtBytes = lowBytes;
  }
  shutdown(): void {
    this.calls.push('shutdown');
  }
  close(): void {
    this.calls.push('close');
  }
  abort(): void {
    this.calls.push('abort');
  }
  pause(): void {
    this.calls.push('pause');
    this.paused = true;
  }
  resume(): void {
    this.calls.push('resume');
    this.paused = false;
  }
  setReadInto(enable: boolean): void {
    this.calls.push(`setReadInto ${enable}`);
  }
  setNoDelay(enable: boolean): void {
    this.calls.push(`setNoDelay ${enable}`);
  }
  setKeepAlive(enable: boolean, idleMs: number): void {
    this.calls.push(`setKeepAlive ${enable} ${idleMs}`);
  }
  ref(): void {}
  unref(): void {}
  localAddress(): SocketAddress | null {
    return { address: localhost, port: 1, family: 'IPv4' };
  }
  remoteAddress(): SocketAddress | null {
    return { address: localhost, port: 2, family: 'IPv4' };
  }
}

/** A connection whose backend is the test. */
export function fakeConnection(options: StreamOptions = {}): {
  connection: StreamConnection;
  stream: FakeStream;
  send: (data: string | Uint8Array) => void;
} {
  const stream = new FakeStream();
  const connection = new StreamConnection(stream, makeLimits(options));
  stream.sink = connection;
  const send = (data: string | Uint8Array): void => connection.onData(Buffer.from(data as string));
  return { connection, stream, send };
}

/** A transport whose backend is the test; `connectionMade` was called. */
export function fakeTransport(protocol: StreamProtocol): {
  transport: StreamTransport;
  stream: FakeStream;
  send: (text: string) => void;
} {
  const stream = new FakeStream();
  const transport = new StreamTransport(currentLoop(), stream, defaultLimits, null);
  stream.sink = transport;
  transport.protocol = protocol;
  transport.begin();
  return { transport, stream, send: (text) => transport.onData(Buffer.from(text)) };
}

/** A protocol that writes down what happens. */
export class Recorder implements Protocol {
  readonly log: string[] = [];
  transport: Transport | undefined;
  lost: Error | undefined;

  connectionMade(transport: Transport): void {
    this.transport = transport;
    this.log.push('made');
  }

  dataReceived(data: Buffer): void {
    this.log.push(`data ${data}`);
  }

  eofReceived(): boolean | undefined {
    this.log.push('eof');
    return undefined;
  }

  connectionLost(error?: Error): void {
    this.lost = error;
    this.log.push(error === undefined ? 'lost' : `lost ${error.message}`);
  }
}

/** Two ends of one TCP connection, both of uvio. */
export interface Pair extends AsyncDisposable {
  readonly client: Connection;
  readonly served: Connection;
  readonly server: Server;
}

export async function tcpPair(options: Omit<ListenOptions, 'tls'> = {}): Promise<Pair> {
  const accepted = deferred<{ served: Connection }>();
  const over = deferred();
  const server = await startServer(
    (served) => {
      accepted.resolve({ served });
      return over.promise;
    },
    { host: localhost, ...options },
  );
  const client = await openConnection({ ...options, host: localhost, port: server.port });
  const { served } = await accepted.promise;
  return {
    client,
    served,
    server,
    async [Symbol.asyncDispose]() {
      client.abort();
      served.abort();
      over.resolve();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** A server of Node's own; in a simulation a stand-in for it. */
export interface NodePeer extends AsyncDisposable {
  readonly port: number;
  readonly sockets: Socket[];
  /** The next accepted socket. */
  accepted(): Promise<Socket>;
}

async function listen(
  allowHalfOpen: boolean,
  onSocket: (socket: Socket) => void,
): Promise<{ port: number; close: () => Promise<unknown> }> {
  if (inMemory) {
    const accept = (socket: MemorySocket): void => onSocket(socket as unknown as Socket);
    return await listenInMemory(currentLoop(), allowHalfOpen, accept);
  }
  const server: NetServer = createServer({ allowHalfOpen }, onSocket);
  server.listen(0, localhost);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, close: () => once(server.close(), 'close') };
}

export async function nodeServer(
  onSocket: (socket: Socket) => void = () => {},
  allowHalfOpen = true,
): Promise<NodePeer> {
  const sockets: Socket[] = [];
  const waiting: ((socket: Socket) => void)[] = [];
  const ready: Socket[] = [];
  const { port, close } = await listen(allowHalfOpen, (socket) => {
    socket.on('error', () => {});
    sockets.push(socket);
    onSocket(socket);
    const waiter = waiting.shift();
    if (waiter === undefined) ready.push(socket);
    else waiter(socket);
  });
  return {
    port,
    sockets,
    accepted() {
      const socket = ready.shift();
      if (socket !== undefined) return Promise.resolve(socket);
      return new Promise((resolve) => waiting.push(resolve));
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await close();
    },
  };
}

/** A client of Node's own that keeps what it gets; in a simulation a stand-in for it. */
export class NodeClient {
  readonly socket: Socket;
  readonly ended: Promise<void>;
  readonly closed: Promise<void>;
  error: (Error & { code?: string }) | undefined;
  #chunks: Buffer[] = [];

  constructor(target: number | string) {
    const memory = inMemory ? new MemorySocket() : null;
    this.socket = (memory as unknown as Socket | null) ?? new Socket();
    this.socket.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    this.socket.on('error', (error) => {
      this.error = error;
    });
    this.ended = new Promise((resolve) => this.socket.once('end', resolve));
    this.closed = new Promise((resolve) => this.socket.once('close', () => resolve()));
    if (memory !== null) memory.connect(currentLoop(), target);
    else if (typeof target === 'number') this.socket.connect(target, localhost);
    else this.socket.connect(target);
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  async connected(): Promise<this> {
    if (this.socket.connecting) await once(this.socket, 'connect');
    return this;
  }

  /** Until that many bytes have come. */
  async bytes(count: number): Promise<Buffer> {
    await until(() => this.received.length >= count || this.socket.destroyed);
    return this.received;
  }
}
