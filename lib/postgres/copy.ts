/**
 * COPY in both directions.
 *
 * In: bytes or records of the user, or of the server. Out: bytes to the server, or to the user's
 * path, stream or function. Never: more than a few chunks in memory, whoever is slower.
 */
import { Buffer } from 'node:buffer';
import { createReadStream, createWriteStream } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import type { Awaitable, Data } from '../base/errors.ts';
import type { ByteParsers } from '../io/handles.ts';
import { checkSignal, takeCancellation } from '../task/waiter.ts';
import { type Codec, ValueError } from './codecs/codec.ts';
import { InterfaceError, type PostgresError, ProtocolError } from './errors.ts';
import { Feeding, takeList } from './feeding.ts';
import { checkArgumentLists, quit } from './many.ts';
import * as proto from './protocol.ts';
import { PrepareRequest, readTag, writeCopyFail } from './queries.ts';
import { type Begun, HOLD, Request, type RequestOptions, SENT } from './request.ts';
import type { Session } from './session.ts';
import type { Statement } from './statement.ts';
import type { Arguments, CopyOptions, CopyOutput, CopySource } from './types.ts';
import type { Wire } from './wire.ts';

/** Chunks that wait for a slow receiver before reading stops. */
const maxWaitingBytes = 256 * 1024;
const flushBytes = 32 * 1024;

function writeQuery(wire: Wire, sql: string): void {
  const mark = wire.out.message(proto.QUERY);
  wire.out.cstring(sql);
  wire.out.endMessage(mark);
}

/** A COPY whose user works between its waits. */
abstract class CopyRequest extends Request<void> {
  tag = '';

  constructor(session: Session, sql: string) {
    super('copy', session.wire, sql, []);
  }

  override mayRetry(): boolean {
    return false;
  }

  result(): void {}

  /** Until something has happened that `wake` tells of, or the end. */
  step(options: RequestOptions): Promise<void> {
    if (this.finished) return this.failed ? Promise.reject(this.error) : Promise.resolve();
    return this.start(options);
  }

  protected complete(at: number, end: number): void {
    this.tag = readTag(this.wire, at, end);
    this.completed = true;
  }
}

/** Up to that many bytes a loop over words is faster than a call of Node. */
const shortRow = 200;

/** Rows are gathered up to that much, or for that long, before their receiver is called. */
const gatherBytes = 64 * 1024;
const gatherMs = 1;

class CopyOutRequest extends CopyRequest {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  /** What is gathered, up to `#filled`. */
  #open: Buffer | null = null;
  #target: DataView | null = null;
  #filled = 0;
  #gatherTimer = -1;
  readonly #parsers: ByteParsers | undefined = this.wire.loop.backendHandle.parsers;

  send(): Begun {
    writeQuery(this.wire, this.sql);
    return SENT;
  }

  onMessage(type: number, at: number, end: number): void {
    if (type === proto.COMMAND_COMPLETE) {
      this.complete(at, end);
    } else if (type === proto.COPY_DATA) {
      // A long one, of which the read memory had no more than the beginning.
      this.#close();
      this.#add(Buffer.from(this.wire.buffer.subarray(at, end)));
    } else if (type === proto.COPY_DONE) {
      this.#close();
    } else if (type !== proto.COPY_OUT) {
      throw new ProtocolError(`a message '${String.fromCharCode(type)}' in a COPY`);
    }
  }

