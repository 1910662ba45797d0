/** The contract of runs and of the loop's own methods; transports have theirs. */
import type * as uvio from 'uvio';
import type {
  Awaitable,
  Context,
  Coro,
  ExceptionContext,
  Future,
  Handle,
  Instrument,
  Loop,
  LoopMetrics,
  LoopPolicy,
  NativeInfo,
  NativeOptions,
  Runner,
  RunOptions,
  Task,
  TaskOptions,
  TimerHandle,
} from 'uvio';
import type { AllTrue, Members, Same } from './same.ts';

interface PolicyShape {
  readonly name: string;
  createLoop(): Loop;
}

interface NativeOptionsShape {
  engine?: 'auto' | 'uv' | 'io_uring';
  required?: boolean;
}

interface NativeInfoShape {
  readonly available: boolean;
  readonly reason?: string;
  readonly uv?: string;
  readonly engines: readonly ('uv' | 'io_uring')[];
  readonly path?: string;
}

interface RunOptionsShape {
  policy?: LoopPolicy;
  debug?: boolean;
  signal?: AbortSignal;
  handleSignals?: readonly NodeJS.Signals[] | false;
  name?: string;
  instruments?: readonly Instrument[];
}

interface RunnerShape {
  readonly loop: Loop;
  run<T>(main: () => Awaitable<T>): Promise<T>;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export type Runs = AllTrue<
  [
    Same<Members<LoopPolicy, PolicyShape>, PolicyShape>,
    Same<Members<NativeOptions, NativeOptionsShape>, NativeOptionsShape>,
    Same<Members<NativeInfo, NativeInfoShape>, NativeInfoShape>,
    Same<RunOptions, RunOptionsShape>,
    Same<typeof uvio.native, (options?: NativeOptions) => LoopPolicy>,
    Same<typeof uvio.pure, () => LoopPolicy>,
    Same<typeof uvio.setLoopPolicy, (policy: LoopPolicy | null) => void>,
    Same<typeof uvio.getLoopPolicy, () => LoopPolicy>,
    Same<typeof uvio.nativeInfo, () => NativeInfo>,
    Same<typeof uvio.run, <T>(main: () => Awaitable<T>, options?: RunOptions) => Promise<T>>,
    Same<ConstructorParameters<typeof Runner>, [options?: RunOptions | undefined]>,
    Same<Members<Runner, RunnerShape>, RunnerShape>,
    Same<typeof uvio.getRunningLoop, () => Loop>,
    Same<typeof uvio.getEventLoop, () => Loop>,
  ]
>;

interface HandleShape {
  cancel(): void;
  readonly cancelled: boolean;
}

interface ExceptionContextShape {
  readonly message: string;
  readonly error?: unknown;
  readonly task?: Task;
  readonly future?: Future;
  readonly transport?: unknown;
}

interface InstrumentShape {
  beforeRun?(): void;
  afterRun?(): void;
  taskSpawned?(task: Task): void;
  taskScheduled?(task: Task): void;
  beforeTaskStep?(task: Task): void;
  afterTaskStep?(task: Task): void;
  taskExited?(task: Task): void;
  beforeIoWait?(timeoutMs: number): void;
  afterIoWait?(timeoutMs: number): void;
}

interface MetricsShape {
  readonly iterations: number;
  readonly busyMs: number;
  readonly idleMs: number;
  readonly utilization: number;
  readonly tasks: number;
  readonly ready: number;
  readonly timers: number;
  readonly connections: number;
  readonly writeBufferBytes: number;
  readonly lagP50Ms: number;
  readonly lagP99Ms: number;
}

interface LoopShape {
  readonly backend: string;
  readonly closed: boolean;
  debug: boolean;
  slowCallbackMs: number;
  time(): number;
  callSoon<A extends unknown[]>(callback: (...args: A) => void, ...args: A): Handle;
  callLater<A extends unknown[]>(
    delayMs: number,
    callback: (...args: A) => void,
    ...args: A
  ): TimerHandle;
  callAt<A extends unknown[]>(
    whenMs: number,
    callback: (...args: A) => void,
    ...args: A
  ): TimerHandle;
  createFuture<T>(): Future<T>;
  createTask<T>(fn: Coro<T>, options?: TaskOptions): Task<T>;
  runForever(): Promise<void>;
  stop(): void;
  close(): Promise<void>;
  shutdownAsyncGenerators(): Promise<void>;
  setExceptionHandler(handler: ((loop: Loop, context: ExceptionContext) => void) | null): void;
  callExceptionHandler(context: ExceptionContext): void;
  addInstrument(instrument: Instrument): void;
  removeInstrument(instrument: Instrument): void;
  metrics(): LoopMetrics;
}

type CallInContext = (context: Context, callback: () => void) => Handle;

export type Loops = AllTrue<
  [
    Same<Members<Handle, HandleShape>, HandleShape>,
    Same<ReturnType<Handle['ref']>, Handle>,
    Same<ReturnType<Handle['unref']>, Handle>,
    TimerHandle extends Handle ? true : false,
    Same<TimerHandle['whenMs'], number>,
    Same<Members<ExceptionContext, ExceptionContextShape>, ExceptionContextShape>,
    Same<Members<Instrument, InstrumentShape>, InstrumentShape>,
    Same<Members<LoopMetrics, MetricsShape>, MetricsShape>,
    Same<Members<Loop, LoopShape>, LoopShape>,
    Same<Loop['running'], boolean>,
    // It takes anything that runs a function.
    Loop['callInContext'] extends CallInContext ? true : false,
  ]
>;
