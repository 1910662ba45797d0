/**
 * Every error class and code of uvio, and system errors of Node's own shape.
 *
 * In: errno values and names. Out: error objects. Never: throwing by itself; knowledge of who asks.
 */
import { getSystemErrorMap, inspect } from 'node:util';

/** Any value or a promise of it. */
export type Awaitable<T> = T | PromiseLike<T>;

/** Bytes going in: strings are UTF-8. */
export type Data = string | Uint8Array;

/** The last argument of every call that waits. */
export interface WaitOptions {
  /** When it aborts, the wait rejects with `signal.reason`, as `fetch` does. */
  signal?: AbortSignal | undefined;
}

/** Puts the class name where `toString`, stacks and inspectors look, without an own property. */
function nameClass(errorClass: { prototype: Error; name: string }): void {
  const descriptor = { value: errorClass.name, configurable: true, writable: true };
  Object.defineProperty(errorClass.prototype, 'name', descriptor);
}

/**
 * Thrown inside a cancelled task at its next wait. Rethrow it after cleaning up.
 * (asyncio.CancelledError, trio.Cancelled)
 */
export class CancelledError extends Error {
  declare readonly name: 'CancelledError';
  /** The code Node's own APIs use for an abort. */
  readonly code: 'ABORT_ERR' = 'ABORT_ERR';
  /** What was given to `cancel(reason)`. */
  readonly reason: unknown;

  constructor(
    message: string = 'The task was cancelled',
    options?: { reason?: unknown; cause?: unknown },
  ) {
    super(message, options);
    this.reason = options?.reason;
  }
}

/** True for `CancelledError` and for every error that Node or the Web calls an abort. */
export function isCancelled(error: unknown): boolean {
  if (error instanceof CancelledError) return true;
  if (typeof error !== 'object' || error === null) return false;
  const { name, code } = error as { name?: unknown; code?: unknown };
  return name === 'AbortError' || code === 'ABORT_ERR';
}

/** A time limit passed. `cause`: the CancelledError that ended the work. (asyncio.TimeoutError) */
export class TimeoutError extends Error {
  declare readonly name: 'TimeoutError';
  readonly code: 'ETIMEDOUT' = 'ETIMEDOUT';

  constructor(message: string = 'The time limit passed', options?: { cause?: unknown }) {
    super(message, options);
  }
}

/**
 * Several errors of one task group. Always used by groups, also for a single error.
 * (PEP 654 ExceptionGroup)
 */
export class ExceptionGroup extends AggregateError {
  readonly code: 'ERR_UVIO_GROUP' = 'ERR_UVIO_GROUP';

  constructor(errors: Iterable<unknown>, message?: string) {
    const list = [...errors];
    super(list, message ?? `${list.length} error${list.length === 1 ? '' : 's'} in a task group`);
  }

  /** Splits by leaf error into [matching, rest]; the nesting is kept; an empty part is null. */
  split(match: (error: unknown) => boolean): [ExceptionGroup | null, ExceptionGroup | null] {
    // An explicit stack: groups may be nested deeper than the call stack allows.
    const open: SplitFrame[] = [{ group: this, index: 0, matching: [], rest: [] }];
    for (;;) {
      const frame = open[open.length - 1] as SplitFrame;
      if (frame.index < frame.group.errors.length) {
        const error: unknown = frame.group.errors[frame.index++];
        if (error instanceof ExceptionGroup) {
          open.push({ group: error, index: 0, matching: [], rest: [] });
        } else {
          (match(error) ? frame.matching : frame.rest).push(error);
        }
        continue;
      }
      open.pop();
      const matching = derive(frame.group, frame.matching);
      const rest = derive(frame.group, frame.rest);
      const parent = open[open.length - 1];
      if (parent === undefined) return [matching, rest];
      if (matching !== null) parent.matching.push(matching);
      if (rest !== null) parent.rest.push(rest);
    }
  }

  /** The part of the group whose leaf errors match, or null. */
  subgroup(match: (error: unknown) => boolean): ExceptionGroup | null {
    return this.split(match)[0];
  }

