/**
 * Errors of an exchange whose carrier, or its response, broke.
 *
 * In: the exchange and what happened. Out: the error of its request, or of its body when the head
 * was given already. Never: a request sent again.
 */
import {
  ClientPayloadError,
  ClientResponseError,
  ServerDisconnectedError,
} from '../client-errors.ts';
import { HttpHeaders } from '../headers.ts';
import type { ClientExchange } from './exchange.ts';

/** Who was connected to. */
interface Where {
  readonly host: string;
  readonly port: number;
}

export function releasedError(): ClientPayloadError {
  return new ClientPayloadError('The response was released');
}

export function malformedError(exchange: ClientExchange, cause: Error): Error {
  const message = `The response is malformed: ${cause.message}`;
  if (exchange.head !== null) return new ClientPayloadError(message, { cause });
  const response = { status: 0, headers: new HttpHeaders(), url: exchange.plan.url };
  return new ClientResponseError(message, response, { cause });
}

export function disconnectedError(
  exchange: ClientExchange,
  { host, port }: Where,
  cause: Error | undefined,
): Error {
  if (exchange.head !== null) {
    return new ClientPayloadError('The connection ended before the body', { cause });
  }
  const code = (cause as { code?: string } | undefined)?.code ?? 'ECONNRESET';
  const message = 'The server closed the connection before its response';
  return new ServerDisconnectedError(message, { code, host, port }, { cause });
}
