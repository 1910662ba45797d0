/**
 * A listening socket, and a connect under way, on the native side.
 *
 * In: records. Out: streams and errors to their sinks. Never: a sink called from inside a call.
 */
import { systemError } from '../../base/errors.ts';
import type { ConnectRequest, ConnectSink, ListenerHandle, ListenerSink } from '../backend.ts';
import type { NativeBackend } from './backend.ts';
import { NativeStream } from './stream.ts';

export class NativeListener implements ListenerHandle {
  sink: ListenerSink | null;
  /** @internal */ readonly backend: NativeBackend;
  /** @internal */ readonly id: number;
  #paused: boolean;
  #closed = false;
  /** Accepted in the batch in which `pause()` came. */
  #held: number[] = [];
  /** Removes the file of a UNIX socket. */
  onClose: (() => void) | null = null;

  constructor(backend: NativeBackend, id: number, sink: ListenerSink, paused: boolean) {
    this.backend = backend;
    this.id = id;
    this.sink = sink;
    this.#paused = paused;
  }

  get fd(): number | null {
    const fd = this.backend.hub.binding.descriptor(this.id);
    return fd < 0 ? null : fd;
  }

  pause(): void {
    if (this.#paused || this.#closed) return;
    this.#paused = true;
    this.backend.hub.binding.setReading(this.id, 0);
  }

  resume(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    const { binding } = this.backend.hub;
    binding.setReading(this.id, 1);
    if (this.#held.length > 0) binding.replay(this.id);
  }

  ref(): void {
    this.backend.hub.binding.reference(this.id, 1);
  }

  unref(): void {
    this.backend.hub.binding.reference(this.id, 0);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { binding } = this.backend.hub;
    for (const id of this.#held) binding.abort(id);
    this.#held = [];
    binding.close(this.id);
    this.onClose?.();
  }

  /** @internal */
  accepted(streamId: number): void {
    const { backend } = this;
    if (this.#closed || this.sink === null) {
      backend.hub.binding.abort(streamId);
    } else if (this.#paused) {
      this.#held.push(streamId);
      // Nobody would get its data.
      backend.hub.binding.setReading(streamId, 0);
    } else {
      const stream = new NativeStream(backend, streamId);
      backend.added(stream);
      try {
        this.sink.onConnection(stream);
      } catch (error) {
        stream.abort();
        throw error;
      }
    }
  }

  /** @internal */
  replay(): void {
    const held = this.#held;
    this.#held = [];
    for (const id of held) {
      this.backend.hub.binding.setReading(id, 1);
      this.accepted(id);
    }
  }

  /** @internal */
  acceptFailed(errno: number): void {
    if (!this.#closed) this.sink?.onAcceptError(systemError(-errno, 'accept'));
  }

  /** @internal */
  lost(): void {
    this.#closed = true;
    const sink = this.sink;
    this.sink = null;
    sink?.onListenerClosed();
  }
}

export class NativeConnect implements ConnectRequest {
  /** Its context is that of the stream's sink, which does not exist yet. */
  readonly sink: null = null;
  /** @internal */ readonly backend: NativeBackend;
  /** @internal */ readonly id: number;
  readonly #host: string;
  readonly #port: number | undefined;
  #target: ConnectSink | null;

  constructor(
    backend: NativeBackend,
    id: number,
    target: ConnectSink,
    host: string,
    port: number | undefined,
  ) {
    this.backend = backend;
    this.id = id;
    this.#target = target;
    this.#host = host;
    this.#port = port;
  }

  /** Not cancelled, not settled. */
  get pending(): boolean {
    return this.#target !== null;
  }

  cancel(): void {
    if (this.#target === null) return;
    this.#target = null;
    this.backend.hub.binding.abort(this.id);
  }

  /** @internal */
  settled(errno: number): void {
    const target = this.#target;
    this.#target = null;
    if (target === null) return;
    if (errno !== 0) {
      // The closed record that follows is counted by `lost`.
      target.onConnectError(systemError(-errno, 'connect', this.#host, this.#port));
      return;
    }
    const stream = new NativeStream(this.backend, this.id);
    this.backend.replace(stream);
    try {
      target.onConnect(stream);
    } catch (error) {
      stream.abort();
      throw error;
    }
  }

  /** @internal */
  lost(): void {
    this.#target = null;
  }
}