  /** All leaf errors, depth first. */
  leaves(): unknown[] {
    const found: unknown[] = [];
    const pending: unknown[] = [this];
    while (pending.length > 0) {
      const error = pending.pop();
      if (error instanceof ExceptionGroup) {
        for (let i = error.errors.length - 1; i >= 0; i--) pending.push(error.errors[i]);
      } else {
        found.push(error);
      }
    }
    return found;
  }
}

interface SplitFrame {
  readonly group: ExceptionGroup;
  index: number;
  readonly matching: unknown[];
  readonly rest: unknown[];
}

/** The same group with only these errors: message, cause and stack stay, as in PEP 654. */
function derive(group: ExceptionGroup, errors: unknown[]): ExceptionGroup | null {
  if (errors.length === 0) return null;
  const part = new ExceptionGroup(errors, group.message);
  if (group.cause !== undefined) part.cause = group.cause;
  if (group.stack !== undefined) part.stack = group.stack;
  return part;
}

/** A future, task or loop is not in a state that allows the call. */
export class InvalidStateError extends Error {
  readonly code: 'ERR_INVALID_STATE' = 'ERR_INVALID_STATE';

  constructor(message: string = 'Invalid state', options?: { cause?: unknown }) {
    super(message, options);
  }
}

/** A `…Nowait` call could not finish at once. (trio.WouldBlock) */
export class WouldBlock extends Error {
  readonly code: string;

  constructor(
    message: string = 'The call would have to wait',
    code: string = 'ERR_UVIO_WOULD_BLOCK',
  ) {
    super(message);
    this.code = code;
  }
}

/** `getNowait` on an empty queue. */
export class QueueEmpty extends WouldBlock {
  constructor(message: string = 'The queue is empty') {
    super(message, 'ERR_UVIO_QUEUE_EMPTY');
  }
}

/** `putNowait` on a full queue. */
export class QueueFull extends WouldBlock {
  constructor(message: string = 'The queue is full') {
    super(message, 'ERR_UVIO_QUEUE_FULL');
  }
}

/** The queue was shut down. */
export class QueueShutDown extends Error {
  readonly code: 'ERR_UVIO_QUEUE_SHUT_DOWN' = 'ERR_UVIO_QUEUE_SHUT_DOWN';

  constructor(message: string = 'The queue was shut down') {
    super(message);
  }
}

/** The barrier was reset or aborted while a task waited. */
export class BrokenBarrierError extends Error {
  readonly code: 'ERR_UVIO_BROKEN_BARRIER' = 'ERR_UVIO_BROKEN_BARRIER';

  constructor(message: string = 'The barrier is broken') {
    super(message);
  }
}

/** The object was closed on this side. (trio.ClosedResourceError) */
export class ClosedResourceError extends Error {
  readonly code: 'ERR_UVIO_CLOSED' = 'ERR_UVIO_CLOSED';

  constructor(message: string = 'Closed on this side', options?: { cause?: unknown }) {
    super(message, options);
  }
}

/** The other side is gone, or the resource failed; `cause` says why. (trio.BrokenResourceError) */
export class BrokenResourceError extends Error {
  readonly code: 'ERR_UVIO_BROKEN' = 'ERR_UVIO_BROKEN';

  constructor(message: string = 'The resource is broken', options?: { cause?: unknown }) {
    super(message, options);
  }
}

/** A second task uses a resource that allows one user at a time. (trio.BusyResourceError) */
export class BusyResourceError extends Error {
  readonly code: 'ERR_UVIO_BUSY' = 'ERR_UVIO_BUSY';

  constructor(message: string = 'Another task uses this resource') {
    super(message);
  }
}

/** No sender is left and the channel is empty. (trio.EndOfChannel) */
export class EndOfChannel extends Error {
  readonly code: 'ERR_UVIO_END_OF_CHANNEL' = 'ERR_UVIO_END_OF_CHANNEL';

  constructor(message: string = 'The channel has ended') {
    super(message);
  }
}

