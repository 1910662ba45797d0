/**
 * A Duplex of Node as a stream of the backend: a connection that left HTTP for another protocol,
 * under TLS.
 *
 * In: a Duplex with nothing else reading from it. Out: calls of the sink. Never: addresses or
 * socket options of its own: those are of the stream below.
 */
import { Buffer } from 'node:buffer';
import type { Duplex } from 'node:stream';
import type { StreamHandle, StreamSink } from '../io/handles.ts';
import type { SocketAddress } from '../io/net-types.ts';

export class DuplexHandle implements StreamHandle {
  sink: StreamSink | null = null;
  readonly #duplex: Duplex;
  readonly #below: StreamHandle;
  #error: Error | undefined;
  #readInto = false;

  constructor(duplex: Duplex, below: StreamHandle) {
    this.#duplex = duplex;
    this.#below = below;
    duplex.on('data', (chunk: Buffer) => this.#call((sink) => this.#received(sink, chunk)));
    duplex.on('end', () => this.#call((sink) => sink.onEof()));
    duplex.on('error', (error) => {
      this.#error = error;
    });
    duplex.once('close', () => {
      this.#call((sink) => sink.onClosed(this.#error));
      this.sink = null;
    });
    duplex.resume();
  }

  get bufferedBytes(): number {
    return this.#duplex.writableLength + this.#below.bufferedBytes;
  }

  get fd(): number | null {
    return this.#below.fd;
  }

  write(data: string | Uint8Array): number {
    if (this.#duplex.destroyed || this.#duplex.writableEnded) return 0;
    this.#duplex.write(typeof data === 'string' ? data : Buffer.from(data));
    return this.bufferedBytes;
  }

  notifyDrain(lowBytes: number): void {
    const check = (): void => {
      if (this.#duplex.destroyed) return;
      if (this.bufferedBytes <= lowBytes) this.#call((sink) => sink.onDrain());
      else if (!this.#duplex.writableEnded) this.#duplex.write('', check);
      else this.#duplex.once('finish', check);
    };
    process.nextTick(check);
  }

  shutdown(): void {
    this.#duplex.end();
  }

  close(): void {
    this.#duplex.end(() => this.#duplex.destroy());
  }

  abort(): void {
    this.#duplex.destroy();
    this.#below.abort();
  }

  pause(): void {
    this.#duplex.pause();
  }

  resume(): void {
    this.#duplex.resume();
  }

  setReadInto(enable: boolean): void {
    this.#readInto = enable;
  }

  setNoDelay(enable: boolean): void {
    this.#below.setNoDelay(enable);
  }

  setKeepAlive(enable: boolean, idleMs: number): void {
    this.#below.setKeepAlive(enable, idleMs);
  }

  ref(): void {
    this.#below.ref();
  }

  unref(): void {
    this.#below.unref();
  }

  localAddress(): SocketAddress | null {
    return this.#below.localAddress();
  }

  remoteAddress(): SocketAddress | null {
    return this.#below.remoteAddress();
  }

  #received(sink: StreamSink, chunk: Buffer): void {
    let rest = chunk;
    while (this.#readInto && rest.length > 0) {
      const target = sink.onAlloc(rest.length);
      const bytes = Math.min(target.length, rest.length);
      target.set(rest.subarray(0, bytes));
      rest = rest.subarray(bytes);
      sink.onFilled(bytes);
    }
    if (rest.length > 0) sink.onData(rest);
  }

  #call(call: (sink: StreamSink) => void): void {
    const { sink } = this;
    if (sink === null) return;
    if (sink.context === null) call(sink);
    else sink.context.run(call, sink);
  }
}
