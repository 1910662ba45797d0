/**
 * Requests that need a prepared statement: they find it, or prepare it on their way.
 *
 * In: a query. Out: a statement whose types are known. Never: a round trip for a statement that is
 * known; an unnamed Parse while others are in flight; a Sync between the Parse and the Bind of an
 * unnamed statement, since a pooler may change the server there.
 *
 * Preparing: Parse, Describe, Flush; the answer names the types. Unknown ones are asked for (Sync,
 * then queries of pg_type, each a Sync of its own), then comes the work itself.
 */
import type { Buffer } from 'node:buffer';
import { firstUserOid, infoFromRow, introspectionOids, introspectionQuery } from './catalog.ts';
import type { Codec } from './codecs/codec.ts';
import { PostgresError, ProtocolError } from './errors.ts';
import * as proto from './protocol.ts';
import { type Begun, HOLD, LATER, NOTHING, Request, SENT } from './request.ts';
import { shapeOf } from './rows.ts';
import type { Session } from './session.ts';
import {
  type Column,
  checkArguments,
  checkSql,
  Statement,
  writeDescribe,
  writeExecute,
  writeFlush,
  writeParse,
  writeSync,
} from './statement.ts';

type Phase = 'preparing' | 'syncing' | 'asking' | 'running' | 'failing';

/** SQLSTATEs after which a statement must be prepared anew. */
const FEATURE_NOT_SUPPORTED = '0A000';
const INVALID_STATEMENT_NAME = '26000';

/**
 * What the server says of a statement whose parameters have another type by now: it keeps the one
 * of the first time. datatype_mismatch, undefined_function, cannot_coerce, ambiguous_function
 */
const otherTypes: ReadonlySet<string> = new Set(['42804', '42883', '42846', '42725']);

function isOutdated(error: unknown): boolean {
  if (!(error instanceof PostgresError)) return false;
  if (error.code === INVALID_STATEMENT_NAME) return true;
  return error.code === FEATURE_NOT_SUPPORTED && /cached plan/.test(error.message);
}

/** At most that many queries of pg_type for one statement: types nest, but not for ever. */
const maxQuestions = 32;

/** What only those need that prepare their statement: most find theirs. */
class Preparation {
  name = '';
  parameterOids: number[] = [];
  columns: Column[] | null = null;
  asked: ReadonlySet<number> = new Set();
  questions = 0;
  answers: unknown[] = [];
}

export abstract class StatementRequest<T> extends Request<T> {
  readonly session: Session;
  statement: Statement | null;
  phase: Phase;
  #preparation: Preparation | null;

  constructor(
    label: string,
    session: Session,
    sql: string,
    args: readonly unknown[],
    statement: Statement | null,
  ) {
    super(label, session.wire, sql, args);
    this.session = session;
    this.statement = statement;
    this.phase = 'preparing';
    this.#preparation = null;
  }

  private get prepared(): Preparation {
    this.#preparation ??= new Preparation();
    return this.#preparation;
  }

  /** The statement is there: write what is to be done with it. @throws InterfaceError */
  abstract run(statement: Statement): Begun;
  abstract onRunning(type: number, at: number, end: number): void;

  /** Named, though it will not be kept in the cache. */
  get wantsName(): boolean {
    return false;
  }

  send(): Begun {
    const { statements } = this.session;
    const { out } = this.wire;
    if (statements.toClose.length > 0) statements.writeCloses(out);
    const given = this.statement?.closed === false ? this.statement : null;
    const known = given ?? statements.get(this.sql);
    if (known !== null) {
      this.statement = known;
      this.phase = 'running';
      try {
        return this.run(known);
      } catch (error) {
        // Perhaps its parameters have other types by now: a column was altered, or a composite.
        if (!known.refused) {
          this.failWith(error);
          return NOTHING;
        }
        this.drop(known);
      }
    }
    try {
      checkSql(this.sql);
      checkArguments(this.args);
    } catch (error) {
      this.failWith(error);
      return NOTHING;
    }
    const named = this.wantsName || statements.keeps(this.sql);
    // pgbouncer changes the server at each ReadyForQuery, also when it has passed on a Parse
    // whose Sync follows later: the answer would then reach another client.
    if (!named && !this.wire.alone) return LATER;
    this.#prepare();
    return HOLD;
  }

