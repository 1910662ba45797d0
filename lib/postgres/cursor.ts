/**
 * Cursors: portals that give some rows at a time.
 *
 * In: a query, or a prepared statement. Out: rows. Never: more rows than were asked for, or
 * `prefetch`; a portal that stays open when the iteration ends early.
 */
import { checkInteger } from '../base/units.ts';
import { InterfaceError, ProtocolError } from './errors.ts';
import * as proto from './protocol.ts';
import { RowsRequest, SimpleRequest } from './queries.ts';
import { type Begun, Request, SENT } from './request.ts';
import type { Session } from './session.ts';
import { type Statement, writeClose, writeExecute, writeSync } from './statement.ts';
import type { Cursor } from './types.ts';

const defaultPrefetch = 50;

class PortalRequest extends RowsRequest<unknown[]> {
  readonly #portal: string;
  readonly #limit: number;
  readonly #open: boolean;
  exhausted = false;

  constructor(
    session: Session,
    sql: string,
    args: readonly unknown[],
    statement: Statement | null,
    portal: { readonly name: string; readonly limit: number; readonly open: boolean },
  ) {
    super('fetch', session, sql, args, statement);
    this.#portal = portal.name;
    this.#limit = portal.limit;
    this.#open = portal.open;
  }

  run(statement: Statement): Begun {
    const { out } = this.wire;
    this.shape = statement.shape;
    this.bound = this.#open;
    if (!this.#open) statement.writeBind(out, this.args, this.#portal);
    if (this.#limit > 0) writeExecute(out, this.#limit, this.#portal);
    else this.completed = true;
    writeSync(out);
    return SENT;
  }

  override onRunning(type: number, at: number, end: number): void {
    super.onRunning(type, at, end);
    if (type === proto.COMMAND_COMPLETE) this.exhausted = true;
  }

  override mayRetry(idleBefore: boolean): boolean {
    return !this.#open && super.mayRetry(idleBefore);
  }

  result(): unknown[] {
    return this.takeList();
  }
}

class ClosePortalRequest extends Request<void> {
  readonly #portal: string;

  constructor(session: Session, portal: string) {
    super('close', session.wire, '', []);
    this.#portal = portal;
  }

  send(): Begun {
    this.completed = true;
    writeClose(this.wire.out, 'P', this.#portal);
    writeSync(this.wire.out);
    return SENT;
  }

  onMessage(type: number): void {
    throw new ProtocolError(`a message '${String.fromCharCode(type)}' after Close`);
  }

  result(): void {}
}

export class SessionCursor<R> implements Cursor<R> {
  readonly #session: () => Session;
  readonly #sql: string;
  readonly #args: readonly unknown[];
  #statement: Statement | null;
  #portal: string | null = null;
  #exhausted = false;
  #prefetch = defaultPrefetch;

  constructor(
    session: () => Session,
    sql: string,
    args: readonly unknown[],
    statement: Statement | null,
  ) {
    this.#session = session;
    this.#sql = sql;
    this.#args = args;
    this.#statement = statement;
  }

  prefetch(rows: number): this {
    this.#prefetch = checkInteger('rows', rows, 1, 2 ** 31 - 1);
    return this;
  }

  async fetch(rows: number): Promise<R[]> {
    checkInteger('rows', rows, 1, 2 ** 31 - 1);
    return await this.#fetch(rows);
  }

  async fetchRow(): Promise<R | null> {
    const [row = null] = await this.#fetch(1);
    return row;
  }

  async forward(rows: number): Promise<number> {
    checkInteger('rows', rows, 0, 2 ** 31 - 1);
    if (this.#portal === null) await this.#fetch(0);
    if (this.#exhausted || rows === 0) return 0;
    const sql = `MOVE FORWARD ${rows} "${this.#portal}"`;
    const tag = await new SimpleRequest(this.#checked().wire, sql).submit();
    const moved = Number(tag.split(' ')[1]);
    if (moved < rows) this.#exhausted = true;
    return moved;
  }

  #checked(): Session {
    const session = this.#session();
    if (!session.inTransaction) {
      throw new InterfaceError('A cursor can only be used inside a transaction');
    }
    return session;
  }

  async #fetch(limit: number): Promise<R[]> {
    const session = this.#checked();
    if (this.#exhausted) return [];
    const open = this.#portal !== null;
    this.#portal ??= `uvio_p${++session.portals}`;
    const request = new PortalRequest(session, this.#sql, this.#args, this.#statement, {
      name: this.#portal,
      limit,
      open,
    });
    const rows = (await request.submit()) as R[];
    this.#statement = request.statement;
    this.#exhausted = request.exhausted;
    return rows;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<R> {
    try {
      for (;;) {
        const rows = await this.#fetch(this.#prefetch);
        yield* rows;
        if (rows.length < this.#prefetch || this.#exhausted) return;
      }
    } finally {
      if (this.#portal !== null) this.#close(this.#portal);
    }
  }

  /** Nobody waits for it, and in a transaction that has failed there is nothing to close. */
  #close(portal: string): void {
    this.#exhausted = true;
    const session = this.#session();
    if (session.wire.closed || session.wire.status !== proto.IN_TRANSACTION) return;
    new ClosePortalRequest(session, portal).submit().catch(() => {});
  }
}
