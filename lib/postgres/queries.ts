/**
 * Queries: with a prepared statement, and simple ones.
 *
 * In: a query and its arguments. Out: rows, a value, or the command tag. Never: rows of a query
 * that was cancelled.
 */
import { FieldError, readLatin1 } from './codecs/codec.ts';
import { InterfaceError, PostgresConnectionError, ProtocolError } from './errors.ts';
import * as proto from './protocol.ts';
import { type Begun, Request, SENT } from './request.ts';
import type { RowShape } from './rows.ts';
import type { Session } from './session.ts';
import { type Statement, writeExecute, writeSync } from './statement.ts';
import { StatementRequest } from './statement-request.ts';
import type { Wire } from './wire.ts';

/** 'INSERT 0 1' */
export function readTag(wire: Wire, at: number, end: number): string {
  if (end <= at || wire.buffer[end - 1] !== 0) throw new ProtocolError('a command tag without end');
  const tag = readLatin1(wire.buffer, at, end - 1);
  if (tag === 'DISCARD ALL' || tag === 'DEALLOCATE ALL') wire.events?.discarded();
  return tag;
}

/** The server began a COPY for a query that is none of ours. */
const copyMistake = 'COPY needs the copy… methods of the connection';

export function writeCopyFail(wire: Wire, reason: string): void {
  const mark = wire.out.message(proto.COPY_FAIL);
  wire.out.cstring(reason);
  wire.out.endMessage(mark);
  wire.flushSoon();
}

/** What a query's waiter wants of the rows. */
export type Wanted = 'rows' | 'row' | 'value' | 'tag';

const noRows: unknown[] = [];

export abstract class RowsRequest<T> extends StatementRequest<T> {
  shape: RowShape | null;
  list: unknown[];
  tag: string;
  /** Rows are dropped. */
  dropRows: boolean;
  /** A portal is being read: between BindComplete and the end of its result. */
  bound: boolean;

  constructor(
    label: string,
    session: Session,
    sql: string,
    args: readonly unknown[],
    statement: Statement | null,
  ) {
    super(label, session, sql, args, statement);
    this.shape = null;
    this.list = [];
    this.tag = '';
    this.dropRows = false;
    this.bound = false;
  }

  override rows(at: number, end: number): number {
    const { shape } = this;
    if (shape === null || !this.bound || this.failed || this.abandoned || this.dropRows) return at;
    const { buffer, view } = this.wire;
    try {
      return shape.run(buffer, view, at, end, this.list, Infinity);
    } catch (error) {
      if (error instanceof PostgresConnectionError) throw error;
      // A codec, or a field that is not of its type: the rest is read, and dropped.
      if (error instanceof FieldError) {
        this.session.forgetTypes();
        if (this.statement !== null) this.session.statements.retire(this.statement);
      }
      this.failWith(error);
      return at;
    }
  }

  onRunning(type: number, at: number, end: number): void {
    switch (type) {
      case proto.BIND_COMPLETE:
        if (this.bound) throw new ProtocolError('a second Bind before the end of a result');
        this.bound = true;
        return;
      case proto.DATA_ROW:
        if (!this.bound) throw new ProtocolError('a row outside of a result');
        if (this.shape === null && !this.failed) throw new ProtocolError('a row of no columns');
        if (!this.failed && !this.abandoned && !this.dropRows) {
          throw new ProtocolError('a row whose fields do not fill its message');
        }
        return;
      case proto.COMMAND_COMPLETE:
        this.endResult();
        this.tag = readTag(this.wire, at, end);
        return;
      case proto.PORTAL_SUSPENDED:
      case proto.EMPTY_QUERY:
        this.endResult();
        return;
      case proto.COPY_IN:
        this.failWith(new InterfaceError(copyMistake));
        writeCopyFail(this.wire, copyMistake);
        writeSync(this.wire.out);
        return;
      case proto.COPY_OUT:
        this.failWith(new InterfaceError(copyMistake));
        return;
      case proto.COPY_DATA:
      case proto.COPY_DONE:
        if (this.failed) return;
    }
    throw new ProtocolError(`a message '${String.fromCharCode(type)}' in a result`);
  }

