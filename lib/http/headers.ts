/**
 * Headers: the Web's interface over a flat list, or over the bytes of a request.
 *
 * In: what users give, or a `HeaderSource` of the wire. Out: values when asked for. Never: a name
 * or value that could break out of its line; a decoded header that nobody asked for.
 */
import { argTypeError } from '../base/errors.ts';
import type { HeaderList, HeaderSource } from './wire.ts';

export type HeadersInit =
  | Headers
  | Record<string, string | readonly string[]>
  | Iterable<readonly [string, string]>;

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Field content of RFC 9110 as Latin-1: no control character but HTAB. */
const badValue = /[^\t\x20-\x7e\x80-\xff]/;
/** Of RFC 9110: names of headers and methods, subprotocols. */
export function isToken(text: unknown): text is string {
  return typeof text === 'string' && token.test(text);
}

/** What may stand in a line of a head. */
export function isFieldText(text: string): boolean {
  return !badValue.test(text);
}

/**
 * Without blanks and line ends around; not `trim()`, which takes characters of Latin-1, too, and no
 * expression, which would look at each run of blanks within a hostile value again and again.
 */
export function trimBlanks(text: string, from = 0, to: number = text.length): string {
  let first = from;
  let last = to;
  while (first < last && isBlank(text.charCodeAt(first))) first++;
  while (last > first && isBlank(text.charCodeAt(last - 1))) last--;
  return text.slice(first, last);
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9 || code === 13 || code === 10;
}

/** Nearly all names that come are in lower case already, or among few. */
const lowered: Map<string, string> = new Map();

function lowerName(name: string): string {
  const known = lowered.get(name);
  if (known !== undefined) return known;
  const lower = name.toLowerCase();
  // Bounded: names may come from outside.
  if (lowered.size < 256) lowered.set(name, lower);
  return lower;
}

/** In lower case. @throws TypeError ERR_INVALID_ARG_VALUE for what is not a token */
export function checkHeaderName(name: unknown): string {
  const text = typeof name === 'string' ? name : String(name);
  const known = lowered.get(text);
  if (known !== undefined) return known;
  if (!isToken(text)) throw badHeader(`Header name ${JSON.stringify(text)} is not a token`);
  return lowerName(text);
}

/**
 * Without blanks around. @throws TypeError ERR_INVALID_ARG_VALUE for control characters and for
 * characters beyond Latin-1
 */
export function checkHeaderValue(name: string, value: unknown): string {
  const text = trimBlanks(typeof value === 'string' ? value : String(value));
  if (!isFieldText(text)) {
    throw badHeader(`Value of header '${name}' holds a character that may not be in it`);
  }
  return text;
}

function badHeader(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' });
}

function separatorOf(name: string): string {
  return name === 'cookie' ? '; ' : ', ';
}

/** The value of a header in a flat list, by its name in lower case; several lines are joined. */
export function lineOf(lines: readonly string[], name: string): string | null {
  let found: string | null = null;
  for (let i = 0; i < lines.length; i += 2) {
    const line = lines[i] as string;
    if (line.length !== name.length || line.toLowerCase() !== name) continue;
    const value = lines[i + 1] as string;
    found = found === null ? value : found + separatorOf(name) + value;
  }
  return found;
}

/** The Web's Headers, in lower case, sorted when iterated; several values of a name joined. */
export class HttpHeaders implements Headers {
  /** Flat, names in lower case, in order of their setting. */
  #list: string[];
  /** Not decoded yet. */
  #source: HeaderSource | null;

  constructor(init?: HeadersInit | null) {
    this.#list = [];
    this.#source = null;
    if (init !== undefined && init !== null) this.#fill(init);
  }

  /** @internal Decodes when asked. */
  static from(source: HeaderSource): HttpHeaders {
    const headers = new HttpHeaders();
    headers.#source = source;
    return headers;
  }

  append(name: string, value: string): void {
    const key = checkHeaderName(name);
    this.#decoded().push(key, checkHeaderValue(key, value));
  }

  set(name: string, value: string): void {
    const key = checkHeaderName(name);
    const text = checkHeaderValue(key, value);
    const list = this.#decoded();
    const at = indexOf(list, key);
    if (at < 0) {
      list.push(key, text);
      return;
    }
    list[at + 1] = text;
    removeFrom(list, key, at + 2);
  }

