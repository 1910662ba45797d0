/**
 * Messages that came and wait for who receives them.
 *
 * In: messages. Out: the same, in order, one receiver at a time. Never: many more than fit: its
 * owner is asked to stop reading, and to go on.
 */
import type { Buffer } from 'node:buffer';
import { Deque } from '../../base/deque.ts';
import { BusyResourceError, type WaitOptions } from '../../base/errors.ts';
import { timeout } from '../../task/scope.ts';
import { cancelledPromise, takeCancellation, Waiter } from '../../task/waiter.ts';

export type Message = string | Buffer;
/** What of a message a receiver takes. */
export type Wanted = 'any' | 'text' | 'bytes';
export type ReceiveOptions = WaitOptions & { timeoutMs?: number };

export interface InboxOwner {
  /** No message will come any more. */
  readonly inputEnded: boolean;
  /** Why not. */
  receiveRefusal(): Error;
  pauseInput(): void;
  resumeInput(): void;
}

/** What may be read ahead of the receiver. */
const readAheadBytes = 65_536;
const readAheadMessages = 64;

class Receiver extends Waiter<Message> {
  readonly wanted: Wanted;

  constructor(wanted: Wanted) {
    super('receive');
    this.wanted = wanted;
  }
}

function mismatch(message: Message, wanted: Wanted): TypeError | null {
  const text = typeof message === 'string';
  if (wanted === 'any' || text === (wanted === 'text')) return null;
  return new TypeError(`The message is ${text ? 'text' : 'binary'}`);
}

export class Inbox {
  readonly #owner: InboxOwner;
  #queue: Deque<Message> | null = null;
  #bytes = 0;
  #receiver: Receiver | null = null;

  constructor(owner: InboxOwner) {
    this.#owner = owner;
  }

  get length(): number {
    return this.#queue?.length ?? 0;
  }

  /** @param closing nobody is held up any more: what does not fit is dropped */
  push(message: Message, closing: boolean): void {
    const receiver = this.#receiver;
    if (receiver?.active) {
      const error = mismatch(message, receiver.wanted);
      if (error === null) {
        receiver.wake(message);
        return;
      }
      receiver.fail(error);
    }
    this.#queue ??= new Deque();
    if (closing && this.#full) return;
    this.#queue.push(message);
    this.#bytes += message.length;
    if (this.#full && !closing) this.#owner.pauseInput();
  }

  get #full(): boolean {
    return this.#bytes > readAheadBytes || this.length > readAheadMessages;
  }

  receive(wanted: Wanted, options: ReceiveOptions | undefined): Promise<Message> {
    if (options?.timeoutMs !== undefined) {
      const { timeoutMs, ...rest } = options;
      return timeout(timeoutMs, () => this.receive(wanted, rest));
    }
    if (this.#receiver?.active) {
      return Promise.reject(new BusyResourceError('Another task receives from this WebSocket'));
    }
    const cancelled = takeCancellation();
    if (cancelled !== null) return cancelledPromise(cancelled);
    if (options?.signal?.aborted) return Promise.reject(options.signal.reason);
    const message = this.#queue?.shift();
    if (message !== undefined) return this.#take(message, wanted);
    if (this.#owner.inputEnded) return Promise.reject(this.#owner.receiveRefusal());
    const receiver = new Receiver(wanted);
    this.#receiver = receiver;
    return receiver.start(options);
  }

  #take(message: Message, wanted: Wanted): Promise<Message> {
    const error = mismatch(message, wanted);
    if (error !== null) {
      this.#queue?.unshift(message);
      return Promise.reject(error);
    }
    this.#bytes -= message.length;
    const below = this.#bytes <= readAheadBytes / 2 && this.length <= readAheadMessages / 2;
    if (below) this.#owner.resumeInput();
    return Promise.resolve(message);
  }

  /** Nothing comes any more: who waits is told. */
  end(): void {
    const receiver = this.#receiver;
    this.#receiver = null;
    if (receiver?.active) receiver.fail(this.#owner.receiveRefusal());
  }
}
