/**
 * Prepared statements, and the cache of those that the client prepares by itself.
 *
 * In: what the server said of parameters and columns. Out: the bytes of Bind and Execute. Never: a
 * statement that is used after its end.
 */
import { Buffer } from 'node:buffer';
import type { ByteParsers } from '../io/handles.ts';
import { type Codec, ValueError } from './codecs/codec.ts';
import { InterfaceError } from './errors.ts';
import { BIND, CLOSE, DESCRIBE, EXECUTE, FLUSH, PARSE, SYNC } from './protocol.ts';
import { type RowShape, shapeOf } from './rows.ts';
import { maxMessageBytes, type Writer } from './writer.ts';

export interface Column {
  readonly name: string;
  readonly oid: number;
}

const maxParameters = 65_535;
/** The shortest of that many, and of as many that followed them, is remembered. */
const answersKept = 64;

/** Formats of fields: none for text, one for all in binary, else one for each. */
function formatList(codecs: readonly Codec[]): number[] {
  if (codecs.every(({ binary }) => binary)) return [1];
  return codecs.map(({ binary }) => (binary ? 1 : 0));
}

function int16s(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 + values.length * 2);
  bytes.writeUInt16BE(values.length, 0);
  for (const [i, value] of values.entries()) bytes.writeInt16BE(value, 2 + i * 2);
  return bytes;
}

export class Statement {
  readonly sql: string;
  /** '' for the unnamed one. */
  readonly name: string;
  readonly parameterOids: readonly number[];
  /** Null: it gives no rows. They may also have no columns. */
  readonly columns: readonly Column[] | null;
  parameters: readonly Codec[] = [];
  codecs: readonly Codec[] = [];
  shape: RowShape | null = null;
  /** On the loop's clock. */
  expiresMs: number = Infinity;
  /** The server does not know it any more. */
  closed = false;
  /** The shortest of the last answers, of which there are up to 128; 0: there was none. */
  answerBytes = 0;
  #shortest = Infinity;
  #answers = 0;
  /** Users beside the cache. */
  holders = 0;
  /** A parameter did not take its value. */
  refused = false;
  /** Of the server's Bind message: portal and name, formats of parameters. */
  #head: Buffer = Buffer.alloc(0);
  #tail: Buffer = Buffer.alloc(0);

  constructor(
    sql: string,
    name: string,
    parameterOids: readonly number[],
    columns: readonly Column[] | null,
  ) {
    this.sql = sql;
    this.name = name;
    this.parameterOids = parameterOids;
    this.columns = columns;
  }

  /** @param parsers the addon's, where there is one */
  use(
    parameters: readonly Codec[],
    codecs: readonly Codec[],
    parsers?: ByteParsers | undefined,
  ): void {
    this.parameters = parameters;
    this.codecs = codecs;
    const names = this.columns?.map(({ name }) => name);
    this.shape = names === undefined ? null : shapeOf(names, codecs, parsers);
    const count = Buffer.alloc(2);
    count.writeUInt16BE(parameters.length);
    const portalAndName = Buffer.from(`\0${this.name}\0`);
    this.#head = Buffer.concat([portalAndName, int16s(formatList(parameters)), count]);
    this.#tail = int16s(formatList(codecs));
  }

