/**
 * Paths of routes: the types of their parameters, and their parts.
 *
 * In: '/users/:id'. Out: `{ id: string }`; parts to match and to build paths from. Never: matching.
 */
import { argTypeError } from '../base/errors.ts';

type Merge<T> = { [K in keyof T]: T[K] };
type ParamName<S extends string> = S extends `${infer N}(${string}` ? N : S;
// biome-ignore lint/complexity/noBannedTypes: nothing to be merged.
type NoParams = {};
type SegmentParams<S extends string> = S extends `:${infer N}?`
  ? { [K in ParamName<N>]?: string }
  : S extends `:${infer N}`
    ? { [K in ParamName<N>]: string }
    : S extends `*${infer N}`
      ? { [K in N extends '' ? '0' : N]: string }
      : NoParams;
type PathSegments<P extends string> = P extends `${infer Head}/${infer Tail}`
  ? SegmentParams<Head> & PathSegments<Tail>
  : SegmentParams<P>;

/** '/users/:id' → { id: string }. Also ':id(\\d+)', ':id?' and '*rest'. */
export type PathParams<P extends string> = string extends P
  ? Record<string, string | undefined>
  : Merge<PathSegments<P>>;

export const noParams: Record<string, string> = Object.freeze({ __proto__: null as never });

export interface PathPart {
  readonly kind: 'fixed' | 'param' | 'rest';
  /** The text of a fixed part; the name of another. */
  readonly name: string;
  /** A regular expression's source, of a parameter. */
  readonly pattern: string | null;
  readonly optional: boolean;
}

const paramForm = /^:([A-Za-z_$][\w$]*)(\(.+\))?(\?)?$/;
const restForm = /^\*([A-Za-z_$][\w$]*)?$/;

/** The parts of a route's path between its slashes. @throws TypeError for another form */
export function parsePath(path: string): PathPart[] {
  if (typeof path !== 'string' || !path.startsWith('/')) {
    throw argTypeError('path', "a string that starts with '/'", path);
  }
  const parts = splitPath(path).map((text) => parsePart(path, text));
  const names = new Set<string>();
  for (const [at, part] of parts.entries()) {
    if (part.kind === 'fixed') continue;
    if (names.has(part.name)) throw argTypeError('path', 'without a name that is twice', path);
    names.add(part.name);
    const last = at === parts.length - 1;
    if ((part.kind === 'rest' || part.optional) && !last) {
      throw argTypeError('path', "with ':name?' or '*name' at the end only", path);
    }
  }
  return parts;
}

/** A slash inside the parentheses of a pattern does not count. */
function splitPath(path: string): string[] {
  const found: string[] = [];
  let depth = 0;
  let start = 1;
  for (let i = 1; i < path.length; i++) {
    if (path[i] === '(') depth++;
    else if (path[i] === ')') depth--;
    else if (path[i] === '/' && depth === 0) {
      found.push(path.slice(start, i));
      start = i + 1;
    }
  }
  found.push(path.slice(start));
  return found;
}

function parsePart(path: string, text: string): PathPart {
  if (text.startsWith(':')) {
    const [, name, pattern, optional] = paramForm.exec(text) ?? [];
    if (name === undefined) throw argTypeError('path', "with parts like ':name'", path);
    const source = pattern === undefined ? null : pattern.slice(1, -1);
    if (source !== null) new RegExp(source);
    return { kind: 'param', name, pattern: source, optional: optional !== undefined };
  }
  if (text.startsWith('*')) {
    const rest = restForm.exec(text);
    if (rest === null) throw argTypeError('path', "with parts like '*name'", path);
    return { kind: 'rest', name: rest[1] ?? '0', pattern: null, optional: false };
  }
  if (/[:*?#]/.test(text)) {
    throw argTypeError('path', 'with : and * at the start of a part only, without ? and #', path);
  }
  return { kind: 'fixed', name: text, pattern: null, optional: false };
}

/** Builds a path. @throws TypeError for a parameter that is missing or does not fit */
export function buildPath(
  parts: readonly PathPart[],
  params: Readonly<Record<string, string | number>>,
): string {
  let path = '';
  for (const part of parts) {
    if (part.kind === 'fixed') {
      path += `/${part.name}`;
      continue;
    }
    const value = params[part.name];
    if (value === undefined || value === '') {
      if (part.optional || (part.kind === 'rest' && value === '')) continue;
      throw argTypeError(`params.${part.name}`, 'given', value);
    }
    const text = String(value);
    if (part.pattern !== null && !new RegExp(`^(?:${part.pattern})$`).test(text)) {
      throw argTypeError(`params.${part.name}`, `of the form ${part.pattern}`, value);
    }
    const escaped =
      part.kind === 'rest'
        ? text.split('/').map(encodeURIComponent).join('/')
        : encodeURIComponent(text);
    path += `/${escaped}`;
  }
  return path === '' ? '/' : path;
}