  /** One for each Bind, and not before it. */
  private endResult(): void {
    if (!this.bound) throw new ProtocolError('the end of a result that did not begin');
    this.bound = false;
    this.completed = true;
  }

  /**
   * The rows, which are the user's from now on. A request that kept them would keep them longer
   * than needed: the set of waits it was in leaves its old tables, which point to each other, to
   * the garbage collector, and once one of them is old all that come after it grow old, too. Half
   * of the time of large results went into that.
   */
  takeList(): unknown[] {
    const { list } = this;
    this.list = noRows;
    return list;
  }

  override again(): void {
    super.again();
    this.bound = false;
    this.list = [];
  }
}

/** One query with arguments. */
export class QueryRequest<T> extends RowsRequest<T> {
  readonly #wanted: Wanted;

  constructor(
    session: Session,
    sql: string,
    args: readonly unknown[],
    wanted: Wanted,
    statement: Statement | null,
  ) {
    super('query', session, sql, args, statement);
    this.#wanted = wanted;
    this.dropRows = wanted === 'tag';
  }

  run(statement: Statement): Begun {
    const { out } = this.wire;
    this.shape = statement.shape;
    this.answerBytes = statement.answerBytes;
    statement.writeBind(out, this.args);
    // One row is enough for a row and for a value.
    writeExecute(out, this.#wanted === 'row' || this.#wanted === 'value' ? 1 : 0);
    writeSync(out);
    return SENT;
  }

  override measure(bytes: number): void {
    if (!this.failed) this.statement?.answered(bytes);
  }

  result(): T {
    const list = this.takeList();
    switch (this.#wanted) {
      case 'rows':
        return list as T;
      case 'row':
        return (list[0] ?? null) as T;
      case 'value':
        return (list.length === 0 ? null : firstOf(list[0])) as T;
      default:
        return this.tag as T;
    }
  }
}

function firstOf(row: unknown): unknown {
  const [value = null] = row as Iterable<unknown>;
  return value;
}

/** Any number of statements without arguments, by the simple protocol. */
export class SimpleRequest extends Request<string> {
  tag = '';

  constructor(wire: Wire, sql: string) {
    super('query', wire, sql, []);
  }

  send(): Begun {
    const { out } = this.wire;
    const mark = out.message(proto.QUERY);
    out.cstring(this.sql);
    out.endMessage(mark);
    return SENT;
  }

  onMessage(type: number, at: number, end: number): void {
    switch (type) {
      case proto.COMMAND_COMPLETE:
        this.tag = readTag(this.wire, at, end);
        this.completed = true;
        return;
      case proto.EMPTY_QUERY:
        this.completed = true;
        return;
      case proto.COPY_IN:
        this.failWith(new InterfaceError(copyMistake));
        writeCopyFail(this.wire, copyMistake);
        return;
      case proto.COPY_OUT:
        this.failWith(new InterfaceError(copyMistake));
        return;
      case proto.ROW_DESCRIPTION:
      case proto.DATA_ROW:
        return;
      case proto.COPY_DATA:
      case proto.COPY_DONE:
        if (this.failed) return;
    }
    throw new ProtocolError(`a message '${String.fromCharCode(type)}' in a result`);
  }

  result(): string {
    return this.tag;
  }
}

/** Waits until all that was asked before is answered. */
export class SyncRequest extends Request<void> {
  constructor(wire: Wire) {
    super('sync', wire, '', []);
  }

  send(): Begun {
    this.completed = true;
    writeSync(this.wire.out);
    return SENT;
  }

  onMessage(type: number): void {
    throw new ProtocolError(`a message '${String.fromCharCode(type)}' after Sync`);
  }

  result(): void {}
}

/** Prepares, and waits for nothing else. */
export class PrepareRequest extends StatementRequest<Statement> {
  constructor(session: Session, sql: string) {
    super('prepare', session, sql, [], null);
  }

  override get wantsName(): boolean {
    return true;
  }

  run(): Begun {
    this.completed = true;
    writeSync(this.wire.out);
    return SENT;
  }

  onRunning(type: number): void {
    throw new ProtocolError(`a message '${String.fromCharCode(type)}' after a description`);
  }

  result(): Statement {
    return this.statement as Statement;
  }
}
