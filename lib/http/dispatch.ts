/**
 * What answers requests: a compiled application, or a fetch handler.
 *
 * In: an application that is frozen. Out: a Dispatcher. Never: work per request that could be done
 * once.
 */
import { argTypeError } from '../base/errors.ts';
import { Application, type FetchHandler, type Handler, type Middleware } from './application.ts';
import type { Call, Dispatcher } from './call.ts';
import { HttpError } from './http-error.ts';
import type { PathPart } from './path-params.ts';
import type { HttpRequest } from './request.ts';
import { Response, type ResponseLike } from './response.ts';
import { type Chain, type Route, Router } from './router.ts';

type Answer = ResponseLike | PromiseLike<ResponseLike>;

/** Bytes; 413 above it. */
export const defaultMaxBodyBytes: number = 1024 * 1024;

/** One function of a handler and what is around it, outermost first. */
function compose(middlewares: readonly Middleware[], last: Chain): Chain {
  let chain = last;
  for (let i = middlewares.length - 1; i >= 0; i--) {
    const middleware = middlewares[i] as Middleware;
    const inner = chain;
    chain = (request) => {
      return middleware(request, (changed = request) => promised(inner, changed));
    };
  }
  return chain;
}

/** A promise, also of what is there or thrown at once. An async function would make three more. */
function promised(chain: Chain, request: HttpRequest): Promise<ResponseLike> {
  try {
    const answer = chain(request);
    return answer instanceof Promise ? answer : Promise.resolve(answer);
  } catch (error) {
    return Promise.reject(error);
  }
}

/** Applications with where they are and what is around them. */
interface Place {
  readonly app: Application;
  readonly prefix: readonly PathPart[];
  readonly middlewares: readonly Middleware[];
  readonly maxBodyBytes: number;
}

function placesOf(app: Application, around: Place | null): Place[] {
  const prefix =
    around === null
      ? []
      : [...around.prefix, ...(around.app.mounts.find((one) => one.app === app)?.prefix ?? [])];
  const place: Place = {
    app,
    prefix,
    middlewares: [...(around?.middlewares ?? []), ...app.middlewares],
    maxBodyBytes: app.maxBodyBytes ?? around?.maxBodyBytes ?? defaultMaxBodyBytes,
  };
  app.onResponseHooks = [...app.ownResponseHooks, ...(around?.app.onResponseHooks ?? [])];
  return [place, ...app.mounts.flatMap((mount) => placesOf(mount.app, place))];
}

function routesOf(place: Place): Route[] {
  return place.app.routes.map(({ method, parts, handler, options }) => ({
    method,
    // The prefix and '/' are the prefix alone.
    parts: place.prefix.length > 0 && isRoot(parts) ? place.prefix : [...place.prefix, ...parts],
    app: place.app,
    chain: compose([...place.middlewares, ...(options.middlewares ?? [])], handler as Chain),
    maxBodyBytes: options.maxBodyBytes ?? place.maxBodyBytes,
  }));
}

function isRoot(parts: readonly PathPart[]): boolean {
  return parts.length === 1 && parts[0]?.kind === 'fixed' && parts[0].name === '';
}

/** For requests that no route fits. */
interface Fallback {
  /** With a final slash. */
  readonly prefix: string;
  readonly app: Application;
  readonly chain: Chain;
}

class ApplicationDispatcher implements Dispatcher {
  readonly router: Router;
  /** The longest prefix first. */
  readonly #fallbacks: readonly Fallback[];

  constructor(app: Application) {
    app.freeze();
    const places = placesOf(app, null);
    this.router = new Router(places.flatMap(routesOf));
    this.#fallbacks = places
      .map((place) => ({
        prefix: `${place.prefix.map((part) => `/${part.name}`).join('')}/`,
        app: place.app,
        chain: compose(place.middlewares, (request) => this.#missing(place.app, request)),
      }))
      .sort((a, b) => b.prefix.length - a.prefix.length);
  }

  dispatch(call: Call): Answer {
    const { request, path } = call;
    const found = this.router.find(request.method, path);
    if (found === null) return this.#noRoute(call);
    const { route, params } = found;
    call.app = route.app;
    call.maxBodyBytes = route.maxBodyBytes;
    request.setParams(params);
    return route.chain(request);
  }

  recover(call: Call, error: unknown): Answer {
    return recoverIn(call.app, call, error);
  }

  hasRoute(method: string, path: string): boolean {
    return this.router.find(method, path) !== null;
  }

  #noRoute(call: Call): Answer {
    const path = `${call.path}/`;
    const { length } = this.#fallbacks;
    const fallback = (this.#fallbacks.find(({ prefix }) => path.startsWith(prefix)) ??
      this.#fallbacks[length - 1]) as Fallback;
    call.app = fallback.app;
    call.maxBodyBytes = fallback.app.maxBodyBytes ?? defaultMaxBodyBytes;
    return fallback.chain(call.request);
  }

  #missing(app: Application, request: HttpRequest): Answer {
    let at: Application | null = app;
    for (; at !== null; at = at.parent) {
      if (at.notFoundHandler !== null) return at.notFoundHandler(request);
    }
    const allowed = this.router.allowed(request.path);
    if (allowed.length === 0) throw new HttpError(404);
    throw new HttpError(405, undefined, { headers: { allow: allowed.join(', ') } });
  }
}

/** The handler of the application, or of one around it. */
async function recoverIn(app: Application, call: Call, error: unknown): Promise<ResponseLike> {
  let fault = error;
  let at: Application | null = app;
  while (at !== null && at.errorHandler === null) at = at.parent;
  const handler = at?.errorHandler ?? null;
  if (handler !== null) {
    try {
      return await handler(error, call.request);
    } catch (thrown) {
      fault = thrown;
    }
  }
  if (fault instanceof HttpError) return fault.toResponse();
  call.report(fault, null);
  return new Response('Internal Server Error', { status: 500 });
}

interface FetchPlan {
  readonly webRequest: boolean;
  readonly maxBodyBytes: number;
}

class FetchDispatcher implements Dispatcher {
  readonly #fetch: FetchHandler;
  readonly #webRequest: boolean;
  readonly #maxBodyBytes: number;

  constructor(fetch: FetchHandler, { webRequest, maxBodyBytes }: FetchPlan) {
    if (typeof fetch !== 'function') throw argTypeError('fetch', 'a function', fetch);
    this.#fetch = fetch;
    this.#webRequest = webRequest;
    this.#maxBodyBytes = maxBodyBytes;
  }

  dispatch(call: Call): Answer {
    const { request } = call;
    call.maxBodyBytes = this.#maxBodyBytes;
    return this.#fetch(this.#webRequest ? request.toWeb() : request);
  }

  recover(call: Call, error: unknown): Answer {
    return recoverIn(call.app, call, error);
  }

  hasRoute(): boolean {
    return true;
  }
}

const compiled: WeakMap<Application, Dispatcher> = new WeakMap();

export function dispatcherOf(app: Application): Dispatcher {
  let dispatcher = compiled.get(app);
  if (dispatcher === undefined) {
    dispatcher = new ApplicationDispatcher(app);
    compiled.set(app, dispatcher);
  }
  return dispatcher;
}

export function fetchDispatcher(fetch: FetchHandler, plan: FetchPlan): Dispatcher {
  return new FetchDispatcher(fetch, plan);
}

export { Application, type Handler };
