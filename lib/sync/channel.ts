/**
 * Memory channels: queues with two kinds of ends that are closed one by one.
 *
 * In: items at the senders. Out: each item once, in order, at whichever receiver waits longest; an
 * end when all senders are closed. Never: an item that a receiver got is taken back; a wait that
 * goes on at an end that was closed.
 */
import { Deque } from '../base/deque.ts';
import {
  BrokenResourceError,
  ClosedResourceError,
  EndOfChannel,
  type WaitOptions,
  WouldBlock,
} from '../base/errors.ts';
import { checkInteger } from '../base/units.ts';
import { currentFrame } from '../task/frame.ts';
import { paceOf } from '../task/pace.ts';
import { refused } from './entry.ts';
import { Exchange, Giver, Steps, Taker } from './exchange.ts';

export interface ChannelStatistics {
  /** Items that were sent and not yet received. */
  readonly buffered: number;
  readonly capacity: number;
  /** Ends that are open. */
  readonly senders: number;
  readonly receivers: number;
  /** Sends that wait for room, or for a receiver. */
  readonly waitingSenders: number;
  readonly waitingReceivers: number;
}

/**
 * One end of a memory channel; it may be used by many tasks at once. Closing the last clone ends
 * the channel for the receivers, once they have taken what is left.
 */
export interface SendChannel<T> extends AsyncDisposable {
  /**
   * Waits for room, or without a capacity for a receiver, in order of the calls. Cancelled while it
   * waits, the item was not sent. BrokenResourceError without receivers; ClosedResourceError after
   * close. Both also for sends that wait at that moment.
   */
  send(item: T, options?: WaitOptions): Promise<void>;
  /** WouldBlock when full and nobody waits for an item; the errors of `send`. */
  sendNowait(item: T): void;
  /** Another end of the same kind, closed on its own. ClosedResourceError after close. */
  clone(): SendChannel<T>;
  /** May be called again. */
  close(): void;
  statistics(): ChannelStatistics;
}

/**
 * The other end. Iterating ends when all senders are closed and nothing is left; leaving the loop
 * early closes nothing. Closing the last clone drops what is left, and sends fail from then on.
 */
export interface ReceiveChannel<T> extends AsyncDisposable, AsyncIterable<T> {
  /**
   * The next item; it waits for one if need be, in order of the calls. Cancelled while it waits, it
   * takes none. EndOfChannel when all senders are closed and nothing is left; ClosedResourceError
   * after close, also for those that wait at that moment.
   */
  receive(options?: WaitOptions): Promise<T>;
  /** WouldBlock when there is none; the errors of `receive`. */
  receiveNowait(): T;
  /** Another end of the same kind, which competes for the same items. ClosedResourceError. */
  clone(): ReceiveChannel<T>;
  /** May be called again. */
  close(): void;
  statistics(): ChannelStatistics;
}

class Channel<T> extends Exchange<T> {
  senders = 0;
  receivers = 0;

  constructor(capacity: number) {
    super(capacity, new Deque<T>());
  }

  statistics(): ChannelStatistics {
    return {
      buffered: this.items.length,
      capacity: this.capacity,
      senders: this.senders,
      receivers: this.receivers,
      waitingSenders: this.givers.length,
      waitingReceivers: this.takers.length,
    };
  }
}

class MemorySender<T> implements SendChannel<T> {
  readonly #channel: Channel<T>;
  #closed = false;

  constructor(channel: Channel<T>) {
    this.#channel = channel;
    channel.senders++;
  }

