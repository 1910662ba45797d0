/**
 * Server-sent events.
 *
 * In: a source of events. Out: a response that goes on. Never: a line end that makes two events of
 * one; a source that goes on when its client left.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { ReadableStream } from 'node:stream/web';
import { type Awaitable, argTypeError, isCancelled } from '../base/errors.ts';
import { ignore } from '../base/quiet.ts';
import { checkMs } from '../base/units.ts';
import type { ByteWriter } from '../io/net-types.ts';
import { offAbort, onAbort } from '../task/abort.ts';
import { CancelScope } from '../task/scope.ts';
import { sleep } from '../task/sleep.ts';
import { createTask } from '../task/spawn.ts';
import { streamChunks } from './body.ts';
import { HttpHeaders } from './headers.ts';
import type { HttpRequest } from './request.ts';
import { Response, type ResponseInit } from './response.ts';

export interface ServerSentEvent {
  readonly data: string;
  readonly event?: string;
  readonly id?: string;
  readonly retryMs?: number;
}

export interface EventSink {
  /** Waits for a slow client. */
  send(event: string | ServerSentEvent): Promise<void>;
  /** Where the client was when it lost the connection. */
  readonly lastEventId: string | null;
}

export type EventSource =
  | AsyncIterable<string | ServerSentEvent>
  | ((sink: EventSink) => Awaitable<void>);

export interface EventStreamInit extends ResponseInit {
  /** Comment lines that keep the connection open. Default 15_000; 0 for none. */
  pingMs?: number;
}

const defaultPingMs = 15_000;

/** The lines of one event. @throws TypeError for an id or a name with a line end in it */
export function formatEvent(event: string | ServerSentEvent): string {
  const { data, event: name, id, retryMs } = typeof event === 'string' ? { data: event } : event;
  if (typeof data !== 'string') throw argTypeError('event.data', 'a string', data);
  let text = '';
  if (name !== undefined) text += `event: ${oneLine('event.event', name)}\n`;
  if (id !== undefined) text += `id: ${oneLine('event.id', id)}\n`;
  if (retryMs !== undefined) text += `retry: ${Math.round(checkMs('event.retryMs', retryMs))}\n`;
  for (const line of data.split(/\r\n|\r|\n/)) text += `data: ${line}\n`;
  return `${text}\n`;
}

function oneLine(name: string, text: string): string {
  if (typeof text !== 'string' || /[\r\n\0]/.test(text)) {
    throw argTypeError(name, 'a string of one line', text);
  }
  return text;
}

/**
 * text/event-stream; the source is cancelled when the client leaves.
 * @throws TypeError for another source
 */
export function eventStream(source: EventSource, init: EventStreamInit = {}): Response {
  const { pingMs = defaultPingMs, ...rest } = init;
  checkMs('pingMs', pingMs);
  const iterates = typeof (source as AsyncIterable<unknown>)?.[Symbol.asyncIterator] === 'function';
  if (typeof source !== 'function' && !iterates) {
    throw argTypeError('source', 'an async iterable or a function', source);
  }
  const headers = new HttpHeaders(rest.headers);
  if (!headers.has('content-type')) headers.set('content-type', 'text/event-stream');
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-cache');
  // nginx would hold events back.
  if (!headers.has('x-accel-buffering')) headers.set('x-accel-buffering', 'no');
  let request: HttpRequest | null = null;
  const body = (writer: ByteWriter): Promise<void> => stream(writer, source, pingMs, request);
  const response = new Response(body, { ...rest, headers });
  response.preparation = (known): void => {
    request = known;
  };
  return response;
}

async function stream(
  writer: ByteWriter,
  source: EventSource,
  pingMs: number,
  request: HttpRequest | null,
): Promise<void> {
  const pings = pingMs === 0 || pingMs === Infinity ? null : createTask(ping, writer, pingMs);
  try {
    const scope = new CancelScope(request === null ? {} : { signal: request.signal });
    await scope.run(() => send(writer, source, request));
  } finally {
    await pings?.cancelAndWait();
  }
}

async function send(
  writer: ByteWriter,
  source: EventSource,
  request: HttpRequest | null,
): Promise<void> {
  if (typeof source !== 'function') {
    await sendAll(writer, source, request?.signal ?? null);
    return;
  }
  await source({
    send: async (event) => await writer.write(formatEvent(event)),
    lastEventId: fromUtf8(request?.headers.get('last-event-id') ?? null),
  });
}

/** Ids are UTF-8, as in the stream they came with; headers are read as Latin-1. */
function fromUtf8(id: string | null): string | null {
  if (id === null) return null;
  const bytes = Buffer.from(id, 'latin1');
  return isUtf8(bytes) ? bytes.toString() : id;
}

/** A generator's waits are the task's, and cancelled with it; of others the end is asked for. */
async function sendAll(
  writer: ByteWriter,
  source: AsyncIterable<string | ServerSentEvent>,
  signal: AbortSignal | null,
): Promise<void> {
  if (source instanceof ReadableStream) {
    const events = streamChunks<string | ServerSentEvent>(source, writer);
    for await (const event of events) await writer.write(formatEvent(event));
    return;
  }
  const iterator = source[Symbol.asyncIterator]();
  let stopped = false;
  const stop = (): void => {
    stopped = endSource(source, iterator);
  };
  if (signal?.aborted === true) stop();
  else if (signal !== null) onAbort(signal, stop);
  try {
    for await (const event of { [Symbol.asyncIterator]: () => iterator }) {
      await writer.write(formatEvent(event));
    }
  } catch (error) {
    // What was broken off may call that an error.
    if (!stopped || isCancelled(error)) throw error;
  } finally {
    if (signal !== null) offAbort(signal, stop);
  }
}

/** A stream of Node, or an iterator that is no generator. False: it ends with its task. */
function endSource(source: object, iterator: AsyncIterator<unknown>): boolean {
  const { destroy, pipe } = source as { destroy?: () => void; pipe?: unknown };
  if (typeof pipe === 'function' && typeof destroy === 'function') {
    destroy.call(source);
    return true;
  }
  if (Object.prototype.toString.call(iterator) === '[object AsyncGenerator]') return false;
  Promise.resolve(iterator.return?.()).catch(ignore);
  return true;
}

async function ping(writer: ByteWriter, pingMs: number): Promise<void> {
  try {
    for (;;) {
      await sleep(pingMs);
      await writer.write(': ping\n\n');
    }
  } catch (error) {
    // Whoever sends events meets the loss of the client, too.
    if (isCancelled(error)) throw error;
  }
}
