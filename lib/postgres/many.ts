/**
 * One statement with many lists of arguments, in one round trip and one transaction.
 *
 * In: lists of arguments as they come. Out: nothing, or the rows of all. Never: a part that stays
 * when another one fails; more in memory than the transport takes.
 */
import type { PostgresError } from './errors.ts';
import { InterfaceError, ProtocolError } from './errors.ts';
import { Feeding, takeList } from './feeding.ts';
import * as proto from './protocol.ts';
import { RowsRequest } from './queries.ts';
import { type Begun, HOLD, type Request, type RequestOptions } from './request.ts';
import type { Session } from './session.ts';
import { type Statement, writeExecute, writeSync } from './statement.ts';
import type { Arguments } from './types.ts';

/** Messages are handed to the transport in pieces of about that size. */
const flushBytes = 32 * 1024;
/** A portal that is not there: to execute it is an error, which undoes all since the last Sync. */
const noPortal = 'uvio_no_such_portal';

class ManyRequest extends RowsRequest<unknown[]> {
  readonly feeding: Feeding = new Feeding();
  #fed = 0;
  #done = 0;
  #ended = false;

  constructor(session: Session, sql: string, collect: boolean, statement: Statement | null) {
    super('query', session, sql, [], statement);
    this.dropRows = !collect;
  }

  run(statement: Statement): Begun {
    this.shape = statement.shape;
    this.wake([]);
    return HOLD;
  }

  /** Writes one execution. @throws InterfaceError */
  feed(args: unknown): void {
    if (!Array.isArray(args)) throw new InterfaceError('Arguments of a query are an array');
    const { out } = this.wire;
    const statement = this.statement as Statement;
    try {
      statement.writeBind(out, args);
    } catch (error) {
      if (statement.refused) this.drop(statement);
      throw error;
    }
    writeExecute(out, 0);
    this.#fed++;
    if (out.length > flushBytes) this.wire.flush();
  }

  /** The end, also while arguments are fed. */
  ended(options: RequestOptions): Promise<unknown[]> {
    if (this.finished) {
      return this.failed ? Promise.reject(this.error) : Promise.resolve(this.list);
    }
    return this.start(options);
  }

  /** All were fed. */
  end(): void {
    if (this.active) this.#sync();
  }

  #sync(): void {
    if (this.#ended) return;
    this.#ended = true;
    writeSync(this.wire.out);
    this.wire.sent(this as Request<unknown>);
  }

  /** Undoes all, whatever the server has done of it. */
  override abandon(): void {
    if (this.#ended || this.phase !== 'running') return;
    writeExecute(this.wire.out, 0, noPortal);
    this.#sync();
  }

  override onRunning(type: number, at: number, end: number): void {
    super.onRunning(type, at, end);
    if (type === proto.COMMAND_COMPLETE || type === proto.EMPTY_QUERY) this.#done++;
  }

  override onServerError(error: PostgresError): void {
    super.onServerError(error);
    if (this.phase !== 'running') return;
    this.feeding.stop();
    this.wire.resumeWriting();
  }

  override onReady(): boolean {
    if (this.phase === 'running' && !this.failed) {
      if (this.#done !== this.#fed) throw new ProtocolError('it is ready before the result');
      return true;
    }
    return super.onReady();
  }

  override mayRetry(): boolean {
    return false;
  }

  result(): unknown[] {
    return this.list;
  }
}

async function feedAll(request: ManyRequest, args: Arguments): Promise<void> {
  const { feeding, wire } = request;
  const take = (one: unknown): Promise<void> | undefined => {
    request.feed(one);
    return wire.writable ? undefined : wire.drained();
  };
  if (!(Symbol.asyncIterator in args)) return await takeList(args, feeding, take);
  await feeding.all(args, (one) => {
    wire.flushSoon();
    return take(one);
  });
}

export function checkArgumentLists(args: unknown): void {
  const iterable = typeof args === 'object' && args !== null;
  if (!iterable || !(Symbol.iterator in args || Symbol.asyncIterator in args)) {
    throw new InterfaceError('The arguments must be an iterable of arrays');
  }
}

/** @param collect give the rows */
export async function runMany(
  session: Session,
  sql: string,
  args: Arguments,
  options: RequestOptions,
  collect: boolean,
  statement: Statement | null = null,
): Promise<unknown[]> {
  checkArgumentLists(args);
  const request = new ManyRequest(session, sql, collect, statement);
  await request.submit(options);
  const ended = request.ended(options);
  ended.catch(request.feeding.stop);
  try {
    await feedAll(request, args);
  } catch (error) {
    quit(request as Request<unknown>, error);
    throw error;
  }
  request.end();
  return await ended;
}

/** Its user has failed: ends it without a cancellation, and does not wait. */
export function quit(request: Request<unknown>, error: unknown): void {
  if (request.finished) return;
  request.failWith(error);
  request.disarm();
  request.abandoned = true;
  request.abandon();
  // Its wait ends now, though the server's answer comes later.
  request.fail(error);
}
