/**
 * Applications: routes, middlewares and life cycle.
 *
 * In: what users register. Out: the same, for a server to compile (dispatch.ts). Never: a change
 * once it is served.
 */
import { type Awaitable, argTypeError, type Data, InvalidStateError } from '../base/errors.ts';
import { checkBytes } from '../base/units.ts';
import { fetchOnce } from './fetch.ts';
import { isToken } from './headers.ts';
import { LifeCycle } from './life-cycle.ts';
import { mountedFetch } from './mount.ts';
import { buildPath, type PathParams, type PathPart, parsePath } from './path-params.ts';
import type { HttpRequest } from './request.ts';
import type { ResponseLike } from './response.ts';
import { shapeOf } from './router.ts';
import { type State, StateMap } from './state.ts';
import { type StaticOptions, staticHandler } from './static.ts';
import { checkHandler } from './websocket/callbacks.ts';
import type { WebSocketOptions } from './websocket/options.ts';
import { applicationTopics, type WebSocketHandler, webSocketHandler } from './websocket/upgrade.ts';

export type Handler<P extends string = string> = (
  request: HttpRequest<P>,
) => Awaitable<ResponseLike>;

export type Middleware = (
  request: HttpRequest,
  next: (request?: HttpRequest) => Promise<ResponseLike>,
) => Awaitable<ResponseLike>;

export type FetchHandler = (request: Request) => Awaitable<ResponseLike>;

export type Hook = (app: Application) => Awaitable<void>;

export type CleanupContext = (app: Application) => AsyncGenerator<void, void, void>;

export interface RouteOptions {
  /** For `urlFor`. */
  name?: string;
  /** Around this route, inside those of the application. */
  middlewares?: readonly Middleware[];
  /** Overrides the application's. Infinity: no limit. */
  maxBodyBytes?: number;
}

export interface ApplicationOptions {
  middlewares?: readonly Middleware[];
  /** 413 above it, however the body is read. Default 1 MiB; of a mounted one its parent's. */
  maxBodyBytes?: number;
}

/** @internal */
export interface OwnRoute {
  readonly method: string;
  readonly parts: readonly PathPart[];
  readonly handler: Handler;
  readonly options: RouteOptions;
}

/** @internal */
export interface Mount {
  readonly prefix: readonly PathPart[];
  readonly app: Application;
}

type ResponseHook = (request: HttpRequest, response: ResponseLike) => Awaitable<void>;
type ErrorHandler = (error: unknown, request: HttpRequest) => Awaitable<ResponseLike>;

/** Routes, middlewares and life cycle. Frozen when it is first served. (aiohttp.web.Application) */
export class Application {
  readonly state: State = new StateMap();
  /** @internal */
  readonly routes: OwnRoute[] = [];
  /** @internal */
  readonly mounts: Mount[] = [];
  /** @internal */
  readonly middlewares: Middleware[] = [];
  /** @internal Of this application and those around it, once it is compiled. */
  onResponseHooks: readonly ResponseHook[] = [];
  /** @internal */
  readonly ownResponseHooks: ResponseHook[] = [];
  /** @internal */
  notFoundHandler: Handler | null = null;
  /** @internal */
  errorHandler: ErrorHandler | null = null;
  /** @internal */
  parent: Application | null = null;
  /** @internal */
  readonly maxBodyBytes: number | undefined;
  /** @internal */
  readonly life: LifeCycle;
  #frozen = false;
  #shapes = new Set<string>();
  #names = new Map<string, readonly PathPart[]>();

  /** @throws TypeError, RangeError for bad options */
  constructor(options: ApplicationOptions = {}) {
    const { middlewares = [], maxBodyBytes } = options;
    this.life = new LifeCycle(this);
    if (maxBodyBytes !== undefined) checkBytes('maxBodyBytes', maxBodyBytes);
    this.maxBodyBytes = maxBodyBytes;
    this.use(...middlewares);
  }

  /** Also answers HEAD. Fixed parts win over `:name`, `:name` over `*rest`. */
  get<const P extends string>(path: P, handler: Handler<P>, options?: RouteOptions): this {
    return this.route('GET', path, handler, options);
  }