  /** It is prepared anew by whoever needs it, and the types of the user are asked for. */
  drop(statement: Statement): void {
    this.session.statements.retire(statement);
    if (statement.parameterOids.some((oid) => oid >= firstUserOid)) this.session.suspectTypes();
  }

  #prepare(): void {
    const { out } = this.wire;
    this.phase = 'preparing';
    this.prepared.parameterOids = [];
    this.prepared.columns = null;
    const named = this.wantsName || this.session.statements.keeps(this.sql);
    const name = named ? this.session.statements.newName() : '';
    this.statement = null;
    this.prepared.name = name;
    writeParse(out, name, this.sql);
    writeDescribe(out, name);
    writeFlush(out);
    this.wire.flushSoon();
  }

  onMessage(type: number, at: number, end: number): void {
    if (this.phase === 'running') {
      this.onRunning(type, at, end);
    } else if (this.phase === 'preparing') {
      this.#onPreparing(type, at, end);
    } else if (this.phase === 'asking') {
      this.#onAsking(type, at, end);
    } else if (this.phase === 'syncing') {
      throw new ProtocolError(`a message '${String.fromCharCode(type)}' in place of ready`);
    }
  }

  #onPreparing(type: number, at: number, end: number): void {
    const body = this.wire.buffer.subarray(at, end);
    if (type === proto.PARSE_COMPLETE) return;
    if (type === proto.PARAMETER_DESCRIPTION) {
      this.prepared.parameterOids = readOids(body);
    } else if (type === proto.ROW_DESCRIPTION || type === proto.NO_DATA) {
      this.prepared.columns = type === proto.NO_DATA ? null : readColumns(body);
      this.#described();
    } else {
      throw new ProtocolError(`a message '${String.fromCharCode(type)}' after Parse`);
    }
  }

  /** All is known of the statement but perhaps its types. */
  #described(): void {
    const missing = new Set<number>();
    const { codecs } = this.session;
    const find = (oid: number): Codec | undefined => codecs.find(oid, missing);
    const parameters = this.prepared.parameterOids.map(find);
    const columns = this.prepared.columns?.map(({ oid }) => find(oid)) ?? [];
    codecs.addSeen(missing);
    const { out } = this.wire;
    if (missing.size > 0 && !this.abandoned) {
      this.prepared.asked = missing;
      this.phase = 'syncing';
      writeSync(out);
      this.wire.flushSoon();
      return;
    }
    const statement = new Statement(
      this.sql,
      this.prepared.name,
      this.prepared.parameterOids,
      this.prepared.columns,
    );
    if (missing.size === 0) {
      const { parsers } = this.wire.loop.backendHandle;
      statement.use(parameters as Codec[], columns as Codec[], parsers);
    }
    this.statement = statement;
    if (this.prepared.name !== '' && this.session.statements.keeps(this.sql)) {
      this.session.statements.add(statement);
    }
    this.#start(statement);
  }

  #start(statement: Statement): void {
    this.phase = 'running';
    if (this.abandoned) {
      this.#giveUp(null);
      return;
    }
    let begun: Begun;
    try {
      begun = this.run(statement);
    } catch (error) {
      this.#giveUp(error);
      return;
    }
    this.wire.flushSoon();
    if (begun === SENT) this.wire.sent(this as Request<unknown>);
  }

  /** Only Sync, and the error once the server is ready. */
  #giveUp(error: unknown): void {
    this.failWith(error);
    this.phase = 'failing';
    writeSync(this.wire.out);
    this.wire.sent(this as Request<unknown>);
  }

  override onServerError(error: PostgresError): void {
    super.onServerError(error);
    const { phase } = this;
    if (phase === 'preparing') {
      this.phase = 'failing';
      writeSync(this.wire.out);
      this.wire.sent(this as Request<unknown>);
    } else if (phase === 'asking' || phase === 'syncing') {
      this.phase = 'failing';
      this.wire.sent(this as Request<unknown>);
    } else if (this.statement !== null) {
      if (isOutdated(error)) this.session.statements.delete(this.statement);
      else if (otherTypes.has(error.code)) this.drop(this.statement);
    }
  }

  override onReady(): boolean {
    if (this.phase === 'failing') return true;
    if (this.phase === 'syncing') {
      this.#ask();
      return false;
    }
    if (this.phase === 'asking') {
      this.#answered();
      return false;
    }
    if (this.phase === 'preparing') throw new ProtocolError('it is ready before the description');
    return super.onReady();
  }

  override mayRetry(idleBefore: boolean): boolean {
    if (!idleBefore || this.retried || this.abandoned || !this.failed) return false;
    return (isOutdated(this.error) && !this.wantsName) || super.mayRetry(idleBefore);
  }

  override again(): void {
    super.again();
    this.statement = null;
  }

  // --- Questions about types

  #ask(): void {
    if (this.abandoned || ++this.prepared.questions > maxQuestions) {
      this.#giveUp(this.abandoned ? null : new Error('The types of the query nest too deeply'));
      return;
    }
    const { out } = this.wire;
    const { codecs } = this.session;
    this.phase = 'asking';
    this.prepared.answers = [];
    const version = this.session.serverVersion.major;
    writeParse(out, '', introspectionQuery(version >= 14), [1028]);
    const question = new Statement('', '', [1028], null);
    question.use(
      [codecs.find(1028, new Set()) as Codec],
      introspectionOids.map((oid) => codecs.find(oid, new Set()) as Codec),
    );
    question.writeBind(out, [[...this.prepared.asked]]);
    writeExecute(out, 0);
    writeSync(out);
    this.wire.flushSoon();
  }

  #onAsking(type: number, at: number, end: number): void {
    if (type === proto.DATA_ROW) {
      const found = introspectionOids.map((oid) => this.session.codecs.find(oid, new Set()));
      const names = introspectionOids.map((_, i) => `c${i}`);
      const { run } = shapeOf(names, found as Codec[]);
      run(this.wire.buffer, this.wire.view, at - 5, end, this.prepared.answers, 1);
    } else if (
      type !== proto.PARSE_COMPLETE &&
      type !== proto.BIND_COMPLETE &&
      type !== proto.COMMAND_COMPLETE
    ) {
      throw new ProtocolError(`a message '${String.fromCharCode(type)}' about types`);
    }
  }

  #answered(): void {
    const { codecs } = this.session;
    for (const row of this.prepared.answers) {
      codecs.catalog.add(infoFromRow([...(row as Iterable<unknown>)]));
    }
    codecs.asked(this.prepared.asked);
    const missing = new Set<number>();
    for (const oid of this.prepared.parameterOids) codecs.find(oid, missing);
    for (const { oid } of this.prepared.columns ?? []) codecs.find(oid, missing);
    codecs.addSeen(missing);
    this.prepared.asked = missing;
    if (missing.size > 0) {
      this.#ask();
    } else if (this.prepared.name === '') {
      // The questions have taken its place.
      this.#prepare();
    } else {
      this.#described();
    }
  }
}

function readOids(body: Buffer): number[] {
  const count = body.length < 2 ? -1 : body.readUInt16BE(0);
  if (body.length !== 2 + count * 4) throw new ProtocolError('a list of parameters');
  const oids: number[] = [];
  for (let i = 0; i < count; i++) oids.push(body.readUInt32BE(2 + i * 4));
  return oids;
}

/** Name, then 18 bytes of which the type's oid begins at the seventh. */
export function readColumns(body: Buffer): Column[] {
  const count = body.length < 2 ? -1 : body.readUInt16BE(0);
  const columns: Column[] = [];
  let at = 2;
  for (let i = 0; i < count; i++) {
    const end = body.indexOf(0, at);
    if (end < 0 || end + 19 > body.length) throw new ProtocolError('a list of columns');
    columns.push({ name: body.toString('utf8', at, end), oid: body.readUInt32BE(end + 7) });
    at = end + 19;
  }
  if (count < 0 || at !== body.length) throw new ProtocolError('a list of columns');
  return columns;
}