  /** CopyData messages become large chunks: they are often a row each. */
  override rows(at: number, end: number): number {
    const { buffer, view } = this.wire;
    if (this.abandoned || buffer[at] !== proto.COPY_DATA) return at;
    if (at + 1 + view.getInt32(at + 1) > end) return at;
    if (this.#open !== null && this.#open.length - this.#filled < end - at) this.#close();
    this.#open ??= this.#begin(end - at);
    const chunk = this.#open;
    const target = this.#target as DataView;
    if (this.#parsers !== undefined) {
      this.#parsers.postgresCopy(buffer, at, end, chunk, this.#filled);
      const [stop = at, filled = 0] = this.#parsers.postgres;
      this.#filled = filled;
      return stop;
    }
    let stop = at;
    let to = this.#filled;
    while (end - stop >= 5 && buffer[stop] === proto.COPY_DATA) {
      const length = view.getInt32(stop + 1);
      proto.checkLength(proto.COPY_DATA, length, false);
      const next = stop + 1 + length;
      if (next > end) break;
      let from = stop + 5;
      if (length > shortRow) {
        to += buffer.copy(chunk, to, from, next);
      } else {
        for (; from + 4 <= next; from += 4, to += 4) {
          target.setInt32(to, view.getInt32(from, true), true);
        }
        while (from < next) chunk[to++] = buffer[from++] as number;
      }
      stop = next;
    }
    this.#filled = to;
    return stop;
  }

  /** Its memory is the receiver's own: it may keep what it gets. */
  #begin(bytes: number): Buffer {
    const chunk = Buffer.allocUnsafeSlow(Math.max(bytes, gatherBytes));
    this.#target = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    this.#filled = 0;
    if (this.#gatherTimer === -1) {
      const { loop } = this.wire;
      this.#gatherTimer = loop.armTimer(loop.time() + gatherMs, { onTimer: this.#onGathered });
    }
    return chunk;
  }

