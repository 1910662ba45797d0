/**
 * Sending what a handler returned.
 *
 * In: a call and a response. Out: calls of the exchange. Never: waiting, for a response that is
 * there as a whole.
 */
import { Buffer } from 'node:buffer';
import { argTypeError, type Data } from '../base/errors.ts';
import { isThenable } from '../task/enter.ts';
import { chunksOf } from './body.ts';
import type { Call } from './call.ts';
import { compressResponse } from './compress.ts';
import { ExchangeWriter } from './exchange-writer.ts';
import { checkHeaderName, checkHeaderValue } from './headers.ts';
import { reasonOf } from './reasons.ts';
import { type Body, checkReason, checkStatus, Response, type ResponseLike } from './response.ts';
import { UpgradeResponse } from './websocket/upgrade.ts';
import type { HeaderList } from './wire.ts';

const forbidden: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'trailer',
]);

/** Rejects or throws before anything was sent, or with what a body function threw. */
export function sendResponse(call: Call, response: ResponseLike): void | PromiseLike<void> {
  if (!(response instanceof Response)) {
    const body = checkResponse(response);
    if (call.app.onResponseHooks.length === 0) return send(call, response, body);
    return sendHooked(call, response, body);
  }
  const { onResponseHooks } = call.app;
  if (response instanceof UpgradeResponse) return sendUpgrade(call, response);
  if (
    response.preparation === null &&
    response.compress === false &&
    onResponseHooks.length === 0
  ) {
    return send(call, response, response.takeBody());
  }
  return sendPrepared(call, response);
}

/** Past hooks, compression and what makes a file of it. */
export function sendBare(call: Call, response: Response): void | PromiseLike<void> {
  return send(call, response, response.takeBody());
}

async function sendPrepared(call: Call, response: Response): Promise<void> {
  if (response.preparation !== null) await response.preparation(call.request);
  if (response.compress !== false) compressResponse(call.request, response);
  for (const hook of call.app.onResponseHooks) await hook(call.request, response);
  await send(call, response, response.takeBody());
}

async function sendHooked(call: Call, response: ResponseLike, body: Body | null): Promise<void> {
  for (const hook of call.app.onResponseHooks) await hook(call.request, response);
  await send(call, response, body);
}

function sendUpgrade(call: Call, response: UpgradeResponse): void | PromiseLike<void> {
  if (call.app.onResponseHooks.length > 0) return sendUpgradeHooked(call, response);
  response.begin(call, filterHead(call, response.headerList()).list);
}

async function sendUpgradeHooked(call: Call, response: UpgradeResponse): Promise<void> {
  for (const hook of call.app.onResponseHooks) await hook(call.request, response);
  response.begin(call, filterHead(call, response.headerList()).list);
}

function checkResponse(response: ResponseLike): Body | null {
  if (typeof response !== 'object' || response === null || !('headers' in response)) {
    throw argTypeError('the result of the handler', 'a Response', response);
  }
  const body = (response.body ?? null) as Body | null;
  if ((body as { locked?: boolean } | null)?.locked === true) {
    throw new TypeError('The body of this response was used already');
  }
  return body;
}

/** What the head of a response says, without what belongs to the wire. */
interface HeadParts {
  readonly list: HeaderList;
  readonly lengthBytes: number | null;
}

function readHead(call: Call, response: ResponseLike): HeadParts {
  if (!(response instanceof Response)) return filterHead(call, [...response.headers].flat());
  const list = response.headerList();
  if (response.plain) return { list, lengthBytes: null };
  for (let i = 0; i < list.length; i += 2) {
    if (forbidden.has(list[i] as string)) return filterHead(call, list);
  }
  return { list, lengthBytes: null };
}

function filterHead(call: Call, list: readonly string[]): HeadParts {
  const kept: string[] = [];
  let lengthBytes: number | null = null;
  for (let i = 0; i < list.length; i += 2) {
    // Of another library's Response: not checked yet.
    const name = checkHeaderName(list[i]);
    const value = checkHeaderValue(name, list[i + 1]);
    if (name === 'content-length' && /^\d{1,15}$/.test(value)) lengthBytes = Number(value);
    else if (name === 'connection' && /\bclose\b/i.test(value)) call.exchange.keepAlive = false;
    else if (!forbidden.has(name)) kept.push(name, value);
  }
  return { list: kept, lengthBytes };
}

function send(call: Call, response: ResponseLike, body: Body | null): void | PromiseLike<void> {
  const { exchange } = call;
  const { list, lengthBytes } = readHead(call, response);
  // It went over to another protocol.
  if (call.status === 101) return;
  const status = checkStatus(response.status);
  const statusText =
    response.statusText === '' ? reasonOf(status) : checkReason(response.statusText);
  if (call.responded) throw new TypeError('The request was answered already');
  call.status = status;
  const bodyless = exchange.method === 'HEAD' || status === 204 || status === 304;
  if (body === null || typeof body === 'string' || body instanceof Uint8Array) {
    // A 304 that said 0 would make a cache forget what it has. (RFC 9110 8.6)
    if (body === null && ((lengthBytes !== null && exchange.method === 'HEAD') || status === 304)) {
      exchange.startResponse(status, statusText, list, lengthBytes);
      exchange.endResponse();
      return;
    }
    if (body !== null && call.logged && !bodyless) call.sentBytes = Buffer.byteLength(body);
    exchange.respond(status, statusText, list, body);
    return;
  }
  const bytes = body instanceof Blob ? body.size : lengthBytes;
  exchange.startResponse(status, statusText, list, bytes);
  if (bodyless) {
    exchange.endResponse();
    return dropBody(body);
  }
  const writer = new ExchangeWriter(exchange, bytes);
  call.writer = writer;
  call.watch();
  return writeBody(call, writer, body);
}

/** What nobody will read is told so. */
async function dropBody(body: Body): Promise<void> {
  if (typeof body === 'function' || body instanceof Blob) return;
  const iterator = (body as AsyncIterable<Data>)[Symbol.asyncIterator]?.();
  await iterator?.return?.();
}

async function writeBody(call: Call, writer: ExchangeWriter, body: Body): Promise<void> {
  try {
    if (typeof body === 'function') {
      const result = body(writer);
      if (isThenable(result)) await result;
    } else {
      for await (const chunk of chunksOf(body, writer)) await writer.write(chunk);
    }
    await writer.writeEof();
  } finally {
    call.sentBytes = writer.bytes;
  }
}