  delete(name: string): void {
    removeFrom(this.#decoded(), checkHeaderName(name), 0);
  }

  /** Several values joined with ', ' (cookie: '; '); null without one. */
  get(name: string): string | null {
    const key = checkHeaderName(name);
    if (this.#source !== null) return this.#source.header(key);
    const list = this.#list;
    let found: string | null = null;
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] !== key) continue;
      const value = list[i + 1] as string;
      found = found === null ? value : found + separatorOf(key) + value;
    }
    return found;
  }

  has(name: string): boolean {
    const key = checkHeaderName(name);
    if (this.#source !== null) return this.#source.header(key) !== null;
    return indexOf(this.#list, key) >= 0;
  }

  getSetCookie(): string[] {
    const list = this.#decoded();
    const found: string[] = [];
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] === 'set-cookie') found.push(list[i + 1] as string);
    }
    return found;
  }

  forEach(
    callback: (value: string, name: string, parent: Headers) => void,
    thisArg?: unknown,
  ): void {
    for (const [name, value] of this) callback.call(thisArg, value, name, this);
  }

  *entries(): IterableIterator<[string, string]> {
    yield* this.#sorted();
  }

  *keys(): IterableIterator<string> {
    for (const [name] of this.#sorted()) yield name;
  }

  *values(): IterableIterator<string> {
    for (const [, value] of this.#sorted()) yield value;
  }

  [Symbol.iterator](): IterableIterator<[string, string]> {
    return this.entries();
  }

  get [Symbol.toStringTag](): string {
    return 'Headers';
  }

  /** @internal Names and values in order, checked: what a wire sends. Not to be changed. */
  toList(): HeaderList {
    return this.#decoded();
  }

  /** @internal Names that the caller knows to be valid, in lower case. */
  put(name: string, value: string): void {
    this.#decoded().push(name, value);
  }

  #fill(init: HeadersInit): void {
    if (init instanceof HttpHeaders) {
      this.#list = [...init.toList()];
      return;
    }
    if (typeof init !== 'object') throw argTypeError('headers', 'an object or an iterable', init);
    if (typeof (init as Partial<Iterable<unknown>>)[Symbol.iterator] === 'function') {
      for (const pair of init as Iterable<readonly [string, string]>) {
        const [name, value, ...rest] = pair;
        if (value === undefined || rest.length > 0) {
          throw argTypeError('headers', 'an iterable of [name, value]', pair);
        }
        this.append(name, value);
      }
      return;
    }
    const record = init as Record<string, string | readonly string[]>;
    for (const name of Object.keys(record)) {
      const value = record[name] as string | readonly string[];
      if (typeof value === 'object' && value !== null) {
        for (const one of value) this.append(name, one);
      } else {
        this.append(name, value);
      }
    }
  }

  #decoded(): string[] {
    const source = this.#source;
    if (source === null) return this.#list;
    this.#source = null;
    const lines = source.headerList();
    const list: string[] = new Array(lines.length);
    for (let i = 0; i < lines.length; i += 2) {
      list[i] = lowerName(lines[i] as string);
      list[i + 1] = lines[i + 1] as string;
    }
    this.#list = list;
    return list;
  }

  #sorted(): [string, string][] {
    const list = this.#decoded();
    const pairs: [string, string][] = [];
    const seen = new Map<string, [string, string]>();
    for (let i = 0; i < list.length; i += 2) {
      const name = list[i] as string;
      const value = list[i + 1] as string;
      const before = seen.get(name);
      if (before !== undefined && name !== 'set-cookie') {
        before[1] += separatorOf(name) + value;
        continue;
      }
      const pair: [string, string] = [name, value];
      seen.set(name, pair);
      pairs.push(pair);
    }
    return pairs.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
  }
}

function indexOf(list: readonly string[], name: string): number {
  for (let i = 0; i < list.length; i += 2) if (list[i] === name) return i;
  return -1;
}

/** Takes all lines of that name out, from an index on. */
function removeFrom(list: string[], name: string, from: number): void {
  let kept = from;
  for (let i = from; i < list.length; i += 2) {
    if (list[i] === name) continue;
    list[kept] = list[i] as string;
    list[kept + 1] = list[i + 1] as string;
    kept += 2;
  }
  list.length = kept;
}

/** Belong to HTTP/1; node:http2 throws for them. (RFC 9113 8.2.2) */
const ofConnections: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'proxy-connection',
  'te',
]);

/** Lines of a response as node:http2 wants them: those of one name together. */
export function http2Fields(lines: readonly string[]): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = { __proto__: null as never };
  for (let i = 0; i < lines.length; i += 2) {
    const name = (lines[i] as string).toLowerCase();
    const value = lines[i + 1] as string;
    if (ofConnections.has(name)) continue;
    const before = fields[name];
    if (before === undefined) fields[name] = name === 'set-cookie' ? [value] : value;
    else if (typeof before === 'string') fields[name] = `${before}, ${value}`;
    else before.push(value);
  }
  return fields;
}
