/**
 * Bodies of responses, whatever they were made from.
 *
 * In: a Body. Out: its type, its bytes, a Web stream, or chunks. Never: sending.
 */
import { Buffer } from 'node:buffer';
import { ReadableStream } from 'node:stream/web';
import { argTypeError, type Data, type WaitOptions } from '../base/errors.ts';
import { ignore } from '../base/quiet.ts';
import { checkData, joinData, toBytes } from '../io/data.ts';
import type { ByteWriter } from '../io/net-types.ts';
import { abortable } from '../task/signal.ts';
import { ExchangeWriter } from './exchange-writer.ts';
import { formBlob } from './form-body.ts';
import type { Body } from './response.ts';

export const textType = 'text/plain;charset=UTF-8';

/** The content type that a body has by itself; forms are turned into what is sent. */
export function bodyType(body: Body): { body: Body; type: string | null } {
  if (typeof body === 'string') return { body, type: textType };
  if (body instanceof Uint8Array || typeof body === 'function') return { body, type: null };
  if (body instanceof URLSearchParams) {
    const type = 'application/x-www-form-urlencoded;charset=UTF-8';
    return { body: body.toString(), type };
  }
  if (body instanceof Blob) return { body, type: body.type === '' ? null : body.type };
  if (body instanceof FormData) {
    const blob = formBlob(body);
    return { body: blob, type: blob.type };
  }
  if (isIterable(body)) return { body, type: null };
  throw argTypeError('body', 'a string, bytes, a form, an iterable, a stream or a function', body);
}

function isIterable(body: unknown): body is AsyncIterable<Data> | Iterable<Data> {
  if (typeof body !== 'object' || body === null) return false;
  const some = body as Partial<AsyncIterable<Data> & Iterable<Data>>;
  return (
    typeof some[Symbol.asyncIterator] === 'function' || typeof some[Symbol.iterator] === 'function'
  );
}

/** Collects what a writer function writes. */
class Collector implements ByteWriter {
  readonly parts: Uint8Array[] = [];
  readonly writeBufferBytes = 0;

  write(data: Data, _options?: WaitOptions): Promise<void> {
    this.parts.push(Buffer.from(toBytes(checkData(data))));
    return Promise.resolve();
  }

  writeLines(parts: Iterable<Data>, options?: WaitOptions): Promise<void> {
    return this.write(joinData(parts), options);
  }

  writeEof(): Promise<void> {
    return Promise.resolve();
  }
}

export async function bodyBytes(body: Body): Promise<Buffer> {
  if (typeof body === 'string') return Buffer.from(body);
  if (body instanceof Uint8Array) return Buffer.from(body);
  if (body instanceof Blob) return Buffer.from(await body.arrayBuffer());
  const collector = new Collector();
  if (typeof body === 'function') await body(collector);
  else for await (const chunk of chunksOf(body)) await collector.write(chunk);
  return Buffer.concat(collector.parts);
}

const blobChunkBytes = 262_144;

/**
 * Slice by slice: what is left early holds no file. A Blob's own stream keeps that of `openAsBlob`
 * open until the garbage is collected, and has the whole of what is in memory as one chunk.
 */
async function* blobChunks(blob: Blob): AsyncGenerator<Data> {
  for (let at = 0; at < blob.size; at += blobChunkBytes) {
    yield new Uint8Array(await blob.slice(at, at + blobChunkBytes).arrayBuffer());
  }
}

/**
 * A stream is cancelled at once when its reader is gone, or the task that waits for it is
 * cancelled: iterated, it would wait for its next chunk first, which may never come.
 */
export async function* streamChunks<T>(
  stream: ReadableStream<T>,
  writer: ByteWriter,
): AsyncGenerator<T> {
  const reader = stream.getReader();
  const stop = (reason?: unknown): void => {
    reader.cancel(reason).catch(ignore);
  };
  if (writer instanceof ExchangeWriter) writer.whenLost(stop);
  let ended = false;
  try {
    while (!ended) {
      const { done, value } = await abortable(reader.read());
      if (done) ended = true;
      else yield value;
    }
  } catch (error) {
    ended = true;
    stop(error);
    throw error;
  } finally {
    if (!ended) stop();
  }
}

/**
 * The chunks of a body that is neither bytes nor a function.
 * @param writer where they go to, inside a task
 */
export function chunksOf(
  body: Body,
  writer: ByteWriter | null = null,
): AsyncIterable<Data> | Iterable<Data> {
  if (body instanceof Blob) return blobChunks(body);
  if (writer !== null && body instanceof ReadableStream) return streamChunks(body, writer);
  return body as AsyncIterable<Data> | Iterable<Data>;
}

/** Writes into a Web stream; waits while its reader does not read. */
class StreamWriter implements ByteWriter {
  readonly writeBufferBytes = 0;
  readonly #controller: ReadableStreamDefaultController<Uint8Array>;
  #wanted: (() => void) | null = null;
  cancelled = false;

  constructor(controller: ReadableStreamDefaultController<Uint8Array>) {
    this.#controller = controller;
  }

  write(data: Data): Promise<void> {
    if (this.cancelled) return Promise.reject(new TypeError('The stream was cancelled'));
    this.#controller.enqueue(Uint8Array.from(toBytes(checkData(data))));
    if ((this.#controller.desiredSize ?? 1) > 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wanted = resolve;
    });
  }

  writeLines(parts: Iterable<Data>): Promise<void> {
    return this.write(joinData(parts));
  }

  writeEof(): Promise<void> {
    return Promise.resolve();
  }

  pulled(): void {
    this.#wanted?.();
    this.#wanted = null;
  }
}

async function writeAll(body: Body, writer: ByteWriter): Promise<void> {
  if (typeof body === 'string' || body instanceof Uint8Array) await writer.write(body);
  else if (typeof body === 'function') await body(writer);
  else for await (const chunk of chunksOf(body)) await writer.write(chunk);
}

export function bodyStream(body: Body): ReadableStream<Uint8Array> {
  if (body instanceof ReadableStream) return body;
  let writer: StreamWriter;
  return new ReadableStream<Uint8Array>(
    {
      start(controller): void {
        writer = new StreamWriter(controller as ReadableStreamDefaultController<Uint8Array>);
        writeAll(body, writer).then(
          () => controller.close(),
          (error: unknown) => controller.error(error),
        );
      },
      pull: (): void => writer.pulled(),
      cancel(): void {
        writer.cancelled = true;
        writer.pulled();
      },
    },
    { highWaterMark: 1 },
  );
}

/** A copy: the memory of a Buffer may be shared with others. */
export function toArrayBuffer(bytes: Uint8Array): ArrayBuffer {
  const copy = new ArrayBuffer(bytes.length);
  new Uint8Array(copy).set(bytes);
  return copy;
}
