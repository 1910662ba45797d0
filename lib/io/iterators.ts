/**
 * `for await` over a connection.
 *
 * In: a reader. Out: iterators written by hand: an async generator costs twice as much a step.
 * Never: closing the connection when a loop is left early.
 */
import type { Buffer } from 'node:buffer';

interface StepReader {
  nextChunk(): Promise<IteratorResult<Buffer, undefined>>;
  nextLine(): Promise<IteratorResult<string, undefined>>;
}

/** Leaving a loop early ends nothing: another loop goes on where this one stopped. */
function leave(): Promise<IteratorReturnResult<undefined>> {
  return Promise.resolve({ value: undefined, done: true });
}

export class ChunkIterator implements AsyncIterator<Buffer, undefined> {
  readonly #reader: StepReader;

  constructor(reader: StepReader) {
    this.#reader = reader;
  }

  next(): Promise<IteratorResult<Buffer, undefined>> {
    return this.#reader.nextChunk();
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