  post<const P extends string>(path: P, handler: Handler<P>, options?: RouteOptions): this {
    return this.route('POST', path, handler, options);
  }

  put<const P extends string>(path: P, handler: Handler<P>, options?: RouteOptions): this {
    return this.route('PUT', path, handler, options);
  }

  patch<const P extends string>(path: P, handler: Handler<P>, options?: RouteOptions): this {
    return this.route('PATCH', path, handler, options);
  }

  delete<const P extends string>(path: P, handler: Handler<P>, options?: RouteOptions): this {
    return this.route('DELETE', path, handler, options);
  }

  head<const P extends string>(path: P, handler: Handler<P>, options?: RouteOptions): this {
    return this.route('HEAD', path, handler, options);
  }

  options<const P extends string>(path: P, handler: Handler<P>, options?: RouteOptions): this {
    return this.route('OPTIONS', path, handler, options);
  }

  /**
   * @param method '*' for all that have no route of their own at this path
   * @param path '/fixed', '/:name', '/:id(\\d+)', '/:id?' (last), '/*rest' (last)
   * @throws TypeError for a bad path or handler, InvalidStateError for one that is there or after
   *   serving has begun
   */
  route<const P extends string>(
    method: string,
    path: P,
    handler: Handler<P>,
    options: RouteOptions = {},
  ): this {
    this.#checkOpen();
    if (!isToken(method)) {
      throw argTypeError('method', "a method's name or '*'", method);
    }
    if (typeof handler !== 'function') throw argTypeError('handler', 'a function', handler);
    const parts = parsePath(path);
    const shape = `${method} ${shapeOf(parts)}`;
    if (this.#shapes.has(shape)) {
      throw new InvalidStateError(`There is a route for ${method} ${path} already`);
    }
    const { name, maxBodyBytes, middlewares = [] } = options;
    for (const middleware of middlewares) checkMiddleware(middleware);
    if (maxBodyBytes !== undefined) checkBytes('maxBodyBytes', maxBodyBytes);
    if (name !== undefined) this.#name(name, parts);
    this.#shapes.add(shape);
    this.routes.push({ method, parts, handler: handler as unknown as Handler, options });
    return this;
  }

  /**
   * A WebSocket per request: GET that asks for an upgrade, else 426. It is closed when the handler
   * ends (code 1000), throws (1011) or is cancelled (1001). (aiohttp.web.WebSocketResponse)
   * With callbacks instead of a handler a socket has no task, and stays open until it is closed.
   */
  ws<const P extends string>(
    path: P,
    handler: WebSocketHandler<P>,
    options: RouteOptions & WebSocketOptions = {},
  ): this {
    checkHandler(handler);
    return this.route('GET', path, webSocketHandler(handler, options), options);
  }

  /** To all WebSockets of this application that subscribed to the topic; gives their number. */
  publish(topic: string, data: Data): number {
    return applicationTopics(this).publish(topic, data, null);
  }

  /** Files below `directory` only; dot-files, and links that lead out of it, are not there. */
  static(prefix: string, directory: string | URL, options?: StaticOptions): this {
    const base = prefix === '/' ? '' : prefix;
    return this.route('GET', `${base}/*path`, staticHandler(directory, options) as Handler);
  }

  /**
   * A sub-application below a prefix: its `request.path` is the whole one, as in aiohttp. Anything
   * else with `fetch` gets a Web Request whose URL lacks the prefix.
   */
  mount(prefix: string, app: Application | { fetch: FetchHandler }): this {
    this.#checkOpen();
    const parts = prefix === '/' ? [] : parsePath(prefix);
    if (!(app instanceof Application)) {
      const handler = mountedFetch(parts.length, app);
      const base = prefix === '/' ? '' : prefix;
      if (base !== '') this.route('*', base, handler as Handler);
      return this.route('*', `${base}/*`, handler as Handler);
    }
    if (app.parent !== null) throw new InvalidStateError('The application is mounted already');
    let around: Application | null = this;
    for (; around !== null; around = around.parent) {
      if (around === app) throw new InvalidStateError('An application cannot be mounted on itself');
    }
    if (app.frozen) throw new InvalidStateError('The application is served already');
    app.parent = this;
    this.mounts.push({ prefix: parts, app });
    return this;
  }

