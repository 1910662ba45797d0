/**
 * The body of a request as a byte reader.
 *
 * In: calls of an exchange about its body. Out: promises of bytes. Never: a byte before somebody
 * reads; more than the limit.
 */
import type { Buffer } from 'node:buffer';
import { BrokenResourceError } from '../base/errors.ts';
import { flagEnded, flagGone, flagReadingPaused } from '../io/stream.ts';
import { HttpError } from './http-error.ts';
import { FedReader, ReadingHandle } from './reading-handle.ts';
import type { Exchange } from './wire.ts';

export class BodyReader extends FedReader {
  readonly exchange: Exchange;
  readonly #begin: () => void;
  #begun = false;
  #maxBytes: number;
  #bytes = 0;

  /** @param begin asks the exchange for its body; called at the first read */
  constructor(exchange: Exchange, maxBytes: number, begin: () => void) {
    const handle = new ReadingHandle();
    super(handle);
    handle.target = this;
    this.exchange = exchange;
    this.#begin = begin;
    this.#maxBytes = maxBytes;
    if (exchange.bodyBytes === 0) this.mark(flagEnded);
    else this.mark(flagReadingPaused);
  }

  /** Somebody has begun to read. */
  get used(): boolean {
    return this.#begun;
  }

  pauseBody(): void {
    this.exchange.pauseBody();
  }

  resumeBody(): void {
    if (this.#begun) {
      this.exchange.resumeBody();
      return;
    }
    this.#begun = true;
    if (this.exchange.bodyBytes > this.#maxBytes) this.fail(tooLarge());
    else if (!this.exchange.open) this.fail(new BrokenResourceError('The client is gone'));
    else this.#begin();
  }

  override onData(chunk: Buffer): void {
    if (this.has(flagGone)) return;
    this.#bytes += chunk.length;
    if (this.#bytes <= this.#maxBytes) {
      super.onData(chunk);
      return;
    }
    this.exchange.keepAlive = false;
    this.exchange.pauseBody();
    this.fail(tooLarge());
  }

  fail(error: Error): void {
    if (!this.has(flagGone) && !this.has(flagEnded)) this.onClosed(error);
  }
}

function tooLarge(): HttpError {
  return new HttpError(413, 'The body is too large');
}