  readonly #onGathered = (): void => {
    this.#gatherTimer = -1;
    this.#close();
  };

  #close(): void {
    const chunk = this.#open;
    this.#open = null;
    this.#target = null;
    if (chunk === null || this.#filled === 0) return;
    // What is nearly empty is copied, so that a slow COPY does not keep 64 KiB for each row.
    const all = chunk.subarray(0, this.#filled);
    this.#add(this.#filled < chunk.length / 4 ? Buffer.from(all) : all);
  }

  #add(chunk: Buffer): void {
    if (this.abandoned) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > maxWaitingBytes) this.wire.pauseReading();
    this.wake();
  }

  override onServerError(error: PostgresError): void {
    this.#close();
    super.onServerError(error);
  }

  /** Null: wait for more. */
  next(): Buffer | null {
    const chunk = this.#chunks.shift();
    if (chunk === undefined) return null;
    this.#bytes -= chunk.length;
    if (this.#bytes <= maxWaitingBytes / 4) this.wire.resumeReading();
    return chunk;
  }

  override disarm(): void {
    super.disarm();
    if (this.#gatherTimer !== -1) this.wire.loop.cancelTimer(this.#gatherTimer);
    this.#gatherTimer = -1;
  }

  override abandon(): void {
    this.#chunks.length = 0;
    this.#open = null;
    this.disarm();
  }
}

class CopyInRequest extends CopyRequest {
  readonly feeding: Feeding = new Feeding();
  #open = false;
  #ended = false;

  send(): Begun {
    writeQuery(this.wire, this.sql);
    return HOLD;
  }

  onMessage(type: number, at: number, end: number): void {
    if (type === proto.COPY_IN) {
      this.#open = true;
      if (this.abandoned) this.abandon();
      else this.wake();
    } else if (type === proto.COMMAND_COMPLETE) {
      this.complete(at, end);
    } else {
      throw new ProtocolError(`a message '${String.fromCharCode(type)}' in a COPY`);
    }
  }

  /** A message of what `write` writes. */
  feed(write: () => void): void {
    const { out } = this.wire;
    const before = out.mark();
    const mark = out.message(proto.COPY_DATA);
    try {
      write();
    } catch (error) {
      out.rewind(before);
      throw error;
    }
    out.endMessage(mark);
    if (out.length > flushBytes) this.wire.flush();
  }

  end(): void {
    if (this.finished || this.#ended) return;
    this.#ended = true;
    const { out } = this.wire;
    out.endMessage(out.message(proto.COPY_DONE));
    this.wire.sent(this as Request<unknown>);
  }

  override onServerError(error: PostgresError): void {
    super.onServerError(error);
    this.feeding.stop();
  }

  override abandon(): void {
    if (!this.#open || this.#ended) return;
    this.#ended = true;
    writeCopyFail(this.wire, 'The client has given up');
    this.wire.sent(this as Request<unknown>);
  }
}

/** Where chunks go, and what ends that. */
interface Sink {
  write(chunk: Buffer): Awaitable<void>;
  close(): Awaitable<void>;
  fail(error: unknown): Awaitable<void>;
}

function sinkOf(output: CopyOutput): Sink {
  if (typeof output === 'function') return { write: output, close() {}, fail() {} };
  const stream = typeof output === 'string' ? fileSink(output) : output;
  if (typeof stream?.getWriter !== 'function') {
    throw new InterfaceError('The output of COPY is a path, a WritableStream or a function');
  }
  const writer = stream.getWriter();
  // Its state is heard of by the writes.
  writer.closed.catch(() => {});
  writer.ready.catch(() => {});
  return {
    write: async (chunk) => {
      await writer.ready;
      await writer.write(chunk);
    },
    close: () => writer.close(),
    fail: (error) => writer.abort(error).catch(() => {}),
  };
}

function fileSink(path: string): import('node:stream/web').WritableStream<Uint8Array> {
  return Writable.toWeb(createWriteStream(path));
}

export async function copyOut(
  session: Session,
  sql: string,
  output: CopyOutput,
  options: RequestOptions,
): Promise<string> {
  const sink = sinkOf(output);
  const request = new CopyOutRequest(session, sql);
  try {
    await request.submit(options);
    for (;;) {
      const chunk = request.next();
      // Its receiver may know nothing of scopes, and there may be no other wait for long.
      checkSignal(options);
      const cancelled = takeCancellation();
      if (cancelled !== null) throw cancelled;
      if (chunk !== null) await sink.write(chunk);
      else if (request.finished) break;
      else await request.step(options);
    }
    if (request.failed) throw request.error;
    await sink.close();
  } catch (error) {
    if (!request.finished) session.wire.giveUp(request as Request<unknown>);
    await sink.fail(error);
    throw error;
  }
  return request.tag;
}

type Chunks = AsyncIterable<Data>;

/** Opens it: not before the server wants data, as nobody would close it again. */
function sourceOf(source: CopySource): () => Chunks {
  if (typeof source === 'string') {
    return () => createReadStream(source, { highWaterMark: 256 * 1024 });
  }
  if (typeof source === 'object' && source !== null) {
    // A stream of the Web is both, and only so it can be given up while it stalls.
    if ('getReader' in source) return () => Readable.fromWeb(source) as Chunks;
    if (Symbol.asyncIterator in source) return () => source as Chunks;
    // biome-ignore lint/suspicious/noExplicitAny: lists of chunks are taken, too.
    if (Symbol.iterator in source) return () => Readable.from(source as any) as Chunks;
  }
  throw new InterfaceError('The source of COPY is a path, a ReadableStream or an async iterable');
}

export async function copyIn(
  session: Session,
  sql: string,
  source: CopySource,
  options: RequestOptions,
): Promise<string> {
  const open = sourceOf(source);
  return await feedCopy(session, sql, options, async ({ feeding, wire }, feed) => {
    const chunks = open();
    try {
      await feeding.all(chunks, (chunk) => {
        feed(() => writeData(wire, chunk));
        wire.flush();
        return wire.drained();
      });
    } finally {
      if (chunks instanceof Readable) chunks.destroy();
    }
  });
}

/** A COPY of what `work` feeds. */
async function feedCopy(
  session: Session,
  sql: string,
  options: RequestOptions,
  work: (request: CopyInRequest, feed: (write: () => void) => void) => Promise<void>,
): Promise<string> {
  const request = new CopyInRequest(session, sql);
  await request.submit(options);
  const ended = request.step(options);
  ended.catch(request.feeding.stop);
  try {
    await work(request, (write) => request.feed(write));
  } catch (error) {
    quit(request as Request<unknown>, error);
    throw error;
  }
  request.end();
  await ended;
  return request.tag;
}

function writeData(wire: Wire, chunk: Data): void {
  if (typeof chunk === 'string') wire.out.text(chunk);
  else if (chunk instanceof Uint8Array) wire.out.bytes(chunk);
  else throw new InterfaceError('A chunk for COPY is a string or bytes');
}

const binarySignature = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');

function writeRecord(wire: Wire, record: unknown, codecs: readonly Codec[], row: number): void {
  const { out } = wire;
  if (!Array.isArray(record) || record.length !== codecs.length) {
    throw new InterfaceError(`Record ${row} is no array of ${codecs.length} values`);
  }
  out.int16(codecs.length);
  for (let i = 0; i < codecs.length; i++) {
    const value: unknown = record[i];
    const mark = out.mark();
    out.int32(-1);
    if (value === null || value === undefined) continue;
    try {
      (codecs[i] as Codec).encode(out, value);
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
      const { name } = codecs[i] as Codec;
      throw new InterfaceError(
        `Invalid value in record ${row}, column ${i + 1} (${name}): ${error.message}`,
      );
    }
    out.patchLength(mark);
  }
}

/** Records in binary: the types of the columns are asked for first. */
export async function copyRecords(
  session: Session,
  target: { readonly sql: string; readonly columnsSql: string },
  records: Arguments,
  options: RequestOptions,
): Promise<string> {
  checkArgumentLists(records);
  const described: Statement = await new PrepareRequest(session, target.columnsSql).submit(options);
  session.statements.release(described);
  const { codecs, columns } = described;
  const textOnly = columns?.find((_, i) => codecs[i]?.binary === false);
  if (textOnly !== undefined) {
    throw new InterfaceError(`Column ${textOnly.name} has a type without a binary form`);
  }
  let row = 0;
  return await feedCopy(session, target.sql, options, async ({ feeding, wire }, feed) => {
    feed(() => wire.out.bytes(binarySignature));
    const add = (record: unknown): Promise<void> | undefined => {
      row++;
      feed(() => writeRecord(wire, record, codecs, row));
      return wire.writable ? undefined : wire.drained();
    };
    if (Symbol.asyncIterator in records) {
      await feeding.all(records, (record) => {
        wire.flushSoon();
        return add(record);
      });
    } else {
      await takeList(records, feeding, add);
    }
    if (!feeding.stopped) feed(() => wire.out.int16(-1));
  });
}

// --- SQL

export function quoteName(name: string): string {
  if (typeof name !== 'string' || name === '' || name.includes('\0')) {
    throw new InterfaceError('A name is a string that is not empty');
  }
  return `"${name.replaceAll('"', '""')}"`;
}

/** NAMEDATALEN - 1: the server cuts longer names off, and notifies under what is left. */
const maxNameBytes = 63;

/** The name of a channel, quoted. @throws InterfaceError for one that nothing could come from */
export function quoteChannel(name: string): string {
  const quoted = quoteName(name);
  if (Buffer.byteLength(name) <= maxNameBytes) return quoted;
  throw new InterfaceError(`The name of a channel has at most ${maxNameBytes} bytes: ${name}`);
}

export function quoteText(text: string): string {
  if (typeof text !== 'string' || text.includes('\0')) {
    throw new InterfaceError('A text in SQL is a string without NUL');
  }
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

export function tableSql(
  table: string,
  schema: string | undefined,
  columns: readonly string[] | undefined,
): string {
  const name = schema === undefined ? quoteName(table) : `${quoteName(schema)}.${quoteName(table)}`;
  return columns === undefined ? name : `${name} (${columns.map(quoteName).join(', ')})`;
}

export function copyOptionsSql(options: CopyOptions): string {
  const parts: string[] = [];
  const { format, header } = options;
  if (format !== undefined) {
    if (!['text', 'csv', 'binary'].includes(format)) {
      throw new InterfaceError("The format of COPY is 'text', 'csv' or 'binary'");
    }
    parts.push(`FORMAT ${format}`);
  }
  if (header !== undefined) parts.push(`HEADER ${header ? 'true' : 'false'}`);
  for (const name of ['delimiter', 'null', 'quote', 'escape', 'encoding'] as const) {
    const value = options[name];
    if (value !== undefined) parts.push(`${name.toUpperCase()} ${quoteText(value)}`);
  }
  return parts.length === 0 ? '' : ` WITH (${parts.join(', ')})`;
}
