/** What the tests use of node:net's Socket and Server, on the network of a simulation. */
import { Duplex } from 'node:stream';
import type { StreamHandle, StreamSink } from '../../lib/loop/backend.ts';
import type { EventLoop } from '../../lib/loop/event-loop.ts';
import { SimulatedStream } from '../../lib/loop/simulated/stream.ts';

const localhost = '127.0.0.1';

export class MemorySocket extends Duplex implements StreamSink {
  readonly context: null = null;
  connecting = false;
  remotePort: number | undefined;
  #handle: StreamHandle | null = null;
  #written: ((error?: Error) => void) | null = null;

  constructor(allowHalfOpen: boolean = false) {
    super({ allowHalfOpen });
  }

  connect(loop: EventLoop, target: number | string): void {
    this.connecting = true;
    const sink = {
      onConnect: (stream: StreamHandle): void => {
        this.connecting = false;
        stream.sink = this;
        this.adopt(stream);
        this.emit('connect');
      },
      onConnectError: (error: Error): void => void this.destroy(error),
    };
    const { backendHandle } = loop;
    if (typeof target === 'string') {
      backendHandle.connectUnix(target, sink);
      return;
    }
    const nothing = { localHost: undefined, localPort: undefined, noDelay: true };
    backendHandle.connectTcp({ host: localhost, port: target, ...nothing }, sink);
  }

  adopt(stream: StreamHandle): void {
    stream.sink = this;
    this.#handle = stream;
    this.remotePort = stream.remoteAddress()?.port;
    if (this.destroyed) stream.abort();
    this.emit('ready');
  }

  resetAndDestroy(): this {
    if (this.#handle instanceof SimulatedStream) this.#handle.reset();
    return this.destroy();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    if (this.#handle === null) {
      this.once('ready', () => this._write(chunk, _encoding, done));
    } else if (this.#handle.write(chunk) === 0) {
      done();
    } else {
      this.#written = done;
      this.#handle.notifyDrain(0);
    }
  }

  override _final(done: () => void): void {
    if (this.#handle === null) {
      this.once('ready', () => this._final(done));
      return;
    }
    this.#handle.shutdown();
    done();
  }

  override _read(): void {
    this.#handle?.resume();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#handle?.abort();
    done(error);
  }

  onData(chunk: Buffer): void {
    if (!this.push(chunk)) this.#handle?.pause();
  }

  onAlloc(): Uint8Array {
    return new Uint8Array(1);
  }

  onFilled(): void {}

  onEof(): void {
    this.push(null);
  }

  onDrain(): void {
    const done = this.#written;
    this.#written = null;
    done?.();
  }

  onClosed(error: Error | undefined): void {
    this.destroy(error);
  }
}

/** Listens on a free port. Resolves with the port and how to stop. */
export function listenInMemory(
  loop: EventLoop,
  allowHalfOpen: boolean,
  onSocket: (socket: MemorySocket) => void,
): Promise<{ port: number; close: () => Promise<void> }> {
  let closed: () => void = () => {};
  const gone = new Promise<void>((resolve) => {
    closed = resolve;
  });
  return new Promise((resolve, reject) => {
    const plain = { reusePort: false, ipv6Only: false, noDelay: true, paused: false };
    const listener = loop.backendHandle.listenTcp(
      { host: localhost, port: 0, backlog: 128, ...plain },
      {
        onListening({ port }) {
          const close = (): Promise<void> => {
            listener.close();
            return gone;
          };
          resolve({ port, close });
        },
        onListenError: reject,
        onConnection(stream) {
          const socket = new MemorySocket(allowHalfOpen);
          socket.adopt(stream);
          onSocket(socket);
        },
        onAcceptError: reject,
        onListenerClosed: () => closed(),
      },
    );
  });
}
