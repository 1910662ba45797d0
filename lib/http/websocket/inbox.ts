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

function mismatch(message: Message, wanted: Wanted | null): TypeError | null {
  const text = typeof message === 'string';
  if (wanted === null || wanted === 'any' || text === (wanted === 'text')) return null;
  return new TypeError(`The message is ${text ? 'text' : 'binary'}`);
}

function asWanted(message: Message, wanted: Wanted | null): Message | Result {
  return wanted === null ? { value: message, done: false } : message;
}

/** Made for the first message that waits. */
class Queue extends Deque<Message> {
  bytes = 0;
}

function isFull(queue: Queue): boolean {
  return queue.bytes > readAheadBytes || queue.length > readAheadMessages;
}

/**
 * Also the wait of whoever receives, and the loop over messages: one object for each socket.
 * Methods are `private` rather than `#`, which would add a field to each.
 */
export class Inbox extends Waiter<Message | Result> implements AsyncIterator<Message, undefined> {
  readonly #owner: InboxOwner;
  #queue: Queue | null = null;
  /** By whoever waits. Null: a loop, which takes any and whose end is no error. */
  #wanted: Wanted | null = null;

  constructor(owner: InboxOwner) {
    super('receive');
    this.#owner = owner;
  }

  override get plain(): boolean {
    return true;
  }

  get length(): number {
    return this.#queue === null ? 0 : this.#queue.length;
  }

  /** @param closing nobody is held up any more: what does not fit is dropped */
  push(message: Message, closing: boolean): void {
    if (this.active) {
      const error = mismatch(message, this.#wanted);
      if (error === null) {
        this.wake(asWanted(message, this.#wanted));
        return;
      }
      this.fail(error);
    }
    this.#queue ??= new Queue();
    const queue = this.#queue;
    if (closing && isFull(queue)) return;
    queue.push(message);
    queue.bytes += message.length;
    if (isFull(queue) && !closing) this.#owner.pauseInput();
  }

  receive(wanted: Wanted, options: ReceiveOptions | undefined): Promise<Message> {
    if (options?.timeoutMs !== undefined) {
      const { timeoutMs, ...rest } = options;
      return timeout(timeoutMs, () => this.receive(wanted, rest));
    }
    return this.nextOf(wanted, options) as Promise<Message>;
  }

  /** For a loop: ends, and does not fail, when nothing will come. */
  next(): Promise<Result> {
    return this.nextOf(null, undefined) as Promise<Result>;
  }

  private nextOf(
    wanted: Wanted | null,
    options: WaitOptions | undefined,
  ): Promise<Message | Result> {
    if (this.active) {
      return Promise.reject(new BusyResourceError('Another task receives from this WebSocket'));
    }
    const queue = this.#queue;
    if (queue !== null && queue.length > 0) return this.takeFrom(queue, wanted, options);
    if (this.#owner.inputEnded) {
      const cancelled = takeCancellation();
      if (cancelled !== null) return cancelledPromise(cancelled);
      if (wanted === null) return Promise.resolve(over);
      return Promise.reject(options?.signal?.aborted ? options.signal.reason : this.refusal());
    }
    this.#wanted = wanted;
    return this.start(options);
  }

  private refusal(): Error {
    return this.#owner.receiveRefusal();
  }

  private takeFrom(
    queue: Queue,
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
    queue.bytes -= message.length;
    const below = queue.bytes <= readAheadBytes / 2 && queue.length <= readAheadMessages / 2;
    if (below) this.#owner.resumeInput();
    return Promise.resolve(asWanted(message, wanted));
  }

  /** Nothing comes any more: who waits is told. */
  end(): void {
    if (!this.active) return;
    if (this.#wanted === null) this.wake(over);
    else this.fail(this.refusal());
  }
}
