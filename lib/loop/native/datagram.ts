/**
 * One datagram socket on the native side.
 *
 * In: calls of io, records. Out: out records and calls of the addon; calls of the sink. Never: a
 * call of the sink from inside a call that was made here.
 */
import { systemError } from '../../base/errors.ts';
import type { DatagramHandle, DatagramSink, SocketAddress, UdpSetting } from '../backend.ts';
import type { NativeBackend } from './backend.ts';
import { UDP_OPTIONS } from './layout.ts';

export class NativeDatagram implements DatagramHandle {
  sink: DatagramSink | null;
  /** @internal */ readonly backend: NativeBackend;
  /** @internal */ readonly id: number;
  readonly #connected: boolean;
  #closing = false;
  #local: SocketAddress | null = null;
  #remote: SocketAddress | null = null;

  constructor(backend: NativeBackend, id: number, sink: DatagramSink, connected: boolean) {
    this.backend = backend;
    this.id = id;
    this.sink = sink;
    this.#connected = connected;
  }

  /** @internal It could not be opened: the sink hears of nothing else. */
  refuse(): void {
    this.sink = null;
    this.abort();
  }

  get fd(): number | null {
    const fd = this.backend.hub.binding.descriptor(this.id);
    return fd < 0 ? null : fd;
  }

  get bufferedBytes(): number {
    if (this.#closing) return 0;
    this.backend.hub.binding.flush();
    return this.#queued();
  }

  /** What the kernel has refused; not what waits for the flush at the end of the turn. */
  #queued(): number {
    const { hub } = this.backend;
    return hub.queued[this.id & hub.slotMask] as number;
  }

  send(data: string | Uint8Array, host: string | null, port: number): number {
    if (this.#closing) return 0;
    const code = this.backend.hub.putDatagram(this.id, data, host, port);
    if (code < 0) {
      const error = systemError(code, 'send', host ?? undefined, port);
      process.nextTick(() => this.tell(error));
    }
    return this.#queued();
  }

  notifyDrain(lowBytes: number): void {
    this.backend.hub.binding.notifyDrain(this.id, lowBytes);
  }

  set(setting: UdpSetting): Error | null {
    const option = UDP_OPTIONS.indexOf(setting.set);
    let value = 0;
    let group = '';
    let on = '';
    if ('enable' in setting) value = setting.enable ? 1 : 0;
    else if ('hops' in setting) value = setting.hops;
    else if ('group' in setting) {
      group = setting.group;
      on = setting.interface ?? '';
    } else on = setting.interface;
    const code = this.backend.hub.binding.setUdp(this.id, option, value, group, on);
    return code < 0 ? systemError(code, setting.set) : null;
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.backend.hub.binding.close(this.id);
  }

  abort(): void {
    this.#closing = true;
    this.backend.hub.binding.abort(this.id);
  }

  ref(): void {
    this.backend.hub.binding.reference(this.id, 1);
  }

  unref(): void {
    this.backend.hub.binding.reference(this.id, 0);
  }

  localAddress(): SocketAddress | null {
    this.#local ??= this.backend.hub.address(this.id, 0);
    return this.#local;
  }

  remoteAddress(): SocketAddress | null {
    if (this.#connected) this.#remote ??= this.backend.hub.address(this.id, 1);
    return this.#remote;
  }

  // What follows is called by the dispatcher.

  /** @internal */
  deliver(data: Buffer, from: SocketAddress): void {
    if (!this.#closing) this.sink?.onDatagram(data, from);
  }

  /** @internal */
  drained(): void {
    if (!this.#closing) this.sink?.onDrain();
  }

  /** @internal */
  failed(errno: number, syscall: string): void {
    if (this.#closing || this.sink === null) return;
    const to = syscall === 'send' ? this.backend.hub.address(this.id, 2) : null;
    this.sink.onError(systemError(errno, syscall, to?.address, to?.port));
  }

  /** As an own callback, not a record of the dispatcher. */
  private tell(error: Error): void {
    const { host } = this.backend;
    const before = host.enter();
    try {
      if (!this.#closing) this.sink?.onError(error);
    } catch (thrown) {
      host.onError('Exception in an I/O callback', thrown, this.sink ?? undefined);
    } finally {
      host.leave(before);
    }
  }

  /** @internal Without a sink when it could not be opened. */
  lost(): void {
    this.#closing = true;
    const { sink } = this;
    this.sink = null;
    sink?.onClosed();
  }
}
