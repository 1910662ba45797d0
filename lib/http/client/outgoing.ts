/**
 * The bytes of a request.
 *
 * In: a request with its headers and body. Out: what an exchange sends. Never: a header that breaks
 * out of its line; a body whose length contradicts its head.
 */
import { Buffer } from 'node:buffer';
import type { Awaitable, Data } from '../../base/errors.ts';
import type { ByteWriter } from '../../io/net-types.ts';
import { bodyType, chunksOf } from '../body.ts';
import type { HttpHeaders } from '../headers.ts';
import type { Body } from '../response.ts';

type Stream = (writer: ByteWriter) => Awaitable<void>;

export interface Message {
  readonly head: Data;
  readonly body: Data | null;
  readonly stream: Stream | null;
  readonly declaredBytes: number | null;
}

async function writeChunks(body: Body, writer: ByteWriter): Promise<void> {
  for await (const chunk of chunksOf(body)) await writer.write(chunk);
}

/** Methods for which no body is a body of no bytes. */
const withBody: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

/** Sets type, length and coding in `headers`. */
function frameBody(
  method: string,
  given: Body | null,
  headers: HttpHeaders,
): Omit<Message, 'head'> {
  const none = { body: null, stream: null, declaredBytes: null };
  const declared = headers.get('content-length');
  headers.delete('content-length');
  if (given === null) {
    if (withBody.has(method)) headers.put('content-length', '0');
    return none;
  }
  const { body, type } = bodyType(given);
  if (type !== null && !headers.has('content-type')) headers.set('content-type', type);
  if (typeof body === 'string' || body instanceof Uint8Array) {
    headers.put('content-length', String(Buffer.byteLength(body)));
    return { ...none, body };
  }
  let declaredBytes: number | null = null;
  if (body instanceof Blob) declaredBytes = body.size;
  else if (declared !== null && /^\d{1,15}$/.test(declared)) declaredBytes = Number(declared);
  if (declaredBytes !== null) headers.put('content-length', String(declaredBytes));
  else headers.put('transfer-encoding', 'chunked');
  const stream: Stream =
    typeof body === 'function' ? body : (writer): Promise<void> => writeChunks(body, writer);
  return { body: null, stream, declaredBytes };
}

/**
 * @param target of the request line
 * @param expectContinue adds the header if there is a body
 */
export function makeMessage(
  method: string,
  target: string,
  host: string,
  headers: HttpHeaders,
  given: Body | null,
  expectContinue: boolean,
): Message {
  const framed = frameBody(method, given, headers);
  if (expectContinue && given !== null) headers.put('expect', '100-continue');
  let head = `${method} ${target} HTTP/1.1\r\n`;
  if (!headers.has('host')) head += `host: ${host}\r\n`;
  const list = headers.toList();
  for (let i = 0; i < list.length; i += 2) head += `${list[i]}: ${list[i + 1]}\r\n`;
  head += '\r\n';
  // Strings are sent as UTF-8, headers are Latin-1.
  return { ...framed, head: /[\x80-\xff]/.test(head) ? Buffer.from(head, 'latin1') : head };
}