/** Every task waits for something that nothing will bring. Only a simulation can tell. */
export class DeadlockError extends Error {
  readonly code: 'ERR_UVIO_DEADLOCK' = 'ERR_UVIO_DEADLOCK';
  /** One line for each task: its name and what it waits for. */
  readonly tasks: readonly string[];

  constructor(tasks: readonly string[], options?: { cause?: unknown }) {
    super(`Every task waits, and nothing will end that:\n  ${tasks.join('\n  ')}`, options);
    this.tasks = tasks;
  }
}

/** The stream ended before the wanted bytes came. (asyncio.IncompleteReadError) */
export class IncompleteReadError extends Error {
  readonly code: 'ERR_UVIO_INCOMPLETE_READ' = 'ERR_UVIO_INCOMPLETE_READ';
  /** What came. */
  readonly partial: Buffer;
  /** Wanted number of bytes; null when reading up to a separator. */
  readonly expectedBytes: number | null;

  constructor(partial: Buffer, expectedBytes: number | null) {
    const wanted = expectedBytes === null ? 'a separator' : `${expectedBytes} bytes`;
    super(`The stream ended after ${partial.length} bytes; wanted ${wanted}`);
    this.partial = partial;
    this.expectedBytes = expectedBytes;
  }
}

/**
 * No separator within the stream's limit; the bytes stay in the buffer.
 * (asyncio.LimitOverrunError)
 */
export class LimitOverrunError extends Error {
  readonly code: 'ERR_UVIO_LIMIT_OVERRUN' = 'ERR_UVIO_LIMIT_OVERRUN';
  readonly bufferedBytes: number;

  constructor(bufferedBytes: number, message?: string) {
    super(message ?? `No separator within the limit; ${bufferedBytes} bytes are buffered`);
    this.bufferedBytes = bufferedBytes;
  }
}

/** How a subprocess ended, and what it wrote. */
export interface ProcessResult {
  /** Minus the signal's number after a signal. */
  readonly exitCode: number;
  readonly exitSignal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/**
 * A command ended with another code than 0, or by a signal. (subprocess.CalledProcessError)
 */
export class ProcessError extends Error implements ProcessResult {
  readonly code: 'ERR_UVIO_PROCESS' = 'ERR_UVIO_PROCESS';
  readonly exitCode: number;
  readonly exitSignal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: Buffer;

