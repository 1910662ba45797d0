/**
 * What can go wrong with a request that goes out. A time limit is no ClientError: it is caught as
 * a TimeoutError.
 *
 * In: what happened. Out: errors. Never: the password of a URL in a message.
 */
import { TimeoutError } from '../base/errors.ts';

function named(errorClass: { prototype: Error; name: string }): void {
  const descriptor = { value: errorClass.name, configurable: true, writable: true };
  Object.defineProperty(errorClass.prototype, 'name', descriptor);
}

/** (aiohttp.ClientError) */
export class ClientError extends Error {
  readonly code: string = 'ERR_UVIO_HTTP_CLIENT';
}

/** A limit of ClientTimeouts passed. (aiohttp.ServerTimeoutError) */
export class ClientTimeoutError extends TimeoutError {
  readonly phase: 'total' | 'connect' | 'read';

  constructor(phase: 'total' | 'connect' | 'read', message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.phase = phase;
  }
}

/** Look-up, connect, TLS or a broken connection; `code` is Node's (ECONNREFUSED, ENOTFOUND …). */
export class ClientConnectionError extends ClientError {
  override readonly code: string;
  readonly host: string;
  readonly port: number;

  constructor(
    message: string,
    where: { code: string; host: string; port: number },
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.code = where.code;
    this.host = where.host;
    this.port = where.port;
  }
}

/** The server closed before the response. */
export class ServerDisconnectedError extends ClientConnectionError {}

/** A response that is not what was asked for. */
export class ClientResponseError<R = unknown> extends ClientError {
  readonly status: number;
  readonly headers: Headers;
  readonly url: string;
  readonly history: readonly R[];

  constructor(
    message: string,
    response: { status: number; headers: Headers; url: string; history?: readonly R[] },
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.status = response.status;
    this.headers = response.headers;
    this.url = response.url;
    this.history = response.history ?? [];
  }
}

export class TooManyRedirectsError extends ClientResponseError {}

/** The answer to `wsConnect` makes no WebSocket; `status` 101: a bad handshake. */
export class WebSocketHandshakeError extends ClientResponseError {}

/** The body ended early or is not what its headers say. */
export class ClientPayloadError extends ClientError {}

export class InvalidUrlError extends ClientError {
  readonly url: string;

  constructor(url: string, message: string = `'${url}' is no URL for a request`) {
    super(message);
    this.url = url;
  }
}

for (const one of [
  ClientError,
  ClientTimeoutError,
  ClientConnectionError,
  ServerDisconnectedError,
  ClientResponseError,
  TooManyRedirectsError,
  WebSocketHandshakeError,
  ClientPayloadError,
  InvalidUrlError,
]) {
  named(one);
}
