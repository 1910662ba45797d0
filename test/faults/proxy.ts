/**
 * A proxy for TCP that does what networks do: delay, cut into pieces, hold back, swallow, reset.
 *
 * In: a port. Out: a port before it. Never: a byte changed, or two that have changed places.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Transform, type TransformCallback } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';

export interface Faults {
  /** Each piece comes so much later. */
  latencyMs?: number;
  /** Pieces of so many bytes at most, each in a segment of its own. */
  sliceBytes?: number;
  bytesPerSecond?: number;
  /** After so many bytes to the client, both sides get a reset. */
  resetAfterBytes?: number;
  /** Nothing passes while it is true; what comes meanwhile waits. */
  blackHole?: boolean;
}

class Way extends Transform {
  readonly #faults: Faults;
  readonly #passed: (bytes: number) => boolean;

  constructor(faults: Faults, passed: (bytes: number) => boolean) {
    super({ highWaterMark: 65_536 });
    this.#faults = faults;
    this.#passed = passed;
  }

  override _transform(data: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#pass(data).then(() => done(), done);
  }

  async #pass(data: Buffer): Promise<void> {
    const { latencyMs = 0, sliceBytes = data.length, bytesPerSecond = 0 } = this.#faults;
    if (latencyMs > 0) await pause(latencyMs);
    for (let at = 0; at < data.length; at += sliceBytes) {
      while (this.#faults.blackHole) await pause(5);
      const piece = data.subarray(at, at + sliceBytes);
      if (bytesPerSecond > 0) await pause((1000 * piece.length) / bytesPerSecond);
      // Another turn, so that the pieces are not written with one call.
      else if (sliceBytes < data.length) await new Promise((resolve) => setImmediate(resolve));
      if (!this.#passed(piece.length)) return;
      this.push(piece);
    }
  }
}

export class FaultProxy {
  readonly faults: Faults;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** By the client's port. */
  readonly #ways = new Map<number, Socket>();

  private constructor(port: number, faults: Faults) {
    this.faults = faults;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      this.#join(client, connect({ port, allowHalfOpen: true, noDelay: true, host: '127.0.0.1' }));
    });
  }

  static async open(port: number, faults: Faults): Promise<FaultProxy> {
    const proxy = new FaultProxy(port, faults);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The proxy's own port of the connection that goes on for this client. */
  async serverSide(client: Socket): Promise<number> {
    const port = client.localPort as number;
    while (!this.#ways.has(port)) await pause(1);
    const server = this.#ways.get(port) as Socket;
    if (server.connecting) await once(server, 'connect');
    return server.localPort as number;
  }

  #join(client: Socket, server: Socket): void {
    this.#ways.set(client.remotePort as number, server);
    let toClient = 0;
    const passed = (bytes: number): boolean => {
      toClient += bytes;
      if (toClient <= (this.faults.resetAfterBytes ?? Number.POSITIVE_INFINITY)) return true;
      client.resetAndDestroy();
      server.resetAndDestroy();
      return false;
    };
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(one);
      one.on('error', () => {});
      // An end without a FIN is passed on as such.
      one.on('close', (failed) => {
        this.#sockets.delete(one);
        if (failed) other.resetAndDestroy();
      });
      const way = new Way(this.faults, one === server ? passed : () => true);
      one.pipe(way).pipe(other);
    }
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
