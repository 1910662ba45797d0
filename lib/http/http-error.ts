/**
 * Errors that are responses.
 *
 * In: a status, thrown by handlers and by uvio for bad requests. Out: a response. Never: the stack
 * or the cause in it.
 */
import { rangeError } from '../base/errors.ts';
import { type HeadersInit, HttpHeaders } from './headers.ts';
import { reasonOf } from './reasons.ts';
import { type Body, Response } from './response.ts';

export interface HttpErrorOptions {
  headers?: HeadersInit;
  /** Default: the message as text. */
  body?: Body;
  cause?: unknown;
}

/**
 * Thrown by a handler or middleware: becomes the response. Any other error becomes a 500.
 * (aiohttp.web.HTTPException)
 * @throws RangeError for a status that is not 400 … 599
 */
export class HttpError extends Error {
  readonly code: 'ERR_UVIO_HTTP' = 'ERR_UVIO_HTTP';
  readonly status: number;
  readonly headers: Headers;
  readonly #body: Body | undefined;

  /** @param message default: the reason phrase of the status; it is what the client reads */
  constructor(status: number, message?: string, options: HttpErrorOptions = {}) {
    const { cause } = options;
    super(message ?? reasonOf(status), cause === undefined ? undefined : { cause });
    if (!Number.isInteger(status) || status < 400 || status > 599) {
      throw rangeError('status', '400 … 599', status);
    }
    this.status = status;
    this.headers = new HttpHeaders(options.headers);
    this.#body = options.body;
  }

  toResponse(): Response {
    return new Response(this.#body ?? this.message, { status: this.status, headers: this.headers });
  }
}
