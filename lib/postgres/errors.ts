/**
 * The errors of the client.
 *
 * In: fields of ErrorResponse and NoticeResponse. Out: error objects. Never: a guess at what a
 * field means; an unknown code keeps its five characters.
 */
import type { Buffer } from 'node:buffer';
import { sqlStates } from './sqlstates.ts';

let conditions: Map<string, string> | undefined;

/** The name of a SQLSTATE; that of its class when it is not known; else 'unknown'. */
export function conditionOf(code: string): string {
  if (conditions === undefined) {
    conditions = new Map();
    for (const line of sqlStates.trim().split('\n'))
      conditions.set(line.slice(0, 5), line.slice(6));
  }
  return conditions.get(code) ?? conditions.get(`${code.slice(0, 2)}000`) ?? 'unknown';
}

/** Fields by their letter, as the server sent them. */
export type ErrorFields = ReadonlyMap<string, string>;

/** A list of at most a few dozen fields; what comes beyond is a fault of the server. */
const maxFields = 64;

/** @throws ProtocolError when the message is not a list of fields. */
export function readFields(body: Buffer): ErrorFields {
  const fields = new Map<string, string>();
  let at = 0;
  while (at < body.length && body[at] !== 0) {
    const end = body.indexOf(0, at + 1);
    if (end < 0 || fields.size >= maxFields) throw new ProtocolError('a malformed error message');
    fields.set(String.fromCharCode(body[at] as number), body.toString('utf8', at + 1, end));
    at = end + 1;
  }
  if (at !== body.length - 1) throw new ProtocolError('a malformed error message');
  return fields;
}

/** An error, notice or warning from the server. (asyncpg.PostgresError) */
export class PostgresError extends Error {
  declare readonly name: 'PostgresError';
  /** SQLSTATE: '23505'. */
  readonly code: string;
  /** Its name: 'unique_violation'. */
  readonly condition: string;
  /** 'ERROR', 'FATAL', 'WARNING', 'NOTICE' …, in English whatever the server's language is. */
  readonly severity: string;
  declare readonly detail?: string;
  declare readonly hint?: string;
  /** In characters, from 1. */
  declare readonly position?: number;
  declare readonly schema?: string;
  declare readonly table?: string;
  declare readonly column?: string;
  declare readonly constraint?: string;
  /** The type of the value that was refused. */
  declare readonly dataType?: string;
  /** Where in server-side code it happened. */
  declare readonly where?: string;
  /** The query that failed. */
  declare readonly query?: string;

  constructor(fields: ErrorFields, query?: string) {
    super(fields.get('M') ?? 'The server gave no message');
    this.code = fields.get('C') ?? 'XX000';
    this.condition = conditionOf(this.code);
    this.severity = fields.get('V') ?? fields.get('S') ?? 'ERROR';
    const optional: [string, string | number | undefined][] = [
      ['detail', fields.get('D')],
      ['hint', fields.get('H')],
      ['position', fields.has('P') ? Number(fields.get('P')) : undefined],
      ['schema', fields.get('s')],
      ['table', fields.get('t')],
      ['column', fields.get('c')],
      ['constraint', fields.get('n')],
      ['dataType', fields.get('d')],
      ['where', fields.get('W')],
      ['query', query],
    ];
    for (const [name, value] of optional) {
      if (value !== undefined) Object.defineProperty(this, name, { value, enumerable: true });
    }
  }
}

/** Wrong use of the client, found without the server. (asyncpg.InterfaceError) */
export class InterfaceError extends Error {
  declare readonly name: 'InterfaceError';
  readonly code: 'ERR_UVIO_POSTGRES_INTERFACE' = 'ERR_UVIO_POSTGRES_INTERFACE';
}

/**
 * No connection, or it broke; `code` is Node's where there is one (ECONNREFUSED …), else
 * ERR_UVIO_POSTGRES_CONNECTION. `cause` says why.
 */
export class PostgresConnectionError extends Error {
  declare readonly name: 'PostgresConnectionError';
  readonly code: string;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    const code = (options?.cause as { code?: unknown } | undefined)?.code;
    this.code = typeof code === 'string' ? code : 'ERR_UVIO_POSTGRES_CONNECTION';
  }
}

/** The server broke the protocol: the connection cannot go on. */
export class ProtocolError extends PostgresConnectionError {
  constructor(what: string) {
    super(`The server broke the protocol: ${what}`);
  }
}

for (const errorClass of [PostgresError, InterfaceError, PostgresConnectionError]) {
  const descriptor = { value: errorClass.name, configurable: true, writable: true };
  Object.defineProperty(errorClass.prototype, 'name', descriptor);
}
