/**
 * One spelling of each path.
 *
 * In: a request that no route fits. Out: a redirect to the path that one does. Never: to another
 * host.
 */
import { argTypeError } from '../base/errors.ts';
import type { Middleware } from './application.ts';
import { HttpError } from './http-error.ts';
import type { HttpRequest, ServerRequest } from './request.ts';
import { Response } from './response.ts';

export interface NormalizePathOptions {
  /** Default 'remove'. */
  trailingSlash?: 'add' | 'remove' | 'keep';
  /** Default true. */
  mergeSlashes?: boolean;
}

/**
 * Redirects (308) to the other spelling of a path when no route fits but that one does.
 * (aiohttp.web.normalize_path_middleware)
 */
export function normalizePath(options: NormalizePathOptions = {}): Middleware {
  const { trailingSlash = 'remove', mergeSlashes = true } = options;
  if (!['add', 'remove', 'keep'].includes(trailingSlash)) {
    throw argTypeError('trailingSlash', "'add', 'remove' or 'keep'", trailingSlash);
  }
  const respell = (path: string): string => {
    // Also a single one at the start: '//host' would be another host.
    let spelled = mergeSlashes ? path.replace(/\/{2,}/g, '/') : path.replace(/^\/+/, '/');
    if (trailingSlash === 'add' && !spelled.endsWith('/')) spelled += '/';
    if (trailingSlash === 'remove') spelled = spelled.replace(/\/+$/, '');
    return spelled === '' ? '/' : spelled;
  };
  return (request, next) => {
    const { path } = request;
    const other = respell(path);
    if (other === path || hasRoute(request, path) || !hasRoute(request, other)) return next();
    const query = request.query.size > 0 ? `?${request.query}` : '';
    return Response.redirect(`${other}${query}`, 308);
  };
}

function hasRoute(request: HttpRequest, path: string): boolean {
  const { call } = request as ServerRequest;
  if (call === undefined) throw new HttpError(500, 'normalizePath needs the request of its server');
  return call.dispatcher.hasRoute(request.method, path);
}
