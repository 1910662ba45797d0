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
import type { HeaderList } from '../wire.ts';

type Stream = (writer: ByteWriter) => Awaitable<void>;

export interface Message {
  readonly lines: HeaderList;
  readonly head: Data;
  readonly body: Data | null;
  readonly stream: Stream | null;
  readonly declaredBytes: number | null;
  /** The head does not say that the connection is closed. */
  readonly keep: boolean;
}

async function writeChunks(body: Body, writer: ByteWriter): Promise<void> {
  for await (const chunk of chunksOf(body, writer)) await writer.write(chunk);
}

/** Methods for which no body is a body of no bytes. */
const withBody: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

/** Framing and connection are the client's own. */
export const owned: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

interface Framed {
  readonly body: Data | null;
  readonly stream: Stream | null;
  readonly declaredBytes: number | null;
  /** Of the head. */
  readonly line: string;
}

/** Sets the type in `headers`. */
function frameBody(method: string, given: Body | null, headers: HttpHeaders): Framed {
  const none = { body: null, stream: null, declaredBytes: null };
  if (given === null) return { ...none, line: withBody.has(method) ? 'content-length: 0\r\n' : '' };
  const { body, type } = bodyType(given);
  if (type !== null && !headers.has('content-type')) headers.set('content-type', type);
  if (typeof body === 'string' || body instanceof Uint8Array) {
    return { ...none, body, line: `content-length: ${Buffer.byteLength(body)}\r\n` };
  }
  const declared = headers.get('content-length');
  let declaredBytes: number | null = null;
  if (body instanceof Blob) declaredBytes = body.size;
  else if (declared !== null && /^\d{1,15}$/.test(declared)) declaredBytes = Number(declared);
  const stream: Stream =
    typeof body === 'function' ? body : (writer): Promise<void> => writeChunks(body, writer);
  const line =
    declaredBytes === null ? 'transfer-encoding: chunked' : `content-length: ${declaredBytes}`;
  return { body: null, stream, declaredBytes, line: `${line}\r\n` };
}

/**
 * @param target of the request line
 * @param more `expectContinue` is said in the head if there is a body
 */
export function makeMessage(
  method: string,
  target: string,
  host: string,
  headers: HttpHeaders,
  given: Body | null,
  more: { expectContinue: boolean; upgrade?: string },
): Message {
  const { body, stream, declaredBytes, line } = frameBody(method, given, headers);
  let keep = true;
  let named = false;
  let lines = '';
  const list = headers.toList();
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i] as string;
    const value = list[i + 1] as string;
    if (name === 'host') named = true;
    if (!owned.has(name)) lines += `${name}: ${value}\r\n`;
    else if (name === 'connection' && /\bclose\b/i.test(value)) keep = false;
  }
  let head = `${method} ${target} HTTP/1.1\r\n`;
  if (!named) head += `host: ${host}\r\n`;
  head += lines + line;
  if (!keep) head += 'connection: close\r\n';
  if (more.upgrade !== undefined) head += `connection: Upgrade\r\nupgrade: ${more.upgrade}\r\n`;
  if (more.expectContinue && given !== null) head += 'expect: 100-continue\r\n';
  head += '\r\n';
  // Strings are sent as UTF-8, headers are Latin-1.
  const bytes = /[\x80-\xff]/.test(head) ? Buffer.from(head, 'latin1') : head;
  return { lines: list, head: bytes, body, stream, declaredBytes, keep };
}
