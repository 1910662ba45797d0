/**
 * One exchange with the server: what is sent, and whom the answers belong to.
 *
 * In: messages of the server, from `send` to ReadyForQuery. Out: a result or an error for the one
 * who waits. Never: an answer that belongs to another request; a wait that ends before the
 * connection can be used again, unless it was cancelled.
 */
import { TimeoutError, type WaitOptions } from '../base/errors.ts';
import { Waiter } from '../task/waiter.ts';
import { type PostgresConnectionError, PostgresError, ProtocolError } from './errors.ts';
import type { Wire } from './wire.ts';

/** What `send` says. */
export type Begun = 0 | 1 | 2 | 3;
/** All is written; the next request may write. */
export const SENT = 0;
/** More will be written: nothing of others may come between. `wire.sent` ends that. */
export const HOLD = 1;
/** Nothing was written: the request has failed already. */
export const NOTHING = 2;
/** Nothing was written: it must be the only one in flight. */
export const LATER = 3;

export interface RequestOptions extends WaitOptions {
  timeoutMs?: number | undefined;
}

const QUERY_CANCELED = '57014';

export abstract class Request<T> extends Waiter<T> {
  readonly wire: Wire;
  readonly sql: string;
  readonly args: readonly unknown[];
  /** What it ends with, once the server is ready again. */
  error: unknown;
  failed: boolean;
  /** Nobody waits any more: answers are read and dropped. */
  abandoned: boolean;
  /** ReadyForQuery came. */
  finished: boolean;
  /** Error-free end of the last command: a result was complete. */
  completed: boolean;
  /** Bytes were written for it. */
  begun: boolean;
  retried: boolean;
  /** Of its answer, at least; 0: not known. */
  answerBytes: number;
  #timer: number;
  #timeoutMs: number;
  startedMs: number;

  constructor(label: string, wire: Wire, sql: string, args: readonly unknown[]) {
    super(label);
    this.wire = wire;
    this.sql = sql;
    this.args = args;
    this.error = null;
    this.failed = false;
    this.abandoned = false;
    this.finished = false;
    this.completed = false;
    this.begun = false;
    this.retried = false;
    this.answerBytes = 0;
    this.#timer = -1;
    this.#timeoutMs = Infinity;
    this.startedMs = 0;
  }

  /** Writes what comes first. */
  abstract send(): Begun;
  /** A message that is not about the connection as a whole. */
  abstract onMessage(type: number, at: number, end: number): void;
  /** What the one who waits gets. */
  abstract result(): T;

  /** Reads the DataRow messages that begin at `at`; gives where it stopped. */
  rows(at: number, _end: number): number {
    return at;
  }

  /** Joins the queue of the connection, and waits for the end. */
  submit(options?: RequestOptions): Promise<T> {
    const promise = this.start(options);
    if (!this.active) return promise;
    const timeoutMs = options?.timeoutMs ?? this.wire.commandTimeoutMs;
    if (timeoutMs !== Infinity) this.limit(timeoutMs);
    if (this.wire.observed) this.startedMs = performance.now();
    this.wire.enqueue(this as Request<unknown>);
    return promise;
  }

  /** The same for one that nobody waits for, but those behind it. */
  submitDetached(timeoutMs: number, onError: (error: unknown) => void): void {
    this.begin(null).catch(onError);
    this.limit(timeoutMs);
    this.wire.enqueue(this as Request<unknown>);
  }

  /** A time limit from now on. */
  limit(timeoutMs: number): void {
    const { loop } = this.wire;
    this.#timeoutMs = timeoutMs;
    this.#timer = loop.armTimer(loop.time() + timeoutMs, this);
  }

  onTimer(): void {
    this.#timer = -1;
    const error = new TimeoutError(`No answer to the query within ${this.#timeoutMs} ms`);
    if (this.active) {
      this.onCancel();
      this.fail(error);
    } else if (!this.finished) {
      // Between two waits of its user, who hears of it at the next one.
      this.failWith(error);
      this.wire.giveUp(this as Request<unknown>);
    }
  }

  override onCancel(): void {
    this.disarm();
    this.wire.giveUp(this as Request<unknown>);
  }

  disarm(): void {
    if (this.#timer !== -1) this.wire.loop.cancelTimer(this.#timer);
    this.#timer = -1;
  }

  /** The first error counts. */
  failWith(error: unknown): void {
    if (this.failed) return;
    this.failed = true;
    this.error = error;
  }

  onServerError(error: PostgresError): void {
    this.failWith(error);
  }

  /** ReadyForQuery. False: it goes on with something else. */
  onReady(): boolean {
    if (!this.failed && !this.completed) {
      throw new ProtocolError('it is ready before the result is complete');
    }
    return true;
  }

  /** Its answer has ended. @param _bytes its length */
  measure(_bytes: number): void {}

  /** It may run once more, as the server has done nothing, and not by the user's doing. */
  mayRetry(idleBefore: boolean): boolean {
    if (!this.failed || this.retried || this.abandoned || !idleBefore) return false;
    if (!(this.error instanceof PostgresError)) return false;
    // A cancellation that was meant for another one.
    return this.error.code === QUERY_CANCELED && this.wire.strayCancel;
  }

  /** Back to before `send`. */
  again(): void {
    this.retried = true;
    this.failed = false;
    this.error = null;
    this.completed = false;
  }

  /** The connection is ready for others. */
  finish(): void {
    this.finished = true;
    this.disarm();
    if (this.wire.observed) this.wire.observe(this as Request<unknown>);
    if (this.failed) {
      this.fail(this.error);
      return;
    }
    let result: T;
    try {
      result = this.result();
    } catch (error) {
      this.fail(error);
      return;
    }
    this.wake(result);
  }

  /** The connection is gone. */
  lost(error: PostgresConnectionError): void {
    this.failWith(error);
    this.finished = true;
    this.disarm();
    if (this.wire.observed) this.wire.observe(this as Request<unknown>);
    this.fail(this.error);
  }

  /** The user is gone, and the server waits for more of us: end it. */
  abandon(): void {}
}
