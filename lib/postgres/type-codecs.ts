/**
 * Codecs that the user sets for a type of the database.
 *
 * In: the name of a type, and a codec. Out: changes of a session's codecs. Never: a change of
 * queries that are under way.
 */
import { type Codec, FieldError, refuse } from './codecs/codec.ts';
import { customCodec } from './codecs/text-forms.ts';
import { tupleCodec } from './codecs/tuples.ts';
import { quoteName } from './copy.ts';
import { InterfaceError } from './errors.ts';
import { QueryRequest } from './queries.ts';
import type { Session } from './session.ts';
import type { TypeCodec } from './types.ts';

interface FoundType {
  readonly oid: number;
  readonly kind: string;
}

/** By `schema`, else as the search path finds it. */
async function findType(
  session: Session,
  name: string,
  schema: string | undefined,
): Promise<FoundType> {
  const full = schema === undefined ? name : `${quoteName(schema)}.${quoteName(name)}`;
  const sql = `SELECT t.oid, CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN 'array'
    ELSE t.typtype::text END FROM pg_catalog.pg_type t WHERE t.oid = to_regtype($1)`;
  const row = await new QueryRequest<Iterable<unknown> | null>(
    session,
    sql,
    [full],
    'row',
    null,
  ).submit();
  if (row === null) throw new InterfaceError(`There is no type ${full}`);
  const [oid, kind] = row;
  return { oid: oid as number, kind: kind as string };
}

function checkCodec(codec: TypeCodec): void {
  if (typeof codec?.encode !== 'function' || typeof codec.decode !== 'function') {
    throw new InterfaceError('A codec has the functions encode and decode');
  }
  const { format = 'text' } = codec;
  if (!['text', 'binary', 'tuple'].includes(format)) {
    throw new InterfaceError("The format of a codec is 'text', 'binary' or 'tuple'");
  }
}

export async function setTypeCodec(
  session: Session,
  type: string,
  codec: TypeCodec,
): Promise<void> {
  checkCodec(codec);
  const { oid, kind } = await findType(session, type, codec.schema);
  if (kind !== 'b' && kind !== 'e' && kind !== 'c') {
    throw new InterfaceError(`${type} is neither a scalar type nor a composite one`);
  }
  const { format = 'text' } = codec;
  const made =
    format === 'tuple'
      ? tupleCodec(type, session.codecs.catalog.get(oid)?.name ?? type, codec)
      : customCodec(type, codec, format === 'binary');
  session.codecs.set(oid, made);
  session.statements.clear();
}

export async function resetTypeCodec(
  session: Session,
  type: string,
  schema: string | undefined,
): Promise<void> {
  const { oid } = await findType(session, type, schema);
  session.codecs.reset(oid);
  session.statements.clear();
}

/** hstore's text: `"a"=>"1", "b"=>NULL`. */
const arrow = /\s*=>\s*(NULL|")/y;
const comma = /\s*(?:,\s*|$)/y;
const quote = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

/** The text behind the quote at `at`, and where it ends. A pattern had no stack for long ones. */
function quoted(text: string, at: number): [string, number] {
  if (text[at] !== '"') throw new FieldError('hstore', `its text at ${at}`);
  let found = '';
  let end = at;
  for (let from = at + 1; ; ) {
    if (end < from) end = text.indexOf('"', from);
    if (end < 0) throw new FieldError('hstore', 'its text ends early');
    const slash = text.slice(from, end).indexOf('\\');
    if (slash < 0) return [found + text.slice(from, end), end + 1];
    found += text.slice(from, from + slash) + text.charAt(from + slash + 1);
    from += slash + 2;
  }
}

/** Moves behind what `form` takes at `at`. */
function step(form: RegExp, text: string, at: number): [string | undefined, number] {
  form.lastIndex = at;
  const match = form.exec(text);
  if (match === null) throw new FieldError('hstore', `its text at ${at}`);
  return [match[1], form.lastIndex];
}

const hstoreCodec: TypeCodec = {
  decode(text: string) {
    const found: Record<string, string | null> = Object.create(null);
    for (let at = 0; at < text.length; ) {
      const [key, afterKey] = quoted(text, at);
      const [kind, afterArrow] = step(arrow, text, afterKey);
      const [value, afterValue] =
        kind === 'NULL' ? [null, afterArrow] : quoted(text, afterArrow - 1);
      found[key] = value;
      at = step(comma, text, afterValue)[1];
    }
    return found;
  },
  encode(value: unknown) {
    if (typeof value !== 'object' || value === null) throw refuse('an object of strings', value);
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    return entries
      .map(([key, item]) => {
        if (item !== null && typeof item !== 'string') throw refuse('strings or null', item);
        return `${quote(String(key))}=>${item === null ? 'NULL' : quote(item)}`;
      })
      .join(',');
  },
};

export async function setBuiltinTypeCodec(
  session: Session,
  type: string,
  codecName: string,
  schema: string | undefined,
): Promise<void> {
  const { oid } = await findType(session, type, schema);
  let codec: Codec | undefined;
  if (codecName === 'hstore' || codecName === 'pg_contrib.hstore') {
    codec = customCodec(type, hstoreCodec, false);
  } else {
    codec = session.codecs.builtin(codecName);
  }
  if (codec === undefined) throw new InterfaceError(`There is no codec '${codecName}'`);
  session.codecs.set(oid, codec);
  session.statements.clear();
}
