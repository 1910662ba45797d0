/**
 * Which route a request goes to.
 *
 * In: routes of an application and of what is mounted on it. Out: a route with its parameters, or
 * the methods that would fit. Never: running handlers.
 */
import findMyWay, { type HTTPVersion, type Instance } from 'find-my-way';
import type { Application } from './application.ts';
import { noParams, type PathPart } from './path-params.ts';
import type { HttpRequest } from './request.ts';
import type { ResponseLike } from './response.ts';

/** A handler with all middlewares around it. */
export type Chain = (request: HttpRequest) => ResponseLike | PromiseLike<ResponseLike>;

export interface Route {
  /** '*' for all. */
  readonly method: string;
  /** With the prefixes of where it is mounted. */
  readonly parts: readonly PathPart[];
  readonly app: Application;
  readonly chain: Chain;
  readonly maxBodyBytes: number;
}

export interface Found {
  readonly route: Route;
  readonly params: Record<string, string>;
}

const anyMethod = '*';

/** What find-my-way calls a path. */
function patternOf(parts: readonly PathPart[]): string {
  let pattern = '';
  for (const part of parts) {
    if (part.kind === 'fixed') pattern += `/${part.name}`;
    else if (part.kind === 'rest') pattern += '/*';
    else {
      pattern += `/:${part.name}`;
      if (part.pattern !== null) pattern += `(^${part.pattern}$)`;
      if (part.optional) pattern += '?';
    }
  }
  return pattern === '' ? '/' : pattern;
}

/** The same for all paths that fit the same requests, whatever the names in them. */
export function shapeOf(parts: readonly PathPart[]): string {
  return parts
    .map((part) => (part.kind === 'fixed' ? part.name : `:${part.kind}${part.pattern ?? ''}`))
    .join('/');
}

/** The routes that a request with one method can go to. */
class MethodRouter {
  /** Paths without parameters: they win over all others. */
  readonly #fixed: Map<string, Found> = new Map();
  readonly #tree: Instance<HTTPVersion.V1> = findMyWay({ maxParamLength: 65_536 });
  readonly #shapes: Set<string> = new Set();

  /** The first route of a shape counts. */
  add(route: Route): void {
    const shape = shapeOf(route.parts);
    if (this.#shapes.has(shape)) return;
    this.#shapes.add(shape);
    const pattern = patternOf(route.parts);
    if (route.parts.every((part) => part.kind === 'fixed')) {
      this.#fixed.set(pattern, { route, params: noParams });
    }
    this.#tree.on('GET', pattern, () => {}, route);
  }

  find(path: string): Found | null {
    const fixed = this.#fixed.get(path);
    if (fixed !== undefined) return fixed;
    // '*' of OPTIONS is no path.
    const found = path.startsWith('/') ? this.#tree.find('GET', path) : null;
    if (found === null) return null;
    const route = found.store as Route;
    const params = found.params as Record<string, string>;
    for (const part of route.parts) {
      if (part.kind !== 'param' || params[part.name] !== '') continue;
      // Nothing between two slashes is no value.
      if (!part.optional) return null;
      delete params[part.name];
    }
    const rest = params['*'];
    if (rest !== undefined) {
      const name = route.parts.at(-1)?.name ?? '0';
      delete params['*'];
      params[name] = rest;
    }
    return { route, params };
  }
}

export class Router {
  readonly #methods: Map<string, MethodRouter> = new Map();
  readonly #others: MethodRouter = new MethodRouter();

  /** @param routes in the order in which they count when several have the same path */
  constructor(routes: readonly Route[]) {
    const names = new Set(routes.map((route) => route.method));
    if (names.has('GET')) names.add('HEAD');
    names.delete(anyMethod);
    for (const name of names) this.#methods.set(name, new MethodRouter());
    const fill = (method: string, into: (route: Route) => void): void => {
      for (const route of routes) if (route.method === method) into(route);
    };
    fill('HEAD', (route) => this.#methods.get('HEAD')?.add(route));
    for (const name of names) {
      if (name !== 'HEAD') fill(name, (route) => this.#methods.get(name)?.add(route));
    }
    fill('GET', (route) => this.#methods.get('HEAD')?.add(route));
    fill(anyMethod, (route) => {
      for (const router of this.#methods.values()) router.add(route);
      this.#others.add(route);
    });
  }

  find(method: string, path: string): Found | null {
    return (this.#methods.get(method) ?? this.#others).find(path);
  }

  /** The methods for which the path has a route. */
  allowed(path: string): string[] {
    const found: string[] = [];
    for (const [name, router] of this.#methods) if (router.find(path) !== null) found.push(name);
    return found.sort();
  }
}
