/**
 * Files as responses.
 *
 * In: a path, and the request when it is known. Out: a response with the right part of the file.
 * Never: more of it in memory than one write; a word on why a file is not given.
 */
import { Buffer } from 'node:buffer';
import { fstatSync, type Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lookup } from 'mrmime';
import { argTypeError } from '../base/errors.ts';
import type { AsyncFile } from '../fs/async-file.ts';
import { openFile } from '../fs/open-file.ts';
import type { ByteWriter } from '../io/net-types.ts';
import { abortable } from '../task/signal.ts';
import { addVary, chooseEncoding, type Encoding } from './compress.ts';
import { ExchangeWriter } from './exchange-writer.ts';
import { HttpError } from './http-error.ts';
import { type ByteRange, checkConditions, parseRanges, rangeHolds } from './ranges.ts';
import type { HttpRequest } from './request.ts';
import { Response, type ResponseInit } from './response.ts';

const chunkBytes = 128 * 1024;
/** Up to this size a file is sent in one write with its head. */
const smallBytes = 64 * 1024;
const siblings: readonly (readonly [Encoding, string])[] = [
  ['br', '.br'],
  ['gzip', '.gz'],
];

export interface FileResponseInit extends ResponseInit {
  /** As a download, under this name or its own. */
  download?: string | boolean;
}

/** How often a file that is replaced just then is looked at. */
const maxTries = 4;

/** A file that is there, and how it is encoded. */
interface Found {
  readonly path: string;
  readonly stats: Stats;
  readonly encoding: Encoding | null;
  /** There is an encoded form, chosen or not. */
  readonly varies: boolean;
}

/**
 * A file: ranges, If-* headers, precompressed .br/.gz next to it. 404 when it is missing, no plain
 * file, or not readable. Up to 8 ranges are given as multipart/byteranges; of more, or of
 * overlapping ones, the whole file. The path is used as it is: for what users send see
 * `app.static`.
 */
export function fileResponse(path: string | URL, init: FileResponseInit = {}): Response {
  return fileOf(path, init, null);
}

/** @internal @param mayGive of an encoded form beside the file: null for whatever is there */
export function fileOf(
  path: string | URL,
  init: FileResponseInit,
  mayGive: ((path: string) => Promise<boolean>) | null,
): Response {
  const file = path instanceof URL ? fileURLToPath(path) : path;
  if (typeof file !== 'string') throw argTypeError('path', 'a string or a file URL', path);
  const { download, ...rest } = init;
  const response = new Response(null, rest);
  const { headers } = response;
  if (download !== undefined && download !== false) {
    const name = typeof download === 'string' ? download : basename(file);
    headers.set('content-disposition', contentDisposition(name));
  }
  if (!headers.has('content-type')) headers.set('content-type', typeOf(file));
  response.preparation = (request) => prepare(request, response, file, mayGive);
  return response;
}

function typeOf(file: string): string {
  const type = lookup(file) ?? 'application/octet-stream';
  const text = /^text\/|^application\/(?:json|javascript|xml)$|\+(?:json|xml)$/.test(type);
  return text ? `${type};charset=UTF-8` : type;
}