  /** Runs around all routes and `notFound`, in the order of `use`. */
  use(...middlewares: Middleware[]): this {
    this.#checkOpen();
    for (const middleware of middlewares) this.middlewares.push(checkMiddleware(middleware));
    return this;
  }

  /** Answers when no route fits. Default 404, or 405 with `Allow`. */
  notFound(handler: Handler): this {
    this.#checkOpen();
    this.notFoundHandler = checkFunction('handler', handler);
    return this;
  }

  /**
   * Turns what a handler or middleware threw into a response, HttpError included. Default: that of
   * the HttpError, else 500 and a report to the loop's exception handler.
   */
  onError(handler: ErrorHandler): this {
    this.#checkOpen();
    this.errorHandler = checkFunction('handler', handler);
    return this;
  }

  /** The path of a named route. @throws TypeError for an unknown name or a bad parameter */
  urlFor(name: string, params: Record<string, string | number> = {}, query?: QueryInit): string {
    const parts = this.#names.get(name);
    if (parts === undefined) throw argTypeError('name', 'that of a route', name);
    const path = buildPath([...this.#prefix(), ...parts], params);
    const search = query === undefined ? '' : makeQuery(query);
    return search === '' ? path : `${path}?${search}`;
  }

  /** Before the first connection; in order. An error ends the start. */
  onStartup(hook: Hook): this {
    return this.#hook(this.life.startup, hook);
  }

  /** Before connections are closed: tell WebSockets to end. */
  onShutdown(hook: Hook): this {
    return this.#hook(this.life.shutdown, hook);
  }

  /** After all handlers have ended; in reverse order. */
  onCleanup(hook: Hook): this {
    return this.#hook(this.life.cleanup, hook);
  }

  /** Runs up to its `yield` at start-up, the rest at clean-up, in reverse order. */
  cleanupContext(context: CleanupContext): this {
    this.#checkOpen();
    this.life.contexts.push(checkFunction('context', context));
    return this;
  }

  /** Before the head of a response is sent. */
  onResponse(hook: ResponseHook): this {
    this.#checkOpen();
    this.ownResponseHooks.push(checkFunction('hook', hook));
    return this;
  }

  /** Without a server. Runs the start-up hooks at the first call. */
  readonly fetch = (request: Request): Promise<globalThis.Response> => fetchOnce(this, request);

  /** @internal */
  get frozen(): boolean {
    return this.#frozen;
  }

  /** @internal */
  freeze(): void {
    this.#frozen = true;
    for (const { app } of this.mounts) app.freeze();
  }

  #prefix(): PathPart[] {
    const { parent } = this;
    if (parent === null) return [];
    const own = parent.mounts.find((mount) => mount.app === this)?.prefix ?? [];
    return [...parent.#prefix(), ...own];
  }

  #name(name: string, parts: readonly PathPart[]): void {
    if (this.#names.has(name)) {
      throw new InvalidStateError(`There is a route with the name '${name}' already`);
    }
    this.#names.set(name, parts);
  }

  #hook(list: Hook[], hook: Hook): this {
    this.#checkOpen();
    list.push(checkFunction('hook', hook));
    return this;
  }

  #checkOpen(): void {
    if (this.#frozen) throw new InvalidStateError('The application is served already');
  }
}

export type QueryInit =
  | string
  | URLSearchParams
  | Record<string, string | number | boolean | readonly (string | number | boolean)[]>;

function makeQuery(query: QueryInit): string {
  if (typeof query === 'string') return query.replace(/^\?/, '');
  if (query instanceof URLSearchParams) return query.toString();
  const made = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) made.append(name, String(one));
  }
  return made.toString();
}

function checkFunction<F>(name: string, value: F): F {
  if (typeof value !== 'function') throw argTypeError(name, 'a function', value);
  return value;
}

function checkMiddleware(middleware: Middleware): Middleware {
  return checkFunction('middleware', middleware);
}

export type { PathParams };
