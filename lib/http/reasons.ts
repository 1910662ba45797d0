/**
 * Reason phrases, and the answer of a wire to bad input.
 *
 * In: a status. Out: text. Never: anything of the request in it.
 */
import { STATUS_CODES } from 'node:http';

export function reasonOf(status: number): string {
  return STATUS_CODES[status] ?? 'Unknown';
}

/** A whole response that closes the connection. */
export function refusalText(status: number, reason: string): string {
  const body = `${reason}\n`;
  return (
    `HTTP/1.1 ${status} ${reasonOf(status)}\r\nconnection: close\r\n` +
    `content-type: text/plain;charset=UTF-8\r\ncontent-length: ${body.length}\r\n` +
    `date: ${new Date().toUTCString()}\r\n\r\n${body}`
  );
}