/** RFC 6266: a plain name for old clients, and the exact one in UTF-8. */
export function contentDisposition(name: string): string {
  const plain = name.replace(/[^\x20-\x7e]|["\\%]/g, '_');
  const exact = encodeURIComponent(name).replace(
    /['()*!]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  const extended = plain === name ? '' : `; filename*=UTF-8''${exact}`;
  return `attachment; filename="${plain}"${extended}`;
}

/** Not those of the process: what is there is not to be forgotten for them. */
const ownFaults: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EIO', 'EAGAIN']);

/** @internal An error of the system that says: no such file, or not for you. */
export function isMissing(error: unknown): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return typeof syscall === 'string' && !ownFaults.has(code ?? '');
}

async function plainFile(path: string): Promise<Stats | null> {
  try {
    const stats = await abortable(stat(path));
    return stats.isFile() ? stats : null;
  } catch (error) {
    if (!isMissing(error)) throw error;
    return null;
  }
}

async function find(
  request: HttpRequest,
  response: Response,
  path: string,
  mayGive: ((path: string) => Promise<boolean>) | null,
): Promise<Found> {
  if (path.includes('\0')) throw new HttpError(404);
  const stats = await plainFile(path);
  if (stats === null) throw new HttpError(404);
  const plain: Found = { path, stats, encoding: null, varies: false };
  if (response.headers.has('content-encoding')) return plain;
  const there: Encoding[] = [];
  const known = new Map<Encoding, Found>();
  for (const [encoding, suffix] of siblings) {
    const packed = await plainFile(path + suffix);
    if (packed === null || (mayGive !== null && !(await mayGive(path + suffix)))) continue;
    there.push(encoding);
    known.set(encoding, { path: path + suffix, stats: packed, encoding, varies: true });
  }
  if (there.length === 0) return plain;
  const chosen = chooseEncoding(request.headers.get('accept-encoding'), there);
  return (chosen === null ? undefined : known.get(chosen)) ?? { ...plain, varies: true };
}

async function prepare(
  request: HttpRequest,
  response: Response,
  path: string,
  mayGive: ((path: string) => Promise<boolean>) | null,
): Promise<void> {
  const { headers, status } = response;
  const tagged = headers.has('etag');
  for (let left = maxTries; ; left--) {
    const found = await find(request, response, path, mayGive);
    try {
      await describeFile(request, response, found);
      return;
    } catch (error) {
      if (!(error instanceof FileChanged)) throw error;
      if (left === 1) throw new HttpError(503, 'The file is being changed');
    }
    // Once more, as if nothing had been found.
    response.status = status;
    if (!tagged) headers.delete('etag');
    if (found.encoding !== null) headers.delete('content-encoding');
    headers.delete('content-range');
  }
}

async function describeFile(request: HttpRequest, response: Response, found: Found): Promise<void> {
  const { stats, encoding } = found;
  const { headers } = response;
  const modifiedMs = stats.mtimeMs;
  const suffix = encoding === null ? '' : `-${encoding}`;
  const etag = `"${stats.size.toString(16)}-${Math.floor(modifiedMs).toString(16)}${suffix}"`;
  if (!headers.has('etag')) headers.set('etag', etag);
  headers.set('last-modified', new Date(modifiedMs).toUTCString());
  headers.set('accept-ranges', 'bytes');
  if (found.varies) addVary(headers, 'accept-encoding');
  const validators = { etag: headers.get('etag') as string, modifiedMs };
  const header = (name: string): string | null => request.headers.get(name);
  // What would be no success without its conditions is not subject to them. (RFC 9110 13.2.1)
  const verdict =
    response.status > 299 ? null : checkConditions(request.method, header, validators);
  if (verdict !== null) {
    response.status = verdict;
    headers.delete('content-type');
    return;
  }
  if (encoding !== null) headers.set('content-encoding', encoding);
  const wanted = rangeHolds(header('if-range'), validators) ? header('range') : null;
  const ranges =
    response.status === 200 && request.method === 'GET' ? parseRanges(wanted, stats.size) : null;
  await fill(request, response, found, ranges);
}

async function fill(
  request: HttpRequest,
  response: Response,
  found: Found,
  ranges: ByteRange[] | null,
): Promise<void> {
  const { headers } = response;
  const { size } = found.stats;
  if (ranges !== null && ranges.length === 0) {
    response.status = 416;
    headers.set('content-range', `bytes */${size}`);
    headers.delete('content-type');
    headers.delete('content-encoding');
    return;
  }
  if (ranges !== null && ranges.length > 1) {
    sendParts(response, found, ranges);
    return;
  }
  const range = ranges?.[0] ?? { start: 0, end: size };
  if (ranges !== null) {
    response.status = 206;
    headers.set('content-range', `bytes ${range.start}-${range.end - 1}/${size}`);
  }
  const bytes = range.end - range.start;
  if (request.method !== 'HEAD' && bytes <= smallBytes) {
    response.replaceBody(await readWhole(found, range));
    return;
  }
  headers.set('content-length', String(bytes));
  response.replaceBody((writer) => copyRanges(found, [range], writer, () => null));
}

function sendParts(response: Response, found: Found, ranges: readonly ByteRange[]): void {
  const { headers } = response;
  const { size } = found.stats;
  const type = headers.get('content-type') ?? 'application/octet-stream';
  // Derived, not drawn: a file that holds it by chance is not to be expected.
  // At most 70 characters. (RFC 2046 5.1.1)
  const tag = Buffer.from(headers.get('etag') ?? '').toString('hex');
  const boundary = `uvio-${tag.slice(0, 64)}`;
  const heads = ranges.map(
    ({ start, end }, at) =>
      `${at === 0 ? '' : '\r\n'}--${boundary}\r\ncontent-type: ${type}\r\n` +
      `content-range: bytes ${start}-${end - 1}/${size}\r\n\r\n`,
  );
  const tail = `\r\n--${boundary}--\r\n`;
  const bytes = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  response.status = 206;
  headers.set('content-type', `multipart/byteranges; boundary=${boundary}`);
  headers.set('content-length', String(bytes + heads.join('').length + tail.length));
  response.replaceBody(async (writer) => {
    await copyRanges(found, ranges, writer, (at) => heads[at] as string);
    await writer.write(tail);
  });
}

async function readWhole(found: Found, { start, end }: ByteRange): Promise<Uint8Array> {
  await using file = await openOr404(found.path);
  if (!isFound(file, found)) throw new FileChanged();
  const target = Buffer.allocUnsafe(end - start);
  if (start > 0) await file.seek(start);
  const bytes = await file.readInto(target);
  if (bytes < target.length) throw new FileChanged();
  return target;
}

/** What was found is not what is there any more. */
class FileChanged extends Error {}

/** One put in its place would be cut to the length of the other. What only grew is still there. */
function isFound({ fd }: AsyncFile<Buffer>, { stats }: Found): boolean {
  const now = fstatSync(fd);
  // Some file systems make up numbers for each look.
  const same = now.mtimeMs === stats.mtimeMs || (now.ino === stats.ino && now.dev === stats.dev);
  return same && now.size >= stats.size;
}

async function openOr404(path: string): Promise<AsyncFile<Buffer>> {
  try {
    return await openFile(path, 'r', { encoding: null });
  } catch (error) {
    if (isMissing(error)) throw new HttpError(404);
    throw error;
  }
}

/** By the kernel where the wire can, else with back-pressure: one chunk at a time. */
async function copyRanges(
  found: Found,
  ranges: readonly ByteRange[],
  writer: ByteWriter,
  headOf: (at: number) => string | null,
): Promise<void> {
  const { path } = found;
  await using file = await openFile(path, 'r', { encoding: null });
  // The head tells of the other one.
  if (!isFound(file, found)) throw new Error(`${path} was replaced while it was sent`);
  let buffer: Buffer | null = null;
  for (const [at, { start, end }] of ranges.entries()) {
    const head = headOf(at);
    if (head !== null) await writer.write(head);
    let left = end - start;
    if (writer instanceof ExchangeWriter && (await writer.sendFile(file.fd, start, left))) continue;
    buffer ??= Buffer.allocUnsafe(chunkBytes);
    await file.seek(start);
    while (left > 0) {
      const bytes = await file.readInto(buffer.subarray(0, Math.min(left, chunkBytes)));
      if (bytes === 0) throw new Error(`${path} became shorter while it was sent`);
      left -= bytes;
      await writer.write(buffer.subarray(0, bytes));
    }
  }
}
