/**
 * Directories of files as routes.
 *
 * In: a path below a prefix. Out: a file of the directory, or 404 for whatever else. Never: a file
 * outside of it, by '..', by a link, or by an encoded slash; a dot-file.
 */
import { readdir, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { argTypeError } from '../base/errors.ts';
import { abortable } from '../task/signal.ts';
import { fileOf, isMissing } from './file-response.ts';
import { HttpError } from './http-error.ts';
import type { HttpRequest } from './request.ts';
import { Response } from './response.ts';

export interface StaticOptions {
  /** Given for a directory. Default 'index.html'; false: none. */
  index?: string | false;
  /** Names of what is in a directory without an index. Default false. */
  listing?: boolean;
  /** For cache-control; default: none. */
  maxAgeSeconds?: number;
}

export function staticHandler(
  directory: string | URL,
  options: StaticOptions = {},
): (request: HttpRequest) => Promise<Response> {
  const root = directory instanceof URL ? fileURLToPath(directory) : directory;
  if (typeof root !== 'string') throw argTypeError('directory', 'a path or a file URL', directory);
  const { index = 'index.html', listing = false, maxAgeSeconds } = options;
  const inside = async (file: string): Promise<boolean> =>
    isInside(await quietly(realpath(root)), await quietly(realpath(file)));
  return async (request) => {
    const parts = wantedParts((request.params as Record<string, string>)['path'] ?? '');
    const file = await realFile(root, parts);
    const kind = await kindOf(file);
    if (kind === 'file') {
      if (request.path.endsWith('/')) throw new HttpError(404);
      return withAge(fileOf(file, {}, inside), maxAgeSeconds);
    }
    if (kind !== 'directory') throw new HttpError(404);
    if (!request.path.endsWith('/')) return toDirectory(request);
    if (index !== false) {
      const found = await realFile(root, [...parts, index]).catch(missing);
      if (found !== null && (await kindOf(found)) === 'file') {
        return withAge(fileOf(found, {}, inside), maxAgeSeconds);
      }
    }
    if (!listing) throw new HttpError(404);
    return await list(file, request.path);
  };
}

function missing(error: unknown): null {
  if (error instanceof HttpError) return null;
  throw error;
}

/** What is asked for below the root; HttpError 404 for names that are never given. */
function wantedParts(path: string): string[] {
  if (path.includes('\0') || path.includes('\\')) throw new HttpError(404);
  const parts = path.split('/');
  const last = parts.at(-1);
  if (last === '') parts.pop();
  // A leading dot stands for '.', '..' and hidden files; an empty part for '//'.
  if (parts.some((part) => part === '' || part.startsWith('.'))) throw new HttpError(404);
  return parts;
}

async function quietly<T>(work: Promise<T>): Promise<T> {
  try {
    return await abortable(work);
  } catch (error) {
    // A missing file, one without permission and a bad name are the same to the client.
    if (isMissing(error)) throw new HttpError(404);
    throw error;
  }
}

/** With all links followed: it must still be inside. */
async function realFile(root: string, parts: readonly string[]): Promise<string> {
  const realRoot = await quietly(realpath(root));
  const file = await quietly(realpath(join(realRoot, ...parts)));
  if (!isInside(realRoot, file)) throw new HttpError(404);
  return file;
}

/** Of real paths. */
function isInside(root: string, file: string): boolean {
  return file === root || file.startsWith(root.endsWith(sep) ? root : root + sep);
}

async function kindOf(file: string): Promise<'file' | 'directory' | 'other'> {
  const stats = await quietly(stat(file));
  if (stats.isFile()) return 'file';
  return stats.isDirectory() ? 'directory' : 'other';
}

function withAge(response: Response, maxAgeSeconds: number | undefined): Response {
  if (maxAgeSeconds !== undefined) {
    response.headers.set('cache-control', `public, max-age=${maxAgeSeconds}`);
  }
  return response;
}

/** Relative links of an index need the slash. '//host' would lead away. */
function toDirectory(request: HttpRequest): Response {
  const query = new URL(request.url).search;
  return Response.redirect(`/${request.path.replace(/^\/+/, '')}/${query}`, 301);
}

async function list(directory: string, path: string): Promise<Response> {
  const entries = await quietly(readdir(directory, { withFileTypes: true }));
  const names = entries
    .filter((entry) => !entry.name.startsWith('.') && (entry.isFile() || entry.isDirectory()))
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .sort();
  const items = names.map((name) => {
    const href = name.split('/').map(encodeURIComponent).join('/');
    return `<li><a href="./${href}">${escapeHtml(name)}</a></li>`;
  });
  const title = `Index of ${escapeHtml(path)}`;
  const page = `<!doctype html><title>${title}</title><h1>${title}</h1><ul>${items.join('')}</ul>`;
  return new Response(page, { headers: { 'content-type': 'text/html;charset=UTF-8' } });
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}