  send(item: T, options?: WaitOptions): Promise<void> {
    const frame = currentFrame();
    const refusal = refused(frame, options);
    if (refusal !== null) return refusal;
    const error = this.#unusable();
    if (error !== null) return paceOf(frame).rejected(error);
    if (this.#channel.offer(item)) return paceOf(frame).done();
    return this.#channel.awaitRoom(new Giver('channel.send', this, item), frame, options);
  }

  sendNowait(item: T): void {
    const error = this.#unusable();
    if (error !== null) throw error;
    if (!this.#channel.offer(item)) throw new WouldBlock('The channel is full');
  }

  clone(): SendChannel<T> {
    if (this.#closed) throw new ClosedResourceError('This end of the channel was closed');
    return new MemorySender(this.#channel);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const channel = this.#channel;
    channel.senders--;
    const own = channel.givers.take((giver) => giver.user === this);
    for (const giver of own) giver.fail(new ClosedResourceError('The sender was closed'));
    if (channel.senders > 0) return;
    const end = new EndOfChannel();
    for (const taker of channel.takers.take()) taker.end(end);
  }

  statistics(): ChannelStatistics {
    return this.#channel.statistics();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  #unusable(): Error | null {
    if (this.#closed) return new ClosedResourceError('This end of the channel was closed');
    if (this.#channel.receivers > 0) return null;
    return new BrokenResourceError('The channel has no receiver any more');
  }
}

class MemoryReceiver<T> implements ReceiveChannel<T> {
  readonly #channel: Channel<T>;
  #closed = false;

  constructor(channel: Channel<T>) {
    this.#channel = channel;
    channel.receivers++;
  }

  receive(options?: WaitOptions): Promise<T> {
    return this.#receive(false, options) as Promise<T>;
  }

  receiveNowait(): T {
    if (this.#closed) throw new ClosedResourceError('This end of the channel was closed');
    if (this.#channel.ready) return this.#channel.take();
    if (this.#channel.senders === 0) throw new EndOfChannel();
    throw new WouldBlock('The channel is empty');
  }

  clone(): ReceiveChannel<T> {
    if (this.#closed) throw new ClosedResourceError('This end of the channel was closed');
    return new MemoryReceiver(this.#channel);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const channel = this.#channel;
    channel.receivers--;
    const own = channel.takers.take((taker) => taker.user === this);
    for (const taker of own) taker.fail(new ClosedResourceError('The receiver was closed'));
    if (channel.receivers > 0) return;
    channel.items.clear();
    const broken = new BrokenResourceError('The channel has no receiver any more');
    for (const giver of channel.givers.take()) giver.fail(broken);
  }

  statistics(): ChannelStatistics {
    return this.#channel.statistics();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return new Steps(this);
  }

  nextStep(): Promise<IteratorResult<T, undefined>> {
    return this.#receive(true, undefined) as Promise<IteratorResult<T, undefined>>;
  }

  #receive(step: boolean, options: WaitOptions | undefined): Promise<unknown> {
    const frame = currentFrame();
    const refusal = refused(frame, options);
    if (refusal !== null) return refusal;
    const channel = this.#channel;
    if (this.#closed) {
      const error = new ClosedResourceError('This end of the channel was closed');
      return paceOf(frame).rejected(error);
    }
    if (channel.ready) return channel.taken(frame, step);
    if (channel.senders > 0) {
      return channel.awaitItem(new Taker('channel.receive', this, step), frame, options);
    }
    if (step) return paceOf(frame).resolved({ value: undefined, done: true });
    return paceOf(frame).rejected(new EndOfChannel());
  }
}

/**
 * Two ends of a new channel. Items arrive in the order they were sent, each at one receiver. An
 * item that is itself a promise or a Task arrives at `receive()` as its result: wrap it, as in
 * `{ task }`.
 * (trio.open_memory_channel, anyio.create_memory_object_stream)
 * @param capacity items; 0: a send waits for its receiver; Infinity: never waits. Not a number:
 * TypeError; negative, a fraction or NaN: RangeError.
 */
export function openMemoryChannel<T>(
  capacity: number,
): [send: SendChannel<T>, receive: ReceiveChannel<T>] {
  const checked = capacity === Infinity ? capacity : checkInteger('capacity', capacity);
  const channel = new Channel<T>(checked);
  return [new MemorySender(channel), new MemoryReceiver(channel)];
}
