/** The contract of scopes, time limits, groups, context and errors. */
import type * as uvio from 'uvio';
import type {
  Awaitable,
  CancelScope,
  CancelScopeOptions,
  Context,
  ContextVar,
  Coro,
  ExceptionGroup,
  Task,
  TaskGroup,
  TaskGroupOptions,
  TaskOptions,
  TaskStatus,
  Timeout,
  WaitOptions,
} from 'uvio';
import type { AllTrue, Members, Same } from './same.ts';

interface CancelScopeOptionsShape {
  deadlineMs?: number;
  timeoutMs?: number;
  shield?: boolean;
  signal?: AbortSignal;
}

interface CancelScopeShape {
  run<T>(fn: (scope: CancelScope) => Awaitable<T>): Promise<T | undefined>;
  cancel(reason?: unknown): void;
  deadlineMs: number;
  shield: boolean;
  readonly cancelCalled: boolean;
  readonly cancelledCaught: boolean;
  readonly signal: AbortSignal;
}

interface TimeoutShape {
  readonly deadlineMs: number | null;
  reschedule(deadlineMs: number | null): void;
  readonly expired: boolean;
}

type TimeoutFunction = {
  <T>(
    ms: number | null,
    fn: (timeout: Timeout) => Awaitable<T>,
    options?: { shield?: boolean },
  ): Promise<T>;
  (ms: number | null): Timeout & AsyncDisposable;
};

type MoveOn = <T>(
  ms: number,
  fn: (scope: CancelScope) => Awaitable<T>,
  options?: { shield?: boolean },
) => Promise<T | undefined>;

type CreateTask = {
  <T, A extends unknown[]>(fn: Coro<T, A>, ...args: A): Task<T>;
  <T, A extends unknown[]>(options: TaskOptions, fn: Coro<T, A>, ...args: A): Task<T>;
};

interface TaskGroupShape {
  readonly name: string;
  readonly cancelScope: CancelScope;
  readonly tasks: ReadonlySet<Task>;
  createTask: CreateTask;
  startSoon: CreateTask;
  start<T, A extends unknown[]>(
    fn: (...args: [...A, TaskStatus<T>]) => Awaitable<unknown>,
    ...args: A
  ): Promise<T>;
  cancel(reason?: unknown): void;
  join(options?: WaitOptions): Promise<void>;
  results<T = unknown>(): AsyncIterable<T>;
  [Symbol.asyncDispose](): Promise<void>;
}

type Group = <T>(fn: (group: TaskGroup) => Awaitable<T>, options?: TaskGroupOptions) => Promise<T>;

export type Scopes = AllTrue<
  [
    Same<CancelScopeOptions, CancelScopeOptionsShape>,
    Same<ConstructorParameters<typeof CancelScope>, [options?: CancelScopeOptions | undefined]>,
    Same<Members<CancelScope, CancelScopeShape>, CancelScopeShape>,
    Same<Timeout, TimeoutShape>,
    Same<typeof uvio.timeout, TimeoutFunction>,
    Same<
      typeof uvio.timeoutAt,
      <T>(
        deadlineMs: number | null,
        fn: (timeout: Timeout) => Awaitable<T>,
        options?: { shield?: boolean },
      ) => Promise<T>
    >,
    Same<typeof uvio.moveOnAfter, MoveOn>,
    Same<typeof uvio.moveOnAt, MoveOn>,
    Same<typeof uvio.currentEffectiveDeadline, () => number>,
    Same<
      typeof uvio.shielded,
      <T>(fn: () => Awaitable<T>, options?: { graceMs?: number }) => Promise<T>
    >,
  ]
>;

export type Groups = AllTrue<
  [
    Same<TaskStatus<number>, { started(value: number): void }>,
    Same<TaskGroupOptions, { name?: string; limit?: number; supervise?: boolean }>,
    Same<ConstructorParameters<typeof TaskGroup>, [options?: TaskGroupOptions | undefined]>,
    Same<Members<TaskGroup, TaskGroupShape>, TaskGroupShape>,
    TaskGroup extends AsyncDisposable ? true : false,
    Same<typeof uvio.taskGroup, Group>,
    Same<typeof uvio.openNursery, Group>,
  ]
>;

interface ContextVarShape<T> {
  readonly name: string;
  get: { (): T; <D>(fallback: D): T | D };
  set(value: T): Disposable;
  run<R>(value: T, fn: () => R): R;
}

export type Contexts = AllTrue<
  [
    Same<
      ConstructorParameters<typeof ContextVar<number>>,
      [name: string, options?: { defaultValue?: number } | undefined]
    >,
    Same<Members<ContextVar<number>, ContextVarShape<number>>, ContextVarShape<number>>,
    Same<Members<Context, { run<R>(fn: () => R): R }>, { run<R>(fn: () => R): R }>,
    Same<typeof uvio.copyContext, () => Context>,
  ]
>;

type Match = (error: unknown) => boolean;

interface ExceptionGroupShape {
  split(match: Match): [ExceptionGroup | null, ExceptionGroup | null];
  subgroup(match: Match): ExceptionGroup | null;
  leaves(): unknown[];
}

interface CancelledErrorShape {
  readonly name: 'CancelledError';
  readonly code: 'ABORT_ERR';
  readonly reason: unknown;
}

interface TimeoutErrorShape {
  readonly name: 'TimeoutError';
  readonly code: 'ETIMEDOUT';
}

interface IncompleteReadShape {
  readonly partial: Buffer;
  readonly expectedBytes: number | null;
}

type Is<A, B> = A extends B ? true : false;

export type Errors = AllTrue<
  [
    Same<WaitOptions, { signal?: AbortSignal | undefined }>,
    Same<Members<uvio.CancelledError, CancelledErrorShape>, CancelledErrorShape>,
    Same<
      ConstructorParameters<typeof uvio.CancelledError>,
      [message?: string | undefined, options?: { reason?: unknown; cause?: unknown } | undefined]
    >,
    Same<typeof uvio.isCancelled, (error: unknown) => boolean>,
    Same<Members<uvio.TimeoutError, TimeoutErrorShape>, TimeoutErrorShape>,
    Same<
      ConstructorParameters<typeof uvio.TimeoutError>,
      [message?: string | undefined, options?: { cause?: unknown } | undefined]
    >,
    Same<Members<ExceptionGroup, ExceptionGroupShape>, ExceptionGroupShape>,
    Same<
      ConstructorParameters<typeof ExceptionGroup>,
      [errors: Iterable<unknown>, message?: string | undefined]
    >,
    Is<ExceptionGroup, AggregateError>,
    Same<uvio.InvalidStateError['code'], 'ERR_INVALID_STATE'>,
    Same<uvio.WouldBlock['code'], string>,
    Is<uvio.QueueEmpty | uvio.QueueFull, uvio.WouldBlock>,
    Is<uvio.QueueShutDown | uvio.BrokenBarrierError | uvio.EndOfChannel, Error>,
    Is<uvio.ClosedResourceError | uvio.BrokenResourceError | uvio.BusyResourceError, Error>,
    Same<Members<uvio.IncompleteReadError, IncompleteReadShape>, IncompleteReadShape>,
    Same<uvio.LimitOverrunError['bufferedBytes'], number>,
  ]
>;
