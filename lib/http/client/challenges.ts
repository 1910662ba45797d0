/**
 * Challenges of servers. (RFC 9110 11.6.1)
 *
 * In: values of WWW-Authenticate and Authentication-Info. Out: schemes, parameters. Never: an error
 * for what is malformed: what stands before it counts.
 */

export interface Challenge {
  /** In small letters. */
  readonly scheme: string;
  /** Their names in small letters. */
  readonly parameters: ReadonlyMap<string, string>;
}

const token = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const gap = /[\s,]*/y;
const parameter = new RegExp(
  `(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))\\s*(?:,|$)`,
  'y',
);
const schemeName = new RegExp(`(${token})\\s*`, 'y');
const token68 = /[A-Za-z0-9\-._~+/]+=*\s*(?:,|$)/y;

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get done(): boolean {
    return this.#at >= this.#text.length;
  }

  take(form: RegExp): RegExpExecArray | null {
    form.lastIndex = this.#at;
    const found = form.exec(this.#text);
    if (found !== null) this.#at += found[0].length;
    return found;
  }

  /** False: there is none here. */
  parameter(into: Map<string, string>): boolean {
    const found = this.take(parameter);
    if (found === null) return false;
    const name = (found[1] as string).toLowerCase();
    const value = found[2] === undefined ? (found[3] as string) : found[2].replace(/\\(.)/g, '$1');
    if (!into.has(name)) into.set(name, value);
    return true;
  }
}

export function parseChallenges(header: string): Challenge[] {
  const reader = new Reader(header);
  const found: Challenge[] = [];
  let parameters: Map<string, string> | null = null;
  for (;;) {
    reader.take(gap);
    if (reader.done) return found;
    if (parameters !== null && reader.parameter(parameters)) continue;
    const scheme = reader.take(schemeName);
    if (scheme === null) return found;
    parameters = new Map();
    found.push({ scheme: (scheme[1] as string).toLowerCase(), parameters });
    reader.take(token68);
  }
}

export function parseParameters(header: string): ReadonlyMap<string, string> {
  const reader = new Reader(header);
  const found = new Map<string, string>();
  do reader.take(gap);
  while (!reader.done && reader.parameter(found));
  return found;
}

export function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