  constructor(message: string, result: ProcessResult) {
    super(message);
    this.exitCode = result.exitCode;
    this.exitSignal = result.exitSignal;
    this.stdout = result.stdout;
    this.stderr = result.stderr;
  }
}

const namedClasses = [
  CancelledError,
  TimeoutError,
  ExceptionGroup,
  InvalidStateError,
  WouldBlock,
  QueueEmpty,
  QueueFull,
  QueueShutDown,
  BrokenBarrierError,
  ClosedResourceError,
  BrokenResourceError,
  BusyResourceError,
  EndOfChannel,
  DeadlockError,
  IncompleteReadError,
  LimitOverrunError,
  ProcessError,
];
for (const errorClass of namedClasses) nameClass(errorClass);

/** One row of the table of codes; `docs/errors.md` is checked against it. */
export interface ErrorRow {
  readonly code: string;
  /** The class that carries it. */
  readonly className: string;
  /** The default message, or what the message says. */
  readonly message: string;
  /** Heading in docs/errors.md. */
  readonly docs: string;
}

function row(code: string, className: string, message: string): ErrorRow {
  return { code, className, message, docs: `errors.md#${code.toLowerCase()}` };
}

/** Every code of uvio's own, and the codes it shares with Node. */
export const errorTable: readonly ErrorRow[] = [
  row('ABORT_ERR', 'CancelledError', 'The task was cancelled'),
  row('ETIMEDOUT', 'TimeoutError', 'The time limit passed'),
  row('ERR_INVALID_STATE', 'InvalidStateError', 'Invalid state'),
  row('ERR_UVIO_BROKEN', 'BrokenResourceError', 'The resource is broken'),
  row('ERR_UVIO_BROKEN_BARRIER', 'BrokenBarrierError', 'The barrier is broken'),
  row(
    'ERR_UVIO_BUFFER_DETACHED',
    'TypeError',
    'The memory of the data was transferred away, or resized',
  ),
  row('ERR_UVIO_BUFFER_FULL', 'WouldBlock', 'More than maxBufferedBytes would wait to be written'),
  row('ERR_UVIO_BUSY', 'BusyResourceError', 'Another task uses this resource'),
  row('ERR_UVIO_CLOSED', 'ClosedResourceError', 'Closed on this side'),
  row('ERR_UVIO_DEADLOCK', 'DeadlockError', 'Every task waits, and nothing will end that'),
  row('ERR_UVIO_END_OF_CHANNEL', 'EndOfChannel', 'The channel has ended'),
  row('ERR_UVIO_GROUP', 'ExceptionGroup', 'Errors in a task group'),
  row(
    'ERR_UVIO_INCOMPLETE_READ',
    'IncompleteReadError',
    'The stream ended before the wanted bytes',
  ),
  row('ERR_UVIO_LIMIT_OVERRUN', 'LimitOverrunError', 'No separator within the limit'),
  row('ERR_UVIO_NATIVE_UNAVAILABLE', 'Error', 'native({ required: true }): the addon cannot load'),
  row('ERR_UVIO_NOT_SENDABLE', 'TypeError', 'It cannot be copied to another thread or process'),
  row('ERR_UVIO_POSTGRES_CONNECTION', 'PostgresConnectionError', 'No connection, or it broke'),
  row('ERR_UVIO_POSTGRES_INTERFACE', 'InterfaceError', 'Wrong use of the PostgreSQL client'),
  row('ERR_UVIO_PROCESS', 'ProcessError', 'A command ended with another code than 0'),
  row('ERR_UVIO_QUEUE_EMPTY', 'QueueEmpty', 'The queue is empty'),
  row('ERR_UVIO_QUEUE_FULL', 'QueueFull', 'The queue is full'),
  row('ERR_UVIO_QUEUE_SHUT_DOWN', 'QueueShutDown', 'The queue was shut down'),
  row('ERR_UVIO_TLS_TRUNCATED', 'Error', 'The peer ended a TLS connection without close_notify'),
  row('ERR_UVIO_WOULD_BLOCK', 'WouldBlock', 'The call would have to wait'),
  // `code` in what the loop's exception handler is told; the third one not by debug mode only.
  row('UVIO_CANCELLATION_LOOP', 'Report', 'A task catches its cancellation 100 times'),
  row(
    'UVIO_CANCELLATION_SWALLOWED',
    'Report',
    "A task caught its scope's cancellation, and went on",
  ),
  row('UVIO_ERROR_NOT_TAKEN', 'Report', 'A task or future failed and nobody took its error'),
  row('UVIO_NOT_AWAITED', 'Report', 'A task ended while a call that it did not await still waits'),
  row('UVIO_RESULT_NOT_TAKEN', 'Report', 'A task returned a value and nobody took it'),
  row('UVIO_SLOW_CALLBACK', 'Report', 'A callback, timer or step took loop.slowCallbackMs or more'),
  row('UVIO_TASK_LEFT', 'Report', 'A task that is no daemon was left when its run ended'),
  row('UVIO_DEADLOCK', 'Warning', 'detectDeadlocks(): tasks wait and nothing can end that'),
  row('UVIO_EXECUTOR_TIMEOUT', 'Warning', 'Threads still ran when the time to end them was over'),
  row('UVIO_LOOP_BLOCKED', 'Warning', 'monitorLoop(): a step kept the loop for too long'),
  row('UVIO_MILLISECONDS', 'Warning', 'Debug mode: a delay such as 0.5 looks like seconds'),
  row('UVIO_POSTGRES_PASSFILE', 'Warning', 'A password file is not used: others may read it'),
  row('UVIO_NATIVE_UNAVAILABLE', 'Warning', 'native() fell back to pure()'),
];

/** The bound of a write buffer was hit: nothing of this write was taken, the stream is intact. */
export function bufferFullError(bufferedBytes: number, maxBytes: number): WouldBlock {
  const message = `${bufferedBytes} bytes wait to be written, at most ${maxBytes} may`;
  return new WouldBlock(message, 'ERR_UVIO_BUFFER_FULL');
}

/** The end may be a forged one: what was sent before it may be missing. */
export function tlsTruncatedError(): Error {
  const text = 'The peer ended a TLS connection without close_notify: data may be missing';
  return Object.assign(new Error(text), { code: 'ERR_UVIO_TLS_TRUNCATED' });
}

/** A function, argument or result that cannot go to another thread or process, and why. */
export function notSendableError(what: string, cause: unknown): TypeError {
  const [why, options] = cause instanceof Error ? [cause.message, { cause }] : [cause, {}];
  const error = new TypeError(`${what} cannot be sent to another thread: ${why}`, options);
  return Object.assign(error, { code: 'ERR_UVIO_NOT_SENDABLE' });
}

/** Syscalls whose errors Node words the long way, with the system's explanation. */
const longForm = new Set(['listen', 'bind']);

/**
 * An error as Node makes it for a failed system call: `connect ECONNREFUSED 127.0.0.1:80`.
 * @param errno negative, as libuv counts.
 */
export function systemError(
  errno: number,
  syscall: string,
  address?: string,
  port?: number,
): NodeJS.ErrnoException & { address?: string; port?: number } {
  const known = getSystemErrorMap().get(errno);
  const code = known?.[0] ?? `Unknown system error ${errno}`;
  let text = `${syscall} ${code}`;
  if (longForm.has(syscall) && known !== undefined) text += `: ${known[1]}`;
  if (address) text += port !== undefined && port > 0 ? ` ${address}:${port}` : ` ${address}`;
  const error: NodeJS.ErrnoException & { address?: string; port?: number } = new Error(text);
  error.errno = errno;
  error.code = code;
  error.syscall = syscall;
  if (address !== undefined) error.address = address;
  if (port !== undefined) error.port = port;
  return error;
}

let errnoByCode: Map<string, number> | undefined;

/** The same from a name, as `ENAMETOOLONG`; an unknown one is a programming error. */
export function systemErrorByCode(
  code: string,
  syscall: string,
  address?: string,
  port?: number,
): NodeJS.ErrnoException & { address?: string; port?: number } {
  if (errnoByCode === undefined) {
    errnoByCode = new Map();
    for (const [errno, [name]] of getSystemErrorMap()) errnoByCode.set(name, errno);
  }
  const errno = errnoByCode.get(code);
  if (errno === undefined) throw new TypeError(`Unknown system error name ${code}`);
  return systemError(errno, syscall, address, port);
}

/** A name or address that the resolver does not know, as Node tells it. */
export function notFoundError(syscall: string, hostname: string): Error {
  const error = new Error(`${syscall} ENOTFOUND ${hostname}`);
  return Object.assign(error, { code: 'ENOTFOUND', errno: -3008, syscall, hostname });
}

/** A capability that this policy lacks: code ENOTSUP. */
export function notSupportedError(syscall: string, why: string): NodeJS.ErrnoException {
  const error = systemErrorByCode('ENOTSUP', syscall);
  error.message += ` (${why})`;
  return error;
}

/** As Node's ERR_INVALID_ARG_TYPE. */
export function argTypeError(name: string, expected: string, value: unknown): TypeError {
  const text = `The "${name}" argument must be ${expected}. Received ${describe(value)}`;
  return Object.assign(new TypeError(text), { code: 'ERR_INVALID_ARG_TYPE' });
}

/** As Node's ERR_OUT_OF_RANGE. */
export function rangeError(name: string, expected: string, value: unknown): RangeError {
  const wanted = `It must be ${expected}. Received ${describe(value)}`;
  const text = `The value of "${name}" is out of range. ${wanted}`;
  return Object.assign(new RangeError(text), { code: 'ERR_OUT_OF_RANGE' });
}

function describe(value: unknown): string {
  const text = inspect(value, { depth: 0, breakLength: Infinity });
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
