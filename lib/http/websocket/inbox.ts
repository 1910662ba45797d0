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
export type Result = IteratorResult<Message, undefined>;

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

const over: Result = { value: undefined, done: true };

/** Gives messages themselves, or one after the other to a loop over them. */
class Receiver extends Waiter<Message | Result> {
  /** Null: a loop, which takes any and whose end is no error. */
  readonly wanted: Wanted | null;

  constructor(wanted: Wanted | null) {
    super('receive');
    this.wanted = wanted;
  }
}

function mismatch(message: Message, wanted: Wanted | null): TypeError | null {
  const text = typeof message === 'string';
  if (wanted === null || wanted === 'any' || text === (wanted === 'text')) return null;
  return new TypeError(`The message is ${text ? 'text' : 'binary'}`);
}

function asWanted(message: Message, wanted: Wanted | null): Message | Result {
  return wanted === null ? { value: message, done: false } : message;
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
    return this.#queue === null ? 0 : this.#queue.length;
  }

  /** @param closing nobody is held up any more: what does not fit is dropped */
  push(message: Message, closing: boolean): void {
    const receiver = this.#receiver;
    if (receiver?.active) {
      this.#receiver = null;
      const error = mismatch(message, receiver.wanted);
      if (error === null) {
        receiver.wake(asWanted(message, receiver.wanted));
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
    return this.#next(wanted, options) as Promise<Message>;
  }

  /** For a loop: ends, and does not fail, when nothing will come. */
  iterate(): Promise<Result> {
    return this.#next(null, undefined) as Promise<Result>;
  }

  #next(wanted: Wanted | null, options: WaitOptions | undefined): Promise<Message | Result> {
    if (this.#receiver?.active) {
      return Promise.reject(new BusyResourceError('Another task receives from this WebSocket'));
    }
    const queue = this.#queue;
    if (queue !== null && queue.length > 0) return this.#take(queue, wanted, options);
    if (this.#owner.inputEnded) {
      const cancelled = takeCancellation();
      if (cancelled !== null) return cancelledPromise(cancelled);
      if (wanted === null) return Promise.resolve(over);
      return Promise.reject(options?.signal?.aborted ? options.signal.reason : this.#refusal());
    }
    const receiver = new Receiver(wanted);
    const promise = receiver.start(options);
    if (receiver.active) this.#receiver = receiver;
    return promise;
  }

  #refusal(): Error {
    return this.#owner.receiveRefusal();
  }

  #take(
    queue: Deque<Message>,
    wanted: Wanted | null,
    options: WaitOptions | undefined,
  ): Promise<Message | Result> {
    const cancelled = takeCancellation();
    if (cancelled !== null) return cancelledPromise(cancelled);
    if (options?.signal?.aborted) return Promise.reject(options.signal.reason);
    const message = queue.shift() as Message;
    const error = mismatch(message, wanted);
    if (error !== null) {
      queue.unshift(message);
      return Promise.reject(error);
    }
    this.#bytes -= message.length;
    const below = this.#bytes <= readAheadBytes / 2 && this.length <= readAheadMessages / 2;
    if (below) this.#owner.resumeInput();
    return Promise.resolve(asWanted(message, wanted));
  }

  /** Nothing comes any more: who waits is told. */
  end(): void {
    const receiver = this.#receiver;
    this.#receiver = null;
    if (!receiver?.active) return;
    if (receiver.wanted === null) receiver.wake(over);
    else receiver.fail(this.#refusal());
  }
}

/** One loop over messages. */
export class Messages implements AsyncIterator<Message, undefined> {
  readonly #inbox: Inbox;

  constructor(inbox: Inbox) {
    this.#inbox = inbox;
  }

  next(): Promise<Result> {
    return this.#inbox.iterate();
  }
}
