/**
 * `for await` over a connection, and its one waiting reader.
 *
 * In: a stream to be read. Out: iterators written by hand: an async generator costs twice as much
 * a step.
 * Never: closing the connection when a loop is left early.
 */
import type { Buffer } from 'node:buffer';
import { Waiter } from '../task/waiter.ts';
import type { Want } from './wants.ts';

interface StepReader {
  nextChunk(): Promise<IteratorResult<Buffer, undefined>>;
  nextLine(): Promise<IteratorResult<string, undefined>>;
}

/** Leaving a loop early ends nothing: another loop goes on where this one stopped. */
function leave(): Promise<IteratorReturnResult<undefined>> {
  return Promise.resolve({ value: undefined, done: true });
}

/**
 * The one wait of those who read from a stream. It is the iterator over chunks, too, which needs
 * no state: an object less for each connection that sits in a loop.
 */
export class Reader extends Waiter<unknown> implements AsyncIterator<Buffer, undefined> {
  readonly #stream: StepReader;
  /** @internal What the wait is for. */
  want: Want<unknown> | null;

  constructor(stream: StepReader) {
    super('read');
    this.#stream = stream;
    this.want = null;
  }

  override get plain(): boolean {
    return true;
  }

  next(): Promise<IteratorResult<Buffer, undefined>> {
    return this.#stream.nextChunk();
  }

  return(): Promise<IteratorReturnResult<undefined>> {
    return leave();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

export class LineIterator implements AsyncIterator<string, undefined> {
  readonly #reader: StepReader;

  constructor(reader: StepReader) {
    this.#reader = reader;
  }

  next(): Promise<IteratorResult<string, undefined>> {
    return this.#reader.nextLine();
  }

  return(): Promise<IteratorReturnResult<undefined>> {
    return leave();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** What `lines()` returns. */
export class LineLoop implements AsyncIterable<string> {
  readonly #reader: StepReader;

  constructor(reader: StepReader) {
    this.#reader = reader;
  }

  [Symbol.asyncIterator](): AsyncIterator<string, undefined> {
    return new LineIterator(this.#reader);
  }
}
