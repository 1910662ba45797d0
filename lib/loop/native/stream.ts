/**
 * One connection on the native side: a slot number and what JavaScript must remember of it.
 *
 * In: calls of io. Out: out records and calls of the addon. Never: pointers; a call back into io.
 */
import type { SocketAddress, StreamHandle, StreamSink } from '../backend.ts';
import type { NativeBackend } from './backend.ts';
import type { NativeHub } from './hub.ts';
import { CTL_FLUSH_EPOCH } from './layout.ts';

const PAUSED = 1;
const CLOSING = 2;
const SHUTDOWN = 4;
const INTO = 8;
const EOF_HELD = 16;

/** Longer data is sent by a call of its own instead of through the out slab. */
const DIRECT_BYTES = 16 * 1024;
/** A stream with that much in the out slab is flushed, so that its numbers are the kernel's. */
const FLUSH_BYTES = 32 * 1024;
/** Of `put`: the stream is broken, which its sink is told in a later turn. */
const BROKEN = -2;
const nothing = new Uint8Array();

/** What only few streams need. */
interface Rare {
  /** Chunks that were read already when `pause()` came. */
  held: Buffer[] | null;
  /** Local and remote, once asked for. */
  readonly addresses: [SocketAddress | null, SocketAddress | null];
  /** Asked for with `notifyWritable`. */
  onWritable: (() => void) | null;
}

export class NativeStream implements StreamHandle {
  sink: StreamSink | null = null;
  /** @internal */ readonly backend: NativeBackend;
  /** @internal */ readonly id: number;
  #state = 0;
  /** Bytes in the out slab, void when the epoch has moved on. */
  #pending = 0;
  #epoch = 0;
  #rare: Rare | null = null;

  constructor(backend: NativeBackend, id: number) {
    this.backend = backend;
    this.id = id;
  }

