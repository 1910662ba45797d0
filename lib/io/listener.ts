/**
 * One listening socket of a server.
 *
 * In: an address, or a path. Out: streams, given to the server. Never: a socket that stays open
 * after a failed or cancelled start.
 */
import type { WaitOptions } from '../base/errors.ts';
import type {
  CallbackContext,
  ListenerHandle,
  ListenerSink,
  SocketAddress,
  StreamHandle,
} from '../loop/backend.ts';
import { Waiter } from '../task/waiter.ts';
import type { UnixFile } from './unix-file.ts';

/** The server, as its listeners see it. */
export interface ListenerOwner {
  /** @internal */
  accept(stream: StreamHandle): void;
  /** @internal */
  acceptFailed(error: Error): void;
  /** @internal */
  listenerClosed(): void;
}

export class Listener extends Waiter<Listener> implements ListenerSink {
  /** Accepting enters the server's context itself. */
  readonly context: CallbackContext | null = null;
  readonly #owner: ListenerOwner;
  #handle: ListenerHandle | null = null;
  #address: SocketAddress | null = null;
  #closing = false;
  /** The server counts it. */
  attached = false;
  /** Of a UNIX socket: what is to be removed at the end. */
  file: UnixFile | null = null;

  constructor(owner: ListenerOwner) {
    super('listen');
    this.#owner = owner;
  }

  /** Not before the promise of `open` was fulfilled. */
  get address(): SocketAddress {
    return this.#address as SocketAddress;
  }

  /** Rejects with the system's error. Cancelled, the socket is closed. */
  open(
    make: (sink: ListenerSink) => ListenerHandle,
    options: WaitOptions | undefined,
  ): Promise<Listener> {
    const promise = this.start(options);
    if (!this.active) return promise;
    try {
      this.#handle = make(this);
    } catch (error) {
      this.fail(error);
    }
    return promise;
  }

  get descriptor(): number | null {
    return this.#handle?.fd ?? null;
  }

  pause(): void {
    this.#handle?.pause();
  }

  resume(): void {
    this.#handle?.resume();
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.file?.beforeClose();
    this.#handle?.close();
  }

  override onCancel(): void {
    this.close();
  }

  onListening(address: SocketAddress): void {
    this.#address = address;
    this.wake(this);
  }

  onListenError(error: Error): void {
    this.fail(error);
  }

  onConnection(stream: StreamHandle): void {
    this.#owner.accept(stream);
  }

  onAcceptError(error: Error): void {
    this.#owner.acceptFailed(error);
  }

  onListenerClosed(): void {
    this.file?.afterClose();
    if (this.attached) this.#owner.listenerClosed();
  }
}
