/**
 * Arguments of `copyFromQuery`: COPY takes no parameters, so the server writes them as literals.
 *
 * In: a query with $1 …, and arguments. Out: a query without. Never: quoting of our own; a dollar
 * inside a string, a name or a comment taken for a parameter.
 */
import { InterfaceError } from './errors.ts';
import { PrepareRequest, QueryRequest } from './queries.ts';
import type { RequestOptions } from './request.ts';
import type { Session } from './session.ts';

/** What a parameter cannot be inside of, and a parameter. */
const tokens: RegExp = new RegExp(
  [
    "'(?:[^']|'')*'",
    '"(?:[^"]|"")*"',
    '--[^\\n\\r]*',
    '(/\\*)',
    '(\\$(?:[A-Za-z_\\u0080-\\uffff][\\w\\u0080-\\uffff]*)?\\$)',
    '[A-Za-z_\\u0080-\\uffff][\\w$\\u0080-\\uffff]*',
    '\\$(\\d+)',
  ].join('|'),
  'g',
);

/** PostgreSQL's comments nest. */
function commentEnd(sql: string, from: number): number {
  const edges = /\/\*|\*\//g;
  edges.lastIndex = from;
  for (let depth = 1; depth > 0; ) {
    const edge = edges.exec(sql);
    if (edge === null) return sql.length;
    depth += edge[0] === '/*' ? 1 : -1;
  }
  return edges.lastIndex;
}

/** Replaces each $n. @throws InterfaceError for escapes that it does not understand */
export function replaceParameters(sql: string, literals: readonly string[]): string {
  let text = '';
  let at = 0;
  tokens.lastIndex = 0;
  for (let match = tokens.exec(sql); match !== null; match = tokens.exec(sql)) {
    const [whole, comment, dollarQuote, index] = match;
    if (comment !== undefined) {
      tokens.lastIndex = commentEnd(sql, tokens.lastIndex);
    } else if (dollarQuote !== undefined) {
      const end = sql.indexOf(dollarQuote, tokens.lastIndex);
      if (end < 0) throw new InterfaceError('The query has a dollar quote without end');
      tokens.lastIndex = end + dollarQuote.length;
    } else if (/^[eE]$/.test(whole) && sql[tokens.lastIndex] === "'") {
      throw new InterfaceError("copyFromQuery with arguments does not take E'…' in its query");
    } else if (index !== undefined) {
      const literal = literals[Number(index) - 1];
      if (literal === undefined) throw new InterfaceError(`No argument was given for $${index}`);
      text += sql.slice(at, match.index) + literal;
      at = tokens.lastIndex;
    }
  }
  tokens.lastIndex = 0;
  return text + sql.slice(at);
}

export async function inlineArguments(
  session: Session,
  sql: string,
  args: readonly unknown[],
  options: RequestOptions,
): Promise<string> {
  if (args.length === 0) return sql;
  const statement = await new PrepareRequest(session, sql).submit(options);
  session.statements.release(statement);
  const types = statement.parameterOids;
  if (types.length !== args.length) {
    throw new InterfaceError(`The query has ${types.length} parameters, not ${args.length}`);
  }
  // format_type and quote_nullable are the server's; each value is bound with its own type.
  const named = await new QueryRequest<readonly string[]>(
    session,
    `SELECT array_agg(format_type(t, NULL) ORDER BY n)
      FROM unnest($1::oid[]) WITH ORDINALITY u(t, n)`,
    [types],
    'value',
    null,
  ).submit(options);
  const list = named.map((type, i) => `quote_nullable(($${i + 1}::${type})::text)`).join(', ');
  const texts = await new QueryRequest<Iterable<string>>(
    session,
    `SELECT ${list}`,
    args,
    'row',
    null,
  ).submit(options);
  // In parentheses: a subscript may follow, and not everywhere a cast may stand.
  const literals = [...texts].map((literal, i) => `(${literal}::${named[i]})`);
  return replaceParameters(sql, literals);
}
