/**
 * An async generator in a task of its own, read through a channel.
 *
 * In: a generator function. Out: what it yields, one at a time, as it is asked for; its error at
 * its place. Never: a generator that stays suspended, half-way, when its loop is left or cancelled;
 * a clean-up of it that nobody waits for.
 */
import { argTypeError, EndOfChannel, type WaitOptions } from '../base/errors.ts';
import { checkBody } from '../task/enter.ts';
import { FAILED, RESOLVED } from '../task/future.ts';
import { shielded } from '../task/scope.ts';
import { createTask, currentTask, type Task } from '../task/task.ts';
import { Waiter } from '../task/waiter.ts';
import {
  type ChannelStatistics,
  openMemoryChannel,
  type ReceiveChannel,
  type SendChannel,
} from './channel.ts';

/** The generator and its task. */
class Source<T> {
  readonly #make: () => AsyncGenerator<T>;
  readonly #send: SendChannel<T>;
  readonly #asked: Waiter<void> = new Waiter('safeChannel');
  #task: Task<void> | null = null;
  /** Asked for by a call that does not wait. */
  #wanted = false;
  #stopped = false;
  #errorTaken = false;

  constructor(make: () => AsyncGenerator<T>, send: SendChannel<T>) {
    this.#make = make;
    this.#send = send;
  }

  /** Lets the generator go on if somebody waits for an item, or `wanted` says so. */
  ask(wanted: boolean): void {
    if (this.#stopped) return;
    this.#wanted ||= wanted;
    if (!this.#hasDemand()) return;
    this.#asked.wake();
    if (this.#task !== null) return;
    this.#task = createTask({ name: 'safeChannel' }, () => this.#run());
    // Not from inside the task: by now its error can be had.
    this.#task.observe({ onFutureDone: () => this.#send.close(), takesError: false });
  }

  /** The last receiver has gone. A second cancellation would hit the clean-up of the first. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#task?.cancel('the channel was closed');
  }

  /** Waits for the end of the generator's clean-up, and throws its error if nobody got it. */
  async ended(): Promise<void> {
    const task = this.#task;
    // The generator itself may close its channel.
    if (task === null || task === currentTask()) return;
    await shielded(() => task.wait());
    if (task.status === FAILED) this.throwError();
  }

  /** Throws what the generator ended with, once; nothing when it returned. */
  throwError(): void {
    const task = this.#task;
    if (task === null || task.status === RESOLVED || this.#errorTaken) return;
    this.#errorTaken = true;
    throw task.failure();
  }

  async #run(): Promise<void> {
    const generator = this.#make();
    if (typeof generator?.next !== 'function') {
      throw argTypeError('generator', 'an async generator function', this.#make);
    }
    try {
      for (;;) {
        while (!this.#hasDemand()) await this.#asked.start();
        this.#wanted = false;
        const step = await generator.next();
        if (step.done) return;
        await this.#send.send(step.value);
      }
    } finally {
      // Runs its `finally` blocks, in this task. Nothing when it has ended.
      await generator.return(undefined);
    }
  }

  /** A receiver that was cancelled no longer counts: nothing is made that nobody waits for. */
  #hasDemand(): boolean {
    return this.#wanted || this.#send.statistics().waitingReceivers > 0;
  }
}

class SafeReceiver<T> implements ReceiveChannel<T> {
  readonly #source: Source<T>;
  readonly #inner: ReceiveChannel<T>;

  constructor(source: Source<T>, inner: ReceiveChannel<T>) {
    this.#source = source;
    this.#inner = inner;
  }

  async receive(options?: WaitOptions): Promise<T> {
    const received = this.#inner.receive(options);
    this.#source.ask(false);
    try {
      return await received;
    } catch (error) {
      if (error instanceof EndOfChannel) this.#source.throwError();
      throw error;
    }
  }

  receiveNowait(): T {
    try {
      return this.#inner.receiveNowait();
    } catch (error) {
      if (error instanceof EndOfChannel) this.#source.throwError();
      else this.#source.ask(true);
      throw error;
    }
  }

  clone(): ReceiveChannel<T> {
    return new SafeReceiver(this.#source, this.#inner.clone());
  }

  close(): void {
    this.#inner.close();
    if (this.#inner.statistics().receivers === 0) this.#source.stop();
  }

  statistics(): ChannelStatistics {
    return this.#inner.statistics();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    if (this.#inner.statistics().receivers === 0) await this.#source.ended();
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return new SafeSteps(this);
  }
}

/** Ends the generator with the loop: left early, cancelled or failed. */
class SafeSteps<T> implements AsyncIterator<T, undefined> {
  readonly #channel: SafeReceiver<T>;

  constructor(channel: SafeReceiver<T>) {
    this.#channel = channel;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    try {
      return { value: await this.#channel.receive(), done: false };
    } catch (error) {
      if (error instanceof EndOfChannel) return { value: undefined, done: true };
      // `for await` does not call return() after an error of next().
      await this.#channel[Symbol.asyncDispose]();
      throw error;
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    await this.#channel[Symbol.asyncDispose]();
    return { value: undefined, done: true };
  }
}

/**
 * Runs an async generator in a task of its own, so that leaving the loop ends it: by `break`, an
 * error or a cancellation, the generator is cancelled where it waits, or ended where it yielded,
 * and its clean-up is awaited before the loop is left. So scopes and task groups inside the
 * generator are safe, which they are not in a bare one.
 *
 * It begins with the first receive, and goes on only when somebody asks for the next item. Its
 * error is thrown at its place, once. `close()` of the last clone cancels it without waiting;
 * `await using` waits. No function: TypeError. (trio.as_safe_channel)
 */
export function safeChannel<T, A extends unknown[]>(
  generator: (...args: A) => AsyncGenerator<T>,
  ...args: A
): ReceiveChannel<T> {
  checkBody('safeChannel', generator);
  const [send, receive] = openMemoryChannel<T>(0);
  return new SafeReceiver(new Source(() => generator(...args), send), receive);
}
