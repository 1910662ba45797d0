/** The contract of tasks, futures and combinators: each signature as documented. */
import type * as uvio from 'uvio';
import type {
  Awaitable,
  Context,
  Coro,
  Future,
  GatherOptions,
  Loop,
  Source,
  SourceResult,
  Task,
  TaskGroup,
  TaskOptions,
  WaitOptions,
  WaitResult,
} from 'uvio';
import type { AllTrue, Members, Same } from './same.ts';

type CreateTask = {
  <T, A extends unknown[]>(fn: Coro<T, A>, ...args: A): Task<T>;
  <T, A extends unknown[]>(options: TaskOptions, fn: Coro<T, A>, ...args: A): Task<T>;
};

interface FutureShape<T> {
  readonly loop: Loop;
  readonly done: boolean;
  readonly cancelled: boolean;
  result(): T;
  exception(): unknown;
  setResult(value: T): void;
  setException(error: unknown): void;
  cancel(reason?: unknown): boolean;
  addDoneCallback(callback: (future: Future<T>) => void): void;
  removeDoneCallback(callback: (future: Future<T>) => void): number;
  then<A = T, B = never>(
    onResult?: ((value: T) => Awaitable<A>) | null,
    // biome-ignore lint/suspicious/noExplicitAny: the same as Promise.then.
    onError?: ((error: any) => Awaitable<B>) | null,
  ): Promise<A | B>;
  // biome-ignore lint/suspicious/noExplicitAny: the same as Promise.catch.
  catch<B = never>(onError?: ((error: any) => Awaitable<B>) | null): Promise<T | B>;
  finally(callback?: (() => void) | null): Promise<T>;
}

interface TaskShape<T> {
  readonly id: number;
  name: string;
  readonly state: 'pending' | 'running' | 'waiting' | 'done';
  readonly parent: TaskGroup | Task | null;
  readonly signal: AbortSignal;
  readonly context: Context;
  cancel(reason?: unknown): boolean;
  readonly cancelling: number;
  uncancel(): number;
  join(options?: WaitOptions): Promise<T>;
  wait(options?: WaitOptions): Promise<void>;
  cancelAndWait(reason?: unknown): Promise<void>;
  getStack(): string;
}

interface TaskOptionsShape {
  name?: string;
  context?: Context;
  eagerStart?: boolean;
  daemon?: boolean;
}

type Gather = {
  <const S extends readonly Source[]>(
    ...sources: S
  ): Promise<{ -readonly [K in keyof S]: SourceResult<S[K]> }>;
  <const S extends readonly Source[]>(
    sources: S,
    options: GatherOptions & { returnExceptions: true },
  ): Promise<{ -readonly [K in keyof S]: SourceResult<S[K]> | Error }>;
  <const S extends readonly Source[]>(
    sources: S,
    options?: GatherOptions,
  ): Promise<{ -readonly [K in keyof S]: SourceResult<S[K]> }>;
  <T>(sources: Iterable<Source<T>>, options?: GatherOptions): Promise<T[]>;
};

type Wait = <T>(
  futures: Iterable<Future<T>>,
  options?: WaitOptions & { timeoutMs?: number; until?: 'all' | 'first' | 'first-error' },
) => Promise<WaitResult<T>>;

type MapItems = <I, T>(
  items: Iterable<I> | AsyncIterable<I>,
  fn: (item: I, index: number) => Awaitable<T>,
  options?: { limit?: number; ordered?: boolean },
) => AsyncIterable<T>;

export type Types = AllTrue<
  [
    Same<Coro<number, [string]>, (...args: [string]) => Awaitable<number>>,
    Same<Source<number>, Coro<number> | Future<number> | PromiseLike<number>>,
    Same<SourceResult<() => Promise<number>>, number>,
    Same<SourceResult<() => number>, number>,
    Same<SourceResult<Promise<string>>, string>,
    Same<SourceResult<Task<boolean>>, boolean>,
    Same<TaskOptions, TaskOptionsShape>,
    Same<GatherOptions, { returnExceptions?: boolean; limit?: number }>,
    Same<WaitResult<number>, { done: Set<Future<number>>; pending: Set<Future<number>> }>,
    Same<Members<Future<number>, FutureShape<number>>, FutureShape<number>>,
    Same<Members<Task<number>, TaskShape<number>>, TaskShape<number>>,
    Same<ConstructorParameters<typeof Future>, [options?: { loop?: Loop } | undefined]>,
    Task<number> extends Future<number> ? true : false,
    Future<number> extends PromiseLike<number> ? true : false,
  ]
>;

export type Functions = AllTrue<
  [
    Same<typeof uvio.createTask, CreateTask>,
    Same<typeof uvio.spawn, CreateTask>,
    Same<typeof uvio.currentTask, () => Task | null>,
    Same<typeof uvio.allTasks, (loop?: Loop) => Set<Task>>,
    Same<typeof uvio.ensureFuture, <T>(source: Source<T>) => Future<T>>,
    Same<typeof uvio.isFuture, (value: unknown) => value is Future>,
    Same<typeof uvio.sleep, <T = void>(ms: number, value?: T, options?: WaitOptions) => Promise<T>>,
    Same<typeof uvio.sleepUntil, (deadlineMs: number, options?: WaitOptions) => Promise<void>>,
    Same<typeof uvio.sleepForever, (options?: WaitOptions) => Promise<never>>,
    Same<typeof uvio.currentTime, () => number>,
    Same<typeof uvio.checkpoint, () => Promise<void>>,
    Same<typeof uvio.throwIfCancelled, () => void>,
    Same<typeof uvio.currentSignal, () => AbortSignal>,
    Same<typeof uvio.abortable, <T>(promise: PromiseLike<T>, onCancel?: () => void) => Promise<T>>,
    Same<typeof uvio.gather, Gather>,
    Same<
      typeof uvio.waitFor,
      <T>(source: Source<T>, ms: number | null, options?: WaitOptions) => Promise<T>
    >,
    Same<typeof uvio.wait, Wait>,
    Same<
      typeof uvio.asCompleted,
      <T>(sources: Iterable<Source<T>>, options?: { timeoutMs?: number }) => AsyncIterable<T>
    >,
    Same<typeof uvio.shield, <T>(source: Source<T>) => Future<T>>,
    Same<typeof uvio.race, <T>(...fns: readonly Coro<T>[]) => Promise<T>>,
    Same<typeof uvio.map, MapItems>,
  ]
>;