  /** An answer of that many bytes has come. */
  answered(bytes: number): void {
    if (bytes < this.#shortest) this.#shortest = bytes;
    if (this.answerBytes === 0 || bytes < this.answerBytes) this.answerBytes = bytes;
    if (++this.#answers < answersKept) return;
    this.answerBytes = this.#shortest;
    this.#shortest = Infinity;
    this.#answers = 0;
  }

  /** @throws InterfaceError; then nothing was written */
  writeBind(out: Writer, args: readonly unknown[], portal: string = ''): void {
    const { parameters } = this;
    const count = parameters.length;
    if (args.length !== count) throw wrongCount(count, args.length);
    const start = out.mark();
    const mark = out.message(BIND);
    const head = this.#head;
    if (portal !== '') out.text(portal);
    out.ensure(head.length);
    for (let i = 0; i < head.length; i++) out.buffer[out.at++] = head[i] as number;
    for (let i = 0; i < count; i++) {
      const value = args[i];
      out.ensure(4);
      if (value === null || value === undefined) {
        out.view.setInt32(out.at, -1);
        out.at += 4;
        continue;
      }
      const field = out.mark();
      out.at += 4;
      try {
        (parameters[i] as Codec).encode(out, value);
      } catch (error) {
        out.rewind(start);
        if (error instanceof ValueError) this.refused = true;
        throw parameterError(error, i, parameters[i] as Codec);
      }
      out.patchLength(field);
      if (out.mark() - start > maxMessageBytes) {
        out.rewind(start);
        throw new InterfaceError(`The parameters up to $${i + 1} have more than 1 GiB`);
      }
    }
    const tail = this.#tail;
    out.ensure(tail.length);
    for (let i = 0; i < tail.length; i++) out.buffer[out.at++] = tail[i] as number;
    out.endMessage(mark);
  }
}

function wrongCount(wanted: number, given: number): InterfaceError {
  const noun = wanted === 1 ? 'parameter' : 'parameters';
  return new InterfaceError(`The query has ${wanted} ${noun}, and ${given} were given`);
}

function parameterError(error: unknown, index: number, { name }: Codec): unknown {
  if (error instanceof ValueError) {
    return new InterfaceError(`Invalid value for $${index + 1} (${name}): ${error.message}`);
  }
  return error;
}

/** @throws InterfaceError: what follows a NUL would be read as the next field */
export function checkSql(sql: unknown): string {
  if (typeof sql !== 'string') throw new InterfaceError('A query is a string');
  if (sql.includes('\0')) throw new InterfaceError('The query has a NUL');
  return sql;
}

export function checkArguments(args: readonly unknown[]): void {
  if (args.length > maxParameters) {
    throw new InterfaceError(`${args.length} parameters; PostgreSQL takes ${maxParameters}`);
  }
}

export function writeParse(out: Writer, name: string, sql: string, oids: number[] = []): void {
  const mark = out.message(PARSE);
  out.cstring(name);
  out.cstring(sql);
  out.int16(oids.length);
  for (const oid of oids) out.int32(oid);
  out.endMessage(mark);
}

/** @param kind 'S' a statement, 'P' a portal */
function writeNamed(out: Writer, type: number, kind: 'S' | 'P', name: string): void {
  const mark = out.message(type);
  out.byte(kind.charCodeAt(0));
  out.cstring(name);
  out.endMessage(mark);
}

export function writeDescribe(out: Writer, name: string): void {
  writeNamed(out, DESCRIBE, 'S', name);
}

export function writeClose(out: Writer, kind: 'S' | 'P', name: string): void {
  writeNamed(out, CLOSE, kind, name);
}

/** @param limit 0: all rows */
export function writeExecute(out: Writer, limit: number, portal: string = ''): void {
  const mark = out.message(EXECUTE);
  out.cstring(portal);
  out.int32(limit);
  out.endMessage(mark);
}

export function writeSync(out: Writer): void {
  out.endMessage(out.message(SYNC));
}

export function writeFlush(out: Writer): void {
  out.endMessage(out.message(FLUSH));
}

export interface CacheLimits {
  readonly statementCacheSize: number;
  readonly statementCacheLifetimeMs: number;
  readonly maxCacheableStatementBytes: number;
}

/** Least recently used goes first. */
export class StatementCache {
  readonly limits: CacheLimits;
  readonly #now: () => number;
  readonly #bySql: Map<string, Statement> = new Map();
  /** Prepared by the user, who may still hold them. */
  readonly #held: Set<Statement> = new Set();
  #last: Statement | null = null;
  /** Names that the server may forget; told with the next request. */
  readonly toClose: string[] = [];
  #names = 0;

  constructor(limits: CacheLimits, now: () => number) {
    this.limits = limits;
    this.#now = now;
  }

  get size(): number {
    return this.#bySql.size;
  }

  get(sql: string): Statement | null {
    const last = this.#last;
    const statement = last !== null && last.sql === sql ? last : this.#bySql.get(sql);
    if (statement === undefined) return null;
    if (statement.expiresMs !== Infinity && statement.expiresMs < this.#now()) {
      this.delete(statement);
      return null;
    }
    if (statement !== last) {
      this.#bySql.delete(sql);
      this.#bySql.set(sql, statement);
      this.#last = statement;
    }
    return statement;
  }

  /** Whether a statement of this text is kept at all. */
  keeps(sql: string): boolean {
    const { statementCacheSize, maxCacheableStatementBytes } = this.limits;
    if (statementCacheSize === 0) return false;
    return maxCacheableStatementBytes === 0 || sql.length <= maxCacheableStatementBytes;
  }

  newName(): string {
    return `uvio_${++this.#names}`;
  }

  add(statement: Statement): void {
    const { statementCacheSize, statementCacheLifetimeMs } = this.limits;
    const old = this.#bySql.get(statement.sql);
    if (old !== undefined) this.delete(old);
    if (statementCacheLifetimeMs > 0) statement.expiresMs = this.#now() + statementCacheLifetimeMs;
    this.#bySql.set(statement.sql, statement);
    while (this.#bySql.size > statementCacheSize) {
      const [first] = this.#bySql.values();
      this.delete(first as Statement);
    }
  }

  delete(statement: Statement): void {
    if (this.#bySql.get(statement.sql) === statement) this.#bySql.delete(statement.sql);
    if (this.#last === statement) this.#last = null;
    this.release(statement);
  }

  /** Closed on the server unless somebody else holds it. */
  release(statement: Statement): void {
    const cached = this.#bySql.get(statement.sql) === statement;
    if (statement.closed || statement.name === '' || cached || statement.holders > 0) return;
    statement.closed = true;
    this.toClose.push(statement.name);
  }

  hold(statement: Statement): void {
    statement.holders++;
    this.#held.add(statement);
  }

  /** @param all there is nobody left who could use it */
  letGo(statement: Statement, all: boolean = false): void {
    if (!this.#held.has(statement)) return;
    statement.holders = all ? 0 : statement.holders - 1;
    if (statement.holders > 0) return;
    this.#held.delete(statement);
    this.release(statement);
  }

  /** Whoever had the session has it no longer. */
  letAllGo(): void {
    for (const statement of [...this.#held]) this.letGo(statement, true);
  }

  /** Not used again: those who hold it prepare it anew. */
  retire(statement: Statement): void {
    this.delete(statement);
    if (statement.closed || statement.name === '') return;
    statement.closed = true;
    this.toClose.push(statement.name);
  }

  /** @param known false: the server has forgotten them already (DISCARD ALL) */
  clear(known: boolean = true): void {
    for (const statement of [...this.#bySql.values(), ...this.#held]) this.retire(statement);
    if (!known) this.toClose.length = 0;
  }

  /** Written in front of the next messages. */
  writeCloses(out: Writer): void {
    for (const name of this.toClose) writeClose(out, 'S', name);
    this.toClose.length = 0;
  }
}
