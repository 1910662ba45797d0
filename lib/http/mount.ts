/**
 * Foreign applications below a prefix.
 *
 * In: anything with `fetch`. Out: a handler. Never: the prefix in the URL that it sees.
 */
import { argTypeError } from '../base/errors.ts';
import type { FetchHandler } from './application.ts';
import type { HttpRequest } from './request.ts';
import type { ResponseLike } from './response.ts';

/** @param parts how many parts of the path belong to the prefix */
export function mountedFetch(
  parts: number,
  app: { fetch: FetchHandler },
): (request: HttpRequest) => ResponseLike | PromiseLike<ResponseLike> {
  if (typeof app?.fetch !== 'function') throw argTypeError('app', 'with a function fetch', app);
  return (request) => {
    const web = request.toWeb();
    const url = new URL(web.url);
    url.pathname = `/${url.pathname
      .split('/')
      .slice(parts + 1)
      .join('/')}`;
    return app.fetch(new Request(url, web));
  };
}