  get bufferedBytes(): number {
    const hub = this.backend.hub;
    if (this.#pending > 0 && this.#epoch === hub.ctl[CTL_FLUSH_EPOCH]) hub.binding.flush();
    return this.queuedIn(hub);
  }

  get fd(): number | null {
    const fd = this.backend.hub.binding.descriptor(this.id);
    return fd < 0 ? null : fd;
  }

  // A `#` method would add a field to each stream.
  private queuedIn(hub: NativeHub): number {
    return (this.#state & CLOSING) !== 0 ? 0 : (hub.queued[this.id & hub.slotMask] as number);
  }

  write(data: string | Uint8Array): number {
    if ((this.#state & (CLOSING | SHUTDOWN)) !== 0) return 0;
    const hub = this.backend.hub;
    if (typeof data !== 'string') return this.wrote(hub, this.put(hub, data));
    const bytes = hub.putText(this.id, data);
    return this.wrote(hub, bytes < 0 ? this.put(hub, Buffer.from(data)) : bytes);
  }

  writeLatin1(text: string): number {
    if ((this.#state & (CLOSING | SHUTDOWN)) !== 0) return 0;
    const hub = this.backend.hub;
    const bytes = hub.putLatin1(this.id, text);
    return this.wrote(hub, bytes < 0 ? this.put(hub, Buffer.from(text, 'latin1')) : bytes);
  }

  /** @param bytes as `put` says */
  private wrote(hub: NativeHub, bytes: number): number {
    if (bytes < 0) return bytes === BROKEN ? Infinity : this.queuedIn(hub);
    const epoch = hub.ctl[CTL_FLUSH_EPOCH] as number;
    if (this.#epoch === epoch) {
      this.#pending += bytes;
    } else {
      this.#epoch = epoch;
      this.#pending = bytes;
    }
    if (this.#pending >= FLUSH_BYTES) {
      this.#pending = 0;
      // It flushes first; a write of nothing tells whether the stream is still there.
      if (hub.binding.write(this.id, nothing) < 0) return Infinity;
    }
    return this.queuedIn(hub) + this.#pending;
  }

  /** Bytes put into the out slab; -1 when the addon took them, BROKEN when it could not. */
  private put(hub: NativeHub, data: Uint8Array): number {
    if (data.length <= DIRECT_BYTES) return hub.put(this.id, data);
    // A negative result closes the stream; the reason comes with onClosed.
    this.#pending = 0;
    return hub.binding.write(this.id, data) < 0 ? BROKEN : -1;
  }

  writeMany(parts: readonly Uint8Array[]): number {
    if ((this.#state & (CLOSING | SHUTDOWN)) !== 0) return 0;
    this.#pending = 0;
    const hub = this.backend.hub;
    return hub.binding.writeMany(this.id, parts) < 0 ? Infinity : this.queuedIn(hub);
  }

  sendFile(fd: number, offsetBytes: number, maxBytes: number): number {
    return this.backend.hub.binding.sendFile(this.id, fd, offsetBytes, maxBytes);
  }

  notifyWritable(callback: () => void): void {
    this.rare.onWritable = callback;
    this.backend.hub.binding.notifyWritable(this.id);
  }

  notifyDrain(lowBytes: number): void {
    this.backend.hub.binding.notifyDrain(this.id, lowBytes);
  }

  shutdown(): void {
    if ((this.#state & (CLOSING | SHUTDOWN)) !== 0) return;
    this.#state |= SHUTDOWN;
    this.backend.hub.binding.shutdown(this.id);
  }

  close(): void {
    if ((this.#state & CLOSING) !== 0) return;
    this.#state |= CLOSING;
    this.dropHeld();
    this.backend.hub.binding.close(this.id);
  }

  abort(): void {
    // Also after close(): a flush that never ends is cut short.
    this.#state |= CLOSING;
    this.dropHeld();
    this.backend.hub.binding.abort(this.id);
  }

  pause(): void {
    if ((this.#state & (PAUSED | CLOSING)) !== 0) return;
    this.#state |= PAUSED;
    this.backend.hub.binding.setReading(this.id, 0);
  }

  resume(): void {
    if ((this.#state & PAUSED) === 0 || (this.#state & CLOSING) !== 0) return;
    this.#state &= ~PAUSED;
    const { binding } = this.backend.hub;
    binding.setReading(this.id, 1);
    if (this.held !== null || (this.#state & EOF_HELD) !== 0) binding.replay(this.id);
  }

  get receivesInto(): boolean {
    return true;
  }

  setReadInto(enable: boolean): void {
    const now = (this.#state & INTO) !== 0;
    if (now === enable || (this.#state & CLOSING) !== 0) return;
    this.#state ^= INTO;
    this.backend.hub.binding.setInto(this.id, enable ? 1 : 0);
  }

  setNoDelay(enable: boolean): void {
    this.backend.hub.binding.setNoDelay(this.id, enable ? 1 : 0);
  }

  setLeastRead(bytes: number): boolean {
    return this.backend.hub.binding.setLeastRead(this.id, bytes) === 0;
  }

  setKeepAlive(enable: boolean, idleMs: number): void {
    this.backend.hub.binding.setKeepAlive(this.id, enable ? 1 : 0, idleMs);
  }

  ref(): void {
    this.backend.hub.binding.reference(this.id, 1);
  }

  unref(): void {
    this.backend.hub.binding.reference(this.id, 0);
  }

  localAddress(): SocketAddress | null {
    return this.address(0);
  }

  remoteAddress(): SocketAddress | null {
    return this.address(1);
  }

  /** Once asked for it stays known, also when the socket is gone. */
  private address(peer: 0 | 1): SocketAddress | null {
    const { addresses } = this.rare;
    addresses[peer] ??= this.backend.hub.address(this.id, peer);
    return addresses[peer];
  }

  private get rare(): Rare {
    this.#rare ??= { held: null, addresses: [null, null], onWritable: null };
    return this.#rare;
  }

  private get held(): Buffer[] | null {
    return this.#rare === null ? null : this.#rare.held;
  }

  private dropHeld(): void {
    if (this.#rare !== null) this.#rare.held = null;
  }

  /** Bytes that were read before it was ours: they come first. @internal */
  unread(chunk: Buffer): void {
    this.rare.held = [chunk];
    this.backend.hub.binding.replay(this.id);
  }

  // What follows is called by the dispatcher.

  /** @internal */
  deliver(chunk: Buffer): void {
    const state = this.#state;
    // What is held comes first: its replay may be in the same batch, behind this.
    if ((state & (PAUSED | CLOSING)) === 0 && this.held === null) {
      // `setReadInto(true)` may have come after the read.
      if ((state & INTO) !== 0) this.fill(chunk);
      else this.sink?.onData(chunk);
    } else if ((state & CLOSING) === 0) {
      const { rare } = this;
      rare.held ??= [];
      rare.held.push(chunk);
    }
  }

  /** @internal */
  deliverSlice(bytes: Buffer, from: number, to: number): void {
    const { sink } = this;
    const plain = (this.#state & (PAUSED | CLOSING | INTO)) === 0 && this.held === null;
    if (plain && sink?.onSlice !== undefined) sink.onSlice(bytes, from, to);
    else this.deliver(bytes.subarray(from, to));
  }

  private fill(chunk: Buffer): void {
    const sink = this.sink;
    for (let at = 0; sink !== null && at < chunk.length; ) {
      if ((this.#state & (PAUSED | CLOSING)) !== 0) {
        this.deliver(chunk.subarray(at));
        return;
      }
      const target = sink.onAlloc(chunk.length - at);
      const bytes = Math.min(target.length, chunk.length - at);
      target.set(chunk.subarray(at, at + bytes));
      at += bytes;
      sink.onFilled(bytes);
    }
  }

  /** @internal */
  readable(): void {
    // Without INTO, which may have ended since, the next turn reads it into a chunk.
    if ((this.#state & (PAUSED | CLOSING | INTO)) !== INTO || this.sink === null) return;
    if (this.held !== null) return;
    const bytes = this.backend.hub.binding.receive(this.id, this.sink.onAlloc(64 * 1024));
    if (bytes > 0) this.sink.onFilled(bytes);
  }

  /** @internal */
  ended(): void {
    if ((this.#state & CLOSING) !== 0) return;
    if ((this.#state & PAUSED) !== 0 || this.held !== null) this.#state |= EOF_HELD;
    else this.sink?.onEof();
  }

  /** @internal */
  replay(): void {
    const { held } = this;
    this.dropHeld();
    // A chunk's receiver may pause again: `deliver` then holds the rest, in order.
    if (held !== null) for (const chunk of held) this.deliver(chunk);
    if ((this.#state & EOF_HELD) === 0 || (this.#state & PAUSED) !== 0) return;
    if (this.held !== null) return;
    this.#state &= ~EOF_HELD;
    this.ended();
  }

  /** @internal */
  drained(): void {
    if ((this.#state & CLOSING) === 0) this.sink?.onDrain();
  }

  /** @internal */
  writable(): void {
    const callback = this.rare.onWritable;
    this.rare.onWritable = null;
    if ((this.#state & CLOSING) === 0) callback?.();
  }

  /** @internal */
  lost(error: Error | undefined): void {
    this.#state |= CLOSING;
    this.dropHeld();
    const sink = this.sink;
    this.sink = null;
    sink?.onClosed(error);
  }
}
